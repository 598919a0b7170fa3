"""How fast encoders train, beside the plain loop that most programs have, on the same windows in the same run.

    python -m tests.benchmarks.training
    python -m tests.benchmarks.training --path ../shared/data/us_etfs.parquet --windows 16384 --json

The peer, ``plain``, is a ``DataLoader`` over a ``TensorDataset``, batches of 128, torch's own Transformer layer with
dropout 0.1, AdamW, clipped gradients, float32: the network of preset ``seed``, begun with the same weights.

- speed: windows per second of CPU on one thread, the two in turns, medians over ``--repeat`` passes; and per second of
  wall time on one thread and on two, which on a busy machine says little;
- loss: held out, after equal windows, pass by pass;
- time: seconds of CPU until the product, with ``default``'s schedule, has the held-out loss of the plain loop after 15
  passes;
- encoders: windows per second of CPU of each, with its own defaults.

Windows are of the made-up market, or of the prices under ``--path``: two years, the last tenth of the dates held out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import clusterfolio.models  # noqa: F401  # isort: skip - before torch, so that its threads sleep while they wait

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from clusterfolio import make_config
from clusterfolio.engine.assembly.market import load_market
from clusterfolio.feeds.features import make_features
from clusterfolio.models.batch import BatchSource
from clusterfolio.models.device import seeded, torch_threads
from clusterfolio.models.encoder import ENCODERS, make_encoder
from clusterfolio.models.networks.autoencoder import window_decoder
from clusterfolio.models.scaling import fit_scaler, scale
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.training import mean_loss, split_by_time, train
from clusterfolio.models.windows import Windows, make_windows

LOOKBACK, DROPOUT, SESSIONS = 30, 0.1, 504
CPU = torch.device("cpu")

#: How preset ``seed`` trains; ``default`` is ``TrainConfig()``.
SEED = TrainConfig(epochs=15, batch_size=128, learning_rate=1e-3, windows_per_epoch=0, holdout=0.0)


class PlainAutoencoder(nn.Module):
    """The network of preset ``seed`` as torch's own layers make it, ``(B, T, F)`` to the same."""

    def __init__(self, n_features: int, width: int = 64, heads: int = 4, hidden: int = 128):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(n_features, width), nn.LayerNorm(width), nn.ReLU())
        self.positions = nn.Parameter(torch.zeros(LOOKBACK, width))
        layer = nn.TransformerEncoderLayer(width, heads, hidden, DROPOUT, batch_first=True)
        self.attention = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.decoder = window_decoder(width, hidden, LOOKBACK, n_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.attention(self.embed(x) + self.positions).mean(dim=1))


def plain_loss(rebuilt: torch.Tensor, x: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of what was observed."""
    return ((rebuilt - x).square() * observed).sum() / observed.sum()


@dataclass
class Spent:
    """Seconds of CPU and of wall time by pass, and the held-out loss after each."""

    cpu: list[float]
    wall: list[float]
    held: list[float]


class Watch:
    """Adds a pass at each ``lap``; what happens between ``lap`` and ``go`` is not counted."""

    def __init__(self):
        self.spent = Spent([], [], [])
        self.go()

    def go(self) -> None:
        self.began = time.process_time(), time.monotonic()

    def lap(self) -> None:
        self.spent.cpu.append(time.process_time() - self.began[0])
        self.spent.wall.append(time.monotonic() - self.began[1])


def fresh(encoder: str, n_features: int) -> nn.Module:
    """An untrained network with its defaults; the Transformer's are those of ``seed``."""
    with seeded(0, CPU):
        return make_encoder(encoder, n_features, LOOKBACK)


def plain_loop(windows: Windows, held: Windows, epochs: int, threads: int = 1) -> Spent:
    """The peer over all windows, ``epochs`` times."""
    tables = [[torch.from_numpy(each) for each in part.gather(np.arange(len(part)))] for part in (windows, held)]
    model = PlainAutoencoder(windows.values.shape[1])
    model.load_state_dict(fresh("transformer", windows.values.shape[1]).state_dict())
    loader = DataLoader(TensorDataset(*tables[0]), batch_size=SEED.batch_size, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=SEED.learning_rate)
    watch = Watch()
    with torch_threads(threads), seeded(0, CPU):
        for _ in range(epochs):
            model.train()
            watch.go()
            for bars, observed in loader:
                optimizer.zero_grad()
                loss = plain_loss(model(bars), bars, observed)
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), SEED.clip_norm)
                optimizer.step()
            watch.lap()
            model.eval()
            with torch.no_grad():
                watch.spent.held.append(plain_loss(model(tables[1][0]), *tables[1]).item())
    return watch.spent


def product_loop(windows: Windows, held: Windows, config: TrainConfig, encoder: str = "transformer") -> Spent:
    """The product's own training; what it evaluates by itself after a pass is counted."""
    module = fresh(encoder, windows.values.shape[1])
    source, watch = BatchSource(held, CPU), Watch()

    def after(*_) -> None:
        watch.lap()
        watch.spent.held.append(mean_loss(module, source, np.arange(len(held))))
        watch.go()

    train(module, windows, config, 0, CPU, progress=after)
    return watch.spent


def make_data(paths: list[Path], limit: int) -> tuple[Windows, Windows]:
    """Scaled windows of two years to train on, evenly chosen, and those held out."""
    settings = {"source": "files", "path": [str(path) for path in paths], "universe": "all"} if paths else {}
    panel = load_market(make_config({"data": settings})).panel
    features = make_features(panel)
    last = len(panel.dates) - 1
    windows = make_windows(features.values, features.observed, LOOKBACK, first=max(0, last - SESSIONS), last=last)
    chosen, held = split_by_time(windows, holdout=0.1)
    windows = scale(windows, fit_scaler(windows.take(chosen)), 10.0)
    return windows.take(thinned(chosen, limit)), windows.take(thinned(held, limit // 4))


def thinned(chosen: np.ndarray, limit: int) -> np.ndarray:
    return chosen if len(chosen) <= limit else chosen[np.linspace(0, len(chosen) - 1, limit).astype(np.int64)]


def speeds(windows: Windows, held: Windows, repeat: int) -> dict:
    """Windows per second of each loop, and their ratio; on two threads as wall time only."""
    few = held.take(np.arange(min(64, len(held))))
    one = replace(SEED, epochs=1)
    rows: dict[str, list[float]] = {name: [] for name in ("plain", "product")}
    walls: dict[str, list[float]] = {f"{name}, {n}": [] for name in rows for n in (1, 2)}
    for _ in range(repeat):
        for threads in (1, 2):
            for name, spent in (
                ("plain", plain_loop(windows, few, 1, threads)),
                ("product", product_loop(windows, few, replace(one, threads=threads))),
            ):
                walls[f"{name}, {threads}"].append(len(windows) / spent.wall[0])
                if threads == 1:
                    rows[name].append(len(windows) / spent.cpu[0])
    found = {name: statistics.median(values) for name, values in rows.items()}
    ratio = statistics.median(b / a for a, b in zip(rows["plain"], rows["product"], strict=True))
    return found | {"ratio": ratio, "wall": {name: statistics.median(values) for name, values in walls.items()}}


def losses(windows: Windows, held: Windows) -> dict:
    """Held-out losses after equal windows, and the time to the plain loop's last one with ``default``'s schedule."""
    plain, product = plain_loop(windows, held, SEED.epochs), product_loop(windows, held, SEED)
    # The windows held out here are not among those trained on, so default's own holdout is cut from the latter.
    default = product_loop(windows, held, replace(TrainConfig(), epochs=40, patience=40))
    goal = plain.held[-1]
    reached = next((at for at, loss in enumerate(default.held) if loss <= goal), None)
    return {
        "plain": plain.held,
        "product": product.held,
        "default": default.held[: TrainConfig().epochs],
        "cpu": {"plain": sum(plain.cpu), "product": sum(product.cpu), "default": sum(default.cpu[:5])},
        "to_plains_loss": None if reached is None else sum(default.cpu[: reached + 1]),
    }


def measure(windows: Windows, held: Windows, encoders: list[str], repeat: int, curves: bool) -> dict:
    """Everything that is printed."""
    few, one = held.take(np.arange(min(64, len(held)))), replace(SEED, epochs=1)
    by_encoder = {
        name: statistics.median(
            len(windows) / product_loop(windows, few, one, name).cpu[0] for _ in range(max(1, repeat))
        )
        for name in encoders
    }
    found = {"windows": len(windows), "torch": torch.__version__, "speed": speeds(windows, held, repeat)}
    return found | {"encoders": by_encoder} | ({"losses": losses(windows, held)} if curves else {})


def say(found: dict) -> None:
    """Print it for people."""
    speed = found["speed"]
    print(f"{found['windows']:,} windows of {LOOKBACK} bars, torch {found['torch']}; windows per second")
    print(f"CPU, one thread: plain {speed['plain']:,.0f}, product {speed['product']:,.0f}, {speed['ratio']:.2f} times")
    print("wall: " + ", ".join(f"{name} {value:,.0f}" for name, value in speed["wall"].items()))
    print("encoders: " + ", ".join(f"{name} {value:,.0f}" for name, value in found["encoders"].items()))
    if "losses" not in found:
        return
    curves = found["losses"]
    for name in ("plain", "product", "default"):
        print(f"{name:8} {curves['cpu'][name]:6.1f} s  held out " + " ".join(f"{loss:.4f}" for loss in curves[name]))
    to = curves["to_plains_loss"]
    print(
        "default's schedule " + ("does not reach" if to is None else f"takes {to:.1f} s to") + " the plain loop's loss"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", type=Path, nargs="+", default=[], help="price files; none = the made-up market")
    parser.add_argument("--windows", type=int, default=32_768, help="windows a pass")
    parser.add_argument("--encoders", nargs="*", default=sorted(ENCODERS), choices=sorted(ENCODERS), metavar="NAME")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--no-curves", action="store_true", help="speeds only, without the 15 passes")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    windows, held = make_data(args.path, args.windows)
    found = measure(windows, held, args.encoders, args.repeat, not args.no_curves)
    if args.json:
        print(json.dumps(found))
    else:
        say(found)


if __name__ == "__main__":
    main()
