"""What each part of a finished run's page costs: seconds of CPU and of wall time, and the most memory held so far.

    python -m tests.benchmarks.report runs/first runs/ten-years

Each run in a process of its own, on one core. ``plain sheets`` is the peer of ``tear sheets``: the same pictures as
pyfolio draws them by itself, where every line asks all axes for their dates, a figure is drawn up to three times, and
the rolling beta is found day by day. What ``--no-tearsheets`` costs is the rest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from contextlib import ExitStack, contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from unittest.mock import patch

from matplotlib.dates import DateLocator
from PIL import Image

from clusterfolio.engine.report.contents import SECTIONS
from clusterfolio.engine.report.layout.plots import date_axis
from clusterfolio.engine.report.page import TEAR_SHEETS, draw, render, sections_of
from clusterfolio.engine.report.sections import tear_sheets
from clusterfolio.engine.run_dir.tables import read_run
from tests.benchmarks.main_job import StageCosts

#: What is not part of writing a page.
BESIDE = ("import", "plain sheets")


@contextmanager
def plain(drawn=None):
    """Tear sheets as pyfolio makes them without our help.

    Args:
        drawn: how a figure becomes a picture; None = by matplotlib, in a box as tight as it finds.
    """
    pyfolio, _ = tear_sheets._import_pyfolio()
    own = {
        "merge_consecutive": pyfolio.round_trips._groupby_consecutive,
        "rolling_beta": pyfolio.timeseries.rolling_beta,
        "BACKEND": "agg",
        "dates_later": nullcontext,
        "settle": all_dates,
        "drawn_once": drawn or tightly,
    }
    with ExitStack() as stack:
        for name, value in own.items():
            stack.enter_context(patch.object(tear_sheets, name, value))
        yield


def all_dates(figure) -> None:
    """Our dates for a figure that was built with its own."""
    for axes in figure.axes:
        if isinstance(axes.xaxis.get_major_locator(), DateLocator):
            date_axis(axes)
            axes.tick_params(axis="x", rotation=0)
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("center")


def tightly(figure, dpi: int) -> Image.Image:
    """The figure as matplotlib cuts it itself."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", facecolor="white")
    return Image.open(buffer)


def measure_here(run_dir: Path) -> dict:
    """One run in this process."""
    costs = StageCosts()
    sheets = [section for section in SECTIONS if section.anchor == TEAR_SHEETS]
    costs.stage("read")
    inputs = read_run(run_dir)
    costs.stage("own pictures")
    pictures = draw(inputs, sections_of(tear_sheets=False))
    costs.stage("tear sheets")
    pictures |= draw(inputs, sheets)
    costs.stage("page")
    page = render(inputs, pictures)
    costs.stage("plain sheets")
    with plain():
        draw(inputs, sheets)
    costs.stage("end")
    cpu = {name: stage["cpu"] for name, stage in costs.stages.items()}
    whole = sum(seconds for name, seconds in cpu.items() if name not in BESIDE)
    return {
        "sessions": len(inputs.returns), "cpu": round(whole, 2), "bare": round(whole - cpu["tear sheets"], 2),
        "ratio": round(cpu["plain sheets"] / cpu["tear sheets"], 2), "mb": round(len(page) / 1e6, 2),
        "stages": costs.stages,
    }  # fmt: skip


def measure(run_dir: Path) -> dict:
    """One run in a process of its own, whose memory is its own."""
    command = [sys.executable, "-m", "tests.benchmarks.report", "--here", str(run_dir)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def say(name: str, found: dict) -> None:
    """Print it for people."""
    print(f"{name}: {found['sessions']:,} sessions, a page of {found['mb']:.1f} MB")
    print(f"{found['cpu']:.1f} s of CPU, {found['bare']:.1f} without tear sheets, "
          f"which take {found['ratio']:.1f} times as long drawn plainly")  # fmt: skip
    for stage, cost in found["stages"].items():
        print(f"  {stage:13} {cost['cpu']:8.1f} s of CPU {cost['wall']:8.1f} s {cost['peak_mb']:8,.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_dirs", nargs="+", type=Path, metavar="RUN_DIR")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    for run_dir in args.run_dirs:
        if args.here:
            print(json.dumps(measure_here(run_dir)))
        else:
            say(str(run_dir), measure(run_dir))


if __name__ == "__main__":
    main()
