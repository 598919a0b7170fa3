"""`report`: the page again, from the files."""

from __future__ import annotations

from pathlib import Path

import click

from clusterfolio.engine.cli.faults import EXIT_CODES, faults


@click.command("report", epilog=EXIT_CODES)
@click.argument("run_dir", type=click.Path(path_type=Path))
def report_command(run_dir):
    """Write RUN_DIR/report.html anew from the files in the run directory."""
    from clusterfolio.engine.jobs.report import rewrite_report

    with faults():
        click.echo(rewrite_report(run_dir))
