"""The one training loop. It knows windows, batches and a loss, and no architecture."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from models.batch import BatchSource
from models.device import seeded, torch_threads
from models.windows import Windows

logger = logging.getLogger(__name__)

#: Windows per forward pass where no gradient is taken.
EVALUATION_BATCH = 512

#: Called after each epoch with (epochs done, epochs at most, training loss, held-out loss or None).
Progress = Callable[[int, int, float, float | None], None]


@dataclass(frozen=True)
class TrainConfig:
    """How an encoder is trained (AdamW).

    The defaults train in some ten seconds on a laptop's core: the held-out loss still falls a little after that, the
    clusters drawn from the embeddings get no better.

    Attributes:
        epochs: passes at most.
        windows_per_epoch: windows drawn anew, without replacement, for each pass; 0 = all of them.
        batch_size: windows per step.
        learning_rate, weight_decay: of AdamW.
        clip_norm: the gradient's norm is cut to this.
        holdout: share of the training span's dates, the last ones, whose windows are held out to decide when to
            stop; windows that share a bar with them are left out of training. 0 = train on everything, all epochs.
        holdout_windows: at most this many held-out windows, evenly spaced, are evaluated after each pass; 0 = all.
        patience: stop after this many passes without a better held-out loss; the best pass's weights are kept.
        threads: CPU threads; 0 = as torch is set. A different number gives slightly different weights.
    """

    epochs: int = 5
    windows_per_epoch: int = 8192
    batch_size: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    holdout: float = 0.1
    holdout_windows: int = 4096
    patience: int = 2
    threads: int = 1

    def __post_init__(self):
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("windows_per_epoch", "holdout_windows", "threads", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.holdout < 1:
            raise ValueError(f"holdout must be at least 0 and less than 1, got {self.holdout}")


@dataclass
class TrainingHistory:
    """What a training did.

    Attributes:
        train_loss: mean loss over the windows of each pass, as they were trained on (with dropout).
        holdout_loss: mean held-out loss after each pass; empty where nothing was held out.
        best_epoch: number of passes, from 1, after which the kept weights stood.
        seconds: time spent in the loop.
        n_windows, n_holdout: windows to train on and held out.
        device, threads: what it ran on.
    """

    train_loss: list[float] = field(default_factory=list)
    holdout_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0
    n_windows: int = 0
    n_holdout: int = 0
    device: str = "cpu"
    threads: int = 1


def split_by_time(windows: Windows, holdout: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the windows to train on and of those held out, which end on the last ``holdout`` share of dates.

    No bar belongs to both: what overlaps with a held-out window of the same asset is in neither.
    """
    dates = np.unique(windows.date_idx)
    n_held = round(holdout * len(dates))
    if n_held == 0:
        return np.arange(len(windows)), np.arange(0)
    held = windows.date_idx >= dates[-n_held]
    opening = np.full(windows.asset_idx.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(opening, windows.asset_idx[held], windows.start[held])
    free = ~held & (windows.start + windows.lookback <= opening[windows.asset_idx])
    return np.nonzero(free)[0], np.nonzero(held)[0]


def train(
    module: nn.Module,
    windows: Windows,
    config: TrainConfig,
    random_state: int,
    device: torch.device,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> TrainingHistory:
    """Trains ``module`` in place on scaled windows and leaves it with the best weights, in evaluation mode.

    The same arguments on the same kind of machine give the same bits; torch's global generators and thread count are
    as before afterwards. With ``checkpoint``, every pass is saved to that file: an interrupted training that is
    called again goes on from there and ends with the weights it would have had; the file goes away at the end.
    """
    began = time.monotonic()
    chosen, held = split_by_time(windows, config.holdout)
    if not len(chosen) and len(windows):
        logger.warning("training span too short to hold out %.0f %% of its dates: all epochs", 100 * config.holdout)
        chosen, held = np.arange(len(windows)), np.arange(0)
    if not len(chosen):
        raise ValueError(f"windows: nothing to train on ({len(windows)} windows of {windows.lookback} bars)")
    if config.holdout_windows and len(held) > config.holdout_windows:
        held = held[np.linspace(0, len(held) - 1, config.holdout_windows).astype(np.int64)]

    module.to(device)
    source = BatchSource(windows, device)
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    history = TrainingHistory(n_windows=len(chosen), n_holdout=len(held), device=str(device))
    best = copy_of(module.state_dict())
    run = None if checkpoint is None else Checkpoint(Path(checkpoint), module, windows, config, random_state)
    if run is not None and run.path.exists():
        best = run.load(module, optimizer, history, device)
    spent = history.seconds

    with torch_threads(config.threads) as history.threads:
        while len(history.train_loss) < config.epochs and not exhausted(history, config.patience):
            epoch = len(history.train_loss)
            epoch_seed = int(np.random.SeedSequence([random_state, epoch]).generate_state(1)[0])
            order = np.random.default_rng(epoch_seed).permutation(chosen)
            order = order[: config.windows_per_epoch or None]
            with seeded(epoch_seed, device):
                history.train_loss.append(run_epoch(module, source, order, config, optimizer))
            if len(held):
                history.holdout_loss.append(mean_loss(module, source, held, epoch_seed))
            losses = history.holdout_loss
            if not losses or losses[-1] <= min(losses):
                history.best_epoch = epoch + 1
                best = copy_of(module.state_dict())
            history.seconds = spent + time.monotonic() - began
            logger.debug("epoch %d: loss %.5f, held out %s", epoch + 1, history.train_loss[-1], losses[-1:])
            if run is not None:
                run.save(module, optimizer, history, best)
            if progress is not None:
                progress(epoch + 1, config.epochs, history.train_loss[-1], losses[-1] if losses else None)
    module.load_state_dict(best)
    module.eval()
    if run is not None:
        run.path.unlink(missing_ok=True)
    return history


def exhausted(history: TrainingHistory, patience: int) -> bool:
    """Whether the held-out loss has not improved for ``patience`` passes."""
    return bool(history.holdout_loss) and len(history.holdout_loss) - history.best_epoch >= patience


def run_epoch(
    module: nn.Module,
    source: BatchSource,
    order: np.ndarray,
    config: TrainConfig,
    optimizer: torch.optim.Optimizer,
) -> float:
    """One pass over the windows at ``order``; their mean loss."""
    module.train()
    total = torch.zeros((), device=source.start.device)
    for at in range(0, len(order), config.batch_size):
        chosen = order[at : at + config.batch_size]
        loss = module.loss(source.batch(chosen))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), config.clip_norm)
        optimizer.step()
        total += loss.detach() * len(chosen)
    mean = total.item() / len(order)
    if not np.isfinite(mean):
        raise FloatingPointError(
            f"training loss became {mean}; try a smaller learning_rate than {config.learning_rate}"
        )
    return mean


@torch.no_grad()
def mean_loss(module: nn.Module, source: BatchSource, chosen: np.ndarray, seed: int = 0) -> float:
    """Mean loss over the windows at ``chosen``, in evaluation mode; ``seed`` is for losses that draw samples."""
    module.eval()
    total = torch.zeros((), device=source.start.device)
    with seeded(seed, source.start.device):
        for at in range(0, len(chosen), EVALUATION_BATCH):
            part = chosen[at : at + EVALUATION_BATCH]
            total += module.loss(source.batch(part)) * len(part)
    return total.item() / len(chosen)


def copy_of(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dictionary that further training does not change."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}


class Checkpoint:
    """One training's state after its last complete pass, in one safetensors file that replaces itself atomically.

    Attributes:
        path: the file.
        identity: hash of what was trained, on what and how; another training's file is refused.
    """

    def __init__(self, path: Path, module: nn.Module, windows: Windows, config: TrainConfig, random_state: int):
        digest = hashlib.sha256()
        digest.update(json.dumps([asdict(config), random_state, type(module).__qualname__]).encode())
        for array in (windows.values, windows.observed, windows.start, windows.date_idx):
            digest.update(np.ascontiguousarray(array).data)
        for table in (windows.exog, windows.static):
            if table is not None:
                digest.update(np.ascontiguousarray(table.to_numpy()).data)
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        self.path = path
        self.identity = digest.hexdigest()

    def save(self, module: nn.Module, optimizer: torch.optim.Optimizer, history: TrainingHistory, best: dict) -> None:
        """Writes the file anew, whole or not at all."""
        tensors = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
        part = self.path.with_name(self.path.name + ".part")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"identity": self.identity, "history": json.dumps(asdict(history))}
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, part, metadata)
        os.replace(part, self.path)

    def load(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, history: TrainingHistory, device: torch.device
    ) -> dict[str, torch.Tensor]:
        """Puts the saved state into the arguments; returns the best weights so far."""
        groups: dict[str, dict] = {"module": {}, "best": {}, "optimizer": {}}
        with safe_open(self.path, "pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if metadata.get("identity") != self.identity:
                raise ValueError(f"checkpoint {self.path} is from another training (other data, model or settings)")
            for key in file.keys():  # noqa: SIM118 - not a dictionary
                group, name = key.split(".", 1)
                groups[group][name] = file.get_tensor(key)
        module.load_state_dict(groups["module"])
        state: dict[int, dict] = {}
        for key, value in groups["optimizer"].items():
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        for name, value in json.loads(metadata["history"]).items():
            if name not in ("device", "threads"):
                setattr(history, name, value)
        logger.info("training goes on after epoch %d, from %s", len(history.train_loss), self.path)
        return {name: tensor.to(device) for name, tensor in groups["best"].items()}
