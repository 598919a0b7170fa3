"""The main job: prices -> panel -> features -> encoder -> decisions -> backtest -> run directory."""

from __future__ import annotations

import logging
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Protocol

import pandas as pd
import psutil

from engine import artifacts
from engine.backtest import BacktestResult, run_backtest
from engine.config import RunConfig, dump, to_dict
from engine.market import load_panel
from engine.metrics import compute_metrics
from engine.report import write_report
from feeds.calendar import decision_dates
from feeds.features import with_features
from feeds.macro import cash_returns
from feeds.panel import Panel
from models.clustering import Ward
from models.encoder import Encoder
from strategies.allocation import ALLOCATORS
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
    """A finished run: where it lies and what it found."""

    folder: Path
    metrics: dict
    verdicts: pd.DataFrame
    result: BacktestResult


def run(
    config: RunConfig,
    out: Path,
    reporter: Reporter | None = None,
    model_from: Path | None = None,
    report: bool = True,
) -> Outcome:
    """Do the main job and write its directory, whole or not at all.

    Args:
        out: the run directory; must not exist or be empty.
        model_from: a run directory whose trained model is used instead of training one.
        report: write report.html and its pictures too (they can be made later from the files).

    Raises:
        FileExistsError: ``out`` is not empty.
        DataError: the data cannot carry the run.
        ValueError: the configuration cannot be carried out; the message names the key.
    """
    reporter = reporter or Silent()
    artifacts.check_free(out)
    clock = StageClock(reporter)
    with clock.stage("load"):
        panel, verdicts = load_panel(config)
        cash, cash_source = cash_returns(panel, config.cash, config.data.path)
    dates = test_dates(panel, config)
    with clock.stage("features"):
        panel = with_features(panel, config.features)
    policy = make_policy(config, cash)
    with clock.stage("fit"):
        if model_from is None:
            fit_policy(policy, panel.until(dates[0]), config, reporter)
        else:
            use_model(policy, model_from, dates[0])
    sessions = panel.sessions[panel.sessions >= dates[0]]
    with clock.stage("backtest"):
        result = run_backtest(
            panel,
            lambda now: policy,
            dates,
            config.trading,
            clock=config.engine.clock,
            progress=lambda day: reporter.advance(sessions.searchsorted(day) + 1, len(sessions), f"{day.date()}"),
        )
    benchmark = panel.session_closes()[panel.benchmark]
    metrics = compute_metrics(result, cash, benchmark)
    with artifacts.new_run_dir(out) as draft:
        with clock.stage("write"):
            artifacts.write_tables(draft, result, verdicts)
            (draft / "config.toml").write_text(dump(config), encoding="utf-8")
            artifacts.write_json(draft / "metrics.json", metrics)
            policy.encoder.save(draft / artifacts.MODEL_DIR)
            benchmark.rename("close").to_frame().to_csv(draft / "benchmark.csv", date_format="%Y-%m-%d")
            facts = describe_run(config, panel, policy, result, cash_source)
            artifacts.write_json(draft / "run.json", facts | clock.measured())
        if report:
            with clock.stage("report"):
                write_report(draft)
        artifacts.write_json(draft / "run.json", facts | clock.measured())
    return Outcome(Path(out), metrics, verdicts, result)


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


def fit_policy(policy: ClusterPolicy, panel: Panel, config: RunConfig, reporter: Reporter) -> None:
    """Train on the configured span; nothing after its last day is passed on.

    Args:
        panel: ends with the first decision's day, which may come before ``train_end`` where that is no session.
    """

    def progress(done: int, total: int, loss: float, held_out: float | None) -> None:
        text = f"loss {loss:.4f}" + ("" if held_out is None else f", held out {held_out:.4f}")
        reporter.advance(done, total, text)

    policy.fit(panel.until(pd.Timestamp(config.dates.train_end)), pd.Timestamp(config.dates.train_start), progress)


def use_model(policy: ClusterPolicy, run_dir: Path, first_decision: pd.Timestamp) -> None:
    """Give the policy another run's trained encoder, if nothing it was trained on lies after the first decision."""
    facts = artifacts.read_run_json(run_dir)
    start, end = (pd.Timestamp(day) for day in facts["training"]["span"])
    if end > first_decision:
        raise ValueError(
            f"--model {run_dir}: it was trained up to {end.date()}, after the first decision on {first_decision.date()}"
        )
    loaded = Encoder.load(Path(run_dir) / artifacts.MODEL_DIR, device=policy.encoder.device)
    if loaded.lookback != policy.encoder.lookback:
        raise ValueError(
            f"--model {run_dir}: its windows have {loaded.lookback} bars, encoder.lookback asks for "
            f"{policy.encoder.lookback}"
        )
    policy.encoder = loaded
    policy.trained_on(start, end)


def test_dates(panel: Panel, config: RunConfig) -> pd.DatetimeIndex:
    """Sessions to decide on: the last one before the test, then at the chosen frequency, short of the last session."""
    before = panel.sessions[panel.sessions < pd.Timestamp(config.dates.start)]
    if not len(before):
        raise ValueError(f"dates.start: no session of the panel lies before {config.dates.start}")
    return decision_dates(config.data.calendar, before[-1], panel.sessions[-2], config.trading.rebalance)


def describe_run(
    config: RunConfig, panel: Panel, policy: ClusterPolicy, result: BacktestResult, cash_source: str
) -> dict:
    """What run.json says beside the seconds: enough to tell why two runs differ."""
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
        "cash": cash_source,
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
        "fingerprint": {"data": artifacts.fingerprint(panel), "model": encoder.fingerprint()},
        "clock": result.clock,
        "excluded": result.decisions[-1].diagnostics["excluded"],
        "unfilled": [[str(day.date()), name, why] for day, name, why in result.unfilled],
        "notes": [note for decision in result.decisions for note in decision.diagnostics["notes"]],
        "versions": versions(),
    }


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
    try:
        import resource
    except ImportError:  # Windows
        return round(psutil.Process().memory_info().rss / 2**20, 1)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)
