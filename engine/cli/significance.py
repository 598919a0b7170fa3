"""`significance`: how far a result can be believed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from clusterfolio.engine.cli.console import console, reporter
from clusterfolio.engine.cli.faults import EXIT_CODES, faults

if TYPE_CHECKING:
    from clusterfolio.engine.evidence.verdict import Verdict


@click.command("significance", epilog=EXIT_CODES)
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("-q", "--quiet", is_flag=True, help="Print only where the evidence is.")
def significance_command(run_dir, quiet):
    """How far RUN_DIR's result can be believed, in words; the evidence goes into RUN_DIR.

    The prices are loaded again and must be those of the run. One test decides, fixed beforehand: do the picks earn more
    than random picks from the same clusters, at equal exposure and plainly too? Every other run on the same history, as
    the ledger counts them, makes the test stricter. `run` does this by itself; do it again after other runs, or after a
    run with significance.on=false.
    """
    from clusterfolio.engine.evidence.assessment import assess_run
    from clusterfolio.engine.jobs.report import renew_report

    with faults(), reporter(quiet) as progress:
        progress.stage("significance")
        found = assess_run(run_dir, advance=progress.advance)
        reported = renew_report(run_dir, progress)
    if not quiet:
        show_verdict(found.verdict)
    click.echo(run_dir / ("report.html" if reported else "significance.json"))


def show_verdict(verdict: Verdict) -> None:
    """The verdict in words: what supports it, what does not, what is needed, and the caveats."""
    console.print(f"\n[bold]Verdict:[/bold] {escape(verdict.headline)}", highlight=False)
    console.print(f"  how: {verdict.reading}", highlight=False, markup=False, soft_wrap=True)
    groups = (("supported", verdict.supports), ("not supported", verdict.against), ("needed", verdict.needed))
    for label, points in groups:
        for point in points:
            console.print(f"  {label}: {point}", highlight=False, markup=False, soft_wrap=True)
    for heading, text in verdict.caveats:
        console.print(f"  but: {heading}: {text}", highlight=False, markup=False, soft_wrap=True)
