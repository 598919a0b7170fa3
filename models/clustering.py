"""Embeddings to cluster labels and the tree they were cut from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.linalg import eigh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.extmath import randomized_range_finder


@dataclass(frozen=True)
class ClusteringConfig:
    """How assets are grouped.

    Attributes:
        n_clusters: groups to form; fewer assets than that form one group each.
    """

    n_clusters: int = 20

    def __post_init__(self):
        if self.n_clusters < 1:
            raise ValueError(f"n_clusters must be at least 1, got {self.n_clusters}")


def unit_sphere(embeddings: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, ``(n_assets, embed_dim)``; a row of zeros has no direction and stays zero.

    >>> unit_sphere(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(length > 0, length, 1)


class Ward(ClusterMixin, BaseEstimator):
    """Ward's agglomerative clustering, with the tree kept for the dendrogram.

    The partition is scikit-learn's ``AgglomerativeClustering(n_clusters, linkage="ward")``; clusters are numbered by
    first appearance, so equal partitions have equal labels.

    Attributes:
        labels_: int64 ``(n_assets,)``, 0 to ``n_clusters_ - 1``.
        linkage_: float64 ``(n_assets - 1, 4)``, as SciPy writes it.
        n_clusters_: clusters formed: ``n_clusters``, or the number of assets where there are fewer.
    """

    def __init__(self, n_clusters: int = 20):
        self.n_clusters = n_clusters

    def fit(self, embeddings: np.ndarray, y: None = None) -> Ward:
        """Clusters the rows of ``embeddings (n_assets, embed_dim)``."""
        rows = np.asarray(embeddings, dtype=np.float64)
        if rows.ndim != 2 or not len(rows):
            raise ValueError(
                f"embeddings must have shape (n_assets, embed_dim) with an asset or more, got {rows.shape}"
            )
        if not np.isfinite(rows).all():
            raise ValueError(f"embeddings: {int((~np.isfinite(rows).all(axis=1)).sum())} rows are not finite")
        self.n_clusters_ = min(self.n_clusters, len(rows))
        self.linkage_ = linkage(rows, method="ward") if len(rows) > 1 else np.empty((0, 4))
        self.labels_ = first_appearance(cut(self.linkage_, self.n_clusters_))
        return self


def cut(tree: np.ndarray, n_clusters: int) -> np.ndarray:
    """Labels of the leaves of a linkage matrix when all but its last ``n_clusters - 1`` merges are made.

    The partition of SciPy's ``cut_tree``, without its walk over the whole tree for every merge.

    >>> cut(linkage(np.array([[0.0], [9.0], [0.1], [9.2]]), method="ward"), 2)
    array([0, 1, 0, 1], dtype=int32)
    """
    n_leaves = len(tree) + 1
    merged = tree[: n_leaves - n_clusters, :2].astype(np.int32)  # SciPy 1.11 walks no graph with longer indices
    into = np.repeat(n_leaves + np.arange(len(merged), dtype=np.int32), 2)
    edges = coo_array((np.ones(len(into)), (merged.ravel(), into)), shape=(2 * n_leaves, 2 * n_leaves))
    return connected_components(edges, directed=False)[1][:n_leaves]


def first_appearance(labels: np.ndarray) -> np.ndarray:
    """The same partition numbered in the order in which its groups first appear.

    >>> first_appearance(np.array([7, 7, 2, 7, 0]))
    array([0, 0, 1, 0, 2])
    """
    _, first, group = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first)).astype(np.int64)[group]


def trajectory(embeddings: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Each asset's embeddings at common dates, joined into one row: their distance sees what moved together when.

    Every asset's own mean over its steps is taken off first. What stays the same from window to window (how volatile
    an asset is, how its indicators sit) would otherwise outweigh what moves, and assets would be grouped by how they
    look and not by what they move with. Means over the assets of a date are left in: they carry the market's direction,
    and how much of it an asset takes part in is worth knowing. A missing step is 0, the asset's own mean, so it says
    nothing either way. An asset with one step or none has said nothing: its row is zero.

    Args:
        embeddings: ``(n_assets, n_steps, embed_dim)``; what stands where ``present`` is False does not matter.
        present: bool ``(n_assets, n_steps)``: the asset had a window at that step.

    Returns:
        float64 ``(n_assets, n_steps * embed_dim)``, lengths as they come: see ``unit_sphere``.

    >>> level = np.array([[[10.0], [12.0], [14.0]], [[1.0], [5.0], [0.0]]])
    >>> trajectory(level, np.array([[True, True, True], [True, True, False]]))
    array([[-2.,  0.,  2.],
           [-2.,  2.,  0.]])
    """
    if embeddings.ndim != 3 or present.shape != embeddings.shape[:2]:
        raise ValueError(
            "embeddings must have shape (n_assets, n_steps, embed_dim) and present the first two of it, "
            f"got {embeddings.shape} and {present.shape}"
        )
    there = present[:, :, None]
    steps = np.where(there, embeddings, 0).astype(np.float64)
    mean = steps.sum(axis=1, keepdims=True) / np.maximum(there.sum(axis=1, keepdims=True), 1)
    return np.where(there, steps - mean, 0).reshape(len(steps), -1)


def leading_components(rows: np.ndarray, n_components: int) -> np.ndarray:
    """The rows in the coordinates of their strongest common directions, ``(n_assets, at most n_components)``.

    A singular value decomposition without centring, so that the part all rows share (the market) stays. What only one
    asset shows falls away, and clusters drawn from a ``trajectory`` hold better afterwards. Apply it to ``unit_sphere``
    rows, so that no asset counts for more than another. Each direction's sign makes its largest coordinate positive.
    """
    if n_components < 1:
        raise ValueError(f"n_components must be at least 1, got {n_components}")
    return coordinates(rows @ rows.T, n_components)  # n_assets is far below n_dims


def coordinates(products: np.ndarray, n_components: int) -> np.ndarray:
    """Rows with these inner products, cut to their strongest directions: as ``leading_components``, from products.

    Args:
        products: ``(n_assets, n_assets)``, symmetric.

    >>> coordinates(np.array([[4.0, 0.0], [0.0, 1.0]]), 1)
    array([[2.],
           [0.]])
    """
    n = len(products)
    strengths, vectors = eigh(products, subset_by_index=(max(0, n - n_components), n - 1), driver="evr")  # ascending
    vectors = (vectors * np.sqrt(np.maximum(strengths, 0)))[:, ::-1]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return np.where(largest < 0, -vectors, vectors)


def leading_rows(products: np.ndarray, n_components: int, random_state: int = 0) -> np.ndarray:
    """``coordinates`` but for the axes and the last of the accuracy, in time that grows with the square of the rows.

    The strongest directions are looked for among what ``n_components`` random combinations of the rows span, after one
    more product with ``products`` (Halko, Martinsson and Tropp, SIAM Review 53, 2011).

    >>> rows = np.array([[3.0, 0.0], [0.0, 2.0], [3.0, 2.0]])
    >>> found = leading_rows(rows @ rows.T, 2)
    >>> (found @ found.T).round(6)
    array([[ 9.,  0.,  9.],
           [ 0.,  4.,  4.],
           [ 9.,  4., 13.]])
    """
    basis = randomized_range_finder(
        products, size=min(n_components, len(products)), n_iter=1, power_iteration_normalizer="QR",
        random_state=random_state,
    )  # fmt: skip
    strengths, vectors = np.linalg.eigh(basis.T @ products @ basis)
    return basis @ (vectors * np.sqrt(np.maximum(strengths, 0)))
