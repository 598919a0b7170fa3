"""From a table to each symbol's rows, whichever of the usual shapes it has; nothing is believed or repaired here."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from clusterfolio.feeds.currency import one_currency
from clusterfolio.feeds.raw import GUESSED, MENDED, RAW_COLUMNS, DataError
from clusterfolio.feeds.sources.files.by_symbol import from_pivot, from_wide
from clusterfolio.feeds.sources.files.columns import IDENTIFIERS, NotPrices, plain, role_of, roles_of, shown, unit_in
from clusterfolio.feeds.sources.files.containers import Sheet
from clusterfolio.feeds.sources.files.days import NO_ORDERS, Days, Orders, Unreadable, to_days
from clusterfolio.feeds.sources.files.names import Names, date_in
from clusterfolio.feeds.sources.files.numbers import Ambiguous
from clusterfolio.feeds.sources.files.parts import YFINANCE_ACTIONS, Note, Part, Table, numbers_of
from clusterfolio.feeds.sources.files.readings import reading
from clusterfolio.feeds.sources.files.shapes import flat_pairs, may_be_pivot, wide_pairs
from clusterfolio.feeds.sources.files.whose import MANY, said_of, several_prices, telling_columns, whose
from clusterfolio.feeds.units import unit_of

#: How vendors call a day's bar.
DAILY = {"d", "1d", "day", "daily", "1day", "1440", "d1", "24h", "86400", "eod", "days1", ""}


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
            return from_wide(sheet, pairs, names, orders, skip=1 if sheet.separator else 0)
        if may_be_pivot(sheet.names, sheet.date_at, names.known):
            return from_pivot(sheet, names, orders) or _fields_after_all(sheet, names, orders)
        pairs = flat_pairs(sheet.names)
        if pairs is not None:
            return from_wide(sheet, pairs, names, orders, skip=0)
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
    numbers, notes, unit, decimal = numbers_of(prices, sheet.separator, groups)
    notes += [("dates read anew", days.remark, MENDED)] if days.remark else []
    if "symbol" not in roles or not any(labels):
        labels, codes = whose(sheet, cells, spare, stamps, numbers)
        notes += said_of(labels, sheet)
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
        close = numbers["close" if "close" in numbers else "adj_close"][rows]
        if "symbol" in roles and several_prices(stamps[rows], close) > MANY:
            telling = telling_columns(sheet, rows, stamps, close, len(cells))
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
    same, distinct = pd.factorize(np.array(labels, dtype=object))  # blanks beside a symbol make no other of it
    labels, codes = list(distinct), np.append(same, -1)[codes]
    fractions = [label for label in labels if re.fullmatch(r"-?\d*\.\d+", label)]
    if len(fractions) > 0.5 * len(labels):
        raise NotPrices(
            f"column {sheet.names[roles['symbol']]} holds numbers like {fractions[0]}, which are no symbols"
        )
    blank = [at for at, label in enumerate(labels) if not label]
    return labels, np.where(np.isin(codes, blank), -1, codes)


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
