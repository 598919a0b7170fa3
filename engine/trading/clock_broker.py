"""backtrader's broker, looking only at positions that are open.

The stock broker values every position it was ever asked about, four times per bar. Here a position that is flat costs
nothing, and one under a stock commission scheme is valued in line; every sum keeps the stock order and rounding.
"""

from __future__ import annotations

from collections.abc import Callable

from backtrader import BuyOrder, Order, SellOrder
from backtrader.brokers import BackBroker

from clusterfolio.engine.trading.cash_flows import Paying
from clusterfolio.engine.trading.clock_book import Book, Schemes, values_like_stock
from clusterfolio.engine.trading.clock_orders import clone, fill, make_order, split

_STOPS, _STOP_LIMITS = (Order.Stop, Order.StopTrail), (Order.StopLimit, Order.StopTrailLimit)
_ALIVE = (Order.Created, Order.Submitted, Order.Accepted, Order.Partial)


def _sender(kind: type) -> Callable:
    """A broker's ``buy`` or ``sell``."""

    def send(
        self, owner, data, size, price=None, plimit=None, exectype=None, valid=None, tradeid=0, oco=None,
        trailamount=None, trailpercent=None, parent=None, transmit=True, histnotify=False, _checksubmit=True, **kwargs,
    ):  # fmt: skip
        """As backtrader's."""
        terms = dict(
            owner=owner, data=data, size=size, price=price, pricelimit=plimit, exectype=exectype, valid=valid,
            tradeid=tradeid, trailamount=trailamount, trailpercent=trailpercent, parent=parent, transmit=transmit,
            histnotify=histnotify,
        )  # fmt: skip
        order = make_order(kind, self._ticker, terms)
        if kwargs:
            order.addinfo(**kwargs)
        self._ocoize(order, oco)
        if parent is not None or not (transmit and _checksubmit and self.p.checksubmit):
            return self.submit(order, check=_checksubmit)
        own = order.__dict__
        self._pchildren[own["ref"]].append(order)
        own["status"], own["plen"] = Order.Submitted, len(data)
        self.submitted.append(order)
        self.orders.append(order)
        self.notify(order)
        return order

    return send


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
        self.notifs.append(clone(order))

    buy, sell = _sender(BuyOrder), _sender(SellOrder)

    @property
    def _plain(self) -> bool:
        """Whether cash and positions follow from size, price and commission alone."""
        return self._simple and self.p.shortcash

    def check_submitted(self):
        """As backtrader's, without objects for what would be."""
        if not self._plain:
            super().check_submitted()
            return
        cash, sizes = self.cash, {}
        while self.submitted:
            order = self.submitted.popleft()
            data, created, own = order.data, order.created, order.__dict__
            if own.get("parent", order.p.parent) is not None and self._take_children(order) is None:
                continue
            held = sizes[data] if data in sizes else self.positions[data]._size
            sizes[data], opened, closed = split(held, order.executed.remsize)
            price = data.open[0] if self.p.coo and order.exectype == Order.Market else created.price
            scheme = self.getcommissioninfo(data)
            if closed:
                value = -closed * price
                cash += value / scheme.p.leverage if value > 0 else value
                cash -= scheme.getcommission(closed, price)
            if opened:
                value = opened * price
                cash -= value / scheme.p.leverage if value > 0 else value
                if data._compensate is not None:
                    scheme = self.getcommissioninfo(data._compensate)
                cash -= scheme.getcommission(opened, price)
            if cash >= 0.0:
                own["pannotated"], own["plen"], own["broker"], own["status"] = None, len(data), None, Order.Accepted
                self.pending.append(order)
                self.notify(order)
            else:
                self._refuse(order)

    def _refuse(self, order) -> None:
        order.margin()
        self.notify(order)
        self._ococheck(order)
        self._bracketize(order, cancel=True)

    def _execute(self, order, ago=None, price=None, cash=None, position=None, dtcoc=None):
        data = order.data
        if ago != 0 or price is None or not self._plain or self.p.filler is not None or data._compensate is not None:
            return super()._execute(order, ago, price, cash, position, dtcoc)
        position, size = self.positions[data], order.executed.remsize
        held, cost = position._size, position.price
        left, opened, closed = split(held, size)
        if bool(opened) == bool(closed):  # a reversal: two trades in one
            return super()._execute(order, ago, price, dtcoc=dtcoc)
        scheme, cash = self.getcommissioninfo(data), self.cash
        leverage, pnl = scheme.p.leverage, -closed * (price - cost) * scheme.p.mult
        opened_value = opened_commission = closed_value = closed_commission = 0.0
        if closed:
            closed_value, closed_commission = -closed * cost, scheme.getcommission(closed, price)
            cash += (closed_value / leverage if closed_value > 0 else closed_value) + pnl
            cash -= closed_commission
        else:
            opened_value, opened_commission = opened * price, scheme.getcommission(opened, price)
            cash -= opened_value / leverage if opened_value > 0 else opened_value
            cash -= opened_commission
            if cash < 0.0:
                self._refuse(order)
                return None
            position.adjbase = price
        self.cash = cash
        scheme.confirmexec(size, price)
        if closed:
            cost = cost if left else 0.0
            if self.p.int2pnl:
                closed_commission += self.d_credit.pop(data, 0.0)
        else:
            cost = (cost * held + size * price) / left if held else price
        dates = data.datetime
        moment = dates.array[dates._reached[self._ticker.row]]
        position.filled(left, cost, opened, closed, dates.datetime())
        fill(
            order, dtcoc or moment, size, price, closed, closed_value, closed_commission, opened, opened_value,
            opened_commission, scheme.margin, pnl, left, cost,
        )  # fmt: skip
        order.comminfo = scheme
        self.notify(order)
        self._ococheck(order)
        return None

    def _bracketize(self, order, cancel=False):
        if cancel or order.p.parent is not None:
            super()._bracketize(order, cancel)
            return
        children = self._pchildren[order.ref]
        children.popleft()  # the order itself
        self._toactivate.extend(children)

    def _ococheck(self, order):
        ref = order.ref
        leader = self._ocos.get(self._ocos[ref])
        if self._ocol.get(leader) == [ref]:
            del self._ocol[leader]  # nobody else to cancel
        else:
            super()._ococheck(order)

    def _try_exec(self, order):
        """As backtrader's, with prices out of the feed's arrays."""
        data, kind, created = order.data, order.exectype, order.created
        bar = data.close._reached[self._ticker.row]
        opened = data.open.array[bar]
        if kind == Order.Market and not self._bends_market_prices:
            if data.datetime.array[bar] > created.dt:
                self._execute(order, ago=0, price=opened)
            return
        high, low, closed = data.high.array[bar], data.low.array[bar], data.close.array[bar]
        if kind == Order.Market:
            self._try_exec_market(order, opened, high, low)
        elif kind == Order.Limit:
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

    @property
    def _bends_market_prices(self) -> bool:
        """Whether a market order may fill at another price than the next open."""
        terms = self.p
        return terms.coc or terms.coo or terms.slip_perc or terms.slip_fixed

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
