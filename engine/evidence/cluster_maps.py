"""Where a map puts the assets at each decision, and the tree that joins them: what the page draws of clusters.

A map is t-SNE of the rows that a decision clustered. Each begins where the one before it ended and is turned onto it,
so that what moves between two decisions are assets and not the map. A tree is Ward's over the same rows, and is kept as
its leaves from left to right, with the height at which each joins the one to its left: that is all of its drawing.

Nothing of this reaches a decision.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.linalg import orthogonal_procrustes
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from clusterfolio.strategies.policy import Decision

#: Rows of all decisions together from which on only every second one is mapped, or every third, and always the last.
MOST_ROWS = 20_000

#: Fewer points than this are placed by their principal components: t-SNE needs neighbours.
LEAST_FOR_TSNE = 10
#: About the members of a cluster; twice as many take twice the time and keep neighbours no better.
PERPLEXITY = 15.0
#: Steps of a map that begins with nothing, of which twice as many keep neighbours no better; of one that begins where
#: another ended.
STEPS, FURTHER = 500, 250
#: The gradient's norm at which such a map has settled. It moves by as many times the gradient as there are points, four
#: times scikit-learn's usual pace, which is still under way after all of those steps and keeps neighbours no better.
SETTLED = 3e-3
#: How wide a group of far points may look that counts as one in those steps: a fifth less time, as good a map.
COARSE = 0.8

#: A map's side, in whole steps: three digits.
SIDE = 999

OF_A_MAP, OF_THE_ENCODER, OF_A_TREE = ["x", "y"], ["encoder_x", "encoder_y"], ["leaf", "height"]


def cluster_maps(
    decisions: Sequence[Decision], encoded: pd.DataFrame | None = None, most: int = MOST_ROWS
) -> pd.DataFrame:
    """Maps and trees of a run: columns ``date, symbol, x, y, leaf, height``, a row per decision and clustered asset.

    ``x`` and ``y`` are whole numbers from 0 to ``SIDE``, on one scale at all dates. ``leaf`` counts the tree's leaves
    from the left; ``height`` is where a leaf's branch meets that of its left neighbour (Ward's distance, three digits;
    NaN for the first). With ``encoded``, ``encoder_x`` and ``encoder_y`` of the last decision follow, NaN before it.

    Args:
        encoded: the encoder's own embeddings of the symbols of the last map; left out where they are not those.
        most: rows; where there would be more, decisions are left out evenly, counted back from the last.
    """
    mapped = [one for one in decisions if len(one.labels) > 1 and len(one.embeddings) == len(one.labels)]
    step = max(1, -(-sum(len(one.labels) for one in mapped) // most))
    mapped = mapped[::-1][::step][::-1]
    if encoded is not None and not (mapped and encoded.index.equals(mapped[-1].embeddings.index)):
        encoded = None
    return maps_of([one.asof for one in mapped], [one.embeddings for one in mapped], encoded)


def maps_of(
    dates: Sequence[pd.Timestamp], clustered: Sequence[pd.DataFrame], encoded: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The same of tables symbol x dimensions, one per date; ``encoded`` has the symbols of the last."""
    if not len(dates):
        return pd.DataFrame(columns=["date", "symbol", *OF_A_MAP, *OF_A_TREE])
    tables = [places(clustered).set_axis(OF_A_MAP, axis=1)]
    if encoded is not None:
        of_encoder = places([encoded]).set_axis(OF_THE_ENCODER, axis=1)
        of_encoder.index += len(tables[0]) - len(of_encoder)
        tables.append(of_encoder.reindex(tables[0].index))
    tables.append(pd.concat([tree_of(rows) for rows in clustered], ignore_index=True))
    symbols = [(day, str(name)) for day, rows in zip(dates, clustered, strict=True) for name in rows.index]
    return pd.concat([pd.DataFrame(symbols, columns=["date", "symbol"]), *tables], axis=1)


def places(through_time: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """``x`` and ``y`` of every row of these tables, in their order: whole numbers, on one scale."""
    found: list[pd.DataFrame] = []
    for rows in through_time:
        before = found[-1] if found else None
        found.append(_onto(_spread(project(rows, before)), before))
    flat = np.concatenate([table.to_numpy(dtype=float) for table in found])
    low, high = flat.min(axis=0), flat.max(axis=0)
    return pd.DataFrame(np.rint(SIDE * (flat - low) / np.where(high > low, high - low, 1.0)).astype(np.float32))


def project(rows: pd.DataFrame, before: pd.DataFrame | None = None) -> pd.DataFrame:
    """The rows in two dimensions, shape ``(n_assets, 2)``; the same input gives the same map.

    Args:
        before: another map, by symbol, at which this one begins; its names are known, a new one begins beside the known
            one it is most like.
    """
    values = rows.to_numpy(dtype=float)
    if len(values) >= LEAST_FOR_TSNE:
        start = None if before is None else _begin(rows, before)
        further = {
            "init": start, "early_exaggeration": 1.0, "max_iter": FURTHER, "angle": COARSE,
            "learning_rate": float(len(values)), "min_grad_norm": SETTLED,
        }  # fmt: skip
        method = TSNE(
            perplexity=min(PERPLEXITY, (len(values) - 1) / 3),
            random_state=0,
            **({"init": "pca", "max_iter": STEPS} if start is None else further),
        )
        with threadpool_limits(1):  # its threads wait for one another longer than they work
            flat = method.fit_transform(values)
    elif len(values) > 2 and values.shape[1] > 1:
        flat = PCA(n_components=2).fit_transform(values)
    else:
        flat = np.pad(values, ((0, 0), (0, 2)))[:, :2]
    return pd.DataFrame(flat, rows.index, OF_A_MAP)


#: Mean distance from its middle at which a map begins that another one gives: about where t-SNE of some hundreds ends.
BEGIN = 15.0


def _begin(rows: pd.DataFrame, before: pd.DataFrame) -> np.ndarray | None:
    """Where each row begins, shape ``(n_assets, 2)``; None where none of them is on the map before."""
    known = rows.index.intersection(before.index)
    if known.empty:
        return None
    like = rows.to_numpy(dtype=float) @ rows.loc[known].to_numpy(dtype=float).T
    nearest = known[like.argmax(axis=1)]
    at = before.loc[[name if name in known else near for name, near in zip(rows.index, nearest, strict=True)]]
    apart = np.random.default_rng(0).normal(scale=0.01, size=at.shape)  # none may lie on another
    return (BEGIN * at.to_numpy() + apart).astype(np.float32)


def _spread(places: pd.DataFrame) -> pd.DataFrame:
    """Centred, and as wide as any: the mean square of the distances from the middle is 1."""
    centred = places - places.mean()
    size = float(np.sqrt((centred**2).sum(axis=1).mean()))
    return centred / size if size else centred


def _onto(places: pd.DataFrame, before: pd.DataFrame | None) -> pd.DataFrame:
    """Turned, mirrored and moved so that the names of both lie as near as they can to where they lay (Procrustes)."""
    common = places.index if before is None else places.index.intersection(before.index)
    if before is None or len(common) < 3:
        return places
    here, there = places.loc[common], before.loc[common]
    turn, _ = orthogonal_procrustes(here - here.mean(), there - there.mean())
    moved = (places - here.mean()).to_numpy() @ turn + there.mean().to_numpy()
    return pd.DataFrame(moved, places.index, OF_A_MAP)


def tree_of(rows: pd.DataFrame) -> pd.DataFrame:
    """``leaf`` and ``height`` of every row in Ward's tree over them, see ``cluster_maps``."""
    tree, n = linkage(rows.to_numpy(dtype=float), method="ward"), len(rows)
    leaf = np.empty(n, dtype=int)
    leaf[leaves_list(tree)] = np.arange(n)
    height = np.full(n, np.nan)
    first = [*leaf, *[0] * (n - 1)]  # each node's leaf that lies furthest to the left
    for node, (left, right, distance, _) in enumerate(tree, start=n):
        meets = sorted((first[int(left)], first[int(right)]))
        first[node], height[meets[1]] = meets[0], float(f"{distance:.3g}")
    return pd.DataFrame({"leaf": leaf.astype(np.float32), "height": height[leaf].astype(np.float32)})
