"""`compare`: what a run has to beat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from clusterfolio.engine.cli.console import figure, reporter, wide_console
from clusterfolio.engine.cli.faults import EXIT_CODES, faults

if TYPE_CHECKING:
    import pandas as pd

    from clusterfolio.engine.jobs.compare import Findings


@click.command("compare", epilog=EXIT_CODES)
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--only", "names", multiple=True, metavar="BASELINE", help="This baseline only; may be repeated.")
@click.option("--seeds", "n_seeds", type=click.IntRange(min=0), default=5, show_default=True, help="In all; 0 = none.")
@click.option(
    "--offsets", "n_offsets", type=click.IntRange(min=0), default=5, show_default=True, help="In all; 0 = none."
)
@click.option("--workers", type=click.IntRange(min=0), default=0, show_default="as the cores allow", help="Processes.")
@click.option("--trust", is_flag=True, help="Import the classes that RUN_DIR names: it may run any code.")
@click.option("-q", "--quiet", is_flag=True, help="Print only where the result is.")
def compare_command(run_dir, names, n_seeds, n_offsets, workers, trust, quiet):
    """What RUN_DIR has to beat, and how much of its result hangs on the seed and on the day of the month.

    Every baseline trades the run's dates and assets, at its costs, through its engine. Those that are fitted (principal
    components of the same windows; the encoder before its training) are fitted fold by fold, as the run's encoder was.

    SEEDS: the run again with other seeds, its own included in the number. Each is a run directory of its own, and a
    trial that the ledger counts. OFFSETS: the run's own encoders decide on other days, spread evenly over the time from
    one decision to the next. Each has been looked at, so each is a trial too.

    What is finished is kept in RUN_DIR/compare and not done again; interrupted, the same command goes on.

    \b
    Tables in RUN_DIR:
      baselines.csv         a row per policy, the strategy and the benchmark among them
      baseline_returns.csv  their daily returns, net of costs
      seeds.csv             a row per seed
      offsets.csv           a row per number of sessions by which every decision was put off
    """
    from clusterfolio.engine.jobs.compare import compare_run, known_names
    from clusterfolio.engine.jobs.report import renew_report
    from clusterfolio.engine.run_dir.artifacts import read_own_run
    from clusterfolio.engine.run_dir.finished import reopen

    with faults(), reporter(quiet) as progress:
        known_names(names or None)
        progress.stage("load")
        read_own_run(run_dir, "compare with")
        found = compare_run(reopen(run_dir), names or None, n_seeds, n_offsets, workers, progress, trust)
        reported = renew_report(run_dir, progress)
    if not quiet:
        _show_comparison(found)
    click.echo(run_dir / ("report.html" if reported else "baselines.csv"))


def _show_comparison(found: Findings) -> None:
    _show_policies(found.policies, "policy")
    for name, why in found.left_out.items():
        click.echo(f"left out: {name}: {why}")
    if found.seeds is not None:
        click.echo()
        _show_policies(found.seeds.drop(columns="error"), "seed")
        for seed, why in found.seeds["error"].items():
            if why:
                click.echo(f"failed: seed {seed}: {why}")
        _show_spread(found.seeds, "seeds")
        if found.overlap is not None:
            click.echo(f"Two seeds share {found.overlap:.0%} of their picks.".replace("%", " %"))
    if found.offsets is not None:
        click.echo()
        _show_policies(found.offsets, "sessions later")
        _show_spread(found.offsets, "days")
    if found.seeds is not None or found.offsets is not None:
        click.echo("Every seed and every day is a trial on record; `significance` judges the run among them.")


def _show_policies(table: pd.DataFrame, first: str) -> None:
    shown = Table(box=None, pad_edge=False)
    shown.add_column(first)
    forms = {
        "total_return": ("total return", ".1%"), "cagr": ("a year", ".1%"), "volatility": ("volatility", ".1%"),
        "sharpe": ("Sharpe", ".2f"), "max_drawdown": ("drawdown", ".1%"), "turnover": ("turnover", ".1f"),
        "cost_bps": ("costs, bp", ".0f"),
    }  # fmt: skip
    for column in table.columns:
        shown.add_column(forms[column][0], justify="right")
    for name, row in table.iterrows():
        cells = [figure(cell, forms[column][1]) for column, cell in row.items()]
        shown.add_row(str(name), *cells, style="bold" if name == "this strategy" else None)
    wide_console().print(shown, markup=False)


def _show_spread(table: pd.DataFrame, what: str) -> None:
    import pandas as pd

    for column, label, form in (
        ("sharpe", "Sharpe ratio", ".2f"), ("total_return", "total return", ".1%"), ("turnover", "turnover", ".1f"),
    ):  # fmt: skip
        known = table.get(column, default=pd.Series(dtype=float)).dropna()
        if len(known) > 1:
            figures = (known.mean(), known.std(), known.min(), known.max())
            mean, spread, low, high = (format(figure, form).replace("%", " %") for figure in figures)
            click.echo(f"{label} of {len(known)} {what}: mean {mean}, standard deviation {spread}, {low} to {high}")
