"""How far a finished run can be believed: the evidence assembled, put into words and written beside the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.config.policies import BUILT_IN
from clusterfolio.engine.evidence import anatomy, execution_lag
from clusterfolio.engine.evidence import statistics as st
from clusterfolio.engine.evidence.caveats import data_caveats, of_survivors
from clusterfolio.engine.evidence.claims import FEWEST_SESSIONS, Record, primary, weigh
from clusterfolio.engine.evidence.cost_curves import cost_curves
from clusterfolio.engine.evidence.divisible import in_divisible_shares, whole_shares
from clusterfolio.engine.evidence.exposure import Exposure, random_names
from clusterfolio.engine.evidence.luck import (
    Luck,
    Rules,
    capacity,
    decompose,
    place,
    random_partitions,
    random_picks,
)
from clusterfolio.engine.evidence.other_draws import rebalance_days, seed_luck
from clusterfolio.engine.evidence.records import comparator_of, make_record, other_trials, own_exposure
from clusterfolio.engine.evidence.rivals import Comparison, compare
from clusterfolio.engine.evidence.tradability import tradability
from clusterfolio.engine.evidence.under_rules import beside_constant_exposure, delevered
from clusterfolio.engine.evidence.verdict import Verdict, verdict
from clusterfolio.engine.ledger.ledger import Ledger
from clusterfolio.engine.run_dir.artifacts import MODEL_DIR
from clusterfolio.engine.run_dir.finished import FinishedRun, reopen
from clusterfolio.feeds.panel import SESSIONS_PER_YEAR
from clusterfolio.feeds.writing import write_json, write_table
from clusterfolio.models.blas import one_blas_thread
from clusterfolio.strategies.allocation import ALONE
from clusterfolio.strategies.embedding import ENCODED
from clusterfolio.strategies.sharpe import sharpe_ratio

#: What an assessment leaves in the run directory.
EVIDENCE_FILE, LUCK_FILE, BASELINES_FILE = "significance.json", "luck.csv", "baselines.csv"

#: What the table of policies says of each.
POLICY_COLUMNS = ("total_return", "cagr", "volatility", "sharpe", "max_drawdown", "turnover", "cost_bps")

#: The name of the strategy among those it is compared with.
STRATEGY = "this strategy"

#: Random portfolios that a guard looks at, or that an optimiser weighs, are asked one by one. Of each kind so many
#: are drawn that no more than so many looks are taken, or so many portfolios weighed, and no fewer than the least.
LOOKS, WEIGHED, FEWEST_PORTFOLIOS = 5000, 500, 10

UNGUARDED = (
    "Guard",
    "The policy's guard moved the account between decisions; the portfolios it is compared with went without, since "
    "the run was opened again without the policy's code or its encoder.",
)

Advance = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Assessment:
    """What an assessment found.

    Attributes:
        evidence: figures by name, plain values; see ``engine.evidence.claims.weigh`` and ``assess``.
        verdict: the same in words.
        luck: a row per random portfolio: ``kind`` ("picks" and "partitions", or "names" where the strategy states no
            clusters), and before costs ``sharpe`` and ``total_return``.
        baselines: a row per policy, the strategy and the benchmark among them.
    """

    evidence: dict
    verdict: Verdict
    luck: pd.DataFrame
    baselines: pd.DataFrame


def assess_run(run_dir: Path, ledger: Ledger | None = None, advance: Advance | None = None) -> Assessment:
    """Assess a finished run from its directory, and write what is found there.

    Raises:
        FileNotFoundError: it is not a run directory.
        DataError: the prices are not those of the run any more.
    """
    found = assess(reopen(run_dir), ledger, advance)
    write(found, Path(run_dir))
    return found


def write(found: Assessment, folder: Path) -> None:
    """Write an assessment's files into a run directory."""
    write_json(folder / EVIDENCE_FILE, found.evidence | {"verdict": found.verdict.as_dict()})
    write_table(folder / LUCK_FILE, found.luck, index=False)
    write_table(folder / BASELINES_FILE, found.baselines)


@one_blas_thread
def assess(run: FinishedRun, ledger: Ledger | None = None, advance: Advance | None = None) -> Assessment:
    """Work out how far a run can be believed; nothing of it changes the run.

    One that holds whole shares is weighed in divisible ones, as all that it is compared with is.

    Args:
        run: with its panel, which needs no features, and its decisions.
        ledger: where trials are counted; None = the user's own.
        advance: told ``(done, total, text)``.
    """
    tell, steps = advance or _nobody, ("baselines", "random portfolios", "tests", "rebalance days", "words")
    account, run = run, in_divisible_shares(run)
    tables, ledger = run.tables, ledger or Ledger()
    returns = tables.returns
    cash = run.cash.reindex(returns.index, method="ffill").fillna(0.0)
    tell(0, len(steps), steps[0])
    against = compare(run.panel, run.config, run.cash, run.decisions)
    tell(1, len(steps), steps[1])
    exposure = own_exposure(run)
    lucks = random_portfolios(run, cash, exposure)
    tell(2, len(steps), steps[2])
    record = make_record(run, against, cash, exposure, *other_trials(tables.run, ledger))
    evidence = weigh(record, random_state=run.config.engine.seed)
    evidence |= {
        "simulated": bool(tables.run["simulated"]),
        "divisible": run is not account,
        "survivors": of_survivors(tables.run, tables.symbols),
        "first": str(returns.index[0].date()),
        "last": str(returns.index[-1].date()),
        "benchmark": tables.run["benchmark"],
        "currency": tables.run["currency"],
        "comparator": comparator_of(run, exposure),
        "trained": (run.folder / MODEL_DIR).is_dir(),
        "encoder": tables.run.get("policy") in BUILT_IN and run.config.embedding.kind in ENCODED,
        "luck": {kind: places(tables.gross, cash, luck) for kind, luck in lucks.items()},
        "parts": parts(record, against, lucks, tables.run["benchmark"]),
        "baselines_left_out": against.left_out,
    }
    luck, fewer = luck_table(lucks), fewer_portfolios(run, lucks)
    del lucks  # thousands of series of returns
    evidence |= particulars(run, record, exposure)
    tell(3, len(steps), steps[3])
    evidence["rebalance_days"] = rebalance_days(run, cash)
    tell(4, len(steps), steps[4])
    evidence["seeds"] = seed_luck(tables.run, ledger)
    if "error" in tables.run.get("ledger", {}):
        evidence["trials"]["uncounted"] = tables.run["ledger"]["error"]
    if evidence["trials"]["known"]:
        evidence["trials"]["problems"] = ledger.verify(tables.run)
    caveats = data_caveats(tables.run, tables.symbols, tables.metrics)
    if tables.run.get("guard_every") and run.guard is None and exposure is None:
        caveats = [*caveats, UNGUARDED]
    caveats = [*caveats, *fewer, *whole_shares(account, run)]
    evidence["curves"] = cost_curves(run, cash)
    evidence["lags"] = execution_lag.by_lag(run, cash)
    if evidence["lags"] is not None and evidence["lags"]["alarm"] is not None:
        caveats = [*caveats, execution_lag.alarm(evidence["lags"])]
    evidence["rules"] = beside_constant_exposure(run, cash)
    if evidence["rules"] is not None:
        caveats = [*caveats, delevered(evidence["rules"])]
    words = verdict(evidence, caveats)
    tell(len(steps), len(steps), "")
    return Assessment(evidence, words, luck, policy_table(against, tables.metrics, tables.run["benchmark"]))


def _nobody(done: int, total: int, text: str) -> None: ...


# Luck --------------------------------------------------------------------------------------------------------------


def random_portfolios(run: FinishedRun, cash: pd.Series, exposure: Exposure | None) -> dict[str, Luck]:
    """Random picks from the strategy's clusters, and the strategy's way of picking from random clusters; where it
    states none, random names at its exposure.
    """
    if exposure is not None:
        costs = (run.tables.gross - run.tables.returns["strategy"]).to_numpy()
        drawn = random_names(exposure, costs, cash, run.config.significance.portfolios, run.config.engine.seed)
        return {} if drawn is None else {"names": drawn}
    settings = {
        "cash": cash,
        "n": run.config.significance.portfolios,
        "random_state": run.config.engine.seed,
        "per_cluster": run.config.selection.per_cluster,
        "allocation": run.config.allocation,
    }
    settings |= {"guard": run.guard, "n": portfolios_of(run)}
    if run.holds_by_rules:
        settings["rules"] = Rules(run.holding_on, run.config.risk)
    draws = {"picks": random_picks, "partitions": random_partitions}
    return {kind: draw(run.panel, run.decisions, run.config.trading, **settings) for kind, draw in draws.items()}


def portfolios_of(run: FinishedRun) -> int:
    """How many random portfolios of each kind are drawn: fewer where each is looked at, or weighed, on its own."""
    asked, n = run.config.significance.portfolios, len(run.decisions)
    if run.guard is not None:
        sessions = int((run.panel.sessions > run.decisions[0].asof).sum())
        asked = min(asked, LOOKS // (n + sessions // run.guard.guard_every))
    if run.config.trading.allocate not in ALONE:
        asked = min(asked, WEIGHED // n)
    return min(run.config.significance.portfolios, max(FEWEST_PORTFOLIOS, asked))


def fewer_portfolios(run: FinishedRun, lucks: dict[str, Luck]) -> list[tuple[str, str]]:
    """A caveat where fewer random portfolios were drawn than were asked for, with what that leaves unknown."""
    drawn, asked = max((len(luck.total) for luck in lucks.values()), default=0), run.config.significance.portfolios
    if not 0 < drawn < asked or "names" in lucks:
        return []
    why = "the rules look at each on its own" if run.guard is not None else "each is weighed on its own"
    error = 100 * 0.5 / np.sqrt(drawn)
    return [
        (
            "Fewer random portfolios",
            f"{drawn} of each kind were traded instead of {asked:,}, since {why}: the share of them that the strategy "
            f"beats is known to {error:.0f} points at most (one standard error).",
        )
    ]


def places(gross: pd.Series, cash: pd.Series, luck: Luck) -> dict:
    """Where the strategy lies among random portfolios, all before costs; they trade more than it does."""
    own = {
        "sharpe": float(np.nan_to_num(sharpe_ratio(gross, cash))),  # who does not move earns nothing for risk
        "total_return": float((1 + gross).prod() - 1),
    }
    drawn = {"sharpe": luck.gross_sharpe, "total_return": luck.gross_total}
    found = {name: {"own": own[name]} | place(own[name], drawn[name]) for name in own}
    return found | {"portfolios": len(luck.total), "cost_bps": luck.cost_bps}


def luck_table(lucks: dict[str, Luck]) -> pd.DataFrame:
    """A row per random portfolio."""
    rows = [
        pd.DataFrame({"kind": kind, "sharpe": luck.gross_sharpe, "total_return": luck.gross_total})
        for kind, luck in lucks.items()
    ]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=["kind", "sharpe", "total_return"])


def parts(record: Record, against: Comparison, lucks: dict[str, Luck], benchmark: str) -> dict | None:
    """The total return taken apart, per year: market, universe, clustering, selection, cost.

    Without clusters, ``clustering`` is what random names at the strategy's exposure earned beyond 1/N.
    """
    by_lot = lucks.get("picks", lucks.get("names"))
    if by_lot is None or "1/N" not in against.gross:
        return None
    found = decompose(
        record.net, record.gross, record.rivals[benchmark], against.gross["1/N"].reindex(record.net.index),
        by_lot,
    )  # fmt: skip
    years = len(record.net) / SESSIONS_PER_YEAR
    return {name: value / years for name, value in found.items()}


# What it hangs on --------------------------------------------------------------------------------------------------


def particulars(run: FinishedRun, record: Record, exposure: Exposure | None) -> dict:
    """Factors, ranks, costs, volume, years, falls; without clusters no ranks, but the exposure."""
    tables = run.tables
    beside = pd.DataFrame({"strategy": record.net, "benchmark": tables.returns["benchmark"]})
    if "1/N" in record.rivals:
        beside["1/N"] = record.rivals["1/N"]
    rivals = beside.drop(columns="strategy").assign(cash=record.cash)
    if record.comparator is not None:
        rivals["random picks" if exposure is None else "random names"] = record.comparator
    value = tables.positions.sum(axis=1)
    traded = float(tables.transactions["value"].abs().sum() / value.mean()) / (len(record.net) / SESSIONS_PER_YEAR)
    years = anatomy.by_period(beside, record.net.index.year)
    return {
        "factors": anatomy.against_factors(record.net, record.cash, run.panel),
        "betas_over_time": anatomy.betas_over_time(record.net, record.cash, run.panel),
        "rank_ic": lasting_ranks(run) if exposure is None else None,
        "exposure": None if exposure is None else exposure_facts(exposure),
        "costs": anatomy.cost_room(record.net, record.gross, rivals, traded),
        "capacity": capacity(tables.transactions, run.panel, tables.run["capital"]),
        "tradability": tradability(tables.positions.iloc[-1].drop("cash"), run.panel),
        "years_apart": [row | {"alpha_year": alpha_within(record, int(row["period"]))} for row in years],
        "falls": anatomy.in_falls(beside, "benchmark"),
    }


def lasting_ranks(run: FinishedRun) -> dict:
    """Whether the order by Sharpe ratio inside clusters lasts."""
    return st.rank_ic(anatomy.ranks_that_lasted(run.decisions, run.panel.session_closes()))


def exposure_facts(exposure: Exposure) -> dict:
    """How much was at stake in how many names, and what fills away from the open and the close gained in a year."""
    return {
        "average": exposure.average,
        "held": exposure.held,
        "positions": len(exposure.spells),
        "elsewhere_year": float(exposure.elsewhere.mean()) * SESSIONS_PER_YEAR,
    }


def alpha_within(record: Record, year: int) -> float | None:
    """The primary test's alpha over one calendar year alone, per year; None where that has too few sessions."""
    rows = record.net.index.year == year
    if record.comparator is None or rows.sum() < FEWEST_SESSIONS:
        return None
    cut = Record(record.net[rows], record.gross[rows], record.comparator[rows], record.cash[rows])
    return primary(cut)["alpha_year"]


def policy_table(against: Comparison, metrics: dict, benchmark: str) -> pd.DataFrame:
    """A row per policy, best Sharpe ratio first: the strategy, the benchmark and every baseline.

    Args:
        metrics: the content of metrics.json.
    """
    table = against.table().reindex(columns=list(POLICY_COLUMNS))
    own = metrics["strategy"]
    table.loc[STRATEGY] = pd.Series({"cost_bps": own["costs"]["bps_per_year"]} | own, dtype=object)
    table.loc[f"benchmark {benchmark}"] = pd.Series(metrics["benchmark"], dtype=object)
    return best_first(table)


def best_first(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table of policies, best Sharpe ratio first."""
    return table.astype(float).sort_values("sharpe", ascending=False, kind="stable").rename_axis("policy")
