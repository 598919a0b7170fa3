"""What was held over time, and what the last decision selected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from clusterfolio.engine.report.layout import plots
from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.run_dir.tables import ReportInputs

#: One hue per layer of a stacked chart, dark to light; cash has a colour of its own.
LAYERS = ("#17456b", "#3f7ca8", "#86b0cf", "#2f6f62", "#7bb09f", "#b8741a", "#dcb26c", "#8a4f7d", "#c398b8", "#a63d40")
CASH_COLOR = "#d9dee5"
#: Rows of ``weights.csv`` drawn by group fall back to names where there is one group only; so many are told apart.
TOP_NAMES = 9


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    return {"picks": picks(inputs), "asof": inputs.weights.index[-1].date(), "clustered": not inputs.clusters.empty}


def draw(inputs: ReportInputs) -> dict[str, Axes]:
    """The section's pictures; without target weights where nothing was ever to be held or one decision was made."""
    drawn = {"allocation": plot_allocation(inputs.positions, *groups_held(inputs))}
    if len(inputs.weights) > 1 and (inputs.weights.drop(columns="CASH") > 0).any(axis=None):
        drawn["target_weights"] = plot_target_weights(inputs.weights)
    return drawn


def picks(inputs: ReportInputs) -> list[dict]:
    """The names selected at the last decision, by cluster: what they are and what they weigh.

    Where no decision states clusters, the names with a weight, the heaviest first.
    """
    weights = inputs.weights.iloc[-1]
    if inputs.clusters.empty:
        held = weights.drop("CASH").loc[lambda found: found > 0].sort_values(ascending=False, kind="stable")
        return [_what_it_is(inputs, symbol) | {"weight": weight} for symbol, weight in held.items()]
    last = inputs.last_clusters()
    chosen = last[last["selected"].astype(bool)].sort_values("cluster", kind="stable")
    n_clusters, members = last["cluster"].max() + 1, last["cluster"].value_counts()
    return [
        _what_it_is(inputs, symbol)
        | {
            "cluster": row["cluster"],
            "members": members[row["cluster"]],
            "color": plots.cluster_color(row["cluster"], n_clusters),
            "sharpe": row["sharpe"],
            "weight": weights.get(symbol, 0.0),
        }
        for symbol, row in chosen.iterrows()
    ]


def _what_it_is(inputs: ReportInputs, symbol: str) -> dict[str, str]:
    known = {name: _known(inputs, symbol, name) for name in ("name", "asset_class", "sector")}
    return {"symbol": symbol} | known


def _known(inputs: ReportInputs, symbol: str, column: str) -> str:
    known = inputs.symbols.get(column, pd.Series(dtype=object)).get(symbol, "")
    return "" if pd.isna(known) else str(known)


def groups_held(inputs: ReportInputs) -> tuple[pd.Series, str]:
    """The group of every held symbol and what the groups are: the first of class and sector that tells them apart."""
    held = inputs.positions.columns.drop("cash")
    held = held[(inputs.positions[held] != 0).any()]
    for column, kind in (("asset_class", "asset class"), ("sector", "sector")):
        if column in inputs.symbols:
            groups = inputs.symbols[column].reindex(held).replace("", "other").fillna("other")
            if len(groups.unique()) > 1:
                return groups, kind
    largest = inputs.positions[held].mean().nlargest(TOP_NAMES).index
    return pd.Series([name if name in largest else "other names" for name in held], held, dtype=object), "name"


def plot_allocation(positions: pd.DataFrame, groups: pd.Series, kind: str, ax: Axes | None = None) -> Axes:
    """Share of the account by group of assets and in cash, by session, stacked.

    Args:
        positions: value by session and symbol, with a column ``cash``.
        groups: the group of each symbol.
        kind: what the groups are (``asset class``, ``sector``, ``name``); used in the title.
    """
    ax = ax or plots.new_axes(10, 3.4)
    plots.style(ax, f"Weights over time by {kind}", "Share of the account (%)")
    shares = positions.div(positions.sum(axis=1), axis=0)
    by_group = shares.drop(columns="cash").T.groupby(groups).sum().T
    by_group = by_group[by_group.mean().sort_values(ascending=False).index]
    colors = [LAYERS[i % len(LAYERS)] for i in range(by_group.shape[1])] + [CASH_COLOR]
    layers = [*by_group.to_numpy().T, shares["cash"].to_numpy()]
    ax.stackplot(shares.index, layers, colors=colors, labels=[*by_group.columns, "cash"], lw=0, step="post")
    ax.set_ylim(min(0.0, float(shares["cash"].min())), 1)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    plots.date_axis(ax)
    plots.legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return ax


def plot_target_weights(weights: pd.DataFrame, top: int = 30, ax: Axes | None = None) -> Axes:
    """Target weight by name (rows, the largest mean first) and decision (columns), as shades."""
    names = weights.drop(columns="CASH").mean().sort_values(ascending=False, kind="stable")
    names = names[names > 0].index[:top]
    ax = ax or plots.new_axes(10, 1.2 + 0.2 * len(names))
    plots.style(ax, f"Target weights at each decision, the {len(names)} largest on average", "", grid=False)
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
    bar.ax.tick_params(labelsize=8, colors=plots.MUTED)
    bar.outline.set_visible(False)
    return ax


SECTION = Section("holdings", "Holdings", Path(__file__).with_suffix(".html"), build, draw)
