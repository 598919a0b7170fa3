"""The options that decide a run's configuration, the same in every command, and the configuration they state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clusterfolio.engine.cli.console import console
from clusterfolio.engine.config.settings import merge, parse_setting, presets, read_preset, read_toml
from clusterfolio.engine.config.trust import check_trust, foreign

if TYPE_CHECKING:
    from clusterfolio.engine.config.run import RunConfig


def _setting(section: str, key: str, many: bool = False):
    """A callback that files an option's value under its place in the configuration."""

    def callback(ctx: click.Context, param: click.Parameter, value):
        if value is not None and value != ():
            plain = ctx.meta.setdefault("plain", {})
            plain.setdefault(section, {})[key] = list(value) if many else value
        return value

    return callback


def _plain_option(*names: str, section: str, key: str, help: str, many: bool = False, **kwargs):
    return click.option(*names, callback=_setting(section, key, many), expose_value=False, help=help, **kwargs)


def _preset_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in presets() if name.startswith(incomplete)]


def _trusted(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.meta["trust"] = value


CONFIG_OPTIONS = (
    click.option("--preset", default="default", show_default=True, shell_complete=_preset_names,
                 help=f"One of: {', '.join(presets())}."),
    click.option("--config", "config_file", type=click.Path(dir_okay=False), help="A TOML file; beats the preset."),
    click.option("--trust", is_flag=True, callback=_trusted, expose_value=False,
                 help="Import the classes that a run directory names (--config in one, --model): it may run any code."),
    click.option("--set", "settings", multiple=True, metavar="SECTION.KEY=VALUE", help="Any key of `config show`."),
    _plain_option("--source", section="data", key="source", help="simulated, files or yahoo."),
    _plain_option("--path", section="data", key="path", many=True, multiple=True, metavar="FILE_OR_DIR",
                  help="CSV or Parquet files or folders, for source files; may be repeated."),
    _plain_option("--universe", section="data", key="universe", help="seed, default, all, or a CSV file."),
    _plain_option("--include", section="data", key="include", metavar="SYM,...", help="Add these symbols."),
    _plain_option("--exclude", section="data", key="exclude", metavar="SYM,...", help="Leave these symbols out."),
    _plain_option("--membership", section="data", key="membership", metavar="FILE",
                  help="CSV of who was in an index when: symbol, from, to."),
    _plain_option("--benchmark", section="data", key="benchmark", metavar="SYM", help="Compare with this symbol."),
    _plain_option("--currency", section="data", key="currency", metavar="CUR", help="Currency of the account."),
    _plain_option("--capital", section="trading", key="capital", type=float, help="Starting cash."),
    _plain_option("--train-start", section="dates", key="train_start", metavar="DATE", help="First day of training."),
    _plain_option("--train-end", section="dates", key="train_end", metavar="DATE", help="Last day of training."),
    _plain_option("--start", section="dates", key="start", metavar="DATE", help="First day of the test."),
    _plain_option("--end", section="dates", key="end", metavar="DATE", help="Last day of the test."),
    _plain_option("--seed", section="engine", key="seed", type=int, help="Of every random number."),
    _plain_option("--device", section="engine", key="device", help="auto, cpu, cuda or mps."),
)  # fmt: skip

#: Of the commands that run a policy; `check leakage` takes a factory under this name.
tear_sheets_option = click.option(
    "--tearsheets/--no-tearsheets", "tear_sheets", default=True,
    help="pyfolio's sheets on the page, which take most of the time it needs.",
)  # fmt: skip

policy_option = _plain_option(
    "--policy", section="policy", key="name", metavar="MODULE:CLASS", help="Your own policy; its keys are policy.KEY."
)


def config_options(command: Callable) -> Callable:
    """The options that decide the configuration; the same in every command."""
    for option in reversed(CONFIG_OPTIONS):
        command = option(command)
    return command


def resolve(
    ctx: click.Context, preset: str, config_file: str | None, settings: tuple[str, ...], trust: bool = True
) -> RunConfig:
    """The configuration that the options state; without ``trust`` no class outside this program is imported for it."""
    from clusterfolio.engine.config.run import make_config

    return make_config(layered(ctx, preset, config_file, settings, trust), trust)


def layered(
    ctx: click.Context, preset: str, config_file: str | None, settings: tuple[str, ...], imports: bool = True
) -> dict:
    """The settings: a plain flag beats --set beats --config beats --preset.

    Args:
        imports: classes that they name are going to be imported.

    Raises:
        TrustError: one of them is named by a run directory's configuration alone, and --trust was not given.
    """
    stated = merge(*(parse_setting(text) for text in settings), ctx.meta.get("plain", {}))
    layers = [read_preset(preset)]
    if config_file:
        if not Path(config_file).is_file():
            raise FileNotFoundError(f"--config {config_file}: no such file")
        layers.append(read_toml(Path(config_file)))
        if imports and (Path(config_file).parent / "run.json").exists():
            check_trust(Path(config_file).parent, layers[-1], ctx.meta.get("trust", False), stated)
        elif imports:
            _say_whose(Path(config_file), layers[-1], stated)
    return merge(*layers, stated)


def _say_whose(config_file: Path, theirs: dict, stated: dict) -> None:
    """Say what a configuration from another folder is going to import: it counts as the user's own word."""
    if config_file.resolve().parent == Path.cwd():
        return
    named = [(key, name) for key, name in foreign(theirs) if (key, name) not in set(foreign(stated))]
    for key, name in named:
        module = Path(*name.partition(":")[0].split("."))
        beside = (config_file.parent / module.with_suffix(".py")).exists() or (config_file.parent / module).is_dir()
        here = module.with_suffix(".py").exists() or module.is_dir()
        said = f"--config {config_file}: {key} = {name!r} is imported and run, as your own word"
        if beside and not here:
            said += (
                "; its module lies beside that file, and modules are looked for in the current folder: change to "
                f"{config_file.parent} if you know whose it is"
            )
        console.print(said, style="yellow", markup=False, highlight=False, soft_wrap=True)
