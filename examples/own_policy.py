"""A policy of your own through the whole run: walk from decision to decision, verdict, ledger.

A run finds the class by its name, ``own_policy:Calm``, in this file.
"""

from pathlib import Path

import pandas as pd

import clusterfolio as cf


class Calm:
    """The calmest assets of the last half year, each weighted by the inverse of its volatility."""

    def __init__(self, n_assets=5, sessions=126):
        self.n_assets = n_assets
        self.sessions = sessions

    def decide(self, panel, state):
        """Weights to hold from the next open on; the panel ends with the day decided on."""
        alive = panel.tradable[(panel.bars_since_last() <= 5)[panel.tradable]]
        volatility = panel.session_returns()[alive].iloc[-self.sessions :].std()
        calm = 1 / volatility[volatility > 0.003].nsmallest(self.n_assets)  # under 5 % a year it is as good as cash
        return cf.Decision(panel.dates[-1], calm / calm.sum())


if __name__ == "__main__":
    config = cf.make_config(
        {
            "data": {"source": "simulated"},  # your own prices: "files", with "path": ["prices/"]
            "simulated": {"n_assets": 24, "start": "2024-01-02", "end": "2025-05-30", "foreign": 0.0},
            "policy": {"name": "own_policy:Calm", "n_assets": 6},
        }
    )
    outcome = cf.run(config, Path("runs/calm"), report=False)  # report=True writes the page too
    print(pd.DataFrame({name: outcome.metrics[name] for name in ("strategy", "benchmark")}).loc[["cagr", "sharpe"]])
    print(outcome.assessment.verdict.headline)
    print("trials on record:", outcome.ledger["count"])

    # Does the future reach it? Everything is computed twice, with two futures.
    market = cf.simulate(cf.SimulatedConfig(n_assets=20, start="2024-06-03", foreign=0.0))
    panel, _ = cf.build_panel(market, benchmark="SIM.MKT")
    print("leaks:", cf.check_policy(panel, Calm, dates=1).findings)
