"""Where prices can come from. A source is an entry of ``SOURCES``; nothing else of the program knows it by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from clusterfolio.feeds.raw import RawData
from clusterfolio.feeds.sources.simulated import BENCHMARK, simulate


@dataclass(frozen=True)
class Request:
    """What a run asks of its source.

    Attributes:
        symbols: those wanted, the benchmark and exchange rates among them; None = everything the source has.
        start: first day wanted.
        end: last day wanted; None = the newest.
        path: ``data.path``.
        names: symbols as the run calls them, for a source whose own spelling differs (``spy.us``).
        settings: the configuration's section that bears the source's name; None where there is no such section.
    """

    symbols: Sequence[str] | None
    start: pd.Timestamp
    end: pd.Timestamp | None = None
    path: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()
    settings: Any = None


@dataclass(frozen=True)
class Source:
    """A place that prices come from, and what holds for it.

    Attributes:
        read: the bars asked for. A symbol it does not have gets a verdict and is no error; what is delivered beyond the
            request does no harm.
        universe: what ``data.universe = "auto"`` means.
        benchmark: what ``data.benchmark = "auto"`` means.
        takes_path: it reads ``data.path``, which no other source does.
        lists_all: it can tell all that it has: ``data.universe = "all"`` has a meaning.
        has_shipped: the symbols of the universes that come with the program may be found there.
    """

    read: Callable[[Request], RawData]
    universe: str = "all"
    benchmark: str = "SPY"
    takes_path: bool = False
    lists_all: bool = True
    has_shipped: bool = True


def _simulated(request: Request) -> RawData:
    return simulate(request.settings)


def _files(request: Request) -> RawData:
    from clusterfolio.feeds.sources.files.reader import read_files  # pyarrow, for those who have files

    return read_files(request.path, request.symbols, request.names)


def _yahoo(request: Request) -> RawData:
    from clusterfolio.feeds.sources.yahoo import read_yahoo

    return read_yahoo(request.symbols or (), start=request.start, end=request.end)


#: By the name that ``data.source`` takes.
SOURCES: dict[str, Source] = {
    "simulated": Source(_simulated, benchmark=BENCHMARK, has_shipped=False),
    "files": Source(_files, takes_path=True),
    "yahoo": Source(_yahoo, universe="default", lists_all=False),
}
