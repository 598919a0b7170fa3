"""Portfolios drawn by lot whose rules look at what they hold: decided on as they go, by the strategy's own rule.

As in ``engine.evidence.luck``: *random picks* keep the clusters and draw by lot who is best in them, which is to deal
the Sharpe ratios of a cluster's names out anew; *random partitions* keep the ratios and deal the names out anew. All
that follows (who is kept, which clusters are left out, what is worth trading) is what it is for the strategy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from clusterfolio.engine.trading.vectorised import Accounts
from clusterfolio.feeds.panel import Panel
from clusterfolio.strategies.holding import Group, Holding, Outlook
from clusterfolio.strategies.policy import Decision, PortfolioState
from clusterfolio.strategies.risk.config import RiskConfig
from clusterfolio.strategies.risk.rules import unscaled

#: ``(groups, n, rng) -> groups`` of ``n`` accounts: an outlook's clusters dealt out by lot.
Deal = Callable[[list[Group], int, np.random.Generator], list[Group]]


def as_they_are(groups: list[Group], n: int, rng: np.random.Generator) -> list[Group]:
    """The strategy's own clusters, ranked as it ranks them."""
    return groups


def picks_by_lot(groups: list[Group], n: int, rng: np.random.Generator) -> list[Group]:
    """The same clusters, their Sharpe ratios dealt out anew among their members."""
    return [(members, rng.permuted(np.repeat(scores, n, axis=0), axis=1)) for members, scores in groups]


def partitions_by_lot(groups: list[Group], n: int, rng: np.random.Generator) -> list[Group]:
    """Clusters of the same sizes that all names are dealt out to anew."""
    if not groups:
        return []
    members, scores = (np.concatenate([group[part] for group in groups], axis=1)[0] for part in (0, 1))
    ratios = np.empty(members.max() + 1)
    ratios[members] = scores
    order = rng.permuted(np.repeat(members[None], n, axis=0), axis=1)
    edges = np.cumsum([group[0].shape[1] for group in groups])[:-1]
    dealt = (np.sort(part, axis=1) for part in np.split(order, edges, axis=1))  # of equal ratios the first name
    return [(part, ratios[part]) for part in dealt]


class Decided:
    """What portfolios drawn by lot are to hold (``engine.trading.vectorised.Chooser``).

    Args:
        deal: how the clusters are drawn.
        decisions: with ``labels`` and ``sharpe`` of every eligible asset.
        holding_on: the strategy's rule on a day.
        risk: rules that scale what is held, where a guard looks at these portfolios.
    """

    def __init__(
        self,
        deal: Deal,
        panel: Panel,
        decisions: Sequence[Decision],
        holding_on: Callable[[pd.Timestamp], Holding],
        n: int,
        random_state: int = 0,
        risk: RiskConfig | None = None,
    ):
        self.deal = deal
        self.panel = panel
        self.decisions = decisions
        self.holding_on = holding_on
        self.n = n
        self.random_state = random_state
        self.risk = risk or RiskConfig()
        self._outlooks: dict[int, Outlook] = {}

    def __len__(self) -> int:
        return self.n

    def choose(self, number: int, rows: slice, accounts: Accounts) -> tuple[np.ndarray, np.ndarray]:
        """See ``Chooser``."""
        outlook, day = self.outlook(number), self.decisions[number].asof
        n = rows.stop - rows.start
        if not outlook.names:
            return np.empty((n, 0), dtype=np.int64), np.empty((n, 0))
        rng = np.random.default_rng([self.random_state, day.toordinal(), self.deal is picks_by_lot, rows.start])
        columns = self.panel.symbols.get_indexer(outlook.names)
        held = accounts.held()[:, columns]
        if accounts.memory:  # of one account
            state = PortfolioState(pd.Series(held[0], outlook.names), memory=accounts.memory)
            held = unscaled(state, self.risk).weights.to_numpy()[None]
        found = self.holding_on(day).choose(outlook, self.deal(outlook.groups(), n, rng), held)
        return np.where(found.picks < 0, -1, columns[found.picks]), found.weights

    def outlook(self, number: int) -> Outlook:
        """What was known at a decision; the same for all portfolios."""
        if number not in self._outlooks:
            decision = self.decisions[number]
            returns = self.panel.session_returns().loc[: decision.asof]
            assets = self.panel.assets
            self._outlooks[number] = self.holding_on(decision.asof).outlook(
                returns, assets, decision.sharpe, decision.labels, assets["asset_class"], decision.trust
            )
        return self._outlooks[number]
