"""The clusters of the last decision, and how clusters last over the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.cluster.hierarchy import dendrogram, linkage
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from clusterfolio.engine.report.layout import plots
from clusterfolio.engine.report.layout.section import Section, without_clusters
from clusterfolio.engine.run_dir.tables import ReportInputs
from clusterfolio.models.clustering import Ward
from clusterfolio.strategies.diversification import label_stability

#: Fewer points than this are drawn on their principal components: t-SNE needs neighbours.
LEAST_FOR_TSNE = 10


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    return {
        "lasting": lasting(inputs),
        "encoder": beside_the_encoder(inputs),
        "promised": promised_and_kept(inputs.promises),
    }


def draw(inputs: ReportInputs) -> dict[str, Axes]:
    """The section's pictures; each is left out where it has nothing to show."""
    drawn: dict[str, Axes] = {}
    if promised_and_kept(inputs.promises) is not None:
        drawn["promises"] = plot_promises(inputs.promises)
    if inputs.stability is not None and len(inputs.stability) > 1:
        refits = [pd.Timestamp(fold["decides_from"]) for fold in (inputs.run.get("folds") or [])[1:]]
        drawn["stability"] = plot_stability(inputs.stability, refits)
    embeddings, last = last_embeddings(inputs, inputs.embeddings), inputs.last_clusters()
    if len(embeddings) > 1:
        labels, selected = last["cluster"].reindex(embeddings.index), list(last.index[last["selected"].astype(bool)])
        drawn["clusters"] = plot_clusters(embeddings, labels, selected)
        drawn["dendrogram"] = plot_dendrogram(embeddings, labels, selected)
        encoded = last_embeddings(inputs, inputs.encoded)
        if len(encoded) > 1:
            named = labels.reindex(encoded.index)
            drawn["encoder"] = plot_clusters(encoded, named, selected, of="What the encoder sees")
    return drawn


#: Rows of the table of promises: what is expected and kept, in words.
PROMISED = (
    ("Effective bets of the picks", "bets"),
    ("Correlation of the picks", "correlation"),
    ("Inside clusters less across (a)", "gap"),
    ("Between clusters (b)", "between"),
)

#: What else the year after showed of clusters and picks, in words, and how it is written.
SHOWED = (
    ("(a), every cluster counting the same", "even_gap", "number"),
    ("(b) of squared correlations", "squared", "number"),
    ("Effective bets of a random member per cluster", "member_bets", "number"),
    ("Its volatility", "member_volatility", "percent"),
    ("Its diversification ratio", "member_ratio", "number"),
    ("Volatility of the picks, equally weighted", "pick_volatility", "percent"),
    ("Their diversification ratio", "pick_ratio", "number"),
    ("(a) on the market's worst days", "worst_gap", "number"),
    ("(b) on the market's worst days", "worst_between", "number"),
    ("Largest cluster, of all assets", "largest", "percent"),
    ("Clusters of fewer than three", "small", "number"),
)


def promised_and_kept(table: pd.DataFrame | None) -> dict | None:
    """What decisions expected and what came out, means over the decisions that enough sessions followed.

    Args:
        table: as ``engine.evidence.promises.promises`` makes it, read back from the file.
    """
    later = pd.DataFrame() if table is None else table.dropna(subset="kept_bets")
    if later.empty:
        return None
    means = later.drop(columns="date").mean()
    columns = [("expected", later), ("next", later.dropna(subset="next_gap")), ("kept", later),
               ("ceiling", later.dropna(subset="ceiling_gap"))]  # fmt: skip
    return {
        "decisions": len(later),
        "left_out": len(table) - len(later),
        "names": means["n_picks"],
        "bets": {name: means[key] for name, key in (
            ("expected", "expected_bets"), ("shown", "expected_bets_shown"), ("kept", "kept_bets"))},
        "sessions": (int(later["kept_sessions"].min()), int(later["kept_sessions"].max())),
        "ceilings": int(later["ceiling_gap"].notna().sum()),
        "rows": [(label, [_mean(of, f"{whose}_{key}") for whose, of in columns]) for label, key in PROMISED],
        "showed": [(label, means[key], form) for label, key, form in SHOWED],
    }  # fmt: skip


def _mean(table: pd.DataFrame, column: str) -> float | None:
    """None where there is no such figure."""
    return table[column].mean() if column in table else None


def plot_promises(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Effective bets of each decision's picks, as expected and as the year after showed them, by date."""
    ax = ax or plots.new_axes(10, 2.8)
    plots.style(ax, "Effective bets, promised and kept", "Effective bets")
    later = table.dropna(subset="kept_bets")
    for column, label, color, line in (
        ("expected_bets", "Expected at the decision", plots.GROSS, "--"),
        ("expected_bets_shown", "What so many days would show of it", plots.GROSS, "-"),
        ("kept_bets", "Kept in the year after", plots.STRATEGY, "-"),
    ):
        ax.plot(later["date"], later[column], color=color, ls=line, marker="o", markersize=3.5, lw=1.4, label=label)
    top = later[["expected_bets", "kept_bets"]].max().max()
    ax.set_ylim(0, max(top, later["n_picks"].max()) * 1.05)
    plots.date_axis(ax)
    plots.legend(ax, loc="lower left", ncols=3)
    return ax


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


def plot_clusters(
    embeddings: pd.DataFrame, labels: pd.Series, selected: list[str], ax: Axes | None = None, of: str = "Cluster map"
) -> Axes:
    """The embedding in two dimensions, coloured by cluster, the selected names written out.

    Args:
        embeddings: symbol × dimensions.
        labels: cluster by symbol.
        of: what the title begins with.
    """
    ax = ax or plots.new_axes(10, 7)
    plots.style(ax, f"{of}: {len(embeddings)} assets in {labels.nunique()} clusters", "", grid=False)
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
    method = "t-SNE" if len(points) >= LEAST_FOR_TSNE else "principal components"
    ax.set_xlabel(f"{method}, no units: near means alike, far and size mean little", color=plots.MUTED, fontsize=9)
    return ax


def project(embeddings: pd.DataFrame) -> pd.DataFrame:
    """The rows in two dimensions, shape ``(n_assets, 2)``; the same input gives the same picture."""
    values = embeddings.to_numpy(dtype=float)
    if len(values) >= LEAST_FOR_TSNE:
        perplexity = min(30.0, (len(values) - 1) / 3)
        flat = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(values)
    elif len(values) > 2 and values.shape[1] > 1:
        flat = PCA(n_components=2).fit_transform(values)
    else:
        flat = np.pad(values, ((0, 0), (0, 2)))[:, :2]
    return pd.DataFrame(flat, embeddings.index, ["x", "y"])


def plot_dendrogram(embeddings: pd.DataFrame, labels: pd.Series, selected: list[str], ax: Axes | None = None) -> Axes:
    """Ward's tree over the embedding's rows; a branch has its cluster's colour where all its leaves share one."""
    ax = ax or plots.new_axes(10, 4.4)
    plots.style(ax, "Dendrogram, the selected names marked", "Ward distance (unit sphere)")
    tree = linkage(embeddings.to_numpy(dtype=float), method="ward")
    n = len(embeddings)
    under = [{int(labels[name])} for name in embeddings.index]
    for left, right, _, _ in tree:
        under.append(under[int(left)] | under[int(right)])
    n_clusters = int(labels.max()) + 1

    def color(node: int) -> str:
        return plots.cluster_color(next(iter(under[node])), n_clusters) if len(under[node]) == 1 else "#8b95a1"

    drawn = dendrogram(tree, ax=ax, link_color_func=color, no_labels=True)
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


def plot_stability(stability: pd.DataFrame, refits: list[pd.Timestamp], ax: Axes | None = None) -> Axes:
    """How far each decision's clusters are those of the one before, and where the encoder was trained anew between."""
    ax = ax or plots.new_axes(10, 2.6)
    plots.style(ax, "Clusters that last from one decision to the next", "Adjusted Rand index")
    for number, day in enumerate(refits):
        ax.axvline(day, color=plots.BENCHMARK, linewidth=0.8, alpha=0.6, label="Trained anew" if number == 0 else None)
    ax.plot(
        stability["date"], stability["adjusted_rand"], color=plots.STRATEGY, marker="o", markersize=3.5, linewidth=1.4,
        label="Same partition = 1, by chance = 0",
    )  # fmt: skip
    ax.set_ylim(min(0.0, stability["adjusted_rand"].min()) - 0.03, 1.05)
    plots.date_axis(ax)
    plots.legend(ax, loc="lower left")
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


SECTION = Section("clusters", "Clusters", Path(__file__).with_suffix(".html"), build, draw, absent=without_clusters)
