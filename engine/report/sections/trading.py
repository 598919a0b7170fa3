"""What trading cost, and what was traded and why."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.run_dir.tables import ReportInputs


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    return {"trades": transaction_summary(inputs.transactions), "unfilled": inputs.run.get("unfilled") or []}


def transaction_summary(transactions: pd.DataFrame) -> list[dict]:
    """Number, value and costs of the trades by reason and side."""
    side = (transactions["amount"] > 0).map({True: "buy", False: "sell"})
    rows = []
    for (reason, way), trades in transactions.groupby(["reason", side]):
        rows.append(
            {
                "reason": reason,
                "side": way,
                "trades": len(trades),
                "value": trades["value"].abs().sum(),
                "commission": trades["commission"].sum(),
                "spread": trades["spread"].sum(),
            }
        )
    return rows


SECTION = Section(
    "trading", "Costs, turnover and transactions", Path(__file__).with_suffix(".html"), build, menu="Costs and trades"
)
