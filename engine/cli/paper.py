"""`paper`: the policy of a finished run on a paper account."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clusterfolio.engine.cli.console import reporter
from clusterfolio.engine.cli.faults import Fault, faults
from clusterfolio.engine.cli.paper_words import as_it_goes, show, show_plan, show_sold

if TYPE_CHECKING:
    from clusterfolio.engine.live.paper_options import PaperOptions

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
        click.option("--venue", default="local", show_default=True, help="Where: local (no account "
                     "needed), alpaca or ibkr (experimental)."),
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
        click.option("--no-interest", is_flag=True, help="The local venue pays none on idle cash."),
        click.option("--limit", "limits", multiple=True, metavar="NAME=VALUE",
                     help="A limit before trade, such as max_position=0.3; may be repeated."),
        click.option("--venue-prices", is_flag=True, help="Hold prices against the venue's own (limit max_gap), "
                     "also of names not held; Alpaca's data host then gets the keys too."),
        click.option("--adopt", is_flag=True, help="Count foreign positions in the run's symbols as its own."),
        click.option("--notify", default="", metavar="COMMAND", help="Give each event to a command, as JSON on stdin."),
        click.option("--trust", is_flag=True, help="Import the classes that RUN_DIR names: it may run any code."),
        click.option("-q", "--quiet", is_flag=True, help="No progress."),
    )):  # fmt: skip
        command = option(command)
    return command


def _options(run_dir, venue, home, paths=(), start=None, when="queue", no_dividends=False, no_interest=False,
             limits=(), venue_prices=False, adopt=False, notify="", trust=False) -> PaperOptions:  # fmt: skip
    from clusterfolio.engine.live.paper_options import PaperOptions

    return PaperOptions(
        run_dir, venue, home, paths, start, when, dividends=not no_dividends, interest=not no_interest,
        venue_prices=venue_prices, adopt=adopt,
        trust=trust, notify=notify, limits=_limits(limits),
    )  # fmt: skip


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
            show_plan(*found, as_json, following=paper.next_decision(found[0]))


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
    from clusterfolio.engine.live.status import read_status

    with paper_faults():
        show(read_status(_options(**given)), as_json)


@paper_group.command("halt", epilog=EXIT_CODES)
@_account_options
def halt_command(**given):
    """Send no further order: puts the kill file there, which a running process looks for before each order."""
    from clusterfolio.engine.live.status import halt

    with paper_faults():
        options = _options(**given)
        halt(options)
    click.echo(f"{options.kill_file}: no order is sent while it is there; `paper resume` takes it away")


@paper_group.command("resume", epilog=EXIT_CODES)
@_account_options
def resume_command(**given):
    """Go on after a halt: takes the reason and the kill file away; the next start reconciles first."""
    from clusterfolio.engine.live.status import resume

    with paper_faults():
        why = resume(_options(**given))
    click.echo(f"was halted: {why}" if why else "was not halted")


@paper_group.command("doctor", epilog=EXIT_CODES)
@_account_options
@_trading_options
def doctor_command(quiet, **given):
    """What would be traded, where, and on which prices; writes nothing."""
    from clusterfolio.engine.live.doctor import doctor

    with paper_faults():
        options = _options(**given)
        with reporter(quiet) as progress:
            rows = doctor(options, progress)
    for what, finding, trouble in rows:
        click.echo(f"{what:<11} {finding}" + (f"  ({trouble})" if trouble else ""))


def _trade(given: dict, quiet: bool, as_json: bool, dry: bool, action) -> None:
    from clusterfolio.engine.live.paper import open_paper
    from clusterfolio.engine.live.status import status_of

    with paper_faults():
        options = _options(**given)
        with reporter(quiet) as progress, open_paper(options, progress, dry, None if quiet else as_it_goes()) as paper:
            if dry:
                before = paper.journal.looked_at()
                found = paper.rehearse()
                skipped = status_of(paper.journal, options, before)["skipped_sessions"]
                show_plan(*found, as_json, skipped, paper.next_decision(found[0]))
                return
            found = action(paper)
    show(found, as_json)
    if "sold" in found and not as_json:
        show_sold(found)
