"""The main job: prices -> panel -> features -> encoder -> decisions -> backtest -> run directory."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from clusterfolio.engine.assembly.market import load_market
from clusterfolio.engine.assembly.plan import plan_folds, test_dates
from clusterfolio.engine.assembly.policy import make_fold_policy
from clusterfolio.engine.assembly.prepare import prepare
from clusterfolio.engine.config.run import RunConfig, dump, to_dict
from clusterfolio.engine.config.trust import foreign
from clusterfolio.engine.evidence.assessment import Assessment
from clusterfolio.engine.evidence.cluster_maps import cluster_maps
from clusterfolio.engine.evidence.promises import promises
from clusterfolio.engine.folds.fitting import FoldGuard, FoldPolicies, align_folds, dismiss_team, fit_folds
from clusterfolio.engine.jobs.afterwards import Failure, afterwards, kept
from clusterfolio.engine.ledger.ledger import Ledger, enter
from clusterfolio.engine.ledger.trials import code_version, fingerprint_of_returns, trial_of
from clusterfolio.engine.parallel import processes
from clusterfolio.engine.progress import Reporter, Silent, StageClock
from clusterfolio.engine.run_dir import artifacts
from clusterfolio.engine.run_dir.description import describe_folds, describe_run, versions
from clusterfolio.engine.run_dir.finished import FinishedRun
from clusterfolio.engine.run_dir.own_code import own_code
from clusterfolio.engine.run_dir.remarks import broken_positions, grouped
from clusterfolio.engine.run_dir.stored import check_model, stored_folds
from clusterfolio.engine.run_dir.tables import read_run
from clusterfolio.engine.run_dir.work import work_folder, work_key
from clusterfolio.engine.trading.backtest import BacktestResult, run_backtest
from clusterfolio.engine.trading.metrics import compute_metrics
from clusterfolio.feeds.panel import Panel
from clusterfolio.feeds.writing import write_json, write_table
from clusterfolio.models.distributed import current_team
from clusterfolio.strategies.cluster_policy import ClusterPolicy
from clusterfolio.strategies.passports.continuity import with_lasting_names
from clusterfolio.strategies.passports.importance import importance_table
from clusterfolio.strategies.passports.passport import PassportNotes, passports
from clusterfolio.strategies.policy import Decision, guard_of

log = logging.getLogger(__name__)

#: What run.json says of the ledger until the run has been entered.
NOT_YET = {"error": "it was finished, and ended before it was counted"}


@dataclass(frozen=True)
class Outcome:
    """A finished run: where it lies, what it found, its place in the ledger (as in run.json), how far it can be
    believed (None where that was not asked for), what is to be said of its data as a whole, and what failed once it was
    finished (its verdict, its page).
    """

    folder: Path
    metrics: dict
    verdicts: pd.DataFrame
    result: BacktestResult
    ledger: dict
    assessment: Assessment | None = None
    notes: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()


def run(
    config: RunConfig,
    out: Path,
    reporter: Reporter | None = None,
    model_from: Path | None = None,
    report: bool = True,
    ledger: Ledger | None = None,
    tear_sheets: bool = True,
) -> Outcome:
    """Do the main job and write its directory, whole or not at all; the ledger has a row of it then.

    Args:
        config: every setting, as ``make_config`` makes it.
        out: the run directory; must not exist or be empty.
        reporter: told of stages and progress; None = nobody.
        model_from: a run directory whose trained model is used instead of training one.
        report: write report.html and its pictures too (they can be made later from the files).
        ledger: where the trial is counted; None = the user's own. If it cannot be written, run.json and a warning say
            why.
        tear_sheets: put pyfolio's sheets on the page.

    Raises:
        FileExistsError: ``out`` is not empty, or another process is at work on the very same run.
        DataError: the data cannot carry the run.
        ValueError: the configuration cannot be carried out; the message names the key.
    """
    reporter = reporter or Silent()
    config = config.with_absolute_paths()
    artifacts.check_free(out)
    if model_from is not None:
        check_model(config, model_from)
    code = code_version()
    clock = StageClock(reporter)
    with clock.stage("load"):
        market = load_market(config)
        panel, verdicts = market.panel, market.verdicts
    dates = test_dates(panel, config)
    with clock.stage("features"):
        panel, cash, cash_source = prepare(config, panel)
    planned = plan_folds(config, panel, dates)
    fingerprint = artifacts.fingerprint(panel)
    make = partial(make_fold_policy, config, cash)
    sessions = panel.sessions[panel.sessions >= dates[0]]
    benchmark = panel.session_closes()[panel.benchmark]
    same_for_any_workers = to_dict(replace(config, engine=replace(config.engine, workers=1)))
    own_files = own_code(name for _, name in foreign(to_dict(config)))
    key = work_key(same_for_any_workers, fingerprint, str(model_from), current_team().size)
    with work_folder(out, key, {"the program": code} | versions() | own_files) as work:
        with clock.stage("fit"):
            if model_from is None:
                workers = processes(config.engine.workers, config.train.threads)
                warm = config.walk_forward.warm_start
                policies = fit_folds(planned, panel, make, work, warm, reporter.advance, workers)
                apart = align_folds(planned, panel, policies)
            else:
                planned, policies = stored_folds(planned, make, model_from)
                apart = {}
            dismiss_team()
        policy_for = FoldPolicies(planned, policies)
        notes = PassportNotes(policy_for, config.engine.seed)
        with clock.stage("backtest"):
            result = run_backtest(
                panel,
                notes,
                dates,
                config.trading,
                clock=config.engine.clock,
                progress=lambda day: reporter.advance(sessions.searchsorted(day) + 1, len(sessions), f"{day.date()}"),
                cash=cash,
            )
            gc.collect()  # backtrader's objects know one another and hold what they were fed, 110 MiB in ten years
        result = replace(result, decisions=with_lasting_names(result.decisions))
        metrics = compute_metrics(result, cash, benchmark)
        with artifacts.new_run_dir(out, work / "run") as draft:
            with clock.stage("write"):
                artifacts.write_tables(draft, result, verdicts, panel, config.trading.fractional)
                encoded = write_clusters(draft, result.decisions, notes, policy_for, panel)
                if report:  # drawn on the page alone, and as costly as all other tables together
                    artifacts.write_maps(draft, cluster_maps(result.decisions, encoded))
                (draft / "config.toml").write_text(dump(config), encoding="utf-8")
                write_json(draft / "metrics.json", metrics)
                artifacts.save_policies(draft, planned, policies)
                write_table(draft / "benchmark.csv", benchmark.rename("close").rename_axis("date").to_frame())
                facts = describe_run(
                    config, panel, planned[-1], policies[planned[-1].number], result, cash_source, fingerprint
                )
                facts["remarks"] = grouped(verdicts)
                broken = broken_positions(verdicts, result.positions)
                facts["notes"] = [*market.notes, *broken, *facts["notes"]]
                facts["folds"] = describe_folds(planned, policies, apart)
                facts["fingerprint"] |= {"code": code, "returns": fingerprint_of_returns(result.returns)}
                facts["own_code"] = own_files
                write_json(draft / "run.json", facts | {"ledger": NOT_YET} | clock.measured())
                # Before anyone sees the result; killed from here on, the same command is the same trial.
                facts["ledger"] = enter(trial_of(facts, result.returns, metrics, out), ledger)
            failures: list[Failure] = []
            with kept("noting its place in the ledger", failures):
                write_json(draft / "run.json", facts | clock.measured())
            guard = guard_of(FoldGuard(planned, policies))

            def opened() -> FinishedRun:
                return FinishedRun(draft, config, panel, cash, result.decisions, read_run(draft), guard)

            judged = opened if config.significance.on else None
            assessed, failed = afterwards(draft, out, judged, report, clock, ledger, tear_sheets)
            failures += failed
            with kept("noting how long it took", failures):
                write_json(draft / "run.json", facts | clock.measured())
    said = (*market.notes, *broken)
    return Outcome(Path(out), metrics, verdicts, result, facts["ledger"], assessed, said, tuple(failures))


def write_clusters(
    folder: Path, decisions: Sequence[Decision], notes: PassportNotes, policy_for: FoldPolicies, panel: Panel
) -> pd.DataFrame | None:
    """Write what was promised of clusters and kept; and what only a policy with an encoder leaves: passports, its own
    embeddings at the last decision, and what it saw.

    Returns:
        The encoder's own embeddings of what the last decision with clusters clustered, where these were drawn from
        others: of that one alone, since every training before would embed two years of windows anew, for a picture.
    """
    last = artifacts.last_with_clusters(decisions)
    if last is None:
        return None
    artifacts.write_promises(folder, promises(decisions, panel))
    newest, policy = policy_for(decisions[-1].asof), policy_for(last.asof)
    if not isinstance(newest, ClusterPolicy) or not isinstance(policy, ClusterPolicy):
        return None
    artifacts.write_passports(folder, passports(decisions, notes.known, panel))
    artifacts.write_importance(folder, importance_table(newest, panel, decisions[-1]))
    encoded = policy.encoded(panel.until(last.asof), list(last.labels.index))
    if encoded is not None:
        artifacts.write_encoded(folder, encoded, last.asof)
    return encoded
