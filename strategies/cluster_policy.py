"""The published policy: the best Sharpe ratio of each cluster of what a trained encoder finds alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clusterfolio.feeds.features import FeatureConfig, with_features
from clusterfolio.feeds.panel import Panel
from clusterfolio.models.blas import one_blas_thread
from clusterfolio.models.clustering import Ward
from clusterfolio.models.windows import Windows
from clusterfolio.strategies.allocation import Allocator
from clusterfolio.strategies.cluster_stability import cluster_stability
from clusterfolio.strategies.diversification import log_returns
from clusterfolio.strategies.embedding import ENCODED, Embedded, EmbeddingConfig, PanelEmbedder
from clusterfolio.strategies.holding import Frictions, Holding
from clusterfolio.strategies.liquidity import traded_a_day
from clusterfolio.strategies.policy import Clusters, Decision, Held, PortfolioState, Resting
from clusterfolio.strategies.returns_embedding import EmbeddedReturns
from clusterfolio.strategies.risk.centre_stop import CentreStop
from clusterfolio.strategies.risk.config import RiskConfig
from clusterfolio.strategies.risk.embedding_stop import EmbeddingStop, origin_of
from clusterfolio.strategies.risk.rules import RiskRules, unscaled
from clusterfolio.strategies.selection import SelectionConfig, ineligible
from clusterfolio.strategies.windows import panel_windows

if TYPE_CHECKING:
    from clusterfolio.models.encoder import Encoder
    from clusterfolio.models.training import Progress

#: Anchors of an alignment: windows that end in so many last rows of the earlier training span, one every so many bars.
#: More than these many are thinned out evenly.
ANCHOR_ROWS, ANCHOR_STRIDE, MOST_ANCHORS = 63, 5, 2048

#: Share of the assets that one attends to from which on they are said to be few.
FEW_SEEN = 0.1


@dataclass(frozen=True)
class EncoderConfig:
    """Which encoder, and on which windows it is trained.

    Attributes:
        name: "transformer", "vae", "lstm", "gru", "lstm_attention", "tft", or "package.module:ClassName" for your own;
            it decides which keys [model] has.
        lookback: bars per window.
        stride: a training window ends every so many bars of an asset.
        clip: bound of the scaled features, in interquartile ranges from the median.
    """

    name: str = "transformer"
    lookback: int = 30
    stride: int = 1
    clip: float = 10.0


class ClusterPolicy:
    """The best Sharpe ratio of each cluster of embeddings, weighted by an allocator.

    Args:
        encoder: turns windows of indicators into embeddings; fitted by ``fit``, or handed over fitted.
        clusterer: turns rows on the unit sphere into ``labels_`` and ``linkage_``.
        embedding: what makes up an asset's embedding: windows of the encoder's, or returns.
        selection: who is eligible and who wins a cluster.
        allocate: what the names picked are weighed by; None = equally.
        features: how the indicators are computed.
        cash: daily return of cash by day, each known on its day; None = 0.
        stride: every how many bars a training window ends.
        risk: rules that look at decisions and between them; None = no rule.
        frictions: what trading costs, for rules that weigh it; None = what the panel states, and no buffer.
    """

    #: Sections of the configuration that it is made from, and those of them that decide what it learns.
    reads: tuple[str, ...] = (
        "features",
        "inputs",
        "encoder",
        "model",
        "train",
        "embedding",
        "clustering",
        "selection",
        "allocation",
        "risk",
    )
    learns_from: tuple[str, ...] = ("features", "inputs", "encoder", "model")

    def __init__(
        self,
        encoder: Encoder,
        clusterer: Ward,
        embedding: EmbeddingConfig | None = None,
        selection: SelectionConfig | None = None,
        allocate: Allocator | None = None,
        features: FeatureConfig | None = None,
        cash: pd.Series | None = None,
        stride: int = 1,
        risk: RiskConfig | None = None,
        frictions: Frictions | None = None,
    ):
        self.encoder = encoder
        self.clusterer = clusterer
        self.embedding = embedding
        self.selection = selection
        self.allocate = allocate
        self.features = features
        self.cash = cash
        self.stride = stride
        self.risk = risk
        self.frictions = frictions

    def fit(
        self,
        panel: Panel,
        start: pd.Timestamp | None = None,
        progress: Progress | None = None,
        init: ClusterPolicy | None = None,
        checkpoint: Path | None = None,
    ) -> ClusterPolicy:
        """Train the encoder on every window that ends on ``start`` or later; the panel ends with the training span.

        Args:
            progress: told after each epoch how the training goes (``models.training.Progress``).
            init: a fitted policy whose encoder's weights the training starts from.
            checkpoint: file that makes an interrupted training resumable.
        """
        before = None if init is None else init.encoder
        self.learn(self.training_windows(panel, start), init=before, progress=progress, checkpoint=checkpoint)
        return self.trained_on(self.training_start(panel, start), panel.dates[-1])

    def learn(self, windows: Windows, **how) -> None:
        """Fit the encoder on the training windows; ``how`` as ``Encoder.fit`` takes it."""
        self.encoder.fit(windows, **how)

    @staticmethod
    def training_start(panel: Panel, start: pd.Timestamp | None) -> pd.Timestamp:
        """The panel's first day on or after ``start``; None = its first."""
        first = 0 if start is None else int(panel.dates.searchsorted(pd.Timestamp(start)))
        if first >= len(panel.dates):
            raise ValueError(f"start: {start} lies after the panel's last day, {panel.dates[-1].date()}")
        return panel.dates[first]

    def training_windows(self, panel: Panel, start: pd.Timestamp | None = None) -> Windows:
        """Every window of the tradable assets that ends on ``start`` or later; the panel ends with the span."""
        first = int(panel.dates.get_loc(self.training_start(panel, start)))
        panel = with_features(panel, self.features or FeatureConfig())
        windows = panel_windows(panel, self.encoder.lookback, self.stride, first, tradable_only=True)
        if len(windows) == 0:
            raise ValueError(
                f"panel: no asset has {self.encoder.lookback} consecutive bars of indicators ending between "
                f"{panel.dates[first].date()} and {panel.dates[-1].date()}; use a longer training span"
            )
        return windows

    def trained_on(self, start: pd.Timestamp, end: pd.Timestamp) -> ClusterPolicy:
        """Declare the span an already fitted encoder was trained on."""
        self.train_span_ = (pd.Timestamp(start), pd.Timestamp(end))
        self.release()
        return self

    def decide(self, panel: Panel, state: PortfolioState) -> Decision:
        """Embed, cluster, pick and weigh on what the panel holds; its last row is the day decided on."""
        panel = with_features(panel, self.features or FeatureConfig())
        clusters = self.cluster(panel)
        if self.risk is not None and self.risk.centre_stop:
            self._labels[id(origin_of(panel)), panel.dates[-1]] = origin_of(panel), clusters.labels
        return Decision.of(panel.dates[-1], clusters, self.hold(clusters, panel, state))

    def cluster(self, panel: Panel) -> Clusters:
        """Who may be held at the close of the panel's last day, in groups of what behaves alike."""
        asof = panel.dates[-1]
        if asof < self.train_span_[1]:
            raise ValueError(f"panel: it ends on {asof.date()}, before the encoder's training span does")
        return self.clusters_on(panel)

    @one_blas_thread
    def clusters_on(self, panel: Panel) -> Clusters:
        """``cluster``, also of a day of the training span: what is learned from, and never decided on."""
        config = self.selection or SelectionConfig()
        panel = with_features(panel, self.features or FeatureConfig())
        returns = panel.session_returns()[panel.tradable]
        traded = traded_a_day(panel, config.liquidity_sessions) if config.liquidity_floor else None
        complete = self.embedder_.complete(panel)
        excluded = ineligible(returns, panel.bars_since_last(), complete, config, panel.members(), traded)
        eligible = [name for name in panel.tradable if name not in excluded]
        if not eligible:
            return Clusters(excluded=excluded, notes=("no asset is eligible: all in cash",))
        drawn_from = self.drawn_from(panel)
        embeddings = drawn_from.rows(eligible)
        self.clusterer.fit(embeddings.to_numpy())
        labels = pd.Series(self.clusterer.labels_, index=embeddings.index)
        uncertainty = self.embedder_.uncertainty(panel)
        notes = (*_unjudged(traded, eligible), *few(len(eligible), self.clusterer.n_clusters, drawn_from.config))
        return Clusters(
            labels=labels,
            embeddings=embeddings,
            classes=panel.assets.loc[eligible, "asset_class"],
            uncertainty=None if uncertainty is None else uncertainty[eligible],
            stability=self._stability(drawn_from, labels),
            linkage=self.clusterer.linkage_,
            excluded=excluded,
            notes=notes,
        )

    def _stability(self, drawn_from: Embedded | EmbeddedReturns, labels: pd.Series) -> pd.Series | None:
        """How firm each name's cluster is, where a rule asks."""
        if not (self.allocate or Allocator()).config.membership:
            return None
        return labels.map(cluster_stability(drawn_from, labels, self.clusterer)["stability"])

    def drawn_from(self, panel: Panel) -> Embedded | EmbeddedReturns:
        """What the clusters at the close of the panel's last day are drawn from; the panel has features."""
        config = self.embedding or EmbeddingConfig()
        if config.kind in ENCODED:
            return self.embedder_.embed(panel)
        seed = getattr(self.encoder, "random_state", 0)
        return EmbeddedReturns(log_returns(panel).iloc[-config.span :], config, self.clusterer.n_clusters, seed)

    @one_blas_thread
    def encoded(self, panel: Panel, names: list[str]) -> pd.DataFrame | None:
        """The encoder's own embeddings of these names at the close of the panel's last day, of unit length.

        None where it is they that the clusters are drawn from. Where it is not no decision hangs on them: after a
        training they cost several times what the decision does, and are asked for where they are shown.
        """
        if (self.embedding or EmbeddingConfig()).kind in ENCODED:
            return None
        return self.embedder_.embed(with_features(panel, self.features or FeatureConfig())).rows(names)

    def hold(self, clusters: Clusters, panel: Panel, state: PortfolioState) -> Held:
        """What these clusters come to at the close of the panel's last day; see ``strategies.holding``."""
        if (self.allocate or Allocator()).config.variance and clusters.uncertainty is None and len(clusters.labels):
            raise ValueError("allocation.variance: the encoder states no variance; encoder.name = 'vae' does")
        return self.holding.hold(clusters, panel, unscaled(state, self.risk or RiskConfig()))

    @property
    def guard_every(self) -> int:
        """Sessions from one look of the risk rules to the next; 0 = there are none."""
        return 0 if self.risk is None else self.risk.every

    @property
    def max_exposure(self) -> float:
        """Largest sum of the weights under the risk rules."""
        return 1.0 if self.risk is None else self.risk.largest

    def guard(self, weights: pd.Series, panel: Panel, state: PortfolioState) -> tuple:
        """What the risk rules make of weights at the close of the panel's last day (``strategies.risk.rules``)."""
        risk = self.risk or RiskConfig()
        if not risk.looks_at_embeddings:
            return RiskRules(risk).guard(weights, panel, state)
        panel = with_features(panel, self.features or FeatureConfig())
        return RiskRules(risk, self.embedding_stop_, self.centre_stop_).guard(weights, panel, state)

    def labels_on(self, panel: Panel) -> pd.Series:
        """The clusters at the close of the panel's last day; those of a decision are remembered."""
        panel = with_features(panel, self.features or FeatureConfig())
        origin = origin_of(panel)  # kept beside its answer: no other table can come to bear its identity
        key = id(origin), panel.dates[-1]
        if key not in self._labels:
            self._labels[key] = origin, self.cluster(panel).labels
        return self._labels[key][1]

    @property
    def rests(self) -> bool:
        """Whether stops are orders that rest with the broker."""
        return self.risk is not None and self.risk.rests

    def resting(self, panel: Panel, state: PortfolioState) -> dict[str, Resting]:
        """Stop and take-profit orders that rest until the next close (``strategies.risk.rules``)."""
        return RiskRules(replace(self.risk or RiskConfig(), embedding_stop=0.0, centre_stop=0.0)).resting(panel, state)

    @property
    def holding(self) -> Holding:
        """How clusters become weights."""
        span = getattr(self, "train_span_", None)
        selection, allocate = self.selection or SelectionConfig(), self.allocate or Allocator()
        return Holding(selection, allocate, self.cash, span, self.frictions or Frictions())

    def save(self, folder: Path) -> None:
        """Write the trained encoder into a folder."""
        self.encoder.save(folder)

    def load(self, folder: Path) -> ClusterPolicy:
        """Take the trained encoder from a folder; ``trained_on`` says what it was trained on."""
        self.encoder = type(self.encoder).load(folder, self.encoder.device, self.encoder.encoder)
        return self

    def describe(self) -> dict:
        """What run.json says of the training."""
        history = self.encoder.history_
        return {
            "fingerprint": self.encoder.fingerprint(),
            "device": history.device,
            "threads": history.threads,
            "processes": history.processes,
            "seconds": history.seconds,
            "windows": history.n_windows,
            "best_epoch": history.best_epoch,
            "train_loss": history.train_loss,
            "holdout_loss": history.holdout_loss,
        }

    def align(self, earlier: ClusterPolicy, panel: Panel) -> float:
        """Turn the encoder so that its embeddings lie on those of an earlier training's, in place.

        Args:
            panel: with features; it ends with the earlier training span, so nothing is used that this encoder was not
                trained on.

        Returns:
            The share of the embeddings that the turn could not bring together (``Encoder.align``).
        """
        return self.encoder.align(earlier.encoder, anchor_windows(panel, self.encoder.lookback))

    def release(self) -> None:
        """Forget the embeddings that are remembered; they can be computed again."""
        self.embedder_ = PanelEmbedder(self.encoder, self.embedding or EmbeddingConfig())
        risk = self.risk or RiskConfig()
        self._labels: dict[tuple[int, pd.Timestamp], tuple[np.ndarray, pd.Series]] = {}
        self.embedding_stop_, self.centre_stop_ = None, None
        if risk.looks_at_embeddings:
            self.embedding_stop_ = EmbeddingStop(self.encoder, self.train_span_, risk.embedding_stop)
            self.centre_stop_ = CentreStop(self.embedding_stop_, self.labels_on, risk.centre_stop)


def _unjudged(traded: pd.Series | None, eligible: list[str]) -> tuple[str, ...]:
    """A note on names that a liquidity floor cannot judge."""
    without = [] if traded is None else list(traded[eligible].index[traded[eligible].isna()])
    if not without:
        return ()
    some = ", ".join(without[:5]) + (" ..." if len(without) > 5 else "")
    return (f"no volume is ever stated of {some}: selection.liquidity_floor does not judge them",)


def few(n_assets: int, n_clusters: int, config: EmbeddingConfig) -> list[str]:
    """What is to be said where there are few assets for so many clusters, or for attention across assets.

    >>> few(60, 20, EmbeddingConfig())
    []
    >>> few(30, 20, EmbeddingConfig())
    ['30 eligible assets are few for attention across assets: each attends to about 4 of them']
    """
    if n_assets < n_clusters:
        return [
            f"{n_assets} eligible assets are fewer than the {n_clusters} clusters asked for: each is its own cluster"
        ]
    seen = config.spread(n_assets)
    if config.attention_layers and config.kind not in ("last", "svd", "pca") and seen > FEW_SEEN:
        seen = round(seen * n_assets)
        return [f"{n_assets} eligible assets are few for attention across assets: each attends to about {seen} of them"]
    return []


def anchor_windows(panel: Panel, lookback: int) -> Windows:
    """Windows of the tradable assets that end in the panel's last rows; the panel has features."""
    first = max(0, len(panel.dates) - ANCHOR_ROWS)
    anchors = panel_windows(panel, lookback, ANCHOR_STRIDE, first, tradable_only=True)
    if len(anchors) <= MOST_ANCHORS:
        return anchors
    return anchors.take(np.linspace(0, len(anchors) - 1, MOST_ANCHORS).astype(np.int64))
