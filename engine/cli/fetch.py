"""`fetch`: fill the price cache."""

from __future__ import annotations

import click

from clusterfolio.engine.cli.console import reporter
from clusterfolio.engine.cli.faults import EXIT_CODES, Fault, faults
from clusterfolio.engine.cli.options import config_options, resolve


@click.command("fetch", epilog=EXIT_CODES)
@config_options
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.pass_context
def fetch_command(ctx, preset, config_file, settings, quiet):
    """Fill or update the Yahoo cache for a universe; may be interrupted and run again."""
    from clusterfolio.engine.jobs.fetch import fetch_prices

    with faults():
        config = resolve(ctx, preset, config_file, (*settings, "data.source=yahoo"), trust=False)
        with reporter(quiet) as progress:
            outcomes = fetch_prices(config, progress)
    for row in outcomes.itertuples():
        click.echo(f"{row.Index:<12} {row.outcome:<10} {row.why}")
    failed = int((outcomes["outcome"] == "failed").sum())
    click.echo(f"{len(outcomes) - failed} of {len(outcomes)} symbols are in the cache")
    if failed == len(outcomes):
        raise Fault("no symbol could be fetched", 3)
