"""What a strategy holds from its own fills, in an account that others may share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Fill:
    """One execution: the day, signed shares, price and commission in the account's currency, and why."""

    date: pd.Timestamp
    symbol: str
    amount: float
    price: float
    commission: float
    reason: str


class Holdings:
    """A book of fills, and what they add up to.

    Attributes:
        fills: in the order in which they were booked.
        shares: by symbol, of what is held; nothing that is flat.
        entries: the day each held name was bought.

    >>> book = Holdings()
    >>> for day, amount in (("2024-03-01", 10.0), ("2024-03-04", 5.0), ("2024-03-05", -15.0)):
    ...     book.add(Fill(pd.Timestamp(day), "SPY", amount, 500.0, 0.0, "rebalance"))
    ...     print(book.shares, book.entries)
    {'SPY': 10.0} {'SPY': Timestamp('2024-03-01 00:00:00')}
    {'SPY': 15.0} {'SPY': Timestamp('2024-03-01 00:00:00')}
    {} {}
    """

    def __init__(self):
        self.fills: list[Fill] = []
        self.shares: dict[str, float] = {}
        self.entries: dict[str, pd.Timestamp] = {}

    def __getitem__(self, symbol: str) -> float:
        """Shares held of a symbol, 0 of what is not."""
        return self.shares.get(symbol, 0.0)

    def add(self, fill: Fill) -> None:
        """Book a fill."""
        self.fills.append(fill)
        held = self[fill.symbol] + fill.amount
        if held:
            self.shares[fill.symbol] = held
            self.entries.setdefault(fill.symbol, fill.date)
        else:
            self.shares.pop(fill.symbol, None)
            self.entries.pop(fill.symbol, None)


class PricedOnly:
    """A broker's filler that fills nothing at a price that is not a number: the order waits for the next bar.

    backtrader would book the fill, and the cash would be NaN for good. Nor does it fill a stop or a limit
    on the bar that was there when the order was sent, as backtrader does where a feed has no newer one.

    Args:
        filler: what else limits a fill, ``(order, price, ago) -> shares``; None = nothing.
    """

    def __init__(self, filler: Callable | None):
        self.filler = filler

    def __call__(self, order, price: float, ago: int) -> float:
        """How many shares of an order fill at this price."""
        waits = order.exectype != order.Market and order.data.datetime[0] <= order.created.dt
        if waits or not math.isfinite(price):
            return 0
        return abs(order.executed.remsize) if self.filler is None else self.filler(order, price, ago)
