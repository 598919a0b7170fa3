"""A sweep over a grid, its table of results, and the ledger that counted every trial of it.

The policy is a file of its own, as it would be in your project.
"""

import json
import subprocess
from pathlib import Path

import pandas as pd

Path("half_year.py").write_text("""
import pandas as pd

from clusterfolio import Decision


class Momentum:
    def __init__(self, n_assets=5, sessions=126):
        self.n_assets = n_assets
        self.sessions = sessions

    def decide(self, panel, state):
        closes = panel.session_closes()[panel.tradable].iloc[-self.sessions :]
        best = (closes.iloc[-1] / closes.iloc[0]).dropna().nlargest(self.n_assets).index
        return Decision(panel.dates[-1], pd.Series(1 / len(best), best))
""")
Path("grid.toml").write_text("""
[grid]
"policy.n_assets" = [3, 10]
"policy.sessions" = [63, 126]
""")


def clusterfolio(*arguments):
    """What the command prints on its standard output."""
    return subprocess.run(["clusterfolio", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


small = ["simulated.n_assets=24", "simulated.start=2024-06-03", "simulated.end=2025-05-30", "simulated.foreign=0.0"]
settings = [part for setting in small for part in ("--set", setting)]
clusterfolio("sweep", "grid.toml", "--policy", "half_year:Momentum", "--workers", "1", "--quiet", *settings)
table = pd.read_csv("runs/sweep-grid/trials.csv").sort_values("sharpe", ascending=False)
print(table[["trial", "sharpe", "max_drawdown", "turnover"]].to_string(index=False))

# Nobody has to remember how often they looked: four rows, the same for whoever asks, and nothing can be taken out.
ledger = pd.DataFrame(json.loads(clusterfolio("trials", "--all", "--json")))
print(ledger[["number", "trial", "start", "end", "sharpe", "benchmark_sharpe"]].tail(4).to_string(index=False))
print(clusterfolio("trials", "verify", "runs/sweep-grid"))
print("the best of them, judged as one of four: clusterfolio significance runs/sweep-grid/" + table.iloc[0]["trial"])
