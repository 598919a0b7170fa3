"""`paper`: the policy of a finished run on a paper account."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clusterfolio.engine.cli.console import console, figure, reporter
from clusterfolio.engine.cli.faults import Fault, faults

if TYPE_CHECKING:
    from clusterfolio.engine.live.paper import PaperOptions

EXIT_CODES = """
\b
Exit codes:
  0    done
  1    a fault of the program (please report it, with the traceback)
  2    a wrong argument, configuration or file; the message says which
  3    the data cannot carry the run
  5    halted: a person has to look; the message says why, `paper resume` goes on
  6    not now: the venue does not answer, the next bars are not there yet, or another process trades the
       account; the same command goes on
  130  interrupted with Ctrl-C; the journal is whole, the same command goes on
"""

HALTED, NOT_NOW = 5, 6


@contextmanager
def paper_faults() -> Iterator[None]:
    """As ``faults``, with the codes of paper trading."""
    from clusterfolio.engine.live.local import EndOfBars
    from clusterfolio.engine.live.terms import Halted
    from clusterfolio.engine.live.venue import Unavailable

    with faults():
        try:
            yield
        except Halted as error:
            raise Fault(f"halted: {error}", HALTED) from error
        except (Unavailable, EndOfBars) as error:
            raise Fault(f"not now: {error}", NOT_NOW) from error


def _account_options(command):
    for option in reversed((
        click.argument("run_dir", type=click.Path(path_type=Path)),
        click.option("--venue", default="local", show_default=True, help="Where: local (no account needed) or alpaca."),
        click.option("--home", type=click.Path(path_type=Path), metavar="DIR",
                     help="Folder of journal and kill file; default RUN_DIR.paper/VENUE."),
    )):  # fmt: skip
        command = option(command)
    return command


def _trading_options(command):
    for option in reversed((
        click.option("--path", "paths", multiple=True, metavar="FILE_OR_DIR", help="Newer prices than the run's own."),
        click.option("--start", metavar="DATE", help="First close of a new local account; default a month before the "
                     "bars end."),
        click.option("--when", type=click.Choice(["queue", "after_open"]), default="queue", show_default=True,
                     help="Send at once for the next open, or just after it."),
        click.option("--no-dividends", is_flag=True, help="The local venue pays none, as Alpaca's paper host."),
        click.option("--limit", "limits", multiple=True, metavar="NAME=VALUE",
                     help="A limit before trade, such as max_position=0.3; may be repeated."),
        click.option("--adopt", is_flag=True, help="Count foreign positions in the run's symbols as its own."),
        click.option("--notify", default="", metavar="COMMAND", help="Give each event to a command, as JSON on stdin."),
        click.option("--trust", is_flag=True, help="Import the classes that RUN_DIR names: it may run any code."),
        click.option("-q", "--quiet", is_flag=True, help="No progress."),
    )):  # fmt: skip
        command = option(command)
    return command


def _options(run_dir, venue, home, paths=(), start=None, when="queue", no_dividends=False, limits=(), adopt=False,
             notify="", trust=False) -> PaperOptions:  # fmt: skip
    from clusterfolio.engine.live.paper import PaperOptions

    return PaperOptions(run_dir, venue, home, paths, start, when, not no_dividends, adopt, trust, notify,
                        _limits(limits))  # fmt: skip


def _limits(stated):
    from dataclasses import fields

    from clusterfolio.engine.live.limits import Limits

    known = {item.name: type(getattr(Limits(), item.name)) for item in fields(Limits)}
    found = {}
    for text in stated:
        name, _, value = text.partition("=")
        if name not in known:
            raise click.BadParameter(f"unknown limit {name!r}; available: {', '.join(known)}", param_hint="--limit")
        try:
            found[name] = known[name](value)
        except ValueError:
            raise click.BadParameter(f"{text}: expected {name}=NUMBER", param_hint="--limit") from None
    with faults():
        return Limits(**found)


@click.group("paper", epilog=EXIT_CODES)
def paper_group():
    """Trade the policy of a finished run on a paper account, with the same Strategy as the backtest.

    `paper once RUN_DIR` does the next session, `paper run RUN_DIR` goes on; both may be killed at any moment and go on
    where they stopped. The local venue needs no account: it fills at the opens of the run's own bars.
    """


@paper_group.command("once", epilog=EXIT_CODES)
@_account_options
@_trading_options
@click.option("--dry-run", is_flag=True, help="The same path up to the socket: shows the orders, writes nothing.")
@click.option("--json", "as_json", is_flag=True, help="The state afterwards as JSON.")
def once_command(quiet, dry_run, as_json, **given):
    """The next session: plan, send, settle, compare with the model, and plan for the one after it."""
    _trade(given, quiet, as_json, dry_run, lambda paper: paper.once())


@paper_group.command("run", epilog=EXIT_CODES)
@_account_options
@_trading_options
@click.option("--sessions", type=click.IntRange(1), help="Stop after so many closes; default: go on.")
@click.option("--dry-run", is_flag=True, help="The same path up to the socket: shows the orders, writes nothing.")
@click.option("--json", "as_json", is_flag=True, help="The state afterwards as JSON.")
def run_command(quiet, sessions, dry_run, as_json, **given):
    """Session after session; on the local venue until its bars end."""
    _trade(given, quiet, as_json, dry_run, lambda paper: paper.run(sessions))


@paper_group.command("plan", epilog=EXIT_CODES)
@_account_options
@_trading_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def plan_command(quiet, as_json, **given):
    """Every order that would be sent for the next session, with its reason; nothing is written or sent."""
    from clusterfolio.engine.live.paper import open_paper

    with paper_faults():
        options = _options(**given)
        with reporter(quiet) as progress, open_paper(options, progress, dry=True) as paper:
            found = paper.plan()
            _show_plan(*found, as_json, following=paper.next_decision(found[0]))


@paper_group.command("reconcile", epilog=EXIT_CODES)
@_account_options
@_trading_options
def reconcile_command(quiet, **given):
    """Hold the journal against the venue; says what differs, and halts. --adopt takes foreign positions over."""
    from clusterfolio.engine.live.paper import open_paper

    with paper_faults():
        options = _options(**given)
        with reporter(quiet) as progress, open_paper(options, progress) as paper:
            held = paper.reconcile()["held"]
    click.echo(f"journal and venue agree: {len(held)} positions")


@paper_group.command("flatten", epilog=EXIT_CODES)
@_account_options
@_trading_options
@click.option("--json", "as_json", is_flag=True, help="The state afterwards as JSON.")
def flatten_command(quiet, as_json, **given):
    """Cancel what is open and sell everything that the run holds."""
    _trade(given, quiet, as_json, False, lambda paper: paper.flatten())


@paper_group.command("status", epilog=EXIT_CODES)
@_account_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status_command(as_json, **given):
    """Target, held, drift, open orders and the last decision, from the journal; loads nothing."""
    from clusterfolio.engine.live.paper import read_status

    with paper_faults():
        _show(read_status(_options(**given)), as_json)


@paper_group.command("halt", epilog=EXIT_CODES)
@_account_options
def halt_command(**given):
    """Send no further order: puts the kill file there, which a running process looks for before each order."""
    from clusterfolio.engine.live.paper import halt

    with paper_faults():
        options = _options(**given)
        halt(options)
    click.echo(f"{options.kill_file}: no order is sent while it is there; `paper resume` takes it away")


@paper_group.command("resume", epilog=EXIT_CODES)
@_account_options
def resume_command(**given):
    """Go on after a halt: takes the reason and the kill file away; the next start reconciles first."""
    from clusterfolio.engine.live.paper import resume

    with paper_faults():
        why = resume(_options(**given))
    click.echo(f"was halted: {why}" if why else "was not halted")


@paper_group.command("doctor", epilog=EXIT_CODES)
@_account_options
@_trading_options
def doctor_command(quiet, **given):
    """What would be traded, where, and on which prices; writes nothing."""
    from clusterfolio.engine.live.paper import doctor

    with paper_faults():
        options = _options(**given)
        with reporter(quiet) as progress:
            rows = doctor(options, progress)
    for what, finding, trouble in rows:
        click.echo(f"{what:<11} {finding}" + (f"  ({trouble})" if trouble else ""))


def _trade(given: dict, quiet: bool, as_json: bool, dry: bool, action) -> None:
    from clusterfolio.engine.live.paper import open_paper, status_of

    with paper_faults():
        options = _options(**given)
        with reporter(quiet) as progress, open_paper(options, progress, dry, None if quiet else _as_it_goes()) as paper:
            if dry:
                before = paper.journal.looked_at()
                found = paper.rehearse()
                skipped = status_of(paper.journal, options, before)["skipped_sessions"]
                _show_plan(*found, as_json, skipped, paper.next_decision(found[0]))
                return
            found = action(paper)
    _show(found, as_json)
    if "sold" in found and not as_json:
        _show_sold(found)


def _show_sold(found: dict[str, Any]) -> None:
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


def _as_it_goes() -> Callable[[str, Mapping[str, Any]], None]:
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


def _show_plan(plan, intents, as_json: bool, skipped: Sequence[dict[str, Any]] = (), following=None) -> None:
    from clusterfolio.engine.live.paper import intent_facts, plan_facts

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
    for name, why in ({} if plan is None else plan.skipped).items():
        click.echo(f"not ordered: {name}: {why}; what is held of it stays, its other weight is cash")


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


def _show(status: dict[str, Any], as_json: bool) -> None:
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
        for name, why in plan["skipped"].items():
            click.echo(f"not ordered: {name}: {why}; what is held of it stays, its other weight is cash")
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
