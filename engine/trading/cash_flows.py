"""What an account is paid, or pays, between a close and the next fills: interest, financing, dividends of whole shares.

Everything paid on a day follows from what was held at the close before and from what was known by then. It is booked
before the day's orders are checked and filled. The engine's brokers take it from ``CashFlows``, the vectorised path
from the same through its tape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from backtrader.brokers import BackBroker

from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.costs import Known
from clusterfolio.engine.trading.metrics import cash_per_session
from clusterfolio.feeds.panel import SESSIONS_PER_YEAR
from clusterfolio.strategies.bars import day_of

#: Reasons of payments.
INTEREST, FINANCING, DIVIDEND = "interest", "financing", "dividend"

#: Columns of a table of payments.
PAYMENT_COLUMNS = ("date", "symbol", "amount", "reason")

Money = TypeVar("Money", float, np.ndarray)


@dataclass(frozen=True)
class Payment:
    """Money paid into the account's cash (negative: out of it) before the fills of a day.

    Attributes:
        symbol: of the asset that pays it; empty for interest and financing.
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
        financing: by day, what borrowed money costs beyond that, as a fraction of it.
        dividends: by day and symbol, money for each unit held.
    """

    rates: dict[pd.Timestamp, float] = field(default_factory=dict)
    financing: dict[pd.Timestamp, float] = field(default_factory=dict)
    dividends: dict[pd.Timestamp, dict[str, float]] = field(default_factory=dict)

    def due(self, day: pd.Timestamp, cash: float, held: Callable[[str], float]) -> Iterator[Payment]:
        """What an account with this cash, and so many units of a symbol, is paid on a day."""
        amount = interest(cash, self.rates.get(day, 0.0))
        if amount:
            yield Payment(day, "", amount, INTEREST)
        owed = financing(cash, self.financing.get(day, 0.0))
        if owed:
            yield Payment(day, "", owed, FINANCING)
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


def financing(cash: Money, rate: float) -> Money:
    """What borrowed money (cash below 0) costs beyond the interest, 0 or less; idle cash has no part in it.

    >>> [float(financing(cash, 0.0001)) for cash in (-1000.0, 1000.0)]
    [-0.1, 0.0]
    """
    return np.minimum(cash, 0.0) * rate + 0.0


def credit(cash: Money, value: Money, max_exposure: float) -> Money:
    """What an account of this value may owe for positions of at most so many times its value.

    What it owes already is not called where its value has fallen since: sales go through, and nothing more is lent.

    >>> [float(credit(cash, 1000.0, 1.5)) for cash in (200.0, -500.0, -700.0)]
    [500.0, 500.0, 700.0]
    """
    return np.maximum(np.maximum(value, 0.0) * (max_exposure - 1.0), -cash)


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
            Borrowed cash costs it, and ``trading.financing_spread`` on top; where idle cash earns nothing it costs both
            all the same.
        sessions: that the account may see; it is paid on those that come with a bar.
        dividends: by day and symbol, money for each unit held at the close before; None = they are re-invested.
    """
    later = sessions[sessions > first]
    known = pd.Series(0.0, later) if cash is None else cash_per_session(cash, later)
    spread = trading.financing_spread * trading.cost_multiplier / SESSIONS_PER_YEAR
    rates = known.to_dict() if trading.cash_interest else {}
    borrowed = (known * 0.0 + spread if trading.cash_interest else known + spread).to_dict() if trading.costs else {}
    paid: dict[pd.Timestamp, dict[str, float]] = {}
    if dividends is not None:
        due = dividends.loc[dividends.index > first]
        for row, column in zip(*np.nonzero(due.to_numpy()), strict=True):
            paid.setdefault(due.index[row], {})[due.columns[column]] = float(due.iloc[row, column])
    return CashFlows(rates, borrowed, paid)


class Paying:
    """What makes a broker of backtrader's book an account's payments before the orders of the day, and lend.

    backtrader refuses an order for which the cash does not last. Here it may last into the credit, which follows from
    the account's value at the last close.

    Attributes:
        flows: what is due.
        payments: what was booked, in order.
        max_exposure: how many times its value the account may hold; more than 1 = it borrows.
        known: told of each close, what its commission schemes go by; None = they go by nothing that changes.
    """

    def __init__(self, flows: CashFlows | None = None, max_exposure: float = 1.0, known: Known | None = None):
        super().__init__()
        self.flows = flows or CashFlows()
        self.max_exposure = max_exposure
        self.known = known
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
        if self.known is not None:
            self.known.close(now)  # orders of the day are over; what is sent now fills after this close
        if self.max_exposure > 1 and self.getvalue() <= 0:
            raise ValueError(
                f"the account was lost on {now.date()}: it held up to {self.max_exposure:g} times its value on "
                "borrowed money (risk.max_exposure)"
            )

    @property
    def credit(self) -> float:
        """What may be owed by the account's value at the last close."""
        broker: Any = self
        return float(credit(broker.cash, broker._value, self.max_exposure))

    def check_submitted(self):
        """As backtrader's, with the credit beside the cash."""
        with self._lent():
            super().check_submitted()

    def _execute(self, order, ago=None, **kwargs):
        if ago is None:  # only worked out, from cash that is handed on
            return super()._execute(order, ago=ago, **kwargs)
        with self._lent():
            return super()._execute(order, ago=ago, **kwargs)

    @contextmanager
    def _lent(self) -> Iterator[None]:
        """The credit in the cash, for as long as backtrader looks whether that lasts."""
        broker: Any = self
        lent = self.credit
        broker.cash += lent
        yield
        broker.cash -= lent

    def _held(self, symbol: str) -> float:
        """Units of a symbol in the account."""
        broker: Any = self
        position = broker.positions.get(broker.cerebro.datasbyname[symbol])
        return 0.0 if position is None else position.size

    def _moment(self) -> float:
        """Now, as backtrader counts."""
        raise NotImplementedError


class AccountBroker(Paying, BackBroker):
    """``BackBroker`` with an account that is paid interest and may borrow."""

    def _moment(self) -> float:
        return max(data.datetime[0] for data in self.cerebro.datas if len(data))
