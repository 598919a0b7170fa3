"""One model trained by several processes that torchrun started: each takes its part of every batch.

The gradients are averaged as PyTorch's DistributedDataParallel does it (Li et al. 2020, "PyTorch Distributed:
Experiences on Accelerating Data Parallel Training"), but in one exchange after the backward pass and weighted by what
each part observed, so that the step is the one process's. That class itself wants the loss to be the module's
``forward`` and every parameter to be used, which encoders need not keep to, and gains nothing at these sizes.

The first process runs the program; the others only serve its trainings (``models.training.serve``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

#: In a training, a process that does not answer for so long is lost (one that died is noticed at once) ...
STEP_TIMEOUT = timedelta(minutes=5)

#: ... but the first may take its time between trainings.
JOB_TIMEOUT = timedelta(days=1)


class Team:
    """The processes that train together; one process alone is a team too, and nothing is exchanged there.

    Attributes:
        rank: this process's number; 0 leads.
        size: how many they are.
    """

    def __init__(self, rank: int = 0, size: int = 1, jobs: dist.ProcessGroup | None = None):
        self.rank = rank
        self.size = size
        self._jobs = jobs

    def part(self, chosen: np.ndarray) -> tuple[np.ndarray, bool]:
        """This process's windows of a batch, and whether they count: where there are fewer windows than processes,
        some take the first one along for nothing, so that all have the same gradients to exchange.
        """
        own = chosen[self.rank :: self.size]
        return (own, True) if len(own) else (chosen[:1], False)

    def average(self, tensors: Sequence[torch.Tensor], weight: torch.Tensor) -> None:
        """Replace each tensor, in place, by its mean over the processes.

        Args:
            tensors: on one device; as many and of the same shapes everywhere.
            weight: of this process's values, a scalar on that device, at least 0.
        """
        if self.size == 1:
            return
        weight = weight.reshape(1).float()
        mine = torch.cat([weight, *(weight * tensor.reshape(-1) for tensor in tensors)])
        with _named_losses():
            dist.all_reduce(mine)
        means = mine[1:] / mine[0].clamp(min=1)
        for tensor, mean in zip(tensors, means.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.reshape(tensor.shape))

    def device(self, kind: str) -> torch.device:
        """Where this process computes: its own accelerator of the machine's, or the CPU."""
        if self.size == 1 or kind == "cpu":
            return torch.device(kind)
        local = int(os.environ["LOCAL_RANK"])
        if kind != "cuda" or local >= torch.cuda.device_count():
            raise ValueError(
                f"engine.device: process {local} of this machine finds no {kind} device of its own; start as many as "
                f"there are ({torch.cuda.device_count()} cuda), or choose cpu"
            )
        torch.cuda.set_device(local)
        return torch.device("cuda", local)

    def send(self, job: Any) -> None:
        """Give all others the same ``job``; None = there will be no more. Only from the one that leads."""
        if self.size > 1:
            with _named_losses():
                dist.broadcast_object_list([job], src=0, group=self._jobs)

    def receive(self) -> Any:
        """The next job that the leading process sends."""
        box = [None]
        with _named_losses():
            dist.broadcast_object_list(box, src=0, group=self._jobs)
        return box[0]


#: A process has one team at most, as it has one default process group.
_team = Team()


def current_team() -> Team:
    """The team this process is in; of one, where it joined none or has left it."""
    return _team


def started_by_torchrun() -> bool:
    """Whether this process is one of several that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join() -> Team:
    """Meet the other processes that torchrun started; CPU tensors go by gloo, CUDA's by NCCL."""
    global _team
    cuda = torch.cuda.is_available() and dist.is_nccl_available()
    store, rank, size = next(dist.rendezvous("env://", timeout=STEP_TIMEOUT))
    # torchrun's store outlives a restart, and with it the addresses of those that are gone.
    attempt = dist.PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo", store=attempt, rank=rank, world_size=size, timeout=STEP_TIMEOUT
    )
    jobs = dist.new_group(backend="gloo", timeout=JOB_TIMEOUT)
    _team = Team(dist.get_rank(), dist.get_world_size(), jobs)
    return _team


def leave() -> None:
    """Be alone from here on; nothing happens where this process is."""
    global _team
    if _team.size > 1:
        _team = Team()
        dist.destroy_process_group()


@contextmanager
def _named_losses() -> Iterator[None]:
    """What torch raises when another process is gone becomes an error that says so."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(
            f"a process that trains this model was lost ({error}); the same command goes on from the last whole pass"
        ) from error
