"""Trials for a ledger, made up; importable by processes that a test starts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from clusterfolio.engine.ledger.ledger import Receipt
from clusterfolio.engine.ledger.trials import Trial

CONFIG = {
    "data": {"source": "files", "path": ["prices/"], "universe": "seed"},
    "cash": {"path": ""},
    "trading": {"rebalance": "month", "capital": 100000.0},
    "engine": {"seed": 0, "workers": 1, "clock": "shared", "device": "auto"},
}


def make_trial(seed=0, start="2024-01-01", days=30, simulated=False, market=0, config=None, **changes) -> Trial:
    """A made-up trial: returns drawn with ``seed`` beside a benchmark drawn with ``market``."""
    index = pd.bdate_range(start, periods=days, name="date")
    returns = pd.DataFrame(
        {
            "strategy": np.random.default_rng(seed).normal(0, 0.01, days),
            "benchmark": pd.Series(np.random.default_rng(1000 + market).normal(0, 0.01, 5000))[: len(index)].to_numpy(),
        },
        index,
    )
    config = config or {**CONFIG, "engine": {**CONFIG["engine"], "seed": seed}}
    made = Trial(config, "d" * 64, "c" * 16, simulated, "SPY", returns, {"sharpe": 0.5, "sortino": None}, {}, "/runs/x")
    return replace(made, **changes)


def run_json(trial: Trial, receipt: Receipt) -> dict:
    """What a run's run.json says, as far as the ledger asks."""
    prints = {"data": trial.data, "code": trial.code, "returns": trial.outcome}
    return {"config": trial.config, "fingerprint": prints, "ledger": vars(receipt)}
