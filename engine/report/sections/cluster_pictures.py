"""Map and dendrogram of the last decision as pictures, for print and for readers without JavaScript."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.cluster.hierarchy import dendrogram, linkage

from clusterfolio.engine.report.layout import plots
from clusterfolio.engine.report.layout.tones import NONE, cluster_color


def plot_clusters(
    points: pd.DataFrame, labels: pd.Series, selected: list[str], note: str = "", ax: Axes | None = None
) -> Axes:
    """The map, coloured by cluster, the selected names written out.

    Args:
        points: ``x`` and ``y`` by symbol.
        labels: cluster by symbol.
        note: below the axes.
    """
    ax = ax or plots.new_axes(10, 7)
    plots.style(ax, f"Cluster map: {len(points)} assets in {labels.nunique()} clusters", "", grid=False)
    n_clusters = labels.max() + 1
    colors = [cluster_color(labels[name], n_clusters) for name in points.index]
    chosen = points.index.isin(selected)
    ax.scatter(*points.to_numpy().T, s=np.where(chosen, 0, 26), c=colors, alpha=0.75, lw=0)
    ringed = [color for color, one in zip(colors, chosen, strict=True) if one]
    ax.scatter(*points[chosen].to_numpy().T, s=84, c=ringed, ec=plots.INK, lw=1.3)
    _name_points(ax, points, chosen)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel(note, color=plots.MUTED, fontsize=9)
    return ax


@dataclass(frozen=True)
class WardTree:
    """Ward's tree over rows of an embedding.

    Attributes:
        linkage: as SciPy states it.
        group: cluster by node where all of its leaves share one, else None; leaves first, as SciPy counts nodes.
    """

    linkage: np.ndarray
    group: list[int | None]


def ward_tree(embeddings: pd.DataFrame, labels: pd.Series) -> WardTree:
    """The tree over ``embeddings``' rows, and whose cluster each branch is."""
    tree = linkage(embeddings.to_numpy(dtype=float), method="ward")
    group: list[int | None] = [int(labels[name]) for name in embeddings.index]
    for left, right, _, _ in tree:
        one, other = group[int(left)], group[int(right)]
        group.append(one if one == other else None)
    return WardTree(tree, group)


def plot_dendrogram(embeddings: pd.DataFrame, labels: pd.Series, selected: list[str], ax: Axes | None = None) -> Axes:
    """Ward's tree over the embedding's rows; a branch has its cluster's colour where all its leaves share one."""
    ax = ax or plots.new_axes(10, 4.4)
    plots.style(ax, "Dendrogram, the selected names marked", "Ward distance (unit sphere)")
    tree, n = ward_tree(embeddings, labels), len(embeddings)
    n_clusters = int(labels.max()) + 1

    def color(node: int) -> str:
        group = tree.group[node]
        return NONE["light"] if group is None else cluster_color(group, n_clusters)

    drawn = dendrogram(tree.linkage, ax=ax, link_color_func=color, no_labels=True)
    for lines in ax.collections:
        lines.set_linewidth(1.0)
    winners = {
        name: 10 * at + 5 for at, leaf in enumerate(drawn["leaves"]) if (name := embeddings.index[leaf]) in selected
    }
    ax.set_xticks(list(winners.values()), list(winners), rotation=90, fontsize=8)
    for tick, name in zip(ax.get_xticklabels(), winners, strict=True):
        tick.set_color(cluster_color(labels[name], n_clusters))
        tick.set_weight("bold")
    ax.set_xlim(0, 10 * n)
    return ax


def _name_points(ax: Axes, points: pd.DataFrame, chosen: np.ndarray) -> None:
    """Write the chosen points' names beside them, each where it covers the fewest other names and points."""
    ax.autoscale_view()
    at = ax.transData.transform(points.to_numpy())
    scale = ax.figure.dpi / 72
    taken: list[tuple[float, float, float, float]] = []
    for name, (x, y) in zip(points.index[chosen], at[chosen], strict=True):
        width, height = 6.4 * len(str(name)) * scale, 11 * scale
        boxes = {}
        for right, up in (
            (8, -4),
            (8, 5),
            (8, -13),
            (-8, -4),
            (-8, 5),
            (-8, -13),
            (16, 12),
            (16, -20),
            (-16, 12),
            (-16, -20),
        ):
            left, low = x + right * scale - (width if right < 0 else 0), y + up * scale
            boxes[right, up] = (left, low, left + width, low + height)
        place = min(boxes, key=lambda key, boxes=boxes: _covered(boxes[key], taken, at, width * height))
        taken.append(boxes[place])
        ax.annotate(
            name, points.loc[name], place, textcoords="offset points", ha="left" if place[0] > 0 else "right",
            fontsize=8.5, weight="bold", color=plots.INK,
            bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.6},
        )  # fmt: skip


def _covered(box, taken, points: np.ndarray, area: float) -> float:
    """How much a box hides: the share of its area over other names, and a tenth for every point in it."""
    names = sum(_overlap(box, other) for other in taken) / area
    inside = ((points >= box[:2]) & (points <= box[2:])).all(axis=1).sum()
    return names + inside / 10


def _overlap(a, b) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0)
