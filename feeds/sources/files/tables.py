"""From the columns of a table to bars: which column is what, and whose, whichever of the usual forms the table has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from clusterfolio.feeds.currency import one_currency, pair_of
from clusterfolio.feeds.raw import RAW_COLUMNS, DataError, RawBars
from clusterfolio.feeds.sources.files.texts import day_first_by_sign, decimal_sign, to_days, to_numbers
from clusterfolio.feeds.symbols import spelling

#: Spellings, without case, blanks, digits and punctuation, in order of preference.
SPELLINGS = {
    "date": ("date", "datetime", "timestamp", "time", "day", "tradedate", "tradingdate", "t"),
    "clock": ("time", "timeofday", "tradetime", "hour"),
    "symbol": ("symbol", "ticker", "sym", "code", "instrument", "secid", "stock", "asset"),
    "currency": ("currency", "ccy", "curr", "quotecurrency", "currencycode"),
    "open": ("open", "openprice", "priceopen", "openingprice", "pxopen", "o"),
    "high": ("high", "highprice", "pricehigh", "pxhigh", "max", "h"),
    "low": ("low", "lowprice", "pricelow", "pxlow", "min", "l"),
    "close": ("close", "closeprice", "priceclose", "closelast", "closingprice", "last", "pxlast", "price", "c"),
    "adj_close": ("adjclose", "adjustedclose", "adjcloseprice", "closeadj", "closeadjusted", "adjclosingprice"),
    "volume": ("volume", "vol", "iexvolume", "totalvolume", "tradevolume", "sharevolume", "v"),
    "dividend": ("dividend", "dividends", "divcash", "dividendamount"),
    "split": ("split", "splits", "stocksplits", "splitfactor", "splitcoefficient"),
}

#: What an index without a name is called in a file.
NAMELESS = ("", "unnamed", "index", "indexlevel")

#: Written by yfinance's ``history`` beside prices that it has adjusted already.
YFINANCE_ACTIONS = {"dividends", "stocksplits"}

#: First cells of the header rows of a wide table.
WIDE_CORNERS = ("", "price", "ticker", "symbol", "symbols", "attributes", "date", "datetime")

Orders = Mapping[str, bool]
NO_ORDERS: Orders = MappingProxyType({})


class NotPrices(DataError):
    """The file is no table of daily prices; the text says why."""


@dataclass
class Table:
    """What one file held.

    Attributes:
        bars: by symbol.
        refused: why a symbol's rows could not be taken.
        notes: what is to be said about a symbol that was taken.
        remark: what is to be said about every symbol of the file.
        day_first: what its dates prove, as ``feeds.sources.files.texts.day_first_by_sign``.
    """

    bars: dict[str, RawBars] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    remark: str = ""
    day_first: dict[str, bool | None] = field(default_factory=dict)


@dataclass
class Names:
    """Which symbols are wanted (None = all), and under which name.

    Attributes:
        wanted: the symbols to take.
        preferred: names by which others may call theirs, where everything is taken.
    """

    wanted: Sequence[str] | None
    preferred: Sequence[str] = ()

    def __post_init__(self):
        known = [*(self.wanted or ()), *self.preferred]
        self._exact = set(known)
        self._alike = {spelling(name): name for name in reversed(known)}

    def of(self, symbol: str) -> str | None:
        """The name to go by: one that is asked for, or as stated (if all are, or an exchange rate); None = unwanted.

        >>> names = Names(["BRK-B", "SPY"])
        >>> [names.of(symbol) for symbol in ("brk.b", "SPY.US", "eurusd=x", "AAPL")]
        ['BRK-B', 'SPY', 'EURUSD=X', None]
        """
        if symbol in self._exact:
            return symbol
        if symbol == symbol.lower():
            symbol = symbol.upper()  # as some vendors write all of theirs
        name = self._alike.get(spelling(symbol), symbol)
        return name if self.wanted is None or name in self._exact or pair_of(name) else None


def _plain(name: object) -> str:
    """A column's name without case, blanks, digits and punctuation."""
    return re.sub(r"[^a-z]", "", str(name).lower())


def roles_of(names: Sequence[str]) -> dict[str, str]:
    """Which column plays which role; a table without a date or a closing price is none of prices."""
    plain = [_plain(name) for name in names]
    roles = {}
    for role, spellings in SPELLINGS.items():
        found = [names[plain.index(spelling)] for spelling in spellings if spelling in plain]
        if found:
            roles[role] = found[0]
    nameless = [name for name, text in zip(names, plain, strict=True) if text in NAMELESS]
    if "date" not in roles and nameless:
        roles["date"] = nameless[0]
    if "clock" in roles and roles["clock"] == roles.get("date"):
        del roles["clock"]
    missing = [] if "date" in roles else ["a date"]
    missing += [] if {"close", "adj_close"} & set(roles) else ["a closing price"]
    if missing:
        shown = ", ".join(map(str, names[:8])) + (" ..." if len(names) > 8 else "")
        raise NotPrices(f"no price table: no column for {' or '.join(missing)} among {shown}")
    return roles


def _price_role(name: object) -> str | None:
    text = _plain(name)
    return next((role for role in RAW_COLUMNS if text in SPELLINGS[role]), None)


def is_wide(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether two header rows state field and symbol of every column, in either order."""
    if len(first) != len(second) or _plain(second[0]) not in WIDE_CORNERS or re.search(r"\d", second[0]):
        return False
    fields = [all(_price_role(cell) or _plain(cell) == "capitalgains" for cell in row[1:]) for row in (first, second)]
    return fields[0] != fields[1] and all(cell.strip() for cell in (*first[1:], *second[1:]))


def from_wide(
    stamps: pd.Series,
    names: Sequence[tuple],
    values: np.ndarray,
    wanted: Sequence[str] | None,
    orders: Orders,
    separator: str = ",",
) -> Table:
    """Bars from a table with one column per field and symbol; ``names`` holds both, in either order."""
    level = 0 if all(_price_role(name[0]) or _plain(name[0]) == "capitalgains" for name in names) else 1
    by_symbol: dict[str, dict[str, int]] = {}
    for column, name in enumerate(names):
        role = _price_role(name[level])
        if role:
            by_symbol.setdefault(str(name[1 - level]).strip(), {})[role] = column
    if _plain(stamps.iloc[0] if len(stamps) else "") == "date":  # the third header row
        stamps, values = stamps.iloc[1:], values[1:]
    table, chosen = Table(day_first=day_first_by_sign(stamps)), Names(wanted)
    days = _days(stamps, orders)
    adjusted = YFINANCE_ACTIONS & {_plain(name[level]) for name in names}
    for symbol, columns in by_symbol.items():
        name = chosen.of(symbol)
        if name is None or not {"close", "adj_close"} & set(columns):
            continue
        cells = {role: pd.Series(values[:, column]) for role, column in columns.items()}
        numbers, table.remark = _numbers(cells, bool(adjusted), separator)
        stated = np.any([np.isfinite(column) for column in numbers.values()], axis=0)
        _add(table, name, days[stated], {role: column[stated] for role, column in numbers.items()}, "")
    return table


def from_long(
    columns: Mapping[str, pd.Series],
    names: set[str],
    path: Path,
    wanted: Sequence[str] | None,
    orders: Orders,
    separator: str = ",",
) -> Table:
    """Bars from a table with one row per day (and symbol, where it has such a column)."""
    if not len(columns["date"]):
        return Table()
    chosen = Names(wanted)
    if "symbol" in columns:
        codes, labels = pd.factorize(columns["symbol"])
        labels = [str(label).strip() for label in labels]
    else:
        codes, labels = np.zeros(len(columns["date"]), dtype=int), [_stem(path).upper()]
    called = [chosen.of(label) if label else None for label in labels]
    table = Table(day_first=day_first_by_sign(columns["date"]))
    if not any(called):
        return table
    days = _days(columns["date"], orders)
    if "clock" in columns:  # a moment of its own for every time of the day; which one does not matter
        days += pd.to_timedelta(pd.factorize(columns["clock"].astype(str))[0], unit="ns")
    cells = {role: column for role, column in columns.items() if role in RAW_COLUMNS}
    actions = YFINANCE_ACTIONS & {_plain(name) for name in names}
    numbers, table.remark = _numbers(cells, bool(actions), separator)
    currencies = _stated(columns["currency"]) if "currency" in columns else None
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(labels) + 1))
    for label, name in enumerate(called):
        rows = order[bounds[label] : bounds[label + 1]]
        if name is None:
            continue
        currency, unit = "", 1.0
        if currencies is not None:
            try:
                currency, units, note = one_currency(currencies[rows], days[rows])
            except DataError as fault:
                table.refused[name] = str(fault)
                continue
            rows, unit = rows[units > 0], units[units > 0]
            if note:
                table.notes[name] = note
        of_symbol = {
            role: column[rows] if role in ("volume", "split") else column[rows] * unit
            for role, column in numbers.items()
        }
        _add(table, name, days[rows], of_symbol, currency)
    return table


def _stated(column: pd.Series) -> np.ndarray:
    """A column's texts, empty where it has none."""
    codes, texts = pd.factorize(column)
    return np.array([*(str(text).strip() for text in texts), ""], dtype=object)[codes]


def _days(stamps: pd.Series, orders: Orders) -> pd.DatetimeIndex:
    days = to_days(stamps, orders)
    if len(days) and days.isna().all():
        raise NotPrices(f"no readable dates: the first is {str(stamps.iloc[0])[:40]!r}")
    return days


def _numbers(cells: dict[str, pd.Series], yfinance: bool, separator: str) -> tuple[dict[str, np.ndarray], str]:
    """The columns to keep as float64, and a remark."""
    remarks = []
    actions = [role for role in ("dividend", "split") if role in cells]
    if actions and ("adj_close" in cells or yfinance):
        cells = {role: column for role, column in cells.items() if role not in actions}
        if "adj_close" not in cells:
            remarks.append("yfinance's columns without Adj Close: prices taken as already adjusted")
            cells["adj_close"] = cells["close"]
    decimal = decimal_sign(cells, separator)
    numbers, strange = {}, 0
    for role, column in cells.items():
        numbers[role], unreadable = to_numbers(column, decimal)
        strange += unreadable
    if strange:
        remarks.append(f"cells of its file that are no numbers: {strange}")
    return numbers, "; ".join(remarks)


def _add(table: Table, symbol: str, stamps: pd.DatetimeIndex, numbers: dict[str, np.ndarray], currency: str) -> None:
    """Put one symbol's rows into the table, or say why not; days with several time stamps are no daily bars."""
    days = stamps.normalize()
    n_days, n_stamps = days.nunique(), stamps.nunique()
    daily = np.ones(len(days), dtype=bool)
    if n_stamps > n_days:
        daily = ~(pd.Series(stamps).groupby(days).transform("nunique") > 1).to_numpy()
    kept = days[daily].nunique()
    if not n_days:
        table.refused[symbol] = "no row with a readable date"
    elif not kept:
        table.refused[symbol] = f"intraday bars ({n_stamps / n_days:.1f} a day on average); daily bars are needed"
    elif symbol in table.bars:
        table.refused[symbol] = "stated under two spellings"
    else:
        table.bars[symbol] = RawBars(
            pd.DataFrame({role: column[daily] for role, column in numbers.items()}, index=days[daily]), currency
        )
        if kept < n_days:
            note = f"days of intraday bars left out: {n_days - kept} of {n_days}"
            table.notes[symbol] = "; ".join(filter(None, [table.notes.get(symbol), note]))


def _stem(path: Path) -> str:
    return re.sub(r"(\.(csv|tsv|txt|parquet|pq|gz))+$", "", path.name, flags=re.IGNORECASE)
