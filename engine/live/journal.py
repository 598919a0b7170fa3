"""The journal: what was decided, what is to be sent, what became of it; committed before a socket is touched.

One SQLite file in WAL mode with ``synchronous=FULL``: a committed row survives kill -9 and loss of power. Every step of
an order is a row's state, and each state says what a process that finds it has to do:

- ``planned``: not at the venue for certain; may be sent.
- ``sending``: committed just before the socket; may be there. Ask for it by its client id first.
- ``sent``: at the venue; its cumulative fill is booked as it grows.
- ``done``, ``refused``, ``dropped``: nothing more will fill; in full or in part, refused by the venue, never sent.

Numbers are stored as decimal text, never as floats.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from clusterfolio import ClusterfolioError
from clusterfolio.engine.live.database import transaction
from clusterfolio.engine.live.venue import (
    ZERO,
    Activity,
    ActivityKind,
    Execution,
    OrderRequest,
    Side,
    Timing,
    VenueOrder,
)

#: Of the file's layout; another version is refused rather than read wrongly.
VERSION = 1

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE holdings (symbol TEXT PRIMARY KEY, quantity TEXT NOT NULL, entry TEXT NOT NULL);
CREATE TABLE decisions (day TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE plans (key TEXT PRIMARY KEY, session TEXT NOT NULL, decided TEXT NOT NULL, status TEXT NOT NULL,
    value TEXT NOT NULL);
CREATE TABLE intents (client_id TEXT PRIMARY KEY, plan TEXT NOT NULL, ordinal INTEGER NOT NULL, symbol TEXT NOT NULL,
    side TEXT NOT NULL, quantity TEXT NOT NULL, leg TEXT NOT NULL, timing TEXT NOT NULL, session TEXT NOT NULL,
    price TEXT NOT NULL, reason TEXT NOT NULL, state TEXT NOT NULL, filled TEXT NOT NULL, average TEXT,
    venue_id TEXT NOT NULL, why TEXT NOT NULL);
CREATE INDEX intents_of_plan ON intents (plan);
CREATE INDEX intents_in_state ON intents (state);
CREATE INDEX intents_by_session ON intents (session);
CREATE INDEX plans_by_session ON plans (session);
CREATE INDEX plans_in_status ON plans (status);
CREATE TABLE executions (id TEXT PRIMARY KEY, client_id TEXT NOT NULL, venue_id TEXT NOT NULL, symbol TEXT NOT NULL,
    side TEXT NOT NULL, quantity TEXT NOT NULL, price TEXT NOT NULL, at TEXT NOT NULL, fee TEXT NOT NULL);
CREATE INDEX executions_at ON executions (at);
CREATE TABLE activities (id TEXT PRIMARY KEY, kind TEXT NOT NULL, day TEXT NOT NULL, symbol TEXT NOT NULL,
    quantity TEXT NOT NULL, cash TEXT NOT NULL, other TEXT NOT NULL, ratio TEXT, text TEXT NOT NULL);
CREATE TABLE days (day TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE events (at TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL);
"""


class JournalError(ClusterfolioError):
    """The journal cannot be used, or what is to be written contradicts what it holds."""


class IntentState(StrEnum):
    """Where an order stands; see the module's docstring."""

    PLANNED = "planned"
    SENDING = "sending"
    SENT = "sent"
    DONE = "done"
    REFUSED = "refused"
    DROPPED = "dropped"


#: States in which something may still happen.
ALIVE = (IntentState.PLANNED, IntentState.SENDING, IntentState.SENT)


@dataclass(frozen=True)
class Intent:
    """An order that is to be at the venue once.

    Attributes:
        plan: key of the plan it belongs to.
        leg: "s1", "b1", then "s2", "b2" for what the first left missing.
        price: what it was sized by, in the account's currency.
        filled: of ``quantity``, cumulative; ``average``: price of what filled.
        why: what came of it, where that needs saying.
    """

    client_id: str
    plan: str
    symbol: str
    side: Side
    quantity: Decimal
    leg: str
    timing: Timing
    session: dt.date
    price: Decimal
    reason: str
    state: IntentState = IntentState.PLANNED
    filled: Decimal = ZERO
    average: Decimal | None = None
    venue_id: str = ""
    why: str = ""

    @property
    def request(self) -> OrderRequest:
        """As the venue takes it."""
        return OrderRequest(self.client_id, self.symbol, self.side, self.quantity, self.timing, self.session)

    @property
    def remaining(self) -> Decimal:
        """What has not filled."""
        return self.quantity - self.filled


@dataclass(frozen=True)
class Plan:
    """What is to be reached on a session.

    Attributes:
        key: of the journal's row: the session's date, "flatten" before it where everything is sold.
        decided: the session on whose close it was made.
        status: "open", "done" or "dropped".
        targets: shares to hold by symbol, of the names that the plan changes.
        skipped: names that are not traded, and why; what is held of them stays, their other weight is cash.
        residue: once done: names short of their target, and why.
        facts: figures for people: value, cash, closes it was sized by, notes.
    """

    key: str
    session: dt.date
    decided: dt.date
    status: str = "open"
    targets: Mapping[str, Decimal] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    residue: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def client_id(account: str, strategy: str, decided: dt.date, symbol: str, leg: str) -> str:
    """An order's name, the same in every process that would send it; at most 45 characters.

    >>> client_id("PA1", "first", dt.date(2025, 1, 31), "BRK.B", "b1")
    'cf80efd3-20250131-BRKB-b1-2539dc3f7e'
    """
    whole = "|".join((account, strategy, decided.isoformat(), symbol, leg))
    digest = hashlib.sha256(whole.encode()).hexdigest()[:10]
    plain = re.sub(r"[^A-Za-z0-9]", "", symbol)[:12]
    return f"{tag(account, strategy)}-{decided:%Y%m%d}-{plain}-{leg}-{digest}"


def tag(account: str, strategy: str) -> str:
    """What all orders of one strategy on one account begin with."""
    return "cf" + hashlib.sha256(f"{account}|{strategy}".encode()).hexdigest()[:6]


class Journal:
    """The journal of one strategy on one account.

    Args:
        path: the file; made if it is not there.
        durable: wait for the disk at every commit; False only where a test plays all crashes in one process.
        read_only: for who only looks; the file must be there.

    Raises:
        JournalError: the file is of another version, or is no journal.
    """

    def __init__(self, path: Path | str, *, durable: bool = True, read_only: bool = False):
        path = str(path)
        if read_only:
            self._db = sqlite3.connect(f"file:{Path(path).as_posix()}?mode=ro", uri=True, isolation_level=None)
        else:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        self._db.row_factory = sqlite3.Row
        try:
            if not read_only:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
            self._make(path, read_only)
        except sqlite3.DatabaseError as error:
            raise JournalError(f"{path}: not a journal of paper trading: {error}") from error

    def _make(self, path: str, read_only: bool) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not read_only:
            # One transaction: killed half-way there is no layout, and the next start makes it.
            self._db.executescript(f"BEGIN IMMEDIATE;{SCHEMA}PRAGMA user_version={VERSION};COMMIT;")
        elif version != VERSION:
            raise JournalError(f"{path}: a journal of layout {version}, this program reads {VERSION}")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def copied(self) -> Journal:
        """The same journal in memory, for a dry run: what is written to it is forgotten."""
        twin = Journal.__new__(type(self))
        twin._db = sqlite3.connect(":memory:", isolation_level=None)
        self._db.backup(twin._db)
        twin._db.row_factory = sqlite3.Row
        return twin

    @contextmanager
    def _write(self, what: str) -> Iterator[sqlite3.Connection]:
        """One transaction; ``what`` is for who looks on."""
        with transaction(self._db) as db:
            yield db

    # Whose journal it is

    def identify(self, **facts: str) -> None:
        """Note whose journal this is, or refuse another's.

        Raises:
            JournalError: the journal belongs to another account, strategy or venue.
        """
        known = {row["key"]: row["value"] for row in self._db.execute("SELECT key, value FROM meta")}
        for key, value in facts.items():
            if known.get(key, value) != value:
                raise JournalError(
                    f"the journal belongs to {key} {known[key]!r}, this is {value!r}; give each its own folder (--home)"
                )
        new = {key: value for key, value in facts.items() if key not in known}
        if new:
            with self._write("identity") as db:
                db.executemany("INSERT INTO meta VALUES (?, ?)", new.items())

    def meta(self, key: str) -> str | None:
        """A fact of ``identify``."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else row["value"]

    # State: halt, risk rules, anything small that must survive

    def state(self, key: str, default: Any = None) -> Any:
        """A plain value kept under a name (``halt``, ``risk``, ``model``)."""
        row = self._db.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return default if row is None else json.loads(row["value"])

    def set_state(self, key: str, value: Any) -> None:
        """Keep a plain value under a name; None removes it."""
        with self._write(f"state {key}") as db:
            _put_state(db, key, value)

    def event(self, at: dt.datetime, kind: str, **facts: Any) -> None:
        """Note that something happened, for people; nothing is read back from here to decide."""
        with self._write(f"event {kind}") as db:
            db.execute("INSERT INTO events VALUES (?, ?, ?)", (at.isoformat(), kind, json.dumps(facts, default=str)))

    def events(self, last: int = 20, kind: str | None = None) -> list[tuple[str, str, dict]]:
        """The last events, oldest first: moment, kind, facts; of one kind only where it is named."""
        rows = self._db.execute(
            "SELECT at, kind, value FROM events WHERE kind = COALESCE(?, kind) ORDER BY rowid DESC LIMIT ?",
            (kind, last),
        ).fetchall()
        return [(row["at"], row["kind"], json.loads(row["value"])) for row in reversed(rows)]

    # Holdings

    def holdings(self) -> dict[str, Decimal]:
        """Shares held by symbol: bought by orders of the journal, changed by activities, or adopted."""
        return {row["symbol"]: Decimal(row["quantity"]) for row in self._db.execute("SELECT * FROM holdings")}

    def entries(self) -> dict[str, dt.date]:
        """The day each held name was bought."""
        return {
            row["symbol"]: dt.date.fromisoformat(row["entry"]) for row in self._db.execute("SELECT * FROM holdings")
        }

    def adopt(self, symbol: str, quantity: Decimal, day: dt.date) -> None:
        """Count what the account holds beside the journal as ours, because a person said so."""
        with self._write(f"adopt {symbol}") as db:
            n_before = db.execute("SELECT COUNT(*) FROM activities").fetchone()[0]
            _put_activity(db, Activity(f"adopted-{day}-{symbol}-{n_before}", ActivityKind.OTHER, day, symbol, quantity,
                                       text="adopted"))  # fmt: skip
            _move(db, symbol, quantity, day)

    # Decisions and plans

    def decide(self, day: dt.date, decision: dict, plan: Plan | None, intents: Iterable[Intent]) -> None:
        """Note what was decided on a close and the orders that follow from it, together or not at all.

        Args:
            decision: plain values; empty = the day was looked at, and nothing was decided anew.
            plan: None where nothing is to be traded.
        """
        with self._write(f"decision {day}") as db:
            if decision:
                db.execute("INSERT INTO decisions VALUES (?, ?)", (day.isoformat(), json.dumps(decision)))
            if plan is not None:
                _put_plan(db, plan)
                _put_intents(db, intents)
            _put_state(db, "looked_at", day.isoformat())

    def last_decision(self) -> tuple[dt.date, dict] | None:
        """Day and facts of the last decision."""
        row = self._db.execute("SELECT * FROM decisions ORDER BY day DESC LIMIT 1").fetchone()
        return None if row is None else (dt.date.fromisoformat(row["day"]), json.loads(row["value"]))

    def looked_at(self) -> dt.date | None:
        """The last session whose close was looked at, whether or not something was decided."""
        day = self.state("looked_at")
        return None if day is None else dt.date.fromisoformat(day)

    def open_plan(self) -> Plan | None:
        """The plan that is not finished; there is one at most."""
        rows = self._db.execute("SELECT * FROM plans WHERE status = 'open'").fetchall()
        if len(rows) > 1:
            raise JournalError(f"{len(rows)} plans are open at once: {', '.join(row['key'] for row in rows)}")
        return _plan(rows[0]) if rows else None

    def plans(self, since: dt.date | None = None) -> list[Plan]:
        """The plans for sessions after a day, in order."""
        rows = self._db.execute(
            "SELECT * FROM plans WHERE session > ? ORDER BY session, key", ((since or dt.date.min).isoformat(),)
        )
        return [_plan(row) for row in rows]

    def open_anew(self, plan: Plan, intents: Iterable[Intent]) -> None:
        """Note a plan that no decision asked for (flatten)."""
        with self._write(f"plan {plan.key}") as db:
            _put_plan(db, plan)
            _put_intents(db, intents)

    def retarget(self, plan: Plan) -> None:
        """Store a plan's targets, skipped names and figures anew."""
        with self._write(f"targets {plan.key}") as db:
            _put_plan(db, plan)

    def finish(self, plan: Plan, status: str, residue: Mapping[str, str]) -> None:
        """End a plan: every order of it that was never sent is dropped with it."""
        with self._write(f"finish {plan.key}") as db:
            db.execute(
                "UPDATE intents SET state = 'dropped', why = CASE why WHEN '' THEN ? ELSE why END "
                "WHERE plan = ? AND state = 'planned'",
                ("its session is over", plan.key),
            )
            _put_plan(db, replace(plan, status=status, residue=residue))

    # Orders

    def add(self, intents: Iterable[Intent]) -> None:
        """Note further orders of an open plan."""
        with self._write("intents") as db:
            _put_intents(db, intents)

    def intents(self, plan: str | None = None, since: dt.date | None = None) -> list[Intent]:
        """The orders of a plan, or of sessions after a day, in the order in which they are to be sent."""
        if plan is not None:
            rows = self._db.execute("SELECT * FROM intents WHERE plan = ? ORDER BY ordinal", (plan,))
        else:
            first = (since or dt.date.min).isoformat()
            rows = self._db.execute("SELECT * FROM intents WHERE session > ? ORDER BY session, ordinal", (first,))
        return [_intent(row) for row in rows]

    def alive(self) -> list[Intent]:
        """The orders to which something may still happen."""
        rows = self._db.execute("SELECT * FROM intents WHERE state IN ('planned', 'sending', 'sent') ORDER BY ordinal")
        return [_intent(row) for row in rows]

    def intent(self, client_id: str) -> Intent | None:
        """One order; None = the journal does not know it."""
        row = self._db.execute("SELECT * FROM intents WHERE client_id = ?", (client_id,)).fetchone()
        return None if row is None else _intent(row)

    def mark(self, client_id: str, state: IntentState, why: str = "") -> None:
        """Move an order to another state."""
        with self._write(f"{state} {client_id}") as db:
            db.execute("UPDATE intents SET state = ?, why = ? WHERE client_id = ?", (state.value, why, client_id))

    def book(self, order: VenueOrder, day: dt.date) -> Decimal:
        """Take what the venue says of one of our orders: state, and what filled since we last heard.

        Returns:
            What filled since, unsigned.

        Raises:
            JournalError: it contradicts what is booked: another symbol, side or quantity, or less filled than before.
        """
        known = self.intent(order.client_id)
        if known is None:
            raise JournalError(f"order {order.client_id}: not in the journal")
        if (order.symbol, order.side, order.quantity) != (known.symbol, known.side, known.quantity):
            raise JournalError(
                f"order {order.client_id}: the venue has {order.side} {order.quantity} {order.symbol}, the journal "
                f"{known.side} {known.quantity} {known.symbol}"
            )
        more = order.filled - known.filled
        if more < 0 or order.filled > order.quantity:
            raise JournalError(
                f"order {order.client_id}: the venue says {order.filled} of {order.quantity} filled, "
                f"{known.filled} are booked"
            )
        state = IntentState.DONE if order.state.done else IntentState.SENT
        if known.state is IntentState.DONE and state is IntentState.SENT:
            raise JournalError(f"order {order.client_id}: it was done, and the venue says that it is open again")
        if more == 0 and known.state is state and known.venue_id == order.venue_id:
            return ZERO
        why = order.reason or known.why
        if order.state.done and order.filled < order.quantity and not why:
            why = order.state.value
        with self._write(f"book {order.client_id}") as db:
            average = order.average_price if order.average_price is not None else known.average
            db.execute(
                "UPDATE intents SET state = ?, filled = ?, average = ?, venue_id = ?, why = ? WHERE client_id = ?",
                (state.value, str(order.filled), None if average is None else str(average), order.venue_id, why,
                 order.client_id),
            )  # fmt: skip
            if more:
                _move(db, order.symbol, more * order.side.sign, day)
        return more

    def execute(self, executions: Iterable[Execution]) -> int:
        """Keep fills in detail, each once; positions come from the orders' cumulative fills, not from here."""
        rows = [
            (e.id, e.client_id, e.venue_id, e.symbol, e.side.value, str(e.quantity), str(e.price), e.at.isoformat(),
             str(e.fee))
            for e in executions
        ]  # fmt: skip
        with self._write("executions") as db:
            before = db.total_changes
            db.executemany("INSERT OR IGNORE INTO executions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            return db.total_changes - before

    def executions(self, since: dt.date | None = None) -> list[Execution]:
        """The fills that are known in detail, from a day on, in order."""
        return [
            Execution(
                r["id"], r["client_id"], r["venue_id"], r["symbol"], Side(r["side"]), Decimal(r["quantity"]),
                Decimal(r["price"]), dt.datetime.fromisoformat(r["at"]), Decimal(r["fee"]),
            )
            for r in self._db.execute(
                "SELECT * FROM executions WHERE at >= ? ORDER BY at, id", ((since or dt.date.min).isoformat(),)
            )
        ]  # fmt: skip

    def last_execution(self) -> dt.datetime | None:
        """When the last fill that is known in detail happened."""
        at = self._db.execute("SELECT MAX(at) FROM executions").fetchone()[0]
        return None if at is None else dt.datetime.fromisoformat(at)

    def fees(self, since: dt.date) -> dict[str, Decimal]:
        """What fills from a day on cost, by client id."""
        found: dict[str, Decimal] = {}
        for execution in self.executions(since):
            found[execution.client_id] = found.get(execution.client_id, ZERO) + execution.fee
        return found

    # What changed the account without an order

    def apply(self, activity: Activity) -> bool:
        """Take an activity, once: what it does to the holdings, and to the targets of the open plan.

        An order that is not sent yet was sized in the shares of before a split: it is dropped with it, and what is
        missing of the new target is sent instead.

        Returns:
            Whether it was new.
        """
        if self._db.execute("SELECT 1 FROM activities WHERE id = ?", (activity.id,)).fetchone():
            return False
        plan, held = self.open_plan(), self.holdings().get(activity.symbol, ZERO)
        if activity.kind is ActivityKind.SPLIT and activity.ratio is None and held > 0 and held + activity.quantity > 0:
            activity = replace(activity, ratio=(held + activity.quantity) / held)  # not stated, but told by the shares
        with self._write(f"activity {activity.id}") as db:
            _put_activity(db, activity)
            if activity.quantity:
                _move(db, activity.symbol, activity.quantity, activity.day)
            if activity.kind is ActivityKind.RENAME and activity.other:
                _rename(db, activity)
            if plan is not None and (changed := _after(plan, activity)) is not None:
                _put_plan(db, changed)
                db.execute(
                    "UPDATE intents SET state = 'dropped', why = ? WHERE symbol = ? AND state = 'planned'",
                    (f"{activity.kind.value}: sized anew", activity.symbol),
                )
        return True

    def n_activities(self) -> int:
        """How many there are."""
        return self._db.execute("SELECT COALESCE(MAX(rowid), 0) FROM activities").fetchone()[0]

    def activities(self, since: dt.date | None = None, after: int = 0) -> list[Activity]:
        """What changed the account without an order: dated from a day on, heard of after the first ``after``."""
        first = (since or dt.date.min).isoformat()
        return [
            Activity(r["id"], ActivityKind(r["kind"]), dt.date.fromisoformat(r["day"]), r["symbol"],
                     Decimal(r["quantity"]), Decimal(r["cash"]), r["other"],
                     None if r["ratio"] is None else Decimal(r["ratio"]), r["text"])
            for r in self._db.execute(
                "SELECT * FROM activities WHERE day >= ? AND rowid > ? ORDER BY day, rowid", (first, after)
            )
        ]  # fmt: skip

    # The daily line

    def add_day(self, day: dt.date, line: Mapping[str, Any], model: Mapping[str, Any]) -> None:
        """Store a day's line, and where the model's account stands after it, together."""
        with self._write(f"day {day}") as db:
            db.execute("INSERT OR REPLACE INTO days VALUES (?, ?)", (day.isoformat(), json.dumps(line)))
            _put_state(db, "model", dict(model))

    def days(self) -> list[tuple[dt.date, dict]]:
        """The daily lines, in order."""
        rows = self._db.execute("SELECT * FROM days ORDER BY day")
        return [(dt.date.fromisoformat(row["day"]), json.loads(row["value"])) for row in rows]


def _after(plan: Plan, activity: Activity) -> Plan | None:
    """The open plan after an activity: its targets are in shares, so a split multiplies them; None = unchanged."""
    target = plan.targets.get(activity.symbol)
    if target is None:
        return None
    if activity.kind is ActivityKind.SPLIT and activity.ratio:
        split = dict(plan.facts.get("splits", {}))
        split[activity.symbol] = str(Decimal(split.get(activity.symbol, "1")) * activity.ratio)
        targets = {**plan.targets, activity.symbol: target * activity.ratio}
        return replace(plan, targets=targets, facts={**plan.facts, "splits": split})
    if activity.kind is ActivityKind.RENAME and activity.other:
        targets = {name: amount for name, amount in plan.targets.items() if name != activity.symbol}
        return replace(plan, targets={**targets, activity.other: target})
    return None


def _rename(db: sqlite3.Connection, activity: Activity) -> None:
    row = db.execute("SELECT * FROM holdings WHERE symbol = ?", (activity.symbol,)).fetchone()
    if row is not None:
        db.execute("DELETE FROM holdings WHERE symbol = ?", (activity.symbol,))
        _move(db, activity.other, Decimal(row["quantity"]), dt.date.fromisoformat(row["entry"]))


def _move(db: sqlite3.Connection, symbol: str, change: Decimal, day: dt.date) -> None:
    row = db.execute("SELECT quantity FROM holdings WHERE symbol = ?", (symbol,)).fetchone()
    held = change if row is None else Decimal(row["quantity"]) + change
    if held == 0:
        db.execute("DELETE FROM holdings WHERE symbol = ?", (symbol,))
    elif row is None:
        db.execute("INSERT INTO holdings VALUES (?, ?, ?)", (symbol, str(held), day.isoformat()))
    else:
        db.execute("UPDATE holdings SET quantity = ? WHERE symbol = ?", (str(held), symbol))


def _put_state(db: sqlite3.Connection, key: str, value: Any) -> None:
    if value is None:
        db.execute("DELETE FROM state WHERE key = ?", (key,))
    else:
        db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, json.dumps(value)))


def _put_activity(db: sqlite3.Connection, a: Activity) -> None:
    db.execute(
        "INSERT INTO activities VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (a.id, a.kind.value, a.day.isoformat(), a.symbol, str(a.quantity), str(a.cash), a.other,
         None if a.ratio is None else str(a.ratio), a.text),
    )  # fmt: skip


def _put_plan(db: sqlite3.Connection, plan: Plan) -> None:
    value = {
        "targets": {name: str(amount) for name, amount in plan.targets.items()},
        "skipped": dict(plan.skipped),
        "residue": dict(plan.residue),
        "facts": dict(plan.facts),
    }
    db.execute(
        "INSERT OR REPLACE INTO plans VALUES (?, ?, ?, ?, ?)",
        (plan.key, plan.session.isoformat(), plan.decided.isoformat(), plan.status, json.dumps(value)),
    )


def _plan(row: sqlite3.Row) -> Plan:
    value = json.loads(row["value"])
    targets = {name: Decimal(amount) for name, amount in value["targets"].items()}
    return Plan(
        row["key"],
        dt.date.fromisoformat(row["session"]),
        dt.date.fromisoformat(row["decided"]),
        row["status"],
        targets,
        value["skipped"],
        value["residue"],
        value["facts"],
    )


def _put_intents(db: sqlite3.Connection, intents: Iterable[Intent]) -> None:
    first = db.execute("SELECT COALESCE(MAX(ordinal), 0) FROM intents").fetchone()[0] + 1
    db.executemany(
        "INSERT INTO intents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (i.client_id, i.plan, first + n, i.symbol, i.side.value, str(i.quantity), i.leg, i.timing.value,
             i.session.isoformat(), str(i.price), i.reason, i.state.value, str(i.filled), None, i.venue_id, i.why)
            for n, i in enumerate(intents)
        ],
    )  # fmt: skip


def _intent(row: sqlite3.Row) -> Intent:
    return Intent(
        row["client_id"], row["plan"], row["symbol"], Side(row["side"]), Decimal(row["quantity"]), row["leg"],
        Timing(row["timing"]), dt.date.fromisoformat(row["session"]), Decimal(row["price"]), row["reason"],
        IntentState(row["state"]), Decimal(row["filled"]),
        None if row["average"] is None else Decimal(row["average"]), row["venue_id"], row["why"],
    )  # fmt: skip
