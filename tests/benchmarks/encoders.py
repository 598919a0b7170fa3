"""Every encoder beside its untrained self: do its clusters stay apart, what does it rebuild, what does it cost?

    python -m tests.benchmarks.encoders --path ../shared/data --years 2017 2019

For each test year the encoder is trained on the two years before it, as ``run`` would train it, and judged on the year:

- (a), (b): of ``tests.benchmarks.embedding``, for clusters drawn from the newest window's embeddings, from the joined
  windows of two years reduced to their 20 strongest directions, and from these after attention (``trajectory``);
- rebuilt: mean squared error, over what was observed, of the year's windows (one every 21 sessions) rebuilt from their
  embeddings, in units of a channel's interquartile range; the windows' own mean square is what an embedding that knows
  nothing would leave;
- seconds: processor time of the training.

A lookback other than 30 has windows of its own, which are not rebuilt as easily: compare it with its untrained self.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from clusterfolio.feeds.panel import Panel
from clusterfolio.models.device import torch_threads
from clusterfolio.models.encoder import ENCODERS, Encoder
from clusterfolio.models.networks.autoencoder import masked_mse
from clusterfolio.models.reference import untrained
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.training import EVALUATION_BATCH
from clusterfolio.models.windows import Windows, make_windows
from clusterfolio.strategies.diversification import log_returns
from clusterfolio.strategies.embedding import EmbeddingConfig, PanelEmbedder
from tests.benchmarks.embedding import EXCLUDED, Trial, clustered, load, make_trial, row_of

EMBEDDINGS = {
    "last window": EmbeddingConfig(kind="last"),
    "joined": EmbeddingConfig(kind="trajectory", attention_layers=0, components=20),
    "trajectory": EmbeddingConfig(kind="trajectory"),
}

#: Sessions between an asset's windows that are rebuilt.
REBUILT_EVERY = 21


@dataclass(frozen=True)
class Variant:
    """An encoder as it is compared: its name in ``ENCODERS``, and what differs from the defaults."""

    name: str
    config: dict = field(default_factory=dict)
    lookback: int = 30


VARIANTS = {name: Variant(name) for name in ENCODERS} | {
    "transformer, masked": Variant("transformer", {"masked": 0.3}),
    "transformer, 252 bars": Variant("transformer", {"patch": 21}, lookback=252),
}


def rebuilt_error(encoder: Encoder, windows: Windows) -> float:
    """Mean squared error of rebuilt windows over their observed, scaled entries."""
    source = encoder.source(windows)
    total = observed = 0
    with torch.no_grad(), torch_threads(1):
        for at in range(0, len(windows), EVALUATION_BATCH):
            batch = source.batch(np.arange(at, min(at + EVALUATION_BATCH, len(windows))))
            seen = int(batch.mask.sum())
            total += masked_mse(encoder.module_.rebuild(batch), batch.x, batch.mask).item() * seen
            observed += seen
    return total / observed


def windows_of(panel: Panel, lookback: int, stride: int, first: int) -> Windows:
    return make_windows(panel.features.values, panel.features.observed, lookback, stride, first)


def compare(variant: Variant, trial: Trial, panel: Panel, seed: int, trained: bool) -> dict:
    """One encoder's figures in one test year; ``panel`` reaches past it."""
    windows = windows_of(trial.panel, variant.lookback, 1, trial.first)
    encoder = Encoder(variant.name, variant.config, TrainConfig(), variant.lookback, random_state=seed, device="cpu")
    began = time.process_time()
    encoder = encoder.fit(windows) if trained else untrained(encoder, windows)
    seconds = time.process_time() - began
    year = panel.until(f"{trial.year}-12-31")
    later = windows_of(year, variant.lookback, REBUILT_EVERY, len(trial.panel.dates))
    figures = {
        "rebuilt": rebuilt_error(encoder, later),
        "parameters": sum(parameter.numel() for parameter in encoder.module_.parameters()),
        "seconds": seconds,
    }
    last, joined = (
        PanelEmbedder(encoder, EMBEDDINGS[form]).embed(trial.panel) for form in ("last window", "trajectory")
    )
    for form, config in EMBEDDINGS.items():
        rows = replace(last if config.kind == "last" else joined, config=config).rows(trial.names)
        measured = row_of(form, trial, seed, clustered(rows.to_numpy(), trial.names))
        figures |= {f"gap, {form}": measured["gap"], f"between, {form}": measured["between"]}
    return figures


def table(rows: list[dict]) -> pd.DataFrame:
    """Means over years and seeds, by encoder and whether it was trained."""
    flat = pd.DataFrame(rows).drop(columns=["year", "seed"])
    return flat.groupby(["encoder", "trained"], sort=False).mean()


def markdown(means: pd.DataFrame) -> str:
    """A line per encoder: trained, then untrained, figure by figure."""
    forms = [f"{name}, {form}" for form in EMBEDDINGS for name in ("gap", "between")]
    head = ["encoder", *(f"({'a' if name.startswith('gap') else 'b'}){name.split(',')[1]}" for name in forms)]
    lines = [[*head, "rebuilt", "parameters", "seconds"]]
    lines.append(["---"] * len(lines[0]))
    for encoder in means.index.unique("encoder"):
        after, before = means.loc[(encoder, True)], means.loc[(encoder, False)]
        cells = [f"{after[name]:.3f} / {before[name]:.3f}" for name in [*forms, "rebuilt"]]
        lines.append([encoder, *cells, f"{after['parameters']:,.0f}", f"{after['seconds']:.0f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", type=Path, nargs="+", required=True, help="price files and folders")
    parser.add_argument("--years", type=int, nargs="+", default=[2017, 2019], help="test years: 2017 2019")
    parser.add_argument("--encoders", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="every figure instead of the table")
    args = parser.parse_args()
    panel = load(args.path, None, "all", EXCLUDED, "SPY")
    returns = log_returns(panel)
    rows = []
    for year in args.years:
        trial = make_trial(panel, returns, year)
        for name in args.encoders:
            for seed in range(args.seeds):
                for trained in (True, False):
                    figures = compare(VARIANTS[name], trial, panel, seed, trained)
                    rows.append({"encoder": name, "trained": trained, "year": year, "seed": seed} | figures)
                    shown = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
                    told = "trained" if trained else "untrained"
                    print(f"{year} {name} {told} seed {seed}: {shown}", file=sys.stderr, flush=True)
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"\nTrained / untrained, mean of {', '.join(map(str, args.years))}, seeds: {args.seeds}\n")
    print(markdown(table(rows)))


if __name__ == "__main__":
    main()
