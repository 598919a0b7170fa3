"""A finished run's page, written again from the files in its directory."""

from __future__ import annotations

from pathlib import Path

from clusterfolio.engine.progress import Reporter
from clusterfolio.engine.report.page import write_report
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
