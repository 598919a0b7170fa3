"""Series of the Federal Reserve Bank of St. Louis by its public CSV, one cached file per series.

FRED states the values as revised to this day, by the date they describe; ``feeds.exogenous.publication`` says when each
was known. A series is asked for once a day; where FRED gives no answer, the cached values serve.

Tested against recorded and faulty answers; unverified against the live service.
"""

from __future__ import annotations

import io
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pandas as pd
import platformdirs

from clusterfolio import ClusterfolioError
from clusterfolio.feeds.raw import DataError
from clusterfolio.feeds.writing import replacing

log = logging.getLogger(__name__)

ADDRESS = "https://fred.stlouisfed.org/graph/fredgraph.csv"

#: Seconds: until a request is given up, between two requests, and before each further attempt.
TIMEOUT, PAUSE, WAITS = 30.0, 1.0, (2.0, 5.0, 15.0)

#: An answer longer than this is no series.
MOST_BYTES = 20_000_000


class UnknownSeries(ClusterfolioError):
    """FRED has no series of that name."""


class NoAnswer(ClusterfolioError):
    """No usable answer this time: the network fails, requests are limited, the answer is garbled."""


#: ``series -> the answer's text``; raises ``UnknownSeries`` or ``NoAnswer``.
Download = Callable[[str], str]


def fred_folder() -> Path:
    """Where series are cached: ``fred`` in ``$CLUSTERFOLIO_CACHE``, else in the user's cache directory."""
    root = os.environ.get("CLUSTERFOLIO_CACHE") or platformdirs.user_cache_path("clusterfolio")
    return Path(root) / "fred"


def read_fred(
    names: Sequence[str],
    cache_dir: Path | None = None,
    download: Download | None = None,
    wait: Callable[[float], None] = time.sleep,
    today: pd.Timestamp | None = None,
) -> dict[str, pd.Series]:
    """The values of these series by the date they bear, from the cache where it is of today, else from FRED.

    Args:
        cache_dir: default ``fred_folder()``.
        download: default ``from_fred``.
        today: default the present day in UTC.

    Raises:
        ValueError: FRED does not know a series.
        DataError: a series could neither be fetched nor is cached.
    """
    folder = Path(cache_dir) if cache_dir is not None else fred_folder()
    today = pd.Timestamp.now("UTC").tz_localize(None).normalize() if today is None else pd.Timestamp(today)
    download, asked, answering, found = download or from_fred, False, True, {}
    for name in dict.fromkeys(names):
        file = folder / f"{name}.csv"
        cached = _cached(file, name)
        if cached is None or cached[1] < today:
            if asked:
                wait(PAUSE)
            asked = True
            try:
                text = _patient(download, name, wait if answering else None)
                series = parse_answer(text, name)
                _write(file, text, today)
                cached = (series, today)
            except UnknownSeries as fault:
                raise ValueError(f"inputs.macro: FRED has no series {name!r}") from fault
            except NoAnswer as fault:
                answering = False
                if cached is None:
                    raise DataError(f"FRED gave no answer for {name} and none is cached: {fault}") from fault
                log.warning("%s: FRED gave no answer (%s); the values of %s serve", name, fault, cached[1].date())
        found[name] = cached[0]
    return found


def parse_answer(text: str, name: str) -> pd.Series:
    """FRED's CSV (a date column, the series' column; ``.`` or nothing = no value) as values by increasing date."""
    try:
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as fault:
        raise NoAnswer(f"not a table: {text[:60]!r}") from fault
    if len(table.columns) != 2 or table.columns[1] != name:
        raise NoAnswer(f"expected a date and {name}, got the columns {', '.join(map(str, table.columns))[:80]}")
    dates = pd.to_datetime(table.iloc[:, 0], format="%Y-%m-%d", errors="coerce")
    told = table.iloc[:, 1].str.strip()
    empty = told.isin(["", "."])
    values = pd.to_numeric(told.mask(empty), errors="coerce")
    if dates.isna().any() or (values.isna() & ~empty).any():
        row = table[(dates.isna() | (values.isna() & ~empty)).to_numpy()].iloc[0]
        raise NoAnswer(f"a row that is no date and value: {', '.join(row)}")
    series = pd.Series(
        values.to_numpy(dtype=float), pd.DatetimeIndex(dates.to_numpy()).as_unit("ns"), name=name
    ).dropna()
    if series.empty:
        raise NoAnswer("the answer holds no values")
    return series[~series.index.duplicated(keep="last")].sort_index()


def from_fred(name: str) -> str:
    """Ask FRED for one series."""
    request = Request(f"{ADDRESS}?{urlencode({'id': name})}", headers={"User-Agent": "clusterfolio"})
    try:
        with urlopen(request, timeout=TIMEOUT) as answer:
            content = answer.read(MOST_BYTES + 1)
    except HTTPError as fault:
        if fault.code in (400, 404):
            raise UnknownSeries(name) from fault
        raise NoAnswer(f"HTTP status {fault.code}") from fault
    except (URLError, OSError) as fault:
        raise NoAnswer(f"{type(fault).__name__}: {fault}") from fault
    if len(content) > MOST_BYTES:
        raise NoAnswer(f"more than {MOST_BYTES} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise NoAnswer("the answer is no text") from fault


def _patient(download: Download, name: str, wait: Callable[[float], None] | None) -> str:
    """The answer, asked for again after each of ``WAITS`` seconds; once only where ``wait`` is None."""
    for seconds in WAITS if wait is not None else ():
        try:
            return download(name)
        except NoAnswer as fault:
            log.info("%s: %s; next attempt in %g s", name, fault, seconds)
            wait(seconds)
    return download(name)


def _cached(file: Path, name: str) -> tuple[pd.Series, pd.Timestamp] | None:
    """The cached series and the day it was fetched; None where it is absent or damaged."""
    if not file.is_file():
        return None
    first, _, text = file.read_text(encoding="utf-8").partition("\n")
    try:
        return parse_answer(text, name), pd.Timestamp(first.removeprefix("# fetched "))
    except (NoAnswer, ValueError) as fault:
        log.warning("%s is damaged and will be fetched anew: %s", file, fault)
        return None


def _write(file: Path, text: str, today: pd.Timestamp) -> None:
    """Replace the cached file in one step."""
    with replacing(file) as part:
        part.write_text(f"# fetched {today.date()}\n{text}", encoding="utf-8")
