"""What the data check said of every symbol."""

from __future__ import annotations

from pathlib import Path

from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.run_dir.remarks import line
from clusterfolio.engine.run_dir.tables import ReportInputs, asked_for
from clusterfolio.feeds.raw import RATE, USED


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    symbols = inputs.symbols
    return {
        "verdicts": symbols["verdict"].value_counts().to_dict(),
        "asked": int(asked_for(symbols).sum()),
        "questioned": symbols[~symbols["verdict"].isin([USED, RATE])],
        "remarks": [line(group) for group in inputs.run.get("remarks") or []],
        "excluded": inputs.run.get("excluded") or {},
    }


SECTION = Section("data", "Data verdicts", Path(__file__).with_suffix(".html"), build, menu="Data")
