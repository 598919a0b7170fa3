"""The clusters of every decision as a map and a tree, and how clusters last over the run."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clusterfolio.engine.evidence.cluster_maps import LEAST_FOR_TSNE, OF_A_MAP, OF_THE_ENCODER, maps_of
from clusterfolio.engine.report.layout.charts import (
    Chart,
    Elsewhere,
    Frame,
    Leaves,
    Lines,
    Panel,
    Place,
    Points,
    Series,
    Tree,
)
from clusterfolio.engine.report.layout.section import Section, without_clusters
from clusterfolio.engine.report.sections.cluster_pictures import plot_clusters, plot_dendrogram
from clusterfolio.engine.run_dir.tables import ReportInputs
from clusterfolio.models.clustering import Ward
from clusterfolio.strategies.diversification import label_stability

#: Stands on the encoder's map where it is empty.
LAST_ONLY = "The encoder's map is kept for the last decision alone."


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    days, decided = maps(inputs)["date"].unique(), inputs.clusters["date"].nunique()
    return {
        "lasting": lasting(inputs),
        "encoder": beside_the_encoder(inputs),
        "mapped": len(days),
        "decided": decided,
        "kept": inputs.maps is not None,
    }


@lru_cache(maxsize=1)  # asked for by the words, the charts and the pictures of a page
def maps(inputs: ReportInputs) -> pd.DataFrame:
    """The run's maps and trees (``engine.evidence.cluster_maps``); of the last decision alone where it left none."""
    if inputs.maps is not None:
        return inputs.maps
    clustered = last_embeddings(inputs, inputs.embeddings)
    encoded = last_embeddings(inputs, inputs.encoded).reindex(clustered.index)
    if len(clustered) < 2:
        return maps_of([], [])
    seen = None if encoded.empty or encoded.isna().any(axis=None) else encoded
    return maps_of([inputs.clusters["date"].max()], [clustered], seen)


def draw(inputs: ReportInputs) -> dict[str, Axes]:
    """Map and dendrogram as pictures; each is left out where it has nothing to show."""
    last, points = inputs.last_clusters(), maps(inputs)
    points = points[points["date"] == points["date"].max()].set_index("symbol")[OF_A_MAP].astype(float)
    selected = list(last.index[last["selected"].astype(bool)])
    drawn = {}
    if len(points):
        drawn["clusters"] = plot_clusters(points, last["cluster"].reindex(points.index), selected, _axes_note(points))
    embeddings = last_embeddings(inputs, inputs.embeddings)
    if len(embeddings) > 1:
        drawn["dendrogram"] = plot_dendrogram(embeddings, last["cluster"].reindex(embeddings.index), selected)
    return drawn


def charts(inputs: ReportInputs) -> dict[str, Chart]:
    """Map and tree of every decision that has them, the encoder's own map beside, and how clusters last."""
    drawn: dict[str, Chart] = {}
    if inputs.stability is not None and len(inputs.stability) > 1:
        refits = [pd.Timestamp(fold["decides_from"]) for fold in (inputs.run.get("folds") or [])[1:]]
        drawn["stability"] = stability_chart(inputs.stability, refits)
    if maps(inputs).empty:
        return drawn
    by_day = [rows.set_index("symbol") for _, rows in maps(inputs).groupby("date")]
    names = by_day[-1].index.append(maps(inputs).set_index("symbol").index).unique()
    drawn["clusters"] = map_chart(inputs, by_day, names)
    drawn["dendrogram"] = Tree(
        "Dendrogram: what joins what, and how far apart",
        f"Ward's tree of {len(by_day[-1])} assets at the last decision, the picks named below.",
        "clusters", [_leaves(rows, names) for rows in by_day], "Ward distance (unit sphere)",
    )  # fmt: skip
    if OF_THE_ENCODER[0] in maps(inputs):
        places = [_place(rows[OF_THE_ENCODER], names) for rows in by_day]
        said = "The encoder's embedding of the same assets at the last decision."
        drawn["encoder"] = Elsewhere("What the encoder sees", said, "clusters", places, LAST_ONLY)
    return drawn


def map_chart(inputs: ReportInputs, by_day: list[pd.DataFrame], names: pd.Index) -> Points:
    """Every asset where each decision puts it, with its cluster, Sharpe ratio and whether it was picked.

    Args:
        by_day: rows of ``maps`` by symbol, a table per decision.
        names: of all points.
    """
    frames = []
    for rows in by_day:
        day = rows["date"].iloc[0]
        at = inputs.clusters[inputs.clusters["date"] == day].set_index("symbol").reindex(rows.index).reindex(names)
        groups = [None if pd.isna(label) else int(label) for label in at["cluster"]]
        place = _place(rows[OF_A_MAP], names)
        picked = np.flatnonzero(at["selected"].eq(True)).tolist()
        facts = {"Sharpe ratio": at["sharpe"].round(2).tolist()}
        frames.append(Frame(f"{day:%Y-%m-%d}", groups, picked, place.x, place.y, facts))
    last = inputs.last_clusters()
    named = ", ".join(map(str, last.index[last["selected"].eq(True)]))
    said = f"{len(last)} assets in {last['cluster'].nunique()} clusters at the last decision; picked: {named}."
    return Points("Cluster map", said, list(names), frames, "Cluster", "Picked", _known(inputs, names),
                  _axes_note(by_day[-1]))  # fmt: skip


def _place(places: pd.DataFrame, names: pd.Index) -> Place:
    x, y = ([None if pd.isna(one) else int(one) for one in places[name].reindex(names)] for name in places)
    return Place(x, y)


def _leaves(rows: pd.DataFrame, names: pd.Index) -> Leaves:
    ordered = rows.sort_values("leaf")
    return Leaves(names.get_indexer(ordered.index).tolist(), ordered["height"].iloc[1:].tolist())


def _known(inputs: ReportInputs, names: pd.Index) -> dict[str, list[str]]:
    """Name and class of each asset, as far as the run knows them."""
    columns = {"Name": "name", "Class": "asset_class", "Sector": "sector"}
    known = inputs.symbols.reindex(names)
    return {
        label: known[column].fillna("").astype(str).str.replace("_", " ").tolist()
        for label, column in columns.items() if column in known
    }  # fmt: skip


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


SECTION = Section("clusters", "Clusters", Path(__file__).with_suffix(".html"), build, draw, charts, without_clusters)
