"""When a number of an economic series could be known: tables are dated by what they describe, not by their release.

FRED and files made from it date a month's figure by the first day of that month and a quarter's by the first day of the
quarter, weeks or months before anyone knew it. Here each series has its own lag from that date to a day by whose close
it was public, and the releases that government shutdowns made later than that are listed one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

#: Calendar days from the date a value bears to a day by whose close it is known. Sources: the agencies' release
#: calendars (bls.gov/schedule, bea.gov/news/schedule, federalreserve.gov/releases); FRED's release dates.
PUBLICATION_LAG = {
    # The New York Fed states a day's rates on the next business day: after a long weekend four days later.
    "DFF": 4, "SOFR": 4, "DTB3": 4,
    # H.15 of the next business day; the Treasury itself states its curve on the evening of the day.
    "DGS1MO": 4, "DGS3MO": 4, "DGS6MO": 4, "DGS1": 4, "DGS2": 4, "DGS3": 4, "DGS5": 4, "DGS7": 4, "DGS10": 4,
    "DGS20": 4, "DGS30": 4, "DFII5": 4, "DFII7": 4, "DFII10": 4, "DFII20": 4, "DFII30": 4,
    "T10Y2Y": 4, "T10Y3M": 4, "T5YIE": 4, "T10YIE": 4,
    # ICE's indices reach FRED on the next business day.
    "BAMLC0A0CM": 4, "BAMLH0A0HYM2": 4,
    # The index closes at 16:15, after the shares do.
    "VIXCLS": 1,
    # H.10 appears on Mondays for the week before; a Monday's value is stated a week later, on Tuesday after a holiday.
    "DTWEXBGS": 9,
    "USEPUINDXD": 4,
    # Decided and announced days before it applies.
    "ECBDFR": 4,
    # A month's average, stated in the first days of the next month.
    "FEDFUNDS": 45,
    # The Employment Situation of a month: at most 42 days after the month begins, but for ``LATE``.
    "UNRATE": 45, "PAYEMS": 45,
    # The consumer price index: up to 56 days after the month begins (January 2015), 59 in the shutdown of 2013.
    "CPIAUCSL": 60, "CPILFESL": 60,
    # The advance estimate: up to 122 days after the quarter begins, but for ``LATE``.
    "A191RL1Q225SBEA": 125, "GDPC1": 125,
}  # fmt: skip

_LATE_EMPLOYMENT = {"2013-09-01": "2013-10-22", "2025-09-01": "2025-11-20", "2025-11-01": "2025-12-16"}
_LATE_GDP = {
    "2013-07-01": "2013-11-07",
    "2018-10-01": "2019-02-28",
    "2025-07-01": "2025-12-23",
    "2025-10-01": "2026-02-20",
}

#: Releases that came later than the lag says, or on its very day: date of the value -> day it was released.
LATE = {
    "UNRATE": _LATE_EMPLOYMENT,
    "PAYEMS": _LATE_EMPLOYMENT,
    "A191RL1Q225SBEA": _LATE_GDP,
    "GDPC1": _LATE_GDP,
}

#: Other names that files use for a FRED series.
ALIASES = {"VIX": "VIXCLS", "USD_BROAD_INDEX": "DTWEXBGS", "EPU_US_DAILY": "USEPUINDXD"}

#: A known value is used for twice its series' lag, and for at least so many days; then the series counts as unknown.
SERVES_AT_LEAST = 14


def lag_of(series: str, lags: Mapping[str, int] | None = None) -> int:
    """Days until a value of the series is known.

    Args:
        lags: the user's own, for series not in ``PUBLICATION_LAG``; for one that is, it may only be longer.
    """
    stated = (lags or {}).get(series)
    if series not in PUBLICATION_LAG and stated is None:
        raise ValueError(
            f"when {series!r} is published is not known here; use one of {', '.join(sorted(PUBLICATION_LAG))}, "
            f'or state how many days after its date it is known: inputs.lags = ["{series}=DAYS"]'
        )
    if stated is None:
        return PUBLICATION_LAG[series]
    if stated < PUBLICATION_LAG.get(series, 0):
        raise ValueError(
            f"inputs.lags: {series}={stated}, but it is published up to {PUBLICATION_LAG[series]} days after its date"
        )
    return stated


def serves(lag: int) -> pd.Timedelta:
    """How long after it became known a value still counts."""
    return pd.Timedelta(days=max(SERVES_AT_LEAST, 2 * lag))


def known_on(series: str, dates: pd.DatetimeIndex, lags: Mapping[str, int] | None = None) -> pd.DatetimeIndex:
    """The day by whose close the value of each of these increasing dates is known; never before the one before it.

    >>> known_on("CPIAUCSL", pd.DatetimeIndex(["2024-01-01"]))[0].date()  # released on 13 February
    datetime.date(2024, 3, 1)
    >>> known_on("UNRATE", pd.DatetimeIndex(["2025-09-01"]))[0].date()  # the shutdown of that autumn
    datetime.date(2025, 11, 20)
    """
    known = (dates.as_unit("ns") + pd.Timedelta(days=lag_of(series, lags))).to_numpy().copy()
    for date, released in LATE.get(series, {}).items():
        at = dates == pd.Timestamp(date)
        known[at] = np.maximum(known[at], np.datetime64(released, "ns"))
    return pd.DatetimeIndex(np.maximum.accumulate(known))


def read_table(path: Path, key: str) -> pd.DataFrame:
    """A table with columns date, series, value, CSV or Parquet; series under FRED's names.

    Args:
        key: the setting that named the file, for the error.
    """
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    if not {"date", "series", "value"} <= set(table.columns):
        raise ValueError(f"{key}: {path} has columns {', '.join(table.columns)}; expected date, series, value")
    return table.assign(series=table["series"].replace(ALIASES))


def by_date(table: pd.DataFrame, series: str) -> pd.Series:
    """The values of one series of ``read_table``'s table by the date they bear, increasing, each date once."""
    chosen = table[table["series"] == series]
    dates = pd.DatetimeIndex(pd.to_datetime(chosen["date"])).as_unit("ns")
    values = pd.Series(chosen["value"].to_numpy(dtype=float), index=dates, name=series).dropna()
    return values[~values.index.duplicated(keep="last")].sort_index()


def find_macro_file(path: str | None, paths: tuple[str, ...], key: str = "cash.path") -> Path | None:
    """The file named, or the first one called macro.parquet or macro.csv among the data's files and folders."""
    if path is not None:
        if not Path(path).is_file():
            raise ValueError(f"{key}: no file at {path}")
        return Path(path)
    for place in map(Path, paths):
        for candidate in [place] if place.is_file() else [place / "macro.parquet", place / "macro.csv"]:
            if candidate.stem == "macro" and candidate.is_file():
                return candidate
    return None
