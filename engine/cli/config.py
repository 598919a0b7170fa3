"""`config`: look at the configuration."""

from __future__ import annotations

import click

from clusterfolio.engine.cli.faults import EXIT_CODES, faults
from clusterfolio.engine.cli.options import config_options, policy_option, resolve


@click.group("config")
def config_group() -> None:
    """Look at the configuration."""


@config_group.command("show", epilog=EXIT_CODES)
@config_options
@policy_option
@click.argument("section", required=False)
@click.option("--toml", is_flag=True, help="The resolved configuration as a file for --config.")
@click.pass_context
def config_show(ctx, preset, config_file, settings, section, toml):
    """Every key of SECTION (default: of all), its value under these options, its default and its meaning."""
    from clusterfolio.engine.config.run import describe, dump

    with faults():
        config = resolve(ctx, preset, config_file, settings, trust=False)
    if toml:
        if section:
            raise click.UsageError("SECTION and --toml: a file for --config states them all")
        click.echo(dump(config), nl=False)
        return
    rows = list(describe(config))
    known = list(dict.fromkeys(name for name, *_ in rows))
    if section and section not in known:
        raise click.UsageError(f"no section {section!r}; there are: {', '.join(known)}")
    shown = None
    for name, key, value, default, meaning in rows:
        if section not in (None, name):
            continue
        if name != shown:
            shown = name
            click.secho(f"\n[{shown}]", bold=True)
        changed = "" if value == default else f"   (default {default!r})"
        click.echo(f"  {key} = {value!r}{changed}\n      {meaning}")
