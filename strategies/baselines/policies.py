"""Rules as policies.

Who is eligible is not decided here anew: a ``Baseline`` asks its ``candidates``, either the decisions of the strategy
it is compared with (``Recorded``), or everything that trades where that strategy states no candidates (``Listed``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import pandas as pd

from clusterfolio.feeds.panel import Panel
from clusterfolio.strategies.allocation import Allocator
from clusterfolio.strategies.baselines.rules import YEAR, Choice, Rule, View
from clusterfolio.strategies.policy import Decision, PortfolioState
from clusterfolio.strategies.selection import SelectionConfig, ranking_sharpe

#: Sessions before a view's first from which a price is carried into it.
MARGIN = 60


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


# As policies -----------------------------------------------------------------------------------------------------


class Recorded:
    """The candidates of decisions that were made: the very assets, Sharpe ratios and clusters of a strategy."""

    def __init__(self, decisions: Iterable[Decision]):
        self.by_day = {decision.asof: decision for decision in decisions}

    def __call__(self, panel: Panel) -> Candidates:
        """The candidates of the decision made on the panel's last day."""
        asof = panel.dates[-1]
        if asof not in self.by_day:
            raise ValueError(f"panel: it ends on {asof.date()}, on which nothing was decided")
        decision = self.by_day[asof]
        return Candidates(decision.sharpe, decision.labels, decision.excluded)


class Listed:
    """The candidates where a strategy states none: every name of the universe that still trades.

    Args:
        selection: says after how many sessions without a bar a name trades no more, and how its Sharpe ratio is taken.
        cash: daily return of cash by day; None = 0.
    """

    def __init__(self, selection: SelectionConfig, cash: pd.Series | None = None):
        self.selection = selection
        self.cash = cash

    def __call__(self, panel: Panel) -> Candidates:
        """Who trades, is a member and has a record."""
        silent = panel.bars_since_last()[panel.tradable]
        trading = (silent <= self.selection.max_stale_sessions) & panel.members()[panel.tradable]
        names = list(silent.index[trading])
        returns = recent_returns(panel, names, self.selection.sharpe_sessions)
        gone = dict.fromkeys(silent.index[~trading], "no member of the universe, or no bar for some sessions")
        trailing = replace(self.selection, sharpe_span="trailing")
        return Candidates(ranking_sharpe(returns, trailing, self.cash), None, gone)


class Baseline:
    """A rule as a policy: nothing to fit, and what is held does not matter.

    Args:
        rule: one of ``RULES``, or a function of the same shape.
        candidates: ``panel -> Candidates``.
        span: sessions of returns that a rule is shown.
        n_clusters, per_cluster, names_in_all, allocate: see ``View``.
        random_state: of the rules that draw lots; every date draws its own.
    """

    def __init__(
        self,
        rule: Rule,
        candidates: Callable[[Panel], Candidates],
        span: int = 2 * YEAR,
        n_clusters: int = 20,
        per_cluster: int = 1,
        names_in_all: int = 0,
        allocate: Allocator | None = None,
        random_state: int = 0,
    ):
        self.rule = rule
        self.candidates = candidates
        self.span = span
        self.n_clusters = n_clusters
        self.per_cluster = per_cluster
        self.names_in_all = names_in_all
        self.allocate = allocate
        self.random_state = random_state

    def fit(self, panel: Panel, start: pd.Timestamp | None = None) -> Baseline:
        """Nothing to learn."""
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
            names_in_all=self.names_in_all,
            allocate=self.allocate or Allocator(),
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
            excluded=found.excluded,
        )


def recent_returns(panel: Panel, names: list[str], sessions: int) -> pd.DataFrame:
    """The last rows of ``panel.session_returns()[names]``, without computing the others.

    An asset that had no bar for ``MARGIN`` sessions before the first of them counts as listed when it trades again.
    """
    first = max(0, len(panel.sessions) - sessions - 1)
    start = panel.dates.searchsorted(panel.sessions[max(0, first - MARGIN)])
    closes = panel.close.iloc[start:][names].ffill().reindex(panel.sessions[first:], method="ffill")
    return closes.pct_change(fill_method=None).iloc[1:]
