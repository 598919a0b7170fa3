"""Fills in shares and prices of the market, at the edge of an engine that trades total-return levels.

A level is worth that of a holding whose dividends are re-invested, so one unit of it stands for more and more shares.
What a unit has become is level over market price; it changes on the days of splits and dividends only, and on such a
day what is held gets a row of its own, so that shares add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import bottleneck
import numpy as np
import pandas as pd

from clusterfolio.engine.trading.costs import OF_TRADES
from clusterfolio.engine.trading.whole_shares import Traded, in_whole_shares
from clusterfolio.feeds.currency import pair_of
from clusterfolio.feeds.panel import MARKET, Panel

#: Columns of ``transactions.csv``.
MARKET_COLUMNS = (
    "date", "symbol", "amount", "unit", "price", "currency", "rate", "value", *OF_TRADES, "reason", "level",
)  # fmt: skip

#: Of these, what the market says of a fill.
STATED = ("amount", "price", "rate", "unit", "currency")

#: Reasons of rows that are no trades: they change the shares held, and neither the cash nor the account's value.
REINVESTED, SPLIT, RESTATED = "dividend re-invested", "split", "adjusted close restated"
ACTIONS = (REINVESTED, SPLIT, RESTATED)

#: Units of an amount where no market price is stated, of a pair that is no holding, and in an account made elsewhere.
LEVELS, INDEX, RECORDED = "total-return units", "index units", "as recorded"


def trades_of(transactions: pd.DataFrame) -> pd.DataFrame:
    """The rows that are trades."""
    return transactions[~transactions["reason"].isin(ACTIONS)].reset_index(drop=True)


def in_market_units(fills: pd.DataFrame, panel: Panel, fractional: bool = True) -> pd.DataFrame:
    """The fills in shares and prices of the market, with a row for each split and dividend of what was held.

    Args:
        fills: as ``BacktestResult.transactions``: amounts and prices of levels, in order of date.
        fractional: as the engine traded; else its prices are those of ``whole_shares``, and no dividend is re-invested.

    Returns:
        Columns ``MARKET_COLUMNS``, in order of date, splits and dividends before the day's fills. ``price`` is in
        ``currency``, one of which is worth ``rate`` of the account's; ``value`` and costs are in the account's
        currency and as booked: amount times price times rate to the rounding of the source's adjusted closes, 0 in the
        rows of ``ACTIONS``. ``level`` is the price that the engine booked. An asset without a market price by its
        first fill is stated in ``LEVELS``.
    """
    booked = (Traded(panel) if fractional else in_whole_shares(panel)).panel.close.to_numpy(dtype=float)
    rows = panel.dates.searchsorted(fills["date"], side="right") - 1  # a terminal bar may have no row of its own
    amounts, levels = (fills[name].to_numpy(dtype=float) for name in ("amount", "price"))
    stated, actions = np.empty((len(fills), 5), dtype=object), []
    for symbol, at in fills.groupby("symbol", sort=False).indices.items():
        level, first = booked[:, panel.symbols.get_loc(symbol)], fills.index[at[0]]
        market, own = _market_of(str(symbol), panel, level, int(rows[at[0]])), rows[at]
        kind = market.unit, market.currency
        known = amounts[at] * market.per_unit[own], levels[at] * market.price[own], market.rate[own]
        stated[at] = [(*numbers, *kind) for numbers in zip(*known, strict=True)]
        for row, amount, reason in _actions(market, amounts[at], own):
            figures = amount, level[row] * market.price[row], market.rate[row]
            actions.append((panel.dates[row], symbol, *figures, *kind, reason, level[row], first))
    return _in_order(fills.assign(level=levels), stated, actions)


def _in_order(fills: pd.DataFrame, stated: np.ndarray, actions: list[tuple]) -> pd.DataFrame:
    """The table: fills in the market's figures, ``(n_fills, 5)`` as ``STATED``, and actions, which bear the number of
    their asset's first fill.
    """
    trades = fills.assign(**{name: stated[:, column].tolist() for column, name in enumerate(STATED)})
    columns = ["date", "symbol", *STATED, "reason", "level", "fill"]
    acted = pd.DataFrame(actions, columns=columns).set_index("fill").assign(**dict.fromkeys(("value", *OF_TRADES), 0.0))
    table = pd.concat([trades, acted]) if actions else trades
    order = np.lexsort((table.index, ~table["reason"].isin(ACTIONS), table["date"]))
    table = table.iloc[order].reset_index(drop=True)[list(MARKET_COLUMNS)]
    whole = table["amount"].round()
    return table.assign(amount=table["amount"].where((table["amount"] - whole).abs() > 1e-9 * whole.abs(), whole))


@dataclass(frozen=True)
class _Market:
    """One asset by row of the panel: ``per_unit``, shares that a unit stands for; ``price`` of the market for one of
    the level; ``rate``; and ``split``, shares that one has become by splits. ``unit`` of its amounts, ``currency`` of
    its prices.
    """

    per_unit: np.ndarray
    price: np.ndarray
    rate: np.ndarray
    split: np.ndarray
    unit: str
    currency: str


def _market_of(symbol: str, panel: Panel, level: np.ndarray, first: int) -> _Market:
    """What one asset's units are, by the closes that the engine booked, for a first fill in row ``first``.

    Shares per unit stay what they are between actions, whatever rounding does to the figures, and where no market
    price is stated.
    """
    ones, pair = np.ones(len(panel.dates)), pair_of(symbol)
    if pair is not None:
        held = pair[0] if pair[1] == panel.currency else pair[1] if pair[0] == panel.currency else INDEX
        return _Market(ones, ones, ones, ones, held, panel.currency)
    if any(getattr(panel, name) is None for name in MARKET):
        return _Market(ones, ones, ones, ones, RECORDED, panel.currency)
    column = panel.symbols.get_loc(symbol)
    market, rate, split, paid = (getattr(panel, name).to_numpy(dtype=float)[:, column] for name in MARKET)
    grown = level / (market * rate)
    known = np.flatnonzero(np.isfinite(grown))
    if not len(known) or known[0] > first:
        return _Market(ones, ones, ones, ones, LEVELS, panel.currency)
    acted = np.append(True, (np.diff(split[known]) != 0) | (np.diff(paid[known]) != 0))
    acted |= known == known[known <= first][-1]  # whatever came before is of no account
    per_unit, of_level, shares = np.full((3, len(level)), np.nan)
    per_unit[known[acted]], shares[known[acted]] = grown[known[acted]], split[known[acted]]
    of_level[known] = 1 / grown[known]
    per_unit, of_level, rate, shares = (bottleneck.push(by) for by in (per_unit, of_level, rate, shares))
    currency = panel.assets.loc[symbol, "currency"] or panel.currency
    return _Market(per_unit, of_level / rate, rate, shares, "shares", currency)


def _actions(market: _Market, amounts: np.ndarray, rows: np.ndarray) -> list[tuple[int, float, str]]:
    """What splits and dividends added to what was held at the close before: row, amount and reason."""
    units = np.zeros(len(market.rate) + 1)
    np.add.at(units, rows + 1, amounts)
    held = np.cumsum(units)[:-1]
    held[np.abs(held) <= 1e-9 * np.abs(amounts).max()] = 0.0
    found = []
    for row in np.flatnonzero((np.diff(market.per_unit, prepend=market.per_unit[:1]) != 0) & (held != 0)):
        before, after = market.per_unit[row - 1 : row + 1]
        by = market.split[row] / market.split[row - 1]
        rest = after - before * by
        if by != 1.0:
            found.append((int(row), held[row] * before * (by - 1.0), SPLIT))
        if abs(rest) > 1e-12 * after:
            found.append((int(row), held[row] * rest, REINVESTED if rest > 0 else RESTATED))
    return found
