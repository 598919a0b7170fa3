"""`decide`: what to hold now, and the orders that get you there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from clusterfolio.engine.cli.console import reporter, wide_console
from clusterfolio.engine.cli.faults import EXIT_CODES, faults

if TYPE_CHECKING:
    import pandas as pd


@click.command("decide", epilog=EXIT_CODES)
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--asof", required=True, metavar="DATE", help="Decide on this session's close.")
@click.option("--holdings", type=click.Path(path_type=Path), help="CSV: symbol, shares; the symbol CASH holds money.")
@click.option("--path", "paths", multiple=True, metavar="FILE_OR_DIR", help="Newer prices than the run's own.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write the order list here too.")
@click.option("--trust", is_flag=True, help="Import the classes that RUN_DIR names: it may run any code.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def decide_command(run_dir, asof, holdings, paths, csv_file, trust, quiet):
    """What to hold after the close of a day, and the orders that get you there, with RUN_DIR's trained model."""
    from clusterfolio.engine.jobs.decide import decide
    from clusterfolio.feeds.writing import write_table

    with faults():
        with reporter(quiet) as progress:
            decision, orders = decide(run_dir, asof, holdings, paths, progress, trust)
        if csv_file:
            write_table(csv_file, orders, index=False)
    wide_console().print(_orders_table(orders, f"Orders for the open after {decision.asof.date()}"))


def _orders_table(orders: pd.DataFrame, title: str) -> Table:
    """The order list; on a narrow screen a cell goes on below, and nothing of it is cut off."""
    from pandas.api.types import is_numeric_dtype

    table = Table(title=title, title_justify="left")
    for name in orders.columns:
        table.add_column(name, justify="right" if is_numeric_dtype(orders[name]) else "left", overflow="fold")
    for row in orders.itertuples(index=False):
        table.add_row(*[f"{cell:,.4f}" if isinstance(cell, float) else str(cell) for cell in row])
    return table
