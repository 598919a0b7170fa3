"""The journal's tables, and its records as rows of them; numbers are decimal text, never floats."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from clusterfolio.engine.live.records import Intent, IntentState, Plan
from clusterfolio.engine.live.venue import Activity, ActivityKind, Side, Timing

#: The tables; ``engine.live.journal_file.VERSION`` counts their layouts.
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


def after_activity(plan: Plan, activity: Activity) -> Plan | None:
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


def rename(db: sqlite3.Connection, activity: Activity) -> None:
    """What is held goes on under the new name."""
    row = db.execute("SELECT * FROM holdings WHERE symbol = ?", (activity.symbol,)).fetchone()
    if row is not None:
        db.execute("DELETE FROM holdings WHERE symbol = ?", (activity.symbol,))
        move(db, activity.other, Decimal(row["quantity"]), dt.date.fromisoformat(row["entry"]))


def move(db: sqlite3.Connection, symbol: str, change: Decimal, day: dt.date) -> None:
    """Change the shares held; ``day`` is that of the entry where there were none."""
    row = db.execute("SELECT quantity FROM holdings WHERE symbol = ?", (symbol,)).fetchone()
    held = change if row is None else Decimal(row["quantity"]) + change
    if held == 0:
        db.execute("DELETE FROM holdings WHERE symbol = ?", (symbol,))
    elif row is None:
        db.execute("INSERT INTO holdings VALUES (?, ?, ?)", (symbol, str(held), day.isoformat()))
    else:
        db.execute("UPDATE holdings SET quantity = ? WHERE symbol = ?", (str(held), symbol))


def put_state(db: sqlite3.Connection, key: str, value: Any) -> None:
    """Store a plain value under a name; None removes it."""
    if value is None:
        db.execute("DELETE FROM state WHERE key = ?", (key,))
    else:
        db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, json.dumps(value)))


def put_activity(db: sqlite3.Connection, a: Activity) -> None:
    """Store an activity."""
    db.execute(
        "INSERT INTO activities VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (a.id, a.kind.value, a.day.isoformat(), a.symbol, str(a.quantity), str(a.cash), a.other,
         None if a.ratio is None else str(a.ratio), a.text),
    )  # fmt: skip


def put_plan(db: sqlite3.Connection, plan: Plan) -> None:
    """Store a plan, in place of what is there under its key."""
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


def plan_of(row: sqlite3.Row) -> Plan:
    """The plan of a row."""
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


def put_intents(db: sqlite3.Connection, intents: Iterable[Intent]) -> None:
    """Store orders, to be sent after those that are there."""
    first = db.execute("SELECT COALESCE(MAX(ordinal), 0) FROM intents").fetchone()[0] + 1
    db.executemany(
        "INSERT INTO intents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (i.client_id, i.plan, first + n, i.symbol, i.side.value, str(i.quantity), i.leg, i.timing.value,
             i.session.isoformat(), str(i.price), i.reason, i.state.value, str(i.filled), None, i.venue_id, i.why)
            for n, i in enumerate(intents)
        ],
    )  # fmt: skip


def intent_of(row: sqlite3.Row) -> Intent:
    """The order of a row."""
    return Intent(
        row["client_id"], row["plan"], row["symbol"], Side(row["side"]), Decimal(row["quantity"]), row["leg"],
        Timing(row["timing"]), dt.date.fromisoformat(row["session"]), Decimal(row["price"]), row["reason"],
        IntentState(row["state"]), Decimal(row["filled"]),
        None if row["average"] is None else Decimal(row["average"]), row["venue_id"], row["why"],
    )  # fmt: skip
