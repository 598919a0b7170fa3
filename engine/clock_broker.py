"""backtrader's broker, looking only at positions that are open.

The stock broker values every position it was ever asked about, four times per bar. Here a position that is flat costs
nothing, and one under a stock commission scheme is valued in line; every sum keeps the stock order and rounding.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterable

from backtrader import CommInfoBase, Position, num2date
from backtrader.brokers import BackBroker

_VALUATION = (
    "get_leverage",
    "get_margin",
    "getvalue",
    "getvaluesize",
    "profitandloss",
    "cashadjust",
    "get_credit_interest",
    "_get_credit_interest",
)


def _values_like_stock(scheme: type) -> bool:
    """Whether a commission scheme leaves all valuation methods as backtrader has them."""
    return all(getattr(scheme, name) is getattr(CommInfoBase, name) for name in _VALUATION)


def _plain_position(state: dict) -> Position:
    position = Position.__new__(Position)
    position.__dict__.update(state)
    return position


def _clone(order):
    """``order.clone()``, without the generic copy's look-ups."""
    order.executed.markpending()
    twin, executed = object.__new__(type(order)), object.__new__(type(order.executed))
    executed.__dict__.update(order.executed.__dict__)
    twin.__dict__.update(order.__dict__)
    twin.executed = executed
    return twin


class BookedPosition(Position):
    """A position that tells its book when it opens and when it becomes flat. Copies are plain positions."""

    def __init__(self, book: Book, data):
        self._size = 0
        self._book = book
        self.data = data
        self.rank = len(book)
        super().__init__()

    @property
    def size(self):
        return self._size

    @size.setter
    def size(self, size):
        turned = (size != 0) != (self._size != 0)
        self._size = size
        if turned:
            self._book.turned(self)

    def __reduce_ex__(self, protocol):
        hidden = ("_size", "_book", "data", "rank")
        state = {name: value for name, value in self.__dict__.items() if name not in hidden}
        return _plain_position, (state | {"size": self._size},)


class Book(defaultdict):
    """Positions by data feed, as the broker keeps them, and the list of those that count.

    Args:
        positions: pairs of data feed and position known so far.
        counts_flat: whether a flat position in a data feed has a part in the broker's sums.

    Attributes:
        held: positions that are open or count when flat, in the order in which the book first heard of them, which is
            the order of the stock broker's sums.
    """

    def __init__(self, positions: Iterable, counts_flat: Callable):
        super().__init__(Position)
        self.held: list[BookedPosition] = []
        self._counts_flat = counts_flat
        for data, known in positions:
            booked = self[data]
            for name, value in vars(known).items():
                setattr(booked, name, value)

    def __missing__(self, data):
        position = self[data] = BookedPosition(self, data)
        if self._counts_flat(data):
            self.held.append(position)
        return position

    def turned(self, position: BookedPosition) -> None:
        """``position`` has opened or become flat."""
        if self._counts_flat(position.data):
            return
        if position.size:
            insort(self.held, position, key=lambda other: other.rank)
        else:
            self.held.remove(position)

    def recount(self) -> None:
        """Which flat positions count has changed."""
        self.held = [position for position in self.values() if position.size or self._counts_flat(position.data)]


class ClockBroker(BackBroker):
    """``BackBroker`` with the same results; ``engine.clock`` turns a running ``BackBroker`` into one."""

    def on_clock(self) -> None:
        """Take over the positions known so far."""
        self._inline = {}  # per class of commission scheme: whether it values like stock
        self._moments = {}  # datetimes by day number
        self.positions = Book(self.positions.items(), self._counts_flat)

    def _counts_flat(self, data) -> bool:
        """A scheme of the user's may give a flat position a value, and a price of NaN makes the stock sums NaN."""
        return not (data.always_priced and self._is_inline(self.getcommissioninfo(data)))

    def setcommission(self, *args, **kwargs):
        super().setcommission(*args, **kwargs)
        self.positions.recount()

    def addcommissioninfo(self, comminfo, name=None):
        super().addcommissioninfo(comminfo, name)
        self.positions.recount()

    def _moment(self, line):
        if line._tz is not None:
            return line.datetime()
        number = line[0]
        moment = self._moments.get(number)
        if moment is None:
            moment = self._moments[number] = num2date(number)
        return moment

    def _is_inline(self, scheme) -> bool:
        kind = type(scheme)
        known = self._inline.get(kind)
        if known is None:
            known = self._inline[kind] = _values_like_stock(kind)
        return known

    def get_value(self, datas=None, mkt=False, lever=False):
        if datas is not None and len(datas) == 1 and not self._cash_addition:
            data = datas[0]
            if not self.positions[data]._size and not self._counts_flat(data):
                return 0.0
        return super().get_value(datas, mkt, lever)

    getvalue = get_value

    def notify(self, order):
        self.notifs.append(_clone(order))

    def _try_exec(self, order):
        if order.exectype == order.Market:
            data = order.data
            self._try_exec_market(order, data.open[0], data.high[0], data.low[0])
        else:
            super()._try_exec(order)

    def next(self):
        while self._toactivate:
            self._toactivate.popleft().activate()
        if self.p.checksubmit:
            self.check_submitted()
        self._charge_credit()
        self._process_order_history()
        self._try_pending()
        self._adjust_cash()
        self._get_value()

    def _charge_credit(self) -> None:
        credit = 0.0
        for position in self.positions.held:
            if position._size:
                data = position.data
                scheme = self.getcommissioninfo(data)
                now = self._moment(data.datetime)
                if not self._is_inline(scheme) or scheme._creditrate:
                    charged = scheme.get_credit_interest(data, position, now)
                    self.d_credit[data] += charged
                    credit += charged
                position.datetime = now
        self.cash -= credit

    def _try_pending(self) -> None:
        self.pending.append(None)  # orders that stay pending go behind this mark
        while (order := self.pending.popleft()) is not None:
            if order.expire():
                self.notify(order)
                self._ococheck(order)
                self._bracketize(order, cancel=True)
            elif not order.active():
                self.pending.append(order)
            else:
                self._try_exec(order)
                if order.alive():
                    self.pending.append(order)
                elif order.status == order.Completed:
                    self._bracketize(order)

    def _adjust_cash(self) -> None:
        for position in self.positions.held:
            if position._size:
                price = position.data.close[0]
                scheme = self.getcommissioninfo(position.data)
                if not (self._is_inline(scheme) and scheme._stocklike):
                    self.cash += scheme.cashadjust(position._size, position.adjbase, price)
                position.adjbase = price

    def _get_value(self, datas=None, lever=False):
        if datas or self._fundhist or not self.p.shortcash:
            return super()._get_value(datas, lever)
        while self._cash_addition:
            added = self._cash_addition.popleft()
            self._fundshares += added / self._fundval
            self.cash += added

        value = unlevered = unrealized = 0.0
        for position in self.positions.held:
            size, price = position._size, position.data.close[0]
            scheme = self.getcommissioninfo(position.data)
            if self._is_inline(scheme) and scheme._stocklike:
                worth = size * price
                gain = size * (price - position.price) * scheme.p.mult
            else:
                worth = scheme.getvaluesize(size, price)
                gain = scheme.profitandloss(size, position.price, price)
            value += worth
            unrealized += gain
            if worth > 0:
                unlevered += (worth - gain) / scheme.get_leverage()
                unlevered += gain
            else:
                unlevered += worth

        self._value = self.cash + unlevered
        self._fundval = self._value / self._fundshares
        self._valuemkt = unlevered
        self._valuelever = self.cash + value
        self._valuemktlever = value
        self._leverage = value / (unlevered or 1.0)
        self._unrealized = unrealized
        return self._valuelever if lever else self._value
