"""What the smaller commands do, apart from printing."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from engine import artifacts, audit
from engine.config import RunConfig, make_config, merge, read_toml
from engine.description import versions
from engine.findings import LeakageReport
from engine.finished import reopen
from engine.histories import check_run
from engine.ledger import Ledger
from engine.market import benchmark_of, load_panel, universe_symbols
from engine.pipeline import make_policy
from engine.progress import Reporter
from engine.report import write_report
from engine.retraining import Findings, compare_run, known_names
from engine.significance import Assessment, assess_run
from engine.stored import use_model
from feeds.features import with_features
from feeds.inputs import describe_inputs
from feeds.macro import cash_returns
from feeds.panel import Panel
from feeds.sentiment import make_scorer
from feeds.sources import news
from feeds.sources.yahoo import cache_folder, fetch
from feeds.universe import check_universe, filter_universe, load_universe
from models.device import resolve_device
from strategies.policy import Decision, Policy, PortfolioState

CASH = "CASH"


def decide(
    run_dir: Path, asof: str, holdings: Path | None, paths: Sequence[str], reporter: Reporter
) -> tuple[Decision, pd.DataFrame]:
    """What a run's policy would hold after the close of ``asof``, and the orders from ``holdings`` to there.

    Args:
        holdings: CSV with columns symbol and shares; the symbol CASH states money. None = the run's capital in cash.
        paths: newer prices for source "files"; empty = where the run found its own.

    Returns:
        The decision, and its orders: symbol, side, shares, price (the last close), value, weight_now, weight_target.
    """
    facts = artifacts.read_run_json(run_dir)
    settings = read_toml(Path(run_dir) / "config.toml")
    config = make_config(merge(settings, {"data": {"path": list(paths)}}) if paths else settings)
    day = pd.to_datetime(asof, format="%Y-%m-%d", errors="coerce")
    if pd.isna(day):
        raise ValueError(f"--asof: got {asof!r}, expected a day as YYYY-MM-DD")
    reporter.stage("load")
    panel, _ = load_panel(config, asof=day)
    if day not in panel.sessions or day != panel.dates[-1]:
        raise ValueError(f"--asof {asof}: the last session before it with prices is {panel.sessions[-1].date()}")
    cash, _ = cash_returns(panel, config.cash, config.data.path)
    policy = make_policy(config, cash)
    use_model(policy, run_dir, day)
    reporter.stage("decide")
    held = read_holdings(holdings, panel) if holdings else pd.Series({CASH: config.trading.capital})
    prices = panel.session_closes().iloc[-1]
    shares = held.drop(CASH, errors="ignore")
    value = float((shares * prices[shares.index]).sum() + held.get(CASH, 0.0))
    if value <= 0:
        raise ValueError(f"--holdings {holdings}: worth {value:,.2f} {facts['currency']}, expected more than 0")
    weights = shares * prices[shares.index] / value
    state = PortfolioState(weights, held.get(CASH, 0.0) / value)
    decision = policy.decide(with_features(panel, config.features), state)
    return decision, order_list(decision.weights, shares, prices, value, config)


def order_list(
    target: pd.Series, shares: pd.Series, prices: pd.Series, value: float, config: RunConfig
) -> pd.DataFrame:
    """Orders from the shares held to the target weights, sells first; sized as the backtest sizes them."""
    names = sorted({*target.index, *shares.index})
    wanted = value * (1.0 - config.trading.cash_buffer) * target.reindex(names).fillna(0.0) / prices[names]
    if not config.trading.fractional:
        wanted = np.floor(wanted)
    change = wanted - shares.reindex(names).fillna(0.0)
    table = pd.DataFrame(
        {
            "symbol": names,
            "side": np.where(change > 0, "buy", "sell"),
            "shares": change.abs().to_numpy(),
            "price": prices[names].to_numpy(),
            "value": (change.abs() * prices[names]).to_numpy(),
            "weight_now": (shares.reindex(names).fillna(0.0) * prices[names] / value).to_numpy(),
            "weight_target": target.reindex(names).fillna(0.0).to_numpy(),
        }
    )
    table = table[table["shares"] > 1e-9]
    return table.sort_values(["side", "symbol"], ascending=[False, True], ignore_index=True)


def read_holdings(path: Path, panel: Panel) -> pd.Series:
    """Shares by symbol from a CSV with columns symbol and shares; CASH is money in the account's currency."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"--holdings {path}: no such file")
    table = pd.read_csv(path, dtype={"symbol": str}, keep_default_na=False)
    if not {"symbol", "shares"} <= set(table.columns):
        raise ValueError(f"--holdings {path}: columns {', '.join(table.columns)}; expected symbol, shares")
    shares = pd.to_numeric(table["shares"], errors="coerce")
    if shares.isna().any() or (shares < 0).any():
        row = table[shares.isna() | (shares < 0)].iloc[0]
        raise ValueError(f"--holdings {path}: {row['symbol']} has shares {row['shares']!r}, expected a number >= 0")
    unknown = [name for name in table["symbol"] if name != CASH and name not in panel.symbols]
    if unknown:
        raise ValueError(f"--holdings {path}: no prices for {', '.join(unknown[:5])}")
    return shares.groupby(table["symbol"]).sum()


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
        scorer: scores them at once (``feeds.sentiment.make_scorer``); empty = the run that reads them does.
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

    Args: see ``engine.retraining.compare_run``.

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
