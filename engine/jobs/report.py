"""A finished run's page, written again from the files in its directory; and the page of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clusterfolio.engine.evidence.side_by_side import side_by_side
from clusterfolio.engine.progress import Reporter
from clusterfolio.engine.report.page import TEAR_SHEETS, sections_of, write_report
from clusterfolio.engine.report.several import write_side_by_side
from clusterfolio.engine.run_dir.artifacts import read_run_json


def rewrite_report(run_dir: Path, tear_sheets: bool = True) -> Path:
    """Write a run directory's report, whether it had one or not; returns the page's path."""
    read_run_json(run_dir)  # says so where it is no run
    return write_report(Path(run_dir), sections=sections_of(tear_sheets))


def renew_report(run_dir: Path, reporter: Reporter) -> bool:
    """Write a run directory's report anew where it has one, with tear sheets where it has those; whether it has."""
    page = Path(run_dir) / "report.html"
    if not page.is_file():
        return False
    reporter.stage("report")
    had = f'<section id="{TEAR_SHEETS}"' in page.read_text(encoding="utf-8")
    write_report(Path(run_dir), sections=sections_of(had))
    return True


def compare_results(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write one page of several run directories and paper accounts; returns its path.

    Args:
        out: of the page (default: ``side-by-side.html`` in the folder that the first lies in).
    """
    return write_side_by_side(side_by_side(folders), out or Path(folders[0]).parent / "side-by-side.html")
