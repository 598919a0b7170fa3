"""What each stage of the main job costs: seconds of CPU and of wall time, and the most memory held so far.

    python -m tests.benchmarks.main_job
    python -m tests.benchmarks.main_job --path ../shared/data --cases simulated seed all rolling --json

Each case runs in a process of its own, on one core, with the settings of the command beside it:

- simulated: ``run``, the made-up market, what ``make backtest`` does;
- stock: ``run --set engine.clock=stock``, the same on backtrader's own loop: the peer of the stage ``backtest``;
- seed: ``run --preset seed`` on its universe of real prices;
- all: ``run --universe all`` on every share and ETF;
- rolling: ``run --preset rolling``, ten years of all of them, refitted quarterly.

The last three need ``--path``, a folder with us_stocks.parquet and us_etfs.parquet.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clusterfolio.engine.config.run import make_config
from clusterfolio.engine.config.settings import merge, read_preset
from clusterfolio.engine.jobs.run import run
from clusterfolio.engine.ledger.ledger import Ledger
from clusterfolio.engine.progress import peak_memory_mb

TEN_YEARS = {"start": "2016-01-01", "end": "2026-03-25"}

#: Preset, universe of the real prices (None = the made-up market) and other settings by case.
CASES: dict[str, tuple[str, str | None, dict]] = {
    "simulated": ("default", None, {}),
    "stock": ("default", None, {"engine": {"clock": "stock"}}),
    "seed": ("seed", "seed", {}),
    "all": ("default", "all", {}),
    "rolling": ("rolling", "all", {"dates": TEN_YEARS}),
}


class StageCosts:
    """A reporter that keeps what each stage cost; what came before the first is ``import``."""

    def __init__(self):
        self.stages: dict[str, dict[str, float]] = {}
        self.name, self.began = "import", (0.0, time.monotonic())

    def stage(self, name: str) -> None:
        """The stage before ends here."""
        cpu, wall = time.process_time(), time.monotonic()
        spent = {"cpu": cpu - self.began[0], "wall": wall - self.began[1], "peak_mb": peak_memory_mb()}
        self.stages[self.name] = {key: round(value, 2) for key, value in spent.items()}
        self.name, self.began = name, (cpu, wall)

    def advance(self, done: int, total: int, text: str = "") -> None:
        """Says nothing."""


def measure_here(case: str, path: Path | None, extra: dict) -> dict:
    """One case in this process.

    Args:
        extra: settings over those of the case.
    """
    preset, universe, settings = CASES[case]
    if universe is not None:
        if path is None:
            raise SystemExit(f"--cases {case}: needs --path, a folder with us_stocks.parquet and us_etfs.parquet")
        files = [str(path / name) for name in ("us_stocks.parquet", "us_etfs.parquet")]
        settings = merge(settings, {"data": {"source": "files", "path": files, "universe": universe}})
    config = make_config(merge(read_preset(preset), settings, extra))
    costs = StageCosts()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(config, Path(folder) / "run", costs, ledger=Ledger(Path(folder) / "ledger.sqlite"))
        costs.stage("end")
    return {
        "symbols": int(outcome.result.positions.shape[1] - 1),
        "decisions": len(outcome.result.decisions),
        "cpu": round(sum(stage["cpu"] for stage in costs.stages.values()), 2),
        "peak_mb": max(stage["peak_mb"] for stage in costs.stages.values()),
        "stages": costs.stages,
    }


def measure(case: str, path: Path | None) -> dict:
    """One case in a process of its own, whose memory is its own."""
    command = [sys.executable, "-m", "tests.benchmarks.main_job", "--here", case]
    done = subprocess.run(
        [*command, *(["--path", str(path)] if path else [])], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def say(found: dict[str, dict]) -> None:
    """Print it for people."""
    for case, row in found.items():
        print(f"{case}: {row['cpu']:.1f} s of CPU, at most {row['peak_mb']:,.0f} MiB, {row['decisions']} decisions")
        for stage, cost in row["stages"].items():
            print(f"  {stage:13} {cost['cpu']:8.1f} s of CPU {cost['wall']:8.1f} s {cost['peak_mb']:8,.0f} MiB")
    if {"simulated", "stock"} <= set(found):
        ratio = found["stock"]["stages"]["backtest"]["cpu"] / found["simulated"]["stages"]["backtest"]["cpu"]
        print(f"stage backtest: backtrader's own loop takes {ratio:.1f} times as long, decisions included")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", type=Path, help="folder of real prices")
    parser.add_argument("--cases", nargs="+", default=["simulated", "stock"], choices=sorted(CASES), metavar="CASE")
    parser.add_argument("--here", choices=sorted(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.here:
        print(json.dumps(measure_here(args.here, args.path, {})))
        return
    found = {case: measure(case, args.path) for case in args.cases}
    if args.json:
        print(json.dumps(found))
    else:
        say(found)


if __name__ == "__main__":
    main()
