"""What an agent is shown of the market: a slot per cluster, with the asset it would hold and what is known of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR, Panel

#: Sessions of the trailing returns, and of the volatility they are measured in.
SPANS, VOLATILITY = (21, 63, SESSIONS_PER_YEAR), 63

#: Bounds of what is shown.
MOST = 3.0


@dataclass(frozen=True)
class Slots:
    """The slots of one day.

    Attributes:
        picks: the asset each slot would hold: its cluster's best Sharpe ratio.
        members: the slot of every asset that was clustered, by symbol.
        shown: float64 ``(n_slots, n_features)``.
    """

    picks: list[str]
    members: pd.Series
    shown: np.ndarray


@dataclass(frozen=True)
class Eyes:
    """Scales what is shown; learned on the training span.

    Attributes:
        mean, directions: of the encoder's embeddings: what is taken off, and the strongest directions, each over its
            spread, ``(embed_dim, n_components)``.
        exog_mean, exog_spread: of the market-wide series, ``(n_series,)``; empty where there are none.
    """

    mean: np.ndarray
    directions: np.ndarray
    exog_mean: np.ndarray
    exog_spread: np.ndarray

    @classmethod
    def of(cls, embeddings: np.ndarray, exog: pd.DataFrame | None, components: int) -> Eyes:
        """Learned from embeddings ``(n, embed_dim)`` and the market-wide series of the training days.

        Args:
            components: strongest directions to keep; 0 = all.
        """
        mean = embeddings.mean(axis=0)
        _, spreads, axes = np.linalg.svd(embeddings - mean, full_matrices=False)
        kept = slice(components or None)
        spreads = np.maximum(spreads[kept] / np.sqrt(len(embeddings)), 1e-9)
        axes = axes[kept]
        largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
        axes = axes * np.where(largest < 0, -1.0, 1.0)
        known = np.empty((1, 0)) if exog is None else exog.to_numpy(dtype=float)
        never = np.isnan(known).all(axis=0)
        known = np.where(never, 0.0, known)
        spread = np.nanstd(known, axis=0)
        return cls(mean, (axes / spreads[:, None]).T, np.nanmean(known, axis=0), np.where(spread > 0, spread, 1.0))

    def embeddings(self, rows: np.ndarray) -> np.ndarray:
        """Rows ``(n, embed_dim)`` as they are shown."""
        return np.clip((rows - self.mean) @ self.directions, -MOST, MOST)

    def exog(self, newest: pd.Series | None) -> np.ndarray:
        """The market-wide series of one day as they are shown; 0 where one is not known."""
        if newest is None:
            return np.empty(0)
        scaled = (newest.to_numpy(dtype=float) - self.exog_mean) / self.exog_spread
        return np.clip(np.nan_to_num(scaled, nan=0.0), -MOST, MOST)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: value.tolist() for name, value in vars(self).items()}

    @classmethod
    def from_plain(cls, stored: dict[str, Any]) -> Eyes:
        """What ``plain`` wrote."""
        return cls(**{name: np.asarray(value, dtype=float) for name, value in stored.items()})


def slots_of(panel: Panel, labels: pd.Series, picks: list[str], sharpe: pd.Series) -> tuple[pd.Series, np.ndarray]:
    """Slots numbered in the order of their picks: the slot of each member, and trailing statistics of each.

    Args:
        panel: ends with the day decided on.
        labels: cluster by symbol; ``picks``: a name of each cluster that has one to hold; ``sharpe``: by symbol.

    Returns:
        The slot by symbol, of the members of clusters with a pick, and ``(n_slots, 6)``: the pick's Sharpe ratio, its
        returns over a month, a quarter and a year in units of its volatility, that volatility beside the other picks',
        and the size of the cluster.
    """
    number = {label: slot for slot, label in enumerate(labels[picks])}
    members = labels[labels.isin(number)].map(number)
    returns = np.log1p(panel.session_returns()[picks].iloc[-max(SPANS) :].fillna(0.0)).to_numpy()
    spread = np.maximum(returns[-VOLATILITY:].std(axis=0), 1e-5)
    trends = [returns[-span:].sum(axis=0) / (spread * np.sqrt(span)) for span in SPANS]
    wild = np.log(spread) - np.median(np.log(spread))
    sizes = members.value_counts().reindex(range(len(picks))).to_numpy(dtype=float)
    rows = [sharpe[picks].to_numpy(dtype=float) / 2, *trends, wild, np.log(sizes / sizes.mean())]
    return members, np.clip(np.stack(rows, axis=1), -MOST, MOST)


def centroids(rows: pd.DataFrame, members: pd.Series, n_slots: int) -> np.ndarray:
    """Mean embedding of each slot's members, ``(n_slots, embed_dim)``.

    Args:
        rows: embeddings by symbol; a member without a row does not count.
    """
    known = members[members.index.isin(rows.index)]
    found = rows.loc[known.index].groupby(known.to_numpy()).mean().reindex(range(n_slots))
    return found.fillna(rows.mean()).to_numpy()
