"""What trading cost, and what was traded and why."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from clusterfolio.engine.report.layout.charts import Column, Lines, Panel, Series, Table
from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.report.layout.text import number
from clusterfolio.engine.run_dir.tables import ReportInputs
from clusterfolio.engine.trading.costs import KINDS, OF_TRADES
from clusterfolio.strategies.rebalance import SENT_AGAIN

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
        "sent_again": inputs.transactions["reason"].eq(SENT_AGAIN).any(),
        "money": gross_to_net(inputs),
        "unfilled": inputs.run.get("unfilled") or [],
        "curves": curves_of(inputs),
        "break_even": break_even_words(inputs),
        "lags": lag_words(inputs),
        "tradability": (inputs.evidence or {}).get("tradability") or [],
    }


def curves_of(inputs: ReportInputs) -> dict | None:
    """What the run would have earned at other costs and in other sizes; None where that was not worked out."""
    return (inputs.evidence or {}).get("curves")


def break_even_words(inputs: ReportInputs) -> str:
    """At which multiple of the costs the lead over cash and over the benchmark is gone, in a sentence; "" = unknown."""
    found = curves_of(inputs)
    if found is None:
        return ""
    most = found["costs"][-1]["multiple"]
    names = {"cash": "cash", "benchmark": inputs.run["benchmark"]}
    said = []
    for key, multiple in found["break_even"].items():
        if multiple is None:
            said.append(f"over {names[key]} at more than {most:g} times the stated costs")
        elif multiple > 0:
            said.append(f"over {names[key]} at {multiple:.1f} times the stated costs")
        else:
            said.append(f"over {names[key]} at no cost: there is none")
    return f"The lead is gone {', and '.join(said)}."


def charts(inputs: ReportInputs) -> dict[str, Lines | Table]:
    """What other costs, sizes and delays would have left, where that was worked out; and every trade."""
    drawn: dict[str, Lines | Table] = {}
    if len(inputs.transactions):
        drawn["trades"] = every_trade(inputs)
    if (lags := (inputs.evidence or {}).get("lags")) is not None:
        title, below = "Fills earlier and later", "Sessions after the run's own fills"
        drawn["lag_curve"] = _curve(lags["rows"], "lag", title, below)
    found = curves_of(inputs)
    if found is None:
        return drawn
    capital = f"Starting capital ({inputs.run['currency']})"
    return drawn | {
        "cost_curve": _curve(found["costs"], "multiple", "Net of more or less cost", "Costs, times the stated ones"),
        "capacity_curve": _curve(found["sizes"], "capital", "Net in larger accounts", capital, log=True),
    }


#: Trades in the table, the latest; transactions.csv has them all.
MOST_TRADES = 2_000


def every_trade(inputs: ReportInputs) -> Table:
    """A row per trade with its reason, the latest first."""
    currency, trades = inputs.run["currency"], inputs.transactions.iloc[::-1]
    shown = trades.iloc[:MOST_TRADES]
    columns = (
        Column("Date"), Column("Symbol"), Column("Side"), Column("Amount", "number"), Column("Price", "number"),
        Column("Currency"),
        Column(f"Value ({currency})", "money"), Column(f"Costs ({currency})", "number"), Column("Reason", wrap=True),
    )  # fmt: skip
    costs, price = shown[list(OF_TRADES)].sum(axis=1), "price" if "price" in shown else "level"
    rows = [
        (f"{trade.date:%Y-%m-%d}", trade.symbol, "buy" if trade.amount > 0 else "sell", abs(trade.amount),
         getattr(trade, price), getattr(trade, "currency", currency), abs(trade.value), cost, trade.reason)
        for trade, cost in zip(shown.itertuples(), costs, strict=True)
    ]  # fmt: skip
    left = f"; the latest {MOST_TRADES:,} are shown, transactions.csv has them all" if len(trades) > len(shown) else ""
    buys = int((trades["amount"] > 0).sum())
    finding = f"{len(trades):,} trades, {buys:,} of them buys{left}."
    return Table(
        "Every trade and its reason" if not left else "The latest trades and their reasons",
        finding,
        columns,
        rows,
        shown=6,
    )


def lag_words(inputs: ReportInputs) -> str:
    """What the delay of the fills makes of the result, in a sentence; "" = unknown."""
    found = (inputs.evidence or {}).get("lags")
    if found is None:
        return ""
    ratio = {row["lag"]: row["sharpe"] for row in found["rows"]}
    said = (
        f"Filled a week later (5 sessions) the same decisions have a Sharpe ratio of {number(ratio[5])} instead of "
        f"{number(ratio[0])}, over the {found['sessions']:,} sessions that all share, which are not the whole run."
    )
    if found["alarm"] is None:
        return f"{said} No step between neighbouring delays is beyond chance."
    return f"{said} A step between neighbouring delays is beyond chance: see the caveat on execution lag."


def _curve(rows: list[dict], across: str, title: str, below: str, log: bool = False) -> Lines:
    known = [row for row in rows if row["sharpe"] is not None]
    said = "; ".join(f"{row[across]:,.0f}: Sharpe ratio {row['sharpe']:.2f}" for row in known)
    line = Series("Sharpe ratio", [row["sharpe"] for row in known], "strategy", "points")
    xs = [row[across] for row in known]
    return Lines(title, f"{below}: {said}.", xs, (Panel("Sharpe ratio", [line]),), below, log, height=240)


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
    "trading", "Costs, turnover and transactions", Path(__file__).with_suffix(".html"), build, charts=charts,
    menu="Costs and trades",
)  # fmt: skip
