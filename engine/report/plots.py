"""The report's own pictures. Every function draws on ``ax``, or on a figure of its own, and returns the axes.

Figures are made without pyplot, so no backend is chosen, no style is set and nothing stays open.
"""

from __future__ import annotations

import colorsys
import io

import empyrical as ep
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter, DayLocator
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from scipy.cluster.hierarchy import dendrogram, linkage
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

INK, MUTED, GRID = "#1f2a37", "#5f6c7b", "#e4e8ee"
STRATEGY, GROSS, BENCHMARK, LOSS = "#17456b", "#7fa6c9", "#b8741a", "#a63d40"
#: One hue per layer of a stacked chart, dark to light; the last is cash.
LAYERS = ("#17456b", "#3f7ca8", "#86b0cf", "#2f6f62", "#7bb09f", "#b8741a", "#dcb26c", "#8a4f7d", "#c398b8", "#a63d40")
CASH_COLOR = "#d9dee5"
DPI = 130
#: Fewer points than this are drawn on their principal components: t-SNE needs neighbours.
LEAST_FOR_TSNE = 10


def to_png(ax: Axes, simulated: bool) -> bytes:
    """The figure of ``ax`` as PNG, marked where its data is made up."""
    if simulated:
        mark_simulated(ax.figure)
    buffer = io.BytesIO()
    ax.figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    return buffer.getvalue()


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


def cluster_color(label: int, n_clusters: int) -> str:
    """A colour for a cluster: hues around the circle, neighbours told apart by lightness; grey for noise (-1)."""
    if label < 0:
        return "#b3bac3"
    lightness = (0.36, 0.52, 0.66)[label % 3]
    red, green, blue = colorsys.hls_to_rgb(label / max(n_clusters, 1), lightness, 0.52)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def plot_equity(
    returns: pd.DataFrame,
    gross: pd.Series,
    capital: float,
    start: pd.Timestamp,
    currency: str,
    benchmark: str,
    ax: Axes | None = None,
) -> Axes:
    """Account value by session, net and gross of costs, and the same capital in the benchmark."""
    ax = ax or _new_axes(10, 4.2)
    _style(ax, "Account value", f"Account value ({currency})")
    lines = (
        ("Strategy, before costs", gross, GROSS, 1.2, "--"),
        (benchmark, returns["benchmark"], BENCHMARK, 1.5, "-"),
        ("Strategy, net of costs", returns["strategy"], STRATEGY, 2.1, "-"),
    )
    for name, series, color, width, style in lines:
        value = pd.concat([pd.Series({start: capital}), ep.cum_returns(series, starting_value=capital)])
        label = f"{name} ({value.iloc[-1] / capital - 1:+.1%})"
        ax.plot(value.index, value.to_numpy(), color=color, lw=width, ls=style, label=label)
    ax.axhline(capital, color=MUTED, lw=0.8, zorder=0)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    date_axis(ax)
    _legend(ax, loc="upper left")
    return ax


def plot_drawdowns(returns: pd.DataFrame, benchmark: str, ax: Axes | None = None) -> Axes:
    """How far below its last peak each of the two stood, by session."""
    ax = ax or _new_axes(10, 2.8)
    _style(ax, "Drawdown", "Below the last peak (%)")
    depth = {name: _drawdown(returns[name]) for name in ("strategy", "benchmark")}
    ax.fill_between(depth["strategy"].index, depth["strategy"].to_numpy(), 0, color=STRATEGY, alpha=0.25, lw=0)
    ax.plot(depth["strategy"].index, depth["strategy"].to_numpy(), color=STRATEGY, lw=1.4, label="Strategy")
    ax.plot(depth["benchmark"].index, depth["benchmark"].to_numpy(), color=BENCHMARK, lw=1.2, label=benchmark)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if min(map(min, depth.values())) < -0.04 else 1))
    date_axis(ax)
    _legend(ax, loc="lower left")
    return ax


def plot_allocation(positions: pd.DataFrame, groups: pd.Series, kind: str, ax: Axes | None = None) -> Axes:
    """Share of the account by group of assets and in cash, by session, stacked.

    Args:
        positions: value by session and symbol, with a column ``cash``.
        groups: the group of each symbol.
        kind: what the groups are (``asset class``, ``sector``, ``name``); used in the title.
    """
    ax = ax or _new_axes(10, 3.4)
    _style(ax, f"Weights over time by {kind}", "Share of the account (%)")
    shares = positions.div(positions.sum(axis=1), axis=0)
    by_group = shares.drop(columns="cash").T.groupby(groups).sum().T
    by_group = by_group[by_group.mean().sort_values(ascending=False).index]
    colors = [LAYERS[i % len(LAYERS)] for i in range(by_group.shape[1])] + [CASH_COLOR]
    layers = [*by_group.to_numpy().T, shares["cash"].to_numpy()]
    ax.stackplot(shares.index, layers, colors=colors, labels=[*by_group.columns, "cash"], lw=0, step="post")
    ax.set_ylim(min(0.0, float(shares["cash"].min())), 1)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    date_axis(ax)
    _legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return ax


def plot_target_weights(weights: pd.DataFrame, top: int = 30, ax: Axes | None = None) -> Axes:
    """Target weight by name (rows, the largest mean first) and decision (columns), as shades."""
    names = weights.drop(columns="CASH").mean().sort_values(ascending=False, kind="stable")
    names = names[names > 0].index[:top]
    ax = ax or _new_axes(10, 1.2 + 0.2 * len(names))
    _style(ax, f"Target weights at each decision, the {len(names)} largest on average", "", grid=False)
    table = weights[names].T
    largest = float(table.max(axis=None))
    image = ax.pcolormesh(
        table.where(table > 0), cmap="Blues", vmin=0, vmax=1.6 * largest, edgecolors="white", linewidth=1.5
    )
    ax.invert_yaxis()
    ax.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=8)
    shown = np.arange(0, len(weights), -(-len(weights) // 10))
    ax.set_xticks(shown + 0.5, [f"{day:%Y-%m-%d}" for day in weights.index[shown]], fontsize=8)
    bar = ax.figure.colorbar(image, ax=ax, pad=0.015, fraction=0.03)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    bar.ax.tick_params(labelsize=8, colors=MUTED)
    bar.outline.set_visible(False)
    return ax


def plot_clusters(embeddings: pd.DataFrame, labels: pd.Series, selected: list[str], ax: Axes | None = None) -> Axes:
    """The embedding in two dimensions, coloured by cluster, the selected names written out.

    Args:
        embeddings: symbol × dimensions.
        labels: cluster by symbol.
    """
    ax = ax or _new_axes(10, 7)
    _style(ax, f"Cluster map: {len(embeddings)} assets in {labels.nunique()} clusters", "", grid=False)
    points = project(embeddings)
    n_clusters = labels.max() + 1
    colors = [cluster_color(labels[name], n_clusters) for name in points.index]
    chosen = points.index.isin(selected)
    ax.scatter(*points.to_numpy().T, s=np.where(chosen, 0, 26), c=colors, alpha=0.75, lw=0)
    ax.scatter(
        *points[chosen].to_numpy().T, s=84, c=[c for c, w in zip(colors, chosen, strict=True) if w], ec=INK, lw=1.3
    )
    _name_points(ax, points, chosen)
    ax.set_xticks([])
    ax.set_yticks([])
    method = "t-SNE" if len(points) >= LEAST_FOR_TSNE else "principal components"
    ax.set_xlabel(f"{method}, no units: near means alike, far and size mean little", color=MUTED, fontsize=9)
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
    ax = ax or _new_axes(10, 4.4)
    _style(ax, "Dendrogram, the selected names marked", "Ward distance (unit sphere)")
    tree = linkage(embeddings.to_numpy(dtype=float), method="ward")
    n = len(embeddings)
    under = [{int(labels[name])} for name in embeddings.index]
    for left, right, _, _ in tree:
        under.append(under[int(left)] | under[int(right)])
    n_clusters = int(labels.max()) + 1

    def color(node: int) -> str:
        return cluster_color(next(iter(under[node])), n_clusters) if len(under[node]) == 1 else "#8b95a1"

    drawn = dendrogram(tree, ax=ax, link_color_func=color, no_labels=True)
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


def plot_stability(stability: pd.DataFrame, refits: list[pd.Timestamp], ax: Axes | None = None) -> Axes:
    """How far each decision's clusters are those of the one before, and where the encoder was trained anew between."""
    ax = ax or _new_axes(10, 2.6)
    _style(ax, "Clusters that last from one decision to the next", "Adjusted Rand index")
    for number, day in enumerate(refits):
        ax.axvline(day, color=BENCHMARK, linewidth=0.8, alpha=0.6, label="Trained anew" if number == 0 else None)
    ax.plot(stability["date"], stability["adjusted_rand"], color=STRATEGY, marker="o", markersize=3.5, linewidth=1.4,
            label="Same partition = 1, by chance = 0")  # fmt: skip
    ax.set_ylim(min(0.0, stability["adjusted_rand"].min()) - 0.03, 1.05)
    date_axis(ax)
    _legend(ax, loc="lower left")
    return ax


def _drawdown(returns: pd.Series) -> pd.Series:
    wealth = ep.cum_returns(returns, starting_value=1.0)
    return wealth / wealth.cummax().clip(lower=1.0) - 1


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
            fontsize=8.5, weight="bold", color=INK,
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


#: What the random portfolios of ``plot_luck`` are, by kind.
LUCK_TITLES = {
    "picks": "A random member of each cluster",
    "partitions": "Its picks from random clusters",
    "names": "As many random names, on its own days",
}


def plot_luck(luck: pd.DataFrame, places: dict, axes: list[Axes] | None = None) -> Axes:
    """Where the strategy's total return lies among those of random portfolios, a panel per kind.

    Args:
        luck: columns ``kind`` and ``total_return``.
        places: by kind, the strategy's own ``total_return`` and its percentile (``engine.evidence.assessment.places``).

    Returns:
        The first panel.
    """
    kinds = [kind for kind in LUCK_TITLES if kind in places]
    if axes is None:
        figure = Figure(figsize=(10, 3.3), layout="constrained")
        axes = list(figure.subplots(1, len(kinds), sharex=True, squeeze=False)[0])
    for ax, kind in zip(axes, kinds, strict=True):
        drawn = luck.loc[luck["kind"] == kind, "total_return"].to_numpy(dtype=float)
        own = places[kind]["total_return"]
        beaten = own["percentile"]
        _style(ax, LUCK_TITLES[kind], f"Portfolios (of {len(drawn):,})")
        ax.hist(drawn, bins=40, color=GROSS, edgecolor="white", lw=0.3)
        ax.axvline(own["own"], color=LOSS, lw=2)
        left = own["own"] > np.mean(ax.get_xlim())
        ax.annotate(
            f"strategy {own['own']:+.1%}\nbetter than {beaten:.0%}", (own["own"], 0.97), xytext=(-6 if left else 6, 0),
            xycoords=("data", "axes fraction"), textcoords="offset points", ha="right" if left else "left", va="top",
            fontsize=9.5, color=LOSS, weight="bold", bbox={"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1},
        )  # fmt: skip
        ax.set_xlabel("Total return over the run, before costs (%)", fontsize=9, color=MUTED)
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return axes[0]


def _new_axes(width: float, height: float) -> Axes:
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


def _legend(ax: Axes, **where) -> None:
    ax.legend(frameon=False, fontsize=9, labelcolor=INK, **where)


def _style(ax: Axes, title: str, ylabel: str, grid: bool = True) -> None:
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
