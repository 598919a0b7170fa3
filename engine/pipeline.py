"""The main job: prices -> panel -> features -> encoder -> decisions -> backtest -> run directory."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from engine import artifacts
from engine.backtest import BacktestResult, run_backtest
from engine.config import RunConfig, dump, to_dict
from engine.description import describe_folds, describe_run, versions
from engine.finished import FinishedRun
from engine.fitting import FoldPolicies, align_folds, dismiss_team, fit_folds
from engine.importance import importance_table
from engine.ledger import Ledger, enter
from engine.market import load_panel
from engine.metrics import compute_metrics
from engine.parallel import processes
from engine.progress import Reporter, Silent, StageClock
from engine.report import write_report
from engine.report_inputs import read_run
from engine.significance import Assessment, assess
from engine.significance import write as write_assessment
from engine.stored import check_model, stored_folds
from engine.trials import code_version, fingerprint_of_returns, trial_of
from engine.walk_forward import Fold, fold_seed, folds, that_decide, warm_training
from engine.work import work_folder, work_key
from feeds.calendar import decision_dates
from feeds.features import with_features
from feeds.macro import cash_returns
from feeds.panel import Panel
from feeds.sources.raw import DataError
from models.clustering import Ward
from models.distributed import current_team
from models.encoder import Encoder
from strategies.allocation import ALLOCATORS
from strategies.continuity import with_lasting_names
from strategies.passport import PassportNotes, passports
from strategies.policy import ClusterPolicy

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """A finished run: where it lies, what it found, its place in the ledger (as in run.json), and how far it can be
    believed (None where that was not asked for)."""

    folder: Path
    metrics: dict
    verdicts: pd.DataFrame
    result: BacktestResult
    ledger: dict
    assessment: Assessment | None = None


def run(
    config: RunConfig,
    out: Path,
    reporter: Reporter | None = None,
    model_from: Path | None = None,
    report: bool = True,
    ledger: Ledger | None = None,
) -> Outcome:
    """Do the main job and write its directory, whole or not at all; the ledger has a row of it then.

    Args:
        out: the run directory; must not exist or be empty.
        model_from: a run directory whose trained model is used instead of training one.
        report: write report.html and its pictures too (they can be made later from the files).
        ledger: where the trial is counted; None = the user's own. If it cannot be written, run.json and a warning say
            why.

    Raises:
        FileExistsError: ``out`` is not empty.
        DataError: the data cannot carry the run.
        ValueError: the configuration cannot be carried out; the message names the key.
    """
    reporter = reporter or Silent()
    artifacts.check_free(out)
    if model_from is not None:
        check_model(config, model_from)
    code = code_version()
    clock = StageClock(reporter)
    with clock.stage("load"):
        panel, verdicts = load_panel(config)
        cash, cash_source = cash_returns(panel, config.cash, config.data.path)
    dates = test_dates(panel, config)
    with clock.stage("features"):
        panel = with_features(panel, config.features)
    planned = plan_folds(config, panel, dates)
    fingerprint = artifacts.fingerprint(panel)
    make = partial(make_fold_policy, config, cash)
    sessions = panel.sessions[panel.sessions >= dates[0]]
    benchmark = panel.session_closes()[panel.benchmark]
    same_for_any_workers = to_dict(replace(config, engine=replace(config.engine, workers=1)))
    key = work_key(same_for_any_workers, fingerprint, str(model_from), versions(), current_team().size)
    with work_folder(out, key) as work:
        with clock.stage("fit"):
            if model_from is None:
                workers = processes(config.engine.workers, config.train.threads)
                warm = config.walk_forward.warm_start
                encoders = fit_folds(planned, panel, make, work, warm, reporter.advance, workers)
                apart = align_folds(planned, panel, encoders)
            else:
                planned, encoders = stored_folds(planned, make, model_from)
                apart = {}
            dismiss_team()
        policy_for = FoldPolicies(planned, encoders, make)
        notes = PassportNotes(policy_for, config.engine.seed)
        with clock.stage("backtest"):
            result = run_backtest(
                panel,
                notes,
                dates,
                config.trading,
                clock=config.engine.clock,
                progress=lambda day: reporter.advance(sessions.searchsorted(day) + 1, len(sessions), f"{day.date()}"),
            )
        result = replace(result, decisions=with_lasting_names(result.decisions))
        metrics = compute_metrics(result, cash, benchmark)
        with artifacts.new_run_dir(out, work / "run") as draft:
            with clock.stage("write"):
                artifacts.write_tables(draft, result, verdicts)
                artifacts.write_passports(draft, passports(result.decisions, notes.known, panel))
                artifacts.write_importance(draft, importance_table(policy_for(dates[-1]), panel, result.decisions[-1]))
                (draft / "config.toml").write_text(dump(config), encoding="utf-8")
                artifacts.write_json(draft / "metrics.json", metrics)
                artifacts.save_encoders(draft, encoders)
                benchmark.rename("close").to_frame().to_csv(draft / "benchmark.csv", date_format="%Y-%m-%d")
                facts = describe_run(config, panel, policy_for(dates[-1]), result, cash_source, fingerprint)
                facts["folds"] = describe_folds(planned, encoders, apart)
                facts["fingerprint"] |= {"code": code, "returns": fingerprint_of_returns(result.returns)}
                # Before anyone sees the result; killed from here on, the same command is the same trial.
                facts["ledger"] = enter(trial_of(facts, result.returns, metrics, out), ledger)
                artifacts.write_json(draft / "run.json", facts | clock.measured())
            assessed = None
            if config.significance.on:
                with clock.stage("significance"):
                    finished = FinishedRun(draft, config, panel, cash, result.decisions, read_run(draft))
                    assessed = assess(finished, ledger, reporter.advance)
                    write_assessment(assessed, draft)
            if report:
                with clock.stage("report"):
                    write_report(draft)
            artifacts.write_json(draft / "run.json", facts | clock.measured())
    return Outcome(Path(out), metrics, verdicts, result, facts["ledger"], assessed)


def plan_folds(config: RunConfig, panel: Panel, dates: pd.DatetimeIndex) -> list[Fold]:
    """The trainings of a run and the span each serves: one, or those of a walk-forward that a decision falls to."""
    start, train_start, train_end = (
        pd.Timestamp(day) for day in (config.dates.start, config.dates.train_start, config.dates.train_end)
    )
    if config.walk_forward.on:
        # Sessions with prices: what nothing traded on is decided on, and trained to, the one before.
        traded = panel.sessions.intersection(panel.dates)
        planned = that_decide(folds(traded, start, config.walk_forward, train_start), dates)
    else:
        tested = panel.sessions[panel.sessions >= start]
        # The first decision's day may come before train_end where that is no session.
        planned = [Fold(0, train_start, min(train_end, dates[0]), dates[0], tested[0], tested[-1])]
    return [on_days_of(panel, fold) for fold in planned]


def on_days_of(panel: Panel, fold: Fold) -> Fold:
    """The fold with a training span that begins and ends on days of the panel."""
    days = panel.dates[(panel.dates >= fold.train_start) & (panel.dates <= fold.train_end)]
    if not len(days):
        raise DataError(
            f"dates: no prices between {fold.train_start.date()} and {fold.train_end.date()}, a training span; "
            f"they begin on {panel.dates[0].date()}"
        )
    return replace(fold, train_start=days[0], train_end=days[-1])


def make_policy(config: RunConfig, cash: pd.Series | None = None) -> ClusterPolicy:
    """The unfitted policy that a configuration describes."""
    encoder = Encoder(
        encoder=config.encoder.name,
        config=config.model,
        train=config.train,
        lookback=config.encoder.lookback,
        clip=config.encoder.clip,
        random_state=config.engine.seed,
        device=config.engine.device,
        exog=config.inputs.exog,
        statics=config.inputs.static_columns,
    )
    return ClusterPolicy(
        encoder,
        Ward(config.clustering.n_clusters),
        embedding=config.embedding,
        selection=config.selection,
        allocate=ALLOCATORS[config.trading.allocate],
        features=config.features,
        cash=cash,
        stride=config.encoder.stride,
    )


def make_fold_policy(config: RunConfig, cash: pd.Series, fold: Fold, warm: bool) -> ClusterPolicy:
    """The unfitted policy of a fold.

    Args:
        warm: its training starts from another encoder.
    """
    policy = make_policy(config, cash)
    if config.walk_forward.on:
        policy.encoder.set_params(random_state=fold_seed(config.engine.seed, fold.number))
    if warm:
        policy.encoder.set_params(train=warm_training(config.train, config.walk_forward))
    return policy


def test_dates(panel: Panel, config: RunConfig) -> pd.DatetimeIndex:
    """Sessions to decide on: the last one before the test, then at the chosen frequency, short of the last session.

    A session of the calendar on which nothing traded (another exchange's holiday) is decided on the one before.
    """
    traded = panel.sessions.intersection(panel.dates)
    before = traded[traded < pd.Timestamp(config.dates.start)]
    if not len(before):
        raise DataError(f"dates.start: no session with prices lies before {config.dates.start}")
    if before[-1] >= traded[-1]:
        raise DataError(
            f"dates.end: no session with prices lies between {config.dates.start} and {panel.dates[-1].date()}"
        )
    last = traded[-2]  # what is decided on the very last session never fills
    chosen = decision_dates(config.data.calendar, before[-1], last, config.trading.rebalance)
    return traded[traded.searchsorted(chosen, side="right") - 1].union(before[-1:])
