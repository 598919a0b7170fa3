"""What the commands print with: the consoles, figures as text, and progress as a line per stage."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress

    from clusterfolio.engine.progress import Reporter

#: Where everything goes that is not the command's result.
console = Console(stderr=True)


def wide_console() -> Console:
    """Where tables go that are the command's result; a pipe has no width of its own."""
    return Console(width=None if sys.stdout.isatty() else 120)


def figure(value: float | None, form: str) -> str:
    """A number as text, a dash where there is none.

    >>> figure(0.1234, ".1%"), figure(float("nan"), ".1%"), figure(None, ".2f")
    ('12.3%', '-', '-')
    """
    return "-" if value is None or math.isnan(value) else format(value, form)


class Stderr:
    """Standard error as it is at the time: a line logged under a progress bar is then printed above it."""

    def write(self, text: str) -> None:
        """Write where standard error is now."""
        sys.stderr.write(text)

    def flush(self) -> None:
        """Flush what standard error is now."""
        sys.stderr.flush()


class Bars:
    """Progress on the console: a line per stage."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self.task = None

    def stage(self, name: str) -> None:
        """A stage begins: the one before is done, and has a line."""
        self.close()
        self.task = self.progress.add_task(name, total=None, detail="")

    def advance(self, done: int, total: int, text: str = "") -> None:
        """So far has the stage come."""
        self.progress.update(self.task, completed=done, total=total, detail=text)

    def close(self) -> None:
        """The last stage is done."""
        if self.task is not None:
            total = self.progress.tasks[self.task].total or 1
            self.progress.update(self.task, total=total, completed=total)


@contextmanager
def reporter(quiet: bool) -> Iterator[Reporter]:
    """Something that shows progress, or says nothing."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from clusterfolio.engine.progress import Silent

    if quiet:
        yield Silent()
        return
    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
    )
    with Progress(*columns, console=console) as progress:
        bars = Bars(progress)
        yield bars
        bars.close()
