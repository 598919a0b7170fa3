"""The broker that the Strategy of a backtest meets in paper trading; the Strategy is the same and knows of nothing.

The Strategy lives in memory and dies with the process; the journal does not. So each session begins with the bars since
the last decision, during which the broker is disarmed: an order that the Strategy sends then is not sent again, but
gets what the journal says came of it, and everything else that filled is told as an order too. On the last bar the
broker is armed: what the Strategy sends is collected in ``wanted``, for the runner to journal and send.

Of backtrader's brokers this one must mind: ``BrokerBase`` has no ``get_cash`` and ``get_value`` (its metaclass puts
them under another name); ``getvalue(datas)`` is of those feeds only; positions must be there before the first ``next``.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import backtrader as bt

#: What the Strategy remembers for a guard beside holdings and orders, which are told to it anew: it survives in the
#: journal.
CARRIED = ("_memory", "_values")


@dataclass(frozen=True)
class Outcome:
    """What came of an order, or filled without one.

    Attributes:
        day: the session on which it filled or did not.
        amount: signed shares; 0 = nothing filled.
        complete: whether nothing is left to do.
        refused: whether there was not the money for it.
    """

    day: dt.date
    symbol: str
    amount: float
    price: float
    fee: float = 0.0
    complete: bool = True
    refused: bool = False


@dataclass(frozen=True)
class Record:
    """What the journal says of the time since the last decision.

    Attributes:
        held: shares held before the first bar of it, and the day each was bought.
        cash: at the first bar.
        outcomes: of the sessions since, in order.
        cash_now: of the account now, for the last bar.
        last: the day of the last bar, on which the broker is armed; None = never.
        carried: what the Strategy noted for its guard up to the last decision, by attribute (``CARRIED``).
    """

    held: Mapping[str, tuple[float, dt.date]] = field(default_factory=dict)
    cash: float = 0.0
    outcomes: Sequence[Outcome] = ()
    cash_now: float = 0.0
    last: dt.date | None = None
    carried: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """An order of the armed Strategy: signed shares, the close it was sized by, and why."""

    symbol: str
    amount: float
    price: float
    reason: str


class LiveBroker(bt.BrokerBase):
    """The broker; ``armed`` says whether orders count.

    Args:
        record: what the journal says.

    Attributes:
        wanted: the orders of the armed Strategy, in the order in which it sent them.
        cancelled: references of orders that it took back.
    """

    def __init__(self, record: Record):
        super().__init__()
        self._record = record
        self._outcomes = deque(record.outcomes)
        self._cash = self.startingcash = record.cash  # backtrader asks every broker for the second
        self._waiting: list[bt.Order] = []
        self._notices: deque = deque()
        self._begun = False
        self.armed = False
        self.positions: dict = {}
        self._sent: dict[int, Wanted] = {}

    @property
    def wanted(self) -> list[Wanted]:
        """Orders of the armed Strategy that it did not take back."""
        return list(self._sent.values())

    # What the Strategy asks

    def getcash(self):
        """Money in the account."""
        return self._cash

    def getvalue(self, datas=None):
        """Of the account, or of the positions in these feeds, at the last closes."""
        wanted = self.positions if datas is None else [data for data in datas if data in self.positions]
        worth = sum(self.positions[data].size * data.close[0] for data in wanted if self.positions[data].size)
        return worth if datas is not None else self._cash + worth

    get_cash, get_value = getcash, getvalue

    def getposition(self, data):
        """What is held of a feed."""
        return self.positions.get(data) or bt.Position()

    def buy(self, owner, data, size, price=None, plimit=None, exectype=None, **kwargs):
        """As backtrader's; market orders only."""
        return self._take(bt.BuyOrder, owner, data, size, price, plimit, exectype, **kwargs)

    def sell(self, owner, data, size, price=None, plimit=None, exectype=None, **kwargs):
        """As backtrader's; market orders only."""
        return self._take(bt.SellOrder, owner, data, size, price, plimit, exectype, **kwargs)

    def _take(self, kind, owner, data, size, price, plimit, exectype, valid=None, tradeid=0, oco=None,
              trailamount=None, trailpercent=None, parent=None, transmit=True, **info):  # fmt: skip
        if exectype not in (None, bt.Order.Market) or any((plimit, oco, trailamount, trailpercent, parent)):
            raise ValueError("paper trading sends plain market orders only; this one has a limit, stop or bracket")
        order = kind(owner=owner, data=data, size=size, price=price, exectype=bt.Order.Market, tradeid=tradeid)
        order.addinfo(**info)
        order.addcomminfo(self.getcommissioninfo(data))
        return self.submit(order)

    def submit(self, order):
        """Collect an order, or let the journal say what came of it."""
        order.submit(self)
        order.accept(self)
        self.notify(order)
        if self.armed:
            price = order.created.price or order.data.close[0]
            reason = str(dict.get(order.info, "reason", "an order of the strategy"))
            self._sent[order.ref] = Wanted(order.data._name, order.created.size, price, reason)
        else:
            self._waiting.append(order)
        return order

    def cancel(self, order):
        """Take an order back."""
        known = self._sent.pop(order.ref, None) is not None
        if not known and order.ref not in {other.ref for other in self._waiting}:
            return False
        self._waiting = [other for other in self._waiting if other.ref != order.ref]
        order.cancel()
        self.notify(order)
        return True

    def notify(self, order):
        """Put an order's state aside for the Strategy."""
        self._notices.append(order.clone())

    def get_notification(self):
        """The next state that the Strategy has not heard of."""
        return self._notices.popleft() if self._notices else None

    # What the journal says, bar by bar; backtrader calls this before the Strategy's ``next``

    def next(self):
        """Tell what happened up to this bar; on the last bar, arm."""
        strategy = self.cerebro.runningstrats[0]
        now = strategy_day(self.cerebro)
        if not self._begun:
            self._begun = True
            for symbol, (amount, day) in self._record.held.items():
                self._tell(strategy, Outcome(day, symbol, amount, 0.0), None)
            self._cash = self._record.cash
            for name, noted in self._record.carried.items():
                setattr(strategy, name, noted)
        while self._outcomes and self._outcomes[0].day <= now:
            outcome = self._outcomes.popleft()
            order = next((o for o in self._waiting if o.data._name == outcome.symbol), None)
            self._tell(strategy, outcome, order)
        for order in self._waiting:  # nothing came of it in its session
            order.cancel()
            self.notify(order)
        self._waiting.clear()
        if self._record.last == now:
            self.armed, self._cash = True, self._record.cash_now

    def _tell(self, strategy, outcome: Outcome, order) -> None:
        """Book an outcome, on the Strategy's own order where it sent one."""
        data = self.cerebro.datasbyname[outcome.symbol]
        if order is None:
            if not outcome.amount:
                return
            kind = bt.BuyOrder if outcome.amount > 0 else bt.SellOrder
            order = kind(owner=strategy, data=data, size=abs(outcome.amount), exectype=bt.Order.Market)
            order.addcomminfo(self.getcommissioninfo(data))
            order.addinfo(reason="held")
            order.submit(self)
            order.accept(self)
        else:
            self._waiting.remove(order)
        if outcome.amount:
            self._execute(order, outcome)
        if outcome.complete:
            order.completed()
        elif outcome.refused:
            order.margin()
        else:
            order.cancel()
        self.notify(order)

    def _execute(self, order, outcome: Outcome) -> None:
        position = self.positions.setdefault(order.data, bt.Position())
        before = position.price
        size, price, opened, closed = position.update(outcome.amount, outcome.price)
        if abs(size) < 1e-12:  # sums of floats; the journal's are decimal
            position.size = size = 0.0
        self._cash -= outcome.amount * outcome.price + outcome.fee
        gain = -closed * (outcome.price - before)
        order.execute(
            bt.date2num(dt.datetime.combine(outcome.day, dt.time())), outcome.amount, outcome.price, closed,
            -closed * before, outcome.fee if closed and not opened else 0.0, opened, opened * outcome.price,
            outcome.fee if opened else 0.0, 0.0, gain, size, price,
        )  # fmt: skip


def strategy_day(cerebro) -> dt.date:
    """The day of the bar that is being told."""
    return max(data.datetime.date(0) for data in cerebro.datas if len(data))
