"""How a command fails: one line and an exit code that says whose fault it is."""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from clusterfolio import ClusterfolioError
from clusterfolio.engine.cli.console import console

EXIT_CODES = """
\b
Exit codes:
  0    done
  1    a fault of the program (please report it, with the traceback)
  2    a wrong argument, configuration or file; the message says which
  3    the data cannot carry the run (nothing usable, no benchmark, no exchange rate)
  4    a check found something
  130  interrupted with Ctrl-C; nothing half-written is left, the same command goes on
"""

#: What the system says where nothing more can be written.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

FULL = (
    "the disk is full: {}. Nothing half-written is left; free some space and run the same command, which goes on with "
    "what was finished, or name a place on another disk"
)


class Fault(click.ClickException):
    """An error the user can mend: a message and an exit code instead of a traceback."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C becomes a sentence and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("[yellow]Interrupted; nothing half-written is left. Run the same command to go on.")
        sys.exit(130)


@contextmanager
def faults() -> Iterator[None]:
    """Errors of arguments, files and data become one line (with -v: the traceback too)."""
    try:
        yield
    except (ClusterfolioError, ValueError, OSError) as error:  # the last two: arguments, and what the system refuses
        from clusterfolio.feeds.raw import DataError

        logging.getLogger(__name__).info("traceback", exc_info=True)
        said = FULL.format(error) if getattr(error, "errno", None) in NO_SPACE else str(error)
        raise Fault(said, 3 if isinstance(error, DataError) else 2) from error
