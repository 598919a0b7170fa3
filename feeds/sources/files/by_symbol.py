"""Tables with a column per symbol: with its fields beside each other, or closes alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
import pandas as pd

from clusterfolio.feeds.raw import GUESSED, MENDED
from clusterfolio.feeds.sources.files.columns import SPELLINGS, plain, role_of
from clusterfolio.feeds.sources.files.containers import Sheet
from clusterfolio.feeds.sources.files.days import Orders, to_days
from clusterfolio.feeds.sources.files.names import ENDINGS, Names
from clusterfolio.feeds.sources.files.numbers import signs_of, to_numbers
from clusterfolio.feeds.sources.files.parts import PRICES, YFINANCE_ACTIONS, Note, Part, Table, numbers_in
from clusterfolio.feeds.sources.files.readings import reading
from clusterfolio.feeds.sources.files.shapes import pivot_symbols, rates_base
from clusterfolio.feeds.units import CURRENCIES


def from_wide(sheet: Sheet, pairs: Sequence[tuple[str, str]], names: Names, orders: Orders, skip: int) -> Table:
    """Bars by symbol; ``pairs`` are field and symbol of every column but the first, ``skip`` header rows below it."""
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
        numbers = {role: numbers_in(role, cells[at], signs)[0] for role, at in roles.items()}
        stated = np.any([np.isfinite(column) for column in numbers.values()], axis=0) & ~days.stamps.isna()
        frame = pd.DataFrame(numbers, index=days.stamps)[stated]
        table.add(name, Part(frame, "", adjusted, list(notes)))
    return table


def from_pivot(sheet: Sheet, names: Names, orders: Orders) -> Table | None:
    """Closes (or what the file's name says) by symbol; None = the columns are the fields of one asset."""
    cells = sheet.read()
    date_at = sheet.date_at
    if date_at not in cells.columns:  # named in the header, and no row reaches so far
        return None
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
