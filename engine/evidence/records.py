"""The record that a finished run is judged by: its own returns, what they are tested against, and other trials."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pandas as pd

from clusterfolio.engine.evidence import anatomy
from clusterfolio.engine.evidence.claims import Record
from clusterfolio.engine.evidence.exposure import Exposure, average_name, exposure_of
from clusterfolio.engine.evidence.rivals import Comparison, states_clusters
from clusterfolio.engine.ledger.ledger import Ledger, LedgerError
from clusterfolio.engine.run_dir.finished import FinishedRun
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.vectorised import Simulated, Targets, simulate
from clusterfolio.strategies.baselines.rules import CLASSICAL
from clusterfolio.strategies.policy import Guard

log = logging.getLogger(__name__)


def own_exposure(run: FinishedRun) -> Exposure | None:
    """What a run that states no clusters was exposed to; None for one that does."""
    if states_clusters(run.decisions):
        return None
    tables = run.tables
    at_close = bool(tables.run.get("cheat_on_close"))
    returns = pd.DataFrame({"net": tables.returns["strategy"], "gross": tables.gross})
    cash = run.cash if run.config.trading.cash_interest else None
    return exposure_of(run.panel, tables.positions, returns, tables.transactions, at_close, cash)


def comparator_of(run: FinishedRun, exposure: Exposure | None) -> dict:
    """What the picks are tested against: ``kind`` ("clusters", "names" or "holding"), and in words ``pool``."""
    if exposure is None:
        return {"kind": "clusters", "pool": "the same clusters"}
    if len(exposure.symbols) == 1:
        return {"kind": "holding", "pool": str(exposure.symbols[0])}
    return {"kind": "names", "pool": run.tables.run.get("pool", "its universe"), "names": len(exposure.symbols)}


def make_record(
    run: FinishedRun,
    against: Comparison,
    cash: pd.Series,
    exposure: Exposure | None,
    trials: pd.DataFrame,
    trials_known: bool,
) -> Record:
    """The series that the tests need."""
    returns, benchmark = run.tables.returns, run.tables.run["benchmark"]
    rivals = against.returns.reindex(returns.index).join(returns["benchmark"].rename(benchmark))
    return Record(
        net=returns["strategy"],
        gross=run.tables.gross,
        comparator=average_member(run) if exposure is None else average_name(exposure),
        cash=cash,
        rivals=rivals,
        claims=further_claims(run, exposure, rivals.columns),
        trials=trials,
        trials_known=trials_known,
    )


def further_claims(run: FinishedRun, exposure: Exposure | None, rivals: pd.Index) -> dict[str, list[str]]:
    """Who must be beaten in further claims, by the claim's name; see ``Record.claims``."""
    benchmark = run.tables.run["benchmark"]
    if exposure is None:
        classical = [name for name in CLASSICAL if name in rivals]
        return {"1/N": ["1/N"], "the benchmark": [benchmark], "the best clustering without learning": classical}
    found = {"1/N": ["1/N"], "the benchmark": [benchmark]}
    if len(exposure.symbols) == 1:
        found[f"holding {exposure.symbols[0]}"] = found.pop("1/N")
    if (benchmark in exposure.symbols and len(exposure.symbols) == 1) or run.tables.run.get("benchmark_stands_in"):
        del found["the benchmark"]  # the same portfolio, under another name
    return found


def average_member(run: FinishedRun) -> pd.Series | None:
    """Daily return, before costs, of the average member of the clusters held; None where there are no clusters."""
    spread = {decision.asof: anatomy.average_member_weights(decision) for decision in run.decisions}
    if not any(len(weights) for weights in spread.values()):
        return None
    return traded_to(run, spread)


def traded_to(run: FinishedRun, weights: dict[pd.Timestamp, pd.Series]) -> pd.Series:
    """Daily return before costs of one portfolio with these target weights by day; shares may be split."""
    found = trade(run, weights, replace(run.config.trading, costs=False, fractional=True), run.guard)
    return pd.Series(found.gross[0], found.sessions)


def trade(
    run: FinishedRun, weights: dict[pd.Timestamp, pd.Series], trading: TradingConfig, guard: Guard | None
) -> Simulated:
    """What one portfolio with these target weights by day earns on the run's prices."""
    if guard is not None:
        run = narrowed(run, weights)  # what a guard works out at each look it works out of all columns
    width = max(len(row) for row in weights.values())
    picks, shares = np.full((1, len(weights), width), -1, dtype=np.int32), np.zeros((1, len(weights), width))
    for number, row in enumerate(weights.values()):
        picks[0, number, : len(row)] = run.panel.symbols.get_indexer(row.index)
        shares[0, number, : len(row)] = row.to_numpy()
    days = pd.DatetimeIndex(list(weights))
    return simulate(run.panel, Targets(picks, shares), days, trading, guard, run.cash, bars=run.bars)


def narrowed(run: FinishedRun, weights: dict[pd.Timestamp, pd.Series]) -> FinishedRun:
    """The run on as much of its panel as these weights need; on all of it where a guard looks at indicators, which a
    selection of columns would drop.
    """
    benchmark, held = run.panel.benchmark, {name for row in weights.values() for name in row.index}
    names = [benchmark, *sorted(held - {benchmark})]
    if (run.guard is not None and run.panel.features is not None) or len(names) == len(run.panel.symbols):
        return run
    return replace(run, panel=run.panel.select(names))


def other_trials(facts: dict, ledger: Ledger) -> tuple[pd.DataFrame, bool]:
    """Daily returns of the other trials that a run has to be judged among, and whether they could be counted.

    Args:
        facts: the content of run.json.
    """
    trial = facts.get("ledger", {}).get("trial")
    try:
        if trial is None or trial not in ledger.trials().index:
            return pd.DataFrame(), False
        return ledger.returns([key for key in ledger.family(trial).index if key != trial]), True
    except LedgerError as error:
        log.warning("trials are not counted: %s", error)
        return pd.DataFrame(), False
