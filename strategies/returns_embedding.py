"""One embedding per asset from the returns of a span, in place of an encoder's: classical, searched or learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import ClusterMixin, clone

from clusterfolio.models.clustering import Ward, coordinates, leading_rows, unit_sphere
from clusterfolio.models.cross_attention import attended_rows, cross_attention
from clusterfolio.models.promise import Days, expected_correlation, search
from clusterfolio.strategies import classical
from clusterfolio.strategies.embedding import STRETCHES, EmbeddingConfig

#: Directions of the attended correlations that a search begins with.
START_COMPONENTS = 128

#: What a searched embedding says of the label, and what of where in the cluster an asset lies, in shares of its square.
OF_LABEL, OF_PLACE = 0.7, 0.3


@dataclass(frozen=True)
class EmbeddedReturns:
    """Embeddings of assets by what they returned.

    Attributes:
        returns: daily log returns of the span ``(n_sessions, n_assets)``, columns by symbol; NaN = not known.
        config: how they are embedded; its ``kind`` is one of ``OF_RETURNS``.
        n_clusters: clusters that a search looks for.
        random_state: of the search and of the learned layer.
    """

    returns: pd.DataFrame
    config: EmbeddingConfig
    n_clusters: int
    random_state: int = 0

    def rows(self, symbols: list[str]) -> pd.DataFrame:
        """The embeddings of these symbols, in this order, of unit length; only these look at one another."""
        return pd.DataFrame(self._embed(self._known(symbols)), index=symbols)

    def regrouped(
        self, symbols: list[str], clusterer: ClusterMixin, n_resamples: int, random_state: int
    ) -> Iterator[np.ndarray]:
        """Labels drawn again from stretches of days drawn with replacement, in the order of time; single precision.

        A search begins with Ward's labels of the attended directions, not of the directions of the attended
        correlations as ``rows`` does: attention then grows with the square of the assets and not with their cube.
        """
        returns = self._known(symbols).astype(np.float32)
        stretches = np.array_split(np.arange(len(returns)), min(STRETCHES, len(returns)))
        rng = np.random.default_rng(random_state)
        searches = self.config.kind == "search" and type(clusterer) is Ward and clusterer.n_clusters == self.n_clusters
        by_day = Days.of(returns) if searches else None
        for drawn in rng.integers(len(stretches), size=(n_resamples, len(stretches))):
            days = np.concatenate([stretches[at] for at in np.sort(drawn)])
            if by_day is None:
                yield clone(clusterer).fit(self._embed(returns[days])).labels_
            else:  # what Ward finds in the rows of a search are the labels that it found
                expected = by_day.expected(days)
                strongest = unit_sphere(leading_rows(expected, START_COMPONENTS, self.random_state))
                spread = self.config.spread(len(expected))
                place = attended_rows(strongest, self.config.attention_layers, spread)
                yield search(expected, Ward(self.n_clusters).fit(place).labels_, self.random_state)

    def _known(self, symbols: list[str]) -> np.ndarray:
        """Returns of these symbols ``(n_sessions, n_assets)``, 0 where none is known."""
        return self.returns[symbols].fillna(0.0).to_numpy()

    def _embed(self, returns: np.ndarray) -> np.ndarray:
        return unit_sphere(KINDS[self.config.kind](returns, self))


def attended(products: np.ndarray, config: EmbeddingConfig, n_components: int) -> np.ndarray:
    """Rows with these inner products, after attention across assets, in their strongest directions."""
    n_assets = len(products)
    return coordinates(cross_attention(products, config.attention_layers, config.spread(n_assets)), n_components)


def by_attention(returns: np.ndarray, embedded: EmbeddedReturns) -> np.ndarray:
    """Standardised returns, attended."""
    rows = unit_sphere(classical.standardised(returns).T)
    return attended(rows @ rows.T, embedded.config, embedded.config.components or len(rows))


def by_svd(returns: np.ndarray, embedded: EmbeddedReturns) -> np.ndarray:
    """``classical.singular_components``."""
    return classical.singular_components(returns, embedded.config.components or returns.shape[1])


def by_pca(returns: np.ndarray, embedded: EmbeddedReturns) -> np.ndarray:
    """``classical.principal_components``."""
    return classical.principal_components(returns, embedded.config.components or returns.shape[1])


def by_search(returns: np.ndarray, embedded: EmbeddedReturns) -> np.ndarray:
    """The searched label beside the attended place: Ward's clustering of these rows gives the labels back."""
    expected = expected_correlation(returns)
    place = attended(expected.astype(returns.dtype), embedded.config, START_COMPONENTS)
    labels = searched(expected, place, embedded)
    of_place = unit_sphere(place[:, : embedded.config.components or place.shape[1]])
    return np.hstack([np.sqrt(OF_LABEL) * np.eye(labels.max() + 1)[labels], np.sqrt(OF_PLACE) * of_place])


def by_learning(returns: np.ndarray, embedded: EmbeddedReturns) -> np.ndarray:
    """The square roots of learned shares in the clusters, of unit length as they come; the search is where it starts.

    Where there is nothing to learn (one cluster, or one for each asset) what the search finds.
    """
    from clusterfolio.models.promise_layer import learned_shares  # torch is heavy, and only this kind needs it here

    if not 1 < embedded.n_clusters < returns.shape[1]:
        return by_search(returns, embedded)
    expected = expected_correlation(returns)
    labels = searched(expected, attended(expected, embedded.config, START_COMPONENTS), embedded)
    spread = embedded.config.spread(len(expected))
    return np.sqrt(learned_shares(expected, labels, spread, embedded.random_state).astype(np.float64))


def searched(expected: np.ndarray, place: np.ndarray, embedded: EmbeddedReturns) -> np.ndarray:
    """Labels by ``promise.search`` from Ward's on the attended rows."""
    start = Ward(embedded.n_clusters).fit(unit_sphere(place)).labels_
    return search(expected, start, embedded.random_state)


#: Returns ``(n_sessions, n_assets)``, finite, to rows ``(n_assets, n_dims)``.
KINDS: dict[str, Callable[[np.ndarray, EmbeddedReturns], np.ndarray]] = {
    "returns": by_attention,
    "svd": by_svd,
    "pca": by_pca,
    "search": by_search,
    "learned": by_learning,
}
