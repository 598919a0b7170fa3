"""Who is picked of a cluster when what is held there already has a head start: the cost of exchanging it.

Clusters are drawn anew at each decision, so there is none that lasts; a name that is held is the incumbent of the
cluster that it lies in now. Where several are held in one, the better ones are its incumbents.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def picked(scores: np.ndarray, held: np.ndarray, k: int, worth: ArrayLike, cost: np.ndarray) -> np.ndarray:
    """Which members of a cluster are picked, for any number of accounts at once, bool ``(n, n_members)``.

    The best ``k`` held names stay, and the best others fill what is free. Then the worst of those that stay is left for
    the best name without a place if that is worth more than it costs, and so on.

    Args:
        scores: what is ranked by, ``(n, n_members)``; NaN is never picked; of equal ones the first.
        held: which are held, same shape; nothing held = the best ``k`` are picked.
        k: picks of a cluster.
        worth: what one point of score brings while a pick is held, as a fraction of its value; ``(n, 1)`` or a number.
        cost: of selling or buying each, one way, same unit; broadcasts against ``scores``.

    >>> scores, held = np.array([[1.0, 1.2, 3.0]]), np.array([[True, False, False]])
    >>> picked(scores, held, 1, 0.01, np.full(3, 0.005))  # 2.0 * 0.01 > 0.005 + 0.005
    array([[False, False,  True]])
    >>> picked(scores, held, 1, 0.01, np.full(3, 0.02))
    array([[ True, False, False]])
    """
    held = held & np.isfinite(scores)
    others = ~held & np.isfinite(scores)
    k = min(k, scores.shape[1])
    staying, waiting = (_best(np.where(group, scores, np.nan), k) for group in (held, others))
    n_staying, n_waiting = (np.minimum(group.sum(axis=1), k) for group in (held, others))
    free = k - n_staying
    chosen = np.zeros(scores.shape, dtype=bool)
    rank = np.arange(k)
    for places, taken in ((staying, n_staying), (waiting, np.minimum(free, n_waiting))):
        rows, columns = np.nonzero(rank < taken[:, None])
        chosen[rows, places[rows, columns]] = True
    worth, cost = np.broadcast_to(worth, (len(scores), 1))[:, 0], np.broadcast_to(cost, scores.shape)
    going = np.ones(len(scores), dtype=bool)
    for step in range(k):
        going &= (n_staying - 1 - step >= 0) & (free + step < n_waiting)
        rows = np.flatnonzero(going)
        if not len(rows):
            break
        out, comes = staying[rows, n_staying[rows] - 1 - step], waiting[rows, free[rows] + step]
        gain = worth[rows] * (scores[rows, comes] - scores[rows, out])
        better = gain > cost[rows, out] + cost[rows, comes]
        chosen[rows[better], out[better]], chosen[rows[better], comes[better]] = False, True
        going[rows[~better]] = False
    return chosen


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions of the ``k`` highest of each row, best first; what is NaN comes last."""
    if k == 1:
        return np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1)[:, None]
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]
