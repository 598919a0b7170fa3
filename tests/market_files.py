"""A small made-up market written as files, and the options that run the whole command on it in seconds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from clusterfolio.feeds.sources.simulated import BENCHMARK, SimulatedConfig, simulate

MARKET = SimulatedConfig(
    n_assets=36, n_clusters=4, start="2023-01-03", end="2024-12-31", structure="blocks", within=0.7, skill=0.5,
    turnover=0.0, flaws=False,
)  # fmt: skip

QUICK = (
    "train.epochs=1",
    "train.windows_per_epoch=1280",
    "encoder.lookback=10",
    "encoder.stride=3",
    "embedding.span=120",
    "embedding.step=10",
    "clustering.n_clusters=4",
    "selection.sharpe_sessions=120",
    "selection.min_sessions=120",
    "selection.volatility_sessions=120",
    "dates.history_days=200",
    "significance.on=false",
)

DATES = ("--train-start", "2023-04-03", "--train-end", "2024-03-28", "--start", "2024-04-01")


def write_market(folder: Path, config: SimulatedConfig = MARKET) -> dict[str, pd.DataFrame]:
    """A Parquet file per symbol, unadjusted prices with dividends and splits; returns the frames.

    Read several times faster than CSV files; how those are read is tested with the files source.
    """
    folder.mkdir(parents=True, exist_ok=True)
    raw = simulate(config)
    frames = {}
    for symbol, bars in raw.bars.items():
        frame = bars.frame.rename_axis("date").assign(currency=bars.currency)
        frames[symbol] = frame
        frame.to_parquet(folder / f"{symbol}.parquet")
    return frames


def source_options(data: Path) -> list[str]:
    """Arguments that read a folder that ``write_market`` made."""
    return ["--source", "files", "--path", str(data), "--benchmark", BENCHMARK]


def run_options(data: Path, out: Path, *more: str) -> list[str]:
    """Arguments of a quick ``run`` on a folder that ``write_market`` made."""
    settings = [part for setting in QUICK for part in ("--set", setting)]
    return ["run", *source_options(data), *DATES, *settings, "--out", str(out), "--quiet", "--no-report", *more]
