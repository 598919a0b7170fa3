"""The one training loop, in one process or several. It knows windows, batches and a loss, and no architecture."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from clusterfolio.models.adamw import Optimizer, make_optimizer
from clusterfolio.models.batch import BatchSource
from clusterfolio.models.checkpoint import Checkpoint
from clusterfolio.models.device import keep_freed_memory, seeded, torch_threads
from clusterfolio.models.distributed import Team, current_team, leave
from clusterfolio.models.train_config import TrainConfig, TrainingHistory
from clusterfolio.models.windows import Windows

logger = logging.getLogger(__name__)

#: Windows per forward pass where no gradient is taken.
EVALUATION_BATCH = 512

#: Called after each epoch with (epochs done, epochs at most, training loss, held-out loss or None).
Progress = Callable[[int, int, float, float | None], None]


@dataclass
class Training:
    """A training between two passes, as far as it is not the optimizer's.

    Attributes:
        chosen, held: positions of the windows to train on and of those held out.
        history: of the passes done.
    """

    module: nn.Module
    windows: Windows
    chosen: np.ndarray
    held: np.ndarray
    config: TrainConfig
    random_state: int
    history: TrainingHistory


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

    In a team of several processes (``models.distributed``) the leading one calls this and the others ``serve``. The
    batches are the same as one process's, so is the loss but for rounding, and for dropout, whose noise each draws for
    itself; as many processes give the same bits again.
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
    optimizer = make_optimizer(module, config)
    team = current_team()
    history = TrainingHistory(n_windows=len(chosen), n_holdout=len(held), device=str(device), processes=team.size)
    training = Training(module, windows, chosen, held, config, random_state, history)
    best = copy_of(module.state_dict())
    run = None if checkpoint is None else Checkpoint(Path(checkpoint), module, windows, config, random_state)
    if run is not None and run.path.exists():
        best = run.load(module, optimizer, history, device)
    spent = history.seconds

    def after_pass(best: dict[str, torch.Tensor]) -> None:
        history.seconds = spent + time.monotonic() - began
        if run is not None:
            run.save(module, optimizer, history, best)
        if progress is not None:
            done, losses = len(history.train_loss), history.holdout_loss
            progress(done, config.epochs, history.train_loss[-1], losses[-1] if losses else None)

    if team.size > 1:
        team.send(job_of(training, optimizer, device))
    try:
        best = run_passes(training, optimizer, device, best, team, after_pass)
    except FloatingPointError:  # in every process at once
        raise
    except BaseException:
        leave()  # the others wait for this one's part, and learn so that it will not come
        raise
    module.load_state_dict(best)
    module.eval()
    if run is not None:
        run.path.unlink(missing_ok=True)
    return history


def serve(team: Team) -> None:
    """Take part in the trainings of the team's leading process until it has no more."""
    while (job := team.receive()) is not None:
        training, optimizer_state, kind = job
        device = team.device(kind)
        module = training.module.to(device)
        optimizer = make_optimizer(module, training.config)
        optimizer.load_state_dict(optimizer_state)
        try:
            run_passes(training, optimizer, device, copy_of(module.state_dict()), team)
        except FloatingPointError as error:
            logger.info("%s (said by the leading process)", error)


def job_of(training: Training, optimizer: Optimizer, device: torch.device) -> tuple[Training, dict, str]:
    """What the other processes need to take part, with every tensor on the CPU: their device may be another."""
    state = optimizer.state_dict()
    moments = {number: {k: v.cpu() for k, v in each.items()} for number, each in state["state"].items()}
    on_cpu = replace(training, module=copy.deepcopy(training.module).cpu())
    return on_cpu, {**state, "state": moments}, device.type


def run_passes(
    training: Training,
    optimizer: Optimizer,
    device: torch.device,
    best: dict[str, torch.Tensor],
    team: Team,
    after_pass: Callable[[dict[str, torch.Tensor]], None] | None = None,
) -> dict[str, torch.Tensor]:
    """The passes that ``training`` lacks, the same in every process of the team; the best weights.

    Args:
        best: the best weights so far.
        after_pass: told the best weights after each pass.
    """
    module, config, history, held = training.module, training.config, training.history, training.held
    source = BatchSource(training.windows, device)
    keep_freed_memory()
    with torch_threads(config.threads) as history.threads:
        while len(history.train_loss) < config.epochs and not exhausted(history, config.patience):
            epoch = len(history.train_loss)
            epoch_seed = seed_of(training.random_state, epoch)
            order = np.random.default_rng(epoch_seed).permutation(training.chosen)
            order = order[: config.windows_per_epoch or None]
            noise = epoch_seed if team.rank == 0 else seed_of(training.random_state, epoch, team.rank)
            with seeded(noise, device):
                history.train_loss.append(run_epoch(module, source, order, config, optimizer, team))
            if len(held):
                history.holdout_loss.append(mean_loss(module, source, held, noise, team))
            losses = history.holdout_loss
            if not losses or losses[-1] <= min(losses):
                history.best_epoch = epoch + 1
                best = copy_of(module.state_dict())
            logger.debug("epoch %d: loss %.5f, held out %s", epoch + 1, history.train_loss[-1], losses[-1:])
            if after_pass is not None:
                after_pass(best)
    return best


def seed_of(*numbers: int) -> int:
    """A seed that these numbers decide."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def exhausted(history: TrainingHistory, patience: int) -> bool:
    """Whether the held-out loss has not improved for ``patience`` passes."""
    return bool(history.holdout_loss) and len(history.holdout_loss) - history.best_epoch >= patience


def run_epoch(
    module: nn.Module,
    source: BatchSource,
    order: np.ndarray,
    config: TrainConfig,
    optimizer: Optimizer,
    team: Team,
) -> float:
    """One pass over the windows at ``order``, a part of each batch in each process; the mean loss of them all."""
    module.train()
    parameters = list(module.parameters())
    total = torch.zeros((), device=source.start.device)
    for at in range(0, len(order), config.batch_size):
        chosen = order[at : at + config.batch_size]
        loss, weight = part_loss(module, source, chosen, team)
        for parameter in parameters:
            parameter.grad = None
        loss.backward()
        loss = loss.detach()
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        team.average([loss, *gradients], weight)
        clip(gradients, config.clip_norm)
        optimizer.step()
        total += loss * len(chosen)
    mean = total.item() / len(order)
    if not np.isfinite(mean):
        raise FloatingPointError(
            f"training loss became {mean}; try a smaller learning_rate than {config.learning_rate}"
        )
    return mean


@torch.no_grad()
def clip(gradients: list[torch.Tensor], most: float) -> None:
    """Scale gradients, in place, so that their norm as one vector is ``most`` at most.

    ``nn.utils.clip_grad_norm_`` to the bit. That one first sorts tensors by device and type, which takes longer than
    the norms of a small network's.
    """
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, (most / (norm + 1e-6)).clamp(max=1.0))


@torch.no_grad()
def mean_loss(
    module: nn.Module, source: BatchSource, chosen: np.ndarray, seed: int = 0, team: Team | None = None
) -> float:
    """Mean loss over the windows at ``chosen``, in evaluation mode; ``seed`` is for losses that draw samples.

    Args:
        team: the processes that share the windows, if this is one of several that all ask.
    """
    team = team or Team()
    module.eval()
    total = torch.zeros((), device=source.start.device)
    with seeded(seed, source.start.device):
        for at in range(0, len(chosen), EVALUATION_BATCH):
            batch = chosen[at : at + EVALUATION_BATCH]
            loss, weight = part_loss(module, source, batch, team)
            team.average([loss], weight)
            total += loss * len(batch)
    return total.item() / len(chosen)


def part_loss(
    module: nn.Module, source: BatchSource, chosen: np.ndarray, team: Team
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of this process's part of a batch, and its weight among the parts: how many entries were observed.

    A loss that is a mean over observed entries is then, averaged, the whole batch's. One that is a mean over windows
    is so too where all windows are observed alike, and else differs a little.
    """
    own, counts = team.part(chosen)
    batch = source.batch(own)
    return module.loss(batch), batch.mask.sum() * counts


def copy_of(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dictionary that further training does not change."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}
