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
    years = calendar_table(inputs.returns)
    moves = [abs(value) for row in years for value in row["strategy"] if value is not None]
    return {"months": MONTHS, "years": years, "most": max(moves, default=0.0), "parts": parts(inputs.returns.index)}


def parts(sessions: pd.DatetimeIndex) -> str:
    """Which of its first and last year a run has in part only, in words; "" where both are whole.

    >>> parts(pd.bdate_range("2024-03-14", "2025-12-31"))
    '2024 from 14 Mar only'
    """
    first, last = sessions[0], sessions[-1]
    late, early = first.day_of_year > 7, last < pd.Timestamp(last.year, 12, 24)
    if first.year == last.year and late and early:
        return f"{first.year} from {first.day} {first:%b} to {last.day} {last:%b} only"
    begun, ended = f"{first.year} from {first.day} {first:%b} only", f"{last.year} to {last.day} {last:%b} only"
    return " and ".join([begun] * late + [ended] * early)


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
