"""What a run's result hangs on: factors, ranks inside clusters, costs, years, falls, the day of the month.

Functions of a panel and of what a run did; plain values come back, None or an empty list where nothing can be said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from clusterfolio.engine.evidence import statistics as st
from clusterfolio.engine.evidence.rolling import rolling_betas
from clusterfolio.feeds.panel import Panel
from clusterfolio.strategies.allocation import Allocator, Picks
from clusterfolio.strategies.baselines.rules import MONTH, YEAR
from clusterfolio.strategies.policy import Decision

#: Assets that make a class a factor.
FEWEST_MEMBERS = 5


def factor_returns(panel: Panel, cash: pd.Series, sessions: pd.DatetimeIndex) -> pd.DataFrame:
    """Daily factor returns that the panel itself can give, at ``sessions``, a column each.

    ``market``: the benchmark less cash; a class of assets (its mean less cash) where it has five tradable members and
    is not the benchmark's own; ``momentum``: best third of the returns over twelve months but the last, less the worst
    third; ``low volatility``: calmest third over twelve months, less the wildest. The last two are chosen every 21
    sessions on what was known before, and held equally.
    """
    returns = panel.session_returns()
    member = panel.members_on(returns.index)
    table = {"market": returns[panel.benchmark]}
    names = panel.tradable
    classes = panel.assets.loc[names, "asset_class"]
    own = panel.assets.loc[panel.benchmark, "asset_class"]
    for kind, members in classes.groupby(classes).groups.items():
        if kind not in (own, "unknown") and len(members) >= FEWEST_MEMBERS:
            table[kind.replace("_", " ")] = returns[members].where(member[members]).mean(axis=1)
    found = pd.DataFrame(table).sub(cash.reindex(returns.index, method="ffill").fillna(0.0), axis=0)
    return found.join(_spreads(returns[names], member[names])).reindex(sessions).dropna(axis=1)


def _spreads(returns: pd.DataFrame, member: pd.DataFrame) -> pd.DataFrame:
    """Momentum and low-volatility portfolios of those that are members when chosen: long a third, short a third."""
    values, inside = returns.to_numpy(dtype=float), member.to_numpy(dtype=bool)
    rows = np.full((len(values), 2), np.nan)
    for start in range(YEAR, len(values), MONTH):
        past, ahead = values[start - YEAR : start], values[start : start + MONTH]
        whole = np.isfinite(past).all(axis=0) & (past.std(axis=0) > 1e-4) & inside[start - 1]
        if whole.sum() < 3 * FEWEST_MEMBERS:
            continue
        third = int(whole.sum()) // 3
        for column, score in enumerate((past[:-MONTH].sum(axis=0), -past.std(axis=0))):
            order = np.flatnonzero(whole)[np.argsort(score[whole], kind="stable")]
            long, short = (np.nan_to_num(ahead[:, side]).mean(axis=1) for side in (order[-third:], order[:third]))
            rows[start : start + MONTH, column] = long - short
    return pd.DataFrame(rows, returns.index, ["momentum", "low volatility"])


def against_factors(net: pd.Series, cash: pd.Series, panel: Panel) -> dict | None:
    """Alpha of the account, net of costs, against ``factor_returns``, with HAC errors; None for too short a record."""
    factors = factor_returns(panel, cash, net.index)
    if len(net) < 30 + factors.shape[1] or not factors.shape[1]:
        return None
    test = st.alpha_test(net - cash, factors)
    return {
        "alpha_year": test.alpha * YEAR,
        "error_year": test.error * YEAR,
        "t": test.t,
        "p": test.p,
        "betas": test.betas,
    }


def betas_over_time(net: pd.Series, cash: pd.Series, panel: Panel) -> list[dict]:
    """What the account moved with, half a year at a time: ``date`` of a window's last session, and beta by factor."""
    factors = factor_returns(panel, cash, net.index)
    if not factors.shape[1]:
        return []
    found = rolling_betas(net - cash, factors)
    return [{"date": str(day.date())} | row.to_dict() for day, row in found.iterrows()]


def ranks_that_lasted(decisions: Sequence[Decision], closes: pd.DataFrame) -> pd.Series:
    """Rank correlation, inside clusters, of the Sharpe ratio ranked by with the return until the next decision.

    Args:
        closes: at every session to the end of the run, a column per asset.

    Returns:
        One number per decision, index = its day.
    """
    ends = [*[decision.asof for decision in decisions[1:]], closes.index[-1]]
    found = {}
    for decision, end in zip(decisions, ends, strict=True):
        ahead = closes.loc[end] / closes.loc[decision.asof] - 1
        found[decision.asof] = st.within_cluster_ic(decision.sharpe, ahead, decision.labels)
    return pd.Series(found, dtype=float)


def cost_room(net: pd.Series, gross: pd.Series, rivals: pd.DataFrame, traded: float) -> dict:
    """Costs in basis points of the traded value: what the run paid, and what would eat its edge up.

    Args:
        rivals: returns of cash, the benchmark, ... to hold the strategy against, a column each, after their own costs.
        traded: value bought and sold per year, as a multiple of the account.
    """
    paid = float((gross - net).mean()) * YEAR
    edges = ((gross.mean() - rivals.mean()) * YEAR).to_dict()
    return {
        "paid_bps": st.break_even_cost(paid, traded),
        "traded_year": traded,
        "break_even_bps": {name: st.break_even_cost(float(edge), traded) for name, edge in edges.items()},
    }


def by_period(table: pd.DataFrame, groups: Sequence) -> list[dict]:
    """Total return of each column and the number of sessions, by group of sessions.

    Args:
        table: daily returns.
        groups: of each session, in order.
    """
    grouped = (1 + table).groupby(np.asarray(groups), sort=False)
    totals, counts = grouped.prod() - 1, grouped.size()
    return [{"period": str(name), "sessions": int(counts[name])} | totals.loc[name].to_dict() for name in totals.index]


def in_falls(table: pd.DataFrame, market: str, n: int = 3) -> list[dict]:
    """Total return of each column over the deepest falls of the column ``market``."""
    rows = []
    for first, last, _ in st.deepest_drawdowns(table[market], n):
        totals = (1 + table.loc[first:last]).prod() - 1
        rows.append({"period": f"{first.date()} to {last.date()}"} | totals.to_dict())
    return rows


def picks_on_other_days(
    decisions: Sequence[Decision],
    returns: pd.DataFrame,
    sharpe_on: Callable[[pd.Timestamp], pd.Series] | None,
    names_of: Callable[[Decision, pd.Series], list[str]],
    allocate: Allocator,
    classes: pd.Series,
    offset: int,
    hold: Callable[[Decision, pd.Timestamp, pd.Series, pd.Series], pd.Series] | None = None,
) -> dict[pd.Timestamp, pd.Series]:
    """Target weights had every decision fallen ``offset`` sessions later: the clusters stay those of the decision
    before, who wins in them is chosen anew on what was known by then.

    Args:
        returns: at every session, ``(n_sessions, n_assets)``; NaN before an asset's first.
        sharpe_on: day -> the Sharpe ratios that winners are chosen by on its close, by asset; None = those of the
            decision stay.
        names_of: who is picked of a decision's clusters by such ratios.
        allocate, classes: what the names picked are weighed by, and the asset class by symbol.
        hold: ``(decision, day, ratios, weights before) -> weights`` where rules do more than that.

    Returns:
        By new day; a day that the run does not reach is left out.
    """
    found, sessions = {}, returns.index
    before = pd.Series(dtype=float)
    for decision in decisions:
        row = sessions.get_loc(decision.asof) + offset
        if row >= len(sessions) - 1:
            break
        if offset == 0 or not len(decision.labels):
            found[sessions[row]] = decision.weights
            continue
        ratios = decision.sharpe if sharpe_on is None else sharpe_on(sessions[row])
        if hold is not None:
            found[sessions[row]] = before = hold(decision, sessions[row], ratios, before)
            continue
        picks = Picks(returns.iloc[: row + 1], names_of(decision, ratios), ratios, classes, decision.labels)
        found[sessions[row]] = allocate(picks).weights
    return found


def average_member_weights(decision: Decision) -> pd.Series:
    """The weights that random picks from the same clusters have in the mean.

    What the decision put on the picks of a cluster is spread evenly over all its members that could have been picked:
    those with a Sharpe ratio.

    >>> labels = pd.Series({"A": 0, "B": 0, "C": 1})
    >>> made = Decision(pd.NaT, pd.Series({"A": 0.5, "C": 0.4}), labels, labels, ["A", "C"])
    >>> average_member_weights(made).to_dict()
    {'A': 0.25, 'B': 0.25, 'C': 0.4}
    """
    labels = decision.labels[decision.sharpe.reindex(decision.labels.index).notna()]
    held = decision.weights[decision.weights.index.isin(labels.index)]
    by_cluster = held.groupby(labels.loc[held.index]).sum()
    spread = labels.map(by_cluster).fillna(0.0) / labels.map(labels.value_counts())
    return spread[spread > 0].astype(float)
