"""What trading cost, and what was traded and why."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.run_dir.tables import ReportInputs
from clusterfolio.engine.trading.costs import KINDS, OF_TRADES

#: What each kind of cost is called.
SAID = {
    "commission": "Commission",
    "spread": "Half the spread",
    "impact": "Market impact",
    "financing": "Financing, beyond the cash rate",
}


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    return {
        "trades": transaction_summary(inputs.transactions),
        "money": gross_to_net(inputs),
        "unfilled": inputs.run.get("unfilled") or [],
    }


def gross_to_net(inputs: ReportInputs) -> list[tuple[str, float]]:
    """What was gained before costs, each kind of cost (below 0), and what was gained, which is their sum; in money."""
    net = inputs.returns["strategy"]
    value = inputs.positions.sum(axis=1).reindex(net.index)
    gained = float((value - value / (1.0 + net)).sum())  # of each session by itself: money paid in is no gain
    costs = inputs.metrics["strategy"]["costs"]
    shown = [kind for kind in KINDS if kind in ("commission", "spread") or costs.get(kind)]
    before = ("Gained before costs", gained + sum(costs[kind] for kind in shown))
    return [before, *((SAID[kind], -costs[kind]) for kind in shown), ("Gained", gained)]


def transaction_summary(transactions: pd.DataFrame) -> list[dict]:
    """Number, value and costs of the trades by kind of reason and side; each trade's own is in transactions.csv."""
    kind = transactions["reason"].map(kind_of)
    side = (transactions["amount"] > 0).map({True: "buy", False: "sell"})
    rows = []
    for (reason, way), trades in transactions.groupby([kind, side]):
        rows.append(
            {
                "reason": reason,
                "side": way,
                "trades": len(trades),
                "value": trades["value"].abs().sum(),
                "costs": trades[list(OF_TRADES)].to_numpy().sum(),
            }
        )
    return rows


def kind_of(reason: str) -> str:
    """What a rule's reason begins with, without the figures of the one trade.

    >>> kind_of("stop, 9.0 % > 8.0 % under its entry"), kind_of("rebalance, sent again after a margin refusal")
    ('stop', 'rebalance, sent again after a margin refusal')
    """
    if reason.startswith("rebalance"):
        return reason
    return reason.partition(",")[0].partition(":")[0]


SECTION = Section(
    "trading", "Costs, turnover and transactions", Path(__file__).with_suffix(".html"), build, menu="Costs and trades"
)
