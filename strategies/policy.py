"""What to hold: a policy is fitted on a panel and asked, date by date, for a decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import pandas as pd

from clusterfolio.feeds.panel import Panel


@dataclass(frozen=True)
class PortfolioState:
    """What is held when a decision is asked for.

    Attributes:
        weights: fraction of the portfolio's value by symbol, held names only.
        cash: fraction in cash.
        entries: day each held name was bought.
    """

    weights: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))
    cash: float = 1.0
    entries: dict[str, pd.Timestamp] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What to hold from the next open on, decided on the close of ``asof``.

    Attributes:
        weights: target fraction of the portfolio's value by symbol, selected names only; sums to at most 1.
        labels: cluster by symbol, for every asset that was clustered.
        sharpe: the Sharpe ratio the selection used, by symbol, same index as ``labels``.
        selected: the names picked, in cluster order.
        embeddings: the rows that were clustered, of unit length, ``(n_assets, n_dims)``, same index as ``labels``.
        diagnostics: ``excluded`` (symbol -> why it could not be held), ``notes`` (sentences for the report),
            ``linkage`` (scipy's linkage matrix over the rows of ``embeddings``), ``uncertainty`` (mean variance of the
            newest window's embedding by symbol, same index as ``labels``; None where the encoder states none).
    """

    asof: pd.Timestamp
    weights: pd.Series
    labels: pd.Series
    sharpe: pd.Series
    selected: list[str]
    embeddings: pd.DataFrame
    diagnostics: dict


class Policy(Protocol):
    """Anything with these two methods can be traded by ``RebalanceStrategy``."""

    def fit(self, panel: Panel, start: pd.Timestamp | None = None) -> Policy:
        """Learn from the panel, whose last row is the last day of the training span."""

    def decide(self, panel: Panel, state: PortfolioState) -> Decision:
        """What to hold after the close of the panel's last day."""
