"""From a finished run to its first day on a paper account, without an account anywhere: the local venue.

``clusterfolio paper once`` again does the next session. At a broker it is the same command with ``--venue``.
"""

import json
import subprocess

SMALL = {
    "simulated.n_assets": 24,
    "simulated.start": "2023-01-02",
    "simulated.foreign": 0.0,
    "clustering.n_clusters": 6,
    "train.epochs": 1,
    "train.windows_per_epoch": 1024,
    "dates.start": "2025-11-03",
}


def clusterfolio(*arguments):
    """What the command prints on its standard output."""
    return subprocess.run(["clusterfolio", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


settings = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
clusterfolio("run", "--out", "runs/first", "--no-report", "--quiet", *settings)

# Decide on a close, send the orders for the next open, settle, and compare the account with a model of it.
state = json.loads(clusterfolio("paper", "once", "runs/first", "--quiet", "--json"))
print(state["account"])
for held in state["positions"]:
    print(f"{held['symbol']}: wanted {held['target']:.1%}, held {held['held']:.1%}, {held['value']:,.2f}")
print("what sets it apart from the model, in money:", state["day"]["causes"])
