"""How often the embedding stop fires, year by year and in February and March 2020, beside the run without it.

    python -m tests.benchmarks.embedding_stop RUN_DIR
    python -m tests.benchmarks.embedding_stop RUN_DIR --quantiles 0.95 0.99 --years 2017 2019 2020 2021

RUN_DIR holds a finished run of a cluster policy without rules. Its decisions are traded again, from the last one before
each year on, with the encoders that it stored; nothing is trained. A year at a time, so that each begins invested.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.assembly.plan import plan_folds, test_dates
from clusterfolio.engine.assembly.policy import make_fold_policy
from clusterfolio.engine.assembly.prepare import prepare
from clusterfolio.engine.folds.fitting import FoldGuard, align_folds
from clusterfolio.engine.run_dir.finished import FinishedRun, reopen
from clusterfolio.engine.run_dir.stored import stored_folds
from clusterfolio.engine.trading.vectorised import Targets, simulate
from clusterfolio.feeds.panel import Panel
from clusterfolio.strategies.policy import Decision
from clusterfolio.strategies.risk.config import RiskConfig


class Counting:
    """A guard that notes which names it left on which day, and why."""

    def __init__(self, guard):
        self.inner, self.guard_every = guard, guard.guard_every
        self.fired: list[tuple[pd.Timestamp, str, str]] = []

    def guard(self, weights, panel, state):
        """As the inner one's."""
        found = self.inner.guard(weights, panel, state)
        self.fired += [
            (panel.dates[-1], name, why) for name, why in found[1].items() if why.startswith("embedding stop")
        ]
        return found


def guard_of_run(run: FinishedRun, quantile: float) -> tuple[Panel, Counting]:
    """The panel with features, and the embedding stop of the run's stored encoders."""
    config = replace(run.config, risk=RiskConfig(embedding_stop=quantile))
    panel, cash, _ = prepare(config, run.panel)
    planned = plan_folds(config, panel, test_dates(panel, config))
    planned, policies = stored_folds(planned, partial(make_fold_policy, config, cash), run.folder)
    align_folds(planned, panel, policies)
    return panel, Counting(FoldGuard(planned, policies))


def traded(run: FinishedRun, panel: Panel, decisions: list[Decision], last: pd.Timestamp, guard=None) -> pd.Series:
    """Daily returns, net of costs, of these decisions up to ``last``."""
    width = max(len(decision.weights) for decision in decisions)
    picks, weights = np.full((1, len(decisions), width), -1), np.zeros((1, len(decisions), width))
    for number, decision in enumerate(decisions):
        picks[0, number, : len(decision.weights)] = panel.symbols.get_indexer(decision.weights.index)
        weights[0, number, : len(decision.weights)] = decision.weights.to_numpy()
    days = pd.DatetimeIndex([decision.asof for decision in decisions])
    found = simulate(panel.until(last), Targets(picks, weights), days, run.config.trading, guard, run.cash)
    return pd.Series(found.net[0], found.sessions)


def figures(returns: pd.Series) -> str:
    """Return and drawdown in words."""
    wealth = (1.0 + returns).cumprod()
    fall = float((wealth / wealth.cummax().clip(lower=1.0) - 1.0).min())
    return f"{wealth.iloc[-1] - 1.0:+.1%}, {fall:.1%}"


def main() -> None:
    """Print a row per year and quantile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run of a cluster policy, without rules")
    parser.add_argument("--quantiles", type=float, nargs="+", default=(0.95, 0.99))
    parser.add_argument("--years", type=int, nargs="+", default=(2017, 2019, 2020, 2021))
    asked = parser.parse_args()
    run = reopen(asked.run)
    print("quantile, year: fires (of them February and March); return, drawdown with; without")
    for quantile in asked.quantiles:
        panel, guard = guard_of_run(run, quantile)
        for year in asked.years:
            before = max(decision.asof for decision in run.decisions if decision.asof.year < year)
            decisions = [d for d in run.decisions if d.asof == before or d.asof.year == year]
            last = panel.sessions[panel.sessions.year == year][-1]
            decisions = [decision for decision in decisions if decision.asof < last]
            guard.fired.clear()
            own = traded(run, panel, decisions, last, guard)
            free = traded(run, panel, decisions, last)
            spring = sum(day.month in (2, 3) for day, _, _ in guard.fired)
            print(f"{quantile}, {year}: {len(guard.fired)} ({spring}); {figures(own)}; {figures(free)}", flush=True)


if __name__ == "__main__":
    main()
