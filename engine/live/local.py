"""A venue without an account: market orders filled at the opens of the bars it is fed, kept in a file of its own.

It is a venue like the others: the runner knows nothing of its inside, and kill -9 of the runner loses nothing here,
as an order counts as taken once it is committed. Its time is its own and moves only when ``advance`` is called, over
the opens and closes of its calendar's sessions. An order taken before the open fills at the open, sales before buys;
one taken during a session fills at once at that session's open, the only price of the day known by then. What has not
filled by the close expires.

The account is paid the dividends it is fed (``dividends=False``: none, as on Alpaca's paper host) and follows splits.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal

from clusterfolio import ClusterfolioError
from clusterfolio.engine.live.database import transaction
from clusterfolio.engine.live.local_book import LocalBook
from clusterfolio.engine.live.venue import (
    ZERO,
    Account,
    Asset,
    Clock,
    NotAccepted,
    OrderRequest,
    OrderState,
    Session,
    Side,
    Timing,
    Unavailable,
    Update,
    VenueOrder,
)


class EndOfBars(ClusterfolioError):
    """The local venue's time cannot go on: the bars of the next session are not there yet."""


class LocalVenue(LocalBook):
    """The venue; its arguments are the book's."""

    name = "local"

    # The contract

    def connect(self, timeout: float) -> None:
        """Nothing has to be opened; updates of before are not told."""
        self._connected = True

    def close(self) -> None:
        """Close the file."""
        self._connected = False
        self._db.close()

    def stream_ready(self) -> bool:
        """Once connected."""
        return self._connected

    def clock(self) -> Clock:
        """The venue's own time."""
        now = self.now
        sessions = self._quotes.sessions(now.date() - dt.timedelta(days=1), now.date() + dt.timedelta(days=14))
        running = next((s for s in sessions if s.opens <= now < s.closes), None)
        coming = next((s for s in sessions if s.opens > now), None)
        if coming is None:
            raise Unavailable(f"the calendar ends on {now.date()}")
        return Clock(now, running is not None, coming.opens, (running or coming).closes)

    def calendar(self, first: dt.date, last: dt.date) -> list[Session]:
        """The sessions of the exchange whose bars are fed."""
        return list(self._quotes.sessions(first, last))

    def account(self) -> Account:
        """Equity at the last closes; a session that runs counts with its open."""
        cash = Decimal(self._fact("cash"))
        worth = sum((p.quantity * p.price for p in self.positions() if p.price is not None), ZERO)
        buying = [order for order in self.open_orders() if order.side is Side.BUY]
        promised = sum((o.remaining * (self._last(o.symbol) or ZERO) for o in buying), ZERO)
        return Account("local", self._fact("currency"), cash, cash + worth, max(cash - promised, ZERO))

    def submit(self, request: OrderRequest) -> VenueOrder:
        """Take an order; it fills in the next session to be open, whichever the sender had in mind."""
        clock = self.clock()
        asset = self._quotes.assets().get(request.symbol)
        if self.order_by_client_id(request.client_id) is not None:
            raise NotAccepted(f"client id {request.client_id} has been used", final=True)
        if asset is None or not asset.tradable:
            why = "no such asset" if asset is None else asset.why_not or "not tradable"
            raise NotAccepted(f"{request.symbol}: {why}", final=True)
        step = asset.step if asset.fractionable else asset.lot
        if request.quantity <= 0 or request.quantity % step:
            raise NotAccepted(f"{request.symbol}: quantity {request.quantity} is not a multiple of {step}", final=True)
        if request.side is Side.SELL and request.quantity > self._free(request.symbol):
            raise NotAccepted(f"{request.symbol}: only {self._free(request.symbol)} shares to sell", final=True)
        if request.timing is Timing.OPENING and clock.is_open:
            raise NotAccepted("the opening auction is over", final=True)
        session = self._session_at(clock)
        with transaction(self._db) as db:
            number = self._next("orders")
            db.execute(
                "INSERT INTO orders VALUES (?, ?, ?, ?, ?, '0', '0', 'open', ?, ?, '')",
                (request.client_id, number, request.symbol, request.side.value, str(request.quantity),
                 session.isoformat(), request.timing.value),
            )  # fmt: skip
            self._tell(db, request.client_id, "new")
            if clock.is_open:
                self._match(db, session, clock.now)
        return self._known(request.client_id)

    def cancel(self, order: VenueOrder) -> None:
        """Cancel what has not filled."""
        with transaction(self._db) as db:
            self._end(db, order.client_id, OrderState.CANCELLED, "cancelled by the account")

    def assets(self, symbols: Iterable[str]) -> dict[str, Asset]:
        """Those of the symbols that have bars."""
        known = self._quotes.assets()
        return {name: known[name] for name in symbols if name in known}

    def prices(self, symbols: Iterable[str]) -> dict[str, Decimal]:
        """None of its own: its bars are the run's."""
        return {}

    def updates(self, wait: float) -> list[Update]:
        """What happened since it was last asked; it never waits, as its time moves only by ``advance``."""
        rows = self._db.execute("SELECT * FROM updates WHERE number > ? ORDER BY number", (self._heard,)).fetchall()
        self._heard = rows[-1]["number"] if rows else self._heard
        return [Update(row["client_id"], row["event"]) for row in rows]

    # Its time

    def advance(self, until: dt.datetime) -> None:
        """Move the time on, over every open and close on the way; each is one transaction.

        Raises:
            EndOfBars: the bars of a session on the way are not known; the time stands before its open.
        """
        while (now := self.now) < until:
            sessions = self._quotes.sessions(now.date() - dt.timedelta(days=1), until.date() + dt.timedelta(days=1))
            moments = [(s.opens, s, True) for s in sessions] + [(s.closes, s, False) for s in sessions]
            due = [moment for moment in sorted(moments, key=lambda m: m[0]) if now < moment[0] <= until]
            if not due:
                with transaction(self._db) as db:
                    self._set(db, "now", until.isoformat())
                return
            moment, session, opens = due[0]
            quotes = self._quotes.day(session.day)
            if quotes is None:
                raise EndOfBars(f"the bars of {session.day} are not there yet")
            with transaction(self._db) as db:
                self._set(db, "now", moment.isoformat())
                if opens:
                    self._actions(db, session.day, quotes)
                    self._match(db, session.day, moment)
                else:
                    for order in self.open_orders():
                        if order.session == session.day:
                            self._end(db, order.client_id, OrderState.EXPIRED, "its session is over")

    def pulse(self, session: dt.date) -> None:
        """Try what is open again within a running session (a filler had held it back)."""
        with transaction(self._db) as db:
            self._match(db, session, self.now)

    def _session_at(self, clock: Clock) -> dt.date:
        """The session in which an order taken now fills."""
        days = self._quotes.sessions(clock.now.date(), clock.now.date() + dt.timedelta(days=14))
        return next(s.day for s in days if s.closes > clock.now)
