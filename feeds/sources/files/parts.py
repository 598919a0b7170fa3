"""What one file held: each symbol's rows, in numbers; nothing is believed or repaired here."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from clusterfolio.feeds.raw import GUESSED, NOTED
from clusterfolio.feeds.sources.files.columns import NotPrices
from clusterfolio.feeds.sources.files.numbers import Signs, signs_of, to_numbers, to_ratios

#: Written by yfinance's ``history`` beside prices that it has adjusted already.
YFINANCE_ACTIONS = {"dividends", "stocksplits"}

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


def numbers_of(
    cells: dict[str, pd.Series], separator: str, groups: np.ndarray | None
) -> tuple[dict[str, np.ndarray], list[Note], str, str]:
    """The columns as float64, what is to be said about them, the currency in the cells and the decimal sign."""
    notes: list[Note] = []
    signs = signs_of([column for role, column in cells.items() if role in PRICES], separator, groups)
    if signs.remark:
        notes.append(("decimal sign guessed", signs.remark, GUESSED))
    numbers, strange, currencies = {}, 0, set()
    for role, column in cells.items():
        numbers[role], lost, units = numbers_in(role, column, signs)
        strange += lost
        currencies |= units if role in PRICES else set()
    if strange:
        notes.append(("cells that are no numbers", f"{strange} in its file", NOTED))
    if len(currencies) > 1:
        raise NotPrices(f"prices in several currencies: {', '.join(sorted(currencies))}")
    return numbers, notes, next(iter(currencies), ""), signs.decimal


def numbers_in(role: str, column: pd.Series, signs: Signs) -> tuple[np.ndarray, int, set[str]]:
    """One column as float64, how many of its cells are no number, and the currencies in them."""
    if role == "split":
        return *to_ratios(column, signs.decimal), set()
    values, lost, units = to_numbers(column, signs.decimal)
    if role == "volume" and lost > 0.5 * len(column):  # whole numbers, whose thousands may bear the other sign
        values, lost, units = to_numbers(column, "," if signs.decimal == "." else ".")
    return values, lost, units
