"""What the page says of what the embedding looks at: shares by channel, and a heat map of days back and channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from clusterfolio.engine.report.layout import plots
from clusterfolio.engine.report.layout.section import Section, without_clusters
from clusterfolio.engine.run_dir.tables import ReportInputs
from clusterfolio.strategies.passports.importance import WHOLE_BAR

TITLES = {"selection": "the encoder's own weights", "gradients": "integrated gradients"}


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    return {"importance": importance_page(inputs.importance)}


def draw(inputs: ReportInputs) -> dict[str, Axes]:
    """The section's picture."""
    return {"importance": plot_importance(inputs.importance)}


def absent(inputs: ReportInputs) -> str:
    """Why there is no such section."""
    recorded = inputs.importance is not None and len(inputs.importance)
    return without_clusters(inputs) or ("" if recorded else "the run recorded none")


def importance_page(table: pd.DataFrame) -> dict:
    """What the section says.

    Args:
        table: as ``strategies.passports.importance.importance_table`` makes it, read back from the file.
    """
    methods = [method for method in TITLES if (table["method"] == method).any()]
    grids = {method: grid(table, method) for method in methods}
    by_channel = pd.DataFrame({method: found.sum() for method, found in grids.items()})
    by_channel = by_channel.sort_values(methods[0], ascending=False, kind="stable")
    recent = grids["gradients"].loc[lambda found: found.index < 5].to_numpy().sum()
    return {
        "methods": [TITLES[method] for method in methods],
        "rows": [(label(channel), list(row)) for channel, row in by_channel.iterrows()],
        "lookback": len(grids["gradients"]),
        "recent": recent,
        "attends": bool((table["method"] == "attention").any()),
    }


def grid(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """A method's shares: a row per bar, the oldest first, a column per channel in the file's order."""
    rows = table[table["method"] == method]
    wide = rows.pivot_table(index="bars_back", columns="channel", values="share", sort=False)
    return wide.sort_index(ascending=False)


def label(channel: str) -> str:
    """A channel's name as words; the name of a series stays.

    >>> label("log_volume_change"), label("rsi"), label("VIXCLS")
    ('log volume change', 'RSI', 'VIXCLS')
    """
    return {"rsi": "RSI", "macd_diff": "MACD difference", WHOLE_BAR: "attention"}.get(
        channel, channel.replace("_", " ") if channel.islower() else channel
    )


def plot_importance(table: pd.DataFrame, axes: list[Axes] | None = None) -> Axes:
    """A heat map per method, and attention by bar below them where the encoder attends; returns the first axes."""
    methods = [method for method in TITLES if (table["method"] == method).any()]
    attention = table[table["method"] == "attention"].set_index("bars_back")["share"].sort_index(ascending=False)
    grids = [grid(table, method) for method in methods]
    if axes is None:
        heights = [max(0.28 * found.shape[1], 1.6) for found in grids] + [1.3] * bool(len(attention))
        figure = Figure(figsize=(10, sum(heights) + 0.9 * len(heights)), layout="constrained")
        axes = list(np.atleast_1d(figure.subplots(len(heights), 1, height_ratios=heights)))
    for ax, method, found in zip(axes, methods, grids, strict=False):
        _heat_map(ax, found, f"Share of the embedding, by {TITLES[method]}")
    if len(attention):
        _bars(axes[len(grids)], attention)
    axes[-1].set_xlabel("Bars back (0 = the last one before the decision)", fontsize=9, color=plots.MUTED)
    return axes[0]


def _heat_map(ax: Axes, found: pd.DataFrame, title: str) -> None:
    newest, oldest = found.index.min() - 0.5, found.index.max() + 0.5
    drawn = ax.imshow(
        found.T.to_numpy(),
        aspect="auto",
        cmap="Blues",
        vmin=0,
        interpolation="nearest",
        extent=(oldest, newest, found.shape[1] - 0.5, -0.5),
    )
    ax.set_yticks(range(found.shape[1]), [label(channel) for channel in found.columns], fontsize=9)
    ax.set_title(title, loc="left", fontsize=10.5, color=plots.INK)
    ax.tick_params(colors=plots.MUTED, labelsize=9)
    bar = ax.figure.colorbar(drawn, ax=ax, pad=0.01, format=PercentFormatter(1, decimals=1))
    bar.ax.tick_params(colors=plots.MUTED, labelsize=8)
    bar.outline.set_visible(False)


def _bars(ax: Axes, attention: pd.Series) -> None:
    ax.bar(attention.index, attention.to_numpy(), width=0.9, color=plots.STRATEGY)
    ax.set_xlim(attention.index.max() + 0.5, attention.index.min() - 0.5)
    ax.set_title("Attention on each bar, mean of the heads", loc="left", fontsize=10.5, color=plots.INK)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.tick_params(colors=plots.MUTED, labelsize=9)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


SECTION = Section(
    "importance", "What the embedding looks at", Path(__file__).with_suffix(".html"), build, draw, absent=absent
)
