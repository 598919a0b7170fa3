"""`fetch`: fill the price cache."""

from __future__ import annotations

import click

from clusterfolio.engine.cli.console import console, reporter
from clusterfolio.engine.cli.faults import EXIT_CODES, Fault, faults
from clusterfolio.engine.cli.options import config_options, resolve

#: Symbols named of those that failed for the same reason.
NAMED = 3


@click.command("fetch", epilog=EXIT_CODES)
@config_options
@click.option("-q", "--quiet", is_flag=True, help="Print only what failed, and how many are there.")
@click.pass_context
def fetch_command(ctx, preset, config_file, settings, quiet):
    """Fill or update the Yahoo cache for a universe; may be interrupted and run again."""
    from clusterfolio.engine.jobs.fetch import fetch_prices

    with faults():
        config = resolve(ctx, preset, config_file, (*settings, "data.source=yahoo"), trust=False)
        with reporter(quiet) as progress:
            outcomes = fetch_prices(config, progress)
    failed = outcomes[outcomes["outcome"] == "failed"]
    if not quiet:
        for row in outcomes.drop(failed.index).itertuples():
            click.echo(f"{row.Index:<12} {row.outcome:<10} {row.why}")
    for why, rows in failed.groupby("why", sort=False):
        named = ", ".join(rows.index[:NAMED]) + (f" and {len(rows) - NAMED} more" if len(rows) > NAMED else "")
        console.print(f"failed: {named}: {why}", highlight=False, markup=False, soft_wrap=True)
    kept = int((outcomes["n_bars"] > 0).sum())
    click.echo(f"{kept} of {len(outcomes)} symbols are in the cache, {len(failed)} could not be asked for anew")
    if len(failed) == len(outcomes):
        raise Fault("no symbol could be fetched", 3)
