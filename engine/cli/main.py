"""Command line of clusterfolio: arguments -> RunConfig -> engine; says where the results are."""

from __future__ import annotations

import json
import logging
import math
import sys
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from clusterfolio.engine.cli import commands
from clusterfolio.engine.config.run import describe, dump, make_config
from clusterfolio.engine.config.settings import merge, parse_setting, presets, read_preset, read_toml
from clusterfolio.engine.folds.fitting import training_team
from clusterfolio.engine.jobs.decide import decide
from clusterfolio.engine.jobs.run import run
from clusterfolio.engine.jobs.sweep import read_grid, run_sweep
from clusterfolio.engine.leakage.findings import CHANGES
from clusterfolio.engine.ledger import explain
from clusterfolio.engine.ledger.audit import audit
from clusterfolio.engine.ledger.ledger import Ledger
from clusterfolio.engine.progress import Silent
from clusterfolio.feeds.raw import DataError

EXIT_CODES = """
\b
Exit codes:
  0    done
  1    a fault of the program (please report it, with the traceback)
  2    a wrong argument, configuration or file; the message says which
  3    the data cannot carry the run (nothing usable, no benchmark, no exchange rate)
  4    a check found a leak, or a ledger that is not whole
  130  interrupted with Ctrl-C; nothing half-written is left, the same command goes on
"""

console = Console(stderr=True)


class Fault(click.ClickException):
    """An error the user can mend: a message and an exit code instead of a traceback."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def faults():
    """Errors of arguments, files and data become one line (with -v: the traceback too)."""
    try:
        yield
    except (ValueError, OSError) as error:
        logging.getLogger(__name__).info("traceback", exc_info=True)
        raise Fault(str(error), 3 if isinstance(error, DataError) else 2) from error
    except KeyboardInterrupt:
        console.print("[yellow]Interrupted; nothing half-written is left. Run the same command to go on.")
        sys.exit(130)


class Stderr:
    """Standard error as it is at the time: a line logged under a progress bar is then printed above it."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class Bars:
    """Progress on the console: a line per stage."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self.task = None

    def stage(self, name: str) -> None:
        self.close()
        self.task = self.progress.add_task(name, total=None, detail="")

    def advance(self, done: int, total: int, text: str = "") -> None:
        self.progress.update(self.task, completed=done, total=total, detail=text)

    def close(self) -> None:
        if self.task is not None:
            total = self.progress.tasks[self.task].total or 1
            self.progress.update(self.task, total=total, completed=total)


@contextmanager
def reporter(quiet: bool):
    """Something that shows progress, or says nothing."""
    if quiet:
        yield Silent()
        return
    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=console) as progress:
        bars = Bars(progress)
        yield bars
        bars.close()


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


CONFIG_OPTIONS = (
    click.option("--preset", default="default", show_default=True, help=f"One of: {', '.join(presets())}."),
    click.option("--config", "config_file", type=click.Path(dir_okay=False), help="A TOML file; beats the preset."),
    click.option("--set", "settings", multiple=True, metavar="SECTION.KEY=VALUE", help="Any key of `config show`."),
    _plain_option("--source", section="data", key="source", help="simulated, files or yahoo."),
    _plain_option("--path", section="data", key="path", many=True, multiple=True, metavar="FILE_OR_DIR",
                  help="CSV or Parquet files or folders, for source files; may be repeated."),
    _plain_option("--universe", section="data", key="universe", help="seed, default, all, or a CSV file."),
    _plain_option("--include", section="data", key="include", metavar="SYM,...", help="Add these symbols."),
    _plain_option("--exclude", section="data", key="exclude", metavar="SYM,...", help="Leave these symbols out."),
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


def config_options(command):
    """The options that decide the configuration; the same in every command."""
    for option in reversed(CONFIG_OPTIONS):
        command = option(command)
    return command


def resolve(ctx: click.Context, preset: str, config_file: str | None, settings: tuple[str, ...]):
    """The configuration that the options state."""
    return make_config(layered(ctx, preset, config_file, settings))


def layered(ctx: click.Context, preset: str, config_file: str | None, settings: tuple[str, ...]) -> dict:
    """The settings: a plain flag beats --set beats --config beats --preset."""
    layers = [read_preset(preset)]
    if config_file:
        if not Path(config_file).is_file():
            raise FileNotFoundError(f"--config {config_file}: no such file")
        layers.append(read_toml(Path(config_file)))
    layers.append(merge(*(parse_setting(text) for text in settings)))
    layers.append(ctx.meta.get("plain", {}))
    return merge(*layers)


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="clusterfolio")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens, and the traceback of an error.")
def main(verbose: bool) -> None:
    """Portfolios of uncorrelated return streams, found by a learned embedding and traded in backtrader.

    Start with `run`: it needs no data and no key, makes up a market, and ends with the path of a report.
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=Stderr(),
    )


@main.command("run", epilog=EXIT_CODES)
@config_options
@click.option("--out", type=click.Path(path_type=Path), help="Run directory  [default: runs/PRESET-TIME]")
@click.option(
    "--model",
    "model_from",
    type=click.Path(path_type=Path),
    metavar="RUN_DIR",
    help="Use its trained model, and its settings unless --preset or --config says otherwise.",
)
@click.option("--report/--no-report", default=True, help="Write report.html; `report RUN_DIR` can do it later.")
@click.option("-q", "--quiet", is_flag=True, help="Print only where the result is.")
@click.pass_context
def run_command(ctx, preset, config_file, settings, out, model_from, report, quiet):
    """Train, trade the test span bar by bar, and write a run directory with a report.

    \b
    Examples:
      run                                              a made-up market
      run --source files --path prices/                your own prices
      run --preset seed --source yahoo                 the published set-up
      run --set trading.rebalance=quarter --currency EUR
      run --preset rolling --set walk_forward.refit=month     trained anew every month
    """
    with faults(), training_team() as leads:
        if not leads:  # started by torchrun to help with the training, which is done
            return
        if model_from and not config_file and ctx.get_parameter_source("preset") is not ParameterSource.COMMANDLINE:
            config_file = commands.config_of(model_from)  # the same run again, but for what is asked for here
        config = resolve(ctx, preset, config_file, settings)
        out = out or Path("runs") / f"{preset}-{datetime.now():%Y%m%d-%H%M%S}"
        with reporter(quiet) as progress:
            outcome = run(config, out, progress, model_from, report)
    if not quiet:
        _show_verdicts(outcome)
        _show_metrics(outcome)
        if outcome.assessment is not None:
            _show_verdict(outcome.assessment.verdict)
        if "error" in outcome.ledger:
            console.print(
                f"Not counted among your trials: {outcome.ledger['error']}",
                style="yellow",
                markup=False,
                highlight=False,
            )
        else:
            console.print(f"Trials counted so far: {outcome.ledger['count']} (`trials` lists them)")
    click.echo(outcome.folder / "report.html" if report else outcome.folder)


@main.command("sweep", epilog=EXIT_CODES)
@click.argument("grid", type=click.Path(path_type=Path))
@config_options
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
      "embedding.kind" = ["last", "trajectory"]
    """
    with faults():
        trials = read_grid(grid, layered(ctx, preset, config_file, settings))
        out = out or Path("runs") / f"sweep-{grid.stem}"
        with reporter(quiet) as progress:
            table = run_sweep(trials, out, workers, report, progress, cluster)
    failed = table[table["error"] != ""]
    for row in failed.itertuples():
        console.print(f"  failed: {row.trial}: {row.error}", highlight=False, markup=False)
    click.echo(out / "trials.csv")
    if len(failed) == len(table):
        raise Fault("no trial could be run", 2)


@main.command("decide", epilog=EXIT_CODES)
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--asof", required=True, metavar="DATE", help="Decide on this session's close.")
@click.option("--holdings", type=click.Path(path_type=Path), help="CSV: symbol, shares; the symbol CASH holds money.")
@click.option("--path", "paths", multiple=True, metavar="FILE_OR_DIR", help="Newer prices than the run's own.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write the order list here too.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def decide_command(run_dir, asof, holdings, paths, csv_file, quiet):
    """What to hold after the close of a day, and the orders that get you there, with RUN_DIR's trained model."""
    with faults():
        with reporter(quiet) as progress:
            decision, orders = decide(run_dir, asof, holdings, paths, progress)
        if csv_file:
            orders.to_csv(csv_file, index=False)
    table = Table(title=f"Orders for the open after {decision.asof.date()}", title_justify="left")
    for name in orders.columns:
        table.add_column(name, justify="left" if orders[name].dtype == object else "right")
    for row in orders.itertuples(index=False):
        table.add_row(*[f"{cell:,.4f}" if isinstance(cell, float) else str(cell) for cell in row])
    Console().print(table)


@main.command("fetch", epilog=EXIT_CODES)
@config_options
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.pass_context
def fetch_command(ctx, preset, config_file, settings, quiet):
    """Fill or update the Yahoo cache for a universe; may be interrupted and run again."""
    with faults():
        config = resolve(ctx, preset, config_file, (*settings, "data.source=yahoo"))
        with reporter(quiet) as progress:
            outcomes = commands.fetch_prices(config, progress)
    for row in outcomes.itertuples():
        click.echo(f"{row.Index:<12} {row.outcome:<10} {row.why}")
    failed = int((outcomes["outcome"] == "failed").sum())
    click.echo(f"{len(outcomes) - failed} of {len(outcomes)} symbols are in the cache")
    if failed == len(outcomes):
        raise Fault("no symbol could be fetched", 3)


@main.command("news", epilog=EXIT_CODES)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--rss", multiple=True, metavar="URL", help="An RSS or Atom feed; may be repeated.")
@click.option("--symbol", "symbols", multiple=True, metavar="SYM", help="Yahoo's news on it; may be repeated.")
@click.option("--scorer", default="", metavar="NAME", help="Score them now: vader, finbert, roberta or a model's name.")
def news_command(file, rss, symbols, scorer):
    """Add the latest headlines to FILE, a CSV of dated texts for inputs.sentiment; call it as often as news appear.

    \b
    Examples:
      news texts.csv --rss https://example.org/markets.xml --scorer vader
      news texts.csv --symbol SPY --symbol AAPL
      run --set inputs.sentiment=texts.csv
    """
    with faults():
        click.echo(f"{commands.collect_news(file, rss, symbols, scorer)} new texts in {file}")


@main.command("universe", epilog=EXIT_CODES)
@click.argument("which", default="default")
@click.option("--asset-class", help="Only this class.")
@click.option("--region", help="Only this region.")
@click.option("--quote-currency", help="Only listings in this currency.")
@click.option("--check", is_flag=True, help="Look for problems instead of listing; exit code 2 if there are any.")
def universe_command(which, asset_class, region, quote_currency, check):
    """List, filter or check a universe: seed, default, or a CSV file of yours."""
    with faults():
        table, problems = commands.universe(which, asset_class, region, quote_currency)
    if check:
        for problem in problems:
            click.echo(problem)
        click.echo(f"{len(table)} symbols, {len(problems)} problems")
        if problems:
            sys.exit(2)
        return
    click.echo(table.to_csv().rstrip())


@main.command("report", epilog=EXIT_CODES)
@click.argument("run_dir", type=click.Path(path_type=Path))
def report_command(run_dir):
    """Write RUN_DIR/report.html anew from the files in the run directory."""
    with faults():
        click.echo(commands.rebuild_report(run_dir))


@main.group("check")
def check_group() -> None:
    """Look for faults that make a result too good."""


@check_group.command("leakage", epilog=EXIT_CODES)
@config_options
@click.option("--policy", metavar="MODULE:FACTORY", help="Your own: package.module:factory  [default: the built-in]")
@click.option("--dates", "n_days", type=click.IntRange(min=1), default=3, show_default=True, help="Days to decide on.")
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.pass_context
def check_leakage_command(ctx, preset, config_file, settings, policy, n_days, as_json, quiet):
    """Does the future reach the past? Takes the options of `run`; exit code 4 if it does.

    On the first decision's day and on random later ones, everything from the source's bars to the fills is computed on
    the data as they are and on data that differ only after that day: cut off, exchanged between symbols, spoilt, with
    new listings, with other figures published later. Whatever was known by that day's close must be equal, bit for bit
    (a policy of yours may round differently, by 1e-9). The first stage that is not names the leak.

    \b
    Stages, in order:
      universe, prices (quality, currency), exogenous (cash, macro), features, scaler, training,
      embedding, eligibility, clusters, sharpe, selection, weights, fills

    The built-in policy is trained for one short pass, which shows a leak as well as a long one does. A policy of yours
    is any object with fit(panel, start) and decide(panel, state); FACTORY returns an unfitted one, and may require
    arguments named config (this configuration) and panel (all of it, as with a look into the future).

    \b
    Examples:
      check leakage
      check leakage --source files --path prices/ --dates 5
      check leakage --policy my_policy:MyPolicy --json
    """
    with faults():
        sys.path.insert(0, str(Path.cwd()))  # where a user's own module lies
        config = resolve(ctx, preset, config_file, settings)
        with reporter(quiet) as progress:
            report = commands.check_leakage(config, policy, n_days, progress)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        _show_leakage(report)
    if not report.clean:
        sys.exit(4)


@main.group("trials", invoke_without_command=True, epilog=EXIT_CODES)
@click.option("--last", type=click.IntRange(min=1), default=30, show_default=True, help="So many, the newest.")
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list with every column, for other programs.")
@click.pass_context
def trials_group(ctx, last, every, as_json):
    """What you have tried so far: every run and every trial of a sweep is counted, by the tool and not from memory.

    A result is to be judged by how many were looked at before it was shown. An identical run (same settings, data,
    code and seed, same returns) is the same trial and is counted once. The ledger is one file per user; the environment
    variable CLUSTERFOLIO_LEDGER moves it, and it only grows: `trials verify` finds what was changed or removed.

    \b
    Examples:
      trials                                 the newest, a line each
      trials compare runs/first 8bd1c2       two results side by side; a run directory or the first digits of a key
      trials explain runs/first runs/second  why they differ: settings, data, code, seed, dates
      trials verify runs                     is the ledger whole, and what the runs in this folder saw
    """
    if ctx.invoked_subcommand is not None:
        return
    with faults():
        ledger = Ledger()
        table = ledger.trials()
    shown = table if every else table.tail(last)
    if as_json:
        click.echo(json.dumps(explain.records(shown), indent=2))
        return
    _show_trials(shown)
    click.echo(f"{len(shown)} of {len(table)} trials in {ledger.path}")


@trials_group.command("compare", epilog=EXIT_CODES)
@click.argument("first")
@click.argument("second")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def trials_compare(first, second, as_json):
    """The results of two trials side by side, each a run directory or the first digits of a key."""
    with faults():
        both = [explain.find_trial(name, Ledger()) for name in (first, second)]
    figures, (sessions, correlation) = explain.compare(*both), explain.common_sessions(*both)
    if as_json:
        plain = json.loads(figures.to_json(orient="index", double_precision=15))
        said = {"first": both[0].key, "second": both[1].key, "common_sessions": sessions}
        said["correlation"] = None if math.isnan(correlation) else correlation
        click.echo(json.dumps(said | {"figures": plain}, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("", both[0].key[:8], both[1].key[:8], "difference"):
        table.add_column(name, justify="right" if name else "left")
    for name, row in figures.iterrows():
        form = ".2f" if name.endswith(("sharpe", "sortino", "turnover")) else ".1%"
        table.add_row(name.replace("_", " "), *["-" if math.isnan(cell) else format(cell, form) for cell in row])
    _wide_console().print(table)
    if sessions < 3:
        click.echo(f"{sessions} sessions in common")
    else:
        click.echo(f"{sessions} sessions in common, correlation of the daily returns there {correlation:.3f}")


@trials_group.command("explain", epilog=EXIT_CODES)
@click.argument("first")
@click.argument("second")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def trials_explain(first, second, as_json):
    """Why two trials differ: every setting, data, code, seed, dates and version that is not the same in both.

    Each is a run directory or the first digits of a key.
    """
    with faults():
        both = [explain.find_trial(name, Ledger()) for name in (first, second)]
    found = explain.differences(*both)
    verdict = explain.conclusion(*both, found)
    if as_json:
        click.echo(json.dumps({"conclusion": verdict, "differences": [vars(one) for one in found]}, indent=2))
        return
    if found:
        table = Table(box=None, pad_edge=False)
        for name in ("", both[0].key[:8], both[1].key[:8], "a matter of"):
            table.add_column(name, overflow="fold")
        for one in found:
            table.add_row(one.what, one.first, one.second, one.cause or "-")
        _wide_console().print(table, markup=False)
    click.echo(verdict)


@trials_group.command("verify", epilog=EXIT_CODES)
@click.argument("folders", nargs=-1, metavar="[FOLDER]...", type=click.Path(exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def trials_verify(folders, as_json):
    """Is the ledger whole? Every row against the one before it, and against the run directories, both ways.

    Checked are the run directories that the ledger knows and still finds, and all in and below each FOLDER: only they
    can tell that the ledger's end was cut off. Exit code 4 if anything is wrong.
    """
    with faults():
        found = audit(Ledger(), folders)
    if as_json:
        click.echo(json.dumps(vars(found), indent=2))
    else:
        for problem in found.problems:
            click.echo(problem)
        wrong = f"{len(found.problems)} problems" if found.problems else "nothing wrong"
        click.echo(f"{found.trials} trials and {found.runs} run directories checked: {wrong}")
    if found.problems:
        sys.exit(4)


@main.command("significance", epilog=EXIT_CODES)
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("-q", "--quiet", is_flag=True, help="Print only where the evidence is.")
def significance_command(run_dir, quiet):
    """How far RUN_DIR's result can be believed, in words; the evidence goes into RUN_DIR.

    The prices are loaded again and must be those of the run. One test decides, fixed beforehand: do the picks earn more
    than random picks from the same clusters? Every other run on the same history, as the ledger counts them, makes the
    test stricter. `run` does this by itself; do it again after other runs, or after a run with significance.on=false.
    """
    with faults(), reporter(quiet) as progress:
        found, reported = commands.judge(run_dir, progress)
    if not quiet:
        _show_verdict(found.verdict)
    click.echo(run_dir / ("report.html" if reported else "significance.json"))


@main.command("compare", epilog=EXIT_CODES)
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--only", "names", multiple=True, metavar="BASELINE", help="This baseline only; may be repeated.")
@click.option("--seeds", "n_seeds", type=click.IntRange(min=0), default=5, show_default=True, help="In all; 0 = none.")
@click.option(
    "--offsets", "n_offsets", type=click.IntRange(min=0), default=5, show_default=True, help="In all; 0 = none."
)
@click.option("--workers", type=click.IntRange(min=0), default=0, show_default="as the cores allow", help="Processes.")
@click.option("-q", "--quiet", is_flag=True, help="Print only where the result is.")
def compare_command(run_dir, names, n_seeds, n_offsets, workers, quiet):
    """What RUN_DIR has to beat, and how much of its result hangs on the seed and on the day of the month.

    Every baseline trades the run's dates and assets, at its costs, through its engine. Those that are fitted (principal
    components of the same windows; the encoder before its training) are fitted fold by fold, as the run's encoder was.

    SEEDS: the run again with other seeds, its own included in the number. Each is a run directory of its own, and a
    trial that the ledger counts. OFFSETS: the run's own encoders decide on other days, spread evenly over the time from
    one decision to the next.

    What is finished is kept in RUN_DIR/compare and not done again; interrupted, the same command goes on.

    \b
    Tables in RUN_DIR:
      baselines.csv         a row per policy, the strategy and the benchmark among them
      baseline_returns.csv  their daily returns, net of costs
      seeds.csv             a row per seed
      offsets.csv           a row per number of sessions by which every decision was put off
    """
    with faults(), reporter(quiet) as progress:
        found, reported = commands.compare(run_dir, names or None, n_seeds, n_offsets, workers, progress)
    if not quiet:
        _show_comparison(found)
    click.echo(run_dir / ("report.html" if reported else "baselines.csv"))


@main.group("config")
def config_group() -> None:
    """Look at the configuration."""


@config_group.command("show", epilog=EXIT_CODES)
@config_options
@click.option("--toml", is_flag=True, help="The resolved configuration as a file for --config.")
@click.pass_context
def config_show(ctx, preset, config_file, settings, toml):
    """Every key, its value under these options, its default and its meaning."""
    with faults():
        config = resolve(ctx, preset, config_file, settings)
    if toml:
        click.echo(dump(config), nl=False)
        return
    section = None
    for name, key, value, default, meaning in describe(config):
        if name != section:
            section = name
            click.secho(f"\n[{section}]", bold=True)
        changed = "" if value == default else f"   (default {default!r})"
        click.echo(f"  {key} = {value!r}{changed}\n      {meaning}")


@main.command("doctor", epilog=EXIT_CODES)
@config_options
@click.pass_context
def doctor_command(ctx, preset, config_file, settings):
    """Versions, devices, caches, and what a run with these options would use."""
    with faults():
        config = resolve(ctx, preset, config_file, settings)
        for name, value in commands.doctor(config):
            click.echo(f"{name:<22} {value}")


def _wide_console() -> Console:
    """Where tables go that are the command's result; a pipe has no width of its own."""
    return Console(width=None if sys.stdout.isatty() else 120)


def _show_trials(trials) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("key", "made (UTC)", "run", "source", "seed", "tested", "return", "Sharpe", "benchmark"):
        right = name in ("seed", "return", "Sharpe", "benchmark")
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=name != "run")
    for key, row in trials.iterrows():
        figures = ((row["total_return"], ".1%"), (row["sharpe"], ".2f"), (row["benchmark_total_return"], ".1%"))
        table.add_row(
            key[:8],
            f"{row['at']:%Y-%m-%d %H:%M}",
            Path(row["run"]).name,
            row["source"],
            str(row["seed"]),
            f"{row['start']:%Y-%m-%d}..{row['end']:%Y-%m-%d}",
            *["-" if math.isnan(cell) else format(cell, form) for cell, form in figures],
        )
    _wide_console().print(table, markup=False)


def _show_verdicts(outcome) -> None:
    counts = outcome.verdicts["verdict"].value_counts()
    console.print("Symbols: " + ", ".join(f"{count} {name}" for name, count in counts.items()), highlight=False)
    for verdict in ("dropped", "absent", "passed over"):
        rows = outcome.verdicts[outcome.verdicts["verdict"] == verdict]
        for name, row in rows.head(10).iterrows():
            console.print(f"  {verdict}: {name}: {row['why']}", highlight=False, markup=False)
        if len(rows) > 10:
            console.print(f"  ... and {len(rows) - 10} more; see symbols.csv", highlight=False)
    notes = [note for decision in outcome.result.decisions for note in decision.diagnostics["notes"]]
    for note in dict.fromkeys(notes):
        console.print(f"  note: {note}", highlight=False, markup=False)
    for day, name, why in outcome.result.unfilled:
        console.print(f"  not filled: {name} on {day.date()}: {why}", highlight=False, markup=False)


def _show_leakage(report) -> None:
    days = ", ".join(f"{day:%Y-%m-%d}" for day in report.checked["day"].unique())
    stages = report.stages()
    table = Table(box=None, pad_edge=False)
    for name, side in (("stage", "left"), ("values compared", "right"), ("differ", "right")):
        table.add_column(name, justify=side)
    for name, row in stages.iterrows():
        table.add_row(name, f"{row['values']:,}", f"[red]{row['differ']:,}" if row["differ"] else "0")
    click.echo(f"Decided on {days}, as it was and with other futures")
    Console().print(table)
    for finding in report.findings:
        click.secho(f"LEAK in {finding}", fg="red")
        for change in finding.changes:
            click.echo(f"  seen when {CHANGES[change]}")
    for note in report.notes:
        click.echo(f"note: {note}")
    found = "No leak found" if report.clean else f"{len(report.findings)} found"
    click.echo(f"{found}, in {report.seconds:.0f} s")


def _show_verdict(verdict) -> None:
    console.print(f"\n[bold]Verdict:[/bold] {verdict.headline}", highlight=False)
    groups = (("supported", verdict.supports), ("not supported", verdict.against), ("needed", verdict.needed))
    for label, points in groups:
        for point in points:
            console.print(f"  {label}: {point}", highlight=False, markup=False, soft_wrap=True)
    for heading, text in verdict.caveats:
        console.print(f"  but: {heading}: {text}", highlight=False, markup=False, soft_wrap=True)


def _show_comparison(found) -> None:
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


def _show_policies(table, first: str) -> None:
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
        cells = ["-" if math.isnan(cell) else format(cell, forms[column][1]) for column, cell in row.items()]
        shown.add_row(str(name), *cells, style="bold" if name == "this strategy" else None)
    _wide_console().print(shown)


def _show_spread(table, what: str) -> None:
    for column, label, form in (("sharpe", "Sharpe ratio", ".2f"), ("total_return", "total return", ".1%")):
        known = table[column].dropna()
        if len(known) > 1:
            figures = (known.mean(), known.std(), known.min(), known.max())
            mean, spread, low, high = (format(figure, form).replace("%", " %") for figure in figures)
            click.echo(f"{label} of {len(known)} {what}: mean {mean}, standard deviation {spread}, {low} to {high}")


def _show_metrics(outcome) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in ("strategy", "benchmark"):
        table.add_column(name, justify="right")
    lines = (
        ("total return", "total_return", ".1%"), ("return a year", "cagr", ".1%"), ("volatility", "volatility", ".1%"),
        ("Sharpe ratio", "sharpe", ".2f"), ("worst drawdown", "max_drawdown", ".1%"),
    )  # fmt: skip
    for label, key, form in lines:
        cells = [outcome.metrics[name][key] for name in ("strategy", "benchmark")]
        table.add_row(label, *["-" if cell is None else format(cell, form) for cell in cells])
    console.print(table)


if __name__ == "__main__":
    main()
