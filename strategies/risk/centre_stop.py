"""A name is left when it no longer behaves as its cluster does: its embedding lies too far from the others' middle.

The others are those that were in its cluster at the last decision; where they are is looked at anew, so that a cluster
may move as a whole. Their middle is the median, coordinate by coordinate: one that runs away does not drag it along.
All embeddings are today's encoder's, in the same axes. What is usual is measured on that encoder's training span, of
clusters as they were drawn at its end: how far names lay from the middle of the others of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import Panel
from clusterfolio.strategies.risk.embedding_stop import STEP, EmbeddingStop, origin_of


class CentreStop:
    """The rule, for one fitted encoder.

    Args:
        embeddings: embeds the assets on a day, and knows the training span.
        labels_on: the clusters at the close of a panel's last day, by symbol.
        quantile: of the distances on the training span, above which a name is left.
    """

    def __init__(self, embeddings: EmbeddingStop, labels_on: Callable[[Panel], pd.Series], quantile: float):
        self.embeddings = embeddings
        self.labels_on = labels_on
        self.quantile = quantile
        self._limit: dict[int, tuple[np.ndarray, float]] = {}

    def peers(self, panel: Panel, names: Sequence[str]) -> dict[str, list[str]]:
        """The others of each name's cluster, as it is drawn at the close of the panel's last day."""
        labels = self.labels_on(panel)
        members = {label: list(rows.index) for label, rows in labels.groupby(labels)}
        return {name: [one for one in members[labels[name]] if one != name] for name in names if name in labels.index}

    def __call__(self, panel: Panel, peers: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Why names are to be left at the close of the panel's last day, by symbol; the others are not named.

        Args:
            panel: with features; it reaches back to the training span.
            peers: of each name that is held, the others of its cluster; who has none is not judged.
        """
        limit, now = self.limit(panel), self.embeddings.embed(panel, panel.dates[-1])
        reasons = {}
        for name, others in peers.items():
            rows = [panel.symbols.get_loc(one) for one in (name, *others) if one in panel.symbols]
            away = from_the_others(now[rows], np.zeros(len(rows)), only=0)[0]
            if away > limit:  # never for NaN: there is no window to look at
                reasons[name] = f"centre stop, {away:.2f} > {limit:.2f}"
        return reasons

    def limit(self, panel: Panel) -> float:
        """The distance above which a name is left."""
        origin = origin_of(panel)
        if id(origin) not in self._limit:
            usual = self.usual_distances(panel)
            self._limit[id(origin)] = origin, float(np.quantile(usual, self.quantile)) if len(usual) else np.inf
        return self._limit[id(origin)][1]

    def usual_distances(self, panel: Panel) -> np.ndarray:
        """How far names lay from the middle of the others of their cluster, on days of the training span."""
        first, last = self.embeddings.span
        labels = self.labels_on(panel.until(last))
        days = panel.sessions[(panel.sessions >= first) & (panel.sessions <= last)][::STEP]
        columns = panel.symbols.get_indexer(labels.index)
        found = [from_the_others(self.embeddings.embed(panel, day)[columns], labels.to_numpy()) for day in days]
        usual = np.concatenate(found) if found else np.empty(0)
        return usual[np.isfinite(usual)]


def from_the_others(embeddings: np.ndarray, labels: np.ndarray, only: int | None = None) -> np.ndarray:
    """Distance of each row from the median of the other rows of its cluster, ``(n,)``; NaN where there is none.

    Args:
        embeddings: ``(n, n_dims)``, NaN where an asset has no window; ``labels``: the cluster of each.
        only: the one row asked for; the others' are NaN.

    >>> from_the_others(np.array([[0.0], [1.0], [3.0], [9.0]]), np.array([0, 0, 0, 1]))
    array([2. , 0.5, 2.5, nan])
    """
    known = np.isfinite(embeddings).all(axis=1)
    found = np.full(len(embeddings), np.nan)
    for row in range(len(embeddings)) if only is None else [only]:
        others = known & (labels == labels[row])
        others[row] = False
        if known[row] and others.any():
            found[row] = np.linalg.norm(embeddings[row] - np.median(embeddings[others], axis=0))
    return found
