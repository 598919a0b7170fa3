"""The policies a strategy has to beat, on the same assets, dates and costs.

Most are rules: what to hold follows from a ``View`` of the past at one date, and nothing has to be trained. They are
offered as policies by ``Baseline``. The others are ``ClusterPolicy`` with another encoder in it, fitted as its own is.

Who is eligible is not decided here anew: a ``Baseline`` asks its ``candidates``, either the decisions of the strategy
it is compared with (``Recorded``) or the same rules without one (``Eligible``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np
import pandas as pd

from feeds.features import FeatureConfig, with_features
from feeds.panel import Panel
from models.clustering import Ward, unit_sphere
from models.reference import WindowPCA, untrained
from models.windows import Windows
from strategies import classical
from strategies.allocation import equal_weight, inverse_volatility
from strategies.embedding import EmbeddingConfig, PanelEmbedder
from strategies.policy import ClusterPolicy, Decision, PortfolioState
from strategies.selection import SelectionConfig, ineligible, ranking_sharpe, top_sharpe_per_cluster

#: Sessions that risk estimates and momentum look back over; the last month of them does not count for momentum.
YEAR, MONTH = 252, 21

#: Sessions before a view's first from which a price is carried into it.
MARGIN = 60

#: A weight that a solver left below this is no position.
SMALLEST = 1e-5


@dataclass(frozen=True)
class Candidates:
    """Who may be held at a decision.

    Attributes:
        sharpe: what the strategy ranks by, indexed by every eligible symbol.
        labels: the strategy's clusters, same index; None where there is no strategy.
        excluded: the other symbols, and why.
    """

    sharpe: pd.Series
    labels: pd.Series | None = None
    excluded: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """What a rule is shown: nothing in it is later than the close of ``asof``.

    Attributes:
        returns: simple returns of the eligible assets at the last sessions, ``(n_sessions, n_assets)``; NaN before an
            asset's first.
        sharpe, labels: as in ``Candidates``, same assets in the same order.
        assets: their rows of ``Panel.assets``.
        n_clusters, per_cluster: groups to form, names to take from each.
        allocate: ``(returns, selected) -> weights``.
        random_state: of this date.
    """

    asof: pd.Timestamp
    returns: pd.DataFrame
    sharpe: pd.Series
    labels: pd.Series | None
    assets: pd.DataFrame
    n_clusters: int = 20
    per_cluster: int = 1
    allocate: Callable[[pd.DataFrame, list[str]], pd.Series] = equal_weight
    random_state: tuple[int, ...] = (0,)

    @property
    def names(self) -> list[str]:
        return list(self.sharpe.index)

    @property
    def n_names(self) -> int:
        return self.n_clusters * self.per_cluster

    def known(self, sessions: int | None = None) -> np.ndarray:
        """The last returns, 0 where unknown, ``(n_sessions, n_assets)``."""
        return self.returns.fillna(0.0).to_numpy()[-(sessions or len(self.returns)) :]

    def rng(self) -> np.random.Generator:
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
    from skfolio.moments import LedoitWolf
    from skfolio.optimization import MeanRisk
    from skfolio.prior import EmpiricalPrior

    if len(view.names) == 1:
        return everything_equally(view)
    model = MeanRisk(prior_estimator=EmpiricalPrior(covariance_estimator=LedoitWolf()))
    return Choice(_positions(model.fit(view.known(YEAR)).weights_, view.names))


def hierarchical_risk_parity(view: View) -> Choice:
    """HRP: Lopez de Prado, "Building Diversified Portfolios that Outperform Out of Sample" (2016), by skfolio."""
    from skfolio.moments import LedoitWolf
    from skfolio.optimization import HierarchicalRiskParity
    from skfolio.prior import EmpiricalPrior

    if len(view.names) < 3:
        return everything_by_inverse_volatility(view)
    model = HierarchicalRiskParity(prior_estimator=EmpiricalPrior(covariance_estimator=LedoitWolf()))
    return Choice(_positions(model.fit(view.known(YEAR)).weights_, view.names))


def _positions(weights: np.ndarray, names: list[str]) -> pd.Series:
    found = pd.Series(weights, index=names, dtype=float)
    found = found[found > SMALLEST]
    return found / found.sum()


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
    return _hold(view, top_sharpe_per_cluster(lots, view.labels, view.per_cluster), view.labels)


def _numbered(view: View) -> pd.Series:
    return pd.Series(np.arange(len(view.names)) % view.n_clusters, index=view.names)


def _drawn(view: View, embeddings: np.ndarray) -> Choice:
    labels = Ward(view.n_clusters).fit(unit_sphere(embeddings)).labels_
    return _best_of_each(view, pd.Series(labels, index=view.names))


def _best_of_each(view: View, labels: pd.Series) -> Choice:
    return _hold(view, top_sharpe_per_cluster(view.sharpe, labels, view.per_cluster), labels)


def _hold(view: View, selected: list[str], labels: pd.Series | None = None) -> Choice:
    return Choice(view.allocate(view.returns, selected), labels)


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
    found = {}
    if find_spec("skfolio") is None:
        found |= dict.fromkeys(SLOW, "skfolio is not installed; pip install 'clusterfolio[baselines]'")
    if (panel.assets.loc[panel.tradable, "asset_class"] == "unknown").all():
        found["asset classes"] = "no asset's class is known; a universe file can state them"
    return found


# As policies -----------------------------------------------------------------------------------------------------


class Recorded:
    """The candidates of decisions that were made: the very assets, Sharpe ratios and clusters of a strategy."""

    def __init__(self, decisions: Iterable[Decision]):
        self.by_day = {decision.asof: decision for decision in decisions}

    def __call__(self, panel: Panel) -> Candidates:
        asof = panel.dates[-1]
        if asof not in self.by_day:
            raise ValueError(f"panel: it ends on {asof.date()}, on which nothing was decided")
        decision = self.by_day[asof]
        return Candidates(decision.sharpe, decision.labels, decision.diagnostics["excluded"])


class Eligible:
    """The candidates by the strategy's own rules, where no decision of it is at hand.

    Args:
        selection, embedding, features: as the strategy's; an asset must have the windows it would be embedded by.
        lookback: bars per window.
        cash: daily return of cash by day; None = 0.
        train_span: see ``ranking_sharpe``.
    """

    def __init__(
        self,
        selection: SelectionConfig,
        embedding: EmbeddingConfig,
        features: FeatureConfig,
        lookback: int,
        cash: pd.Series | None = None,
        train_span: tuple[pd.Timestamp, pd.Timestamp] | None = None,
    ):
        self.selection = selection
        self.features = features
        self.cash = cash
        self.train_span = train_span
        self.embedder = PanelEmbedder(_Blank(lookback), embedding)

    def __call__(self, panel: Panel) -> Candidates:
        panel = with_features(panel, self.features)
        returns = panel.session_returns()[panel.tradable]
        complete = self.embedder.embed(panel).complete
        excluded = ineligible(returns, panel.bars_since_last(), complete, self.selection)
        names = [name for name in panel.tradable if name not in excluded]
        return Candidates(ranking_sharpe(returns[names], self.selection, self.cash, self.train_span), None, excluded)


class _Blank:
    """Stands in for an encoder where only the presence of windows matters."""

    def __init__(self, lookback: int):
        self.lookback = lookback

    def transform(self, windows: Windows) -> np.ndarray:
        return np.ones((len(windows), 1), dtype=np.float32)


class Baseline:
    """A rule as a policy: nothing to fit, and what is held does not matter.

    Args:
        rule: one of ``RULES``, or a function of the same shape.
        candidates: ``panel -> Candidates``.
        span: sessions of returns that a rule is shown.
        n_clusters, per_cluster, allocate: see ``View``.
        random_state: of the rules that draw lots; every date draws its own.
    """

    def __init__(
        self,
        rule: Rule,
        candidates: Callable[[Panel], Candidates],
        span: int = 2 * YEAR,
        n_clusters: int = 20,
        per_cluster: int = 1,
        allocate: Callable[[pd.DataFrame, list[str]], pd.Series] = equal_weight,
        random_state: int = 0,
    ):
        self.rule = rule
        self.candidates = candidates
        self.span = span
        self.n_clusters = n_clusters
        self.per_cluster = per_cluster
        self.allocate = allocate
        self.random_state = random_state

    def fit(self, panel: Panel, start: pd.Timestamp | None = None) -> Baseline:
        return self

    def decide(self, panel: Panel, state: PortfolioState) -> Decision:
        """What the rule holds after the close of the panel's last day."""
        return self.on(self.view(panel))

    def view(self, panel: Panel) -> tuple[View, Candidates]:
        """What a rule is shown at the close of the panel's last day; the same for every rule with these settings."""
        found = self.candidates(panel)
        asof = panel.dates[-1]
        return View(
            asof=asof,
            returns=recent_returns(panel, list(found.sharpe.index), max(self.span, YEAR)),
            sharpe=found.sharpe,
            labels=found.labels,
            assets=panel.assets.loc[found.sharpe.index],
            n_clusters=self.n_clusters,
            per_cluster=self.per_cluster,
            allocate=self.allocate,
            random_state=(self.random_state, asof.toordinal()),
        ), found

    def on(self, seen: tuple[View, Candidates]) -> Decision:
        """The decision on a view made before (``view``), which several rules may share."""
        view, found = seen
        none = pd.Series(dtype=float)
        choice = self.rule(view) if view.names else Choice(none)
        labels = pd.Series(0, index=choice.weights.index) if choice.labels is None else choice.labels
        return Decision(
            asof=view.asof,
            weights=choice.weights,
            labels=labels,
            sharpe=view.sharpe.reindex(labels.index),
            selected=list(choice.weights.index),
            embeddings=pd.DataFrame(index=labels.index),
            diagnostics={"excluded": found.excluded, "notes": [], "linkage": np.empty((0, 4))},
        )


def recent_returns(panel: Panel, names: list[str], sessions: int) -> pd.DataFrame:
    """The last rows of ``panel.session_returns()[names]``, without computing the others.

    An asset that had no bar for ``MARGIN`` sessions before the first of them counts as listed when it trades again.
    """
    first = max(0, len(panel.sessions) - sessions - 1)
    start = panel.dates.searchsorted(panel.sessions[max(0, first - MARGIN)])
    closes = panel.close.iloc[start:][names].ffill().reindex(panel.sessions[first:], method="ffill")
    return closes.pct_change(fill_method=None).iloc[1:]


class WindowPCAPolicy(ClusterPolicy):
    """``ClusterPolicy`` with a linear encoder of the same windows: what is the network's nonlinearity worth?"""

    def learn(self, windows: Windows, **how) -> None:
        """Fit the components on the training windows; it takes one pass, so ``how`` is not used."""
        n_components = getattr(self.encoder.config, "embed_dim", 64)
        n_components = min(n_components, self.encoder.lookback * windows.values.shape[1])
        self.encoder = WindowPCA(n_components, self.encoder.lookback, self.encoder.clip).fit(windows)


class UntrainedPolicy(ClusterPolicy):
    """``ClusterPolicy`` with its encoder as it is before the first step of training: what is the training worth?"""

    def learn(self, windows: Windows, **how) -> None:
        """Fit the scaler only; ``how`` is not used."""
        self.encoder = untrained(self.encoder, windows)


#: Baselines that are fitted on a training span, by the name they have in tables.
FITTED: dict[str, type[ClusterPolicy]] = {"window PCA clusters": WindowPCAPolicy, "untrained encoder": UntrainedPolicy}
