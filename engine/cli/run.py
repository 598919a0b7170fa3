"""`run`: the main job."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource
from rich.table import Table

from clusterfolio.engine.cli.console import console, figure, reporter
from clusterfolio.engine.cli.faults import EXIT_CODES, faults
from clusterfolio.engine.cli.options import config_options, policy_option, resolve, tear_sheets_option
from clusterfolio.engine.cli.significance import show_verdict

if TYPE_CHECKING:
    from clusterfolio.engine.jobs.run import Outcome

#: Symbols shown of each verdict; symbols.csv has them all.
SYMBOLS_SHOWN = 10


@click.command("run", epilog=EXIT_CODES)
@config_options
@policy_option
@click.option("--out", type=click.Path(path_type=Path), help="Run directory  [default: runs/PRESET-TIME]")
@click.option(
    "--model",
    "model_from",
    type=click.Path(path_type=Path),
    metavar="RUN_DIR",
    help="Use its trained model, and its settings unless --preset or --config says otherwise.",
)
@click.option("--report/--no-report", default=True, help="Write report.html; `report RUN_DIR` can do it later.")
@tear_sheets_option
@click.option("-q", "--quiet", is_flag=True, help="Print only where the result is.")
@click.pass_context
def run_command(ctx, preset, config_file, settings, out, model_from, report, tear_sheets, quiet):
    """Train, trade the test span bar by bar, and write a run directory with a report.

    \b
    Examples:
      run                                              a made-up market
      run --source files --path prices/                your own prices
      run --preset seed --source yahoo                 the published set-up
      run --set trading.rebalance=quarter --currency EUR
      run --preset rolling --set walk_forward.refit=month     trained anew every month
      run --policy my_policy:MyPolicy --set policy.n_assets=5
    """
    from clusterfolio.engine.folds.fitting import training_team
    from clusterfolio.engine.jobs.run import run
    from clusterfolio.engine.run_dir.artifacts import read_own_run

    with faults(), training_team() as leads:
        if not leads:  # started by torchrun to help with the training, which is done
            return
        if model_from and not config_file and ctx.get_parameter_source("preset") is not ParameterSource.COMMANDLINE:
            read_own_run(model_from, "run again")
            config_file = model_from / "config.toml"  # the same run again, but for what is asked for here
        config = resolve(ctx, preset, config_file, settings)
        out = out or Path("runs") / f"{preset}-{datetime.now():%Y%m%d-%H%M%S}"
        with reporter(quiet) as progress:
            outcome = run(config, out, progress, model_from, report, tear_sheets=tear_sheets)
    if not quiet:
        _show(outcome)
    page = outcome.folder / "report.html"
    click.echo(page if page.is_file() else outcome.folder)
    for failure in outcome.failures:
        console.print(str(failure), style="red", markup=False, highlight=False, soft_wrap=True)
    if outcome.failures:
        sys.exit(1 if any(failure.ours for failure in outcome.failures) else 2)


def _show(outcome: Outcome) -> None:
    _show_symbols(outcome)
    _show_notes(outcome)
    _show_metrics(outcome)
    if outcome.assessment is not None:
        show_verdict(outcome.assessment.verdict)
    if "error" in outcome.ledger:
        said = f"Not counted among your trials: {outcome.ledger['error']}"
        console.print(said, style="yellow", markup=False, highlight=False)
    else:
        console.print(f"Trials counted so far: {outcome.ledger['count']} (`trials` lists them)")


def _show_symbols(outcome: Outcome) -> None:
    from clusterfolio.engine.run_dir.remarks import grouped, line

    counts = outcome.verdicts["verdict"].value_counts()
    console.print("Symbols: " + ", ".join(f"{count} {name}" for name, count in counts.items()), highlight=False)
    for verdict in ("dropped", "absent", "passed over"):
        rows = outcome.verdicts[outcome.verdicts["verdict"] == verdict]
        for name, row in rows.head(SYMBOLS_SHOWN).iterrows():
            console.print(f"  {verdict}: {name}: {row['why']}", highlight=False, markup=False)
        if len(rows) > SYMBOLS_SHOWN:
            console.print(f"  ... and {len(rows) - SYMBOLS_SHOWN} more; see symbols.csv", highlight=False)
    for group in grouped(outcome.verdicts):
        console.print(f"  {line(group)}", highlight=False, markup=False, soft_wrap=True)


def _show_notes(outcome: Outcome) -> None:
    notes = [note for decision in outcome.result.decisions for note in decision.notes]
    for note in dict.fromkeys([*outcome.notes, *notes]):
        console.print(f"  note: {note}", highlight=False, markup=False)
    for day, name, why in outcome.result.unfilled:
        console.print(f"  not filled: {name} on {day.date()}: {why}", highlight=False, markup=False)


def _show_metrics(outcome: Outcome) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in ("strategy", "benchmark"):
        table.add_column(name, justify="right")
    lines = (
        ("total return", "total_return", ".1%"), ("return a year", "cagr", ".1%"), ("volatility", "volatility", ".1%"),
        ("Sharpe ratio", "sharpe", ".2f"), ("worst drawdown", "max_drawdown", ".1%"),
    )  # fmt: skip
    for label, key, form in lines:
        table.add_row(label, *[figure(outcome.metrics[name][key], form) for name in ("strategy", "benchmark")])
    console.print(table)
