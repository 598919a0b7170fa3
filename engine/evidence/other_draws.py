"""What the same strategy would have earned on other days of the month, and what it did with other training seeds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.evidence import anatomy
from clusterfolio.engine.evidence.claims import FEWEST_SESSIONS
from clusterfolio.engine.evidence.draws import Decided, as_they_are
from clusterfolio.engine.evidence.records import traded_to
from clusterfolio.engine.evidence.rivals import states_clusters
from clusterfolio.engine.ledger.ledger import Ledger, LedgerError
from clusterfolio.engine.run_dir.finished import FinishedRun
from clusterfolio.strategies.holding import Holding
from clusterfolio.strategies.policy import Decision
from clusterfolio.strategies.selection import top_sharpe_per_cluster
from clusterfolio.strategies.sharpe import rolling_sharpe_ratios, sharpe_ratios

log = logging.getLogger(__name__)

#: At most so many other days of the rebalance are tried, evenly spread; the second number where a guard has to look at
#: each of them session by session.
MOST_OFFSETS, MOST_GUARDED = 21, 5


def rebalance_days(run: FinishedRun, cash: pd.Series) -> dict | None:
    """What the same clusters would have earned had every decision fallen some sessions later; None for a single one.

    Clusters are those of the decision before; who wins in them is chosen anew on the day. Before costs, over the
    sessions that all of them share.

    Returns:
        ``offsets``, and for each its ``total_return`` and ``sharpe``, the run's own first.
    """
    sessions = run.panel.sessions.intersection(run.panel.dates)  # a session on which nothing traded decides nothing
    days = sessions.get_indexer([decision.asof for decision in run.decisions])
    if len(days) < 2 or not len(run.tables.returns) or not all(map(_long_only, run.decisions)):
        return None
    apart = int(np.median(np.diff(days)))
    most = MOST_OFFSETS if run.guard is None else MOST_GUARDED
    offsets = np.unique(np.linspace(0, apart - 1, min(apart, most)).astype(int))
    returns = run.panel.session_returns()[run.panel.tradable]
    selection = run.config.selection
    rule = Holding(selection, run.config.allocator)
    ruled = run.holds_by_rules and (rule.looks_at_the_account or rule.doubts)
    trailing = selection.sharpe_span == "trailing" and states_clusters(run.decisions)
    pick = partial(
        anatomy.picks_on_other_days, run.decisions, returns.loc[sessions],
        sharpe_on=_ratios(run, returns).loc.__getitem__ if trailing else None, names_of=_picker(run),
        allocate=run.config.allocator, classes=run.panel.assets["asset_class"],
        hold=partial(_by_rules, run, returns) if ruled else None,
    )  # fmt: skip
    rows = {}
    for offset in map(int, offsets):
        weights = pick(offset=offset)
        if weights and any(len(row) for row in weights.values()):
            rows[offset] = traded_to(run, weights)
    table = pd.DataFrame(rows).dropna()
    if table.shape[1] < 2 or len(table) < FEWEST_SESSIONS:
        return None
    return {
        "offsets": [int(name) for name in table],
        "total_return": ((1 + table).prod() - 1).tolist(),
        "sharpe": sharpe_ratios(table, cash.reindex(table.index)).tolist(),
        "sessions": len(table),
    }


def _picker(run: FinishedRun) -> Callable[[Decision, pd.Series], list[str]]:
    """How the run picked of its clusters, by other Sharpe ratios: the best of each, or together, in view of the
    correlations known at the decision.
    """
    selection = run.config.selection
    if not Holding(selection, run.config.allocator).joint:
        return lambda decision, ratios: top_sharpe_per_cluster(ratios, decision.labels, selection.per_cluster)
    decided = Decided(as_they_are, run.panel, run.decisions, run.holding_on, 1)
    numbers = {decision.asof: number for number, decision in enumerate(run.decisions)}

    def together(decision: Decision, ratios: pd.Series) -> list[str]:
        then = decided.outlook(numbers[decision.asof])
        now = ratios.reindex(then.names).to_numpy()
        known = [members[:, np.isfinite(now[members[0]])] for members, _ in then.groups()]
        groups = [(members, now[members]) for members in known if members.size]
        found = run.holding_on(decision.asof).choose(then, groups, np.zeros((1, len(then.names))))
        return [then.names[at] for at in found.picks[0]]

    return together


def _by_rules(
    run: FinishedRun, returns: pd.DataFrame, decision: Decision, day: pd.Timestamp, ratios: pd.Series, before: pd.Series
) -> pd.Series:
    """What the run's rules hold on another day; as held counts what was wanted last, whatever it has become since."""
    rule, assets = run.holding_on(day), run.panel.assets
    ratios = ratios.reindex(decision.labels.index)
    outlook = rule.outlook(
        returns.loc[:day], assets, ratios, decision.labels, assets["asset_class"], decision.trust
    )  # fmt: skip
    held = before.reindex(outlook.names).fillna(0.0).to_numpy() * (1.0 - rule.frictions.cash_buffer)
    found = rule.choose(outlook, outlook.groups(), held[None])
    return pd.Series(found.weights[0], [outlook.names[at] for at in found.picks[0]], dtype=float)


def _ratios(run: FinishedRun, returns: pd.DataFrame) -> pd.DataFrame:
    """The trailing Sharpe ratios that winners are chosen by on each session's close, ``(n_sessions, n_assets)``; NaN
    for who is no member of the universe then.
    """
    selection = run.config.selection
    cash = run.cash.reindex(returns.index, method="ffill").fillna(0.0) if selection.excess_of_cash else 0.0
    found = rolling_sharpe_ratios(returns, cash, selection.sharpe_sessions)
    return found.where(run.panel.members_on(returns.index)[returns.columns])


def _long_only(decision: Decision) -> bool:
    return bool((decision.weights >= 0).all() and decision.weights.sum() <= 1 + 1e-9)


def seed_luck(facts: dict, ledger: Ledger) -> dict | None:
    """How much the same settings on the same data differ by training seed, from the ledger; None if it has no word.

    Returns:
        ``seeds`` (number), of their Sharpe ratios and total returns ``mean``, ``spread`` (standard deviation), ``low``
        and ``high``, and the mean ``overlap`` of their picks (names held by both over names held by either, by
        decision) where the run directories are still there, else None.
    """
    trial = facts.get("ledger", {}).get("trial")
    try:
        table = ledger.trials()
    except LedgerError as error:
        log.warning("seeds are not compared: %s", error)
        return None
    if trial is None or trial not in table.index:
        return None
    own = table.loc[trial]
    alike = table[(table["config_hash"] == own["config_hash"]) & (table["data"] == own["data"])]
    alike = alike[~alike["seed"].duplicated(keep="last") | (alike.index == trial)]
    alike = alike[(alike["seed"] != own["seed"]) | (alike.index == trial)]
    found = {"seeds": len(alike), "overlap": overlap([Path(run) for run in alike["run"]])}
    for name in ("sharpe", "total_return"):
        values = alike[name].dropna()
        found[name] = {
            "mean": float(values.mean()),
            "spread": float(values.std()) if len(values) > 1 else None,
            "low": float(values.min()),
            "high": float(values.max()),
        }
    return found


def overlap(run_dirs: list[Path]) -> float | None:
    """Mean over pairs of runs and their common decisions: names held by both over names held by either."""
    held = []
    for folder in run_dirs:
        if (folder / "weights.csv").is_file():
            table = pd.read_csv(folder / "weights.csv", index_col=0).drop(columns="CASH")
            held.append({day: set(row.index[row > 0]) for day, row in table.iterrows()})
    shares = [
        len(one[day] & two[day]) / len(one[day] | two[day])
        for i, one in enumerate(held)
        for two in held[:i]
        for day in one.keys() & two.keys()
        if one[day] | two[day]
    ]
    return float(np.mean(shares)) if shares else None
