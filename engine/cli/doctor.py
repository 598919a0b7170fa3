"""`doctor`: what a run would use on this machine."""

from __future__ import annotations

import click

from clusterfolio.engine.cli.faults import EXIT_CODES, faults
from clusterfolio.engine.cli.options import config_options, policy_option, resolve


@click.command("doctor", epilog=EXIT_CODES)
@config_options
@policy_option
@click.pass_context
def doctor_command(ctx, preset, config_file, settings):
    """Versions, devices, caches, and what a run with these options would use."""
    from clusterfolio.engine.jobs.doctor import examine

    with faults():
        for name, value in examine(resolve(ctx, preset, config_file, settings, trust=False)):
            click.echo(f"{name:<22} {value}")
