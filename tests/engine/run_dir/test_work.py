import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from filelock import FileLock

from clusterfolio.engine.run_dir.work import work_folder, work_key

ROOT = Path(__file__).resolve().parents[3]

CODE = {"the program": "1234", "my_encoder": "abcd"}


def test_a_key_differs_where_anything_does_and_not_by_the_order_of_names():
    assert work_key({"a": 1, "b": 2}, "x") == work_key({"b": 2, "a": 1}, "x")
    assert len({work_key({"a": 1}, "x"), work_key({"a": 2}, "x"), work_key({"a": 1}, "y")}) == 3


def interrupted(out: Path, key: str = "k", made_by: dict = CODE) -> None:
    with pytest.raises(KeyboardInterrupt), work_folder(out, key, made_by) as work:
        (work / "fold").write_text("fitted")
        raise KeyboardInterrupt


def test_what_an_interrupted_run_left_is_found_by_the_same_key_beside_any_name(tmp_path, caplog):
    interrupted(tmp_path / "runs" / "at-10-00")
    with work_folder(tmp_path / "runs" / "at-10-05", "other", CODE) as work:
        assert not (work / "fold").exists()
    with work_folder(tmp_path / "runs" / "at-10-05", "k", CODE) as work:
        assert (work / "fold").read_text() == "fitted"
    assert os.listdir(tmp_path / "runs") == [] and not caplog.text


def test_another_program_starts_anew_says_what_changed_and_keeps_the_old_work(tmp_path, caplog):
    interrupted(tmp_path / "run")
    with work_folder(tmp_path / "run", "k", CODE | {"my_encoder": "changed"}) as work:
        assert not (work / "fold").exists()
    assert "(changed since: my_encoder); this one starts anew" in caplog.text
    (left,) = tmp_path.iterdir()
    assert str(left) in caplog.text and (left / "fold").read_text() == "fitted"
    with work_folder(tmp_path / "run", "k", CODE) as work:  # the old code goes on with it
        assert (work / "fold").exists()
    assert os.listdir(tmp_path) == []


def test_nothing_is_left_where_nothing_came_of_it(tmp_path):
    with pytest.raises(ValueError, match="no data"), work_folder(tmp_path / "run", "k", CODE):
        raise ValueError("no data")
    assert os.listdir(tmp_path) == []


#: A process that wants the folder when all others do, holds it for a moment, and says what became of it.
WORKER = """
import sys, time
from pathlib import Path
from clusterfolio.engine.run_dir.work import work_folder
out, go = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
for round in range(int(sys.argv[3])):
    while not (go / str(round)).exists():
        time.sleep(0.0005)
    try:
        with work_folder(out, "k", {}) as work:
            (work / "alone").touch(exist_ok=False)
            time.sleep(0.05)
            (work / "alone").unlink()
            print("worked", flush=True)
    except FileExistsError as error:
        print("refused" if "is at work on this very run" in str(error) else f"both: {error}", flush=True)
"""


def test_of_processes_that_start_at_once_one_works_and_the_others_are_told(tmp_path):
    go, n, rounds = tmp_path / "go", 4, 6
    go.mkdir()
    command = [sys.executable, "-c", WORKER, str(tmp_path / "runs" / "run"), str(go), str(rounds)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(n)]
    try:
        for worker in workers:
            assert worker.stdout.readline() == "ready\n"
        for number in range(rounds):
            (go / str(number)).touch()
            said = Counter(worker.stdout.readline().strip() for worker in workers)
            # One that is late may find the first one done: it then works too, after it.
            assert said["worked"] >= 1 and set(said) <= {"worked", "refused"}, said
            assert said["refused"] >= 1
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    assert not [path for path in (tmp_path / "runs").iterdir() if "finished" in path.name and path.is_dir()]


def test_who_lets_go_leaves_the_claim_of_the_next_one_alone(tmp_path, monkeypatch):
    """A lock that removes its file when released would remove the file that the next process has claimed since."""
    release, held = FileLock.release, []

    def release_late(lock, force=False):
        if not held:  # the first one lets go: its file is gone already, and the next one is quicker than it
            held.append(work_folder(tmp_path / "run", "k", CODE))
            held[0].__enter__()
        release(lock, force)

    monkeypatch.setattr(FileLock, "release", release_late)
    with work_folder(tmp_path / "run", "k", CODE):
        pass
    with pytest.raises(FileExistsError, match="at work on this very run"), work_folder(tmp_path / "run", "k", CODE):
        pass
    held[0].__exit__(None, None, None)
    assert os.listdir(tmp_path) == []


def test_a_killed_process_has_no_claim_and_one_at_work_is_named(tmp_path):
    (tmp_path / "0").touch()
    held = WORKER.replace("time.sleep(0.05)", "print('holds', flush=True); time.sleep(60)")
    worker = subprocess.Popen(
        [sys.executable, "-c", held, str(tmp_path / "run"), str(tmp_path), "1"], stdout=subprocess.PIPE, text=True
    )
    try:
        while worker.stdout.readline() != "holds\n":
            time.sleep(0.001)
        refused = pytest.raises(FileExistsError, match=f"process {worker.pid} on .* is at work on this very run")
        with refused, work_folder(tmp_path / "run", "k", {}):
            pass
    finally:
        worker.kill()
        worker.communicate()
    (left,) = tmp_path.glob(".unfinished-*[!k]")
    assert json.loads((left / "process.json").read_text())["pid"] == worker.pid
    with work_folder(tmp_path / "run", "k", {}) as work:
        assert (work / "alone").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
