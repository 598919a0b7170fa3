"""Limits on single names and on asset classes, applied to weights after the allocator."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

#: A name to which the allocator gave nothing takes part in what is left over with this part of the largest weight.
SPARE = 1e-9

#: Halvings of the interval in which the scale lies; each weight is then known to the last digits of a double.
STEPS = 100


def capped(weights: ArrayLike, classes: ArrayLike, name_cap: float, class_cap: float) -> np.ndarray:
    """Weights with no name above ``name_cap`` and no class above ``class_cap``; they sum to 1 where that can be.

    What a cap takes goes to the other names in the proportions that the allocator gave them (all weights grow by one
    factor, and stop at their caps), and only where these are full to names that it gave nothing, equally. What no name
    may take stays cash. A row without any weight stays so.

    Args:
        weights: at least 0, ``(n_names,)`` or ``(n_portfolios, n_names)``; each row counts relative to its sum.
        classes: of the same shape, numbers from 0 on; -1 = of no class that counts, and so without a class's cap.
        name_cap, class_cap: fractions of the portfolio; 1 = no cap.

    >>> capped([0.9, 0.08, 0.02], [0, 1, 1], 0.5, 1.0).round(3)
    array([0.5, 0.4, 0.1])
    >>> capped([0.9, 0.08, 0.02], [0, 1, 1], 0.5, 0.3).round(3)  # 0.4 stays cash
    array([0.3 , 0.24, 0.06])
    """
    given, kinds = np.atleast_2d(np.asarray(weights, dtype=float)), np.atleast_2d(np.asarray(classes))
    if given.shape != kinds.shape:
        raise ValueError(f"classes: got shape {kinds.shape}, expected that of weights, {given.shape}")
    total = given.sum(axis=1, keepdims=True)
    share = given / np.where(total > 0, total, 1.0)
    found = _filled(share, kinds, name_cap, class_cap)
    short = (found.sum(axis=1) < 1.0 - SPARE) & (total[:, 0] > 0) & (share == 0).any(axis=1)
    if short.any():
        some = share[short]
        some = np.where(some > 0, some, SPARE * some.max(axis=1, keepdims=True))
        found[short] = _filled(some, kinds[short], name_cap, class_cap)
    return found[0] if np.ndim(weights) == 1 else found


def _filled(share: np.ndarray, kinds: np.ndarray, name_cap: float, class_cap: float) -> np.ndarray:
    """Every row scaled up as far as the caps allow, and to a sum of 1 at most."""
    smallest = np.where(share > 0, share, np.inf).min(axis=1)
    top = np.where(np.isfinite(smallest), np.maximum(1.0, name_cap / smallest), 1.0)
    limits = np.repeat(top[:, None], share.shape[1], axis=1)  # the scale at which a name's class is full
    if class_cap < 1.0:
        for kind in range(kinds.max(initial=-1) + 1):
            member = kinds == kind
            scale = _scale(np.where(member, share, 0.0), top, limits, name_cap, class_cap)
            limits = np.where(member, scale[:, None], limits)
    return _grown(share, _scale(share, top, limits, name_cap, 1.0), limits, name_cap)


def _grown(share: np.ndarray, scale: np.ndarray, limits: np.ndarray, name_cap: float) -> np.ndarray:
    return np.minimum(share * np.minimum(scale[:, None], limits), name_cap)


def _scale(share: np.ndarray, top: np.ndarray, limits: np.ndarray, name_cap: float, total: float) -> np.ndarray:
    """The largest factor at which each row sums to no more than ``total``, by bisection."""
    low, high = np.zeros(len(share)), top.copy()
    for _ in range(STEPS):
        middle = (low + high) / 2
        over = _grown(share, middle, limits, name_cap).sum(axis=1) > total
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    return low
