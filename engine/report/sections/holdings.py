"""What was held over time, and what the last decision selected."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from clusterfolio.engine.report.layout import plots
from clusterfolio.engine.report.layout.charts import Lines, Panel, Series, Views
from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.report.layout.text import percent
from clusterfolio.engine.run_dir.tables import ReportInputs

#: The palette of ``page.css``, for stacked layers; cash has a colour of its own.
LAYERS = ("#17456b", "#5f97c0", "#b8741a", "#b18f3a", "#8a4f7d", "#b581aa", "#3f7ca8", "#8c5a3c", "#6d7683", "#b5838d")
CASH_COLOR = "#8b95a2"
#: Rows of ``weights.csv`` drawn by group fall back to names where there is one group only; so many are told apart.
TOP_NAMES = 9


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    return {
        "picks": picks(inputs),
        "asof": inputs.weights.index[-1].date(),
        "until": inputs.positions.index[-1].date(),
        "clustered": not inputs.clusters.empty,
    }


def draw(inputs: ReportInputs) -> dict[str, Axes]:
    """Weights over time by group, as a picture."""
    return {"weights": plot_allocation(inputs.positions, *groups_held(inputs))}


def charts(inputs: ReportInputs) -> dict[str, Views]:
    """Weights over time: the account by group at every session, and the targets by name at every decision."""
    groups, kind = groups_held(inputs)
    held = shares(inputs.positions, groups)
    views = {f"By {kind}": _weights_chart(held, "area")}
    if (currencies := _by_currency(inputs)) is not None:
        views["By currency"] = _weights_chart(shares(inputs.positions, currencies), "area")
    targets = inputs.weights.drop(columns="CASH")
    if len(targets) > 1 and (targets > 0).any(axis=None):
        largest = targets.mean().nlargest(TOP_NAMES).index
        by_name = targets[largest].assign(**{OTHERS: targets.drop(columns=largest).sum(axis=1)})
        views["Targets by name"] = _weights_chart(by_name.assign(cash=inputs.weights["CASH"]), "bar")
    last = held.iloc[-1]
    said = ", ".join(f"{name} {percent(share)}" for name, share in last[last.abs() > 0.0005].items())
    return {"weights": Views("Weights over time", f"On {held.index[-1]:%Y-%m-%d} the account held {said}.", views)}


def _by_currency(inputs: ReportInputs) -> pd.Series | None:
    """The currency that each name held is priced in; None where all have one, or none is known."""
    held = inputs.positions.columns.drop("cash")
    stated = inputs.symbols.get("currency", pd.Series(dtype=object)).reindex(held).fillna("").astype(str)
    return stated.replace("", "not stated") if len(set(stated)) > 1 else None


#: What the names are called that no layer is their own.
OTHERS = "other names"


def _weights_chart(table: pd.DataFrame, shape: str) -> Lines:
    """A stacked chart of shares by column, cash on top of them."""
    layers = [Series(str(name), table[name], "cash" if name == "cash" else "", shape) for name in table]
    days = table.index if shape == "area" else [f"{day:%Y-%m-%d}" for day in table.index]
    title = "Share of the account" if shape == "area" else "Target weight at each decision"
    return Lines(title, "", days, (Panel(f"{title} (%)", layers, "percent", stacked=True),))


def picks(inputs: ReportInputs) -> list[dict]:
    """The names selected at the last decision, by cluster: what they are and what they weigh.

    Where no decision states clusters, the names with a weight, the heaviest first.
    """
    weights, last_values = inputs.weights.iloc[-1], inputs.positions.iloc[-1]
    now = (last_values / last_values.sum()).to_dict()
    if inputs.clusters.empty:
        held = weights.drop("CASH").loc[lambda found: found > 0].sort_values(ascending=False, kind="stable")
        return [
            _what_it_is(inputs, symbol) | {"weight": weight, "now": now.get(symbol, 0.0)}
            for symbol, weight in held.items()
        ]
    last = inputs.last_clusters()
    chosen = last[last["selected"].astype(bool)].sort_values("cluster", kind="stable")
    members = last["cluster"].value_counts()
    return [
        _what_it_is(inputs, symbol)
        | {
            "cluster": row["cluster"],
            "members": members[row["cluster"]],
            "sharpe": row["sharpe"],
            "weight": weights.get(symbol, 0.0),
            "now": now.get(symbol, 0.0),
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
    return pd.Series([name if name in largest else OTHERS for name in held], held, dtype=object), "name"


def shares(positions: pd.DataFrame, groups: pd.Series) -> pd.DataFrame:
    """Share of the account by group of assets, the largest on average first, and in ``cash``, by session.

    Args:
        positions: value by session and symbol, with a column ``cash``.
        groups: the group of each symbol that was held.
    """
    of_account = positions.div(positions.sum(axis=1), axis=0)
    by_group = of_account.drop(columns="cash").T.groupby(groups).sum().T
    by_group = by_group[by_group.mean().sort_values(ascending=False).index]
    return by_group.rename(columns=lambda name: str(name).replace("_", " ")).assign(cash=of_account["cash"])


def plot_allocation(positions: pd.DataFrame, groups: pd.Series, kind: str, ax: Axes | None = None) -> Axes:
    """``shares`` stacked; ``kind`` is what the groups are (``asset class``, ``sector``, ``name``), for the title."""
    ax = ax or plots.new_axes(10, 3.4)
    plots.style(ax, f"Weights over time by {kind}", "Share of the account (%)")
    by_group = shares(positions, groups)
    colors = [LAYERS[i % len(LAYERS)] for i in range(by_group.shape[1] - 1)] + [CASH_COLOR]
    ax.stackplot(by_group.index, by_group.to_numpy().T, colors=colors, labels=by_group.columns, lw=0, step="post")
    ax.set_ylim(min(0.0, float(by_group["cash"].min())), 1)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    plots.date_axis(ax)
    plots.legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return ax


SECTION = Section("holdings", "Holdings", Path(__file__).with_suffix(".html"), build, draw, charts)
