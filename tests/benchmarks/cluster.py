"""A sweep on a Dask cluster beside the same trials one after another in one process: speed-up, and equal results.

    python -m tests.benchmarks.cluster
    python -m tests.benchmarks.cluster --trials 8 --workers 2 --assets 120 --json

Each trial is the preset ``default`` on the same made-up market with a seed of its own, trained for two passes and
without a report. Workers are processes of one thread on this machine, started before the clock is. ``speed_up`` is the
ratio of wall times: with fewer free cores than workers it cannot come near their number, so ``cores`` and the CPU
seconds of both sides stand beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from clusterfolio.engine.config.settings import read_preset
from clusterfolio.engine.jobs.sweep import TABLE, read_grid, run_sweep
from clusterfolio.engine.ledger.ledger import Ledger

#: Of each trial, files that must be equal to the byte.
SAME = ("returns.csv", "weights.csv", "clusters.csv", "transactions.csv")


def measure(trials: int, workers: int, assets: int, epochs: int = 2) -> dict:
    """Both sides, the single process first."""
    from distributed import Client, LocalCluster

    settings = {"simulated": {"n_assets": assets}, "train": {"epochs": epochs, "threads": 1}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "grid.toml").write_text(f"seeds = {list(range(trials))}\n")
        planned = read_grid(folder / "grid.toml", read_preset("default") | settings)

        def swept(out: str, cluster: str = "") -> None:
            run_sweep(planned, folder / out, 1, cluster=cluster, ledger=Ledger(folder / f"{out}.sqlite"))

        alone = timed(lambda: swept("alone"), time.process_time)
        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            client.run(__import__, "clusterfolio.engine.jobs.sweep")  # as the single process has done
            address = cluster.scheduler_address
            spread = timed(lambda: swept("spread", address), lambda: sum(client.run(time.process_time).values()))
        names = [trial.name for trial in planned]
        equal = tables_equal(folder) and all(
            (folder / "alone" / trial / file).read_bytes() == (folder / "spread" / trial / file).read_bytes()
            for trial in names for file in SAME
        )  # fmt: skip
    return {
        "trials": trials, "assets": assets, "workers": workers, "cores": os.cpu_count(), "alone": alone,
        "spread": spread, "speed_up": round(alone["wall"] / spread["wall"], 2), "equal": equal,
    }  # fmt: skip


def timed(work: Callable[[], None], cpu_seconds: Callable[[], float]) -> dict[str, float]:
    """Wall and CPU seconds of what is done."""
    wall, cpu = time.monotonic(), cpu_seconds()
    work()
    return {"wall": round(time.monotonic() - wall, 1), "cpu": round(cpu_seconds() - cpu, 1)}


def tables_equal(folder: Path) -> bool:
    """Whether the tables of both sweeps say the same, seconds and numbers in their ledgers aside."""
    both = [pd.read_csv(folder / out / TABLE).drop(columns=["seconds", "ledger"]) for out in ("alone", "spread")]
    return both[0].equals(both[1])


def say(found: dict) -> str:
    """For people."""
    lines = [f"{found['trials']} trials of {found['assets']} assets on a machine of {found['cores']} cores"]
    for side, text in (("alone", "one process"), ("spread", f"{found['workers']} Dask workers")):
        lines.append(f"  {text:16} {found[side]['wall']:8.1f} s, {found[side]['cpu']:8.1f} s of CPU")
    lines.append(f"  {found['speed_up']:.2f} times as fast, results {'equal' if found['equal'] else 'DIFFERENT'}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--assets", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.trials, args.workers, args.assets)
    print(json.dumps(found) if args.json else say(found))
    if not found["equal"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
