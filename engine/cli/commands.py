"""What the smaller commands do, apart from printing."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from clusterfolio.engine.assembly.market import benchmark_of, universe_symbols
from clusterfolio.engine.config.run import RunConfig
from clusterfolio.engine.evidence.assessment import Assessment, assess_run
from clusterfolio.engine.jobs.compare import Findings, compare_run, known_names
from clusterfolio.engine.leakage.findings import LeakageReport
from clusterfolio.engine.leakage.of_run import check_run
from clusterfolio.engine.ledger import audit
from clusterfolio.engine.ledger.ledger import Ledger
from clusterfolio.engine.progress import Reporter
from clusterfolio.engine.report.page import write_report
from clusterfolio.engine.run_dir import artifacts
from clusterfolio.engine.run_dir.description import versions
from clusterfolio.engine.run_dir.finished import reopen
from clusterfolio.feeds.exogenous import news
from clusterfolio.feeds.exogenous.inputs import describe_inputs
from clusterfolio.feeds.exogenous.sentiment import make_scorer
from clusterfolio.feeds.sources.yahoo import cache_folder, fetch
from clusterfolio.feeds.universe import check_universe, filter_universe, load_universe
from clusterfolio.models.device import resolve_device
from clusterfolio.strategies.policy import Policy


def fetch_prices(config: RunConfig, reporter: Reporter) -> pd.DataFrame:
    """Fill or update the Yahoo cache for a configuration's universe; outcome per symbol."""
    symbols = list(dict.fromkeys([*(universe_symbols(config) or []), benchmark_of(config)]))
    first = pd.Timestamp(config.dates.train_start) - pd.Timedelta(days=config.dates.history_days)
    reporter.stage("fetch")
    return fetch(
        symbols,
        start=first,
        end=pd.Timestamp(config.dates.end) if config.dates.end else None,
        progress=reporter.advance,
    )


def collect_news(file: Path, feeds: Sequence[str], symbols: Sequence[str], scorer: str) -> int:
    """Add the latest headlines of these feeds and symbols to a CSV of dated texts; how many are new.

    Args:
        scorer: scores them at once (``feeds.exogenous.sentiment.make_scorer``); empty = the run that reads them does.
    """
    if not feeds and not symbols:
        raise ValueError("news: nothing to read; name at least one --rss or --symbol")
    fresh = [news.read_rss(address) for address in feeds] + [news.read_yahoo_news(symbol) for symbol in symbols]
    return news.collect(file, fresh, make_scorer(scorer) if scorer else None)


def universe(
    which: str, asset_class: str | None, region: str | None, currency: str | None
) -> tuple[pd.DataFrame, list[str]]:
    """A universe's rows under these filters, and the problems of the whole."""
    table = load_universe(which)
    return filter_universe(table, asset_class=asset_class, region=region, currency=currency), check_universe(table)


def check_leakage(config: RunConfig, policy: str | None, n_days: int, reporter: Reporter) -> LeakageReport:
    """Whether the future reaches what this configuration's policy, or the one named, knows and decides.

    Args:
        policy: ``"package.module:factory"``; the factory returns an unfitted policy.
    """
    return check_run(config, n_days, None if policy is None else factory_named(policy), reporter)


def factory_named(text: str) -> Callable[..., Policy]:
    """The callable behind ``"package.module:factory"``."""
    module, separator, name = text.partition(":")
    try:
        found = getattr(importlib.import_module(module), name) if separator and module and name else None
    except (ImportError, AttributeError) as error:
        raise ValueError(f"--policy {text}: cannot be imported: {error}") from error
    if not callable(found):
        raise ValueError(f"--policy {text}: expected package.module:factory, a callable that returns a policy")
    return found


def config_of(run_dir: Path) -> str:
    """The file with a run's resolved configuration."""
    artifacts.read_run_json(run_dir)
    return str(Path(run_dir) / "config.toml")


def rebuild_report(run_dir: Path) -> Path:
    """Write a run directory's report anew."""
    artifacts.read_run_json(run_dir)
    return write_report(Path(run_dir))


def judge(run_dir: Path, reporter: Reporter) -> tuple[Assessment, bool]:
    """Work out how far a finished run can be believed, write it there, and its report anew where it has one.

    Returns:
        What was found, and whether a report was written.
    """
    reporter.stage("significance")
    found = assess_run(Path(run_dir), advance=reporter.advance)
    reported = (Path(run_dir) / "report.html").is_file()
    if reported:
        reporter.stage("report")
        write_report(Path(run_dir))
    return found, reported


def compare(
    run_dir: Path, names: Sequence[str] | None, n_seeds: int, n_offsets: int, workers: int, reporter: Reporter
) -> tuple[Findings, bool]:
    """Put a finished run beside baselines, other seeds and other days, and write its report anew where it has one.

    Args: see ``engine.jobs.compare.compare_run``.

    Returns:
        What was found, and whether a report was written.
    """
    known_names(names)
    reporter.stage("load")
    found = compare_run(reopen(run_dir), names, n_seeds, n_offsets, workers, reporter)
    reported = (Path(run_dir) / "report.html").is_file()
    if reported:
        reporter.stage("report")
        write_report(Path(run_dir))
    return found, reported


def doctor(config: RunConfig) -> list[tuple[str, str]]:
    """What a run with this configuration would use, as ``(name, value)``."""
    rows = list(versions().items())
    rows.append(("device", f"{resolve_device(config.engine.device)} (engine.device = {config.engine.device})"))
    rows.append(("CPU cores", str(os.cpu_count())))
    folder = cache_folder()
    cached = len(list(folder.glob("*.parquet"))) if folder.is_dir() else 0
    rows.append(("Yahoo cache", f"{folder} ({cached} symbols)"))
    rows.append(("ledger", audit.describe(Ledger())))
    rows.append(("source", f"{config.data.source} {' '.join(config.data.path)}".strip()))
    symbols = universe_symbols(config)
    rows.append(("universe", "everything the source has" if symbols is None else f"{len(symbols)} symbols"))
    rows.append(("benchmark", benchmark_of(config)))
    for each in describe_inputs(config.inputs):
        rows.append((f"input {each['name']}", f"{each['meaning']}; known after: {each['lag']}"))
    rows.append(("training", f"{config.dates.train_start} to {config.dates.train_end}"))
    rows.append(("test", f"{config.dates.start} to {config.dates.end or 'the end of the data'}"))
    return rows
