"""Every run is counted: what run.json says of the ledger, and the command that lists, compares, explains, verifies."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.ledger.ledger import Ledger
from tests.market_files import run_options as all_options


def run_options(*args) -> list[str]:
    """Four months are enough here."""
    return all_options(*args, "--end", "2024-07-31")


def invoke(*args, code=0) -> str:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def entry(run: Path) -> dict:
    return json.loads((run / "run.json").read_text())["ledger"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A ledger of this module's own, at $CLUSTERFOLIO_LEDGER."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("place") / "ledger.sqlite"
        patch.setenv("CLUSTERFOLIO_LEDGER", str(path))
        yield path


@pytest.fixture(scope="module")
def runs(place, market, tmp_path_factory):
    """Two trials: monthly and quarterly, with one model."""
    folder = tmp_path_factory.mktemp("runs")
    invoke(*run_options(market, folder / "month"))
    invoke(*run_options(market, folder / "quarter", "--model", folder / "month", "--set", "trading.rebalance=quarter"))
    return folder


@pytest.fixture
def kept(runs, place, tmp_path, monkeypatch):
    """Copies of the ledger and the runs, to spoil."""
    shutil.copyfile(place, tmp_path / "ledger.sqlite")
    shutil.copytree(runs, tmp_path / "runs")
    monkeypatch.setenv("CLUSTERFOLIO_LEDGER", str(tmp_path / "ledger.sqlite"))
    return tmp_path / "runs"


def test_a_run_knows_its_place_and_the_ledger_knows_its_result(runs, place):
    assert [entry(runs / name)["count"] for name in ("month", "quarter")] == [1, 2]
    ledger = Ledger()
    assert ledger.path == place
    for name in ("month", "quarter"):
        row = ledger.trials().loc[entry(runs / name)["trial"]]
        metrics = json.loads((runs / name / "metrics.json").read_text())
        assert row["sharpe"] == metrics["strategy"]["sharpe"] and row["run"] == str((runs / name).resolve())
        assert row["benchmark_sharpe"] == metrics["benchmark"]["sharpe"]
        returns = pd.read_csv(runs / name / "returns.csv", index_col="date", parse_dates=True, dtype=str).map(float)
        kept = ledger.trial(entry(runs / name)["trial"]).returns
        assert kept.index.equals(returns.index) and (kept == returns[["strategy", "benchmark"]]).all(axis=None)


def test_the_same_run_again_is_the_same_trial(runs, market, tmp_path):
    """From moved files, on a named device, with more workers: nothing that decides a result."""
    shutil.copytree(market, tmp_path / "moved")
    more = ("--model", runs / "month", "--set", "engine.device=cpu", "--set", "engine.workers=2")
    invoke(*run_options(tmp_path / "moved", tmp_path / "again", *more))
    assert entry(tmp_path / "again")["trial"] == entry(runs / "month")["trial"]
    assert entry(tmp_path / "again")["count"] == Ledger().count() == 2
    said = invoke("trials", "explain", runs / "month", tmp_path / "again")
    assert "One trial" in said and "engine.workers" in said and "data.path" in said


def test_a_run_stopped_between_ledger_and_publication_is_counted_once(runs, market, tmp_path, monkeypatch):
    options = run_options(market, tmp_path / "run", "--model", runs / "month")
    replace = os.replace

    def stopped(source, target):
        if Path(target) == tmp_path / "run":
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("clusterfolio.engine.run_dir.artifacts.os.replace", stopped)
        invoke(*options, code=130)
    assert Ledger().count() == 2 and not (tmp_path / "run").exists()
    invoke(*options)
    assert Ledger().count() == 2 and entry(tmp_path / "run") == entry(runs / "quarter") | {
        "trial": entry(runs / "month")["trial"]
    }


def test_a_ledger_that_cannot_be_written_costs_no_run_and_is_said(runs, market, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLUSTERFOLIO_LEDGER", str(tmp_path / "file" / "ledger.sqlite"))
    invoke(*run_options(market, tmp_path / "run", "--model", runs / "month"))
    assert list(entry(tmp_path / "run")) == ["error"] and "ledger.sqlite" in entry(tmp_path / "run")["error"]
    assert "the run is not counted among your trials" in caplog.text
    assert (tmp_path / "run" / "weights.csv").read_bytes() == (runs / "month" / "weights.csv").read_bytes()
    assert "ledger.sqlite (0 trials): cannot be written" in invoke("doctor")
    monkeypatch.undo()
    assert "the run is not in the ledger" in invoke("trials", "verify", tmp_path / "run", code=4)
    assert "One trial" in invoke("trials", "explain", runs / "month", tmp_path / "run")


def test_the_list_has_a_line_for_each(runs, place):
    keys = [entry(runs / name)["trial"] for name in ("month", "quarter")]
    lines = invoke("trials").splitlines()
    assert [line.split()[0] for line in lines[1:3]] == [key[:8] for key in keys]
    assert "month" in lines[1] and "files" in lines[1] and "2024-04-01.." in lines[1]
    assert lines[-1] == f"2 of 2 trials in {place}"
    assert invoke("trials", "--last", 1).splitlines()[-1].startswith("1 of 2 trials")
    rows = json.loads(invoke("trials", "--json"))
    assert [row["trial"] for row in rows] == keys and rows[0]["start"] == "2024-04-01"
    assert str(place) in invoke("doctor") and "2 trials" in invoke("doctor")


def test_two_trials_side_by_side(runs):
    metrics = [json.loads((runs / name / "metrics.json").read_text())["strategy"] for name in ("month", "quarter")]
    said = json.loads(invoke("trials", "compare", runs / "month", entry(runs / "quarter")["trial"][:6], "--json"))
    figures = said["figures"]["total_return"]
    assert figures["first"] == pytest.approx(metrics[0]["total_return"])
    assert figures["difference"] == pytest.approx(metrics[1]["total_return"] - metrics[0]["total_return"])
    returns = [pd.read_csv(runs / name / "returns.csv")["strategy"] for name in ("month", "quarter")]
    assert said["common_sessions"] == len(returns[0])
    assert said["correlation"] == pytest.approx(returns[0].corr(returns[1]))
    assert f"{metrics[1]['sharpe']:.2f}" in invoke("trials", "compare", runs / "month", runs / "quarter")


def test_why_two_trials_differ(runs):
    keys = [entry(runs / name)["trial"] for name in ("month", "quarter")]
    said = json.loads(invoke("trials", "explain", *keys, "--json"))
    assert said["conclusion"] == "Other daily returns, and what decides them differs: settings."
    (found,) = [one for one in said["differences"] if one["cause"]]
    assert (found["what"], found["first"], found["second"]) == ("trading.rebalance", "'month'", "'quarter'")
    assert "trading.rebalance" in invoke("trials", "explain", runs / "month", runs / "quarter")


@pytest.mark.parametrize("name", ["nothing", "ab", "0000"])
def test_what_names_no_trial_is_one_clear_line(runs, name):
    assert f"{name}: neither a run directory nor the first digits" in invoke("trials", "compare", name, name, code=2)


def test_a_sound_ledger_is_verified_with_its_runs(kept):
    said = invoke("trials", "verify")
    assert "nothing wrong" in said and "newest rows can be checked only with their run directories" in said
    assert "newest rows" not in invoke("trials", "verify", kept)
    assert "2 trials and 4 run directories checked: nothing wrong" in invoke("trials", "verify", kept)


def spoil(path: Path, *where: str, add: float) -> None:
    content = part = json.loads(path.read_text())
    for name in where[:-1]:
        part = part[name]
    part[where[-1]] += add
    path.write_text(json.dumps(content))


def test_what_does_not_agree_is_named(kept):
    spoil(kept / "month" / "run.json", "config", "engine", "seed", add=1)
    spoil(kept / "month" / "run.json", "config", "trading", "capital", add=1)
    spoil(kept / "quarter" / "metrics.json", "strategy", "sharpe", add=1)
    returns = kept / "quarter" / "returns.csv"
    returns.write_text(returns.read_text().replace("\n2024-04-02,", "\n2024-04-02,1", 1))
    found = json.loads(invoke("trials", "verify", kept, "--json", code=4))["problems"]
    assert [(Path(run).name, what) for run, what in (text.split(": ", 1) for text in found)] == [
        ("month", "run.json states other settings than the ledger"),
        ("month", "run.json states another seed than the ledger"),
        ("quarter", "returns.csv is not what the run wrote"),
        ("quarter", "metrics.json states other figures than the ledger"),
    ]


def test_a_ledger_that_was_thrown_away_is_missed_by_the_runs_that_saw_it(kept):
    os.unlink(os.environ["CLUSTERFOLIO_LEDGER"])
    said = invoke("trials", "verify", kept, code=4)
    assert "month: rows are missing: the run saw 1, the ledger holds 0" in said
    assert "quarter: rows are missing: the run saw 2, the ledger holds 0" in said


@pytest.mark.parametrize("command", [[], ["compare"], ["explain"], ["verify"]])
def test_help_names_the_exit_codes(command):
    assert "Exit codes" in invoke("trials", *command, "--help")
