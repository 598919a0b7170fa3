"""The results in figures, and what the run noted."""

from __future__ import annotations

from pathlib import Path

from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.report.layout.text import number, percent
from clusterfolio.engine.run_dir.tables import ReportInputs

#: Rows of the headline table: label, key in ``metrics.json``, how it is written.
HEADLINE = (
    ("Total return", "total_return", "percent"),
    ("Return per year (CAGR)", "cagr", "percent"),
    ("Volatility per year", "volatility", "percent"),
    ("Sharpe ratio, over cash", "sharpe", "number"),
    ("Sortino ratio, over cash", "sortino", "number"),
    ("Deepest drawdown", "max_drawdown", "percent"),
    ("Its length, sessions", "max_drawdown_days", "count"),
    ("Calmar ratio", "calmar", "number"),
    ("Turnover per year, one way", "turnover", "percent"),
)


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    return {
        "headline": headline(inputs.metrics),
        "notes": list(dict.fromkeys(inputs.run.get("notes") or [])),
    }


def headline(metrics: dict) -> list[tuple[str, str, str]]:
    """Rows ``(label, strategy, benchmark)`` of the headline table, as text."""
    write = {"percent": percent, "number": number, "count": lambda value: "–" if value is None else f"{value:,d}"}
    return [
        (label, write[form](metrics["strategy"].get(key)), write[form](metrics["benchmark"].get(key)))
        for label, key, form in HEADLINE
    ]


SECTION = Section("headline", "Results", Path(__file__).with_suffix(".html"), build)
