"""`decide`: what to hold now, and the orders that get you there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from clusterfolio.engine.cli.console import reporter
from clusterfolio.engine.cli.faults import EXIT_CODES, faults

if TYPE_CHECKING:
    import pandas as pd

    from clusterfolio.engine.jobs.decide import Orders

#: How the numbers of an order list are written; no figure of an order is ever shortened.
FORMS = {
    "shares": ",.6f", "price": ",.6f", "rate": ",.6f", "value": ",.2f", "cost": ",.2f", "weight_now": ".2%",
    "weight_target": ".2%",
}  # fmt: skip


@click.command("decide", epilog=EXIT_CODES)
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--asof", required=True, metavar="DATE", help="Decide on this session's close.")
@click.option("--holdings", type=click.Path(path_type=Path), help="CSV: symbol, shares; the symbol CASH holds money.")
@click.option("--path", "paths", multiple=True, metavar="FILE_OR_DIR", help="Newer prices than the run's own.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write the order list here too.")
@click.option("--json", "as_json", is_flag=True, help="Orders, refusals and notes as JSON.")
@click.option("--trust", is_flag=True, help="Import the classes that RUN_DIR names: it may run any code.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def decide_command(run_dir, asof, holdings, paths, csv_file, as_json, trust, quiet):
    """What to hold after the close of a day, and the orders that get you there, with RUN_DIR's policy.

    Orders are priced and sized by the close as its source states it, in the listing's currency. A pair is named as it
    is quoted, with side and amount of its base currency. What cannot be ordered is named: its weight
    stays in cash, or as it is where it is held, and the other names are sized on the rest.
    """
    from clusterfolio.engine.jobs.decide import decide
    from clusterfolio.feeds.writing import finite, write_table

    with faults():
        with reporter(quiet) as progress:
            found = decide(run_dir, asof, holdings, paths, progress, trust)
        if csv_file:
            write_table(csv_file, found.orders, index=False)
    if as_json:
        said = {"asof": str(found.decision.asof.date()), "value": found.value, "currency": found.currency}
        refused = found.refused.assign(day=found.refused["day"].astype(str))
        said |= {"orders": found.orders.to_dict("records"), "refused": refused.to_dict("records")}
        click.echo(json.dumps(finite(said | {"notes": list(found.notes)}), indent=2))
        return
    _show(found)


def _show(found: Orders) -> None:
    title = f"Orders for the open after {found.decision.asof.date()}, account {found.value:,.2f} {found.currency}"
    # A pipe has no width: a line per order there, however long.
    Console(width=None if sys.stdout.isatty() else 1000).print(_orders_table(found.orders, title), markup=False)
    for row in found.refused.itertuples():
        click.echo(f"not ordered: {row.symbol}: {row.why}; {_stays(row)}")
    for note in found.notes:
        click.echo(f"note: {note}")


def _stays(row: Any) -> str:
    """What becomes of the weight of a name that cannot be ordered."""
    if not row.held:
        return f"its weight of {row.weight:.2%} stays in cash"
    part = f"{row.weight_now:.0%}".replace("%", " %")
    unit = "share" if row.unit == "shares" and row.held == 1 else row.unit
    return f"{_cell('shares', row.held)} {unit} ({part}) cannot be sold, valued at the close of {row.day.date()}"


def _orders_table(orders: pd.DataFrame, title: str) -> Table:
    """The order list; on a narrow screen a cell goes on below, and nothing of it is cut off."""
    table = Table(title=title, title_justify="left")
    for name in orders.columns:
        table.add_column(name.replace("_", " "), justify="right" if name in FORMS else "left", overflow="fold")
    for row in orders.to_dict("records"):
        table.add_row(*[_cell(name, value) for name, value in row.items()])
    return table


def _cell(name: str, value: object) -> str:
    if name not in FORMS:
        return str(value)
    if value != value:  # NaN: a pair has no rate of its own
        return "-"
    text = format(value, FORMS[name])
    return text.rstrip("0").rstrip(".") if FORMS[name].endswith("f") and name not in ("value", "cost") else text
