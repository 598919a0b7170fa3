"""Which shape a table has: a row per day (and symbol), or a column per symbol, with or without its fields.

Names alone do not tell where tickers are called like fields (C, LOW, V, OPEN): then the values decide, as an asset's
low is not above its close.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from clusterfolio.feeds.exogenous.publication import PUBLICATION_LAG
from clusterfolio.feeds.sources.files.columns import BESIDE, SYMBOLS_TOO, NotPrices, plain, role_of, shown

#: First cells of the header rows of a wide table.
WIDE_CORNERS = (
    "",
    "price",
    "prices",
    "ticker",
    "tickers",
    "symbol",
    "symbols",
    "attributes",
    "field",
    "fields",
    "date",
)

#: What symbols look like where nothing but their look tells them.
TICKER = re.compile(r"(?=.*[A-Z])[A-Z0-9^][A-Z0-9^.=&/_-]{0,14}$|\d{4,6}(\.[A-Z]{1,3})?$")

#: Sides of a quote, which are no symbols.
SIDES = {"BID", "ASK", "MID", "ADJ", "ADJUSTED", "AVG", "PREV", "PRE", "UNADJ"}

#: Share of the rows on which an asset's prices must fit together.
FITTING = 0.95


def is_field(name: object) -> bool:
    """Whether a name is one of prices, or of what stands beside them."""
    return role_of(name) is not None or plain(name) in BESIDE


def wide_pairs(first: Sequence[str], second: Sequence[str]) -> list[tuple[str, str]] | None:
    """``(field, symbol)`` of every column but the first, where two header rows state them in either order; else None.

    >>> wide_pairs(["", "Close", "", "Repaired?", ""], ["", "C", "LOW", "C", "LOW"])
    [('Close', 'C'), ('Close', 'LOW'), ('Repaired?', 'C'), ('Repaired?', 'LOW')]
    """
    if (
        len(first) != len(second)
        or len(first) < 2
        or plain(second[0]) not in WIDE_CORNERS
        or re.search(r"\d", second[0])
    ):
        return None
    if any(re.match(r"[-+]?\d*\.\d|\d{1,4}[-/]\d", cell.strip()) for cell in second[1:]):
        return None
    rows = [_filled(first[1:]), _filled(second[1:])]
    if not all(cell for row in rows for cell in row):
        return None
    sure = [sum(role_of(cell) is not None and cell not in SYMBOLS_TOO for cell in row) for row in rows]
    maybe = [sum(is_field(cell) for cell in row) for row in rows]
    if (sure[0], maybe[0]) == (sure[1], maybe[1]):
        return None
    level = 0 if (sure[0], maybe[0]) > (sure[1], maybe[1]) else 1
    if not {role_of(cell) for cell in rows[level]} & {"close", "adj_close"}:
        return None
    pairs = list(zip(rows[level], rows[1 - level], strict=True))
    return pairs if len(set(pairs)) == len(pairs) else None


def _filled(row: Sequence[str]) -> list[str]:
    """A header whose cells were merged: a blank one goes on with what stands before it."""
    out, last = [], ""
    for cell in row:
        last = cell.strip() or last
        out.append(last)
    return out


def flat_pairs(names: Sequence[str]) -> list[tuple[str, str]] | None:
    """``(field, symbol)`` of every column but the first, where one name states both (``AAPL.Close``); else None.

    >>> flat_pairs(["Date", "AAPL_Close", "AAPL_Volume", "MSFT_Close"])
    [('Close', 'AAPL'), ('Volume', 'AAPL'), ('Close', 'MSFT')]
    """
    for form in (
        r"(?P<symbol>[^ _|:]+)[ ._|:-](?P<field>[A-Za-z ._?%]+)",
        r"(?P<field>[A-Za-z ?%]+)[ ._|:-](?P<symbol>[^ _|:]+)",
    ):
        found = [re.fullmatch(form, name.strip()) for name in names[1:]]
        pairs = [(each["field"], each["symbol"]) for each in found if each]
        good = [is_field(field) and TICKER.match(symbol) and symbol not in SIDES for field, symbol in pairs]
        if all(is_field(symbol) for _, symbol in pairs) and not all(
            symbol in SYMBOLS_TOO and field not in SYMBOLS_TOO for field, symbol in pairs
        ):
            continue  # OPEN_PRICE, HIGH_PRICE
        if pairs and len(pairs) == len(names) - 1 and all(good):
            return pairs if {role_of(field) for field, _ in pairs} & {"close", "adj_close"} else None
    return None


def may_be_pivot(names: Sequence[str], at: int | None, known: Sequence[str]) -> bool:
    """Whether the columns may be symbols: dates first, then names like tickers of which none is surely a field.

    Args:
        at: where the dates stand.
        known: symbols asked for; these may be written in small letters.
    """
    if at is None:
        return False
    asked = {name.upper() for name in known}
    symbols = [name.strip() for place, name in enumerate(names) if place != at and name.strip()]
    symbols = [name for name in symbols if not (plain(name) in BESIDE and name not in SYMBOLS_TOO)]
    like = [TICKER.match(name) is not None or name.upper() in asked for name in symbols]
    sure = [role_of(name) is not None and name not in SYMBOLS_TOO for name in symbols]
    return bool(symbols) and all(like) and not any(sure)


def pivot_symbols(names: Sequence[str], cells: pd.DataFrame) -> list[int]:
    """Positions of the columns that are symbols' prices; empty = the columns are the fields of one asset.

    Args:
        names: for which ``may_be_pivot`` is true.
        cells: the columns as numbers, by position, without the dates.

    Raises:
        NotPrices: neither can be, or either may be.
    """
    numeric = [at for at in cells if cells[at].notna().mean() > 0 and names[at].strip()]
    unknown = [at for at in numeric if role_of(names[at]) is None and plain(names[at]) not in BESIDE]
    fields = {role_of(names[at]): at for at in numeric if role_of(names[at]) is not None}
    symbols = [
        at for at in cells if names[at].strip() and not (plain(names[at]) in BESIDE and names[at] not in SYMBOLS_TOO)
    ]
    if fields and not unknown and _fit(cells, fields):
        return []
    if len({"open", "high", "low", "close"} & set(fields)) == 4 and _fit(cells, fields):
        return []
    if len(numeric) < len(symbols):
        texts = [names[at] for at in symbols if at not in numeric]
        raise NotPrices(f"columns named like symbols hold no numbers: {shown(texts)}")
    if len(fields) > max(1, len(unknown)) and _fit(cells, fields):
        raise NotPrices(f"are {shown([names[at] for at in fields.values()])} fields or symbols? Nothing tells")
    values = cells[symbols]
    if (values <= 0).sum().sum() > 0.001 * values.notna().sum().sum():
        raise NotPrices("columns named like symbols, but with values that are no prices")
    return [at for at in symbols if names[at] not in PUBLICATION_LAG]


def _fit(cells: pd.DataFrame, fields: dict[str, int]) -> bool:
    """Whether these columns can be the open, high, low, close and volume of one asset."""
    prices = cells[[at for role, at in fields.items() if role in ("open", "high", "low", "close", "adj_close")]]
    if prices.empty:
        return False
    inside = (prices.max(axis=1) / prices.min(axis=1) < 2) | prices.isna().any(axis=1)
    for role, sign in (("high", 1), ("low", -1)):
        if role in fields:
            body = cells[[fields[name] for name in ("open", "close") if name in fields]]
            edge = body.max(axis=1) if sign > 0 else body.min(axis=1)
            inside &= (sign * (cells[fields[role]] - edge) >= -1e-4 * edge) | edge.isna() | cells[fields[role]].isna()
    if inside.mean() < FITTING:
        return False
    if "volume" in fields:
        volume = cells[fields["volume"]].dropna().to_numpy()
        return bool(np.isclose(volume, np.round(volume)).mean() > 0.9)
    return True


def rates_base(names: Sequence[str], cells: pd.DataFrame, currencies: frozenset[str]) -> str:
    """The currency of which one costs what the columns say, where all of them are currencies; empty = they are not.

    Only the European Central Bank's table is known for sure: it has dollars and no euros.

    Raises:
        NotPrices: columns of currencies against one that nothing tells.
    """
    codes = {names[at].strip(): at for at in cells if names[at].strip()}
    if len(codes) < 2 or not set(codes) <= currencies:
        return ""
    dollar = cells[codes["USD"]].median() if "USD" in codes else np.nan
    if "EUR" in codes or not 0.5 < dollar < 2.5:
        raise NotPrices("rates of currencies against one that the table does not name")
    return "EUR"
