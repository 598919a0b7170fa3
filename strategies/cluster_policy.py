"""What to hold: a policy is fitted on a panel and asked, date by date, for a decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.feeds.features import FeatureConfig, with_features
from clusterfolio.feeds.panel import Panel
from clusterfolio.models.clustering import Ward
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.training import Progress
from clusterfolio.models.windows import Windows
from clusterfolio.strategies.allocation import equal_weight
from clusterfolio.strategies.embedding import EmbeddingConfig, PanelEmbedder
from clusterfolio.strategies.policy import Decision, PortfolioState
from clusterfolio.strategies.selection import SelectionConfig, ineligible, ranking_sharpe, top_sharpe_per_cluster
from clusterfolio.strategies.windows import panel_windows


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
        embedding: which windows make up an asset's embedding.
        selection: who is eligible and who wins a cluster.
        allocate: ``(returns, selected) -> weights``.
        features: how the indicators are computed.
        cash: daily return of cash by day, each known on its day; None = 0.
        stride: every how many bars a training window ends.
    """

    def __init__(
        self,
        encoder: Encoder,
        clusterer: Ward,
        embedding: EmbeddingConfig | None = None,
        selection: SelectionConfig | None = None,
        allocate: Callable[[pd.DataFrame, list[str]], pd.Series] = equal_weight,
        features: FeatureConfig | None = None,
        cash: pd.Series | None = None,
        stride: int = 1,
    ):
        self.encoder = encoder
        self.clusterer = clusterer
        self.embedding = embedding
        self.selection = selection
        self.allocate = allocate
        self.features = features
        self.cash = cash
        self.stride = stride

    def fit(
        self,
        panel: Panel,
        start: pd.Timestamp | None = None,
        progress: Progress | None = None,
        init: Encoder | None = None,
        checkpoint: Path | None = None,
    ) -> ClusterPolicy:
        """Train the encoder on every window that ends on ``start`` or later; the panel ends with the training span.

        Args:
            progress: told after each epoch how the training goes (``models.training.Progress``).
            init: a fitted encoder whose weights the training starts from.
            checkpoint: file that makes an interrupted training resumable.
        """
        self.learn(self.training_windows(panel, start), init=init, progress=progress, checkpoint=checkpoint)
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
        self.embedder_ = PanelEmbedder(self.encoder, self.embedding or EmbeddingConfig())
        return self

    def decide(self, panel: Panel, state: PortfolioState) -> Decision:
        """Embed, cluster, pick and weigh on what the panel holds; its last row is the day decided on."""
        config = self.selection or SelectionConfig()
        asof = panel.dates[-1]
        if asof < self.train_span_[1]:
            raise ValueError(f"panel: it ends on {asof.date()}, before the encoder's training span does")
        panel = with_features(panel, self.features or FeatureConfig())
        names = panel.tradable
        returns = panel.session_returns()[names]
        embedded = self.embedder_.embed(panel)
        excluded = ineligible(returns, panel.bars_since_last(), embedded.complete, config, panel.members())
        eligible = [name for name in names if name not in excluded]
        if not eligible:
            return self._all_cash(asof, excluded)
        embeddings = embedded.rows(eligible)
        self.clusterer.fit(embeddings.to_numpy())
        labels = pd.Series(self.clusterer.labels_, index=embeddings.index)
        sharpe = self._sharpe(returns[eligible], config)
        selected = top_sharpe_per_cluster(sharpe, labels, config.per_cluster)
        notes = []
        if len(eligible) < self.clusterer.n_clusters:
            notes.append(
                f"{len(eligible)} eligible assets are fewer than the {self.clusterer.n_clusters} clusters asked for: "
                "each is its own cluster"
            )
        return Decision(
            asof=asof,
            weights=self.allocate(returns, selected),
            labels=labels,
            sharpe=sharpe,
            selected=selected,
            embeddings=embeddings,
            diagnostics={
                "excluded": excluded,
                "notes": notes,
                "linkage": self.clusterer.linkage_,
                "uncertainty": None if embedded.uncertainty is None else embedded.uncertainty[eligible],
            },
        )

    def _sharpe(self, returns: pd.DataFrame, config: SelectionConfig) -> pd.Series:
        return ranking_sharpe(returns, config, self.cash, self.train_span_)

    @staticmethod
    def _all_cash(asof: pd.Timestamp, excluded: dict[str, str]) -> Decision:
        empty = pd.Series(dtype=float)
        return Decision(
            asof=asof,
            weights=empty,
            labels=pd.Series(dtype=int),
            sharpe=empty,
            selected=[],
            embeddings=pd.DataFrame(),
            diagnostics={
                "excluded": excluded,
                "notes": ["no asset is eligible: all in cash"],
                "linkage": np.empty((0, 4)),
                "uncertainty": None,
            },
        )
