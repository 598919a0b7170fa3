"""A finished run is kept, whatever fails after it; a full disk is a sentence."""

import errno
import json
import os
import subprocess

import pandas as pd
import pytest
from click.testing import CliRunner
from safetensors import SafetensorError

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.jobs.judge import judge
from clusterfolio.engine.ledger.ledger import Ledger
from clusterfolio.feeds.writing import write_table
from clusterfolio.models import tensors
from tests.engine.trading.own_runs import Crossover, bars, cerebro_of
from tests.market_files import DATES, source_options

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def options(market, out, *more):
    """A run of a policy that learns nothing, with verdict and page."""
    quick = ("--set", "dates.history_days=200", "--set", "significance.portfolios=100", "--quiet")
    own = ("--policy", "tests.own_policies:Momentum")
    return ["run", *own, *source_options(market), *DATES, *quick, "--out", str(out), *more]


@pytest.fixture
def ledger(tmp_path, monkeypatch) -> Ledger:
    monkeypatch.setenv("CLUSTERFOLIO_LEDGER", str(tmp_path / "ledger.sqlite"))
    return Ledger()


def failing(error):
    def fail(*args, **kwargs):
        raise error

    return fail


def test_a_report_that_fails_costs_no_run_and_the_command_for_it_is_said(market, tmp_path, ledger, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("clusterfolio.engine.jobs.afterwards.write_report", failing(KeyError("sharpe")))
        done = CliRunner().invoke(main, options(market, tmp_path / "run", "--set", "significance.on=false"))
    assert done.exit_code == 1 and "report failed (KeyError: 'sharpe')" in done.output
    assert f"`clusterfolio report {tmp_path / 'run'}` does it again" in done.output.replace("\n", "")
    assert ledger.count() == 1 and ledger.verify(json.loads((tmp_path / "run" / "run.json").read_text())) == []
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_verdict_that_fails_leaves_no_half_of_it_and_counts_what_is_there(market, tmp_path, ledger, monkeypatch):
    def half(found, folder):
        write_table(folder / "luck.csv", pd.DataFrame({"sharpe": [0.1]}))
        raise FULL

    with monkeypatch.context() as patch:
        patch.setattr("clusterfolio.engine.jobs.afterwards.assess", lambda *args: None)
        patch.setattr("clusterfolio.engine.jobs.afterwards.write_assessment", half)
        done = CliRunner().invoke(main, options(market, tmp_path / "run", "--no-report"))
    assert done.exit_code == 2 and "significance failed ([Errno 28] No space left" in done.output
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert "weights.csv" in names and not names & {"luck.csv", "significance.json", "baselines.csv"}
    assert ledger.count() == 1


def test_a_run_that_cannot_be_written_counts_as_no_trial(market, tmp_path, ledger, monkeypatch):
    monkeypatch.setattr("clusterfolio.engine.jobs.run.write_table", failing(FULL))
    done = CliRunner().invoke(main, options(market, tmp_path / "run"))
    assert done.exit_code == 2 and "the disk is full: [Errno 28]" in done.output
    assert "run the same command, which goes on" in done.output.replace("\n", " ")
    assert ledger.count() == 0 and list(tmp_path.iterdir()) == []


def test_a_judged_run_is_kept_too_and_the_errors_note_says_where(tmp_path, ledger, monkeypatch):
    monkeypatch.setattr("clusterfolio.engine.jobs.afterwards.assess", failing(ZeroDivisionError("tau")))
    with pytest.raises(ZeroDivisionError) as found:
        judge(cerebro_of(bars(), Crossover, slow=60).run()[0], tmp_path / "run", simulated=True, report=False)
    assert f"`clusterfolio significance {tmp_path / 'run'}` does it again" in found.value.__notes__[0]
    assert (tmp_path / "run" / "returns.csv").is_file() and ledger.count() == 1


def test_tensors_that_find_no_space_raise_what_any_file_does(tmp_path, monkeypatch):
    said = "Error while serializing: I/O error: No space left on device (os error 28)"
    monkeypatch.setattr(tensors, "save_file", failing(SafetensorError(said)))
    with pytest.raises(OSError, match="No space left") as found:
        tensors.save_tensors({}, tmp_path / "x")
    assert found.value.errno == errno.ENOSPC and found.value.filename == str(tmp_path / "x")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 700 kB, for as long as the test lasts."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.acceptance
def test_a_disk_that_runs_full_costs_nothing_that_was_finished(market, small_disk, ledger):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(600_000))
    done = CliRunner().invoke(main, options(market, small_disk / "run"))
    assert done.exit_code == 2 and "the disk is full" in done.output and ledger.count() == 0
    ballast.write_bytes(bytes(250_000))
    done = CliRunner().invoke(main, options(market, small_disk / "run"))
    assert done.exit_code == 2 and "report failed ([Errno 28]" in done.output and ledger.count() == 1
    assert ledger.verify(json.loads((small_disk / "run" / "run.json").read_text())) == []
