"""Days and numbers out of the ways files write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

#: Years outside of these are not those of a price.
YEARS = (1900, 2200)

#: Written where there is no number.
BLANKS = {"", "-", "--", "nan", "na", "n/a", "#n/a", "null", "none", "."}

#: Units of a whole number as time since 1970, by its magnitude.
EPOCH_UNITS = ((1e17, "ns"), (1e14, "us"), (1e11, "ms"), (1e8, "s"))

#: Whether the day comes before the month where nothing proves it, by the sign between them.
DAY_FIRST = {".": True, "/": False, "-": False}


def to_days(stamps: pd.Series, orders: Mapping[str, bool] = MappingProxyType({})) -> pd.DatetimeIndex:
    """Naive time stamps (ns), the wall-clock time as written: a zone is dropped, not converted. NaT = unreadable.

    Text in ISO form, with month names, or with day and month in either order; numbers such as 20240131 or seconds to
    nanoseconds since 1970.

    Args:
        orders: whether the day comes first, by the sign between the numbers. What the column itself proves goes
            before; where both are silent (``day_first_by_sign``), the day is first with dots, the month otherwise.

    >>> to_days(pd.Series(["2024-01-02 00:00:00-05:00", "31.01.2024", "20240131", "soon"])).date.tolist()
    [datetime.date(2024, 1, 2), datetime.date(2024, 1, 31), datetime.date(2024, 1, 31), NaT]
    """
    if isinstance(stamps.dtype, pd.DatetimeTZDtype) or stamps.dtype.kind == "M":
        parsed = pd.DatetimeIndex(stamps).tz_localize(None)
    elif stamps.dtype.kind in "iuf":
        parsed = _from_numbers(stamps.to_numpy(dtype=float))
    else:
        codes, texts = _distinct(stamps)  # a table of many symbols repeats its dates
        parsed = _from_texts(texts, orders).take(codes)
    parsed = parsed.as_unit("us")
    inside = (parsed.year >= YEARS[0]) & (parsed.year <= YEARS[1])
    return parsed.where(inside).as_unit("ns")


def day_first_by_sign(stamps: pd.Series) -> dict[str, bool | None]:
    """Whether the day comes before the month, by the sign between them; None = no date of the column proves it.

    >>> day_first_by_sign(pd.Series(["02/01/2024", "15/01/2024", "03-04-2024", "2024-01-05"]))
    {'-': None, '/': True}
    """
    if stamps.dtype.kind in "iufM" or isinstance(stamps.dtype, pd.DatetimeTZDtype):
        return {}
    parts = _either_order(_distinct(stamps)[1]).dropna(subset=0)
    first, second = parts[0].astype(int), parts[2].astype(int)
    proof = pd.Series(None, index=parts.index, dtype=object)
    proof[(first > 12) & (second <= 12)] = True
    proof[(first <= 12) & (second > 12)] = False
    tells = (first != second) & ((first <= 12) | (second <= 12))
    return {sign: _agreed(told) for sign, told in proof[tells].groupby(parts.loc[tells, 1])}


def _agreed(told: pd.Series) -> bool | None:
    """The first proof in the table: what contradicts it is unreadable."""
    told = told.dropna()
    return bool(told.iloc[0]) if len(told) else None


def _distinct(stamps: pd.Series) -> tuple[np.ndarray, pd.Series]:
    codes, texts = pd.factorize(stamps.astype(str))
    return codes, pd.Series(texts, dtype=str).str.strip()


def _either_order(texts: pd.Series) -> pd.DataFrame:
    """Columns 0 to 6: number, sign, number, year, hour, minute, half of the day; NaN where a text has none of it."""
    return texts.str.extract(
        r"^(\d{1,2})([./-])(\d{1,2})[./-](\d{4}|\d{2})(?!\d)(?:,?[ T]+(\d{1,2}):(\d\d)(?::[\d.]+)?\s*([AaPp]?))?"
    )


def _from_numbers(values: np.ndarray) -> pd.DatetimeIndex:
    out = np.full(len(values), np.datetime64("NaT", "us"))
    as_text = (values >= YEARS[0] * 10000) & (values < (YEARS[1] + 1) * 10000)
    written = pd.Series(values[as_text]).astype("int64").astype(str)
    out[as_text] = pd.to_datetime(written, format="%Y%m%d", errors="coerce").to_numpy()
    left = ~as_text
    for above, unit in EPOCH_UNITS:
        chosen = left & (values >= above)
        out[chosen] = pd.to_datetime(values[chosen], unit=unit).to_numpy()
        left &= ~chosen
    return pd.DatetimeIndex(out)


def _from_texts(texts: pd.Series, orders: Mapping[str, bool]) -> pd.DatetimeIndex:
    out = np.full(len(texts), np.datetime64("NaT", "us"))
    digits = texts.str.fullmatch(r"\d{8}(\.0)?|\d{9,19}").to_numpy(dtype=bool)
    out[digits] = _from_numbers(texts[digits].astype(float).to_numpy()).to_numpy()
    texts = texts.str.replace(
        r"(?<=\d:\d\d)(:\d\d(?:\.\d+)?)?\s*(?:Z|UTC|GMT|[A-Z]{3,4}|[+-]\d\d:?\d\d)$", r"\1", regex=True
    )

    def fill(parsed: pd.Series, rows: np.ndarray) -> None:
        out[rows] = parsed.to_numpy()

    left = ~digits
    fill(pd.to_datetime(texts[left], format="ISO8601", errors="coerce"), left)
    parts = _either_order(texts)
    numeric = np.isnat(out) & parts[0].notna().to_numpy()
    first, second = parts.loc[numeric, 0].astype(int), parts.loc[numeric, 2].astype(int)
    own = {sign: told for sign, told in day_first_by_sign(texts).items() if told is not None}
    day_first = parts.loc[numeric, 1].map({**DAY_FIRST, **orders, **own}).astype(bool)
    day, month = first.where(day_first, second), second.where(day_first, first)
    year = parts.loc[numeric, 3].astype(int)
    year = year.where(year > 99, year + np.where(year < 70, 2000, 1900))
    date = pd.to_datetime(pd.DataFrame({"year": year, "month": month, "day": day}), errors="coerce")
    hour = parts.loc[numeric, 4].astype(float)
    hour = hour.where(parts.loc[numeric, 6].fillna("") == "", hour % 12 + 12 * parts.loc[numeric, 6].isin(["P", "p"]))
    minutes = (60 * hour + parts.loc[numeric, 5].astype(float)).fillna(0)
    fill(date + pd.to_timedelta(minutes, unit="min"), numeric)
    left = np.isnat(out) & ~digits & ~numeric & (texts.str.contains(r"\d").to_numpy(dtype=bool))
    fill(pd.to_datetime(texts[left], format="mixed", errors="coerce"), left)
    return pd.DatetimeIndex(out)


def decimal_sign(cells: Mapping[str, pd.Series], separator: str) -> str:
    """The decimal sign of a table whose cells are text: a comma where some price proves it, or its separator tells."""
    sample = [column.astype(str) for role, column in cells.items() if role != "volume" and not _is_number(column)]
    written = [text for column in sample for text in column[column.str.contains(",", regex=False)]]
    if not written or any(re.search(r",\d+\.", text) for text in written):
        return "."
    if any(re.search(r"\.\d+,", text) for text in written) or separator != ",":
        return ","
    return "," if any(not re.search(r",\d{3}$", text) for text in written) else "."


def to_numbers(cells: pd.Series, decimal: str = ".") -> tuple[np.ndarray, int]:
    """float64 values, NaN where nothing or no number is written, and how many cells hold something that is none.

    >>> to_numbers(pd.Series(["1,234.5", "$ 7", "n/a", "2.5M", "high"]))
    (array([1.2345e+03, 7.0000e+00,        nan, 2.5000e+06,        nan]), 1)
    """
    if _is_number(cells):
        return cells.to_numpy(dtype=float, na_value=np.nan), 0
    texts = cells.astype(str).str.strip()
    if decimal == ",":
        texts = texts.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    values = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=float, copy=True)
    left = np.isnan(values) & ~texts.str.lower().isin(BLANKS).to_numpy(dtype=bool)
    if not left.any():
        return values, 0
    rest = texts[left].str.replace(r"[,\s$€£¥'\u00a0]", "", regex=True)
    parts = rest.str.extract(r"^([+-]?[\d.]+(?:[eE][+-]?\d+)?)([KMBkmb]?)$")
    unit = parts[1].str.upper().map({"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9}).astype(float)
    values[left] = pd.to_numeric(parts[0], errors="coerce").to_numpy(dtype=float) * unit.to_numpy()
    return values, int(np.isnan(values[left]).sum())


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
