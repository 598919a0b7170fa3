"""What `paper` says: plans, orders, positions and days, in words and tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from clusterfolio.engine.cli.console import console, figure


def show_sold(found: dict[str, Any]) -> None:
    """What ``flatten`` sold, what it could not, and when the run buys again."""
    for row in found["sold"]:
        click.echo(f"{'sold' if row['state'] == 'done' else row['state']}: {row['filled']} of {row['quantity']} "
                   f"{row['symbol']}")  # fmt: skip
    for name, why in found["not_sold"].items():
        click.echo(f"not sold: {name}: {why}")
    if not found["sold"]:
        click.echo("nothing was sold")
    if found["orders"] and any(row["side"] == "buy" for row in found["orders"]):
        click.echo("the last close was one to decide on: the orders above buy again; `paper halt` stops them")
    elif found["next_decision"]:
        click.echo(f"the next decision, on the close of {found['next_decision']}, buys again; `paper halt` prevents it")


def as_it_goes() -> Callable[[str, Mapping[str, Any]], None]:
    """Says each day that is done or passed over, once each why a name was not ordered, and what is waited for."""
    said: set[str] = set()

    def tell(kind: str, facts: Mapping[str, Any]) -> None:
        if kind == "day":
            click.echo(day_text(dict(facts)), err=True)
        elif kind == "no rebalance":
            click.echo(skipped_text(dict(facts)), err=True)
        elif kind == "plan":
            new = {f"{name}: {why}" for name, why in facts["skipped"].items()} - said
            said.update(new)
            for text in sorted(new):
                click.echo(f"{facts['session']}: not ordered: {text}", err=True)
        elif kind == "wait":
            click.echo(f"waiting: {facts['why']}", err=True)

    return tell


def show_plan(plan, intents, as_json: bool, skipped: Sequence[dict[str, Any]] = (), following=None) -> None:
    """A plan, each of its orders with its reason, and when the next decision falls."""
    from clusterfolio.engine.live.status import intent_facts, plan_facts

    facts = {"plan": None if plan is None else plan_facts(plan), "orders": [intent_facts(i) for i in intents],
             "skipped_sessions": list(skipped),
             "next_decision": None if following is None else str(following)}  # fmt: skip
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for session in skipped:
        click.echo(skipped_text(session))
    if plan is None:
        click.echo("nothing to send: no decision falls on the last close")
    else:
        click.echo(f"for the open of {plan.session}, decided on the close of {plan.decided}: {len(intents)} orders")
        _orders(facts["orders"])
    if following is not None:
        click.echo(f"the next decision falls on the close of {following}")
    if plan is not None:
        _left_out(facts["plan"])


def _left_out(plan: Mapping[str, Any]) -> None:
    """Names that are not ordered, and what the others get where something cannot be sold."""
    for name, why in plan["skipped"].items():
        part = plan["untradable"].get(name)
        share = "" if part is None else f"{part * 100:.2f} % of the account, "
        click.echo(f"not ordered: {name}: {share}{why}; what is held of it stays, its other weight is cash")
    if plan["cut"]:
        least = min(plan["cut"].values())
        click.echo(f"{len(plan['cut'])} names get {least:.2%} of their weight, as what cannot be sold takes the rest"
                   .replace("%", " %"))  # fmt: skip


def _positions(rows: list[dict[str, Any]], account: dict[str, Any] | None) -> None:
    """What is held beside what was decided on, at the prices of the last line."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name in ("symbol", "target", "held", "drift", "shares", "price", "value", "not ordered"):
        table.add_column(name, justify="left" if name in ("symbol", "not ordered") else "right", overflow="fold")
    for row in rows:
        table.add_row(row["symbol"], figure(row["target"], ".2%"), figure(row["held"], ".2%"),
                      figure(row["drift"], "+.2%"), row["shares"], figure(row["price"], ",.4f"),
                      figure(row["value"], ",.2f"), row["why"])  # fmt: skip
    if rows:
        Console(width=None if sys.stdout.isatty() else 1000).print(table, markup=False)
    if account:
        part = figure(account["cash"] / account["value"] if account["value"] else None, ".2%")
        click.echo(f"cash {account['cash']:,.2f} ({part}) of {account['value']:,.2f} at the close of {account['day']}")


def _orders(rows: list[dict[str, Any]]) -> None:
    """The orders, nothing of them cut off however narrow the screen."""
    from rich.console import Console
    from rich.table import Table

    if not rows:
        return
    table = Table()
    for name in ("symbol", "side", "quantity", "price", "value", "state", "filled", "reason"):
        right = name in ("quantity", "price", "value", "filled")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in rows:
        price, value = f"{float(row['price']):,.4f}", f"{row['value']:,.2f}"
        table.add_row(row["symbol"], row["side"], row["quantity"], price, value, row["state"], row["filled"],
                      row["why"] or row["reason"])  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 1000).print(table, markup=False)


def show(status: dict[str, Any], as_json: bool) -> None:
    """The state of an account."""
    if as_json:
        click.echo(json.dumps(status, indent=2))
        return
    if status["halted"]:
        console.print("[red]halted:", end=" ")
        click.echo(status["halted"], err=True)
    decision, plan, day = status["last_decision"], status["plan"], status["day"]
    click.echo(f"closes looked at up to {status['looked_at'] or '-'}; last decision on "
               + (decision["day"] if decision else "-"))  # fmt: skip
    _positions(status["positions"], status["account"])
    if plan:
        click.echo(f"planned for the open of {plan['session']}: {len(status['orders'])} orders")
        _orders(status["orders"])
        _left_out(plan)
    for session in status["skipped_sessions"]:
        click.echo(skipped_text(session))
    if day:
        click.echo(("" if day["day"] == status["looked_at"] else "the last line is of ") + day_text(day))


def skipped_text(session: dict[str, Any]) -> str:
    """A session that was passed over, in words.

    >>> skipped_text({"session": "2025-12-26", "why": "2 symbols have no bar of the day", "missing": ["A", "B"]})
    '2025-12-26: skipped, 2 symbols have no bar of the day (A, B): nothing decided, no line'
    """
    names = f" ({', '.join(session['missing'])})" if session["missing"] else ""
    return f"{session['session']}: skipped, {session['why']}{names}: nothing decided, no line"


def day_text(day: dict[str, Any]) -> str:
    """The daily line in words.

    >>> causes = {"price": -3.2, "costs": -4.0, "rounding": 0.0}
    >>> figures = {"account": 100.0, "model": 107.2, "drift": -7.2, "change": -7.2}
    >>> day_text({"day": "2025-01-31", "causes": causes, **figures})
    '2025-01-31: account 100.00, model 107.20, apart -7.20 (today -7.20: price -3.20, costs -4.00)'
    """
    names = ", ".join(f"{name} {weight:.1%}" for name, weight in day.get("skipped", {}).items()).replace("%", " %")
    causes = ", ".join(
        f"{name} {amount:+,.2f}" + (f" [{names}]" if name == "skipped names" and names else "")
        for name, amount in day["causes"].items() if abs(amount) >= 0.005
    )  # fmt: skip
    return (
        f"{day['day']}: account {day['account']:,.2f}, model {day['model']:,.2f}, apart {day['drift']:+,.2f} "
        f"(today {day['change']:+,.2f}" + (f": {causes})" if causes else ")")
    )
