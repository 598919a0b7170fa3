"""`universe`: who may be held."""

from __future__ import annotations

import sys

import click

from clusterfolio.engine.cli.faults import EXIT_CODES, faults


@click.command("universe", epilog=EXIT_CODES)
@click.argument("which", default="default")
@click.option("--asset-class", help="Only this class.")
@click.option("--region", help="Only this region.")
@click.option("--quote-currency", help="Only listings in this currency.")
@click.option("--currency", default="USD", show_default=True, help="The account's: pairs say which side it would hold.")
@click.option("--check", is_flag=True, help="Look for problems instead of listing; exit code 2 if there are any.")
def universe_command(which, asset_class, region, quote_currency, currency, check):
    """List, filter or check a universe: seed, default, or a CSV file of yours."""
    from clusterfolio.feeds.currency import with_side
    from clusterfolio.feeds.units import major
    from clusterfolio.feeds.universe import check_universe, filter_universe, load_universe

    with faults():
        account = major(currency)[0]
        table = load_universe(which)
        problems = check_universe(table)
        table = filter_universe(table, asset_class=asset_class, region=region, currency=quote_currency)
    if check:
        for problem in problems:
            click.echo(problem)
        click.echo(f"{len(table)} symbols, {len(problems)} problems")
        if problems:
            sys.exit(2)
        return
    table["name"] = [with_side(name, symbol, account) for symbol, name in table["name"].items()]
    click.echo(table.to_csv().rstrip())
