"""The no-trade band: a weight near its target is left alone, since coming nearer is worth less than it costs.

Gerhold, Guasoni, Muhle-Karbe and Schachermayer ("Transaction costs, trading volume, and the liquidity premium", Finance
and Stochastics 18, 2014): an investor of constant relative risk aversion with one risky asset beside cash keeps its
weight within a band around the best one, and trades at its edges no more than is needed to stay inside. Here each name
has its own band, as if the others were cash.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

#: A sum above its limit by so much is one by rounding, for which nothing is traded.
ROUNDING = 1e-8


def half_width(target: ArrayLike, cost: ArrayLike, aversion: float) -> np.ndarray:
    """Half the width of the band, ``(3 / (4 gamma) pi^2 (1 - pi)^2 eps)^(1/3)``: the leading term in the cost.

    Args:
        target: best weight, 0 to 1, any shape.
        cost: of buying or selling, one way, as a fraction of what is traded; the formula's ``eps`` is what a purchase
            and its sale cost together.
        aversion: relative risk aversion; 1 = logarithmic utility.

    >>> float(half_width(0.5, 0.005, 1.0).round(4))
    0.0777
    """
    target = np.asarray(target, dtype=float)
    around = 2.0 * np.asarray(cost, dtype=float)
    return np.cbrt(3.0 / (4.0 * aversion) * np.square(target * (1.0 - target)) * around)


def banded(
    target: np.ndarray,
    held: np.ndarray,
    half: np.ndarray,
    name_cap: float = 1.0,
    kinds: np.ndarray | None = None,
    class_cap: float = 1.0,
) -> np.ndarray:
    """Weights for accounts that trade to the edge of the band only, ``(n, n_slots)``; they sum to at most 1.

    What is inside its band stays as it is, and what is outside goes to the nearer edge. A name that is bought anew
    takes what is missing of the sum of the targets, within its band; the rest is cash. Where all together is more than
    there is, or a class more than its cap, names give way that are furthest above their targets.

    Args:
        target: at least 0, summing to at most 1, under the caps, ``(n, n_slots)``; 0 = none, or not to be held.
        held: weights now, same shape.
        half: half-widths, same shape.
        name_cap, class_cap: largest weight of a name and of a class; ``kinds``: the class of each, same shape, numbers
            from 0 on; -1 = of none that counts.

    >>> target, half = np.array([[0.5, 0.3]]), np.full((1, 2), 0.05)
    >>> banded(target, np.array([[0.52, 0.28]]), half)  # both inside
    array([[0.52, 0.28]])
    >>> banded(target, np.array([[0.60, 0.26]]), half)  # the first to its edge
    array([[0.55, 0.26]])
    >>> banded(target, np.zeros((1, 2)), half)  # bought anew: the targets
    array([[0.5, 0.3]])
    """
    wanted = target > 0
    low = np.where(wanted, np.maximum(target - half, 0.0), 0.0)
    high = np.where(wanted, np.minimum(target + half, np.maximum(name_cap, target)), 0.0)
    found = np.where(wanted, np.clip(held, low, high), 0.0)
    found = _filled(found, np.where(wanted & (held <= 0), high - found, 0.0), target.sum(axis=1))
    if kinds is not None and class_cap < 1.0:
        for kind in range(kinds.max(initial=-1) + 1):
            found = _cut(found, np.where(kinds == kind, found - low, 0.0), target, class_cap, kinds == kind)
    return _cut(found, found - low, target, 1.0, np.ones_like(wanted))


def _filled(weights: np.ndarray, room: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Weights that sum to the total, as far as there is room above them, in proportion to it."""
    missing, most = np.maximum(total - weights.sum(axis=1), 0.0), room.sum(axis=1)
    return weights + np.minimum(missing / np.where(most > 0, most, 1.0), 1.0)[:, None] * room


def _cut(weights: np.ndarray, room: np.ndarray, target: np.ndarray, limit: float, those: np.ndarray) -> np.ndarray:
    """Weights of which ``those`` sum to no more than the limit: the furthest above its target is cut first.

    Args:
        room: by how much each may be cut.
    """
    excess = np.where(those, weights, 0.0).sum(axis=1) - limit
    excess = np.where(excess > ROUNDING, excess, 0.0)
    if not excess.any():
        return weights
    order = np.argsort(np.where(room > 0, target - weights, np.inf), axis=1, kind="stable")
    ordered = np.take_along_axis(room, order, axis=1)
    before = np.cumsum(ordered, axis=1) - ordered
    taken = np.zeros_like(weights)
    np.put_along_axis(taken, order, np.clip(excess[:, None] - before, 0.0, ordered), axis=1)
    return weights - taken
