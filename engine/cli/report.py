"""`report`: the page again, from the files; or several results on one page."""

from __future__ import annotations

from pathlib import Path

import click

from clusterfolio.engine.cli.faults import EXIT_CODES, faults
from clusterfolio.engine.cli.options import tear_sheets_option


@click.command("report", epilog=EXIT_CODES)
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Page of several  [default: side-by-side.html beside the first]"
)
@tear_sheets_option
def report_command(run_dirs, out, tear_sheets):
    """Write RUN_DIR/report.html anew from the files in the run directory; of several RUN_DIRs, one page of all.

    That page has their curves and figures over the sessions they share, each one's verdict, what the best of so many is
    worth, and every setting in which they differ from the first. Trials of a sweep, seeds, presets, what `judge` wrote;
    the folder of a paper account stands for the account and for the model beside it.

    \b
    Examples:
      report runs/first
      report runs/first runs/second runs/sweep-grid/trial-*
      report runs/first runs/first.paper/local --out account.html
    """
    from clusterfolio.engine.jobs.report import compare_results, rewrite_report

    with faults():
        if len(run_dirs) > 1:
            click.echo(compare_results(run_dirs, out))
        elif out is not None:
            raise click.UsageError("--out: of one RUN_DIR the page is RUN_DIR/report.html")
        else:
            click.echo(rewrite_report(run_dirs[0], tear_sheets))
