"""Many configurations and seeds, a trial each, spread over processes; finished trials are never done again."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from clusterfolio import ClusterfolioError
from clusterfolio.engine.config.run import make_config, to_dict
from clusterfolio.engine.config.settings import merge, read_toml
from clusterfolio.engine.config.trust import foreign
from clusterfolio.engine.jobs.run import run
from clusterfolio.engine.ledger.ledger import Ledger, LedgerError
from clusterfolio.engine.ledger.trials import code_version
from clusterfolio.engine.parallel import processes, run_all
from clusterfolio.engine.progress import Reporter, Silent
from clusterfolio.engine.run_dir import artifacts
from clusterfolio.engine.run_dir.own_code import own_code
from clusterfolio.engine.run_dir.work import work_key
from clusterfolio.feeds.writing import write_table
from clusterfolio.models.distributed import started_by_torchrun

log = logging.getLogger(__name__)

TABLE = "trials.csv"

#: What the table says of a trial's result, from ``metrics.json``'s ``strategy``.
FIGURES = ("total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "turnover")


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        name: of its run directory; the same settings have the same name in every sweep of the same code.
        settings: what ``make_config`` takes.
        chosen: the values that tell it from its neighbours, by ``section.key``.
    """

    name: str
    settings: dict
    chosen: dict


def read_grid(path: Path, base: dict) -> list[Trial]:
    """The trials of a grid file: every combination of the values in ``[grid]``, once for each of ``seeds``.

    Args:
        path: TOML with ``[grid]``, where ``"section.key" = [values]``, and ``seeds = [numbers]`` (default: the
            configuration's own).
        base: settings that hold for all trials.

    Raises:
        ValueError: the file or a trial's configuration is wrong; nothing has run then.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    content = read_toml(path)
    unknown = [name for name in content if name not in ("seeds", "grid")]
    if unknown:
        raise ValueError(f"{path}: unknown key {unknown[0]!r}; available: seeds, grid")
    axes = dict(content.get("grid", {}))
    seeds = content.get("seeds", [])
    if seeds:
        axes["engine.seed"] = seeds
    if not axes:
        raise ValueError(f'{path}: no trials; expected [grid] with "section.key" = [values], or seeds = [numbers]')
    for key, values in axes.items():
        if key.count(".") != 1 or not isinstance(values, list) or not values:
            raise ValueError(f'{path}: {key} = {values!r}; expected "section.key" = [values]')
    trials = []
    for combination in itertools.product(*axes.values()):
        chosen = dict(zip(axes, combination, strict=True))
        own: dict = {}
        for key, value in chosen.items():
            section, _, name = key.partition(".")
            own.setdefault(section, {})[name] = value
        settings = merge(base, own)
        resolved = json.dumps(to_dict(make_config(settings)), sort_keys=True)
        name = "trial-" + hashlib.sha256(resolved.encode()).hexdigest()[:12]
        if name not in [trial.name for trial in trials]:
            trials.append(Trial(name, settings, chosen))
    return trials


def run_sweep(
    trials: Sequence[Trial],
    out: Path,
    workers: int = 0,
    report: bool = False,
    reporter: Reporter | None = None,
    cluster: str = "",
    ledger: Ledger | None = None,
) -> pd.DataFrame:
    """Run what has not run yet and write ``trials.csv``; a row per trial, in the order of ``trials``.

    What other code finished (this program's, or an encoder or policy of the user's own) is kept and counts for nothing
    here: the trial is run anew in a folder of another name, and a warning says so.

    A trial that its configuration or data cannot carry is a row with its error and is tried again next time; one whose
    process dies is started again, and goes on with the trainings it had finished.

    Args:
        out: a folder per trial, and the table.
        workers: processes at a time; 0 = as many as there are cores for, at ``train.threads`` each.
        report: write each trial's report too.
        cluster: address of a Dask scheduler whose workers run the trials; ``out``, the data, the ledger and classes of
            your own must be in the same place for all of them.
        ledger: where the trials are counted; None = the user's own.
    """
    if started_by_torchrun():
        raise ValueError("sweep: torchrun shares one training between processes; start a sweep without it (--workers)")
    reporter = reporter or Silent()
    ledger = Ledger() if ledger is None else ledger
    reporter.stage("sweep")
    out = Path(out).resolve()  # a worker may run elsewhere
    out.mkdir(parents=True, exist_ok=True)
    trials = placed(trials, out)
    rows = {trial.name: finished_row(out / trial.name) for trial in trials}
    missing = [trial for trial in trials if rows[trial.name] is None]
    known = len(trials) - len(missing)
    began, done = time.monotonic(), 0

    def told(_: int) -> None:
        nonlocal done
        done += 1
        minutes = (time.monotonic() - began) / done * (len(missing) - done) / 60
        reporter.advance(known + done, len(trials), f"about {minutes:.0f} min left")

    reporter.advance(known, len(trials), f"{known} found finished" if known else "")
    threads = max((make_config(trial.settings).train.threads for trial in trials), default=1)
    calls = [(trial.settings, out / trial.name, report, ledger.path.resolve()) for trial in missing]
    found = run_all(run_trial, calls, processes(workers, threads), told, cluster)
    rows |= dict(zip((trial.name for trial in missing), found, strict=True))
    table = pd.DataFrame([{"trial": trial.name, **trial.chosen, **rows[trial.name]} for trial in trials])
    write_table(out / TABLE, table, index=False)
    check_counted(table, ledger)
    return table


def placed(trials: Sequence[Trial], out: Path) -> list[Trial]:
    """The trials, under another name where their own is taken by a run that other code finished."""
    found, kept = [], []
    for trial in trials:
        made_by = (code_version(), own_code(name for _, name in foreign(trial.settings)))
        if finished_by(out / trial.name) in (None, made_by):
            found.append(trial)
        else:
            kept.append(trial.name)
            found.append(replace(trial, name=f"{trial.name}-{work_key(made_by)[:6]}"))
    if kept:
        log.warning(
            "%d of %d trials in %s were finished by other code (%s); they are kept, and run anew under other names",
            len(kept), len(trials), out, ", ".join(kept[:3]) + (" ..." if len(kept) > 3 else ""),
        )  # fmt: skip
    return found


def finished_by(run_dir: Path) -> tuple[str, dict[str, str]] | None:
    """What made a finished trial: version of the program, source files of the user's own; None where there is none."""
    if not (run_dir / "metrics.json").is_file():
        return None
    facts = artifacts.read_run_json(run_dir)
    return facts["fingerprint"]["code"], facts.get("own_code", {})


def check_counted(table: pd.DataFrame, ledger: Ledger) -> None:
    """Warn of finished trials that the ledger does not hold: it could not be written, or a worker has another one."""
    finished = table[table["error"] == ""]
    if finished.empty:
        return
    try:
        lost = int((~finished["ledger"].isin(ledger.trials().index)).sum())
    except LedgerError as error:
        log.warning("whether the trials are counted cannot be told: %s", error)
        return
    if lost:
        log.warning("%d of %d trials are not counted in the ledger %s", lost, len(finished), ledger.path)


def run_trial(settings: dict, out: Path, report: bool, ledger: Path) -> dict:
    """Do one trial, in a process of its own; its row of the table.

    It may have been done already, by a process that was lost before it could say so.
    """
    if (row := finished_row(out)) is not None:
        return row
    try:
        # How far a trial can be believed depends on all of them: `significance` says it when the sweep is over.
        later = {} if report else {"significance": {"on": False}}
        run(make_config(merge(settings, later)), out, report=report, ledger=Ledger(ledger))
    except (ClusterfolioError, ValueError, FloatingPointError, FileNotFoundError) as error:
        log.warning("%s: %s", out.name, error)
        return {"error": str(error)}
    return finished_row(out)


def finished_row(run_dir: Path) -> dict | None:
    """What the table says of a finished trial; None where there is none (a run directory is written whole)."""
    if not (run_dir / "metrics.json").is_file():
        return None
    metrics = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
    facts = artifacts.read_run_json(run_dir)
    return {
        **{name: metrics["strategy"][name] for name in FIGURES},
        "benchmark_sharpe": metrics["benchmark"]["sharpe"],
        "ledger": facts["ledger"].get("trial", ""),
        "seconds": round(sum(facts["seconds"].values()), 1),
        "error": "",
    }
