"""The local venue's books: cash, positions, orders and fills in a file of its own, and how orders fill at an open."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from clusterfolio.engine.live.database import transaction
from clusterfolio.engine.live.quotes import Quote, Quotes
from clusterfolio.engine.live.venue import (
    ZERO,
    Activity,
    ActivityKind,
    Execution,
    OrderState,
    Side,
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

#: ``(order, moment) -> part of what remains that fills now``; a negative number cancels the rest.
Filler = Callable[[VenueOrder, dt.datetime], Decimal]


#: ``(symbol, value, session) -> money`` that a trade of so much money costs.
Fee = Callable[[str, Decimal, dt.date], Decimal]


class LocalBook:
    """What the account has and what was ordered, and matching at a session's opens; its time is moved by the venue.

    Args:
        path: its file; made if it is not there.
        quotes: the bars it is fed.
        start: where its time begins if the file is new: the close of a session.
        cash: what the account begins with.
        fee: what a trade costs, by symbol, value and session; None = nothing.
        dividends, interest: whether the account is paid them.
        filler: how much of an order fills; None = all.
        durable: wait for the disk at every commit.
        dry: the same, on a copy in memory: the file is neither made nor changed.
    """

    def __init__(
        self,
        path: Path | str,
        quotes: Quotes,
        *,
        start: dt.datetime,
        cash: Decimal,
        currency: str = "USD",
        fee: Fee | None = None,
        dividends: bool = True,
        interest: bool = True,
        filler: Filler | None = None,
        durable: bool = True,
        dry: bool = False,
    ):
        self._quotes = quotes
        self._fee = fee or (lambda symbol, value, session: ZERO)
        self._dividends, self._interest = dividends, interest
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

    # What there is

    @property
    def now(self) -> dt.datetime:
        """Where the venue's time stands."""
        return dt.datetime.fromisoformat(self._fact("now"))

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

    # Matching

    def _actions(self, db: sqlite3.Connection, day: dt.date, quotes: Mapping[str, Quote]) -> None:
        """Interest, splits and dividends, before anything fills."""
        earned = Decimal(self._fact("cash")) * self._quotes.interest(day) if self._interest else ZERO
        if earned := earned.quantize(CENT):
            self._act(db, ActivityKind.INTEREST, day, "", ZERO, earned, None)
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
        text = f"{kind} of {symbol or 'cash'}"
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
        if symbol:
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
        fee = self._fee(order.symbol, value, order.session).quantize(CENT)
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
