"""backtrader's broker, looking only at positions that are open.

The stock broker values every position it was ever asked about, four times per bar. Here a position that is flat costs
nothing, and one under a stock commission scheme is valued in line; every sum keeps the stock order and rounding.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache

from backtrader import BuyOrder, CommInfoBase, Order, Position, SellOrder
from backtrader.brokers import BackBroker

from clusterfolio.engine.trading.cash_flows import Paying

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

_STOPS, _STOP_LIMITS = (Order.Stop, Order.StopTrail), (Order.StopLimit, Order.StopTrailLimit)
_ALIVE = (Order.Created, Order.Submitted, Order.Accepted, Order.Partial)


@cache
def values_like_stock(scheme: type) -> bool:
    """Whether a commission scheme leaves all valuation methods as backtrader has them."""
    return all(getattr(scheme, name) is getattr(CommInfoBase, name) for name in _VALUATION)


def _plain_position(state: dict) -> Position:
    position = Position.__new__(Position)
    position.__dict__.update(state)
    return position


def _make_order(kind: type, **given):
    """``kind(**given)`` without the way through backtrader's metaclass.

    During its construction an order finds all its parameters as attributes of its own, at once; afterwards it keeps
    those that nobody changes later, and those that its construction changed, as the stock order does.
    """
    values = _DEFAULTS | given
    parameters, order = object.__new__(kind.params), object.__new__(kind)
    parameters.__dict__ = values
    order.__dict__ = own = values.copy()
    order.params = order.p = parameters
    order.__init__()
    for name in _NOT_KEPT:
        if own[name] is values[name]:
            del own[name]
    return order


_DEFAULTS = dict(Order.params._getkwargsdefault())
_NOT_KEPT = [name for name in _DEFAULTS if name not in ("data", "owner", "parent", "tradeid", "transmit")]


def _clone(order):
    """``order.clone()``, without the generic copy's look-ups."""
    order.executed.markpending()
    twin, executed = object.__new__(type(order)), object.__new__(type(order.executed))
    executed.__dict__ = order.executed.__dict__.copy()
    twin.__dict__ = own = order.__dict__.copy()
    own["executed"] = executed
    return twin


class BookedPosition(Position):
    """A position that tells its book when it opens and when it becomes flat. Copies are plain positions."""

    @classmethod
    def adopt(cls, position: Position, book: Book, data) -> BookedPosition:
        """Make a plain position a booked one; who holds it goes on holding the same object."""
        state = position.__dict__
        position.__class__ = cls
        position._size, position._dated = state.pop("size"), 0
        if "datetime" in state:
            position._datetime = state.pop("datetime")
        position._book, position.data, position.closes, position.rank = book, data, data.close, len(book)
        return position

    @property
    def size(self):
        """Signed shares held."""
        return self._size

    @size.setter
    def size(self, size):
        turned = (size != 0) != (self._size != 0)
        if turned and not size and self._book.credited > self._dated:
            self.datetime = self.datetime  # what it was while open
        self._size = size
        if turned:
            self._book.turned(self)

    @property
    def datetime(self):
        """Moment of the last trade or, while open, of the bar at which credit was last charged."""
        credited = self._book.credited
        if self._size and credited > self._dated:
            line = self.data.datetime
            return line.datetime(line._reached[credited] - line.idx)
        return self._datetime

    @datetime.setter
    def datetime(self, moment):
        self._datetime, self._dated = moment, self._book.credited

    def __reduce_ex__(self, protocol):
        hidden = ("_size", "_dated", "_datetime", "_book", "data", "closes", "rank", "counts")
        state = {name: value for name, value in self.__dict__.items() if name not in hidden}
        state["size"] = self._size
        if hasattr(self, "datetime"):
            state["datetime"] = self.datetime
        return _plain_position, (state,)


class Book(defaultdict):
    """Positions by data feed, as the broker keeps them, and the list of those that count.

    Args:
        positions: pairs of data feed and position known so far.
        counts_flat: whether a flat position in a data feed has a part in the broker's sums.

    Attributes:
        held: positions that are open or count when flat, in the order in which the book first heard of them, which is
            the order of the stock broker's sums.
        credited: the clock's row at which credit was last charged.
    """

    def __init__(self, positions: Iterable, counts_flat: Callable):
        super().__init__(Position)
        self.held: list[BookedPosition] = []
        self.credited = 0
        self._counts_flat = counts_flat
        for data, position in positions:
            self._add(data, position)

    def __missing__(self, data):
        return self._add(data, Position())

    def _add(self, data, position: Position) -> BookedPosition:
        booked = self[data] = BookedPosition.adopt(position, self, data)
        booked.counts = bool(booked._size) or self._counts_flat(data)
        if booked.counts:
            self.held.append(booked)
        return booked

    def turned(self, position: BookedPosition) -> None:
        """``position`` has opened or become flat."""
        counts = bool(position._size) or self._counts_flat(position.data)
        if counts and not position.counts:
            insort(self.held, position, key=lambda other: other.rank)
        elif position.counts and not counts:
            self.held.remove(position)
        position.counts = counts

    def recount(self) -> None:
        """Which flat positions count has changed."""
        for position in self.values():
            self.turned(position)


class Schemes(dict):
    """Commission schemes by name, calling ``changed`` after each change."""

    def __init__(self, schemes: dict, changed: Callable):
        super().__init__(schemes)
        self._changed = changed

    def __setitem__(self, name, scheme):
        super().__setitem__(name, scheme)
        self._changed()


class ClockBroker(BackBroker):
    """``BackBroker`` with the same results; ``engine.trading.clock`` turns a running ``BackBroker`` into one.

    Where all commission schemes are stock ones for shares without interest (``_simple``), a bar's cash adjustments and
    credits are 0 and left out.
    """

    def on_clock(self, ticker) -> None:
        """Take over the positions and commission schemes known so far."""
        self._ticker = ticker
        self.comminfo = Schemes(self.comminfo, self._schemes_changed)
        self.positions = Book(self.positions.items(), self._counts_flat)
        self._schemes_changed()

    def off_clock(self) -> None:
        """Give back what only the clock may use."""
        self.comminfo = dict(self.comminfo)

    def _schemes_changed(self) -> None:
        schemes = self.comminfo.values()
        self._simple = all(
            values_like_stock(type(scheme)) and scheme._stocklike and not scheme._creditrate for scheme in schemes
        )
        self.positions.recount()

    def _counts_flat(self, data) -> bool:
        """A scheme of the user's may give a flat position a value, and a price of NaN makes the stock sums NaN."""
        return not (data.always_priced and values_like_stock(type(self.getcommissioninfo(data))))

    def get_value(self, datas=None, mkt=False, lever=False):
        """As backtrader's; the account's own value is known without asking every position."""
        if datas is None and not (mkt or lever):
            return self._value
        if datas is not None and len(datas) == 1 and not (self._cash_addition or self.positions[datas[0]].counts):
            return 0.0
        return super().get_value(datas, mkt, lever)

    getvalue = get_value

    def notify(self, order):
        """Put an order's state aside for the strategy."""
        self.notifs.append(_clone(order))

    def buy(self, *args, **kwargs):
        """As backtrader's."""
        return self._place(BuyOrder, *args, **kwargs)

    def sell(self, *args, **kwargs):
        """As backtrader's."""
        return self._place(SellOrder, *args, **kwargs)

    def _place(
        self, kind, owner, data, size, price=None, plimit=None, exectype=None, valid=None, tradeid=0, oco=None,
        trailamount=None, trailpercent=None, parent=None, transmit=True, histnotify=False, _checksubmit=True, **kwargs,
    ):  # fmt: skip
        order = _make_order(
            kind, owner=owner, data=data, size=size, price=price, pricelimit=plimit, exectype=exectype, valid=valid,
            tradeid=tradeid, trailamount=trailamount, trailpercent=trailpercent, parent=parent, transmit=transmit,
            histnotify=histnotify,
        )  # fmt: skip
        order.addinfo(**kwargs)
        self._ocoize(order, oco)
        return self.submit(order, check=_checksubmit)

    def _try_exec(self, order):
        """As backtrader's, with prices out of the feed's arrays."""
        data, kind, created = order.data, order.exectype, order.created
        bar = data.close._reached[self._ticker.row]
        opened = data.open.array[bar]
        if kind == Order.Market:
            slips = self.p.slip_perc or self.p.slip_fixed
            high, low = (data.high.array[bar], data.low.array[bar]) if slips else (None, None)
            self._try_exec_market(order, opened, high, low)
            return
        high, low, closed = data.high.array[bar], data.low.array[bar], data.close.array[bar]
        if kind == Order.Limit:
            self._try_exec_limit(order, opened, high, low, created.price)
        elif kind in _STOPS:
            self._try_exec_stop(order, opened, high, low, created.price, closed)
        elif kind in _STOP_LIMITS and order.triggered:
            self._try_exec_limit(order, opened, high, low, created.pricelimit)
        elif kind in _STOP_LIMITS:
            self._try_exec_stoplimit(order, opened, high, low, closed, created.price, created.pricelimit)
        elif kind == Order.Close:
            self._try_exec_close(order, closed)
        elif kind == Order.Historical:
            self._try_exec_historical(order)

    def next(self):
        """As backtrader's, on open orders and positions alone."""
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
        for position in () if self._simple else self.positions.held:
            if position._size:
                data = position.data
                charged = self.getcommissioninfo(data).get_credit_interest(data, position, data.datetime.datetime())
                self.d_credit[data] += charged
                credit += charged
        self.positions.credited = self._ticker.row
        self.cash -= credit

    def _try_pending(self) -> None:
        self.pending.append(None)  # orders that stay pending go behind this mark
        while (order := self.pending.popleft()) is not None:
            own = order.__dict__
            if own.get("valid", order.p.valid) and order.expire():
                self.notify(order)
                self._ococheck(order)
                self._bracketize(order, cancel=True)
            elif not own["_active"]:
                self.pending.append(order)
            else:
                self._try_exec(order)
                if own["status"] in _ALIVE:
                    self.pending.append(order)
                elif own["status"] == Order.Completed:
                    self._bracketize(order)

    @property
    def _values_held(self) -> bool:
        """Whether ``_get_value`` below does the valuation; the rare kinds are left to the stock method."""
        return self.p.shortcash and not self._fundhist

    def _adjust_cash(self) -> None:
        if self._simple and self._values_held:
            return  # nothing to adjust; the price is noted with the value
        for position in self.positions.held:
            if position._size:
                price = position.data.close[0]
                scheme = self.getcommissioninfo(position.data)
                self.cash += scheme.cashadjust(position._size, position.adjbase, price)
                position.adjbase = price

    def _get_value(self, datas=None, lever=False):
        if datas or not self._values_held:
            return super()._get_value(datas, lever)
        while self._cash_addition:
            added = self._cash_addition.popleft()
            self._fundshares += added / self._fundval
            self.cash += added

        value = unlevered = unrealized = 0.0
        simple, schemes, row = self._simple, self.comminfo, self._ticker.row
        default, by_name = schemes.get(None), len(schemes) > 1
        for position in self.positions.held:
            size, closes = position._size, position.closes
            price = closes.array[closes._reached[row]]
            scheme = schemes.get(position.data._name, default) if by_name else default
            if simple:
                terms = scheme.p
                worth = size * price
                gain = size * (price - position.price) * terms.mult
                leverage = terms.leverage
                if size:
                    position.adjbase = price
            else:
                worth = scheme.getvaluesize(size, price)
                gain = scheme.profitandloss(size, position.price, price)
                leverage = scheme.get_leverage()
            value += worth
            unrealized += gain
            if worth > 0:
                unlevered += (worth - gain) / leverage
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


class ClockAccountBroker(Paying, ClockBroker):
    """``AccountBroker`` on the clock."""

    def _moment(self) -> float:
        return self._ticker.moments[self._ticker.row - 1]
