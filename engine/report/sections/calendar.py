"""Returns by year and month."""

from __future__ import annotations

from pathlib import Path

import empyrical as ep
import pandas as pd

from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.run_dir.tables import ReportInputs

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    return {"months": MONTHS, "years": calendar_table(inputs.returns)}


def calendar_table(returns: pd.DataFrame) -> list[dict]:
    """One row per year: the returns of both by month and over the year, None where the run has no session."""
    monthly = {name: ep.aggregate_returns(returns[name], "monthly") for name in ("strategy", "benchmark")}
    yearly = {name: ep.aggregate_returns(returns[name], "yearly") for name in ("strategy", "benchmark")}
    rows = []
    for year in yearly["strategy"].index:
        row = {"year": int(year)}
        for name in ("strategy", "benchmark"):
            row[name] = [monthly[name].get((year, month)) for month in range(1, 13)]
            row[f"{name}_year"] = yearly[name][year]
        rows.append(row)
    return rows


SECTION = Section(
    "calendar", "Yearly and monthly returns", Path(__file__).with_suffix(".html"), build, menu="Years and months"
)
