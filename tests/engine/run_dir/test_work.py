import json
import os
import platform
import subprocess
import sys

import psutil
import pytest

from clusterfolio.engine.run_dir.work import OWNER, work_folder, work_key


def test_a_key_differs_where_anything_does_and_not_by_the_order_of_names():
    assert work_key({"a": 1, "b": 2}, "x") == work_key({"b": 2, "a": 1}, "x")
    assert len({work_key({"a": 1}, "x"), work_key({"a": 2}, "x"), work_key({"a": 1}, "y")}) == 3


def test_what_an_interrupted_run_left_is_found_by_the_same_key_beside_any_name(tmp_path):
    with pytest.raises(KeyboardInterrupt), work_folder(tmp_path / "runs" / "at-10-00", "k") as work:
        (work / "fold").write_text("fitted")
        raise KeyboardInterrupt
    with work_folder(tmp_path / "runs" / "at-10-05", "other") as work:
        assert not (work / "fold").exists()
    with work_folder(tmp_path / "runs" / "at-10-05", "k") as work:
        assert (work / "fold").read_text() == "fitted"
    assert os.listdir(tmp_path / "runs") == []


def test_nothing_is_left_where_nothing_came_of_it(tmp_path):
    with pytest.raises(ValueError, match="no data"), work_folder(tmp_path / "run", "k"):
        raise ValueError("no data")
    assert os.listdir(tmp_path) == []


def test_two_processes_do_not_work_on_the_same_run(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    folder = tmp_path / ".unfinished-k"
    folder.mkdir()
    (folder / "fold").touch()
    started = psutil.Process(other.pid).create_time()
    try:
        (folder / OWNER).write_text(json.dumps({"pid": other.pid, "started": started, "host": platform.node()}))
        refused = pytest.raises(FileExistsError, match=f"process {other.pid} is at work on this very run")
        with refused, work_folder(tmp_path / "run", "k"):
            pass
        assert (folder / OWNER).exists()
        (folder / OWNER).write_text(
            json.dumps({"pid": other.pid, "started": started - 1000, "host": platform.node()})
        )  # another's, by chance
        with work_folder(tmp_path / "run", "k"):
            pass
        folder.mkdir()
        (folder / OWNER).write_text(json.dumps({"pid": other.pid, "started": started, "host": "another"}))
        with work_folder(tmp_path / "run", "k"):
            pass
        folder.mkdir()
        (folder / OWNER).write_text(json.dumps({"pid": other.pid, "started": started, "host": platform.node()}))
    finally:
        other.kill()
    # Killed and not yet waited for: a zombie is at work on nothing.
    while psutil.pid_exists(other.pid) and psutil.Process(other.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    with work_folder(tmp_path / "run", "k"):
        pass
    other.wait()
    other.stdin.close()
