"""The weights of many accounts' picks at one decision: what ``Allocator`` gives each, as far as that goes at once."""

from __future__ import annotations

import numpy as np
import pandas as pd

from clusterfolio.strategies.allocation import ALONE, Allocator, Picks


def weights_of(picks: np.ndarray, names: list[str], about: Picks, allocate: Allocator) -> np.ndarray:
    """The weights of each row of picks, ``(n_accounts, n_slots)``; 0 where a slot is empty.

    Where a method weighs names in proportion to a figure of each alone, one call tells them all; else it is called once
    a row.

    Args:
        picks: positions in ``names``, -1 = an empty slot, the empty ones last.
        about: what an allocator is shown; its ``selected`` is not looked at.
    """
    found, filled = np.zeros(picks.shape), (picks >= 0).sum(axis=1)
    for count in np.unique(filled[filled > 0]):  # caps look at how many names there are
        rows = filled == count
        found[rows, :count] = _of_full_rows(picks[rows, :count], names, about, allocate)
    return found


def _of_full_rows(picks: np.ndarray, names: list[str], about: Picks, allocate: Allocator) -> np.ndarray:
    kinds = about.kinds(names)[picks]
    if allocate.name == "equal":
        return allocate.cap(np.full(picks.shape, 1.0 / picks.shape[1]), kinds)

    def picked(chosen: list[str]) -> Picks:
        return Picks(about.returns, chosen, about.sharpe, about.classes, about.labels)

    if allocate.name in ALONE:
        chosen = allocate.uncapped(picked(names)).to_numpy()[picks]
        together = chosen.sum(axis=1, keepdims=True)
        weights = chosen / np.where(together > 0, together, 1.0)
        first = allocate.uncapped(picked([names[at] for at in picks[0]])).to_numpy()
        if np.allclose(first, weights[0], rtol=1e-9, atol=0.0):
            return allocate.cap(weights, kinds)
    every = pd.Index(names, dtype=object)
    return np.array([allocate(picked(list(every[row]))).weights.to_numpy() for row in picks])
