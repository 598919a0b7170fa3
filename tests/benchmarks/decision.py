"""What one decision and its clusters' passports cost, by kind of embedding: CPU seconds of one thread.

    python -m tests.benchmarks.decision                                       # 700 made-up assets
    python -m tests.benchmarks.decision --path FOLDER --kinds search svd      # every US share and fund of a folder

A policy is trained (for one epoch: how well does not matter here) and asked for four monthly decisions in a row, anew
by each kind: ``first`` is the one after the training, when nothing is remembered, ``steady`` the mean of the others.
``svd``, the singular value decomposition of the same returns under the same clustering, is the classical peer.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from clusterfolio.engine.assembly.market import load_market
from clusterfolio.engine.assembly.plan import plan_folds, test_dates
from clusterfolio.engine.assembly.policy import make_fold_policy
from clusterfolio.engine.assembly.prepare import prepare
from clusterfolio.engine.config.run import make_config
from clusterfolio.engine.config.settings import merge, read_preset
from clusterfolio.strategies.passports.passport import known_facts
from clusterfolio.strategies.policy import PortfolioState

DECISIONS = 4


def measure(kinds: list[str], assets: int, path: Path | None) -> dict[str, dict[str, float]]:
    """By kind: assets clustered, and seconds of decisions and passports, first and steady."""
    data: dict = {"simulated": {"n_assets": assets}}
    if path is not None:
        files = [str(path / name) for name in ("us_stocks.parquet", "us_etfs.parquet")]
        data = {"data": {"source": "files", "path": files, "universe": "all"}}
    quick = {"train": {"epochs": 1, "threads": 1}, "engine": {"device": "cpu"}}
    config = make_config(merge(read_preset("default"), data, quick))
    panel = load_market(config).panel
    days = test_dates(panel, config)
    panel, cash, _ = prepare(config, panel)
    (fold,) = plan_folds(config, panel, days)
    encoder = make_fold_policy(config, cash, fold, False).fit(panel.until(fold.train_end), fold.train_start).encoder
    found = {}
    for kind in kinds:
        policy = make_fold_policy(replace(config, embedding=replace(config.embedding, kind=kind)), cash, fold, False)
        policy.encoder = encoder
        policy.trained_on(fold.train_start, fold.train_end)
        spent = []
        for day in days[:DECISIONS]:
            known, began = panel.until(day), time.process_time()
            decision = policy.decide(known, PortfolioState())
            decided = time.process_time()
            known_facts(decision, known, policy, PortfolioState())
            spent.append((decided - began, time.process_time() - decided))
        (first, passports), (steady, others) = spent[0], np.mean(spent[1:], axis=0)
        found[kind] = {
            "assets": len(decision.labels),
            "first decision": round(first, 2),
            "first passports": round(passports, 2),
            "steady decision": round(float(steady), 2),
            "steady passports": round(float(others), 2),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=int, default=700, help="made-up assets")
    parser.add_argument("--path", type=Path, help="folder of real prices, in their place")
    parser.add_argument("--kinds", nargs="+", default=["search", "trajectory", "svd"], metavar="KIND")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.kinds, args.assets, args.path)
    if args.json:
        print(json.dumps(found))
        return
    for kind, row in found.items():
        print(f"{kind}, " + ", ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
