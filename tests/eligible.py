"""The candidates of a strategy by its own rules, where no decision of it is at hand."""

from __future__ import annotations

import pandas as pd

from clusterfolio.feeds.features import FeatureConfig, with_features
from clusterfolio.feeds.panel import Panel
from clusterfolio.strategies.baselines.policies import Candidates
from clusterfolio.strategies.embedding import EmbeddingConfig, PanelEmbedder
from clusterfolio.strategies.selection import SelectionConfig, ineligible, ranking_sharpe


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
        complete = self.embedder.complete(panel)
        excluded = ineligible(returns, panel.bars_since_last(), complete, self.selection, panel.members())
        names = [name for name in panel.tradable if name not in excluded]
        return Candidates(ranking_sharpe(returns[names], self.selection, self.cash, self.train_span), None, excluded)


class _Blank:
    """Stands in for an encoder where only the presence of windows matters."""

    def __init__(self, lookback: int):
        self.lookback = lookback
