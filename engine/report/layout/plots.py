"""How all pictures of the report look. A section draws its own on ``ax``, or on ``new_axes``, and returns the axes.

Figures are made without pyplot, so no backend is chosen, no style is set and nothing stays open.
"""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, DateFormatter, DayLocator
from matplotlib.figure import Figure
from PIL import Image

INK, MUTED, GRID = "#1f2a37", "#5f6c7b", "#e4e8ee"
STRATEGY, GROSS, BENCHMARK, LOSS = "#17456b", "#7fa6c9", "#b8741a", "#a63d40"
DPI = 130
#: A drawing has few colours; stored as a palette of so many it is a third as large.
COLORS = 128


def to_png(ax: Axes, simulated: bool) -> bytes:
    """The figure of ``ax`` as PNG, marked where its data is made up."""
    if simulated:
        mark_simulated(ax.figure)
    ax.figure.set(dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()  # savefig would lay the figure out by drawing it, and then draw it
    return compact(Image.fromarray(np.asarray(canvas.buffer_rgba())), COLORS)


def compact(drawn: Image.Image, colors: int) -> bytes:
    """A drawing as PNG with a palette."""
    png = io.BytesIO()
    drawn.convert("RGB").quantize(colors, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(png, format="png")
    return png.getvalue()


def mark_simulated(figure: Figure) -> None:
    """Say on the figure that its data is made up: beside the first title, and in faint words across every panel."""
    figure.axes[0].set_title(
        "SIMULATED DATA", loc="right", fontsize=0.9 * figure.get_figwidth(), color=LOSS, weight="bold"
    )
    for ax in figure.axes:
        if ax.get_position().width > 0.3:
            ax.text(
                0.5, 0.5, "SIMULATED DATA", transform=ax.transAxes, ha="center", va="center", fontsize=30, color=LOSS,
                alpha=0.12, weight="bold", zorder=0.5,
            )  # fmt: skip


def new_axes(width: float, height: float) -> Axes:
    """Axes of a picture of their own, so many inches wide and high."""
    return Figure(figsize=(width, height), layout="constrained").add_subplot()


def date_axis(ax: Axes) -> None:
    """Few, whole dates below the axes, to the day where the span is short."""
    ax.margins(x=0.01)
    first, last = ax.get_xlim()
    span = last - first  # days
    short = span < 200
    few_days = DayLocator(interval=max(1, round(span / 5)))
    ax.xaxis.set_major_locator(few_days if span < 40 else AutoDateLocator(minticks=3, maxticks=6 if short else 8))
    ax.xaxis.set_major_formatter(DateFormatter("%d %b %Y" if short else "%b %Y"))


def legend(ax: Axes, **where) -> None:
    """A legend in the style of the page; ``where`` as matplotlib takes it."""
    ax.legend(frameon=False, fontsize=9, labelcolor=INK, **where)


def style(ax: Axes, title: str, ylabel: str, grid: bool = True) -> None:
    """Title, label and the quiet look that all pictures share."""
    ax.set_title(title, loc="left", fontsize=12, weight="bold", color=INK, pad=10)
    ax.set_ylabel(ylabel, fontsize=9, color=MUTED)
    ax.tick_params(colors=MUTED, labelsize=9, length=0)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(True, axis="y", color=GRID, lw=0.8)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.spines["bottom"].set_color(GRID)
