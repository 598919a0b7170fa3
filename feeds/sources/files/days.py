"""Days out of the ways files write them.

How a column is to be read (day or month first, year first, swapped by a spreadsheet) is told by all of its rows; a
column that no reading puts into order is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pandas as pd

from clusterfolio.feeds.raw import DataError
from clusterfolio.feeds.sources.files.month_names import month_of

#: Years outside of these are not those of a price.
YEARS = (1900, 2200)

#: Units of a whole number as time since 1970, by its magnitude.
EPOCH_UNITS = ((1e17, "ns"), (1e14, "us"), (1e11, "ms"), (1e8, "s"))

#: Whether the day comes before the month where nothing proves it, by the sign between them.
DAY_FIRST = {".": True, "/": False, "-": False}

#: Days since the end of 1899, as spreadsheets count them: these are 1954 to 2119.
SERIALS = (20_000, 80_000)

#: A column is refused where more than this share of its dates, and more than two, cannot be read.
UNREADABLE = 0.05

#: A gap in days between neighbours that daily prices hardly have.
LONG_GAP = 10

Orders = Mapping[str, bool]
NO_ORDERS: Orders = MappingProxyType({})

SWAPPED = "day and month swapped by a spreadsheet, put back"

TIME = r"(?:,?[ T]+(\d{1,2}):(\d\d)(?::[\d.]+)?\s*([AaPp])?)?"


class Unreadable(DataError):
    """The dates of a column cannot be read with certainty; the text says why."""


@dataclass
class Days:
    """A column of dates, read.

    Attributes:
        stamps: naive (ns), the wall-clock time as written: a zone is dropped, not converted; NaT = unreadable.
        day_first: what the column proves about day and month, by the sign between them; None = nothing.
        remark: what is to be said about the reading.
    """

    stamps: pd.DatetimeIndex
    day_first: dict[str, bool | None] = field(default_factory=dict)
    remark: str = ""


def to_days(
    stamps: pd.Series, orders: Orders = NO_ORDERS, groups: np.ndarray | None = None, named: bool = True
) -> Days:
    """Time stamps from text in ISO form, with month names, or with day, month and year in any order; or from numbers.

    Numbers are written as 20240131, count seconds to nanoseconds since 1970, or days as a spreadsheet does.

    Args:
        orders: whether the day comes first, by the sign between the numbers, where the column itself does not tell;
            where both are silent the day is first with dots, the month otherwise.
        groups: the asset of each row, as a number: within each, rows are in order if rightly read.
        named: whether the column bears a name of dates; numbers of another one may count rows.

    Raises:
        Unreadable: more than ``UNREADABLE`` of the dates cannot be read, or no one reading puts them in order.

    >>> to_days(pd.Series(["2024-01-02 00:00:00-05:00", "31.01.2024", "20240131", "5 mai 2024"])).stamps.date.tolist()
    [datetime.date(2024, 1, 2), datetime.date(2024, 1, 31), datetime.date(2024, 1, 31), datetime.date(2024, 5, 5)]
    """
    if isinstance(stamps.dtype, pd.DatetimeTZDtype) or stamps.dtype.kind == "M":
        codes, distinct = pd.factorize(stamps)
        found = _in_order(pd.DatetimeIndex(distinct).tz_localize(None), None, codes, groups, orders)
    elif stamps.dtype.kind in "iuf":
        codes = np.arange(len(stamps))
        found = Days(_from_numbers(stamps.to_numpy(dtype=float), named))
    else:
        codes, texts = pd.factorize(stamps.astype(str))  # a table of many symbols repeats its dates
        texts = pd.Series(texts, dtype=str).str.strip()
        parsed, parts = _from_texts(texts, named)
        found = _in_order(parsed, parts, codes, groups, orders)
    values = found.stamps.as_unit("us")
    inside = (values.year >= YEARS[0]) & (values.year <= YEARS[1])
    found.stamps = values.where(inside).as_unit("ns").take(codes)
    lost = int(found.stamps.isna().sum())
    if lost and (lost == len(stamps) or lost > max(2, UNREADABLE * len(stamps))):
        first = str(stamps.iloc[int(np.argmax(found.stamps.isna()))])[:40]
        raise Unreadable(f"no readable dates: {lost} of {len(stamps)}, the first of them {first!r}")
    return found


def _from_numbers(values: np.ndarray, named: bool) -> pd.DatetimeIndex:
    out = np.full(len(values), np.datetime64("NaT", "us"))
    as_text = (values >= YEARS[0] * 10000) & (values < (YEARS[1] + 1) * 10000)
    written = pd.Series(values[as_text]).astype("int64").astype(str)
    out[as_text] = pd.to_datetime(written, format="%Y%m%d", errors="coerce").to_numpy()
    left = ~as_text
    for above, unit in EPOCH_UNITS:
        chosen = left & (values >= above)
        out[chosen] = pd.to_datetime(values[chosen], unit=unit).to_numpy()
        left &= ~chosen
    serial = (values >= SERIALS[0]) & (values <= SERIALS[1])
    if named and len(values) and serial.mean() > 1 - UNREADABLE:
        counted = pd.to_timedelta(np.floor(values[serial]), unit="D")
        out[serial] = (pd.Timestamp("1899-12-30") + counted).to_numpy()
    return pd.DatetimeIndex(out)


def _from_texts(texts: pd.Series, named: bool) -> tuple[pd.DatetimeIndex, pd.DataFrame]:
    """What every text means; and number, sign, number, number, time of those that ``_in_order`` has to decide."""
    out = np.full(len(texts), np.datetime64("NaT", "us"))
    digits = texts.str.fullmatch(r"\d+(\.0)?").to_numpy(dtype=bool)
    out[digits] = _from_numbers(texts[digits].astype(float).to_numpy(), named).to_numpy()
    texts = _bare(texts)
    left = ~digits
    out[left] = pd.to_datetime(texts[left], format="ISO8601", errors="coerce").to_numpy()
    parts = texts.str.extract(r"^(\d{1,2})([./-])(\d{1,2})[./-](\d{4}|\d{2})(?!\d)" + TIME)
    open_ = np.isnat(out) & parts[0].notna().to_numpy()
    parts[~open_] = None
    left = np.isnat(out) & ~digits & ~open_ & texts.str.contains(r"\d").to_numpy(dtype=bool)
    if left.any():
        out[left] = [month_of(text) for text in texts[left]]
    return pd.DatetimeIndex(out), parts


def _bare(texts: pd.Series) -> pd.Series:
    """Without zone, in signs that are known: IBKR's ``20220601 00:00:00 US/Eastern``, ``2024年1月2日``."""
    texts = texts.str.replace(r"\s*\(.*\)$|\s+[A-Z][A-Za-z]+/[A-Za-z_]+$", "", regex=True)
    texts = texts.str.replace(r"[年月]|[년월]\s*|(?<=\d)\.\s+(?=\d)", "-", regex=True)
    texts = texts.str.replace(r"[日일]|(?<=\d)\.$", "", regex=True)
    texts = texts.str.replace(r"^(\d{4})[./-](\d)(?!\d)", r"\1-0\2", regex=True)
    texts = texts.str.replace(r"^(\d{4})[./-](\d\d)[./-](\d)(?!\d)", r"\1-\2-0\3", regex=True)
    texts = texts.str.replace(r"^(\d{4})[./-](\d\d)[./-](\d\d)(?!\d)", r"\1-\2-\3", regex=True)
    texts = texts.str.replace(r"^(\d{4})(\d\d)(\d\d)[-\sT]+(?=\d{1,2}:)", r"\1-\2-\3 ", regex=True)
    return texts.str.replace(
        r"(\d:\d\d)(:\d\d(?:\.\d+)?)?\s*(?:Z|UTC|(?:GMT)?[+-]\d\d:?\d\d|GMT|[A-Z]{3,4})$", r"\1\2", regex=True
    )


def _in_order(
    parsed: pd.DatetimeIndex, parts: pd.DataFrame | None, codes: np.ndarray, groups: np.ndarray | None, orders: Orders
) -> Days:
    """The days under the reading that puts the rows in order.

    Args:
        parsed, parts: of the distinct texts, as ``_from_texts`` gives them.
        codes: which of them stands in each row.
    """
    out = parsed.as_unit("us").to_numpy().copy()
    iso = ~np.isnat(out)
    judge, remarks = _Judge(codes, groups), []
    day_first: dict[str, bool | None] = {}
    for sign, of_sign in parts.groupby(1) if parts is not None else ():
        rows = of_sign.index.to_numpy()
        reading, told = _reading(of_sign, rows, out, judge, orders.get(sign), DAY_FIRST[sign])
        out[rows] = _numeric(of_sign, reading)
        day_first |= told
        if reading == "swapped":
            remarks.append(SWAPPED)
    exchanged = _exchanged(out, iso)
    if exchanged is not None:
        before = judge.disorder(out)
        if before > 0.02 * len(codes) and judge.disorder(exchanged) < 0.2 * before:
            out = exchanged
            remarks.append(SWAPPED)
    return Days(pd.DatetimeIndex(out), day_first, "; ".join(dict.fromkeys(remarks)))


@dataclass
class _Judge:
    """How far rows are from being an asset's days: unreadable, out of order, on weekends, far apart."""

    codes: np.ndarray
    groups: np.ndarray | None

    def __post_init__(self):
        if self.groups is not None:
            order = np.argsort(self.groups, kind="stable")
            self.codes, self.groups = self.codes[order], self.groups[order]

    def unreadable(self, days: np.ndarray) -> int:
        return int(np.isnat(days[self.codes]).sum())

    def disorder(self, days: np.ndarray) -> float:
        """In rows, an unreadable one for three; a table that is sorted the other way round is in order."""
        rows = days[self.codes].astype("datetime64[D]")
        read = ~np.isnat(rows)
        number = rows[read].astype(np.int64)
        steps = np.diff(number)
        if self.groups is not None:
            steps = steps[np.diff(self.groups[read]) == 0]
        turned = min((steps < 0).sum(), (steps > 0).sum())
        weekends = ((number + 3) % 7 > 4).sum()  # 1970 began on a Thursday
        return float(3 * (~read).sum() + turned + weekends + (np.abs(steps) > LONG_GAP).sum())


def _reading(
    parts: pd.DataFrame, rows: np.ndarray, out: np.ndarray, judge: _Judge, order: bool | None, usual: bool
) -> tuple[str, dict[str, bool | None]]:
    """dmy, mdy, ymd or swapped; and what that proves.

    Args:
        order, usual: whether the day comes first by what other files prove, and by custom.
    """
    first, second = parts[0].astype(int), parts[2].astype(int)
    sign = parts[1].iloc[0]
    small = (first <= 12) & (second <= 12)
    short = bool((parts[3].str.len() == 2).all() and (parts[0].str.len() == 2).all())
    if not short and not ((first != second) & ((first <= 12) | (second <= 12))).any():
        return ("dmy" if usual else "mdy"), {}
    readings = ["dmy", "mdy"] if (usual if order is None else order) else ["mdy", "dmy"]
    if short:
        readings.append("ymd")
    if small.any() and not small.all():
        readings.append("swapped")
    costs, lost = {}, {}
    for reading in readings:
        tried = out.copy()
        tried[rows] = _numeric(parts, reading)
        costs[reading], lost[reading] = judge.disorder(tried), judge.unreadable(tried)
    usual_ones = [reading for reading in readings if reading != "swapped"]
    best = min(usual_ones, key=lambda reading: costs[reading])
    if costs.get("swapped", np.inf) <= costs[best] - max(2, 0.05 * len(judge.codes)):
        if costs["swapped"] > 0.02 * len(judge.codes):
            raise Unreadable("dates are written in two orders of day and month")
        return "swapped", {}
    others = [reading for reading in usual_ones if reading != best]
    if not all(lost[name] > lost[best] or costs[name] >= costs[best] + 2 for name in others):
        return readings[0], {sign: None}
    return best, {sign: best == "dmy"} if best in ("dmy", "mdy") else {}


def _numeric(parts: pd.DataFrame, reading: str) -> np.ndarray:
    """Moments from number, sign, number, number, hour, minute and half of the day, shape ``(n,)``."""
    first, second, third = (parts[column].astype(int) for column in (0, 2, 3))
    if reading == "ymd":
        year, month, day = first, second, third
    else:
        day_first = pd.Series(reading == "dmy", index=parts.index)
        if reading == "swapped":
            mostly = (first > 12).sum() >= (second > 12).sum()
            day_first = ((first > 12) | (second > 12)) == mostly
            day_first = day_first.where((first <= 12) | (second <= 12), mostly)
            day_first = day_first.mask(first > 12, True).mask(second > 12, False)
        day, month, year = first.where(day_first, second), second.where(day_first, first), third
    year = year.where(year > 99, year + np.where(year < 70, 2000, 1900))
    date = pd.to_datetime(pd.DataFrame({"year": year, "month": month, "day": day}), errors="coerce")
    hour = parts[4].astype(float)
    hour = hour.where(parts[6].fillna("") == "", hour % 12 + 12 * parts[6].isin(["P", "p"]))
    minutes = (60 * hour + parts[5].astype(float)).fillna(0)
    return (date + pd.to_timedelta(minutes, unit="min")).to_numpy()


def _exchanged(days: np.ndarray, iso: np.ndarray) -> np.ndarray | None:
    """Day and month of the dates in ISO form exchanged; None where one of them cannot have been."""
    stamps = pd.DatetimeIndex(days[iso])
    if len(stamps) < 3 or not (stamps.day <= 12).all() or not (stamps == stamps.normalize()).all():
        return None
    out = days.copy()
    table = pd.DataFrame({"year": stamps.year, "month": stamps.day, "day": stamps.month})
    out[iso] = pd.to_datetime(table).to_numpy()
    return out
