"""What a paper account is and has, in plain values, from its journal alone; and the files that a person reads."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pandas as pd

from clusterfolio.engine.live.journal import Journal
from clusterfolio.engine.live.page import write_page
from clusterfolio.engine.live.paper_options import PaperOptions
from clusterfolio.engine.live.records import Intent, Plan
from clusterfolio.engine.live.venue import ZERO
from clusterfolio.feeds.writing import write_table


def status_of(journal: Journal, options: PaperOptions, since: dt.date | None = dt.date.max) -> dict[str, Any]:
    """Target, held, drift, open orders and the last decision, from the journal alone.

    Args:
        since: sessions after it that were skipped are named even where a later one has a line; None = all.
    """
    plan, found, days = journal.open_plan(), journal.last_decision(), journal.days()
    last = plan or next(iter(journal.plans()[-1:]), None)
    names, account = positions_of(journal)
    skipped = journal.events(10, "no rebalance")
    after = min(since or dt.date.min, days[-1][0] if days else dt.date.min)
    halt = journal.state("halt")
    killed = options.kill_file.exists()
    return {
        "halted": halt["why"] if halt else ("the kill file is there" if killed else ""),
        "last_decision": None if found is None else {"day": str(found[0]), "weights": found[1]["weights"]},
        "looked_at": str(journal.looked_at() or ""),
        "targets": {} if last is None else {name: str(amount) for name, amount in last.targets.items()},
        "held": {name: str(quantity) for name, quantity in sorted(journal.holdings().items())},
        "positions": names,
        "account": account,
        "plan": None if plan is None else plan_facts(plan),
        "orders": [intent_facts(intent) for intent in journal.alive()],
        "day": days[-1][1] if days else None,
        "skipped_sessions": [facts for *_, facts in skipped if facts["session"] > str(after)],
    }


def positions_of(journal: Journal) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """A row for each name held or decided on, and the account's money, at the prices and cash of the last line.

    Weights are of the account's value; ``drift`` is what the weight held lies above the one decided on, ``why`` why the
    name was not ordered. None = no line yet, or no price.
    """
    decision, holdings, plain = journal.last_decision(), journal.holdings(), journal.state("model")
    weights = {} if decision is None else decision[1]["weights"]
    skipped = {} if decision is None else {n: why for p in journal.plans(decision[0]) for n, why in p.skipped.items()}
    prices = {} if plain is None else {name: Decimal(text) for name, text in plain["closes"].items()}
    cash = None if plain is None else Decimal(plain["account_cash"])
    known = {name: quantity * prices[name] for name, quantity in holdings.items() if name in prices}
    value = None if cash is None else cash + sum(known.values(), ZERO)
    rows = []
    for name in sorted({*holdings, *(name for name, weight in weights.items() if weight)}):
        worth = known.get(name, None if name in holdings else ZERO)
        held = float(worth / value) if value and worth is not None else None
        target = weights.get(name, 0.0)
        rows.append({
            "symbol": name, "target": target, "held": held, "drift": None if held is None else held - target,
            "shares": str(holdings.get(name, ZERO)), "price": None if name not in prices else float(prices[name]),
            "value": None if worth is None else float(round(worth, 2)), "why": skipped.get(name, ""),
        })  # fmt: skip
    if plain is None:
        return rows, None
    return rows, {"day": plain["day"], "cash": float(round(cash, 2)), "value": float(round(value, 2))}


def plan_facts(plan: Plan) -> dict[str, Any]:
    """A plan as plain values."""
    return {
        "session": str(plan.session), "decided": str(plan.decided), "status": plan.status,
        "targets": {name: str(amount) for name, amount in plan.targets.items()},
        "skipped": dict(plan.skipped), "residue": dict(plan.residue), "cut": dict(plan.facts.get("cut", {})),
        "untradable": dict(plan.facts.get("untradable", {})),
    }  # fmt: skip


def intent_facts(intent: Intent) -> dict[str, Any]:
    """An order as plain values."""
    facts = {name: str(getattr(intent, name)) for name in ("client_id", "symbol", "side", "quantity", "price", "state",
                                                           "filled", "session", "reason", "why")}  # fmt: skip
    return facts | {"value": round(float(intent.quantity * intent.price), 2)}


#: Parts of a line that are no figure of their own.
APART = ("causes", "skipped", "so_far", "quantities")


def write_days(journal: Journal, options: PaperOptions) -> None:
    """days.csv and paper.html: a row per session of model against account, what sets them apart by cause."""
    days = journal.days()
    rows = [
        {**{k: v for k, v in line.items() if k not in APART}, **line["causes"],
         "not held": " ".join(line.get("skipped", {}))}
        for _, line in days
    ]  # fmt: skip
    if rows:
        write_table(options.folder / "days.csv", pd.DataFrame(rows).set_index("day"))
        halted = status_of(journal, options)["halted"]
        write_page(options.folder / "paper.html", f"Paper trading of {options.run_dir.name}", days, halted)


def read_status(options: PaperOptions) -> dict[str, Any]:
    """``status_of`` without loading anything.

    Raises:
        FileNotFoundError: there is no such account.
    """
    if not options.journal_file.is_file():
        raise FileNotFoundError(f"{options.folder}: no paper account here; `paper once` opens one")
    journal = Journal(options.journal_file, read_only=True)
    try:
        if journal.meta("account") is None:
            raise FileNotFoundError(f"{options.folder}: no paper account here yet: {options.venue} was never reached; "
                                    "`paper once` tries again")  # fmt: skip
        return status_of(journal, options)
    finally:
        journal.close()


def halt(options: PaperOptions) -> None:
    """Put the kill file there: a running process stops before its next order."""
    read_status(options)
    options.kill_file.write_text("no order is sent while this file is here\n", encoding="utf-8")


def resume(options: PaperOptions) -> str:
    """Take the kill file and the halt away; what it halted for is returned."""
    why = read_status(options)["halted"]
    options.kill_file.unlink(missing_ok=True)
    journal = Journal(options.journal_file)
    try:
        journal.set_state("halt", None)
    finally:
        journal.close()
    return why
