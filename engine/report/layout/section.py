"""A section of the page: all that the page knows of it, in one object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from matplotlib.axes import Axes

from clusterfolio.engine.report.layout.charts import Chart
from clusterfolio.engine.run_dir.tables import ReportInputs


class Drawn(Protocol):
    """A picture that is drawn already."""

    png: bytes


def _nothing(inputs: ReportInputs) -> dict:
    return {}


def _always(inputs: ReportInputs) -> str:
    return ""


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading of its own. ``engine.report.contents`` lists them in order.

    Attributes:
        anchor: its id on the page, unique.
        title: its heading.
        template: what stands under the heading: Jinja text, or the file that holds it. It is shown what ``build``
            gives, and ``run``, ``metrics`` and ``weights`` of the run; ``chart(name)`` puts a chart or a table to sort
            there, ``picture(name, alt)`` a picture, ``signed(value)`` a cell of a table with a percentage, red where it
            is below 0, ``shade(value, most)`` such a cell of a heat map.
        build: what the template is shown, by name.
        charts: its charts and sortable tables by name (``engine.report.layout.charts``), drawn in the reader's browser.
        draw: its pictures by name, on axes or drawn already; each is also written as ``NAME.png``. One that has the
            name of a chart stands in its place in print and without JavaScript.
        absent: why a run's page goes without this section, as the end of a sentence; "" = the section is there.
        css_class: of the section as it is shown for a run.
        menu: what it is called in the list of sections at the top, where that is not ``title``.
    """

    anchor: str
    title: str
    template: str | Path
    build: Callable[[ReportInputs], dict] = _nothing
    draw: Callable[[ReportInputs], Mapping[str, Axes | Drawn]] = _nothing
    charts: Callable[[ReportInputs], Mapping[str, Chart]] = _nothing
    absent: Callable[[ReportInputs], str] = _always
    css_class: Callable[[ReportInputs], str] = _always
    menu: str = ""


def without_clusters(inputs: ReportInputs) -> str:
    """Why sections about clusters are absent; "" where a decision of the run states some."""
    return "no decision of this run states clusters" if inputs.clusters.empty else ""
