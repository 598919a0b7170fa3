"""What a walk-forward's refits cost: 24 monthly warm starts against one training from scratch, on 300 assets.

    python -m tests.benchmarks.refit [--path FILE_OR_DIR ...] [--start 2023-12-01] [--cold-every 3]

Seconds are the process's own (CPU), so that other work on the machine does not count. Every few folds an encoder is
trained from scratch too, and both rebuild the windows that end in the month after the training: what neither has seen.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.assembly.market import load_market
from clusterfolio.engine.assembly.policy import make_fold_policy
from clusterfolio.engine.config.run import make_config
from clusterfolio.engine.folds.fitting import fit_fold
from clusterfolio.engine.folds.walk_forward import Fold, folds
from clusterfolio.feeds.features import with_features
from clusterfolio.feeds.panel import Panel
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.windows import Windows, make_windows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", nargs="*", default=[], help="prices; none = the made-up market")
    parser.add_argument("--assets", type=int, default=300)
    parser.add_argument("--start", default="2023-12-01", help="first month tested")
    parser.add_argument("--refits", type=int, default=24)
    parser.add_argument("--cold-every", type=int, default=3, help="train from scratch too, every so many folds")
    args = parser.parse_args()
    settings = {
        "walk_forward": {"refit": "month", "train_months": 24},
        "dates": {"start": args.start},
        "engine": {"device": "cpu"},
        "data": {"source": "files", "path": args.path} if args.path else {},
        "simulated": {} if args.path else {"n_assets": args.assets},
    }
    config = make_config(settings)
    panel = load_market(config).panel
    panel = with_features(panel.select(chosen(panel, args.assets)), config.features)
    planned = folds(panel.sessions, pd.Timestamp(args.start), config.walk_forward)[: args.refits + 1]
    print(f"{len(panel.tradable)} assets, {len(planned) - 1} refits, first test month {planned[0].start:%Y-%m}")
    make = partial(make_fold_policy, config, None)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        previous = None
        for fold in planned:
            warm, seconds = timed(fit_fold, fold, panel, make(fold, previous is not None), Path(folder) / "w", previous)
            row = {"month": f"{fold.start:%Y-%m}", "refit_s": seconds, "refit": unseen(warm, panel, fold)}
            if fold.number % args.cold_every == 0:
                cold, cold_seconds = timed(fit_fold, fold, panel, make(fold, False), Path(folder) / "c")
                row |= {"cold_s": cold_seconds, "cold": unseen(cold, panel, fold)}
            rows.append(row)
            previous = warm
            print(
                "  ".join(f"{key} {value:.4f}" if key != "month" else value for key, value in row.items()), flush=True
            )
    table = pd.DataFrame(rows)
    later, both = table.iloc[1:], table.iloc[1:].dropna()
    cold_fit, all_refits = table["cold_s"].mean(), later["refit_s"].sum()
    print(f"one training from scratch {cold_fit:.1f} s; {len(later)} refits {all_refits:.1f} s")
    print(f"all refits cost {all_refits / cold_fit:.2f} trainings from scratch")
    print(f"unseen reconstruction error: refitted {both['refit'].mean():.4f}, from scratch {both['cold'].mean():.4f}")


def chosen(panel: Panel, n_assets: int) -> list[str]:
    """The benchmark and the tradable assets with the most bars, ``n_assets`` of them, in the panel's order."""
    bars = panel.close[panel.tradable].notna().sum().sort_values(ascending=False, kind="stable")
    kept = {panel.benchmark, *bars.index[:n_assets]}
    return [name for name in panel.symbols if name in kept]


def timed(function, *args) -> tuple[Encoder, float]:
    """A result and the seconds of CPU it took."""
    began = time.process_time()
    return function(*args), time.process_time() - began


def unseen(encoder: Encoder, panel: Panel, fold: Fold) -> float:
    """Reconstruction error of the windows that end in the fold's test span."""
    return encoder.reconstruction_error(test_windows(panel, fold, encoder.lookback))


def test_windows(panel: Panel, fold: Fold, lookback: int) -> Windows:
    """Every tradable asset's windows that end in the fold's test span."""
    usable = panel.assets["tradable"].to_numpy(dtype=bool)
    first, last = np.flatnonzero((panel.dates >= fold.start) & (panel.dates <= fold.end))[[0, -1]]
    values, observed = panel.features.values[:, usable], panel.features.observed[:, usable]
    return make_windows(values, observed, lookback, first=first, last=last)


if __name__ == "__main__":
    main()
