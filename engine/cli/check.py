"""`check`: faults that make a result too good."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from clusterfolio.engine.cli.console import reporter
from clusterfolio.engine.cli.faults import EXIT_CODES, faults
from clusterfolio.engine.cli.options import config_options, resolve

if TYPE_CHECKING:
    from clusterfolio.engine.leakage.findings import LeakageReport
    from clusterfolio.strategies.policy import Policy


@click.group("check")
def check_group() -> None:
    """Look for faults that make a result too good."""


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

    with faults():
        factory = None if policy is None else _factory(policy)
        config = resolve(ctx, preset, config_file, settings)
        with reporter(quiet) as progress:
            report = check_run(config, n_days, factory, progress)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        _show_leakage(report)
    if not report.clean:
        sys.exit(4)


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
