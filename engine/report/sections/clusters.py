"""The clusters of the last decision, and how clusters last over the run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.cluster.hierarchy import dendrogram, linkage
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from clusterfolio.engine.report.layout import plots
from clusterfolio.engine.report.layout.charts import Chart, Frame, Lines, Panel, Points, Series, Tree
from clusterfolio.engine.report.layout.section import Section, without_clusters
from clusterfolio.engine.run_dir.tables import ReportInputs
from clusterfolio.models.clustering import Ward
from clusterfolio.strategies.diversification import label_stability

#: Fewer points than this are drawn on their principal components: t-SNE needs neighbours.
LEAST_FOR_TSNE = 10
#: About the members of a cluster; twice as many take twice the time and keep neighbours no better.
PERPLEXITY = 15.0


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    mapped = len(last_embeddings(inputs, inputs.embeddings)) > 1
    return {"lasting": lasting(inputs), "encoder": beside_the_encoder(inputs), "mapped": mapped}


def draw(inputs: ReportInputs) -> dict[str, Axes]:
    """Map and dendrogram as pictures; each is left out where it has nothing to show."""
    embeddings = last_embeddings(inputs, inputs.embeddings)
    if len(embeddings) < 2:
        return {}
    last = inputs.last_clusters()
    labels, selected = last["cluster"].reindex(embeddings.index), list(last.index[last["selected"].astype(bool)])
    return {
        "clusters": plot_clusters(embeddings, labels, selected),
        "dendrogram": plot_dendrogram(embeddings, labels, selected),
    }


def charts(inputs: ReportInputs) -> dict[str, Chart]:
    """Map with every decision's clusters, dendrogram of the last one, and how clusters last."""
    drawn: dict[str, Chart] = {}
    if inputs.stability is not None and len(inputs.stability) > 1:
        refits = [pd.Timestamp(fold["decides_from"]) for fold in (inputs.run.get("folds") or [])[1:]]
        drawn["stability"] = stability_chart(inputs.stability, refits)
    embeddings = last_embeddings(inputs, inputs.embeddings)
    if len(embeddings) > 1:
        drawn["clusters"] = map_chart(inputs, embeddings, "Cluster map")
        drawn["dendrogram"] = tree_chart(inputs, embeddings)
        encoded = last_embeddings(inputs, inputs.encoded)
        if len(encoded) > 1:
            drawn["encoder"] = map_chart(inputs, encoded, "What the encoder sees")
    return drawn


def map_chart(inputs: ReportInputs, embeddings: pd.DataFrame, title: str) -> Points:
    """Every asset where its last embedding puts it, with cluster, Sharpe ratio and pick of every decision."""
    names, points = embeddings.index, project(embeddings)
    frames = [
        Frame(
            f"{day:%Y-%m-%d}",
            [None if pd.isna(label) else int(label) for label in at["cluster"]],
            at["selected"].eq(True).tolist(),
            {"Sharpe ratio": at["sharpe"].tolist()},
        )
        for day, rows in inputs.clusters.groupby("date")
        for at in [rows.set_index("symbol").reindex(names)]
    ]
    count = inputs.last_clusters()["cluster"].nunique()
    picked = [name for name, one in zip(names, frames[-1].marked, strict=True) if one]
    said = f"{len(names)} assets in {count} clusters at the last decision; picked: {', '.join(map(str, picked))}."
    return Points(
        f"{title}: {len(names)} assets in {count} clusters", said, list(names), points["x"], points["y"], frames,
        "Cluster", _colors(inputs), "Picked", _known(inputs, names), note=_axes_note(points),
    )  # fmt: skip


def tree_chart(inputs: ReportInputs, embeddings: pd.DataFrame) -> Tree:
    """Ward's tree of the last decision."""
    last = inputs.last_clusters().reindex(embeddings.index)
    tree = ward_tree(embeddings, last["cluster"])
    drawn = dendrogram(tree.linkage, no_plot=True, link_color_func=lambda node: str(tree.group[node]))
    branches = [
        (None if group == "None" else int(group), [(at - 5) / 10 for at in xs], ys)
        for xs, ys, group in zip(drawn["icoord"], drawn["dcoord"], drawn["color_list"], strict=True)
    ]
    leaves = last.iloc[drawn["leaves"]]
    return Tree(
        "Dendrogram: what joins what, and how far apart",
        f"Ward's tree of {len(leaves)} assets, the picks named below.",
        branches, list(leaves.index), leaves["cluster"].astype(int).tolist(), leaves["selected"].eq(True).tolist(),
        "Cluster", _colors(inputs), "Picked", "Ward distance (unit sphere)",
        _known(inputs, leaves.index) | {"Sharpe ratio": leaves["sharpe"].tolist()},
    )  # fmt: skip


def _known(inputs: ReportInputs, names: pd.Index) -> dict[str, list[str]]:
    """Name and class of each asset, as far as the run knows them."""
    columns = {"Name": "name", "Class": "asset_class", "Sector": "sector"}
    known = inputs.symbols.reindex(names)
    return {
        label: known[column].fillna("").astype(str).str.replace("_", " ").tolist()
        for label, column in columns.items() if column in known
    }  # fmt: skip


def _colors(inputs: ReportInputs) -> dict[int, str]:
    labels = sorted(int(label) for label in inputs.clusters["cluster"].dropna().unique())
    return {label: plots.cluster_color(label, max(labels) + 1) for label in labels}


def _axes_note(points: pd.DataFrame) -> str:
    method = "t-SNE" if len(points) >= LEAST_FOR_TSNE else "principal components"
    return f"{method}, no units: near means alike"


def stability_chart(stability: pd.DataFrame, refits: list[pd.Timestamp]) -> Lines:
    """How far each decision's clusters are those of the one before, and where the encoder was trained anew between."""
    values = Series("Adjusted Rand index", stability["adjusted_rand"], "strategy", "points")
    days = pd.DatetimeIndex(stability["date"])
    said = f"The adjusted Rand index from decision to decision was {stability['adjusted_rand'].mean():.2f} on average."
    marks = [(f"{day:%Y-%m-%d}", "trained anew" if number == 0 else "") for number, day in enumerate(refits)]
    return Lines(
        "Clusters that last from one decision to the next", said, days,
        (Panel("Adjusted Rand index: the same = 1, by chance = 0", [values], zero=True),), height=220, marks=marks,
    )  # fmt: skip


def beside_the_encoder(inputs: ReportInputs) -> dict | None:
    """How far the encoder's own embedding draws the same clusters: adjusted Rand index; None where it drew them."""
    encoded, last = last_embeddings(inputs, inputs.encoded), inputs.last_clusters()
    if len(encoded) < 2:
        return None
    labels = last["cluster"].reindex(encoded.index)
    own = Ward(labels.nunique()).fit(encoded.to_numpy(dtype=float)).labels_
    return {"adjusted_rand": label_stability(labels, pd.Series(own, encoded.index))}


def last_embeddings(inputs: ReportInputs, table: pd.DataFrame | None) -> pd.DataFrame:
    """The rows of such a table at the last decision that has some, symbol × dimensions; only clustered assets."""
    if table is None or table.empty:
        return pd.DataFrame()
    table = table[table["date"] == table["date"].max()].set_index("symbol").drop(columns="date")
    return table[table.index.isin(inputs.last_clusters().index)]


def lasting(inputs: ReportInputs) -> dict | None:
    """How clusters last over the run: decisions compared, mean adjusted Rand index, share of members that moved."""
    table = inputs.stability
    if table is None or not table["common"].sum():
        return None
    moved = table["moved"].sum() / table["common"].sum()
    return {"compared": len(table), "adjusted_rand": table["adjusted_rand"].mean(), "moved": moved}


def plot_clusters(embeddings: pd.DataFrame, labels: pd.Series, selected: list[str], ax: Axes | None = None) -> Axes:
    """The embedding in two dimensions, coloured by cluster, the selected names written out.

    Args:
        embeddings: symbol × dimensions.
        labels: cluster by symbol.
    """
    ax = ax or plots.new_axes(10, 7)
    plots.style(ax, f"Cluster map: {len(embeddings)} assets in {labels.nunique()} clusters", "", grid=False)
    points = project(embeddings)
    n_clusters = labels.max() + 1
    colors = [plots.cluster_color(labels[name], n_clusters) for name in points.index]
    chosen = points.index.isin(selected)
    ax.scatter(*points.to_numpy().T, s=np.where(chosen, 0, 26), c=colors, alpha=0.75, lw=0)
    ringed = [color for color, one in zip(colors, chosen, strict=True) if one]
    ax.scatter(*points[chosen].to_numpy().T, s=84, c=ringed, ec=plots.INK, lw=1.3)
    _name_points(ax, points, chosen)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel(_axes_note(points), color=plots.MUTED, fontsize=9)
    return ax


def project(embeddings: pd.DataFrame) -> pd.DataFrame:
    """The rows in two dimensions, shape ``(n_assets, 2)``; the same input gives the same picture."""
    values = embeddings.to_numpy(dtype=float)
    flat = _flat(values.tobytes(), values.shape)
    return pd.DataFrame(flat, embeddings.index, ["x", "y"])


@lru_cache(maxsize=2)  # a map is drawn twice: as a chart, and as a picture
def _flat(of: bytes, shape: tuple[int, int]) -> np.ndarray:
    values = np.frombuffer(of).reshape(shape)
    if len(values) >= LEAST_FOR_TSNE:
        perplexity = min(PERPLEXITY, (len(values) - 1) / 3)
        with threadpool_limits(1):  # its threads wait for one another longer than they work
            return TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(values)
    if len(values) > 2 and values.shape[1] > 1:
        return PCA(n_components=2).fit_transform(values)
    return np.pad(values, ((0, 0), (0, 2)))[:, :2]


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
        return "#8b95a1" if group is None else plots.cluster_color(group, n_clusters)

    drawn = dendrogram(tree.linkage, ax=ax, link_color_func=color, no_labels=True)
    for lines in ax.collections:
        lines.set_linewidth(1.0)
    winners = {
        name: 10 * at + 5 for at, leaf in enumerate(drawn["leaves"]) if (name := embeddings.index[leaf]) in selected
    }
    ax.set_xticks(list(winners.values()), list(winners), rotation=90, fontsize=8)
    for tick, name in zip(ax.get_xticklabels(), winners, strict=True):
        tick.set_color(plots.cluster_color(labels[name], n_clusters))
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


SECTION = Section("clusters", "Clusters", Path(__file__).with_suffix(".html"), build, draw, charts, without_clusters)
