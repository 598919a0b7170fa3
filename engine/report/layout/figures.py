"""Figures that a library draws through pyplot: built without work that nobody sees, and drawn once.

Half of what such a figure costs is dates: every line that pandas adds asks each date axis of the figure for all of its
ticks, to hide them, and they are found by counting days. Here a date axis has none while its figure is built, and those
that are shown are found once. The module is a backend of pyplot, too: ``module://`` and its name.
"""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, DateConverter, DateLocator
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator
from matplotlib.transforms import Bbox
from matplotlib.units import AxisInfo, registry
from PIL import Image

from clusterfolio.engine.report.layout.plots import date_axis

#: Whose values matplotlib, and pandas for it, put on an axis of dates.
DATES = (np.datetime64, datetime.date, datetime.datetime, pd.Timestamp)
#: White around a picture, in pixels.
BORDER = 7


class FigureCanvas(FigureCanvasAgg):
    """pyplot's canvas where this module is its backend."""

    def draw(self) -> None:
        """Put labels in their places, and paint nothing.

        seaborn draws all of a figure to see whether the labels of its heat map overlap.
        """
        for axes in self.figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                axis.get_ticklabels()
        self.figure.stale = False


class DatesLater(AutoDateLocator):
    """The locator of a date axis whose figure is not finished: limits as always, and no ticks."""

    def __call__(self) -> list:
        """No ticks."""
        return []


class _Converter(DateConverter):
    def axisinfo(self, unit, axis) -> AxisInfo:
        info = super().axisinfo(unit, axis)
        # pandas gives an axis without a minor locator one with invisible ticks; this one has none
        info.majloc, info.minloc = DatesLater(tz=unit), FixedLocator([])
        return info


@contextmanager
def dates_later() -> Iterator[None]:
    """Axes that are made in here have no dates until ``settle`` finds them.

    Titles stand right above their axes; otherwise all labels of the axes are measured to see whether one is above.
    """
    before = dict(registry)
    try:
        with (
            pd.option_context("plotting.matplotlib.register_converters", False),
            rc_context({"axes.titley": 1.0}),
        ):
            registry.update(dict.fromkeys(DATES, _Converter()))
            yield
    finally:
        registry.clear()
        registry.update(before)


def settle(figure: Figure) -> None:
    """Give the figure's date axes their ticks: few, the same as long as nothing is added to it."""
    dated = [axes for axes in figure.axes if isinstance(axes.xaxis.get_major_locator(), DateLocator)]
    for axes in dated:
        date_axis(axes)
    for axes in dated:
        axis = axes.xaxis
        if not isinstance(axis.get_major_locator(), FixedLocator):
            ticks = axis.get_majorticklocs()
            labels = axis.get_major_formatter().format_ticks(ticks)
            axis.set_major_locator(FixedLocator(ticks))
            axis.set_major_formatter(FixedFormatter(labels))


def drawn_once(figure: Figure, dpi: int, around: float = 1.0) -> Image.Image:
    """The figure on white, cut to what is drawn.

    Args:
        figure: its width and height are whole pixels at ``dpi``.
        around: inches beyond each edge of the figure that are looked at; more where what is drawn crosses their border.
    """
    width, height = figure.get_size_inches()
    shown = Bbox([[-around, -around], [width + around, height + around]])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", dpi=dpi, facecolor="white", bbox_inches=shown)
    pixels = np.frombuffer(buffer.getbuffer(), np.uint32).reshape(-1, round(shown.width * dpi))
    inked = pixels != 0xFFFFFFFF
    ends = [np.flatnonzero(inked.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    if any(first < BORDER or last + BORDER >= n for (first, last), n in zip(ends, inked.shape, strict=True)):
        return drawn_once(figure, dpi, 4 * around)
    (top, bottom), (left, right) = ends
    cut = pixels[top - BORDER : bottom + 1 + BORDER, left - BORDER : right + 1 + BORDER]
    return Image.frombytes("RGBA", cut.shape[::-1], cut.tobytes())
