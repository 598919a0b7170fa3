"""From clusters to weights: rank, pick, weigh; the rule that a strategy and the random portfolios beside it share.

Everything that depends on what an account holds (who is kept, what is not worth trading) is worked out for any number
of accounts at once: a strategy is one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR, Panel
from clusterfolio.models.promise import expected_correlation
from clusterfolio.strategies.allocation import Allocator, Picks
from clusterfolio.strategies.incumbents import picked
from clusterfolio.strategies.joint import joint_picks
from clusterfolio.strategies.many import weights_of
from clusterfolio.strategies.no_trade import banded, half_width
from clusterfolio.strategies.orders import ROUNDING
from clusterfolio.strategies.policy import Clusters, Held, PortfolioState
from clusterfolio.strategies.reasons import why_held
from clusterfolio.strategies.selection import SelectionConfig, annual_volatility, ranking_sharpe, ranking_span
from clusterfolio.strategies.shrinkage import Shrunk, mean_correlation, shrunk

#: A cluster for any number of accounts: positions of its members among the names, and what each account ranks them by,
#: ``(1 or n_accounts, n_members)`` each.
Group = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Frictions:
    """What stands between a decision and its trades.

    Attributes:
        costs: scale of the commission and half spread that ``Panel.assets`` states; 0 = trading is free.
        cash_buffer: fraction of the value kept in cash: a weight of 1 buys that much less.
    """

    costs: float = 1.0
    cash_buffer: float = 0.0


@dataclass(frozen=True)
class Outlook:
    """What is known at a decision, the same for every account; of names in the order of the alphabet.

    Attributes:
        names: that may be held and have a Sharpe ratio, ``(n_names,)``.
        sharpe, labels: what is ranked by, and the cluster of each, ``(n_names,)``.
        picks: what an allocator is shown, without picks.
        cost: of trading each, one way, as a fraction of what is traded, ``(n_names,)``.
        volatility: annual, over the sessions of the Sharpe ratio, ``(n_names,)``; zeros where no rule asks.
        belief: James and Stein's view of the Sharpe ratios.
        trust: part of its weight that each keeps where clusters or embeddings are doubtful, ``(n_names,)``.
        alike: squared expected correlations, ``(n_names, n_names)``; None where no rule asks.
    """

    names: list[str]
    sharpe: np.ndarray
    labels: np.ndarray
    picks: Picks
    cost: np.ndarray
    volatility: np.ndarray
    belief: Shrunk
    trust: np.ndarray
    alike: np.ndarray | None = None

    def groups(self) -> list[Group]:
        """The clusters in the order of their labels, ranked as they are."""
        places = [np.flatnonzero(self.labels == label) for label in np.unique(self.labels)]
        return [(at[None], self.sharpe[at][None]) for at in places]


@dataclass(frozen=True)
class Chosen:
    """What some accounts are to hold.

    Attributes:
        picks: positions among the names of an outlook, -1 = an empty slot, ``(n_accounts, n_slots)``.
        weights: fraction of the portfolio's value, same shape.
        targets: what they would be without a no-trade band.
        skipped: by group, which accounts leave it out, ``(n_accounts, n_groups)``.
    """

    picks: np.ndarray
    weights: np.ndarray
    targets: np.ndarray
    skipped: np.ndarray


@dataclass(frozen=True)
class Holding:
    """How clusters become weights.

    Attributes:
        selection: who wins a cluster.
        allocate: what the names picked are weighed by.
        cash: daily return of cash by day, each known on its day; None = 0.
        train_span: first and last day of the training, for ``selection.sharpe_span = "training"``.
        frictions: what trading costs.
    """

    selection: SelectionConfig
    allocate: Allocator
    cash: pd.Series | None = None
    train_span: tuple[pd.Timestamp, pd.Timestamp] | None = None
    frictions: Frictions = field(default_factory=Frictions)

    @property
    def looks_at_the_account(self) -> bool:
        """Whether a rule depends on what is held, or leaves clusters out."""
        config = self.selection
        return bool(config.hysteresis or config.skip_confidence or config.head_start or self.allocate.config.no_trade)

    @property
    def joint(self) -> bool:
        """Whether the picks of all clusters are chosen together."""
        return self.selection.by == "joint"

    @property
    def acts(self) -> bool:
        """Whether more is done than to pick the best of each cluster and to weigh them."""
        return self.looks_at_the_account or self.doubts or self.joint

    @property
    def doubts(self) -> bool:
        """Whether doubtful clusters or embeddings get less weight."""
        return bool(self.allocate.config.membership or self.allocate.config.variance)

    def hold(self, clusters: Clusters, panel: Panel, state: PortfolioState) -> Held:
        """What these clusters come to at the close of the panel's last day.

        Args:
            clusters: of that day, or of an earlier one: who wins in them is decided on the panel.
            state: what is held, before rules that scale it.
        """
        returns = panel.session_returns()[panel.tradable]
        sharpe = self.rank(returns[list(clusters.labels.index)])
        trust = self.trust(clusters)
        outlook = self.outlook(returns, panel.assets, sharpe, clusters.labels, clusters.classes, trust)
        held = state.weights.reindex(outlook.names).fillna(0.0).to_numpy(dtype=float)
        groups = outlook.groups()
        found, notes = self._chosen(outlook, groups, held[None])
        names = [outlook.names[at] for at in found.picks[0]]
        reasons = why_held(outlook, self.selection, groups, found, held) if self.acts else {}
        weights = pd.Series(found.weights[0], index=names)
        return Held(weights, sharpe, names, notes, reasons, trust)

    def rank(self, returns: pd.DataFrame) -> pd.Series:
        """What winners are chosen by, by symbol; returns at the sessions up to now, ``(n_sessions, n_assets)``."""
        return ranking_sharpe(returns, self.selection, self.cash, self.train_span)

    def trust(self, clusters: Clusters) -> pd.Series | None:
        """Part of its weight that each name keeps, by symbol; None = all of it."""
        config = self.allocate.config
        if not self.doubts:
            return None
        kept = pd.Series(1.0, clusters.labels.index)
        if config.membership and clusters.stability is not None:
            kept *= clusters.stability.clip(0.0, 1.0) ** config.membership
        if config.variance and clusters.uncertainty is not None:
            kept *= (clusters.uncertainty.median() / clusters.uncertainty).clip(upper=1.0).fillna(
                1.0
            ) ** config.variance
        return kept

    def outlook(
        self,
        returns: pd.DataFrame,
        assets: pd.DataFrame,
        sharpe: pd.Series,
        labels: pd.Series,
        classes: pd.Series | None,
        trust: pd.Series | None = None,
    ) -> Outlook:
        """What is known at a decision.

        Args:
            returns: at the sessions up to now, columns at least the names.
            assets: as ``Panel.assets``.
            sharpe, labels, classes, trust: by symbol.
        """
        names = sorted(sharpe.index[sharpe.notna()])
        ratios = sharpe[names].to_numpy(dtype=float)
        costs = (assets.loc[names, "commission_bps"] + assets.loc[names, "half_spread_bps"]).to_numpy(dtype=float)
        volatility, belief = np.zeros(len(names)), Shrunk(0.0, 0.0, np.inf)
        if self.selection.hysteresis or self.selection.skip_confidence or self.joint:
            span = ranking_span(returns, self.selection, self.train_span)[names]
            volatility = annual_volatility(span).fillna(0.0).to_numpy()
            sessions = float(span.count().mean()) if names else 0.0
            belief = shrunk(ratios, sessions, mean_correlation(span))
        return Outlook(
            names, ratios, labels[names].to_numpy(), Picks(returns, [], sharpe, classes, labels),
            costs * self.frictions.costs / 1e4, volatility, belief,
            np.ones(len(names)) if trust is None else trust[names].to_numpy(dtype=float),
            self._alike(returns[names]) if self.joint else None,
        )  # fmt: skip

    def _alike(self, returns: pd.DataFrame) -> np.ndarray:
        known = np.log1p(returns.iloc[-self.selection.apart_sessions :].fillna(0.0).to_numpy())
        return expected_correlation(known) ** 2

    def choose(self, outlook: Outlook, groups: Sequence[Group], held: np.ndarray) -> Chosen:
        """What accounts are to hold of these groups.

        Args:
            held: fraction of each account's value by name of the outlook, ``(n_accounts, n_names)``.
        """
        picks, skipped = self._picks(outlook, groups, held)
        weights = weights_of(picks, outlook.names, outlook.picks, self.allocate)
        return self._adjusted(outlook, picks, skipped, weights, held)

    def _chosen(self, outlook: Outlook, groups: Sequence[Group], held: np.ndarray) -> tuple[Chosen, tuple[str, ...]]:
        """The same for one account, with what its allocator has to say."""
        picks, skipped = self._picks(outlook, groups, held)
        names = [outlook.names[at] for at in picks[0]]
        about = outlook.picks
        found = self.allocate(Picks(about.returns, names, about.sharpe, about.classes, about.labels))
        return self._adjusted(outlook, picks, skipped, found.weights.to_numpy()[None], held), found.notes

    def _picks(self, outlook: Outlook, groups: Sequence[Group], held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the names picked, best of a group first, the empty slots last; and which groups are left out."""
        k, config, n = self.selection.per_cluster, self.selection, len(held)
        columns, skipped = [np.empty((n, 0), dtype=np.int64)], []
        groups = [
            (np.broadcast_to(members, (n, members.shape[1])), np.broadcast_to(scores, (n, scores.shape[1])))
            for members, scores in groups
        ]
        together = self._together(outlook, groups, held) if self.joint else None
        for number, (members, scores) in enumerate(groups):
            worth = outlook.belief.kept * outlook.volatility[members].mean(axis=1, keepdims=True)
            has = np.take_along_axis(held, members, axis=1) > 0 if config.hysteresis else np.zeros(scores.shape, bool)
            chosen = (
                picked(scores, has, k, worth * config.hysteresis / SESSIONS_PER_YEAR, outlook.cost[members])
                if together is None
                else members == together[:, number, None]
            )
            best = np.where(chosen, scores, -np.inf)
            out = np.zeros(n, dtype=bool)
            if config.skip_confidence:
                some = chosen.any(axis=1)
                score = np.where(some, best.max(axis=1), outlook.belief.middle)
                out = some & ~(outlook.belief.bound(score, config.skip_confidence) > 0)
            order = np.argsort(-best, axis=1, kind="stable")[:, :k]
            taken = np.take_along_axis(chosen, order, axis=1) & ~out[:, None]
            columns.append(np.where(taken, np.take_along_axis(members, order, axis=1), -1))
            skipped.append(out)
        picks = np.concatenate(columns, axis=1)
        picks = np.take_along_axis(picks, np.argsort(picks < 0, axis=1, kind="stable"), axis=1)
        width = int((picks >= 0).sum(axis=1).max(initial=0))
        return picks[:, :width], np.array(skipped).reshape(len(groups), n).T

    def _together(self, outlook: Outlook, groups: Sequence[Group], held: np.ndarray) -> np.ndarray:
        """Picks chosen together, ``(n_accounts, n_groups)``; -1 where a group is left out."""
        assert outlook.alike is not None
        config = self.selection
        worth = [
            (members, outlook.belief.of(scores) + config.head_start * (np.take_along_axis(held, members, axis=1) > 0))
            for members, scores in groups
        ]
        return joint_picks(worth, config.apart * outlook.alike, config.names)

    def _adjusted(
        self, outlook: Outlook, picks: np.ndarray, skipped: np.ndarray, weights: np.ndarray, held: np.ndarray
    ) -> Chosen:
        """An allocator's weights less what is doubtful, and less trades that do not pay."""
        config = self.allocate.config
        empty, at = picks < 0, np.maximum(picks, 0)
        kinds = np.where(empty, -1, outlook.picks.kinds(outlook.names)[at]) if len(outlook.names) else at
        if self.doubts and weights.size:
            weights = self._trusted(weights, np.where(empty, 0.0, outlook.trust[at]), empty, kinds)
        if config.freed == "cash" and skipped.size:
            wanted = min(self.selection.names or skipped.shape[1], skipped.shape[1])
            weights = weights * (1.0 - skipped.sum(axis=1) / wanted)[:, None]
        targets = weights
        if config.no_trade and weights.size:
            weights = self._banded(outlook, targets, picks, kinds, held)
        return Chosen(picks, weights, targets, skipped)

    def _trusted(self, weights: np.ndarray, trust: np.ndarray, empty: np.ndarray, kinds: np.ndarray) -> np.ndarray:
        kept = weights * trust
        if self.allocate.config.freed == "cash":
            return kept
        before, after = weights.sum(axis=1, keepdims=True), kept.sum(axis=1, keepdims=True)
        grown = kept * before / np.where(after > 0, after, 1.0)
        if self.allocate.has_caps:
            for count in np.unique((~empty).sum(axis=1)):
                rows = (~empty).sum(axis=1) == count
                grown[rows, :count] = self.allocate.cap(grown[rows, :count], kinds[rows, :count])
        return grown

    def _banded(
        self, outlook: Outlook, targets: np.ndarray, picks: np.ndarray, kinds: np.ndarray, held: np.ndarray
    ) -> np.ndarray:
        """Trades to the edge of each name's band only; a weight that stays asks for the very shares that are held."""
        config, has_caps = self.allocate.config, self.allocate.has_caps
        at = np.maximum(picks, 0)
        now = np.where(picks < 0, 0.0, np.take_along_axis(held, at, axis=1))
        now = now / ((1.0 - self.frictions.cash_buffer) * (1.0 - ROUNDING))
        half = half_width(targets, outlook.cost[at], config.no_trade)
        same = (kinds == kinds[:, :1]) | (picks < 0)
        alike = same.all(axis=1, keepdims=True)  # nothing to spread over: see ``Allocator.cap``
        return banded(
            targets, now, half, config.name_cap if has_caps else 1.0, np.where(alike, -1, kinds),
            config.class_cap if has_caps else 1.0,
        )  # fmt: skip
