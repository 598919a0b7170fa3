"""Independent calls spread over local processes; a process that dies costs its own calls, not the others'."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import BrokenProcessPool

log = logging.getLogger(__name__)

#: A call whose process died is made again; after so many deaths without a single new result the fault is its own.
GIVE_UP_AFTER = 3


def run_all(
    function: Callable[..., Any],
    calls: Sequence[tuple],
    workers: int,
    done: Callable[[int], None] | None = None,
) -> list:
    """``[function(*arguments) for arguments in calls]``, in the order of ``calls``, ``workers`` at a time.

    An exception of ``function`` is raised here. The pool breaks when one of its processes dies (killed for memory,
    say); what is missing is then called again in a new one.

    Args:
        function: importable by name, as its arguments and results must be picklable for other processes.
        done: told the position of each call as it is finished.
    """
    results: dict[int, Any] = {}
    deaths = 0
    while len(results) < len(calls):
        missing = [number for number in range(len(calls)) if number not in results]
        before = len(results)
        pool = Parallel(n_jobs=min(workers, len(missing)), return_as="generator_unordered")
        try:
            for number, result in pool(delayed(_numbered)(number, function, calls[number]) for number in missing):
                results[number] = result
                if done is not None:
                    done(number)
        except BrokenProcessPool as error:
            deaths = deaths + 1 if len(results) == before else 1
            if deaths == GIVE_UP_AFTER:
                raise
            log.warning("a worker process died (%s); its calls are made again", error)
    return [results[number] for number in range(len(calls))]


def processes(workers: int, threads: int) -> int:
    """How many processes to use: ``workers`` (0 = as many as fit) of ``threads`` threads, no more than there are cores.

    >>> processes(workers=1, threads=64)
    1
    """
    fitting = max(1, (os.cpu_count() or 1) // max(1, threads))
    return min(workers, fitting) if workers else fitting


def _numbered(number: int, function: Callable[..., Any], arguments: tuple) -> tuple[int, Any]:
    return number, function(*arguments)
