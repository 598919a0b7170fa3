"""A whole walk-forward from the command line: no look-ahead, killed and gone on with, side by side."""

import functools
import json
import random
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pytest
from click.testing import CliRunner

import clusterfolio.engine.folds.fitting
import clusterfolio.engine.jobs.run
import clusterfolio.models.training
import clusterfolio.strategies.cluster_policy
from clusterfolio.engine.cli.main import main
from clusterfolio.engine.leakage.poison import exchanged, negated, scaled
from clusterfolio.feeds.exogenous.publication import known_on
from clusterfolio.strategies.cluster_policy import ClusterPolicy
from tests.kill_run import ROOT, kill_in_stage
from tests.market_files import run_options, write_market
from tests.test_look_ahead import differences, poison
from tests.walk_forward_files import read_facts, rolling_options, trainings

#: A decision inside the first fold, the one on which the second fold is trained, and one inside the third.
DAYS = ("2024-05-31", "2024-06-28", "2024-11-29")


def run(data, out, *more):
    result = CliRunner().invoke(main, rolling_options(data, out, *more))
    if result.exit_code:
        raise AssertionError(result.output) from result.exception
    return out


def same(before, after):
    return all((before / name).read_bytes() == (after / name).read_bytes() for name in ("weights.csv", "returns.csv"))


def stored(out, day):
    """Weights, turn and scaler of every encoder trained by ``day``, as they lie in the run directory."""
    found = {}
    for number, _, train_end, _, _ in trainings(out):
        if train_end <= str(day.date()):
            folder = out / "folds" / f"{number:03d}"
            description = json.loads((folder / "encoder.json").read_text())
            turn = folder / "rotation.npy"
            found[number] = (
                (folder / "weights.safetensors").read_bytes(),
                turn.read_bytes() if number else not turn.exists(),
                [description[name] for name in ("center", "scale", "fingerprint")],
            )
    return found


def moved(before, after, day):
    """What two walk-forwards disagree on up to ``day``."""
    known = [[training for training in trainings(out) if training[2] <= str(day.date())] for out in (before, after)]
    trained = known[0] == known[1] and stored(before, day) == stored(after, day)
    return {*differences(before, after, day)} - {"model"} | (set() if trained else {"trainings"})


def write_macro(folder, day=None):
    """A policy rate for every calendar day, absurd where it was published after ``day``."""
    days = pd.date_range("2022-06-01", "2024-12-31")
    rate = pd.Series(np.linspace(3.0, 5.5, len(days)), index=days)
    if day is not None:
        rate[known_on("DFF", days) > day] *= 500
    pd.DataFrame({"date": days, "series": "DFF", "value": rate.to_numpy()}).to_csv(folder / "macro.csv", index=False)


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    folder = tmp_path_factory.mktemp("market")
    frames = write_market(folder)
    write_macro(folder)
    return folder, frames


@pytest.fixture(scope="module")
def clean(market, tmp_path_factory):
    return run(market[0], tmp_path_factory.mktemp("runs") / "clean")


def test_each_fold_is_trained_on_the_months_before_it_and_stored(clean):
    facts = read_facts(clean)
    assert [(fold["train_start"], fold["train_end"], fold["start"]) for fold in facts["folds"]] == [
        ("2023-07-03", "2024-03-28", "2024-04-01"),
        ("2023-10-02", "2024-06-28", "2024-07-01"),
        ("2024-01-02", "2024-09-30", "2024-10-01"),
    ]
    assert sorted(path.name for path in (clean / "folds").iterdir()) == ["000", "001", "002"]
    assert facts["folds"][0]["apart"] is None and 0 < facts["folds"][1]["apart"] < 0.5
    assert all(fold["seconds"] > 0 for fold in facts["folds"])
    assert facts["training"]["span"] == ["2024-01-02", "2024-09-30"]


def test_one_backtest_goes_on_across_the_folds(clean):
    decided = pd.read_csv(clean / "weights.csv", parse_dates=["date"])["date"]
    assert len(decided) == 9
    returns = pd.read_csv(clean / "returns.csv", parse_dates=["date"])["date"]
    assert returns.iloc[0] == pd.Timestamp("2024-04-01") and returns.is_unique and returns.diff().max().days <= 4
    trades = pd.read_csv(clean / "transactions.csv", parse_dates=["date"])
    at_border = trades[trades["date"] == "2024-07-01"].groupby("symbol")["value"].sum()
    held = pd.read_csv(clean / "positions.csv", index_col="date").loc["2024-06-28"].drop("cash")
    wanted = pd.read_csv(clean / "weights.csv", index_col="date").loc["2024-06-28"]
    kept = [name for name in held.index[held > 0] if wanted[name] > 0]
    assert kept and (at_border.reindex(kept).abs() < 0.5 * held[kept]).all()  # trimmed, not sold and bought again


def test_clusters_keep_their_names_over_a_refit(clean):
    stability = pd.read_csv(clean / "stability.csv")
    assert len(stability) == 8 and stability["common"].min() > 20
    assert stability["adjusted_rand"].mean() > 0.8 and stability["moved"].sum() / stability["common"].sum() < 0.15


@pytest.mark.parametrize(("how", "day"), [(scaled, DAYS[0]), (exchanged, DAYS[1]), (negated, DAYS[2])])
def test_the_future_changes_nothing_decided_or_trained_up_to_a_day(market, clean, tmp_path, how, day):
    day = pd.Timestamp(day)
    poison(market[1], how, day, tmp_path / "data")
    write_macro(tmp_path / "data", day)
    poisoned = run(tmp_path / "data", tmp_path / "run")
    assert not moved(clean, poisoned, day)
    assert len(stored(poisoned, day)) == {5: 1, 6: 2, 11: 3}[day.month]
    reached = moved(clean, poisoned, pd.Timestamp("2024-12-31"))  # so the poison is one
    assert "positions" in reached and (day.month == 11 or {"weights", "trainings"} <= reached)
    assert read_facts(clean)["cash"] == "DFF (macro.csv), as published"


def test_a_rate_alone_is_enough_to_move_what_is_decided_later(market, clean, tmp_path):
    for path in market[0].glob("*.parquet"):
        (tmp_path / path.name).symlink_to(path)
    write_macro(tmp_path, pd.Timestamp(DAYS[0]))
    poisoned = run(tmp_path, tmp_path / "run")
    assert not moved(clean, poisoned, pd.Timestamp(DAYS[0]))
    assert "clusters" in moved(clean, poisoned, pd.Timestamp(DAYS[1]))  # where Sharpe ratios stand beside the labels


def anchors_from_the_future(monkeypatch):
    honest, seen = clusterfolio.strategies.cluster_policy.anchor_windows, {}

    def align(planned, panel, policies):
        seen["panel"] = panel
        return clusterfolio.engine.folds.fitting.align_folds(planned, panel, policies)

    monkeypatch.setattr(clusterfolio.engine.jobs.run, "align_folds", align)
    monkeypatch.setattr(
        clusterfolio.strategies.cluster_policy,
        "anchor_windows",
        lambda panel, lookback: honest(seen["panel"], lookback),
    )


def trained_beyond_its_span(monkeypatch):
    fit_fold, fit, seen = clusterfolio.engine.folds.fitting.fit_fold, ClusterPolicy.fit, {}

    def seeing(fold, panel, *args):
        seen["panel"] = panel
        return fit_fold(fold, panel, *args)

    @functools.wraps(fit)
    def beyond(self, panel, start=None, **more):
        fit(self, seen["panel"].until(panel.dates[-1] + pd.Timedelta(days=5)), start, **more)
        return self.trained_on(self.training_start(panel, start), panel.dates[-1])

    monkeypatch.setattr(clusterfolio.engine.folds.fitting, "fit_fold", seeing)
    monkeypatch.setattr(ClusterPolicy, "fit", beyond)


@pytest.mark.parametrize("leak", [anchors_from_the_future, trained_beyond_its_span])
def test_a_planted_leak_is_found(market, tmp_path, monkeypatch, leak):
    leak(monkeypatch)
    day = pd.Timestamp(DAYS[1])
    leaky = run(market[0], tmp_path / "leaky")
    poison(market[1], exchanged, day, tmp_path / "data")
    write_macro(tmp_path / "data", day)
    assert "trainings" in moved(leaky, run(tmp_path / "data", tmp_path / "run"), day)


def test_the_stored_encoders_give_the_same_decisions(market, clean, tmp_path):
    again = run(market[0], tmp_path / "again", "--model", str(clean))
    assert same(clean, again)
    assert trainings(again) == trainings(clean)


def test_decisions_come_every_so_many_sessions_across_the_folds(market, clean, tmp_path):
    often = run(market[0], tmp_path / "often", "--model", str(clean), "--set", "trading.rebalance=7")
    decided = pd.read_csv(often / "weights.csv", parse_dates=["date"])["date"]
    sessions = pd.read_csv(clean / "returns.csv", parse_dates=["date"])["date"]
    at = sessions.searchsorted(decided.iloc[1:])
    assert len(at) > 24 and (np.diff(at) == 7).all()  # no new count where a fold begins
    assert read_facts(often)["folds"][-1]["decides_from"] <= str(decided.iloc[-1].date())


def test_a_day_is_decided_with_its_own_folds_encoder(clean):
    weights = pd.read_csv(clean / "weights.csv", index_col="date")
    day = weights.index[1]  # in the first fold; the last one was trained on days after it
    result = CliRunner().invoke(main, ["decide", str(clean), "--asof", day, "--quiet"])
    assert result.exit_code == 0, result.output
    chosen = weights.columns[weights.loc[day] > 0].drop("CASH", errors="ignore")
    assert len(chosen) and all(name in result.output for name in chosen)


COLD = ("--set", "walk_forward.warm_start=false")


@pytest.mark.acceptance
def test_folds_side_by_side_give_the_numbers_of_a_sequence(market, tmp_path, monkeypatch):
    alone = run(market[0], tmp_path / "alone", *COLD)
    monkeypatch.setattr("clusterfolio.engine.parallel.os.cpu_count", lambda: 2)
    together = run(market[0], tmp_path / "together", *COLD, "--set", "engine.workers=2")
    assert same(alone, together)
    assert [t[-1] for t in trainings(alone)] == [t[-1] for t in trainings(together)]


def test_an_interrupted_walk_forward_goes_on_from_the_last_training(market, clean, tmp_path, monkeypatch):
    honest, trained = clusterfolio.engine.folds.fitting.fit_fold, []

    def interrupted(fold, *args):
        if fold.number == 2:
            raise KeyboardInterrupt
        return honest(fold, *args)

    with monkeypatch.context() as patch:
        patch.setattr(clusterfolio.engine.folds.fitting, "fit_fold", interrupted)
        result = CliRunner().invoke(main, rolling_options(market[0], tmp_path / "run"))
        assert result.exit_code == 130 and not (tmp_path / "run").exists()
    fit = ClusterPolicy.fit

    @functools.wraps(fit)
    def counted(self, panel, *args, **more):
        trained.append(panel.dates[-1])
        return fit(self, panel, *args, **more)

    monkeypatch.setattr(ClusterPolicy, "fit", counted)
    assert same(run(market[0], tmp_path / "run"), clean)
    assert trained == [pd.Timestamp("2024-09-30")]


def test_a_single_training_goes_on_after_its_last_whole_pass(market, tmp_path, monkeypatch):
    once = ("--set", "train.epochs=3", "--set", "trading.rebalance=quarter")
    whole = CliRunner().invoke(main, run_options(market[0], tmp_path / "whole", *once))
    assert whole.exit_code == 0, whole.output
    honest, passes = clusterfolio.models.training.run_epoch, []

    def run_epoch(*args):
        passes.append(len(passes))
        if len(passes) == 3:
            raise KeyboardInterrupt
        return honest(*args)

    monkeypatch.setattr(clusterfolio.models.training, "run_epoch", run_epoch)
    codes = [CliRunner().invoke(main, run_options(market[0], tmp_path / "run", *once)).exit_code for _ in range(2)]
    assert codes == [130, 0] and len(passes) == 4  # two passes and the interrupted one, then the third alone
    assert same(tmp_path / "whole", tmp_path / "run")
    assert trainings(tmp_path / "whole") == trainings(tmp_path / "run")


@pytest.mark.acceptance
def test_a_killed_walk_forward_goes_on_to_the_same_bytes(market, clean, tmp_path):
    options = rolling_options(market[0], tmp_path / "run")
    trained_one = tmp_path / ".unfinished-*" / "fold-000"
    assert kill_in_stage(options, "fit", 0.0, until=trained_one) in ("fit", "backtest")
    assert kill_in_stage(options, "write", 0.0) == "write"
    assert not (tmp_path / "run").exists()
    assert same(run(market[0], tmp_path / "run"), clean)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


STAGES = ("load", "features", "fit", "backtest", "write")


@pytest.mark.acceptance
def test_twenty_kills_in_all_stages_and_the_same_bytes(market, clean, tmp_path, capsys):
    chance = random.Random(0)
    seconds = read_facts(clean)["seconds"]
    died: list[tuple[int, str, float]] = []
    for attempt in range(1, 40):
        folder = tmp_path / str(attempt)
        options = rolling_options(market[0], folder / "run")
        for stage in STAGES:
            if (folder / "run").exists():  # the last kill came too late
                break
            delay = chance.uniform(0, 0.5) * seconds[stage]
            stage_died_in = kill_in_stage(options, stage, delay)
            if stage_died_in is not None and not (folder / "run").exists():
                died.append((attempt, stage_died_in, delay))
        began = time.monotonic()
        if not (folder / "run").exists():
            run(market[0], folder / "run")
        assert same(folder / "run", clean)
        with capsys.disabled():
            print(f"run {attempt}: {len(died)} kills so far, finished in {time.monotonic() - began:.1f} s, same bytes")
        counts = pd.Series([stage for _, stage, _ in died]).value_counts().reindex(STAGES, fill_value=0)
        if len(died) >= 20 and counts.min() >= 3:
            break
    with capsys.disabled():
        print(counts.rename_axis("stage").rename("kills").to_string())
    assert len(died) >= 20 and counts.min() >= 3


def torchrun(data, out, *more, restarts=0):
    """A walk-forward as two processes under torchrun (``--``: torchrun would take --start for its own)."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", str(restarts)]
    program = ["--", str(ROOT / "run_backtest.py"), *rolling_options(data, out, *more)]
    return subprocess.Popen([sys.executable, *launcher, *program], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def kill_helper(launcher, marker):
    """Kill the second process with -9 once a path like ``marker`` is there."""
    while not list(marker.parent.parent.glob(f"{marker.parent.name}/{marker.name}")):
        assert launcher.poll() is None, launcher.stderr.read()
        time.sleep(0.005)
    (helper,) = (each for each in psutil.Process(launcher.pid).children() if each.environ().get("RANK") == "1")
    helper.kill()


@pytest.mark.acceptance
def test_a_walk_forward_under_torchrun_trains_like_one_process_and_survives_a_lost_one(market, tmp_path):
    calm = ("--set", "model.dropout=0")
    alone = run(market[0], tmp_path / "alone", *calm)
    for name, restarts in (("together", 0), ("restarted", 1)):
        launcher = torchrun(market[0], tmp_path / name, *calm, restarts=restarts)
        if restarts:
            kill_helper(launcher, tmp_path / ".unfinished-*" / "fold-000")
        _, errors = launcher.communicate(timeout=300)
        assert launcher.returncode == 0, errors
    facts, shared = read_facts(alone), read_facts(tmp_path / "together")
    assert shared["processes"] == 2
    for one, two in zip(facts["folds"], shared["folds"], strict=True):
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-3)
        assert two["holdout_loss"] == pytest.approx(one["holdout_loss"], rel=1e-3)
        assert two["windows"] == one["windows"]
    assert same(tmp_path / "together", tmp_path / "restarted")
    assert trainings(tmp_path / "together") == trainings(tmp_path / "restarted")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "restarted", "together"]


@pytest.mark.acceptance
def test_a_lost_helper_ends_a_run_under_torchrun_with_a_message_and_it_goes_on(market, tmp_path):
    launcher = torchrun(market[0], tmp_path / "run")
    kill_helper(launcher, tmp_path / ".unfinished-*" / "fold-000")
    began = time.monotonic()
    launcher.communicate(timeout=120)
    assert launcher.returncode != 0 and time.monotonic() - began < 60 and not (tmp_path / "run").exists()
    again = torchrun(market[0], tmp_path / "run")
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
