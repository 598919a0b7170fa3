"""What an account is paid, or pays, between a close and the next fills: interest on cash, dividends of whole shares.

Everything paid on a day follows from what was held at the close before and from what was known by then. It is booked
before the day's orders are checked and filled. The engine's brokers take it from ``CashFlows``, the vectorised path
from the same through its tape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from backtrader.brokers import BackBroker

from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.metrics import cash_per_session
from clusterfolio.strategies.bars import day_of

#: Reasons of payments.
INTEREST, DIVIDEND = "interest", "dividend"

#: Columns of a table of payments.
PAYMENT_COLUMNS = ("date", "symbol", "amount", "reason")

Money = TypeVar("Money", float, np.ndarray)


@dataclass(frozen=True)
class Payment:
    """Money paid into the account's cash (negative: out of it) before the fills of a day.

    Attributes:
        symbol: of the asset that pays it; empty for interest.
    """

    date: pd.Timestamp
    symbol: str
    amount: float
    reason: str


@dataclass(frozen=True)
class CashFlows:
    """What is paid on which day, by what was held at the close before.

    Attributes:
        rates: interest by day, as a fraction of the cash; a day that is not there pays none.
        dividends: by day and symbol, money for each unit held.
    """

    rates: dict[pd.Timestamp, float] = field(default_factory=dict)
    dividends: dict[pd.Timestamp, dict[str, float]] = field(default_factory=dict)

    def due(self, day: pd.Timestamp, cash: float, held: Callable[[str], float]) -> Iterator[Payment]:
        """What an account with this cash, and so many units of a symbol, is paid on a day."""
        amount = interest(cash, self.rates.get(day, 0.0))
        if amount:
            yield Payment(day, "", amount, INTEREST)
        for symbol, each in self.dividends.get(day, {}).items():
            units = held(symbol)
            if units:
                yield Payment(day, symbol, units * each, DIVIDEND)


def payments_table(payments: Iterable[Payment]) -> pd.DataFrame:
    """A row per payment, columns ``PAYMENT_COLUMNS``."""
    rows = [(paid.date, paid.symbol, paid.amount, paid.reason) for paid in payments]
    return pd.DataFrame(rows, columns=list(PAYMENT_COLUMNS)).astype({"date": "datetime64[ns]", "amount": float})


def interest(cash: Money, rate: float) -> Money:
    """What the cash of one account, or of many, earns at a rate for the time; borrowed money (below 0) costs it.

    >>> interest(-1000.0, 0.0001)
    -0.1
    """
    return cash * rate


def cash_flows(
    cash: pd.Series | float | None,
    trading: TradingConfig,
    first: pd.Timestamp,
    sessions: pd.DatetimeIndex,
    dividends: pd.DataFrame | None = None,
) -> CashFlows:
    """What an account is paid that decides for the first time on ``first``; nothing is paid until the session after.

    Args:
        cash: simple return of cash per session, as from ``feeds.exogenous.macro.cash_returns``: each known at the close
            of the session before; or one annual rate. None = cash earns nothing.
        sessions: that the account may see; it is paid on those that come with a bar.
        dividends: by day and symbol, money for each unit held at the close before; None = they are re-invested.
    """
    rates = {}
    if cash is not None and trading.cash_interest:
        rates = cash_per_session(cash, sessions[sessions > first]).to_dict()
    paid: dict[pd.Timestamp, dict[str, float]] = {}
    if dividends is not None:
        later = dividends.loc[dividends.index > first]
        for row, column in zip(*np.nonzero(later.to_numpy()), strict=True):
            paid.setdefault(later.index[row], {})[later.columns[column]] = float(later.iloc[row, column])
    return CashFlows(rates, paid)


class Paying:
    """What makes a broker of backtrader's book an account's payments, before it looks at the orders of the day.

    Attributes:
        flows: what is due.
        payments: what was booked, in order.
    """

    def __init__(self, flows: CashFlows | None = None):
        super().__init__()
        self.flows = flows or CashFlows()
        self.payments: list[Payment] = []
        self._paid: pd.Timestamp | None = None  # the day up to which all is booked

    def next(self):
        """As backtrader's, after what the day pays."""
        now = day_of(self._moment())
        if now != self._paid:
            self._paid = now
            for payment in self.flows.due(now, self.cash, self._held):
                self.cash += payment.amount
                self.payments.append(payment)
        super().next()

    def _held(self, symbol: str) -> float:
        """Units of a symbol in the account."""
        broker: Any = self
        position = broker.positions.get(broker.cerebro.datasbyname[symbol])
        return 0.0 if position is None else position.size

    def _moment(self) -> float:
        """Now, as backtrader counts."""
        raise NotImplementedError


class AccountBroker(Paying, BackBroker):
    """``BackBroker`` with an account that is paid interest."""

    def _moment(self) -> float:
        return max(data.datetime[0] for data in self.cerebro.datas if len(data))
