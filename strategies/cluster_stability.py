"""How firmly a cluster stands: the clustering is done again on resampled stretches of the embedding.

Bootstrap over what the embedding is made of, not over the assets: an asset's row is cut into stretches of neighbouring
dimensions, which in a trajectory are neighbouring weeks, and returns into stretches of neighbouring days; as many
stretches are drawn with replacement, the same for all assets, and what they make is reduced and clustered as the
decision's was. Suzuki and Shimodaira ("pvclust", Bioinformatics 22, 2006) resample the variables like this, Künsch
(Annals of Statistics 17, 1989) in blocks, since neighbours depend on one another. A cluster's figure is Hennig's
("Cluster-wise assessment of cluster stability", Computational Statistics & Data Analysis 52, 2007): the mean over
resamples of the largest Jaccard coefficient that any of the new clusters has with it. In his words, from 0.75 a cluster
is stable, between 0.6 and 0.75 it shows a pattern whose borders are doubtful, and below 0.6 it should not be trusted.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.base import ClusterMixin

from clusterfolio.strategies.embedding import Embedded
from clusterfolio.strategies.returns_embedding import EmbeddedReturns

#: Times the clustering is done again; the standard error of a figure is then at most 0.5 / sqrt(RESAMPLES).
RESAMPLES = 8


def cluster_stability(
    embedded: Embedded | EmbeddedReturns,
    labels: pd.Series,
    clusterer: ClusterMixin,
    n_resamples: int = RESAMPLES,
    random_state: int = 0,
) -> pd.DataFrame:
    """How far each cluster comes back when the clustering is done again on resampled embeddings.

    Args:
        embedded: the embeddings the clusters were drawn from.
        labels: cluster by symbol, drawn from ``embedded.rows(labels.index)``.
        clusterer: what drew them; cloned, so that what it has learned is kept.

    Returns:
        Index cluster; ``stability``: mean best Jaccard coefficient, 0 to 1; ``pairs_together``: share of its pairs of
        members that are in one cluster again, NaN for a cluster of one.
    """
    drawn = [
        recurrence(labels.to_numpy(), again)
        for again in embedded.regrouped(list(labels.index), clusterer, n_resamples, random_state)
    ]
    found = np.mean(drawn, axis=0)
    return pd.DataFrame(found, pd.Index(np.unique(labels), name="cluster"), ["stability", "pairs_together"])


def recurrence(labels: np.ndarray, again: np.ndarray) -> np.ndarray:
    """Best Jaccard coefficient and share of pairs together again, ``(n_clusters, 2)``, clusters in ascending order.

    Args:
        labels: cluster of each asset.
        again: cluster of the same assets in another clustering; its numbers need not correspond.

    >>> recurrence(np.array([0, 0, 0, 1]), np.array([5, 5, 7, 7])).round(3)  # 2 of 3 members; pairs: 1 of 3
    array([[0.667, 0.333],
           [0.5  ,   nan]])
    """
    _, first = np.unique(labels, return_inverse=True)
    _, second = np.unique(again, return_inverse=True)
    shared = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(shared, (first, second), 1.0)
    size, other = shared.sum(axis=1), shared.sum(axis=0)
    jaccard = (shared / (size[:, None] + other[None] - shared)).max(axis=1)
    pairs = size * (size - 1)
    together = (shared * (shared - 1)).sum(axis=1) / np.where(pairs > 0, pairs, np.nan)
    return np.column_stack([jaccard, together])
