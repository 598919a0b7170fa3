"""A name is left when it behaves otherwise than when it was bought: its embedding has moved further than is usual.

Both embeddings, of the entry and of now, come from the encoder that is in charge now, so they lie in the same axes
whatever was trained in between. What is usual is measured on that encoder's training span: the distances that the
embedding of an asset moves within ``REACH`` sessions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import Panel
from clusterfolio.models.windows import make_windows
from clusterfolio.strategies.embedding import latest_windows

if TYPE_CHECKING:
    from clusterfolio.feeds.features import Features
    from clusterfolio.models.encoder import Encoder

#: Sessions within which moves are measured on the training span, and from one day looked at there to the next.
REACH, STEP = 63, 10

#: Panel rows in which a window of so many bars is looked for, per bar, and a margin.
ROWS_PER_BAR, MARGIN = 2, 20


class EmbeddingStop:
    """The rule, for one fitted encoder; it remembers the embeddings of days that it has looked at.

    Args:
        encoder: fitted.
        span: first and last day of its training.
        quantile: of the moves on that span, above which a name is left.
    """

    def __init__(self, encoder: Encoder, span: tuple[pd.Timestamp, pd.Timestamp], quantile: float):
        self.encoder = encoder
        self.span = span
        self.quantile = quantile
        self._known: dict[tuple[int, pd.Timestamp], tuple[np.ndarray, np.ndarray]] = {}
        self._limit: dict[int, tuple[np.ndarray, float]] = {}

    def __call__(self, panel: Panel, entries: Mapping[str, pd.Timestamp]) -> dict[str, str]:
        """Why names are to be left at the close of the panel's last day, by symbol; the others are not named.

        Args:
            panel: with features; it reaches back to the training span.
            entries: the day on which each name was bought.
        """
        limit, now = self.limit(panel), self.embed(panel, panel.dates[-1])
        reasons = {}
        for name, day in entries.items():
            at = panel.symbols.get_loc(name)
            moved = float(np.linalg.norm(now[at] - self.embed(panel, day)[at]))
            if moved > limit:  # never for NaN: there is no window to look at
                reasons[name] = f"embedding stop, {moved:.2f} > {limit:.2f}"
        return reasons

    def limit(self, panel: Panel) -> float:
        """The distance above which a name is left."""
        origin = origin_of(panel)
        if id(origin) not in self._limit:
            moves = self.usual_moves(panel)
            found = float(np.quantile(moves, self.quantile)) if len(moves) else np.inf
            self._limit[id(origin)] = origin, found
        return self._limit[id(origin)][1]

    def usual_moves(self, panel: Panel) -> np.ndarray:
        """Distances between an asset's embeddings on days of the training span, at most ``REACH`` sessions apart."""
        sessions = panel.sessions[(panel.sessions >= self.span[0]) & (panel.sessions <= self.span[1])][::STEP]
        embedded = [self.embed(panel, day)[panel.assets["tradable"].to_numpy(dtype=bool)] for day in sessions]
        apart = range(1, REACH // STEP + 1)
        pairs = [(one, one + gap) for gap in apart for one in range(len(embedded) - gap)]
        moves = [np.linalg.norm(embedded[two] - embedded[one], axis=1) for one, two in pairs]
        found = np.concatenate(moves) if moves else np.empty(0)
        return found[np.isfinite(found)]

    def embed(self, panel: Panel, day: pd.Timestamp) -> np.ndarray:
        """Every asset's newest window at the close of a day, ``(n_assets, embed_dim)``; NaN where it has none."""
        origin = origin_of(panel)  # kept beside its answer: no other table can come to bear its identity
        key = id(origin), day
        if key not in self._known:
            self._known[key] = origin, self._embed(panel, day)
        return self._known[key][1]

    def _embed(self, panel: Panel, day: pd.Timestamp) -> np.ndarray:
        features, lookback = _features(panel), self.encoder.lookback
        last = int(panel.dates.searchsorted(day, side="right"))
        rows = slice(max(0, last - ROWS_PER_BAR * lookback - MARGIN), last)
        windows = make_windows(
            features.values[rows], features.observed[rows], lookback,
            exog=None if panel.exog is None else panel.exog.iloc[rows], static=panel.assets,
        )  # fmt: skip
        picked = latest_windows(windows, len(panel.symbols), np.array([rows.stop - rows.start - 1]))[:, 0]
        there = picked >= 0
        if not there.any():
            return np.full((len(panel.symbols), 1), np.nan)
        mean = self.encoder.transform(windows.take(picked[there]))
        found = np.full((len(panel.symbols), mean.shape[1]), np.nan)
        found[there] = mean
        return found


def _features(panel: Panel) -> Features:
    if panel.features is None:
        raise ValueError("panel: it has no features, which the embedding stop looks at")
    return panel.features


def origin_of(panel: Panel) -> np.ndarray:
    """The table of features that a panel cut at a day is a view of."""
    values = _features(panel).values
    return values if values.base is None else values.base
