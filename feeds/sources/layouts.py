"""Reading one file of prices, whichever of the usual layouts it has.

What a text means (encoding, separator, decimal sign, order of day and month) is told by the whole file, later rows
included; whether a price is believed never is.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feeds.currency import one_currency, pair_of
from feeds.sources.raw import RAW_COLUMNS, RawBars
from feeds.sources.texts import day_first_by_sign, decimal_sign, to_days, to_numbers

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

BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
HEAD_BYTES = 1 << 16
HEAD_ROWS = 100


Orders = Mapping[str, bool]
NO_ORDERS: Orders = MappingProxyType({})


class NotPrices(ValueError):
    """The file is no table of daily prices; the text says why."""


@dataclass
class Table:
    """What one file held.

    Attributes:
        bars: by symbol.
        refused: why a symbol's rows could not be taken.
        notes: what is to be said about a symbol that was taken.
        remark: what is to be said about every symbol of the file.
        day_first: what its dates prove, as ``feeds.sources.texts.day_first_by_sign``.
    """

    bars: dict[str, RawBars] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    remark: str = ""
    day_first: dict[str, bool | None] = field(default_factory=dict)


@dataclass
class Names:
    """Which symbols are wanted (None = all), and under which name."""

    wanted: Sequence[str] | None

    def __post_init__(self):
        self._capitals = {name.upper(): name for name in reversed(self.wanted or ())}
        self._exact = set(self.wanted or ())

    def of(self, symbol: str) -> str | None:
        """The name to go by: as wanted, as stated (nothing was asked for, or an exchange rate); None = not wanted."""
        if self.wanted is None or symbol in self._exact:
            return symbol
        return self._capitals.get(symbol.upper(), symbol if pair_of(symbol) else None)


def read_parquet(path: Path, wanted: Sequence[str] | None, orders: Orders = NO_ORDERS) -> Table:
    """Bars in a Parquet file; only the columns and symbols needed are loaded. ``orders``: as ``texts.to_days``."""
    try:
        schema = pq.read_schema(path)
        if any(name.startswith("('") for name in schema.names):
            frame = pd.read_parquet(path)
            return _from_wide(frame.index.to_series(), list(frame.columns), frame.to_numpy(), wanted, orders)
        roles = _roles(schema.names)
        filters = None
        if wanted is not None and "symbol" in roles and _is_text(schema.field(roles["symbol"]).type):
            of_symbol = pc.field(roles["symbol"])
            capitals = pc.utf8_upper(of_symbol)
            filters = capitals.isin([name.upper() for name in wanted]) | pc.ends_with(of_symbol, "=X")
        table = pq.read_table(path, columns=list(dict.fromkeys(roles.values())), filters=filters)
        for position, column in enumerate(table.schema):
            if _is_text(column.type):  # as codes: a symbol's text stands in every one of its rows
                table = table.set_column(position, column.name, table[position].dictionary_encode())
    except pa.ArrowException as error:
        raise NotPrices(f"not a readable Parquet file ({str(error).splitlines()[0]})") from error
    frame = table.to_pandas(ignore_metadata=True)
    return _from_long({role: frame[name] for role, name in roles.items()}, set(roles.values()), path, wanted, orders)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def read_csv(path: Path, wanted: Sequence[str] | None, orders: Orders = NO_ORDERS) -> Table:
    """Bars in a text file, whatever its encoding, separator and decimal sign. ``orders``: as ``texts.to_days``."""
    encoding, head = _head(path)
    lines = [line for line in head.splitlines() if line.strip()]
    if not lines:
        raise NotPrices("empty file")
    if re.match(r"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        raise NotPrices("a web page, not a table")
    separator = max(",;\t|", key=lines[0].count)
    rows = _first_rows(lines, separator)
    if len(rows) > 1 and _is_wide(rows[0], rows[1]):
        cells = _cells(path, encoding, separator, skip=2, columns=None)
        stamps, body = cells.iloc[:, 0], cells.iloc[:, 1:]
        names = list(zip(rows[0][1:], rows[1][1:], strict=True))
        return _from_wide(stamps, names, body.to_numpy(dtype=object), wanted, orders, separator)
    roles = _roles(rows[0])
    at = {role: rows[0].index(name) for role, name in roles.items()}
    cells = _cells(path, encoding, separator, skip=1, columns=sorted(set(at.values())))
    columns = {role: cells[position] for role, position in at.items()}
    return _from_long(columns, set(roles.values()), path, wanted, orders, separator)


def _first_rows(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Header and first rows as cells; a row must not have more of them than the header."""
    try:
        rows = list(csv.reader(lines[:HEAD_ROWS], delimiter=separator))
    except csv.Error as error:
        raise NotPrices(f"no table ({error})") from error
    if len(rows[0]) < 2:
        raise NotPrices(f"no table: its first line is {lines[0][:40]!r}")
    for number, row in enumerate(rows[1:], start=2):
        if any(cell.strip() for cell in row[len(rows[0]) :]):
            raise NotPrices(f"line {number} has {len(row)} cells, the header {len(rows[0])}")
    return rows


def _head(path: Path) -> tuple[str, str]:
    """The file's encoding and the text it begins with."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            start = file.read(HEAD_BYTES)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise NotPrices("no complete gzip file") from error
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if start.startswith(mark)), "utf-8")
    if encoding != "utf-16" and b"\0" in start:
        raise NotPrices("binary content, not a text table")
    return encoding, start.decode(encoding, errors="replace")


def _cells(path: Path, encoding: str, separator: str, skip: int, columns: list[int] | None) -> pd.DataFrame:
    """The table's cells as text, below ``skip`` header lines; column labels are positions."""
    for attempt in (encoding, "latin-1"):
        try:
            return pd.read_csv(
                path, sep=separator, header=None, skiprows=skip, usecols=columns, dtype=str, encoding=attempt,
                keep_default_na=False, skipinitialspace=True, low_memory=False,
            )  # fmt: skip
        except UnicodeDecodeError:
            continue  # every byte is a letter in latin-1
        except pd.errors.EmptyDataError as error:
            raise NotPrices("a header and no rows") from error
        except (EOFError, zlib.error) as error:
            raise NotPrices("compressed file that is cut short") from error
        except (pd.errors.ParserError, ValueError) as error:
            raise NotPrices(f"lines do not fit the header ({str(error).strip()})") from error
    raise NotPrices("text in an unknown encoding")


def _plain(name: object) -> str:
    """A column's name without case, blanks, digits and punctuation."""
    return re.sub(r"[^a-z]", "", str(name).lower())


def _roles(names: Sequence[str]) -> dict[str, str]:
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


def _is_wide(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether two header rows state field and symbol of every column, in either order."""
    if len(first) != len(second) or _plain(second[0]) not in WIDE_CORNERS or re.search(r"\d", second[0]):
        return False
    fields = [all(_price_role(cell) or _plain(cell) == "capitalgains" for cell in row[1:]) for row in (first, second)]
    return fields[0] != fields[1] and all(cell.strip() for cell in (*first[1:], *second[1:]))


def _from_wide(
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


def _from_long(
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
            currency, units, note = one_currency(currencies[rows], days[rows])
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
