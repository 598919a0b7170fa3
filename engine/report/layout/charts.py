"""Charts as data: a section says what is to be drawn, ``script/`` draws it in the reader's browser.

Each class is one kind of chart. Its fields go onto the page as JSON, so whatever stands in a chart can be read back
from the page. ``finding`` is what a reader who cannot see the chart is told: what it shows, in a sentence with figures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from markupsafe import Markup

#: Numbers on the page have so many significant digits: a thousandth of a pixel, and a third of the bytes.
DIGITS = 7


@dataclass(frozen=True)
class Series:
    """One line, area or row of bars.

    Attributes:
        name: as in the legend.
        values: a number per position on the x axis; None or NaN = a gap.
        role: whose tone it has: ``strategy, benchmark, gross, cash, bad``; "" = the next of the palette.
        shape: ``line``, ``area``, ``bar`` or ``points`` (a line with a mark at every value).
    """

    name: str
    values: Sequence[float | None]
    role: str = ""
    shape: str = "line"


@dataclass(frozen=True)
class Panel:
    """Series on one pair of axes.

    Attributes:
        label: of the vertical axis, unit included.
        series: what is drawn, the last on top.
        unit: how values are written: ``percent`` (of fractions), ``money`` (whole), ``number``.
        stacked: one on top of the other.
        zero: the axis begins at 0; bars and stacks always do.
        log: the reader may switch to a logarithmic axis.
        growth: say by how much each series changed over the days in view.
        share: of the chart's height, relative to the other panels.
    """

    label: str
    series: Sequence[Series]
    unit: str = "number"
    stacked: bool = False
    zero: bool = False
    log: bool = False
    growth: bool = False
    share: float = 1.0


@dataclass(frozen=True)
class Lines:
    """Panels below one another that share the horizontal axis and its zoom.

    Attributes:
        x: days (a DatetimeIndex), numbers, or names.
        x_label: of the horizontal axis where it is no date.
        x_log: numbers on a logarithmic axis.
        height: pixels.
        marks: positions on the x axis where a line stands: ``[(x, words), ...]``.
    """

    kind: ClassVar[str] = "lines"
    title: str
    finding: str
    x: Sequence
    panels: Sequence[Panel]
    x_label: str = ""
    x_log: bool = False
    height: int = 320
    marks: Sequence[tuple] = ()


@dataclass(frozen=True)
class Frame:
    """What a map of points shows at one date, in the points' order.

    Attributes:
        label: the date.
        groups: group number by point, None = the point is not there.
        marked: numbers of the points that are ringed and named.
        x, y: their places, on one scale at all dates; None = the point is not there.
        facts: further values by what they are called, a list in the points' order each.
    """

    label: str
    groups: Sequence[int | None]
    marked: Sequence[int]
    x: Sequence[float | None]
    y: Sequence[float | None]
    facts: Mapping[str, Sequence] = field(default_factory=dict)


@dataclass(frozen=True)
class Points:
    """A map of named points, with a slider over its frames where there are several.

    Attributes:
        names: of the points.
        frames: in order of time; the last one is shown first.
        group: what the groups are called, in the singular; number 7 has the tone ``--k7`` of the page.
        marked_word: what a mark means.
        facts: what is known of each point at all times, by what it is called.
        note: below the horizontal axis.
    """

    kind: ClassVar[str] = "points"
    title: str
    finding: str
    names: Sequence[str]
    frames: Sequence[Frame]
    group: str
    marked_word: str
    facts: Mapping[str, Sequence] = field(default_factory=dict)
    note: str = ""
    height: int = 520


@dataclass(frozen=True)
class Place:
    """Other places of the points of a ``Frame``."""

    x: Sequence[float | None]
    y: Sequence[float | None]


@dataclass(frozen=True)
class Elsewhere:
    """The points of a map on the same page at other places; all else of them is as it is there.

    Attributes:
        like: name of the map's chart.
        frames: in the order of the map's.
        absent: what is said where a frame has no places.
    """

    kind: ClassVar[str] = "points"
    title: str
    finding: str
    like: str
    frames: Sequence[Place]
    absent: str = ""
    height: int = 520


@dataclass(frozen=True)
class Leaves:
    """A dendrogram of the points of a ``Frame``.

    Attributes:
        leaves: numbers of the points, from left to right.
        heights: at which each leaf's branch meets that of the next, one fewer: all of a tree's drawing.
    """

    leaves: Sequence[int]
    heights: Sequence[float]


@dataclass(frozen=True)
class Tree:
    """The points of a map on the same page as leaves of a dendrogram. What is one group is drawn as one wedge until the
    reader looks closer.

    Attributes:
        like: name of the map's chart.
        frames: in the order of the map's.
        label: of the vertical axis.
    """

    kind: ClassVar[str] = "tree"
    title: str
    finding: str
    like: str
    frames: Sequence[Leaves]
    label: str
    height: int = 380


@dataclass(frozen=True)
class Views:
    """Several charts of which the reader chooses one, by its key; the first is shown first."""

    kind: ClassVar[str] = "views"
    title: str
    finding: str
    views: Mapping[str, Lines]
    height: int = 320


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        unit: ``text``, or as in ``Panel``.
        wrap: long text, which may take several lines.
    """

    name: str
    unit: str = "text"
    wrap: bool = False


@dataclass(frozen=True)
class Table:
    """A table the reader sorts by any column and searches; for more rows than one reads.

    Attributes:
        title: its caption.
        rows: values in the columns' order.
        shown: so many rows are shown before the reader asks for all.
    """

    kind: ClassVar[str] = "table"
    title: str
    finding: str
    columns: Sequence[Column]
    rows: Sequence[Sequence]
    shown: int = 10
    height: int = 0


Chart = Lines | Points | Elsewhere | Tree | Views | Table


def to_json(chart: Chart) -> Markup:
    """The chart as JSON that can stand inside a ``script`` element, whatever the names in it."""
    text = json.dumps(_plain(chart), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _plain(value):
    """The value as JSON knows it: days as text, a row of days as the first and the days from each to the next, NaN as
    null, numbers in ``DIGITS`` significant digits.
    """
    if value is None or type(value) in (int, str, bool):  # most of what a page holds
        return value
    if isinstance(value, pd.DatetimeIndex) and len(value):
        numbers = value.to_numpy().astype("datetime64[D]").astype(int)
        return {"first": _plain(value[0]), "then": np.diff(numbers).tolist()}
    if is_dataclass(value):
        kind = {"kind": value.kind} if hasattr(value, "kind") else {}
        return kind | {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (pd.Series, pd.Index, np.ndarray, list, tuple)):
        return [_plain(one) for one in list(value)]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if pd.isna(value):
        return None
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
    return f"{value:%Y-%m-%d}"
