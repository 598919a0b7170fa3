"""The main job: prices -> panel -> features -> encoder -> decisions -> backtest -> run directory."""

from __future__ import annotations

import logging
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Protocol

import pandas as pd
import psutil

from engine import artifacts
from engine.backtest import BacktestResult, run_backtest
from engine.config import RunConfig, dump, to_dict
from engine.finished import FinishedRun
from engine.fitting import FoldPolicies, PolicyFactory, align_folds, dismiss_team, fit_folds
from engine.importance import importance_table
from engine.ledger import Ledger, enter
from engine.market import load_panel
from engine.metrics import compute_metrics
from engine.parallel import processes
from engine.report import write_report
from engine.report_inputs import read_run
from engine.significance import Assessment, assess
from engine.significance import write as write_assessment
from engine.trials import code_version, fingerprint_of_returns, trial_of
from engine.walk_forward import Fold, fold_seed, folds, that_decide, warm_training
from engine.work import work_folder, work_key
from feeds.calendar import decision_dates
from feeds.features import with_features
from feeds.inputs import describe_inputs
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

PACKAGES = ("backtrader", "torch", "numpy", "pandas", "scikit-learn", "scipy", "ta", "pyfolio-reloaded", "yfinance")


class Reporter(Protocol):
    """Who is told how a run goes."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def advance(self, done: int, total: int, text: str = "") -> None:
        """The current stage has done so much."""


class Silent:
    """A reporter that says nothing."""

    def stage(self, name: str) -> None: ...

    def advance(self, done: int, total: int, text: str = "") -> None: ...


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


def check_model(config: RunConfig, run_dir: Path) -> None:
    """Refuse a stored model that was made for other inputs than this run would feed it."""
    theirs = artifacts.read_run_json(run_dir)["config"]
    ours = to_dict(config)
    usual = to_dict(RunConfig(model=type(config.model)()))  # what a run older than a key was made with
    for section in ("features", "inputs", "encoder", "model"):
        for key, value in ours[section].items():
            made = theirs.get(section, {}).get(key, usual[section].get(key))
            if key == "macro_path" or (key == "sentiment" and made and value):
                continue  # the same series from another place
            if made != value:
                raise ValueError(
                    f"--model {run_dir}: it was made with {section}.{key} = {made!r}, this run asks for {value!r}"
                )


def use_model(policy: ClusterPolicy, run_dir: Path, first_decision: pd.Timestamp) -> None:
    """Give the policy the encoder that decides on a day in another run, if it was trained on nothing after it."""
    folder, start, end = artifacts.stored_encoder(run_dir, first_decision)
    if end > first_decision:
        raise ValueError(
            f"--model {run_dir}: it was trained up to {end.date()}, after the first decision on {first_decision.date()}"
        )
    policy.encoder = Encoder.load(folder, device=policy.encoder.device)
    policy.trained_on(start, end)


def stored_folds(planned: list[Fold], make: PolicyFactory, run_dir: Path) -> tuple[list[Fold], dict[int, Encoder]]:
    """The folds with another run's encoders, by number, and the spans those were trained on."""
    served, encoders = [], {}
    for fold in planned:
        policy = make(fold, False)
        use_model(policy, run_dir, fold.decides_from)
        start, end = policy.train_span_
        served.append(replace(fold, train_start=start, train_end=end))
        encoders[fold.number] = policy.encoder
    return served, encoders


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


def describe_run(
    config: RunConfig,
    panel: Panel,
    policy: ClusterPolicy,
    result: BacktestResult,
    cash_source: str,
    fingerprint: str,
) -> dict:
    """What run.json says beside folds and seconds: enough to tell why two runs differ.

    Args:
        policy: the one that decided last.
        fingerprint: of the panel.
    """
    encoder = policy.encoder
    history = encoder.history_
    return {
        "config": to_dict(config),
        "simulated": panel.simulated,
        "benchmark": panel.benchmark,
        "currency": panel.currency,
        "capital": config.trading.capital,
        "seed": config.engine.seed,
        "device": history.device,
        "threads": history.threads,
        "processes": history.processes,
        "cash": cash_source,
        "inputs": describe_inputs(config.inputs, panel),
        "universe": {"tradable": len(panel.tradable), "rows": len(panel.dates), "sessions": len(panel.sessions)},
        "dates": {
            "panel": [str(panel.dates[0].date()), str(panel.dates[-1].date())],
            "decisions": [str(decision.asof.date()) for decision in result.decisions],
        },
        "training": {
            "span": [str(day.date()) for day in policy.train_span_],
            "windows": history.n_windows,
            "best_epoch": history.best_epoch,
            "train_loss": history.train_loss,
            "holdout_loss": history.holdout_loss,
        },
        "fingerprint": {"data": fingerprint, "model": encoder.fingerprint()},
        "clock": result.clock,
        "excluded": result.decisions[-1].diagnostics["excluded"],
        "unfilled": [[str(day.date()), name, why] for day, name, why in result.unfilled],
        "notes": [note for decision in result.decisions for note in decision.diagnostics["notes"]],
        "versions": versions(),
    }


def describe_folds(planned: list[Fold], encoders: dict[int, Encoder], apart: dict[int, float]) -> list[dict]:
    """What run.json says of each training: its spans, how long it took and how it went.

    Args:
        apart: by number, how far the embeddings lie from the fold's before after alignment, as a share of their length.
    """
    rows = []
    for fold in planned:
        encoder, history = encoders[fold.number], encoders[fold.number].history_
        days = {key: str(day.date()) for key, day in vars(fold).items() if key != "number"}
        rows.append(
            {"number": fold.number, **days}
            | {
                "seconds": round(history.seconds, 3),
                "windows": history.n_windows,
                "passes": len(history.train_loss),
                "train_loss": history.train_loss[-1],
                "holdout_loss": history.holdout_loss[history.best_epoch - 1] if history.holdout_loss else None,
                "apart": apart.get(fold.number),
                "fingerprint": encoder.fingerprint(),
            }
        )
    return rows


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    found = {"python": sys.version.split()[0], "platform": platform.platform(), "machine": platform.machine()}
    return found | {name: metadata.version(name) for name in PACKAGES}


class StageClock:
    """Seconds and memory of each stage of a run, in order."""

    def __init__(self, reporter: Reporter):
        self.reporter = reporter
        self.seconds: dict[str, float] = {}
        self.peaks: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside and announce it."""
        self.reporter.stage(name)
        log.info("%s begins", name)
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
        self.peaks[name] = peak_memory_mb()
        log.info("%s: %.1f s", name, self.seconds[name])

    def measured(self) -> dict:
        """Seconds per stage, and the most memory the process had held when each ended."""
        return {"seconds": dict(self.seconds), "peak_memory_mb": dict(self.peaks)}


def peak_memory_mb() -> float:
    """The most memory the process has held so far, in MiB (where the system does not tell: what it holds now)."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux; getrusage there begins with what the parent process held
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return round(int(peak.split()[1]) / 1024, 1)
    try:
        import resource
    except ImportError:  # Windows
        return round(psutil.Process().memory_info().rss / 2**20, 1)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)
