"""How long the indicators take, beside ``ta`` called on a frame per symbol as its documentation shows, in the same run.

    python -m tests.benchmarks.features
    python -m tests.benchmarks.features --symbols 700 --bars 2520 --json

The peer computes the same five indicators and checks nothing: no missing bars, no unreported volume, no bounds. Medians
of ``--repeat`` turns, seconds of CPU; ``ratio`` is ours over the peer's. Where all bars are there, both agree (tested).
"""

from __future__ import annotations

import argparse
import json
import statistics

import numpy as np
import pandas as pd
from ta.momentum import RSIIndicator
from ta.trend import MACD

from clusterfolio.feeds.features import make_features
from clusterfolio.feeds.panel import Panel
from tests.benchmarks.engine import make_panel
from tests.benchmarks.load import timed


def plain_ta(panel: Panel) -> np.ndarray:
    """The five indicators of every symbol, ``(n_dates, n_assets, 5)``, in the order of ``feeds.features.FEATURES``."""
    parts = []
    for symbol in panel.symbols:
        frame = pd.DataFrame({"close": panel.close[symbol], "volume": panel.volume[symbol]})
        frame["log_return"] = np.log(frame["close"]).diff()
        frame["log_volume_change"] = np.log(frame["volume"]).diff()
        frame["rsi"] = RSIIndicator(frame["close"]).rsi()
        frame["macd_diff"] = MACD(frame["close"]).macd_diff() / frame["close"]
        frame["volatility"] = frame["log_return"].rolling(20).std()
        parts.append(frame.drop(columns=["close", "volume"]).to_numpy())
    return np.stack(parts, axis=1)


def measure(symbols: int, bars: int, repeat: int) -> dict:
    """Seconds of CPU of both."""
    panel = make_panel(symbols, bars, missing=0.0)
    seconds: dict[str, list[float]] = {"features": [], "ta": []}
    for _ in range(repeat):
        for name, work in (("features", make_features), ("ta", plain_ta)):
            seconds[name].append(timed(work, panel)[1])
    row = {name: statistics.median(values) for name, values in seconds.items()}
    return {"symbols": symbols, "bars": bars} | row | {"ratio": row["features"] / row["ta"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=300)
    parser.add_argument("--bars", type=int, default=2520)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    row = measure(args.symbols, args.bars, args.repeat)
    if args.json:
        print(json.dumps(row))
        return
    print(f"{row['symbols']} symbols x {row['bars']} bars, seconds of CPU:")
    print(f"features {row['features']:.2f}, plain ta {row['ta']:.2f}: {row['ratio']:.2f} times")


if __name__ == "__main__":
    main()
