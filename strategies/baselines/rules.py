"""The policies a strategy has to beat, on the same assets, dates and costs.

Most are rules: what to hold follows from a ``View`` of the past at one date, and nothing has to be trained. They are
offered as policies by ``baselines.policies.Baseline``. Those of ``baselines.fitted`` are trained as the strategy is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR, Panel
from clusterfolio.models.clustering import Ward, unit_sphere
from clusterfolio.strategies import classical, optimised
from clusterfolio.strategies.allocation import Allocator, Picks, equal_weight, inverse_volatility
from clusterfolio.strategies.selection import top_sharpe_per_cluster

#: Sessions that risk estimates and momentum look back over; the last month of them does not count for momentum.
YEAR, MONTH = SESSIONS_PER_YEAR, 21


@dataclass(frozen=True)
class View:
    """What a rule is shown: nothing in it is later than the close of ``asof``.

    Attributes:
        returns: simple returns of the eligible assets at the last sessions, ``(n_sessions, n_assets)``; NaN before an
            asset's first.
        sharpe, labels: as in ``Candidates``, same assets in the same order.
        assets: their rows of ``Panel.assets``.
        n_clusters, per_cluster: groups to form, names to take from each.
        names_in_all: names to take at most; 0 = as many as that makes.
        allocate: what the names picked are weighed by.
        random_state: of this date.
    """

    asof: pd.Timestamp
    returns: pd.DataFrame
    sharpe: pd.Series
    labels: pd.Series | None
    assets: pd.DataFrame
    n_clusters: int = 20
    per_cluster: int = 1
    names_in_all: int = 0
    allocate: Allocator = field(default_factory=Allocator)
    random_state: tuple[int, ...] = (0,)

    @property
    def names(self) -> list[str]:
        """The symbols, in order."""
        return list(self.sharpe.index)

    @property
    def n_names(self) -> int:
        """How many the strategy holds."""
        return self.names_in_all or self.n_clusters * self.per_cluster

    @cached_property
    def _known(self) -> np.ndarray:
        return self.returns.fillna(0.0).to_numpy()

    def known(self, sessions: int | None = None) -> np.ndarray:
        """The last returns, 0 where unknown, ``(n_sessions, n_assets)``."""
        return self._known[-(sessions or len(self.returns)) :]

    def rng(self) -> np.random.Generator:
        """Random numbers that begin anew at every decision."""
        return np.random.default_rng(self.random_state)


@dataclass(frozen=True)
class Choice:
    """What a rule holds: weights by symbol, and the clusters it drew, where it drew any."""

    weights: pd.Series
    labels: pd.Series | None = None


Rule = Callable[[View], Choice]


# Weights of everything eligible ----------------------------------------------------------------------------------


def everything_equally(view: View) -> Choice:
    """1/N: DeMiguel, Garlappi and Uppal, "Optimal Versus Naive Diversification" (2009)."""
    return Choice(equal_weight(view.returns, view.names))


def everything_by_inverse_volatility(view: View) -> Choice:
    """All eligible assets, each in proportion to 1 / volatility of the last year."""
    return Choice(inverse_volatility(view.returns, view.names, YEAR))


def minimum_variance(view: View) -> Choice:
    """Long-only minimum variance on the last year, its covariance shrunk as Ledoit and Wolf (2004) do (skfolio)."""
    return Choice(_positions(optimised.solve("minimum_variance", view.known(YEAR)), view.names))


def hierarchical_risk_parity(view: View) -> Choice:
    """HRP: Lopez de Prado, "Building Diversified Portfolios that Outperform Out of Sample" (2016), by skfolio."""
    if len(view.names) < 3:
        return everything_by_inverse_volatility(view)
    return Choice(_positions(optimised.solve("hrp", view.known(YEAR)), view.names))


def _positions(weights: np.ndarray, names: list[str]) -> pd.Series:
    found = pd.Series(weights, index=names, dtype=float)
    return found[found > 0]


# The best of all, without clusters -------------------------------------------------------------------------------


def top_sharpe(view: View) -> Choice:
    """As many names as the strategy holds, the best Sharpe ratios of all: what its clusters are there to improve."""
    return _hold(view, top_sharpe_per_cluster(view.sharpe, pd.Series(0, index=view.names), view.n_names))


def momentum(view: View) -> Choice:
    """As many names, the best 12-1 month returns: Jegadeesh and Titman (1993), the last month left out."""
    past = view.returns.iloc[-YEAR:-MONTH]
    gain = (1.0 + past.fillna(0.0)).prod() - 1.0
    return _hold(view, top_sharpe_per_cluster(gain[view.names], pd.Series(0, index=view.names), view.n_names))


# The best of each cluster, clusters drawn without training -------------------------------------------------------


def of_each_class(view: View) -> Choice:
    """Asset classes and sectors instead of clusters; assets whose class is not known are left out."""
    return _best_of_each(view, classical.class_labels(view.assets))


def of_correlation_clusters(view: View) -> Choice:
    """Ward on each asset's row of the correlation matrix."""
    return _drawn(view, classical.correlation_rows(view.known()))


def of_pca_clusters(view: View) -> Choice:
    """Ward on the leading principal components of standardised returns."""
    return _drawn(view, classical.principal_components(view.known()))


def of_svd_clusters(view: View) -> Choice:
    """Ward on the leading singular directions of standardised returns, not centred: the market stays."""
    return _drawn(view, classical.singular_components(view.known()))


def of_random_clusters(view: View) -> Choice:
    """Clusters drawn by lot, of the strategy's sizes where it has any."""
    labels = _numbered(view) if view.labels is None else view.labels
    return _best_of_each(view, pd.Series(view.rng().permutation(labels.to_numpy()), index=view.names))


def random_of_each_cluster(view: View) -> Choice:
    """The strategy's clusters, and from each a name drawn by lot."""
    if view.labels is None:
        raise ValueError("labels: None; a random asset of each learned cluster needs the strategy's clusters")
    lots = pd.Series(view.rng().random(len(view.names)), index=view.names)
    return _hold(view, _most(view, lots, view.labels), view.labels)


def _numbered(view: View) -> pd.Series:
    return pd.Series(np.arange(len(view.names)) % view.n_clusters, index=view.names)


def _drawn(view: View, embeddings: np.ndarray) -> Choice:
    labels = Ward(view.n_clusters).fit(unit_sphere(embeddings)).labels_
    return _best_of_each(view, pd.Series(labels, index=view.names))


def _best_of_each(view: View, labels: pd.Series) -> Choice:
    return _hold(view, _most(view, view.sharpe, labels), labels)


def _most(view: View, scores: pd.Series, labels: pd.Series) -> list[str]:
    """The best of each cluster, and of these the best where the strategy does not hold one of each."""
    found = top_sharpe_per_cluster(scores, labels, view.per_cluster)
    if len(found) <= view.n_names:
        return found
    kept = set(top_sharpe_per_cluster(scores[found], pd.Series(0, index=found), view.n_names))
    return [name for name in found if name in kept]


def _hold(view: View, selected: list[str], labels: pd.Series | None = None) -> Choice:
    picks = Picks(view.returns, selected, view.sharpe, view.assets.get("asset_class"), view.labels)
    return Choice(view.allocate(picks).weights, labels)


#: Rules by the name they have in tables.
RULES: dict[str, Rule] = {
    "1/N": everything_equally,
    "inverse volatility": everything_by_inverse_volatility,
    "minimum variance": minimum_variance,
    "hierarchical risk parity": hierarchical_risk_parity,
    "best Sharpe of all": top_sharpe,
    "momentum 12-1": momentum,
    "asset classes": of_each_class,
    "correlation clusters": of_correlation_clusters,
    "PCA clusters": of_pca_clusters,
    "SVD clusters": of_svd_clusters,
    "random clusters": of_random_clusters,
    "random asset per cluster": random_of_each_cluster,
}

#: Those that need skfolio, and seconds per decision for some hundred assets.
SLOW = ("minimum variance", "hierarchical risk parity")

#: Those that draw the clusters of a strategy from returns, without training.
CLASSICAL = ("correlation clusters", "PCA clusters", "SVD clusters")


def unavailable(panel: Panel) -> dict[str, str]:
    """Rules that cannot be carried out here, and why."""
    found: dict[str, str] = {}
    if not optimised.available():
        found |= dict.fromkeys(SLOW, f"skfolio is not installed; {optimised.EXTRA}")
    if (panel.assets.loc[panel.tradable, "asset_class"] == "unknown").all():
        found["asset classes"] = "no asset's class is known; a universe file can state them"
    return found
