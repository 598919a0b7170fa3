"""`check`: the prices before a run, and faults that make a result too good."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from clusterfolio.engine.cli.console import reporter, wide_console
from clusterfolio.engine.cli.faults import EXIT_CODES, faults
from clusterfolio.engine.cli.options import config_options, resolve

if TYPE_CHECKING:
    from clusterfolio.engine.jobs.check_prices import PriceCheck
    from clusterfolio.engine.leakage.findings import LeakageReport
    from clusterfolio.strategies.policy import Policy


@click.group("check")
def check_group() -> None:
    """Look at the prices before a run, and for faults that make a result too good."""


@check_group.command("leakage", epilog=EXIT_CODES)
@config_options
@click.option("--policy", metavar="MODULE:FACTORY", help="Your own: package.module:factory  [default: the built-in]")
@click.option("--dates", "n_days", type=click.IntRange(min=1), default=3, show_default=True, help="Days to decide on.")
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.pass_context
def check_leakage_command(ctx, preset, config_file, settings, policy, n_days, as_json, quiet):
    """Does the future reach the past? Takes the options of `run`; exit code 4 if it does.

    On the first decision's day and on random later ones, everything from the source's bars to the fills is computed on
    the data as they are and on data that differ only after that day: cut off, exchanged between symbols, spoilt, with
    new listings, with other figures published later. Whatever was known by that day's close must be equal, bit for bit
    (a policy of yours may round differently, by 1e-9). The first stage that is not names the leak.

    \b
    Stages, in order:
      universe, prices (quality, currency), exogenous (cash, macro), features, scaler, training,
      embedding, eligibility, clusters, sharpe, selection, weights, fills

    The built-in policy is trained for one short pass, which shows a leak as well as a long one does. A policy of yours
    is any object with fit(panel, start) and decide(panel, state); FACTORY returns an unfitted one, and may require
    arguments named config (this configuration) and panel (all of it, as with a look into the future).

    \b
    Examples:
      check leakage
      check leakage --source files --path prices/ --dates 5
      check leakage --policy my_policy:MyPolicy --json
    """
    from clusterfolio.engine.leakage.of_run import check_run
    from clusterfolio.feeds.writing import to_json

    with faults():
        factory = None if policy is None else _factory(policy)
        config = resolve(ctx, preset, config_file, settings)
        with reporter(quiet) as progress:
            report = check_run(config, n_days, factory, progress)
    if as_json:
        click.echo(to_json(report.to_dict()))
    else:
        _show_leakage(report)
    if not report.clean:
        sys.exit(4)


@check_group.command("prices", epilog=EXIT_CODES)
@config_options
@click.option("--symbol", "symbols", multiple=True, metavar="SYM", help="This symbol, in full; may be repeated.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write the prices that a run would see here.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.pass_context
def check_prices_command(ctx, preset, config_file, settings, symbols, csv_file, quiet):
    """What would a run make of these prices? Takes the options of `run`; nothing is trained or traded.

    A line per symbol: its verdict, currency and how that is known, bars and days, the largest move. Below, what was
    doubted, guessed, mended and noted, grouped by kind, each with a symbol, day and factor. With --symbol: where it was
    read and how, every remark, the ten largest moves and the dividends and splits that the source states.

    Exit code 4 if a symbol was dropped, refused, not found or left in doubt.

    \b
    Columns of the CSV file:
      date, symbol
      close      as the source states it, in the currency of the listing
      currency   of the listing
      value      total return in the account's currency, which is what a run sees
      traded     whether a run sees a bar of that day

    \b
    Examples:
      check prices --source files --path prices/
      check prices --source files --path prices/ --symbol AAPL --csv aapl.csv
      check prices --source yahoo --preset seed
    """
    from clusterfolio.engine.jobs.check_prices import check_prices
    from clusterfolio.feeds.writing import write_table

    with faults():
        config = resolve(ctx, preset, config_file, settings, trust=False)
        with reporter(quiet) as progress:
            progress.stage("load")
            found = check_prices(config, symbols)
        if csv_file:
            write_table(csv_file, found.prices, index=False)
    if symbols:
        for name in found.verdicts.index:
            _show_symbol(found, name)
    else:
        _show_prices(found)
    for problem in found.problems:
        click.echo(problem)
    if found.problems:
        sys.exit(4)
    click.echo("nothing dropped, refused or in doubt")


def _show_prices(found: PriceCheck) -> None:
    from clusterfolio.engine.run_dir.remarks import line

    table = Table(box=None, pad_edge=False)
    for name in ("symbol", "verdict", "currency", "told by", "bars", "withheld", "first", "last", "largest move", "on"):
        table.add_column(name, justify="right" if name in ("bars", "withheld", "largest move") else "left")
    largest = found.moves.drop_duplicates("symbol").set_index("symbol")
    for name, row in found.symbols.iterrows():
        moved = largest.loc[name] if name in largest.index else None
        table.add_row(
            name,
            found.verdicts.verdict[name],
            row["currency"],
            row["told_by"],
            f"{row['bars']:,}",
            f"{row['withheld']:,}",
            f"{row['first']:%Y-%m-%d}",
            f"{row['last']:%Y-%m-%d}",
            "-" if moved is None else f"{moved['move']:+.1%}",
            "-" if moved is None else f"{moved['day']:%Y-%m-%d}",
        )
    wide_console().print(table, markup=False)
    for group in found.groups():
        click.echo(line(group))
    counts = found.verdicts["verdict"].value_counts()
    click.echo("Symbols: " + ", ".join(f"{count} {name}" for name, count in counts.items()))


def _show_symbol(found: PriceCheck, name: str) -> None:
    verdict = found.verdicts.loc[name]
    click.secho(name, bold=True)
    click.echo(f"  {verdict['verdict']}: {verdict['why']}")
    if name not in found.symbols.index:
        return
    row = found.symbols.loc[name]
    if row["read"]:
        click.echo(f"  read from {row['read']}")
    click.echo(
        f"  {row['currency']}, told by {row['told_by']}; {row['bars']:,} bars, {row['withheld']:,} days withheld"
    )
    for remark in verdict["remarks"]:
        click.echo(f"  {remark.nature}: {remark}")
    for move in found.moves[found.moves["symbol"] == name].itertuples():
        click.echo(f"  moved {move.move:+.2%} on {move.day:%Y-%m-%d}")
    for action in found.actions[found.actions["symbol"] == name].itertuples():
        size = "" if action.what == "adjusted close" else f" {action.size:g}"
        click.echo(f"  {action.what}{size}, {'from' if not size else 'on'} {action.day:%Y-%m-%d}")


def _factory(text: str) -> Callable[..., Policy]:
    from clusterfolio.models.named import find_named

    found = find_named(text, "--policy")
    if not callable(found):
        raise ValueError(f"--policy {text!r}: got {type(found).__name__}, expected a callable that returns a policy")
    return found


def _show_leakage(report: LeakageReport) -> None:
    from clusterfolio.engine.leakage.findings import CHANGES

    days = ", ".join(f"{day:%Y-%m-%d}" for day in report.checked["day"].unique())
    stages = report.stages()
    table = Table(box=None, pad_edge=False)
    for name, side in (("stage", "left"), ("values compared", "right"), ("differ", "right")):
        table.add_column(name, justify=side)
    for name, row in stages.iterrows():
        table.add_row(name, f"{row['values']:,}", f"[red]{row['differ']:,}" if row["differ"] else "0")
    click.echo(f"Decided on {days}, as it was and with other futures")
    Console().print(table)
    for finding in report.findings:
        click.secho(f"LEAK in {finding}", fg="red")
        for change in finding.changes:
            click.echo(f"  seen when {CHANGES[change]}")
    for note in report.notes:
        click.echo(f"note: {note}")
    found = "No leak found" if report.clean else f"{len(report.findings)} found"
    click.echo(f"{found}, in {report.seconds:.0f} s")
