"""Where the arithmetic runs, and global torch state borrowed and given back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from clusterfolio.models import openmp

openmp.settle()

logger = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve_device(name: str) -> torch.device:
    """The torch device called ``name``; ``"auto"`` is this machine's accelerator where it has one, else the CPU.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    kind = name.split(":")[0]
    if kind not in DEVICES:
        raise ValueError(f"unknown device {name!r}; available: {', '.join(DEVICES)}")
    present = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if name == "auto":
        return torch.device("cpu") if present is None else present
    if kind != "cpu" and (present is None or present.type != kind):
        found = "no accelerator" if present is None else present.type
        raise ValueError(f"device {name!r} is not available here (found: {found}); use 'auto' or 'cpu'")
    return torch.device(name)


@cache
def keep_freed_memory() -> None:
    """Have the C library keep what a step frees for the next one, instead of giving it back to the system.

    glibc does so with blocks up to the largest that was ever freed, or 32 MiB, and holds twice as much at most. What
    is given back must be mapped and cleared again, a tenth of an encoder's training. Other libraries take no notice.
    """
    torch.empty(31 << 20, dtype=torch.uint8)  # never touched


@contextmanager
def torch_threads(threads: int) -> Iterator[int]:
    """Runs the block with ``threads`` CPU threads (0: as many as torch is set to) and yields their number."""
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    if torch.get_num_threads() > 1 and openmp.spinning:
        _say_that_threads_spin()
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


@cache
def _say_that_threads_spin() -> None:
    logger.warning(
        "torch was imported before clusterfolio.models, so its threads wait by spinning: where other programs run too, "
        "they take several times as long; import clusterfolio.models first, or set OMP_WAIT_POLICY=PASSIVE"
    )


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Runs the block with torch's generators seeded; their states before it return afterwards."""
    if device.type == "mps":  # one generator only, which fork_rng does not know how to ask for
        cpu, mps = torch.get_rng_state(), torch.mps.get_rng_state()
        try:
            torch.manual_seed(seed)
            yield
        finally:
            torch.set_rng_state(cpu)
            torch.mps.set_rng_state(mps)
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
