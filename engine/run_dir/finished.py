"""A finished run, opened again: its settings, its decisions and the very prices it was made on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.assembly.market import load_market
from clusterfolio.engine.config.policies import BUILT_IN, CLUSTER
from clusterfolio.engine.config.run import RunConfig, make_config
from clusterfolio.engine.config.settings import read_toml
from clusterfolio.engine.run_dir import artifacts
from clusterfolio.engine.run_dir.judged import is_judged, judged_config, read_prices
from clusterfolio.engine.run_dir.tables import ReportInputs, read_run
from clusterfolio.engine.trading.tape import Bars, read_bars
from clusterfolio.feeds.exogenous.macro import cash_returns
from clusterfolio.feeds.panel import Panel
from clusterfolio.feeds.raw import DataError
from clusterfolio.strategies.holding import Holding
from clusterfolio.strategies.policy import Decision, Guard, guard_of, rests
from clusterfolio.strategies.risk.rules import RiskRules


@dataclass(frozen=True)
class FinishedRun:
    """What can be said of a run once it is over.

    Attributes:
        folder: the run directory.
        panel: as the run saw it, without features.
        cash: simple return of cash per day.
        decisions: as recorded: weights, clusters, Sharpe ratios and picks; no embeddings.
        tables: the run directory's contents.
        guard: the policy's, which looks at the portfolios it is compared with too; None = it has none, or the run was
            opened again without its code or its encoder.
    """

    folder: Path
    config: RunConfig
    panel: Panel
    cash: pd.Series
    decisions: list[Decision]
    tables: ReportInputs
    guard: Guard | None = None

    @cached_property
    def bars(self) -> Bars:
        """The panel's, from the session before the first decision on: what was decided is traded dozens of times."""
        sessions = self.panel.sessions
        first = sessions[max(0, sessions.get_loc(self.decisions[0].asof) - 1)]
        return read_bars(self.panel, first, ranges=rests(self.guard))

    def holding_on(self, day: pd.Timestamp) -> Holding:
        """How the policy of clusters turned clusters into weights on a day; it needs no encoder for that."""
        spans = [self.tables.run["training"]["span"]]
        for fold in self.tables.run.get("folds", []):
            if pd.Timestamp(fold["decides_from"]) <= day:
                spans.append((fold["train_start"], fold["train_end"]))
        start, end = (pd.Timestamp(one) for one in spans[-1])
        config = self.config
        return Holding(config.selection, config.allocator, self.cash, (start, end), config.frictions)

    @property
    def holds_by_rules(self) -> bool:
        """Whether it did more than to pick the best of each cluster and to weigh them."""
        config = self.config
        plain = Holding(config.selection, config.allocator)
        return config.policy.name == CLUSTER and plain.acts and any(len(one.labels) for one in self.decisions)


def reopen(run_dir: Path) -> FinishedRun:
    """Read a run directory and load its prices again; no code that it names is imported.

    Raises:
        FileNotFoundError: it is not a run directory.
        DataError: the prices are not those of the run any more.
    """
    run_dir = Path(run_dir)
    facts = artifacts.read_run_json(run_dir)
    config, panel, cash = _judged(run_dir, facts) if is_judged(facts) else _made(run_dir)
    recorded = facts["fingerprint"]["data"]
    found = artifacts.fingerprint(panel)
    if found != recorded:
        raise DataError(
            f"{run_dir}: its prices have fingerprint {recorded[:12]}, those found now {found[:12]}; the source has "
            "changed since. Run anew, or bring the old files back"
        )
    tables = read_run(run_dir)
    return FinishedRun(run_dir, config, panel, cash, recorded_decisions(tables), tables, _rules(config))


def _rules(config: RunConfig) -> Guard | None:
    """The rules of [risk], which need no code of a run's own; None where one of them needs the trained encoder."""
    own = config.policy.name in BUILT_IN and not config.risk.looks_at_embeddings
    return guard_of(RiskRules(config.risk)) if own else None


def _made(run_dir: Path) -> tuple[RunConfig, Panel, pd.Series]:
    settings = read_toml(run_dir / "config.toml")
    # A run that does not say is from before cash could earn: what it is put beside earns nothing on cash either.
    settings["trading"] = {"cash_interest": False} | settings.get("trading", {})
    config = make_config(settings, trust=False)
    panel = load_market(config).panel
    return config, panel, cash_returns(panel, config.cash, config.data.path)[0]


def _judged(run_dir: Path, facts: dict) -> tuple[RunConfig, Panel, pd.Series]:
    return judged_config(facts), *read_prices(run_dir, facts)


def recorded_decisions(tables: ReportInputs) -> list[Decision]:
    """The decisions of a run, in order, from its weights.csv and clusters.csv; clusters bear their lasting names."""
    by_day = dict(tuple(tables.clusters.groupby("date")))
    nothing = tables.clusters.iloc[:0]
    return [_decision(day, row, by_day.get(day, nothing)) for day, row in tables.weights.iterrows()]


def _decision(day: pd.Timestamp, row: pd.Series, clusters: pd.DataFrame) -> Decision:
    index = pd.Index(clusters["symbol"].tolist(), dtype=object)
    labels = pd.Series(clusters["cluster"].to_numpy(dtype=np.int64), index=index)
    chosen = labels[clusters["selected"].to_numpy(dtype=bool)].sort_values(kind="stable")
    weights = row.drop("CASH")
    return Decision(
        asof=day,
        weights=weights[weights != 0.0],
        labels=labels,
        sharpe=pd.Series(clusters["sharpe"].to_numpy(dtype=float), index=index),
        selected=list(chosen.index),
        embeddings=pd.DataFrame(index=index),
        trust=pd.Series(clusters["trust"].to_numpy(dtype=float), index) if "trust" in clusters else None,
    )
