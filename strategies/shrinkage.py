"""How much of what sets Sharpe ratios apart is to be believed: James and Stein's estimator, drawn to their mean.

A ratio of one year has a standard error of about 1, more than true ratios differ by. The estimator of James and Stein
(1961), in the form of Efron and Morris ("Data analysis using Stein's estimator", JASA 70, 1975) that draws to the mean,
keeps of each ratio's distance from the mean the part that is more than noise would make. The order stays the same, so
it says nothing about who wins; it says by how much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR

#: Ratios from which the spread tells anything: with three the estimator keeps all of it.
FEWEST = 4


@dataclass(frozen=True)
class Shrunk:
    """What is believed of some Sharpe ratios, all annualised.

    Attributes:
        middle: their mean, which each is drawn to.
        kept: part of each one's distance from it that is believed, 0 to 1.
        error: standard error of a ratio so drawn, the mean's own included.
    """

    middle: float
    kept: float
    error: float

    def of(self, sharpe):
        """Ratios drawn to the mean, of the shape of what is given.

        >>> Shrunk(0.5, 0.1, 0.4).of(np.array([0.5, 2.5]))
        array([0.5, 0.7])
        """
        return self.middle + self.kept * (sharpe - self.middle)

    def bound(self, sharpe, confidence: float):
        """What the true ratio is above with this confidence, one-sided.

        >>> round(float(Shrunk(0.5, 0.1, 0.4).bound(2.5, 0.9)), 3)  # 0.7 - 1.2816 * 0.4
        0.187
        """
        return self.of(sharpe) - NormalDist().inv_cdf(confidence) * self.error


def shrunk(sharpe: np.ndarray, sessions: float, correlation: float) -> Shrunk:
    """James and Stein's view of Sharpe ratios of one span.

    The noise of a ratio is Lo's ("The statistics of Sharpe ratios", 2002): variance ``(1 + SR^2 / 2) / n`` per session.
    What the names share of it (``correlation``) moves all ratios alike and does not set them apart.

    Args:
        sharpe: annualised, ``(n,)``; NaN is left out.
        sessions: returns each is made of.
        correlation: mean over pairs of the correlation of their returns.

    >>> found = shrunk(np.array([2.0, 1.0, 0.0, -1.0, -2.0]), 2520, 0.0)  # noise of about 0.1, a spread of 2.5
    >>> round(found.kept, 4), found.middle
    (0.9799, 0.0)
    """
    known = sharpe[np.isfinite(sharpe)]
    if not len(known) or not sessions > 0:
        return Shrunk(0.0, 0.0, math.inf)
    middle, count = float(known.mean()), len(known)
    per_session = float(np.square(known).mean()) / SESSIONS_PER_YEAR
    noise = (1.0 + per_session / 2.0) * SESSIONS_PER_YEAR / sessions
    apart, spread = noise * (1.0 - correlation), float(np.square(known - middle).sum())
    kept = max(0.0, 1.0 - (count - 3) * apart / spread) if count >= FEWEST and spread > 0 else 0.0
    of_middle = noise * (correlation + (1.0 - correlation) / count)
    return Shrunk(middle, kept, math.sqrt(kept * apart + of_middle))


def mean_correlation(returns: pd.DataFrame) -> float:
    """Mean over all pairs of columns of their correlation, 0 to 1, without a table of all pairs.

    Of columns scaled to a variance of 1 the mean has the variance ``(1 + (n - 1) rho) / n``. A day without a return
    counts as an average one; a column that does not move is left out.

    >>> mean_correlation(pd.DataFrame({"A": [0.01, -0.01, 0.02], "B": [0.02, -0.02, 0.04]}))
    1.0
    """
    values = returns.to_numpy(dtype=float)
    moves = np.nanstd(values, axis=0) > 0 if len(values) else np.zeros(values.shape[1], dtype=bool)
    values = values[:, moves]
    count = values.shape[1]
    if count < 2:
        return 0.0
    scaled = np.nan_to_num((values - np.nanmean(values, axis=0)) / np.nanstd(values, axis=0))
    found = (count * float(scaled.mean(axis=1).var()) - 1.0) / (count - 1)
    return min(max(round(found, 12), 0.0), 1.0)
