"""From a table to each symbol's rows, whichever of the usual shapes it has; nothing is believed or repaired here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np
import pandas as pd

from clusterfolio.feeds.currency import one_currency
from clusterfolio.feeds.raw import GUESSED, MENDED, NOTED, RAW_COLUMNS, DataError
from clusterfolio.feeds.sources.files.columns import (
    IDENTIFIERS,
    SPELLINGS,
    NotPrices,
    plain,
    role_of,
    roles_of,
    shown,
    unit_in,
)
from clusterfolio.feeds.sources.files.containers import Sheet
from clusterfolio.feeds.sources.files.days import NO_ORDERS, Days, Orders, Unreadable, to_days
from clusterfolio.feeds.sources.files.names import DATE, ENDINGS, Names, date_in, labels_of
from clusterfolio.feeds.sources.files.numbers import Ambiguous, Signs, signs_of, to_numbers, to_ratios
from clusterfolio.feeds.sources.files.readings import reading
from clusterfolio.feeds.sources.files.shapes import (
    TICKER,
    flat_pairs,
    may_be_pivot,
    pivot_symbols,
    rates_base,
    wide_pairs,
)
from clusterfolio.feeds.units import CURRENCIES, unit_of

#: Written by yfinance's ``history`` beside prices that it has adjusted already.
YFINANCE_ACTIONS = {"dividends", "stocksplits"}

#: How vendors call a day's bar.
DAILY = {"d", "1d", "day", "daily", "1day", "1440", "d1", "24h", "86400", "eod", "days1", ""}

#: Share of days with several prices from which on a table holds more than one asset under a name.
MANY = 0.05

PRICES = ("open", "high", "low", "close", "adj_close")

#: ``(kind, text, nature)`` of a remark.
Note = tuple[str, str, str]


@dataclass
class Part:
    """One file's rows of one symbol.

    Attributes:
        frame: naive time stamps as written; float64 columns, a subset of ``feeds.raw.RAW_COLUMNS``.
        currency: as ``feeds.raw.RawBars.currency``.
        adjusted: the prices are total returns already, whatever else is stated.
    """

    frame: pd.DataFrame
    currency: str = ""
    adjusted: bool = False
    notes: list[Note] = field(default_factory=list)


@dataclass
class Table:
    """What one file held.

    Attributes:
        parts: by symbol.
        refused: why a symbol's rows could not be taken.
        day_first: as ``days.Days.day_first``.
        nameless: rows that belong to no symbol.
        reading: how it was read, in words.
    """

    parts: dict[str, Part] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    day_first: dict[str, bool | None] = field(default_factory=dict)
    nameless: int = 0
    reading: str = ""

    def add(self, symbol: str, part: Part) -> None:
        """Take one symbol's rows; a second spelling of it is refused."""
        if symbol in self.parts:
            self.refused[symbol] = "stated under two spellings"
        elif not len(part.frame):
            self.refused[symbol] = "no row with a readable date"
        else:
            self.parts[symbol] = part


def read_table(sheet: Sheet, names: Names, orders: Orders = NO_ORDERS) -> Table:
    """The rows of every symbol that is wanted.

    Args:
        orders: as ``days.to_days``.

    Raises:
        NotPrices: the table is none of daily prices, or cannot be read with certainty.
    """
    try:
        pairs = wide_pairs(sheet.names, sheet.second) if sheet.second else None
        if pairs is not None:
            return _from_wide(sheet, pairs, names, orders, skip=1 if sheet.separator else 0)
        if may_be_pivot(sheet.names, sheet.date_at, names.known):
            return _from_pivot(sheet, names, orders) or _fields_after_all(sheet, names, orders)
        pairs = flat_pairs(sheet.names)
        if pairs is not None:
            return _from_wide(sheet, pairs, names, orders, skip=0)
        return _from_long(sheet, names, orders)
    except (Ambiguous, Unreadable) as fault:
        raise NotPrices(str(fault)) from fault


def _fields_after_all(sheet: Sheet, names: Names, orders: Orders) -> Table:
    """One asset's rows, whose columns bear names that are tickers too: said, but for a full bar."""
    table = _from_long(sheet, names, orders)
    if not {"open", "high", "low", "close"} <= {role_of(name) for name in sheet.names}:
        for part in table.parts.values():
            part.notes.append(("columns taken as fields", f"{shown(sheet.names)}, not as symbols", GUESSED))
    return table


# A row per day and symbol ------------------------------------------------------------------------------------------


def _from_long(sheet: Sheet, names: Names, orders: Orders) -> Table:
    day = date_in(sheet.path)
    roles = roles_of(sheet.names, sheet.date_at, dated=day is not None)
    spare = [] if "symbol" in roles else [at for at, name in enumerate(sheet.names) if plain(name) in IDENTIFIERS]
    keep = None if "symbol" not in roles else (roles["symbol"], lambda text: names.of(str(text).strip()) is not None)
    cells = _stated_rows(sheet.read(sorted({*roles.values(), *spare}), symbols=keep), roles)
    daily = _of_a_day(cells, roles)
    if len(cells) and not daily.any():
        raise NotPrices(f"bars of another length than a day: {cells[roles['interval']].iloc[0]!r}")
    cells = cells if daily.all() else cells[daily].reset_index(drop=True)
    if not len(cells):
        return Table()
    cells, roles = _payments(cells, roles)
    labels, codes = _symbols(cells, roles, sheet)
    found = Days(pd.DatetimeIndex([day] * len(cells))) if "date" not in roles else None
    groups = codes if len(labels) > 1 else None
    named = plain(sheet.names[roles["date"]]) not in ("", "unnamed", "index", "indexlevel") if found is None else True
    days = found or to_days(cells[roles["date"]], orders, groups, named)
    stamps = days.stamps
    if "clock" in roles:  # a moment of its own for every time of the day; which one does not matter
        stamps += pd.to_timedelta(pd.factorize(cells[roles["clock"]].astype(str))[0], unit="ns")
    prices = {role: cells[at] for role, at in roles.items() if role in RAW_COLUMNS}
    numbers, notes, unit, decimal = _numbers(prices, sheet.separator, groups)
    notes += [("dates read anew", days.remark, MENDED)] if days.remark else []
    if "symbol" not in roles or not any(labels):
        labels, codes = _whose(sheet, cells, spare, stamps, numbers)
        notes += _said_of(labels, sheet)
    said = reading({role: sheet.names[at] for role, at in roles.items()}, days, sheet.separator, decimal)
    table = Table(day_first=days.day_first, nameless=int((codes == -1).sum()), reading=said)
    rest = {plain(name) for name in sheet.names}
    adjusted = bool(YFINANCE_ACTIONS & rest) and not {"adjclose"} & rest
    if adjusted:
        notes.append(
            ("already adjusted", "yfinance's columns without Adj Close: prices taken as already adjusted", GUESSED)
        )
    stated = _texts(cells[roles["currency"]]) if "currency" in roles else None
    unit = unit or unit_in(sheet.names[roles["close" if "close" in roles else "adj_close"]])
    unit = unit or sheet.above.get("currency", "")
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(labels) + 1))
    for code, label in enumerate(labels):
        name = names.of_any(label) if isinstance(label, list) else names.of(label) if label else None
        if name is None:
            continue
        rows = order[bounds[code] : bounds[code + 1]]
        rows = rows[~stamps[rows].isna()]
        close = numbers.get("close", numbers.get("adj_close"))[rows]
        if "symbol" in roles and several_prices(stamps[rows], close) > MANY:
            telling = _telling(sheet, rows, stamps, close, len(cells))
            if telling:
                table.refused[name] = (
                    f"the same day several times with different prices: column {telling} tells them apart"
                )
                continue
        try:
            table.add(name, _part(rows, stamps, numbers, stated, unit, adjusted, notes))
        except DataError as fault:
            table.refused[name] = str(fault)
    return table


def _part(
    rows: np.ndarray,
    stamps: pd.DatetimeIndex,
    numbers: dict[str, np.ndarray],
    stated: np.ndarray | None,
    unit: str,
    adjusted: bool,
    notes: list[Note],
) -> Part:
    """One symbol's rows in the unit of its earliest day."""
    currency, sizes, notes = unit_of(unit) if unit else "", None, list(notes)
    if stated is not None and len(rows):
        currency, sizes, note = one_currency(stated[rows], stamps[rows].normalize())
        rows, sizes = rows[sizes > 0], sizes[sizes > 0]
        notes += [("several currencies", note, MENDED)] if note else []
    frame = pd.DataFrame(
        {
            role: column[rows] if sizes is None or role in ("volume", "split") else column[rows] * sizes
            for role, column in numbers.items()
        },
        index=stamps[rows],
    )
    return Part(frame, currency, adjusted, notes)


def _stated_rows(cells: pd.DataFrame, roles: dict[str, int]) -> pd.DataFrame:
    """Without rows in which nothing stands, as spreadsheets leave below a table."""
    if (
        "date" not in roles
        or cells[roles["date"]].dtype.kind in "iufM"
        or not pd.api.types.is_string_dtype(cells[roles["date"]].dtype)
    ):
        return cells
    blank = cells[roles["date"]].astype(str).str.strip() == ""
    if not blank.any():
        return cells
    beside = cells.drop(columns=roles["date"])
    return cells[~(blank & beside.astype(str).apply(lambda column: column.str.strip() == "").all(axis=1))].reset_index(
        drop=True
    )


def _payments(cells: pd.DataFrame, roles: dict[str, int]) -> tuple[pd.DataFrame, dict[str, int]]:
    """With the dividends that stand in words in rows of their own (``0.24 Dividend``) in a column; splits are known."""
    if "open" not in roles or "dividend" in roles or pd.api.types.is_numeric_dtype(cells[roles["open"]].dtype):
        return cells, roles
    said = cells[roles["open"]].astype(str)
    paid = said.str.extract(r"^\D{0,2}([\d.,]+)\s*[Dd]ividend", expand=False)
    split = said.str.contains(r"[Ss]tock [Ss]plit", regex=True)
    if not paid.notna().any() and not split.any():
        return cells, roles
    spoken = paid.notna() | split
    cells = cells.copy()
    cells[roles["open"]] = said.where(~spoken, "")
    cells[-1] = paid.fillna("")
    return cells, roles | {"dividend": -1}


def _symbols(cells: pd.DataFrame, roles: dict[str, int], sheet: Sheet) -> tuple[list[str], np.ndarray]:
    """The texts in the column of symbols, and which of them stands in each row (-1 = none)."""
    if "symbol" not in roles:
        return [""], np.zeros(len(cells), dtype=int)
    codes, texts = pd.factorize(cells[roles["symbol"]])
    labels = [str(text).strip() for text in texts]
    labels = [label.removesuffix(".0") for label in labels]  # a number that some rows lacked
    fractions = [label for label in labels if re.fullmatch(r"-?\d*\.\d+", label)]
    if len(fractions) > 0.5 * len(labels):
        raise NotPrices(
            f"column {sheet.names[roles['symbol']]} holds numbers like {fractions[0]}, which are no symbols"
        )
    blank = [at for at, label in enumerate(labels) if not label]
    return labels, np.where(np.isin(codes, blank), -1, codes)


def _whose(
    sheet: Sheet, cells: pd.DataFrame, spare: list[int], stamps: pd.DatetimeIndex, numbers: dict[str, np.ndarray]
) -> tuple[list, np.ndarray]:
    """Whose rows these are where no column says so by its name: an identifier's, else those of the file's own name.

    Raises:
        NotPrices: many days have several prices, and a column that is no known one tells them apart.
    """
    close = numbers.get("close", numbers.get("adj_close"))
    many = several_prices(stamps, close)
    if many > MANY:
        for at in spare:
            codes, texts = pd.factorize(cells[at].astype(str).str.strip())
            if len(texts) > 1 and _tells_apart(codes, stamps, close):
                return list(texts), codes
        telling = _telling(sheet, np.arange(len(cells)), stamps, close, len(cells))
        if telling:
            raise NotPrices(
                f"the same day several times with different prices, and no column of symbols; column {telling} would "
                "tell them apart: call it symbol"
            )
    zero = np.zeros(len(cells), dtype=int)
    for key in ("symbol", "ticker", "security"):
        if sheet.above.get(key):
            return [sheet.above[key].removesuffix(" US Equity")], zero
    for at in spare:
        texts = cells[at].astype(str).str.strip().unique()
        if (
            plain(sheet.names[at]) in ("name", "index", "security", "pair")
            and len(texts) == 1
            and TICKER.match(texts[0])
        ):
            return [texts[0]], zero
    labels = labels_of(sheet.path)
    stem = ENDINGS.sub("", PurePath(sheet.path).name)
    if re.fullmatch(DATE, stem) and not (stamps.year == int(stem[:4])).all():
        labels = [stem]  # a symbol of digits
    return [labels], zero


def _said_of(labels: list, sheet: Sheet) -> list[Note]:
    if isinstance(labels[0], list) and len(labels[0]) > 1:
        return [("symbol from the file's name", sheet.path, NOTED)]
    return []


def several_prices(stamps: pd.DatetimeIndex, close: np.ndarray) -> float:
    """The share of moments that are stated several times with different prices."""
    repeated = stamps.duplicated(keep=False)
    if not repeated.any():
        return 0.0
    prices = pd.Series(close[repeated]).groupby(stamps[repeated])
    return float((prices.max() > prices.min() * (1 + 1e-5)).sum() / max(stamps.nunique(), 1))


def _tells_apart(codes: np.ndarray, stamps: pd.DatetimeIndex, close: np.ndarray) -> bool:
    """Whether within each code hardly any moment has several prices."""
    table = pd.DataFrame({"code": codes, "stamp": stamps, "close": close}).dropna()
    table = table[table.duplicated(["code", "stamp"], keep=False)]
    return len(table) < 0.005 * len(codes)


def _telling(sheet: Sheet, rows: np.ndarray, stamps: pd.DatetimeIndex, close: np.ndarray, n_rows: int) -> str:
    """The columns by which these rows' several prices of a day differ; empty = none is seen."""
    every = sheet.read()
    if len(every) != n_rows:
        return ""
    stamps = stamps[rows] if len(stamps) != len(rows) else stamps
    found = []
    for at in every:
        if role_of(sheet.names[at]) is not None:
            continue
        codes, texts = pd.factorize(every[at].iloc[rows].astype(str))
        if 1 < len(texts) <= max(2, len(rows) // 5) and _tells_apart(codes, stamps, close):
            found.append(sheet.names[at])
    return shown(found)


def _of_a_day(cells: pd.DataFrame, roles: dict[str, int]) -> np.ndarray:
    """Which rows are daily bars by the table's own word."""
    if "interval" not in roles:
        return np.ones(len(cells), dtype=bool)
    texts = cells[roles["interval"]].astype(str).str.strip().str.lower().str.replace(r"[\s_-]", "", regex=True)
    return texts.isin(DAILY).to_numpy()


def _texts(column: pd.Series) -> np.ndarray:
    """A column's texts, empty where it has none."""
    codes, texts = pd.factorize(column)
    return np.array([*(str(text).strip() for text in texts), ""], dtype=object)[codes]


def _numbers(
    cells: dict[str, pd.Series], separator: str, groups: np.ndarray | None
) -> tuple[dict[str, np.ndarray], list[Note], str, str]:
    """The columns as float64, what is to be said about them, the currency in the cells and the decimal sign."""
    notes: list[Note] = []
    signs = signs_of([column for role, column in cells.items() if role in PRICES], separator, groups)
    if signs.remark:
        notes.append(("decimal sign guessed", signs.remark, GUESSED))
    numbers, strange, currencies = {}, 0, set()
    for role, column in cells.items():
        numbers[role], lost, units = _column(role, column, signs)
        strange += lost
        currencies |= units if role in PRICES else set()
    if strange:
        notes.append(("cells that are no numbers", f"{strange} in its file", NOTED))
    if len(currencies) > 1:
        raise NotPrices(f"prices in several currencies: {', '.join(sorted(currencies))}")
    return numbers, notes, next(iter(currencies), ""), signs.decimal


def _column(role: str, column: pd.Series, signs: Signs) -> tuple[np.ndarray, int, set[str]]:
    if role == "split":
        return *to_ratios(column, signs.decimal), set()
    values, lost, units = to_numbers(column, signs.decimal)
    if role == "volume" and lost > 0.5 * len(column):  # whole numbers, whose thousands may bear the other sign
        values, lost, units = to_numbers(column, "," if signs.decimal == "." else ".")
    return values, lost, units


# A column per symbol -----------------------------------------------------------------------------------------------


def _from_wide(sheet: Sheet, pairs: Sequence[tuple[str, str]], names: Names, orders: Orders, skip: int) -> Table:
    cells = sheet.read(skip=skip)
    third = cells.iloc[0].astype(str).str.strip() if len(cells) else pd.Series([""])
    if plain(third.iloc[0]) in SPELLINGS["date"] or (sheet.separator and not third.iloc[1:].any()):
        cells = cells.iloc[1:].reset_index(drop=True)  # the index's name in a header row of its own
    if not len(cells):
        return Table()
    days = to_days(cells[0], orders)
    notes: list[Note] = [("dates read anew", days.remark, MENDED)] if days.remark else []
    table = Table(day_first=days.day_first)
    by_symbol: dict[str, dict[str, int]] = {}
    for at, (name, symbol) in enumerate(pairs, start=1):
        role = role_of(name)
        if role:
            by_symbol.setdefault(symbol, {}).setdefault(role, at)
    prices = [cells[at] for roles in by_symbol.values() for role, at in roles.items() if role in PRICES]
    signs = signs_of(prices, sheet.separator)
    notes += [("decimal sign guessed", signs.remark, GUESSED)] if signs.remark else []
    fields = {role_of(name): name for name, _ in pairs if role_of(name)}
    table.reading = f"a column per field and symbol; {reading(fields, days, sheet.separator, signs.decimal)}"
    rest = {plain(name) for name, _ in pairs}
    adjusted = bool(YFINANCE_ACTIONS & rest) and "adjclose" not in rest
    if adjusted:
        notes.append(
            ("already adjusted", "yfinance's columns without Adj Close: prices taken as already adjusted", GUESSED)
        )
    for symbol, roles in by_symbol.items():
        name = names.of(symbol)
        if name is None:
            continue
        if not {"close", "adj_close"} & set(roles):
            table.refused[name] = "no column for its closing price"
            continue
        numbers = {role: _column(role, cells[at], signs)[0] for role, at in roles.items()}
        stated = np.any([np.isfinite(column) for column in numbers.values()], axis=0) & ~days.stamps.isna()
        frame = pd.DataFrame(numbers, index=days.stamps)[stated]
        table.add(name, Part(frame, "", adjusted, list(notes)))
    return table


def _from_pivot(sheet: Sheet, names: Names, orders: Orders) -> Table | None:
    """Closes (or what the file's name says) by symbol; None = the columns are the fields of one asset."""
    cells = sheet.read()
    date_at = sheet.date_at
    columns = cells.drop(columns=date_at)
    signs = signs_of([columns[at] for at in columns], sheet.separator)
    values = pd.DataFrame({at: to_numbers(columns[at], signs.decimal)[0] for at in columns})
    base = rates_base([name if at != date_at else "" for at, name in enumerate(sheet.names)], values, CURRENCIES)
    symbols = [at for at in values if sheet.names[at].strip()] if base else pivot_symbols(sheet.names, values)
    if not symbols:
        return None
    days = to_days(cells[date_at], orders)
    role = role_of(re.split(r"[_\s-]+", ENDINGS.sub("", PurePath(sheet.path).name).rstrip("sS"))[-1]) or "close"
    notes: list[Note] = [("columns taken as symbols", f"{sheet.path}: {role} by symbol", GUESSED)]
    notes += [("dates read anew", days.remark, MENDED)] if days.remark else []
    notes += [("decimal sign guessed", signs.remark, GUESSED)] if signs.remark else []
    said = reading({}, days, sheet.separator, signs.decimal).removeprefix("; ")
    table = Table(day_first=days.day_first, reading=f"a column per symbol, {role}; {said}")
    for at in symbols:
        label = sheet.names[at].strip()
        name = names.of(f"{base}{label}=X" if base else label)
        if name is not None:
            stated = np.isfinite(values[at].to_numpy()) & ~days.stamps.isna()
            frame = pd.DataFrame({role: values[at].to_numpy()[stated]}, index=days.stamps[stated])
            table.add(name, Part(frame, "", False, list(notes)))
    return table
