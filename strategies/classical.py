"""Embeddings and clusters that need no training: what a learned embedding has to beat.

Every embedding is a function of returns ``(n_days, n_assets)``, finite, to one row per asset ``(n_assets, n_dims)``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from clusterfolio.models.clustering import first_appearance, leading_components
from clusterfolio.strategies.diversification import correlations


def standardised(returns: np.ndarray) -> np.ndarray:
    """Every column less its mean and over its standard deviation (of the population); one that stays still is 0.

    >>> standardised(np.array([[1.0, 5.0], [3.0, 5.0]]))
    array([[-1.,  0.],
           [ 1.,  0.]])
    """
    centred = returns - returns.mean(axis=0)
    deviation = centred.std(axis=0)
    return centred / np.where(deviation > 0, deviation, 1.0)


def correlation_rows(returns: np.ndarray) -> np.ndarray:
    """Each asset's correlations with all assets, ``(n_assets, n_assets)``; 0 where one of the two stays still."""
    return np.nan_to_num(correlations(returns))


def principal_components(returns: np.ndarray, n_components: int = 20) -> np.ndarray:
    """PCA over assets of their standardised returns: assets are the samples, days the variables.

    The mean over the assets of each day, that is the market, is taken off before the decomposition, which is exact:
    scikit-learn's ``PCA`` takes a randomised solver at these sizes, and clusters drawn from its answer move with its
    seed.
    """
    rows = standardised(returns).T
    return leading_components(rows - rows.mean(axis=0), n_components)


def singular_components(returns: np.ndarray, n_components: int = 20) -> np.ndarray:
    """The same without centring: the market's direction stays, and with it how much of it an asset takes part in."""
    return leading_components(standardised(returns).T, n_components)


def average_linkage(returns: np.ndarray, n_clusters: int = 20) -> np.ndarray:
    """Labels ``(n_assets,)`` of average linkage on the distance ``1 - correlation``.

    It tends to one giant cluster and singletons.
    """
    distance = 1.0 - correlation_rows(returns)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average")
    return first_appearance(fcluster(tree, n_clusters, criterion="maxclust"))


def random_labels(n_assets: int, n_clusters: int = 20, random_state: int = 0) -> np.ndarray:
    """Labels drawn evenly, ``(n_assets,)``."""
    return np.random.default_rng(random_state).integers(n_clusters, size=n_assets)


def class_labels(assets: pd.DataFrame) -> pd.Series:
    """Clusters by asset class and sector, for the assets whose class is known.

    Args:
        assets: as ``Panel.assets``: columns ``asset_class`` and ``sector``, indexed by symbol.

    >>> table = {"asset_class": ["equity", "equity", "unknown"], "sector": ["Energy", "Energy", ""]}
    >>> class_labels(pd.DataFrame(table, index=["XOM", "CVX", "ODD"])).to_dict()
    {'XOM': 0, 'CVX': 0}
    """
    known = assets[assets["asset_class"] != "unknown"]
    named = known["asset_class"] + "/" + known["sector"]
    return pd.Series(first_appearance(named.to_numpy(dtype=str)), index=known.index, dtype=np.int64)
