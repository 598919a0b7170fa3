"""How the stages of a rolling run grow with the number of assets: seconds of CPU, memory, and the exponent of each.

    python -m tests.benchmarks.growth                                            # 300 and 700 assets, one year
    python -m tests.benchmarks.growth --assets 300 700 1500 3000 --years 10 --json

``run --preset rolling`` on made-up markets of so many assets, trained for one epoch anew each quarter (more epochs
multiply the stage ``fit``, whatever the size), ``--years`` of monthly decisions; each size in a process of its own on
one core. Of the stage ``backtest`` three parts are timed by themselves: ``decide``, ``passports`` and, within both, the
``eigen``-decompositions. The exponent is the slope of log CPU over log assets (least squares): 1 = in proportion, 2 =
with the pairs, 3 = the eigen-decomposition.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from unittest import mock

import numpy as np

from clusterfolio.engine.config.run import make_config
from clusterfolio.engine.config.settings import merge, read_preset
from clusterfolio.engine.jobs.run import run
from clusterfolio.engine.ledger.ledger import Ledger
from tests.benchmarks.main_job import StageCosts

END = 2025

#: Parts of the stage ``backtest`` by the names under which they are called.
PARTS = {
    "decide": "clusterfolio.strategies.cluster_policy.ClusterPolicy.decide",
    "passports": "clusterfolio.strategies.passports.passport.known_facts",
    "eigen": "clusterfolio.models.clustering.eigh",
}

#: Less than this is noise: a stage without an exponent.
LEAST_SECONDS = 0.5


@contextmanager
def timed_parts(spent: dict[str, float]) -> Iterator[None]:
    """While it lasts, CPU seconds of ``PARTS`` are added up."""
    with ExitStack() as stack:
        for part, name in PARTS.items():
            spent[part] = 0.0
            plain = mock.patch(name).get_original()[0]
            # Not a mock, which would keep the panel of every call.
            stack.enter_context(mock.patch(name, _adding(spent, part, plain)))
        yield


def _adding(spent: dict[str, float], part: str, plain: Callable) -> Callable:
    @wraps(plain)
    def called(*args, **kwargs):
        began = time.process_time()
        try:
            return plain(*args, **kwargs)
        finally:
            spent[part] += time.process_time() - began

    return called


def measure_here(assets: int, years: int, extra: dict | None = None) -> dict:
    """One size in this process.

    Args:
        extra: settings over those of the benchmark.
    """
    settings = {
        "simulated": {"n_assets": assets, "start": f"{END - years - 3}-01-03", "end": f"{END}-12-31"},
        "dates": {"start": f"{END - years + 1}-01-01", "end": f"{END}-12-31"},
        "train": {"epochs": 1, "threads": 1},
        "engine": {"device": "cpu"},
    }
    config = make_config(merge(read_preset("rolling"), settings, extra or {}))
    costs, spent = StageCosts(), {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, timed_parts(spent):
        outcome = run(config, Path(folder) / "run", costs, ledger=Ledger(Path(folder) / "ledger.sqlite"))
        costs.stage("end")
    return {
        "assets": assets,
        "years": years,
        "decisions": len(outcome.result.decisions),
        "wall": round(time.monotonic() - began, 1),
        "peak_mb": max(stage["peak_mb"] for stage in costs.stages.values()),
        "cpu": {name: stage["cpu"] for name, stage in costs.stages.items() if name != "import"}
        | {part: round(seconds, 2) for part, seconds in spent.items()},
    }


def measure(assets: int, years: int) -> dict:
    """One size in a process of its own, on one core."""
    command = [sys.executable, "-m", "tests.benchmarks.growth", "--here", str(assets), "--years", str(years)]
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | one)
    return json.loads(done.stdout.splitlines()[-1])


def exponents(rows: list[dict]) -> dict[str, float | None]:
    """The slope of log CPU over log assets by stage, and that of memory; None where a size took next to nothing.

    >>> small = {"assets": 10, "peak_mb": 100, "cpu": {"fit": 2.0}}
    >>> exponents([small, {"assets": 100, "peak_mb": 100, "cpu": {"fit": 200.0}}])
    {'fit': 2.0, 'peak_mb': 0.0}
    """
    sizes = np.log([row["assets"] for row in rows])
    found: dict[str, float | None] = {}
    for name in rows[0]["cpu"]:
        seconds = [row["cpu"][name] for row in rows]
        found[name] = None if min(seconds) < LEAST_SECONDS else _slope(sizes, seconds)
    return found | {"peak_mb": _slope(sizes, [row["peak_mb"] for row in rows])}


def _slope(sizes: np.ndarray, values: list[float]) -> float | None:
    return round(float(np.polyfit(sizes, np.log(values), 1)[0]), 2) + 0.0 if len(set(sizes)) > 1 else None


def table(rows: list[dict]) -> str:
    """For people: a row per stage, a column per size."""
    slopes = exponents(rows)
    lines = [f"{'stage':13}" + "".join(f"{row['assets']:>10,}" for row in rows) + "  exponent"]
    for name, slope in slopes.items():
        values = [row["peak_mb"] if name == "peak_mb" else row["cpu"][name] for row in rows]
        lines.append(
            f"{name:13}" + "".join(f"{value:10,.1f}" for value in values) + f"{slope if slope is not None else '':>10}"
        )
    lines.append(f"{rows[0]['years']} years, {rows[0]['decisions']} decisions; CPU seconds, peak memory in MiB")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=int, nargs="+", default=[300, 700])
    parser.add_argument("--years", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--here", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        print(json.dumps(measure_here(args.here, args.years)))
        return
    rows = [measure(assets, args.years) for assets in args.assets]
    print(json.dumps({"rows": rows, "exponents": exponents(rows)}) if args.json else table(rows))


if __name__ == "__main__":
    main()
