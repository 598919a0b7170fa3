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
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from clusterfolio.engine.live.journal_file import JournalError, JournalFile
from clusterfolio.engine.live.records import Intent, IntentState, Plan
from clusterfolio.engine.live.rows import (
    after_activity,
    intent_of,
    move,
    plan_of,
    put_activity,
    put_intents,
    put_plan,
    put_state,
    rename,
)
from clusterfolio.engine.live.venue import (
    ZERO,
    Activity,
    ActivityKind,
    Execution,
    Side,
    VenueOrder,
)


class Journal(JournalFile):
    """The journal of one strategy on one account; it is opened as ``JournalFile`` says."""

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
            put_activity(db, Activity(f"adopted-{day}-{symbol}-{n_before}", ActivityKind.OTHER, day, symbol, quantity,
                                       text="adopted"))  # fmt: skip
            move(db, symbol, quantity, day)

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
                put_plan(db, plan)
                put_intents(db, intents)
            put_state(db, "looked_at", day.isoformat())

    def last_decision(self) -> tuple[dt.date, dict] | None:
        """Day and facts of the last decision."""
        row = self._db.execute("SELECT * FROM decisions ORDER BY day DESC LIMIT 1").fetchone()
        return None if row is None else (dt.date.fromisoformat(row["day"]), json.loads(row["value"]))

    def decisions(self, since: dt.date) -> list[tuple[dt.date, dict]]:
        """Day and facts of the decisions from a day on, in order."""
        rows = self._db.execute("SELECT * FROM decisions WHERE day >= ? ORDER BY day", (since.isoformat(),))
        return [(dt.date.fromisoformat(row["day"]), json.loads(row["value"])) for row in rows]

    def looked_at(self) -> dt.date | None:
        """The last session whose close was looked at, whether or not something was decided."""
        day = self.state("looked_at")
        return None if day is None else dt.date.fromisoformat(day)

    def open_plan(self) -> Plan | None:
        """The plan that is not finished; there is one at most."""
        rows = self._db.execute("SELECT * FROM plans WHERE status = 'open'").fetchall()
        if len(rows) > 1:
            raise JournalError(f"{len(rows)} plans are open at once: {', '.join(row['key'] for row in rows)}")
        return plan_of(rows[0]) if rows else None

    def plans(self, since: dt.date | None = None) -> list[Plan]:
        """The plans for sessions after a day, in order."""
        rows = self._db.execute(
            "SELECT * FROM plans WHERE session > ? ORDER BY session, key", ((since or dt.date.min).isoformat(),)
        )
        return [plan_of(row) for row in rows]

    def open_anew(self, plan: Plan, intents: Iterable[Intent]) -> None:
        """Note a plan that no decision asked for (flatten)."""
        with self._write(f"plan {plan.key}") as db:
            put_plan(db, plan)
            put_intents(db, intents)

    def finish(self, plan: Plan, status: str, residue: Mapping[str, str]) -> None:
        """End a plan: every order of it that was never sent is dropped with it."""
        with self._write(f"finish {plan.key}") as db:
            db.execute(
                "UPDATE intents SET state = 'dropped', why = CASE why WHEN '' THEN ? ELSE why END "
                "WHERE plan = ? AND state = 'planned'",
                ("its session is over", plan.key),
            )
            put_plan(db, replace(plan, status=status, residue=residue))

    # Orders

    def add(self, intents: Iterable[Intent]) -> None:
        """Note further orders of an open plan."""
        with self._write("intents") as db:
            put_intents(db, intents)

    def intents(self, plan: str | None = None, since: dt.date | None = None) -> list[Intent]:
        """The orders of a plan, or of sessions after a day, in the order in which they are to be sent."""
        if plan is not None:
            rows = self._db.execute("SELECT * FROM intents WHERE plan = ? ORDER BY ordinal", (plan,))
        else:
            first = (since or dt.date.min).isoformat()
            rows = self._db.execute("SELECT * FROM intents WHERE session > ? ORDER BY session, ordinal", (first,))
        return [intent_of(row) for row in rows]

    def alive(self) -> list[Intent]:
        """The orders to which something may still happen."""
        rows = self._db.execute("SELECT * FROM intents WHERE state IN ('planned', 'sending', 'sent') ORDER BY ordinal")
        return [intent_of(row) for row in rows]

    def intent(self, client_id: str) -> Intent | None:
        """One order; None = the journal does not know it."""
        row = self._db.execute("SELECT * FROM intents WHERE client_id = ?", (client_id,)).fetchone()
        return None if row is None else intent_of(row)

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
                move(db, order.symbol, more * order.side.sign, day)
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
            put_activity(db, activity)
            if activity.quantity:
                move(db, activity.symbol, activity.quantity, activity.day)
            if activity.kind is ActivityKind.RENAME and activity.other:
                rename(db, activity)
            if plan is not None and (changed := after_activity(plan, activity)) is not None:
                put_plan(db, changed)
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
            db.execute("INSERT INTO days VALUES (?, ?)", (day.isoformat(), json.dumps(line)))
            put_state(db, "model", dict(model))

    def accounted_for(self, day: dt.date) -> bool:
        """Whether a day has its line."""
        return self._db.execute("SELECT 1 FROM days WHERE day = ?", (day.isoformat(),)).fetchone() is not None

    def days(self) -> list[tuple[dt.date, dict]]:
        """The daily lines, in order."""
        rows = self._db.execute("SELECT * FROM days ORDER BY day")
        return [(dt.date.fromisoformat(row["day"]), json.loads(row["value"])) for row in rows]
