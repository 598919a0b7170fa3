"""The command line of clusterfolio: arguments -> configuration -> job; says where the results are.

A command per file. What a command needs to work is imported when it is called, and never at the top of a file: help,
version and the shell's completion need click and this folder, and answer at once.
"""

from __future__ import annotations

import logging

import click

from clusterfolio.engine.cli.check import check_group
from clusterfolio.engine.cli.compare import compare_command
from clusterfolio.engine.cli.config import config_group
from clusterfolio.engine.cli.console import Stderr
from clusterfolio.engine.cli.decide import decide_command
from clusterfolio.engine.cli.doctor import doctor_command
from clusterfolio.engine.cli.faults import EXIT_CODES, interruptible
from clusterfolio.engine.cli.fetch import fetch_command
from clusterfolio.engine.cli.news import news_command
from clusterfolio.engine.cli.paper import paper_group
from clusterfolio.engine.cli.report import report_command
from clusterfolio.engine.cli.run import run_command
from clusterfolio.engine.cli.significance import significance_command
from clusterfolio.engine.cli.sweep import sweep_command
from clusterfolio.engine.cli.trials import trials_group
from clusterfolio.engine.cli.universe import universe_command

COMMANDS = (
    check_group,
    compare_command,
    config_group,
    decide_command,
    doctor_command,
    fetch_command,
    news_command,
    paper_group,
    report_command,
    run_command,
    significance_command,
    sweep_command,
    trials_group,
    universe_command,
)


class Commands(click.Group):
    """The commands; Ctrl-C ends each in the same way, also while what it needs is still being imported."""

    def invoke(self, ctx: click.Context):
        """Run the command that was asked for."""
        with interruptible():
            return super().invoke(ctx)


@click.group(
    cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="clusterfolio")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens, and the traceback of an error.")
def main(verbose: bool) -> None:
    """Portfolios of return streams that move little with one another, found by how assets behave, traded in backtrader.

    Start with `run`: it needs no data and no key, makes up a market, and ends with the path of a report.
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=Stderr(),
    )
    if not verbose:  # what it says of every request that fails is in the error, or was mended
        logging.getLogger("yfinance").setLevel(logging.ERROR)


for command in COMMANDS:
    main.add_command(command)


if __name__ == "__main__":
    main()
