"""Who is told how a run goes, and what its stages cost."""

from __future__ import annotations

import ctypes
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psutil

log = logging.getLogger(__name__)


class Reporter(Protocol):
    """Who is told how a run goes."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def advance(self, done: int, total: int, text: str = "") -> None:
        """The current stage has done so much."""


class Silent:
    """A reporter that says nothing."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def advance(self, done: int, total: int, text: str = "") -> None:
        """So far has the stage come."""


class StageClock:
    """Seconds and memory of each stage of a run, in order."""

    def __init__(self, reporter: Reporter):
        self.reporter = reporter
        self.seconds: dict[str, float] = {}
        self.peaks: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside and announce it; the next stage begins without what this one left behind."""
        self.reporter.stage(name)
        log.info("%s begins", name)
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
        self.peaks[name] = peak_memory_mb()
        log.info("%s: %.1f s", name, self.seconds[name])
        give_back_memory()

    def measured(self) -> dict:
        """Seconds per stage, and the most memory the process had held when each ended."""
        return {"seconds": dict(self.seconds), "peak_memory_mb": dict(self.peaks)}


def give_back_memory() -> None:
    """Return memory that is free to the system, where its library can (glibc's): it keeps what hundreds of small tables
    leave between those that live on, a third of all after ten years of prices were read, and large ones find no room
    there.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # another system's library
        log.debug("this system's library gives no memory back")


def peak_memory_mb() -> float:
    """The most memory the process has held so far, in MiB (where the system does not tell: what it holds now)."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux; getrusage there begins with what the parent process held
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return round(int(peak.split()[1]) / 1024, 1)
    try:
        import resource
    except ImportError:  # Windows
        return round(psutil.Process().memory_info().rss / 2**20, 1)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)
