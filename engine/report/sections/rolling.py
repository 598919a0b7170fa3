"""How risk and reward moved with time: ratios in a moving window, and what the account moved with."""

from __future__ import annotations

import pandas as pd

from clusterfolio.engine.evidence.rolling import LOSS_WINDOW, WINDOW, rolling_figures
from clusterfolio.engine.report.layout.charts import Lines, Panel, Series, Views
from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.report.layout.text import number, percent
from clusterfolio.engine.run_dir.tables import ReportInputs

#: Decimals that the page shows: a hundredth of a percent.
SHOWN = 4

TEMPLATE = "{{ chart('rolling') }}"


def absent(inputs: ReportInputs) -> str:
    """Too short for a window and some time for it to move."""
    return f"it is shorter than {2 * WINDOW} sessions" if len(inputs.returns) < 2 * WINDOW else ""


def charts(inputs: ReportInputs) -> dict[str, Views]:
    """Sharpe ratio, volatility and beta over half a year, losses of a session over a year, betas to factors."""
    period = inputs.metrics["period"]
    per_session = (1 + (period.get("cash_return") or 0.0)) ** (1 / period["sessions"]) - 1
    cash = pd.Series(per_session, inputs.returns.index)
    own = rolling_figures(inputs.returns, cash).round(SHOWN)
    other = rolling_figures(inputs.returns.assign(strategy=inputs.returns["benchmark"]), cash).round(SHOWN)
    name, months = inputs.run["benchmark"], f"over {WINDOW} sessions"

    def both(key: str, label: str, unit: str) -> Lines:
        lines = (Series(name, other[key], "benchmark"), Series("Strategy", own[key], "strategy"))
        known = own[key].dropna()
        write = percent if unit == "percent" else number
        low, high = known.idxmin(), known.idxmax()
        said = f"{label}: between {write(known[low])} ({low:%Y-%m-%d}) and {write(known[high])} ({high:%Y-%m-%d})."
        return Lines(label, said, own.index, (Panel(label, lines, unit),), height=260)

    views = {
        "Sharpe ratio": both("sharpe", f"Sharpe ratio {months}", "number"),
        "Volatility": both("volatility", f"Volatility a year, {months}", "percent"),
    }
    beta = own["beta"].dropna()
    said = f"Beta to {name}: between {number(beta.min())} and {number(beta.max())}."
    panel = Panel("Beta", (Series("Strategy", own["beta"], "strategy"),))
    views["Beta"] = Lines(f"Beta to {name} {months}", said, own.index, (panel,), height=260)
    if own["var"].notna().sum() > 1:
        last = own.dropna(subset="var").iloc[-1]
        lines = (Series("Value at risk", own["var"], "strategy"), Series("Expected shortfall", own["cvar"], "bad"))
        said = (
            f"Of the last {LOSS_WINDOW} sessions one in twenty lost {percent(last['var'])} or more, and those lost "
            f"{percent(last['cvar'])} on average."
        )
        views["Loss of a session"] = Lines(
            "Loss of one session, 95 %, historical", said, own.index, (Panel("Loss", lines, "percent"),), height=260
        )
    if betas := (inputs.evidence or {}).get("betas_over_time"):
        views["Factors"] = _factors(betas)
    first = views["Sharpe ratio"]
    return {"rolling": Views("Rolling figures", first.finding, views, height=260)}


def _factors(rows: list[dict]) -> Lines:
    """Betas to the factors of the run's own panel, every month."""
    table = pd.DataFrame(rows).set_index("date")
    table.index = pd.DatetimeIndex(table.index)
    last = table.iloc[-1]
    listed = ", ".join(f"{name} {number(value)}" for name, value in last.items())
    said = f"Betas at {table.index[-1]:%Y-%m-%d}: {listed}."
    lines = [Series(name, table[name]) for name in table]
    return Lines(f"Betas to factors over {WINDOW} sessions", said, table.index, (Panel("Beta", lines),), height=260)


SECTION = Section("rolling", "Over time", TEMPLATE, charts=charts, absent=absent)
