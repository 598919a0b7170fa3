"""A finished run's page, written again from the files in its directory; and the page of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clusterfolio.engine.evidence.side_by_side import side_by_side
from clusterfolio.engine.progress import Reporter
from clusterfolio.engine.report.page import write_report
from clusterfolio.engine.report.several import write_side_by_side
from clusterfolio.engine.run_dir.artifacts import read_run_json


def rewrite_report(run_dir: Path) -> Path:
    """Write a run directory's report, whether it had one or not; returns the page's path."""
    read_run_json(run_dir)  # says so where it is no run
    return write_report(Path(run_dir))


def renew_report(run_dir: Path, reporter: Reporter) -> bool:
    """Write a run directory's report anew where it has one; whether it has."""
    if not (Path(run_dir) / "report.html").is_file():
        return False
    reporter.stage("report")
    write_report(Path(run_dir))
    return True


def compare_results(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write one page of several run directories and paper accounts; returns its path.

    Args:
        out: of the page (default: ``side-by-side.html`` in the folder that the first lies in).
    """
    return write_side_by_side(side_by_side(folders), out or Path(folders[0]).parent / "side-by-side.html")
