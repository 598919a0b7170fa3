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
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from clusterfolio import ClusterfolioError
from clusterfolio.engine.live.database import transaction
from clusterfolio.engine.live.venue import (
    ZERO,
    Account,
    Activity,
    ActivityKind,
    Asset,
    Clock,
    Execution,
    NotAccepted,
    OrderRequest,
    OrderState,
    Session,
    Side,
    Timing,
    Unavailable,
    Update,
    VenueOrder,
    VenuePosition,
)

#: Money is kept to this step.
CENT = Decimal("0.000001")

SCHEMA = """
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE positions (symbol TEXT PRIMARY KEY, quantity TEXT NOT NULL);
CREATE TABLE orders (client_id TEXT PRIMARY KEY, number INTEGER NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
    quantity TEXT NOT NULL, filled TEXT NOT NULL, paid TEXT NOT NULL, state TEXT NOT NULL, session TEXT NOT NULL,
    timing TEXT NOT NULL, reason TEXT NOT NULL);
CREATE INDEX orders_in_state ON orders (state);
CREATE TABLE executions (number INTEGER PRIMARY KEY, client_id TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
    quantity TEXT NOT NULL, price TEXT NOT NULL, at TEXT NOT NULL, fee TEXT NOT NULL);
CREATE INDEX executions_at ON executions (at);
CREATE TABLE activities (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, day TEXT NOT NULL, symbol TEXT NOT NULL,
    quantity TEXT NOT NULL, cash TEXT NOT NULL, ratio TEXT, text TEXT NOT NULL);
CREATE TABLE updates (number INTEGER PRIMARY KEY, client_id TEXT NOT NULL, event TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Quote:
    """One asset's day: market prices in the account's currency, on the share basis of that day.

    Attributes:
        dividend: paid per share to who held it before the open.
        split: new shares per old one, at the open; 1 = none.
    """

    open: Decimal
    close: Decimal
    dividend: Decimal = ZERO
    split: Decimal = Decimal(1)


class Quotes(Protocol):
    """Where a local venue's bars come from."""

    def day(self, session: dt.date) -> Mapping[str, Quote] | None:
        """The day's bars by symbol; None = they are not known yet."""

    def sessions(self, first: dt.date, last: dt.date) -> Sequence[Session]:
        """The exchange's sessions."""

    def assets(self) -> Mapping[str, Asset]:
        """What can be traded."""


class EndOfBars(ClusterfolioError):
    """The local venue's time cannot go on: the bars of the next session are not there yet."""


#: ``(order, moment) -> part of what remains that fills now``; a negative number cancels the rest.
Filler = Callable[[VenueOrder, dt.datetime], Decimal]


class LocalVenue:
    """The venue.

    Args:
        path: its file; made if it is not there.
        quotes: the bars it is fed.
        start: where its time begins if the file is new: the close of a session.
        cash: what the account begins with.
        rates: cost by symbol as a fraction of the traded value; missing = 0.
        dividends: whether the account is paid dividends.
        filler: how much of an order fills; None = all.
        durable: wait for the disk at every commit.
        dry: the same, on a copy in memory: the file is neither made nor changed.
    """

    name = "local"

    def __init__(
        self,
        path: Path | str,
        quotes: Quotes,
        *,
        start: dt.datetime,
        cash: Decimal,
        currency: str = "USD",
        rates: Mapping[str, Decimal] | None = None,
        dividends: bool = True,
        filler: Filler | None = None,
        durable: bool = True,
        dry: bool = False,
    ):
        self._quotes = quotes
        self._rates = dict(rates or {})
        self._dividends = dividends
        self._filler = filler
        self._db = sqlite3.connect(":memory:" if dry else str(path), isolation_level=None, timeout=10.0)
        if dry and Path(path).is_file():
            with closing(sqlite3.connect(str(path))) as real:
                real.backup(self._db)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
        if not self._db.execute("PRAGMA user_version").fetchone()[0]:
            self._db.executescript(f"BEGIN IMMEDIATE;{SCHEMA}PRAGMA user_version=1;COMMIT;")
        if self._fact("now") is None:
            with transaction(self._db) as db:
                facts = {"now": start.isoformat(), "cash": str(cash), "currency": currency}
                db.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
        self._heard = self._db.execute("SELECT COALESCE(MAX(number), 0) FROM updates").fetchone()[0]
        self._connected = False

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

    def positions(self) -> list[VenuePosition]:
        """What is held, at the last prices."""
        rows = self._db.execute("SELECT * FROM positions ORDER BY symbol").fetchall()
        return [VenuePosition(row["symbol"], Decimal(row["quantity"]), self._last(row["symbol"])) for row in rows]

    def open_orders(self) -> list[VenueOrder]:
        """Orders that may still fill."""
        rows = self._db.execute("SELECT * FROM orders WHERE state = 'open' ORDER BY number")
        return [_order(row) for row in rows]

    def orders(self, since: dt.datetime) -> list[VenueOrder]:
        """Orders for the sessions since a moment."""
        rows = self._db.execute("SELECT * FROM orders WHERE session >= ? ORDER BY number", (since.date().isoformat(),))
        return [_order(row) for row in rows]

    def order_by_client_id(self, client_id: str) -> VenueOrder | None:
        """What became of an order."""
        row = self._db.execute("SELECT * FROM orders WHERE client_id = ?", (client_id,)).fetchone()
        return None if row is None else _order(row)

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

    def executions(self, since: dt.datetime) -> list[Execution]:
        """Fills since a moment."""
        rows = self._db.execute("SELECT * FROM executions WHERE at >= ? ORDER BY number", (since.isoformat(),))
        return [
            Execution(f"local-{r['number']}", r["client_id"], r["client_id"], r["symbol"], Side(r["side"]),
                      Decimal(r["quantity"]), Decimal(r["price"]), dt.datetime.fromisoformat(r["at"]),
                      Decimal(r["fee"]))
            for r in rows
        ]  # fmt: skip

    def activities(self, since: dt.date) -> list[Activity]:
        """Dividends and splits since a day."""
        rows = self._db.execute("SELECT * FROM activities WHERE day >= ? ORDER BY number", (since.isoformat(),))
        return [
            Activity(f"local-{r['number']}", ActivityKind(r["kind"]), dt.date.fromisoformat(r["day"]), r["symbol"],
                     Decimal(r["quantity"]), Decimal(r["cash"]),
                     ratio=None if r["ratio"] is None else Decimal(r["ratio"]), text=r["text"])
            for r in rows
        ]  # fmt: skip

    def assets(self, symbols: Iterable[str]) -> dict[str, Asset]:
        """Those of the symbols that have bars."""
        known = self._quotes.assets()
        return {name: known[name] for name in symbols if name in known}

    def updates(self, wait: float) -> list[Update]:
        """What happened since it was last asked; it never waits, as its time moves only by ``advance``."""
        rows = self._db.execute("SELECT * FROM updates WHERE number > ? ORDER BY number", (self._heard,)).fetchall()
        self._heard = rows[-1]["number"] if rows else self._heard
        return [Update(row["client_id"], row["event"]) for row in rows]

    # Its time

    @property
    def now(self) -> dt.datetime:
        """Where the venue's time stands."""
        return dt.datetime.fromisoformat(self._fact("now"))

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

    # Matching

    def _actions(self, db: sqlite3.Connection, day: dt.date, quotes: Mapping[str, Quote]) -> None:
        """Splits and dividends, before anything fills."""
        for position in self.positions():
            quote = quotes.get(position.symbol)
            if quote is None:
                continue
            if self._dividends and quote.dividend:
                cash = (position.quantity * quote.dividend).quantize(CENT)
                self._act(db, ActivityKind.DIVIDEND, day, position.symbol, ZERO, cash, None)
            if quote.split != 1:
                more = position.quantity * (quote.split - 1)
                self._act(db, ActivityKind.SPLIT, day, position.symbol, more, ZERO, quote.split)

    def _act(self, db, kind: ActivityKind, day: dt.date, symbol: str, quantity: Decimal, cash: Decimal, ratio) -> None:
        text = f"{kind} of {symbol}"
        db.execute(
            "INSERT INTO activities (kind, day, symbol, quantity, cash, ratio, text) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                kind.value,
                day.isoformat(),
                symbol,
                str(quantity),
                str(cash),
                None if ratio is None else str(ratio),
                text,
            ),
        )
        self._pay(db, cash)
        self._move(db, symbol, quantity)

    def _match(self, db: sqlite3.Connection, session: dt.date, at: dt.datetime) -> None:
        """Fill what is open at the session's opens, sales before buys, in the order of arrival."""
        quotes = self._quotes.day(session) or {}
        orders = [order for order in self.open_orders() if order.session == session and order.symbol in quotes]
        for order in sorted(orders, key=lambda order: order.side is Side.BUY):
            part = Decimal(1) if self._filler is None else self._filler(order, at)
            if part < 0:
                self._end(db, order.client_id, OrderState.CANCELLED, "cancelled by the venue")
                continue
            asset = self._quotes.assets()[order.symbol]
            step = asset.step if asset.fractionable else asset.lot
            amount = order.remaining if part == 1 else (order.remaining * part // step) * step
            if amount:
                self._fill(db, order, amount, quotes[order.symbol].open, at)

    def _fill(self, db, order: VenueOrder, amount: Decimal, price: Decimal, at: dt.datetime) -> None:
        value = (amount * price).quantize(CENT)
        fee = (value * self._rates.get(order.symbol, ZERO)).quantize(CENT)
        if order.side is Side.BUY and value + fee > Decimal(self._fact("cash")):
            self._end(db, order.client_id, OrderState.REJECTED, "insufficient buying power")
            return
        self._pay(db, -order.side.sign * value - fee)
        self._move(db, order.symbol, order.side.sign * amount)
        filled = order.filled + amount
        state = OrderState.FILLED if filled == order.quantity else OrderState.OPEN
        db.execute(
            "UPDATE orders SET filled = ?, paid = CAST(? AS TEXT), state = ? WHERE client_id = ?",
            (str(filled), str(self._paid(order.client_id) + amount * price), state.value, order.client_id),
        )
        db.execute(
            "INSERT INTO executions (client_id, symbol, side, quantity, price, at, fee) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (order.client_id, order.symbol, order.side.value, str(amount), str(price), at.isoformat(), str(fee)),
        )
        self._tell(db, order.client_id, "fill" if state is OrderState.FILLED else "partial_fill")

    def _end(self, db: sqlite3.Connection, client_id: str, state: OrderState, why: str) -> None:
        changed = db.execute(
            "UPDATE orders SET state = ?, reason = ? WHERE client_id = ? AND state = 'open'",
            (state.value, why, client_id),
        )
        if changed.rowcount:
            self._tell(db, client_id, state.value)

    # The file

    def _fact(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        return None if row is None else row["value"]

    def _set(self, db: sqlite3.Connection, key: str, value: str) -> None:
        db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))

    def _pay(self, db: sqlite3.Connection, amount: Decimal) -> None:
        self._set(db, "cash", str(Decimal(self._fact("cash")) + amount))

    def _move(self, db: sqlite3.Connection, symbol: str, change: Decimal) -> None:
        held = self._held(symbol) + change
        if held:
            db.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", (symbol, str(held)))
        else:
            db.execute("DELETE FROM positions WHERE symbol = ?", (symbol,))

    def _held(self, symbol: str) -> Decimal:
        row = self._db.execute("SELECT quantity FROM positions WHERE symbol = ?", (symbol,)).fetchone()
        return ZERO if row is None else Decimal(row["quantity"])

    def _free(self, symbol: str) -> Decimal:
        """Shares that no open sale has spoken for."""
        selling = (o.remaining for o in self.open_orders() if o.symbol == symbol and o.side is Side.SELL)
        return self._held(symbol) - sum(selling, ZERO)

    def _paid(self, client_id: str) -> Decimal:
        return Decimal(self._db.execute("SELECT paid FROM orders WHERE client_id = ?", (client_id,)).fetchone()[0])

    def _next(self, table: str) -> int:
        return self._db.execute(f"SELECT COALESCE(MAX(number), 0) + 1 FROM {table}").fetchone()[0]

    def _tell(self, db: sqlite3.Connection, client_id: str, event: str) -> None:
        db.execute("INSERT INTO updates (client_id, event) VALUES (?, ?)", (client_id, event))

    def _known(self, client_id: str) -> VenueOrder:
        order = self.order_by_client_id(client_id)
        assert order is not None
        return order

    def _last(self, symbol: str) -> Decimal | None:
        """The last price known: the close of the last session that is over, or the open of the running one."""
        now = self.now
        for session in reversed(self._quotes.sessions(now.date() - dt.timedelta(days=30), now.date())):
            if session.opens <= now and (quote := (self._quotes.day(session.day) or {}).get(symbol)) is not None:
                return quote.close if session.closes <= now else quote.open
        return None


def _order(row: sqlite3.Row) -> VenueOrder:
    filled = Decimal(row["filled"])
    average = Decimal(row["paid"]) / filled if filled else None
    return VenueOrder(
        row["client_id"], f"local-{row['number']}", row["symbol"], Side(row["side"]), Decimal(row["quantity"]), filled,
        OrderState(row["state"]), average, dt.date.fromisoformat(row["session"]), row["reason"],
    )  # fmt: skip
