"""What a comparison needs minutes for: baselines that are fitted or slow, other seeds, other days to decide on.

Everything finished is kept in ``RUN_DIR/compare`` and not done again; the same command goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.assembly.plan import plan_folds
from clusterfolio.engine.assembly.policy import make_fold_policy
from clusterfolio.engine.config.policies import BUILT_IN, CLUSTER, PolicyConfig
from clusterfolio.engine.config.run import RunConfig, make_config, to_dict
from clusterfolio.engine.config.trust import check_trust
from clusterfolio.engine.evidence.assessment import BASELINES_FILE, best_first, policy_table
from clusterfolio.engine.evidence.divisible import in_divisible_shares
from clusterfolio.engine.evidence.other_draws import overlap
from clusterfolio.engine.evidence.rivals import (
    Comparison,
    Traded,
    cannot_be_compared,
    comparison_of,
    decide_all,
    of_backtest,
    trade_all,
)
from clusterfolio.engine.folds.fitting import FoldPolicies
from clusterfolio.engine.folds.walk_forward import Fold, fold_for
from clusterfolio.engine.jobs.sweep import Trial, run_sweep
from clusterfolio.engine.ledger.ledger import Ledger, enter
from clusterfolio.engine.ledger.trials import Trial as LedgerTrial
from clusterfolio.engine.ledger.trials import code_version, trial_of
from clusterfolio.engine.progress import Reporter
from clusterfolio.engine.run_dir.finished import FinishedRun
from clusterfolio.engine.run_dir.stored import stored_folds
from clusterfolio.engine.run_dir.tables import read_policies
from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.metrics import cash_per_session, performance
from clusterfolio.feeds.features import with_features
from clusterfolio.feeds.panel import Panel
from clusterfolio.feeds.writing import finite, restored, write_json, write_table
from clusterfolio.strategies.baselines.fitted import FITTED, HEURISTIC
from clusterfolio.strategies.baselines.rules import RULES
from clusterfolio.strategies.cluster_policy import ClusterPolicy

#: Of a run directory: where finished parts are kept, and the tables made of them beside ``BASELINES_FILE``.
KEPT, RETURNS_FILE, SEEDS_FILE, OFFSETS_FILE = "compare", "baseline_returns.csv", "seeds.csv", "offsets.csv"

#: What is said of every offset, and of every seed.
FIGURES = ("total_return", "cagr", "volatility", "sharpe", "max_drawdown")
SEED_FIGURES = (*FIGURES, "turnover")


@dataclass(frozen=True)
class Findings:
    """What ``compare RUN_DIR`` found.

    Attributes:
        policies: a row per policy, best Sharpe ratio first, the strategy and the benchmark among them.
        left_out: baselines that could not be carried out, and why.
        seeds: a row per seed, the run's own first; None where not asked for.
        overlap: mean over pairs of seeds and decisions: names both hold over names either holds.
        offsets: a row per number of sessions by which all decisions were put off, 0 = the run itself, over the
            sessions that all of them share; None where not asked for.
    """

    policies: pd.DataFrame
    left_out: dict[str, str] = field(default_factory=dict)
    seeds: pd.DataFrame | None = None
    overlap: float | None = None
    offsets: pd.DataFrame | None = None


def compare_run(
    run: FinishedRun,
    names: Sequence[str] | None,
    n_seeds: int,
    n_offsets: int,
    workers: int,
    reporter: Reporter,
    trust: bool = False,
) -> Findings:
    """Run baselines, seeds and offsets of a finished run, and write their tables into its directory.

    Baselines and offsets are of divisible shares, and so is the run beside them; seeds are runs like it.

    Args:
        names: of ``RULES`` and ``FITTED``; None = all that can be carried out.
        n_seeds: seeds in all, the run's own included; under 2 = none.
        n_offsets: days to decide on in all, the run's own included, spread evenly over the time from one decision to
            the next; under 2 = none.
        workers: processes that train the seeds; 0 = as the cores allow.
        trust: import the classes that the run directory names, for what is fitted or decided anew.
    """
    wanted = known_names(names)
    cannot = {name: why for name, why in cannot_be_compared(run.panel, run.decisions).items() if name in wanted}
    cannot |= {name: why for name, why in cannot_be_fitted(run.config).items() if name in wanted}
    if n_seeds > 1 or n_offsets > 1 or any(name in FITTED and name not in cannot for name in wanted):
        check_trust(run.folder, to_dict(run.config), trust)
        run = replace(run, config=make_config(to_dict(run.config)))  # now with the classes that it names
    account, run = run, in_divisible_shares(run)
    found = baselines(run, [name for name in wanted if name not in cannot], cannot, reporter)
    table = policy_table(found, run.tables.metrics, run.panel.benchmark)
    table = with_earlier(table, run.folder / BASELINES_FILE)
    write_table(run.folder / BASELINES_FILE, table)
    write_table(run.folder / RETURNS_FILE, found.returns)
    findings = Findings(table, cannot)
    if n_seeds > 1:
        rows, shared = seeds(account, n_seeds, workers, reporter)
        write_table(run.folder / SEEDS_FILE, rows)
        findings = replace(findings, seeds=rows, overlap=shared)
    if n_offsets > 1:
        rows = offsets(run, n_offsets, reporter)
        write_table(run.folder / OFFSETS_FILE, rows)
        findings = replace(findings, offsets=rows)
    return findings


def cannot_be_fitted(config: RunConfig) -> dict[str, str]:
    """Baselines that are fitted and cannot stand beside a run's policy, and why."""
    if config.policy.name not in BUILT_IN:
        return dict.fromkeys(FITTED, "the run's policy has no encoder to stand in for")
    return {HEURISTIC: "it is the strategy"} if config.policy.name == CLUSTER else {}


def known_names(names: Sequence[str] | None) -> list[str]:
    """These names of baselines, or all; raises ``ValueError`` for one that there is not."""
    wanted = [*RULES, *FITTED] if names is None else list(names)
    unknown = [name for name in wanted if name not in RULES and name not in FITTED]
    if unknown:
        raise ValueError(f"--only: unknown baseline {unknown[0]!r}; available: {', '.join([*RULES, *FITTED])}")
    return wanted


# Baselines -------------------------------------------------------------------------------------------------------


def baselines(run: FinishedRun, names: Sequence[str], left_out: dict[str, str], reporter: Reporter) -> Comparison:
    """These baselines on the run's dates; those fitted are fitted fold by fold, as its encoder was."""
    dates = pd.DatetimeIndex([decision.asof for decision in run.decisions])
    featured: list[Panel] = []
    traded = {}
    for name in names:
        reporter.stage(name)
        kept = run.folder / KEPT / _slug(name)
        if _load(kept) is None:
            if name in FITTED:
                featured = featured or [with_features(run.panel, run.config.features)]
                policy_for = FittedFolds(run, name, plan_folds(run.config, featured[0], dates), featured[0])
                known = _backtest(run, featured[0], policy_for, dates, reporter)
            else:
                known = _by_rule(run, name, reporter)
            _keep(known, kept)
        traded[name] = _load(kept)  # as the same command finds it later
        reporter.advance(len(dates), len(dates), "")
    return comparison_of(traded, run.cash, left_out)


def _by_rule(run: FinishedRun, name: str, reporter: Reporter) -> Traded:
    made = decide_all(run.panel, run.config, run.decisions, [name], reporter.advance, run.cash)
    found = trade_all(run.panel, run.config, run.cash, made)
    return Traded(
        found.returns[name], found.gross[name], found.costs[name], float(found.turnover[name]), found.picks[name]
    )


def _backtest(
    run: FinishedRun, panel: Panel, policy_for: Callable, dates: pd.DatetimeIndex, reporter: Reporter
) -> Traded:
    sessions = panel.sessions[panel.sessions >= dates[0]]
    result = run_backtest(
        panel,
        policy_for,
        dates,
        run.config.trading,
        clock=run.config.engine.clock,
        progress=lambda day: reporter.advance(sessions.searchsorted(day) + 1, len(sessions), f"{day.date()}"),
        cash=run.cash,
    )
    return of_backtest(result)


class FittedFolds:
    """``policy_for(now)`` of a baseline that is fitted on each fold's training span when its first decision comes."""

    def __init__(self, run: FinishedRun, name: str, planned: Sequence[Fold], panel: Panel):
        self.run = run
        self.kind = FITTED[name]
        self.planned = planned
        self.panel = panel
        self.fold: Fold | None = None

    def __call__(self, now: pd.Timestamp) -> ClusterPolicy:
        """The policy that decides on a day; days come in order."""
        fold = fold_for(self.planned, now)
        if fold is not self.fold:
            heuristic = replace(self.run.config, policy=PolicyConfig())  # an agent has the sections of the heuristic
            like = make_fold_policy(heuristic, self.run.cash, fold, False)
            policy = self.kind(**vars(like))
            self.fold, self.policy = fold, policy.fit(self.panel.until(fold.train_end), fold.train_start)
        return self.policy


def with_earlier(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """A table of policies and the rows that an earlier one has beside it."""
    if not path.is_file():
        return table
    before = read_policies(path).reindex(columns=table.columns)
    return best_first(pd.concat([table, before[~before.index.isin(table.index)]]))


# Seeds -----------------------------------------------------------------------------------------------------------


def seeds(run: FinishedRun, n_seeds: int, workers: int, reporter: Reporter) -> tuple[pd.DataFrame, float | None]:
    """The same run trained with other seeds, each a run directory and a trial in the ledger; and their picks' overlap.

    Returns:
        A row per seed: total_return, cagr, volatility, sharpe, max_drawdown, turnover and error (empty where there is
        none).
    """
    config = run.config
    settings = to_dict(replace(config, significance=replace(config.significance, on=False)))
    own = config.engine.seed
    trials = []
    for seed in range(own + 1, own + n_seeds):
        merged = settings | {"engine": settings["engine"] | {"seed": seed}}
        trials.append(Trial(f"seed-{seed}", merged, {"engine.seed": seed}))
    folder = run.folder / KEPT / "seeds"
    swept = run_sweep(trials, folder, workers, False, reporter)
    rows = swept.rename(columns={"engine.seed": "seed"}).set_index("seed").reindex(columns=[*SEED_FIGURES, "error"])
    mine = pd.DataFrame({**run.tables.metrics["strategy"], "error": ""}, index=[own]).reindex(columns=rows.columns)
    table = pd.concat([mine.rename_axis("seed"), rows])
    return table, overlap([run.folder, *[folder / name for name in swept["trial"]]])


# Days to decide on -----------------------------------------------------------------------------------------------


def offsets(run: FinishedRun, n_offsets: int, reporter: Reporter, ledger: Ledger | None = None) -> pd.DataFrame:
    """The run's own encoders deciding some sessions later each time: how much hangs on the day of the month.

    Each is a trial in the ledger, as each has been looked at.

    Returns:
        A row per offset: total_return, cagr, volatility, sharpe and max_drawdown, net of costs.
    """
    sessions = run.panel.sessions.intersection(run.panel.dates)
    rows = sessions.get_indexer([decision.asof for decision in run.decisions])
    if len(rows) < 2:
        raise ValueError("--offsets: the run decided once; there is no day of the month to shift")
    apart = int(np.median(np.diff(rows)))
    chosen = np.unique(np.linspace(0, apart, n_offsets, endpoint=False).astype(int))
    panel = with_features(run.panel, run.config.features)
    dates = pd.DatetimeIndex([decision.asof for decision in run.decisions])
    make = partial(make_fold_policy, run.config, run.cash)
    planned, policies = stored_folds(plan_folds(run.config, panel, dates), make, run.folder)
    series = {0: run.tables.returns["strategy"]}
    for offset in chosen[1:]:
        reporter.stage(f"{offset} later")
        kept = run.folder / KEPT / f"offset-{offset}"
        if _load(kept) is None:
            shifted = sessions[rows[rows + offset < len(sessions) - 1] + offset]
            found = _backtest(run, panel, FoldPolicies(planned, policies), shifted, reporter)
            enter(_looked_at(run, int(offset), found, kept), ledger)
            _keep(found, kept)
        series[int(offset)] = _load(kept).net
    table = pd.DataFrame(series).dropna()
    cash = cash_per_session(run.cash, table.index)
    found = {offset: performance(table[offset], cash) for offset in table}
    return pd.DataFrame.from_dict(found, orient="index")[list(FIGURES)].rename_axis("sessions_later")


def _looked_at(run: FinishedRun, offset: int, found: Traded, folder: Path) -> LedgerTrial:
    """The trial that deciding so many sessions later is: the run's settings, and the days."""
    facts, benchmark = run.tables.run, run.tables.returns["benchmark"].reindex(found.net.index)
    cash = cash_per_session(run.cash, found.net.index)
    own = performance(found.net, cash) | {"turnover": found.turnover}
    return trial_of(
        facts
        | {
            "config": facts["config"] | {"compare": {"sessions_later": offset}},
            "fingerprint": facts["fingerprint"] | {"code": code_version()},
        },
        pd.DataFrame({"strategy": found.net, "benchmark": benchmark}),
        finite({"strategy": own, "benchmark": performance(benchmark, cash)}),
        folder,
    )


# What is kept ----------------------------------------------------------------------------------------------------


def _slug(name: str) -> str:
    return name.lower().replace("/", "-over-").replace(" ", "-")


def _keep(found: Traded, folder: Path) -> None:
    """Write what was traded; turnover.json is written last and says that the rest is there."""
    write_table(folder / "returns.csv", pd.DataFrame({"net": found.net, "gross": found.gross, "costs": found.costs}))
    write_table(folder / "weights.csv", found.weights)
    write_json(folder / "turnover.json", {"turnover": found.turnover})


def _load(folder: Path) -> Traded | None:
    if not (folder / "turnover.json").is_file():
        return None
    series, weights = (
        pd.read_csv(folder / name, index_col="date", parse_dates=["date"]) for name in ("returns.csv", "weights.csv")
    )
    weights.columns = restored(weights.columns)
    turnover = json.loads((folder / "turnover.json").read_text(encoding="utf-8"))["turnover"]
    return Traded(series["net"], series["gross"], series["costs"], turnover, weights)
