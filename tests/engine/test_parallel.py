import os
import signal
from pathlib import Path

import pytest
from joblib.externals.loky.process_executor import BrokenProcessPool

import clusterfolio.engine.folds.walk_forward
import clusterfolio.engine.parallel
import clusterfolio.strategies.passports.continuity
from clusterfolio.engine.parallel import processes, run_all


def square(number):
    return number * number


def refuse(number):
    raise ValueError(f"number: got {number}")


def die_once(number, folder):
    marker = Path(folder) / str(number)
    if number == 2 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_come_in_the_order_of_the_calls_and_each_is_told_once():
    told = []
    assert run_all(square, [(n,) for n in range(7)], 2, told.append) == [0, 1, 4, 9, 16, 25, 36]
    assert sorted(told) == list(range(7))


def test_an_error_reaches_the_caller():
    with pytest.raises(ValueError, match="number: got 0"):
        run_all(refuse, [(0,)], 2)


def test_a_worker_that_dies_costs_its_own_calls_only(tmp_path, caplog):
    assert run_all(die_once, [(n, str(tmp_path)) for n in range(4)], 2) == [0, 1, 2, 3]
    assert "a worker process died" in caplog.text


def test_a_call_that_kills_every_worker_is_given_up(monkeypatch):
    monkeypatch.setattr(clusterfolio.engine.parallel, "GIVE_UP_AFTER", 1)
    with pytest.raises(BrokenProcessPool):
        run_all(die, [(0,), (1,)], 2)


def test_processes_and_threads_never_exceed_the_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [processes(0, 1), processes(0, 2), processes(3, 2), processes(16, 1), processes(4, 0)] == [8, 4, 3, 8, 4]
