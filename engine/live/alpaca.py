"""Alpaca's paper account as a venue.

What is particular to it: an order in parts of a share goes as ``day``, never into the auction; ``opg`` is taken from
19:00 of the evening before until 9:28; an order sent when its session is over would wait for the next one, so nothing
is sent that could fill on another session than the planned one, by the venue's own clock and calendar. The paper host
pays no dividends, charges no borrowing and fills one order in ten in parts of random size.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from clusterfolio.engine.live import alpaca_decoding as decoding
from clusterfolio.engine.live.alpaca_activities import read_activities
from clusterfolio.engine.live.alpaca_bars import DATA, AlpacaBars
from clusterfolio.engine.live.alpaca_stream import TradeStream
from clusterfolio.engine.live.alpaca_wire import PAPER, PAPER_STREAM, Budget, Client, Declined, Keys
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

#: Rows of a page at most.
ORDERS, ACTIVITIES = 500, 100

#: Seconds for which the venue's clock is counted on from, and its calendar kept.
CLOCK_AGE, CALENDAR_AGE = 20.0, 600.0

#: When orders for the opening auction are taken: from this hour of the evening before, until so long before the open.
EVENING, LAST_CALL = dt.time(19), dt.timedelta(minutes=2)

#: An order may have been sent so long before it filled.
WAITING = dt.timedelta(days=7)


class AlpacaVenue:
    """The venue.

    Args:
        url, stream: the paper host's, or addresses of this machine; anything else is refused.
        keys: None = from the environment.
        timeout: seconds for each request; see ``Client``.
        requests: a minute, at most.
        data: of its data host, which is asked for last prices and gets the keys too; None = it is not.
        read_only: for a dry run: nothing that changes something gets as far as the socket.
        monotonic, sleep: seconds that never go back, and how they pass.
    """

    name = "alpaca"

    def __init__(
        self,
        url: str = PAPER,
        stream: str = PAPER_STREAM,
        *,
        keys: Keys | None = None,
        timeout: float = 10.0,
        requests: int = 200,
        data: str | None = None,
        read_only: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        keys = keys or Keys.from_environment()
        self._budget = Budget(requests, monotonic=monotonic, sleep=sleep)
        self._client = Client(url, keys, self._budget, timeout, read_only)
        self._stream = TradeStream(stream, keys)
        self._bars = None if data is None else AlpacaBars(data, keys=keys, budget=self._budget, timeout=timeout)
        self._monotonic, self._read_only = monotonic, read_only
        self._margin = dt.timedelta(seconds=3 * timeout)  # an order may be on its way for so long
        self._clock: tuple[float, Clock] | None = None
        self._calendars: dict[tuple[dt.date, dt.date], tuple[float, list[Session]]] = {}

    @classmethod
    def from_environment(cls, read_only: bool = False, prices: bool = False) -> AlpacaVenue:
        """The paper host, or what APCA_API_BASE_URL, APCA_API_STREAM_URL and APCA_API_DATA_URL name instead.

        Args:
            prices: whether its data host is asked for last prices.
        """
        url = os.environ.get("APCA_API_BASE_URL", PAPER)
        data = os.environ.get("APCA_API_DATA_URL", DATA) if prices else None
        return cls(url, os.environ.get("APCA_API_STREAM_URL", PAPER_STREAM), data=data, read_only=read_only)

    # Connection

    def connect(self, timeout: float) -> None:
        """Open the stream if it is not; the clock is asked anew."""
        self._clock = None
        self._calendars.clear()
        self._stream.open(timeout)

    def close(self) -> None:
        """Close stream and connections."""
        self._stream.close()
        self._client.close()
        if self._bars is not None:
            self._bars.close()

    def stream_ready(self) -> bool:
        """Whether the stream is authenticated and listening."""
        return self._stream.ready

    def updates(self, wait: float) -> list[Update]:
        """What the stream brought."""
        return self._stream.take(wait)

    # Time

    def clock(self) -> Clock:
        """The venue's time, counted on from its last word for some seconds, but over no open or close."""
        moment = self._monotonic()
        if self._clock is not None:
            asked, known = self._clock
            now = known.now + dt.timedelta(seconds=moment - asked)
            if moment - asked < CLOCK_AGE and now < min(known.next_open, known.next_close):
                return replace(known, now=now)
        found = decoding.clock(self._client.get("/clock"))
        self._clock = moment, found
        return found

    def calendar(self, first: dt.date, last: dt.date) -> list[Session]:
        """The venue's sessions."""
        moment = self._monotonic()
        asked, found = self._calendars.get((first, last), (moment - CALENDAR_AGE, []))
        if moment - asked < CALENDAR_AGE:
            return found
        raw = self._client.get("/calendar", {"start": first.isoformat(), "end": last.isoformat()})
        found = [decoding.session(row) for row in decoding.rows("calendar", raw)]
        days = [session.day for session in found]
        if days != sorted(set(days)) or (days and not first <= days[0] <= days[-1] <= last):
            raise Unreadable(f"calendar: got days that are not those from {first} to {last}, in order")
        self._calendars[first, last] = moment, found
        return found

    # The account

    def prices(self, symbols: Iterable[str]) -> dict[str, Decimal]:
        """The last ones of its data host, where that may be asked."""
        return {} if self._bars is None else self._bars.prices(sorted(symbols))

    def account(self) -> Account:
        """The account's money."""
        return decoding.account(self._client.get("/account"))

    def positions(self) -> list[VenuePosition]:
        """Everything held."""
        return [decoding.position(row) for row in decoding.rows("positions", self._client.get("/positions"))]

    def assets(self, symbols: Iterable[str]) -> dict[str, Asset]:
        """What is known of these symbols: from the whole list at once, as one by one they would take minutes."""
        found: dict[str, Asset] = {}
        for status in ("active", "inactive"):
            missing = set(symbols) - set(found)
            if missing:
                raw = self._client.get("/assets", {"status": status, "asset_class": "us_equity"})
                rows = decoding.rows("assets", raw)
                known = [row for row in rows if isinstance(row, dict) and row.get("symbol") in missing]
                found |= {asset.symbol: asset for asset in map(decoding.asset, known)}
        return found

    def executions(self, since: dt.datetime) -> list[Execution]:
        """The account's fills, each once, with the client id of its order."""
        raw = self._activities({"activity_types": "FILL", "after": _stamp(since - dt.timedelta(seconds=1))})
        names = decoding.client_ids_of(self.orders(since - WAITING)) if raw else {}
        found = {fill.id: fill for fill in (decoding.execution(row, names) for row in raw)}
        return sorted((fill for fill in found.values() if fill.at >= since), key=lambda fill: (fill.at, fill.id))

    def activities(self, since: dt.date) -> list[Activity]:
        """What else changed the account; Alpaca may note it days later, or the day after by its own clock."""
        after = dt.datetime.combine(since - dt.timedelta(days=1), dt.time(), dt.UTC)
        raw = self._activities({"category": "non_trade_activity", "after": _stamp(after)})
        found = {activity.id: activity for activity in read_activities(raw)}
        return sorted((a for a in found.values() if a.day >= since), key=lambda a: a.day)

    def _activities(self, asked: dict[str, Any]) -> list[Any]:
        """All pages of a list of activities."""
        found: list[Any] = []
        token: dict[str, str] = {}
        while True:
            page = decoding.rows("activities", self._client.get(
                "/account/activities", {**asked, "direction": "asc", "page_size": ACTIVITIES, **token}
            ))  # fmt: skip
            found += page
            if len(page) < ACTIVITIES:
                return found
            last = decoding.Fields("activity", page[-1]).text("id")
            if token.get("page_token") == last:
                raise Unreadable(f"activities: the page after {last} ends with it again")
            token = {"page_token": last}

    # Orders

    def open_orders(self) -> list[VenueOrder]:
        """Every order that may still fill."""
        return [order for order in self._orders("open", None) if not order.state.done]

    def orders(self, since: dt.datetime) -> list[VenueOrder]:
        """Every order sent since a moment."""
        return self._orders("all", since - dt.timedelta(microseconds=1))

    def _orders(self, status: str, after: dt.datetime | None) -> list[VenueOrder]:
        """All pages of a list of orders; each goes on a little before the end of the last, as moments may be shared."""
        found: dict[str, VenueOrder] = {}
        while True:
            asked = {"status": status, "limit": ORDERS, "direction": "asc"}
            page = decoding.rows(
                "orders", self._client.get("/orders", asked if after is None else {**asked, "after": _stamp(after)})
            )
            found |= {order.client_id: order for order in map(decoding.order, page)}
            if len(page) < ORDERS:
                return list(found.values())
            until = decoding.submitted(page[-1]) - dt.timedelta(microseconds=1)
            if after is not None and until <= after:
                raise Unreadable(f"orders: the page after {_stamp(after)} does not go on from there")
            after = until

    def order_by_client_id(self, client_id: str) -> VenueOrder | None:
        """The order sent under this id; None = the venue itself says that it has none."""
        try:
            raw = self._client.get("/orders:by_client_order_id", {"client_order_id": client_id})
        except Declined as answer:
            if answer.status == 404:
                return None
            raise
        found = decoding.order(raw)
        if found.client_id != client_id:
            raise Unreadable(f"order {client_id}: the venue answers with order {found.client_id}")
        return found

    def submit(self, request: OrderRequest) -> VenueOrder:
        """Send an order, once, if it can fill on its own session only."""
        whole = request.quantity == request.quantity.to_integral_value()
        opening = request.timing is Timing.OPENING and whole
        self._budget.wait(first=True)
        self._check_moment(request, opening)
        if seconds := self._budget.delay(first=True):
            raise NotAccepted("the minute's requests are used up", final=False, retry_after=seconds)
        raw = self._client.post("/orders", {
            "symbol": request.symbol, "qty": f"{request.quantity.normalize():f}", "side": request.side.value,
            "type": "market", "time_in_force": "opg" if opening else "day", "client_order_id": request.client_id,
        })  # fmt: skip
        try:
            order = decoding.order(raw)
        except Unreadable as error:
            raise Unanswered(f"order {request.client_id}: {error}") from error
        if order.client_id != request.client_id:
            raise Unanswered(f"order {request.client_id}: the venue answers with order {order.client_id}")
        return order

    def _check_moment(self, request: OrderRequest, opening: bool) -> None:
        """Refuse what would fill on another session than its own, or is sent while nobody listens."""
        if self._read_only:
            raise NotAccepted("a dry run sends nothing", final=False)
        if not self._stream.ready:
            raise NotAccepted("the stream of updates is not authenticated", final=False)
        try:
            now, days = self.clock().now, self.calendar(request.session - dt.timedelta(days=14), request.session)
        except Unavailable as error:
            raise NotAccepted(f"not sent: {error}", final=False, retry_after=error.retry_after) from error
        auction = (EVENING, LAST_CALL) if opening else None
        check_moment(request, now, days, margin=self._margin, auction=auction)

    def cancel(self, order: VenueOrder) -> None:
        """Ask for the rest of an order not to fill."""
        known = self.order_by_client_id(order.client_id)
        if known is None or known.state.done or self._read_only:
            return
        if not re.fullmatch(r"[A-Za-z0-9-]+", known.venue_id):
            raise Unreadable(f"order {order.client_id}: its id is {known.venue_id!r}, expected letters and digits")
        # What is done, or being cancelled already, is declined; what became of it is asked for, not told here.
        with contextlib.suppress(Declined):
            self._client.delete(f"/orders/{known.venue_id}")


def _stamp(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
