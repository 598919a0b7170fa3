"""Interactive Brokers' paper account as a venue, through ib_async and a gateway on this machine: experimental.

It was never run against the broker, only against a stand-in of ours. What is particular to it: the broker takes two
orders under one reference, so an order is looked for by its reference before it is sent, in what is open, done and
filled; executions and open orders are asked for on every connection; what changes an account without an order
(dividends, splits) is not told by this interface: money then stands as unexplained in the daily line, shares halt.

Only this machine and the two ports of paper trading are connected to, and an account whose name does not begin with DU
is refused.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, TypeVar

from clusterfolio import ClusterfolioError
from clusterfolio.engine.live import ibkr_decoding as decoding
from clusterfolio.engine.live.moments import check_moment
from clusterfolio.engine.live.venue import (
    Account,
    Activity,
    Asset,
    Clock,
    Execution,
    NotAccepted,
    OrderRequest,
    Session,
    Timing,
    Unanswered,
    Unavailable,
    Unreadable,
    Update,
    VenueOrder,
    VenuePosition,
)

try:
    import ib_async
except ImportError as fault:
    raise ClusterfolioError("--venue ibkr needs pip install 'clusterfolio[ibkr]'") from fault

#: The ports on which gateway and workstation offer paper trading.
PORTS = {4002: "gateway", 7497: "workstation"}

#: What a paper account's name begins with.
PAPER_ACCOUNT = "DU"

#: Orders for the opening auction are taken until so long before the open.
EVENING, LAST_CALL = dt.time(16, 10), dt.timedelta(minutes=5)

#: A share whose hours are those of the exchange.
CLOCK_SHARE = "SPY"

Answer = TypeVar("Answer")


class IbkrVenue:
    """The venue.

    Args:
        sessions: of the exchange, for days of which the broker says nothing: what is past, or weeks ahead.
        port: of PORTS.
        client_id: of this connection.
        currency: the run's.
        timeout: seconds for each request.
        read_only: for a dry run: nothing is sent, and the connection may not.
        ib: an ``ib_async.IB``, or what stands in for it.
    """

    name = "ibkr"

    def __init__(
        self,
        sessions: Callable[[dt.date, dt.date], list[Session]],
        *,
        port: int = 4002,
        client_id: int = 71,
        currency: str = "USD",
        timeout: float = 20.0,
        read_only: bool = False,
        ib: Any = None,
    ):
        if port not in PORTS:
            known = ", ".join(f"{number} ({what})" for number, what in PORTS.items())
            raise ValueError(f"IBKR_PORT: got {port}, expected one of paper trading: {known}")
        self._ib = ib if ib is not None else ib_async.IB()
        self._ib.RequestTimeout = timeout
        self._sessions, self._port, self._client_id = sessions, port, client_id
        self._currency, self._timeout, self._read_only = currency, timeout, read_only
        self._account = ""
        self._contracts: dict[str, Any] = {}
        self._hours: tuple[set[dt.date], list[Session]] = set(), []
        self._filled: dict[str, list[Execution]] = {}
        self._heard: deque[Update] = deque()
        self._ib.orderStatusEvent += self._hear

    @classmethod
    def from_environment(cls, sessions: Callable[[dt.date, dt.date], list[Session]], **more: Any) -> IbkrVenue:
        """At the port that IBKR_PORT names, else the gateway's."""
        text = os.environ.get("IBKR_PORT", "4002")
        if not text.isdigit():
            raise ValueError(f"IBKR_PORT: got {text!r}, expected one of {', '.join(map(str, PORTS))}")
        return cls(sessions, port=int(text), **more)

    def _hear(self, trade: Any) -> None:
        self._heard.append(Update(decoding.name_of(trade.order), str(trade.orderStatus.status)))

    def _ask(self, what: str, question: Callable[[], Answer]) -> Answer:
        """A question, with every way in which it is not answered."""
        if not self._ib.isConnected():
            raise Unavailable(f"{what}: not connected to 127.0.0.1:{self._port}")
        try:
            return question()
        except (OSError, TimeoutError) as error:  # ConnectionError is one of the first
            raise Unavailable(f"{what}: {type(error).__name__}") from error

    # Connection

    def connect(self, timeout: float) -> None:
        """Connect if it is not, and ask for executions and open orders, as others may have come in between."""
        if not self._ib.isConnected():
            self._account = ""
            try:
                self._ib.connect("127.0.0.1", self._port, clientId=self._client_id, timeout=timeout,
                                 readonly=self._read_only, raiseSyncErrors=True)  # fmt: skip
            except (OSError, TimeoutError) as error:
                raise Unavailable(f"127.0.0.1:{self._port}: {type(error).__name__}: {error}") from error
        accounts = list(self._ib.managedAccounts())
        wrong = [name for name in accounts if not name.startswith(PAPER_ACCOUNT)]
        if wrong or len(accounts) != 1:
            self._ib.disconnect()
            raise ValueError(f"--venue ibkr: got account {', '.join(wrong or accounts) or 'none'}, expected one paper "
                             f"account, whose name begins with {PAPER_ACCOUNT}")  # fmt: skip
        self._account = accounts[0]
        self._known()
        contract = self._contract(CLOCK_SHARE)
        details = self._ask("hours", lambda: self._ib.reqContractDetails(contract)) if contract else []
        if not details:
            raise Unavailable(f"hours: no details of {CLOCK_SHARE}")
        self._hours = decoding.hours(details[0].liquidHours, details[0].timeZoneId)

    def close(self) -> None:
        """Disconnect."""
        self._ib.disconnect()

    def stream_ready(self) -> bool:
        """Updates come through the connection itself."""
        return bool(self._account) and self._ib.isConnected()

    def updates(self, wait: float) -> list[Update]:
        """What was heard, after at most ``wait`` seconds."""
        if not self._heard and wait > 0 and self._ib.isConnected():
            self._ib.waitOnUpdate(wait)
        found = list(self._heard)
        self._heard.clear()
        return found

    # Time

    def clock(self) -> Clock:
        """The broker's time, on its calendar."""
        now = self._ask("clock", self._ib.reqCurrentTime).astimezone(dt.UTC)
        days = self.calendar(now.date() - dt.timedelta(days=1), now.date() + dt.timedelta(days=14))
        running = next((s for s in days if s.opens <= now < s.closes), None)
        coming = next((s for s in days if s.opens > now), None)
        if coming is None:
            raise Unavailable(f"the calendar ends on {now.date()}")
        return Clock(now, running is not None, coming.opens, (running or coming).closes)

    def calendar(self, first: dt.date, last: dt.date) -> list[Session]:
        """The broker's sessions where it speaks of a day, else the exchange's."""
        stated, own = self._hours
        others = [session for session in self._sessions(first, last) if session.day not in stated]
        return sorted([*others, *(s for s in own if first <= s.day <= last)], key=lambda session: session.day)

    # The account

    def account(self) -> Account:
        """The account's money."""
        values = self._ask("account", lambda: self._ib.accountValues(self._account))
        return decoding.account(values, self._account, self._currency)

    def positions(self) -> list[VenuePosition]:
        """Everything held; shares in another currency than the run's are no shares of ours, whatever their name."""
        found = []
        for held in self._ask("positions", lambda: self._ib.positions(self._account)):
            symbol = decoding.symbol_of(held.contract)
            if held.contract.secType == "STK" and held.contract.currency != self._currency:
                symbol = f"{symbol}:{held.contract.currency}"
            found.append(VenuePosition(symbol, decoding.number(held.position, f"position {symbol}")))
        return found

    def assets(self, symbols: Iterable[str]) -> dict[str, Asset]:
        """Shares that the broker lists, in whole shares."""
        known = {name for name in symbols if self._contract(name) is not None}
        return {name: Asset(name, True, False, asset_class="STK") for name in sorted(known)}

    def _contract(self, symbol: str) -> Any:
        """The one share of this name in the run's currency; None = there is none, or more than one."""
        if symbol not in self._contracts:
            wanted = ib_async.Stock(symbol.replace(".", " "), "SMART", self._currency)
            found = self._ask(f"contract {symbol}", lambda: self._ib.reqContractDetails(wanted))
            self._contracts[symbol] = found[0].contract if len(found) == 1 else None
        return self._contracts[symbol]

    def prices(self, symbols: Iterable[str]) -> dict[str, Decimal]:
        """None: quotes are a subscription of their own there."""
        return {}

    def executions(self, since: dt.datetime) -> list[Execution]:
        """The account's fills, as far back as the broker keeps them: since midnight, or some days by its settings."""
        return [fill for fill in self._fills() if fill.at >= since]

    def _fills(self) -> list[Execution]:
        fills = self._ask(
            "executions", lambda: self._ib.reqExecutions(ib_async.ExecutionFilter(acctCode=self._account))
        )
        return decoding.executions(fills, self._account)

    def activities(self, since: dt.date) -> list[Activity]:
        """None are told by this interface."""
        return []

    # Orders

    def _known(self) -> dict[str, tuple[Any, VenueOrder]]:
        """Every order that the broker still speaks of, by its name: open, done today, or sent on this connection."""
        self._filled = {}
        for fill in self._fills():
            self._filled.setdefault(fill.client_id, []).append(fill)
        trades = [
            *self._ask("open orders", self._ib.reqAllOpenOrders),
            *self._ask("completed orders", lambda: self._ib.reqCompletedOrders(False)),
            *self._ib.trades(),
        ]
        found: dict[str, tuple[Any, VenueOrder]] = {}
        for trade in trades:
            if trade.order.account not in ("", self._account):
                continue
            order = decoding.order(trade, self._filled.get(decoding.name_of(trade.order), ()))
            _, before = found.get(order.client_id, (None, None))
            if before is not None and before.venue_id and order.venue_id not in ("", before.venue_id):
                both = f"{before.venue_id} and {order.venue_id}"
                raise Unreadable(f"order {order.client_id}: the broker has two of this reference, {both}")
            if before is None or not before.venue_id or order.state.done:
                found[order.client_id] = trade, order
        return found

    def open_orders(self) -> list[VenueOrder]:
        """Every order that may still fill."""
        return [order for _, order in self._known().values() if not order.state.done]

    def orders(self, since: dt.datetime) -> list[VenueOrder]:
        """Every order that the broker still speaks of."""
        return [order for _, order in self._known().values()]

    def order_by_client_id(self, client_id: str) -> VenueOrder | None:
        """The order of this reference; None = it is not open, not done, and nothing of it was filled."""
        found = self._known().get(client_id)
        if found is None and client_id in self._filled:
            raise Unreadable(f"order {client_id}: {len(self._filled[client_id])} fills, and the order is in no list")
        return None if found is None else found[1]

    def submit(self, request: OrderRequest) -> VenueOrder:
        """Send an order, once, if there is none of its reference and it can fill on its own session only."""
        opening = request.timing is Timing.OPENING
        with _before_sending():
            if self._read_only:
                raise NotAccepted("a dry run sends nothing", final=False)
            if self.order_by_client_id(request.client_id) is not None:
                raise NotAccepted(f"reference {request.client_id} has been used", final=True)
            days = self.calendar(request.session - dt.timedelta(days=14), request.session)
            check_moment(request, self.clock().now, days, margin=dt.timedelta(seconds=self._timeout),
                         auction=(EVENING, LAST_CALL) if opening else None)  # fmt: skip
            contract = self._contract(request.symbol)
        if contract is None:
            raise NotAccepted(f"{request.symbol}: no such share", final=True)
        order = ib_async.MarketOrder(
            "BUY" if request.side.sign > 0 else "SELL", float(request.quantity), tif="OPG" if opening else "DAY",
            orderRef=request.client_id, account=self._account, outsideRth=False,
        )  # fmt: skip
        try:
            trade = self._ib.placeOrder(contract, order)
            return self._acknowledged(trade, request)
        except (OSError, TimeoutError) as error:
            raise Unanswered(f"order {request.client_id}: {type(error).__name__}") from error

    def _acknowledged(self, trade: Any, request: OrderRequest) -> VenueOrder:
        """Wait until the broker has given the order a number of its own, or has refused it."""
        for _ in range(max(1, int(self._timeout))):
            if trade.order.permId or trade.orderStatus.permId or trade.orderStatus.status in ("Inactive", "Cancelled"):
                found = decoding.order(trade, ())
                if found.state.done and not found.filled:
                    raise NotAccepted(f"{request.symbol}: {found.reason or trade.orderStatus.status}", final=True)
                return found
            self._ib.waitOnUpdate(1.0)
        # On this connection it would stay as if on its way; a new one is told what the broker has.
        self._ib.disconnect()
        raise Unanswered(f"order {request.client_id}: no answer in {self._timeout:g} seconds")

    def cancel(self, order: VenueOrder) -> None:
        """Ask for the rest of an order not to fill."""
        found = self._known().get(order.client_id)
        if found is None or found[1].state.done or self._read_only:
            return
        self._ask("cancel", lambda: self._ib.cancelOrder(found[0].order))


@contextlib.contextmanager
def _before_sending() -> Iterator[None]:
    """What fails before an order is sent means that it is certainly not there."""
    try:
        yield
    except Unavailable as error:
        raise NotAccepted(f"not sent: {error}", final=False, retry_after=error.retry_after) from error
