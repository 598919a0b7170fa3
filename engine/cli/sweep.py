"""`sweep`: every combination of a grid, a trial each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from clusterfolio.engine.cli.console import console, figure, reporter, wide_console
from clusterfolio.engine.cli.faults import EXIT_CODES, Fault, faults
from clusterfolio.engine.cli.options import config_options, layered, policy_option

if TYPE_CHECKING:
    import pandas as pd

#: Figures of a trial that are shown; trials.csv has more.
SHOWN = (
    ("total_return", "total return", ".1%"), ("volatility", "volatility", ".1%"), ("sharpe", "Sharpe", ".2f"),
    ("max_drawdown", "drawdown", ".1%"), ("turnover", "turnover", ".1f"),
)  # fmt: skip


@click.command("sweep", epilog=EXIT_CODES)
@click.argument("grid", type=click.Path(path_type=Path))
@config_options
@policy_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the sweep  [default: runs/sweep-GRID]")
@click.option("--workers", type=click.IntRange(min=0), default=0, show_default="as the cores allow", help="Processes.")
@click.option("--cluster", default="", metavar="tcp://HOST:PORT", help="Dask scheduler whose workers run the trials.")
@click.option("--report/--no-report", default=False, help="Write each trial's report.html too.")
@click.option("-q", "--quiet", is_flag=True, help="Print only where the table is.")
@click.pass_context
def sweep_command(ctx, grid, preset, config_file, settings, out, workers, cluster, report, quiet):
    """Run every combination in GRID (a TOML file) and seed as a trial of its own; one table of results.

    What is finished is not done again: the same command goes on with an interrupted sweep, or adds to a grown grid.

    \b
    GRID, for example:
      seeds = [0, 1, 2]
      [grid]
      "clustering.n_clusters" = [10, 20, 30]
      "embedding.kind" = ["search", "trajectory"]
    """
    from clusterfolio.engine.jobs.sweep import read_grid, run_sweep

    with faults():
        trials = read_grid(grid, layered(ctx, preset, config_file, settings))
        out = out or Path("runs") / f"sweep-{grid.stem}"
        with reporter(quiet) as progress:
            table = run_sweep(trials, out, workers, report, progress, cluster)
    failed = table[table["error"] != ""]
    for row in failed.itertuples():
        console.print(f"  failed: {row.trial}: {row.error}", highlight=False, markup=False)
    if not quiet and len(failed) < len(table):
        _show_trials(
            table[table["error"] == ""], list(dict.fromkeys(key for trial in trials for key in trial.chosen)), out
        )
    click.echo(out / "trials.csv")
    if len(failed) == len(table):
        raise Fault("no trial could be run", 2)


def _show_trials(finished: pd.DataFrame, chosen: Sequence[str], out: Path) -> None:
    """The trials by Sharpe ratio, the best first, and what the best of so many is worth."""
    shown = Table(box=None, pad_edge=False)
    for name in ("trial", *chosen):
        shown.add_column(name, overflow="fold")
    for _, name, _ in SHOWN:
        shown.add_column(name, justify="right")
    ranked = finished.sort_values("sharpe", ascending=False, kind="stable")
    for _, row in ranked.iterrows():
        shown.add_row(
            row["trial"], *(str(row[key]) for key in chosen), *(figure(row[key], form) for key, _, form in SHOWN)
        )
    wide_console().print(shown, markup=False, highlight=False)
    best = ranked.iloc[0]
    click.echo(
        f"Best by Sharpe ratio: {best['trial']}, {figure(best['sharpe'], '.2f')} (benchmark "
        f"{figure(best['benchmark_sharpe'], '.2f')})."
    )
    if len(ranked) > 1:
        click.echo(
            f"The best of {len(ranked)} looks better than it is: clusterfolio significance {out / best['trial']}"
        )
