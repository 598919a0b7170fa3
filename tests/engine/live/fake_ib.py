"""A gateway of Interactive Brokers on this machine, without a socket: what ``ib_async.IB`` answers, with its faults.

The gateway outlives connections, as the real one does; orders are matched by a local venue. Like the broker it takes
two orders under one reference, gives order ids anew after a restart, and forgets what was done before midnight.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from decimal import Decimal

import ib_async
from ib_async import CommissionReport, Contract, ContractDetails, Fill, OrderStatus, Trade, TradeLogEntry
from ib_async.objects import AccountValue, Position

from clusterfolio.engine.live.venue import NotAccepted, OrderRequest, OrderState, Side, Timing
from tests.engine.live.worlds import local_venue, sessions_between

STATUS = {
    OrderState.OPEN: "Submitted", OrderState.FILLED: "Filled", OrderState.CANCELLED: "Cancelled",
    OrderState.EXPIRED: "Cancelled", OrderState.REJECTED: "Inactive",
}  # fmt: skip


class Cut(ConnectionError):
    """The connection broke."""


class Gateway:
    """What is behind the connection.

    Attributes:
        account: the only account's name.
        silent: so many of the next requests are not answered.
        withheld: so many of the next orders are taken, and nothing is said of it on this connection.
        swallowed: so many of the next orders never arrive, and nothing is said of it.
        cut: so many of the next orders are taken, and the connection breaks.
        die: a request after which the process ends; counted down.
    """

    def __init__(self, world, path, account="DU1234567"):
        self.world, self.account = world, account
        self.engine = local_venue(world, path)
        self.engine.connect(1.0)
        self.sent: dict[str, tuple[int, str, str]] = {}  # by the engine's name: permId, reference, tif
        self.next_id = self.silent = self.withheld = self.swallowed = self.cut = 0
        self.down = False
        self.base = "USD"
        self.corrected = False
        self.asked: Counter = Counter()
        self.placed: list = []

    def restart(self):
        """Order ids begin anew."""
        self.next_id = 0

    def take(self, contract, order) -> str:
        """An order: the engine's name of it, with a number of the broker's own."""
        name = f"n{len(self.sent)}"
        self.sent[name] = 9000 + len(self.sent), order.orderRef, order.tif
        timing = Timing.OPENING if order.tif == "OPG" else Timing.DAY
        session = self.engine._session_at(self.engine.clock())
        side = Side.BUY if order.action == "BUY" else Side.SELL
        try:
            self.engine.submit(
                OrderRequest(name, contract.symbol, side, Decimal(repr(order.totalQuantity)), timing, session)
            )
        except NotAccepted as refusal:
            return f"!{refusal}"
        return name


class Event:
    """As much of an event as is used."""

    def __init__(self):
        self.handlers = []

    def __iadd__(self, handler):
        self.handlers.append(handler)
        return self

    def emit(self, *facts):
        for handler in self.handlers:
            handler(*facts)


class FakeIB:
    """One connection; the names and arguments are those of ``ib_async.IB``."""

    def __init__(self, gateway: Gateway):
        self.gateway, self.RequestTimeout = gateway, 0.0
        self.orderStatusEvent = Event()
        self._connected = False
        self._own: list[tuple[Trade, str | None]] = []

    # Connection

    def connect(self, host="127.0.0.1", port=7497, clientId=1, timeout=4.0, readonly=False, account="",
                raiseSyncErrors=False):  # fmt: skip
        if self.gateway.down:
            raise ConnectionRefusedError("connection refused")
        self._connected, self._readonly, self._own = True, readonly, []
        return self

    def disconnect(self):
        self._connected = False

    def isConnected(self):
        return self._connected

    def managedAccounts(self):
        return [self.gateway.account]

    def _request(self, name):
        self.gateway.asked[name] += 1
        if not self._connected or self.gateway.down:
            self._connected = False
            raise Cut("not connected")
        if self.gateway.silent > 0:
            self.gateway.silent -= 1
            raise TimeoutError

    # The account

    def reqCurrentTime(self):
        self._request("time")
        return self.gateway.engine.now

    def accountValues(self, account=""):
        money, name = self.gateway.engine.account(), self.gateway.account
        rows = {"TotalCashValue": money.cash, "NetLiquidation": money.equity, "AvailableFunds": money.buying_power}
        return [AccountValue(name, tag, f"{value:f}", self.gateway.base, "") for tag, value in rows.items()]

    def positions(self, account=""):
        return [Position(self.gateway.account, self._contract(p.symbol), float(p.quantity), 1.0)
                for p in self.gateway.engine.positions()]  # fmt: skip

    def reqContractDetails(self, contract):
        self._request("details")
        if contract.symbol != "SPY" and contract.symbol not in self.gateway.world.names():
            return []
        now = self.gateway.engine.now.date()
        days = {s.day: s for s in sessions_between(now, now + dt.timedelta(days=5))}
        parts = []
        for day in (now + dt.timedelta(days=n) for n in range(6)):
            ends = [] if day not in days else [f"{m:%Y%m%d:%H%M}" for m in (days[day].opens, days[day].closes)]
            parts.append("-".join(ends) or f"{day:%Y%m%d}:CLOSED")
        return [
            ContractDetails(contract=self._contract(contract.symbol), liquidHours=";".join(parts), timeZoneId="UTC")
        ]

    def _contract(self, symbol):
        return Contract(secType="STK", symbol=symbol, exchange="SMART", currency="USD", conId=hash(symbol) % 10**6)

    # Orders

    def placeOrder(self, contract, order):
        assert not self._readonly, "an order over a connection for reading"
        self._request("place")
        gateway = self.gateway
        gateway.placed.append(order.orderRef)
        gateway.next_id += 1
        order.orderId, order.clientId = gateway.next_id, 71
        trade = Trade(contract, order, OrderStatus(orderId=order.orderId, status="PendingSubmit"), [], [])
        if gateway.swallowed > 0:
            gateway.swallowed -= 1
            self._own.append((trade, None))
            return trade
        name = gateway.take(contract, order)
        if gateway.withheld > 0:
            gateway.withheld -= 1
            self._own.append((trade, None))
            return trade
        self._own.append((trade, name))
        if gateway.cut > 0:
            gateway.cut -= 1
            self._connected = False
            raise Cut("broken")
        return trade

    def cancelOrder(self, order, manualCancelOrderTime=""):
        self._request("cancel")
        for name, (number, _, _) in self.gateway.sent.items():
            if number == order.permId:
                self.gateway.engine.cancel(self.gateway.engine.order_by_client_id(name))

    def waitOnUpdate(self, timeout=0.0):
        if not self._connected:
            raise Cut("broken")
        for trade, name in self._own:
            if name is not None:
                self._update(trade, name)
                self.orderStatusEvent.emit(trade)
        return True

    def trades(self):
        for trade, name in self._own:
            if name is not None:
                self._update(trade, name)
        return [trade for trade, _ in self._own]

    def _update(self, trade, name):
        if name.startswith("!"):
            trade.orderStatus.status = "Inactive"
            trade.log.append(TradeLogEntry(dt.datetime.now(dt.UTC), "Inactive", name[1:], 201))
            return
        known = self.gateway.engine.order_by_client_id(name)
        status = trade.orderStatus
        trade.order.permId = status.permId = self.gateway.sent[name][0]
        status.status = STATUS[known.state]
        status.filled, status.remaining = float(known.filled), float(known.remaining)
        status.avgFillPrice = float(known.average_price or 0)

    def _trade(self, name):
        known, (_, reference, tif) = self.gateway.engine.order_by_client_id(name), self.gateway.sent[name]
        order = ib_async.MarketOrder("BUY" if known.side is Side.BUY else "SELL", float(known.quantity), tif=tif,
                                     orderRef=reference, account=self.gateway.account)  # fmt: skip
        trade = Trade(self._contract(known.symbol), order, OrderStatus(), [], [])
        self._update(trade, name)
        return trade

    def _taken(self):
        known = ((name, self.gateway.engine.order_by_client_id(name)) for name in self.gateway.sent)
        return [(name, order) for name, order in known if order is not None]

    def reqAllOpenOrders(self):
        self._request("open orders")
        return [self._trade(name) for name, order in self._taken() if not order.state.done]

    def reqCompletedOrders(self, apiOnly):
        self._request("completed orders")
        midnight = self.gateway.engine.now.date()
        return [self._trade(name) for name, order in self._taken() if order.state.done and order.session >= midnight]

    def reqExecutions(self, execFilter=None):
        self._request("executions")
        midnight = dt.datetime.combine(self.gateway.engine.now.date(), dt.time(), dt.UTC)
        found = []
        for n, fill in enumerate(self.gateway.engine.executions(midnight)):
            number, reference, _ = self.gateway.sent[fill.client_id]
            for version in (1, 2) if self.gateway.corrected else (1,):
                wrong = 7.0 if self.gateway.corrected and version == 1 else 0.0
                done = ib_async.Execution(
                    execId=f"0000e0d5.{fill.id}.{n:02}.{version:02}", time=fill.at, acctNumber=self.gateway.account,
                    side="BOT" if fill.side is Side.BUY else "SLD", shares=float(fill.quantity) + wrong,
                    price=float(fill.price), permId=number, orderRef=reference,
                )  # fmt: skip
                found.append(
                    Fill(self._contract(fill.symbol), done, CommissionReport(commission=float(fill.fee)), fill.at)
                )
        return found
