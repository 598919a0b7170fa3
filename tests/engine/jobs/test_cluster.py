"""A sweep on a Dask cluster: workers in processes of their own, one of them killed on the way."""

import operator
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.parallel import run_all
from tests.engine.test_parallel import square
from tests.market_files import run_options, write_market

ROOT = Path(__file__).resolve().parents[3]
GRID = 'seeds = [0, 1, 2]\n[grid]\n"clustering.n_clusters" = [3, 4]\n'


@pytest.fixture
def started():
    """Starts a process of Dask's and gives it back once it has written what is waited for; all end with the test."""
    pytest.importorskip("distributed", reason="pip install 'clusterfolio[cluster]'")
    processes = []

    def start(*args, until):
        process = subprocess.Popen(
            [sys.executable, "-m", *args, "--no-dashboard"], stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        )  # fmt: skip
        processes.append(process)
        for line in process.stderr:
            if found := re.search(until, line):
                threading.Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop it
                return process, found
        raise AssertionError(f"{args} ended before it wrote {until}")

    yield start
    for process in reversed(processes):
        process.terminate()
        process.wait()


@pytest.fixture
def cluster(started):
    """Address of a scheduler with two workers, and the workers."""
    _, found = started("distributed.cli.dask_scheduler", "--port", "0", until=r"Scheduler at:\s+(tcp://\S+)")
    worker = ("distributed.cli.dask_worker", found[1], "--nthreads", "1", "--no-nanny")
    return found[1], [started(*worker, until="Registered to")[0] for _ in range(2)]


def sweep(market, out, grid, *more):
    """The table of a sweep, as written, without the seconds that each trial took and its number in the ledger."""
    options = ["sweep", str(grid), *run_options(market, out)[1:], *more]
    result = CliRunner().invoke(main, options)
    if result.exit_code:
        raise AssertionError(result.output) from result.exception
    return pd.read_csv(out / "trials.csv", dtype=str, keep_default_na=False).drop(columns=["seconds", "ledger"])


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A market, a grid of six trials, and the sweep of it in this process: its folder and its table."""
    folder = tmp_path_factory.mktemp("local")
    write_market(folder / "market")
    grid = folder / "grid.toml"
    grid.write_text(GRID)
    return folder / "market", grid, folder / "sweep", sweep(folder / "market", folder / "sweep", grid, "--workers", "1")


def check_far_sweep(local, out, address, worker):
    """A sweep on the cluster equals the local one, though the process ``worker`` is killed after the first trial."""
    market, grid, near, table = local
    killed = []

    def kill_one_in_the_middle():
        while not list(out.glob("trial-*/metrics.json")):
            time.sleep(0.01)
        os.kill(worker, signal.SIGKILL)
        killed.append(len(list(out.glob("trial-*/metrics.json"))))

    killer = threading.Thread(target=kill_one_in_the_middle)
    killer.start()
    far = sweep(market, out, grid, "--cluster", address)
    killer.join()
    assert 1 <= killed[0] < len(table)
    assert far.to_csv(index=False) == table.to_csv(index=False)
    for trial in table["trial"]:
        for name in ("weights.csv", "returns.csv", "transactions.csv"):
            assert (out / trial / name).read_bytes() == (near / trial / name).read_bytes()


@pytest.mark.acceptance
def test_a_sweep_on_a_cluster_of_other_processes_equals_the_local_one_though_a_worker_dies(local, tmp_path, cluster):
    address, workers = cluster
    check_far_sweep(local, tmp_path / "far", address, workers[0].pid)
    workers[0].wait()
    assert workers[0].returncode == -signal.SIGKILL and workers[1].poll() is None


@pytest.fixture
def inside():
    """A cluster of two workers that this program holds itself."""
    distributed = pytest.importorskip("distributed", reason="pip install 'clusterfolio[cluster]'")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


@pytest.mark.acceptance
def test_a_sweep_on_a_cluster_inside_the_program_equals_the_local_one_though_a_worker_dies(local, tmp_path, inside):
    check_far_sweep(local, tmp_path / "far", inside.scheduler_address, inside.workers[0].pid)


def test_a_cluster_inside_the_program_serves_too(inside):
    # a function that its workers have at once: they need not import torch
    assert run_all(operator.neg, [(n,) for n in range(5)], 1, cluster=inside.scheduler_address) == [0, -1, -2, -3, -4]


def test_a_cluster_that_cannot_serve_is_named(started, monkeypatch):
    monkeypatch.setattr("clusterfolio.engine.parallel.CONNECT_SECONDS", 1)
    with pytest.raises(ValueError, match=r"cluster tcp://127\.0\.0\.1:9: no Dask scheduler answers there"):
        run_all(square, [(1,)], 1, cluster="tcp://127.0.0.1:9")
    _, found = started("distributed.cli.dask_scheduler", "--port", "0", until=r"Scheduler at:\s+(tcp://\S+)")
    with pytest.raises(ValueError, match="it has no workers; start some with: dask worker"):
        run_all(square, [(1,)], 1, cluster=found[1])
    started("distributed.cli.dask_worker", found[1], "--nthreads", "2", "--no-nanny", until="Registered to")
    with pytest.raises(ValueError, match="a worker has 2 threads; start workers with --nthreads 1"):
        run_all(square, [(1,)], 1, cluster=found[1])
