"""How long prices take from their files to a checked panel, beside plain pandas on the same files.

    python -m tests.benchmarks.load --path ../shared/data/us_stocks.parquet --path ../shared/data/us_etfs.parquet
    python -m tests.benchmarks.load --symbols 300 --bars 2500 --json

``read`` is the files source, ``panel`` all from what it delivered to the panel (every check, currency, alignment), and
``clean`` the part of that in ``feeds.quality.clean``. The peer ``pandas`` reads the same files, puts the adjusted or
plain closes side by side and takes their changes: it checks nothing. ``ratio`` is CPU time of read and panel over the
peer's. Medians of ``--repeat`` runs in this process; without ``--path`` the files are made up, a Parquet table of all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio import make_config
from clusterfolio.engine.assembly.market import panel_of, read_source
from clusterfolio.feeds import currency as fx
from clusterfolio.feeds.quality import Cleaned, QualityConfig, clean
from clusterfolio.feeds.raw import RawData

LIMIT = 4.0  #: seconds of CPU that the panel of 731 symbols may take


def write_market(path: Path, symbols: int, bars: int) -> None:
    """A long table of random walks with a dividend each quarter in the adjusted close."""
    rng = np.random.default_rng(0)
    dates = pd.bdate_range(end="2025-12-31", periods=bars)
    frames = []
    for number in range(symbols):
        close = 50 * np.exp(rng.normal(2e-4, 0.015, bars).cumsum())
        open_ = close * np.exp(rng.normal(0, 0.005, bars))
        frame = {"date": dates, "symbol": f"S{number:04d}" if number else "SPY", "open": open_, "close": close}
        frame["high"], frame["low"] = np.maximum(open_, close) * 1.003, np.minimum(open_, close) * 0.997
        frame["adj_close"] = close * 1.004 ** (np.arange(bars) // 63 - bars // 63)
        frame["volume"] = rng.integers(10_000, 1_000_000, bars).astype(float)
        frames.append(pd.DataFrame(frame))
    pd.concat(frames).to_parquet(path)


def plain_pandas(paths: list[Path]) -> pd.DataFrame:
    """Daily changes of every symbol, nothing checked."""
    closes = []
    for path in paths:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, parse_dates=["date"])
        table["level"] = table["adj_close"].fillna(table["close"]) if "adj_close" in table else table["close"]
        closes.append(table.set_index(["date", "symbol"])["level"].unstack("symbol"))  # noqa: PD010  no aggregation
    return pd.concat(closes, axis=1, sort=True).pct_change(fill_method=None)


def clean_all(raw: RawData, quality: QualityConfig) -> list[Cleaned]:
    return [clean(bars.frame, quality, pair=fx.pair_of(name) is not None) for name, bars in raw.bars.items()]


def timed(work: Callable, *args) -> tuple[object, float]:
    """What ``work`` returns, and the seconds of CPU it took."""
    began = time.process_time()
    return work(*args), time.process_time() - began


def measure(paths: list[Path], repeat: int) -> dict:
    """Seconds of CPU by stage, and how much was loaded."""
    source = {"source": "files", "path": [str(path) for path in paths], "universe": "all"}
    config = make_config({"data": source, "dates": {"history_days": 20_000}})  # every row there is
    seconds: dict[str, list[float]] = {name: [] for name in ("read", "clean", "panel", "pandas")}
    for _ in range(repeat):
        raw, read = timed(read_source, config, None)
        _, cleaning = timed(clean_all, raw, config.quality)
        (panel, _), whole = timed(panel_of, config, raw)
        _, plain = timed(plain_pandas, paths)
        for name, value in zip(seconds, (read, cleaning, whole, plain), strict=True):
            seconds[name].append(value)
    row = {name: statistics.median(values) for name, values in seconds.items()}
    size = {"symbols": len(panel.symbols), "bars": int(panel.close.notna().to_numpy().sum())}
    return size | row | {"ratio": (row["read"] + row["panel"]) / row["pandas"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", type=Path, action="append", help="files of prices in a long table; may be repeated")
    parser.add_argument("--symbols", type=int, default=731)
    parser.add_argument("--bars", type=int, default=3000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = args.path or [Path(folder) / "market.parquet"]
        if not args.path:
            write_market(paths[0], args.symbols, args.bars)
        row = measure(paths, args.repeat)
    if args.json:
        print(json.dumps(row))
        return
    print(f"{row['symbols']} symbols, {row['bars']} bars; seconds of CPU:")
    print("  ".join(f"{name} {row[name]:.2f}" for name in ("read", "clean", "panel", "pandas")))
    print(f"read and panel take {row['ratio']:.1f} times plain pandas; a panel of 731 symbols may take {LIMIT:g} s")


if __name__ == "__main__":
    main()
