"""Independent calls spread over processes, of this machine or a Dask cluster's; one that dies costs its own calls."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import BrokenProcessPool

from clusterfolio.models.named import look_in

log = logging.getLogger(__name__)

#: A call whose process died is made again; after so many deaths without a single new result the fault is its own.
GIVE_UP_AFTER = 3

#: How long a cluster may take to answer.
CONNECT_SECONDS = 10


def run_all(
    function: Callable[..., Any],
    calls: Sequence[tuple],
    workers: int,
    done: Callable[[int], None] | None = None,
    cluster: str = "",
) -> list:
    """``[function(*arguments) for arguments in calls]``, in the order of ``calls``, ``workers`` at a time.

    Modules are looked for in this process's current folder there too. An exception of ``function`` is raised here. The
    pool breaks when one of its processes dies (killed for memory, say); what is missing is then called again in a new
    one.

    Args:
        function: importable by name, as its arguments and results must be picklable for other processes.
        done: told the position of each call as it is finished.
        cluster: address of a Dask scheduler whose workers make the calls (``workers`` then does not matter); it calls
            again by itself what a lost worker had begun.
    """
    if cluster:
        with dask_client(cluster) as found, parallel_config(backend="dask"):
            return _run_all(function, calls, found, done)
    with parallel_config(backend="loky"):
        return _run_all(function, calls, workers, done)


@contextmanager
def dask_client(address: str) -> Iterator[int]:
    """A connection to a Dask scheduler that joblib finds by itself; yields the number of its workers.

    Raises:
        ValueError: no such cluster, none of its workers, or workers of several threads: a training sets the number of
            torch's threads and its random state for its whole process.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError(f"cluster {address}: Dask is not installed; pip install 'clusterfolio[cluster]'") from error
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError) as error:
        raise ValueError(f"cluster {address}: no Dask scheduler answers there ({error})") from error
    with client:
        threads = client.nthreads()
        if not threads:
            raise ValueError(
                f"cluster {address}: it has no workers; start some with: dask worker {address} --nthreads 1"
            )
        if max(threads.values()) > 1:
            raise ValueError(
                f"cluster {address}: a worker has {max(threads.values())} threads; start workers with --nthreads 1, "
                "several of them on a machine of several cores"
            )
        yield len(threads)


def _run_all(
    function: Callable[..., Any], calls: Sequence[tuple], workers: int, done: Callable[[int], None] | None
) -> list:
    results: dict[int, Any] = {}
    deaths, folder = 0, os.getcwd()
    while len(results) < len(calls):
        missing = [number for number in range(len(calls)) if number not in results]
        before = len(results)
        pool = Parallel(n_jobs=min(workers, len(missing)), return_as="generator_unordered", batch_size=1)
        try:
            for number, result in pool(
                delayed(_numbered)(number, folder, function, calls[number]) for number in missing
            ):
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


def _numbered(number: int, folder: str, function: Callable[..., Any], arguments: tuple) -> tuple[int, Any]:
    look_in(folder)  # where the classes lie that a configuration names
    return number, function(*arguments)
