"""What the learning agents learn where the answer is known, and that they find nothing where there is nothing.

    python -m tests.benchmarks.agents                      # all three, some ten minutes of one core
    python -m tests.benchmarks.agents --only oracle --seeds 3 --json agents.json

oracle   every slot shows what it will earn: the share of the oracle's log growth, net of costs, and the CPU seconds.
trading  quadratic costs, where the best policy has a closed form (``trading_problem``): the share of its value on fresh
         days, at signal to noise 1 and 0.1, and learned from one history of ten years of 20 assets at 0.1; beside it
         the two naive rules.
nothing  the whole command in made-up markets without skill: the difference of the Sharpe ratio to 1/N after costs, its
         95 % interval, and what the verdict says of it.

Exit code 1 where a bound is missed: oracle 95 % in 60 s; trading 95 %, 90 % and 95 %; nothing: no claim to beat 1/N.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from clusterfolio.engine.config.run import make_config
from clusterfolio.engine.jobs.run import run
from clusterfolio.engine.ledger.ledger import Ledger
from clusterfolio.models.agents.config import AgentConfig
from clusterfolio.models.agents.learning import learn
from clusterfolio.strategies.agents.market_world import traded
from tests.benchmarks import trading_problem as problem
from tests.strategies.agents.oracle import TAUGHT, log_growth, market, oracle, telling_world

#: Signal to noise, whether from one history, passes, and the share to be reached.
TRADING = ((1.0, False, 60, 0.95), (0.1, False, 60, 0.90), (0.1, True, 100, 0.95))

#: A small market, and a run on it that takes half a minute.
SMALL = {
    "simulated": {"n_assets": 40, "start": "2021-01-04", "skill": 0.0, "n_clusters": 8},
    "clustering": {"n_clusters": 8},
    "train": {"epochs": 2, "windows_per_epoch": 2048},
    "embedding": {"span": 252},
    "trading": {"rebalance": "month"},
    "dates": {"train_start": "2022-01-03", "train_end": "2023-12-29", "start": "2024-01-01"},
    "significance": {"portfolios": 100},
}


def of_oracle(seeds: int) -> list[dict]:
    """Rows of the first table."""
    rows = []
    for kind in ("ppo", "dqn"):
        for seed in range(seeds):
            world = telling_world(kind, market(seed=seed))
            began = time.process_time()
            agent = learn(kind, world, TAUGHT, seed)
            seconds = time.process_time() - began
            begins, decisions = np.arange(5), (len(world.stages.rows) - 5) // 5
            best, _ = traded(world, oracle(world), begins, decisions)
            found, turnover = traded(world, agent.act, begins, decisions)
            share = log_growth(found) / log_growth(best)
            rows.append(
                {"agent": kind, "seed": seed, "share": share, "seconds": seconds, "turnover": turnover,
                 "passed": share >= 0.95 and seconds <= 60}
            )  # fmt: skip
            tell(rows[-1])
    return rows


def of_trading(seeds: int) -> list[dict]:
    """Rows of the second table."""
    rows = []
    for ratio, from_history, passes, bound in TRADING:
        asked = problem.Problem(ratio=ratio)
        best = problem.value(asked, problem.best)
        naive = [problem.value(asked, rule) / best for rule in (problem.to_the_aim, problem.to_markowitz)]
        for seed in range(seeds):
            began = time.process_time()
            agent = taught(asked, seed, passes, from_history)
            share = problem.value(asked, problem.of_agent(agent)) / best
            rows.append(
                {"ratio": ratio, "from": "10 years x 20" if from_history else "fresh days", "seed": seed,
                 "share": share, "to_the_aim": naive[0], "to_markowitz": naive[1],
                 "seconds": time.process_time() - began, "passed": share >= bound}
            )  # fmt: skip
            tell(rows[-1])
    return rows


def taught(asked: problem.Problem, seed: int, passes: int, from_history: bool, n_slots: int = 20):
    """A PPO agent of the trading problem, with the product's network, training and rollouts."""
    config = AgentConfig(passes=passes, environments=16, horizon=40, discount=1.0 - asked.rho)
    history = problem.path(asked, 2520, n_slots, np.random.default_rng(100 + seed)) if from_history else None
    world = problem.TradingWorld(asked, config.environments, n_slots, config.horizon, history, config.copies)
    return learn("ppo", world, config, seed)


def of_nothing(seeds: int) -> list[dict]:
    """Rows of the third table."""
    rows = []
    for kind in ("ppo", "dqn"):
        for seed in range(seeds):
            with TemporaryDirectory() as folder:
                settings = {**SMALL, "policy": {"name": kind}, "engine": {"seed": seed}}
                config = make_config(settings)
                config = replace(config, simulated=replace(config.simulated, seed=seed))
                ledger = Ledger(Path(folder) / "ledger.sqlite")
                outcome = run(config, Path(folder) / "run", report=False, ledger=ledger)
                found = json.loads((Path(folder) / "run" / "significance.json").read_text())
            claim = next(each for each in found["claims"] if each["claim"] == "1/N")
            own = outcome.metrics["strategy"]
            rows.append(
                {"agent": kind, "seed": seed, "sharpe": own["sharpe"], "turnover": own["turnover"],
                 "difference": claim["difference"], "low": claim["low"], "high": claim["high"],
                 "p": claim["p"], "says": said_of(found["verdict"], "beats 1/N"), "passed": not claim["found"]}
            )  # fmt: skip
            tell(rows[-1])
    return rows


def said_of(verdict: dict, words: str) -> str:
    """The part of a verdict that a sentence with these words stands in."""
    return next((part for part, texts in verdict.items() if words in json.dumps(texts)), "nowhere")


def tell(row: dict) -> None:
    """A row as it is done."""
    cells = (f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items())
    print("  ".join(cells), flush=True)


TABLES = {"oracle": of_oracle, "trading": of_trading, "nothing": of_nothing}


def main() -> int:
    """Measure, print, and say whether the bounds were kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=TABLES, action="append", help="this table; may be repeated")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the rows there")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows = {name: TABLES[name](asked.seeds) for name in asked.only or TABLES}
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row["passed"] for table in rows.values() for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
