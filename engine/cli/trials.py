"""`trials`: what was tried so far, as the ledger counts it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from clusterfolio.engine.cli.console import figure, wide_console
from clusterfolio.engine.cli.faults import EXIT_CODES, faults

if TYPE_CHECKING:
    import pandas as pd


@click.group("trials", invoke_without_command=True, epilog=EXIT_CODES)
@click.option("--last", type=click.IntRange(min=1), default=30, show_default=True, help="So many, the newest.")
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list with every column, for other programs.")
@click.pass_context
def trials_group(ctx, last, every, as_json):
    """What you have tried so far: every run and every trial of a sweep is counted, by the tool and not from memory.

    A result is to be judged by how many were looked at before it was shown. An identical run (same settings, data,
    code and seed, same returns) is the same trial and is counted once. The ledger is one file per user; the environment
    variable CLUSTERFOLIO_LEDGER moves it, and it only grows: `trials verify` finds what was changed or removed.

    \b
    Examples:
      trials                                 the newest, a line each
      trials compare runs/first 8bd1c2       two results side by side; a run directory or the first digits of a key
      trials explain runs/first runs/second  why they differ: settings, data, code, seed, dates
      trials verify runs                     is the ledger whole, and what the runs in this folder saw
    """
    if ctx.invoked_subcommand is not None:
        return
    from clusterfolio.engine.ledger import explain
    from clusterfolio.engine.ledger.ledger import Ledger
    from clusterfolio.feeds.writing import to_json

    with faults():
        ledger = Ledger()
        table = ledger.trials()
    shown = table if every else table.tail(last)
    if as_json:
        click.echo(to_json(explain.records(shown)))
        return
    _show_trials(shown)
    click.echo(f"{len(shown)} of {len(table)} trials in {ledger.path}")


@trials_group.command("compare", epilog=EXIT_CODES)
@click.argument("first")
@click.argument("second")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def trials_compare(first, second, as_json):
    """The results of two trials side by side, each a run directory or the first digits of a key."""
    from clusterfolio.engine.ledger import explain
    from clusterfolio.engine.ledger.ledger import Ledger
    from clusterfolio.feeds.writing import to_json

    with faults():
        both = [explain.find_trial(name, Ledger()) for name in (first, second)]
    figures, (sessions, correlation) = explain.compare(*both), explain.common_sessions(*both)
    if as_json:
        said = {"first": both[0].key, "second": both[1].key, "common_sessions": sessions, "correlation": correlation}
        click.echo(to_json(said | {"figures": figures.to_dict(orient="index")}))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("", both[0].key[:8], both[1].key[:8], "difference"):
        table.add_column(name, justify="right" if name else "left")
    for name, row in figures.iterrows():
        form = ".2f" if name.endswith(("sharpe", "sortino", "turnover")) else ".1%"
        table.add_row(name.replace("_", " "), *[figure(cell, form) for cell in row])
    wide_console().print(table)
    if sessions < 3:
        click.echo(f"{sessions} sessions in common")
    else:
        click.echo(f"{sessions} sessions in common, correlation of the daily returns there {correlation:.3f}")


@trials_group.command("explain", epilog=EXIT_CODES)
@click.argument("first")
@click.argument("second")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def trials_explain(first, second, as_json):
    """Why two trials differ: every setting, data, code, seed, dates and version that is not the same in both.

    Each is a run directory or the first digits of a key.
    """
    from clusterfolio.engine.ledger import explain
    from clusterfolio.engine.ledger.ledger import Ledger
    from clusterfolio.feeds.writing import to_json

    with faults():
        both = [explain.find_trial(name, Ledger()) for name in (first, second)]
    found = explain.differences(*both)
    verdict = explain.conclusion(*both, found)
    if as_json:
        click.echo(to_json({"conclusion": verdict, "differences": [vars(one) for one in found]}))
        return
    if found:
        table = Table(box=None, pad_edge=False)
        for name in ("", both[0].key[:8], both[1].key[:8], "a matter of"):
            table.add_column(name, overflow="fold")
        for one in found:
            table.add_row(one.what, one.first, one.second, one.cause or "-")
        wide_console().print(table, markup=False)
    click.echo(verdict)


@trials_group.command("verify", epilog=EXIT_CODES)
@click.argument("folders", nargs=-1, metavar="[FOLDER]...", type=click.Path(exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def trials_verify(folders, as_json):
    """Is the ledger whole? Every row against the one before it, and against the run directories, both ways.

    Checked are the run directories that the ledger knows and still finds, and all in and below each FOLDER: only they
    can tell that its newest rows were removed. Exit code 4 if anything is wrong.
    """
    from clusterfolio.engine.ledger.audit import audit
    from clusterfolio.engine.ledger.ledger import Ledger
    from clusterfolio.feeds.writing import to_json

    with faults():
        found = audit(Ledger(), folders)
    if as_json:
        click.echo(to_json(vars(found)))
    else:
        for problem in found.problems:
            click.echo(problem)
        wrong = f"{len(found.problems)} problems" if found.problems else "nothing wrong"
        click.echo(f"{found.trials} trials and {found.runs} run directories checked: {wrong}")
        if not folders:
            click.echo("the newest rows can be checked only with their run directories: name the FOLDER they lie in")
    if found.problems:
        sys.exit(4)


def _show_trials(trials: pd.DataFrame) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("key", "made (UTC)", "run", "source", "seed", "tested", "return", "Sharpe", "benchmark"):
        right = name in ("seed", "return", "Sharpe", "benchmark")
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=name != "run")
    for key, row in trials.iterrows():
        figures = ((row["total_return"], ".1%"), (row["sharpe"], ".2f"), (row["benchmark_total_return"], ".1%"))
        table.add_row(
            key[:8],
            f"{row['at']:%Y-%m-%d %H:%M}",
            Path(row["run"]).name,
            row["source"],
            str(row["seed"]),
            f"{row['start']:%Y-%m-%d}..{row['end']:%Y-%m-%d}",
            *[figure(cell, form) for cell, form in figures],
        )
    wide_console().print(table, markup=False)
