"""What the data check said of every symbol."""

from __future__ import annotations

from pathlib import Path

from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.run_dir.remarks import line
from clusterfolio.engine.run_dir.tables import ReportInputs


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    symbols = inputs.symbols
    return {
        "verdicts": symbols["verdict"].value_counts().to_dict(),
        "asked": len(symbols),
        "questioned": symbols[symbols["verdict"] != "used"],
        "remarks": [line(group) for group in inputs.run.get("remarks") or []],
        "excluded": inputs.run.get("excluded") or {},
    }


SECTION = Section("data", "Data verdicts", Path(__file__).with_suffix(".html"), build, menu="Data")
