"""From clusters to weights: rank, pick, weigh; the rule that a strategy and the random portfolios beside it share."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from clusterfolio.feeds.panel import Panel
from clusterfolio.strategies.allocation import Allocator, Picks
from clusterfolio.strategies.policy import Clusters, Held, PortfolioState
from clusterfolio.strategies.selection import SelectionConfig, ranking_sharpe, top_sharpe_per_cluster


@dataclass(frozen=True)
class Holding:
    """How clusters become weights.

    Attributes:
        selection: who wins a cluster.
        allocate: what the names picked are weighed by.
        cash: daily return of cash by day, each known on its day; None = 0.
        train_span: first and last day of the training, for ``selection.sharpe_span = "training"``.
    """

    selection: SelectionConfig
    allocate: Allocator
    cash: pd.Series | None = None
    train_span: tuple[pd.Timestamp, pd.Timestamp] | None = None

    def hold(self, clusters: Clusters, panel: Panel, state: PortfolioState) -> Held:
        """What these clusters come to at the close of the panel's last day.

        Args:
            clusters: of that day, or of an earlier one: who wins in them is decided on the panel.
            state: what is held; the rules of today do not look at it.
        """
        returns = panel.session_returns()[panel.tradable]
        sharpe = self.rank(returns[list(clusters.labels.index)])
        selected = top_sharpe_per_cluster(sharpe, clusters.labels, self.selection.per_cluster)
        found = self.allocate(Picks(returns, selected, sharpe, clusters.classes, clusters.labels))
        return Held(found.weights, sharpe, selected, found.notes)

    def rank(self, returns: pd.DataFrame) -> pd.Series:
        """What winners are chosen by, by symbol; returns at the sessions up to now, ``(n_sessions, n_assets)``."""
        return ranking_sharpe(returns, self.selection, self.cash, self.train_span)
