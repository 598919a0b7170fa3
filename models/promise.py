"""Clusters searched for what is promised of them: names that move together inside, little in common across.

Ward's criterion is the variance around means, which is not what a portfolio is promised. Here labels are moved, asset
by asset, to where a figure of the promise is highest. Nothing is learned and nothing is forecast: the correlations of
the past two years, taken in five ways that agree with next year's (``expected_correlation``), are as good a forecast as
any that was tried, so what there is to gain lies in the objective.

With H the expected correlations, n_k the members of cluster k, S_kl the sum of H over the members of k and of l, and
Q_kl the sum of its squares, the promise of labels is ``gap + 1.5 representation - 2 between``:

- gap: mean of H over pairs inside clusters less that over pairs of different clusters;
- representation: ``sum_k S_kk / n_k / N``, how much of its cluster a member carries;
- between: mean over pairs of clusters of ``Q_kl / (n_k n_l)``, so that every cluster counts the same, and a negative
  correlation as much as a positive one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

#: Weights of representation and of the squared correlation between clusters beside the gap.
REPRESENTATION, BETWEEN = 1.5, 2.0

#: No asset moves into a cluster of this share of all or more (of few clusters: one and a half times its even share).
LARGEST, LARGEST_OF_FEW = 0.25, 1.5

#: Rounds of the search at most, the share of the assets that moves in its last, and what a move has to add.
SWEEPS, SETTLED, LEAST_GAIN = 12, 0.003, 1e-12

#: Days that are summed where markets close at other hours.
SUMMED = 5

#: Deviations (1.4826 x the median size) at which a day's return is cut.
CUT = 4 * 1.4826


def expected_correlation(returns: np.ndarray) -> np.ndarray:
    """What the correlations of the days to come are taken to be, ``(n_assets, n_assets)``, ones on the diagonal.

    The mean of five estimates: over all days; over days cut at four robust deviations, with a half-life of a quarter of
    them; over overlapping sums of five such days (markets that close at other hours); over cut multiples of the
    asset's volatility of the days before (half-life 15 days); over the newer half.

    Args:
        returns: daily log returns ``(n_days, n_assets)``, oldest first, finite: 0 where none is known; the answer has
            their precision.
    """
    return Days.of(returns).expected(np.arange(len(returns)))


@dataclass(frozen=True)
class Days:
    """What ``expected_correlation`` is taken over, by day: a bootstrap draws days, each as it was made among its own.

    Attributes:
        returns, tame, paced: as they come, cut, and in multiples of the volatility of the days before, cut too; each
            ``(n_days, n_assets)``.
        sums: of five tame days, the last of them the row's; those of the first four days are not whole.
    """

    returns: np.ndarray
    tame: np.ndarray
    sums: np.ndarray
    paced: np.ndarray

    @classmethod
    def of(cls, returns: np.ndarray) -> Days:
        """From returns as ``expected_correlation`` takes them."""
        tame, variance = cut(returns), variance_before(returns)
        sums = tame.cumsum(axis=0)
        sums[SUMMED:] -= sums[:-SUMMED].copy()
        paced = np.divide(returns, np.sqrt(variance), out=np.zeros_like(returns), where=variance > 0)
        return cls(returns, tame, sums, cut(paced))

    def expected(self, days: np.ndarray) -> np.ndarray:
        """``expected_correlation`` over these days, rows in the order of time; one that stands twice counts twice."""
        n_days = len(days)
        age = np.arange(n_days)[::-1]
        parts = [
            directions(self.returns[days]),
            directions(self.tame[days], 0.5 ** (age / (n_days / 4))),
            directions(self.sums[days[days >= SUMMED - 1]]),
            directions(self.paced[days]),
            directions(self.returns[days[n_days // 2 :]]),
        ]
        joined = np.vstack(parts)
        return bounded(joined.T @ joined / len(parts))


def variance_before(returns: np.ndarray) -> np.ndarray:
    """The exponentially weighted mean of the squares of the days before each, e-folding time 21 days; the first day,
    which has none before it, is given the second's.

    >>> variance_before(np.array([[2.0], [4.0], [0.0]])).ravel().round(3).tolist()
    [4.0, 4.0, 10.143]
    """
    decay = np.exp(-1 / 21)
    known = returns[:-1] ** 2
    one, falling = np.array([1.0, -decay], dtype=returns.dtype), (1 - decay) / (1 - decay ** np.arange(1, len(returns)))
    mean = lfilter(one[:1], one, known, axis=0) * falling.astype(returns.dtype)[:, None]
    return np.vstack([mean[:1], mean])


def cut(returns: np.ndarray) -> np.ndarray:
    """Columns cut at four robust deviations from 0; one that is 0 on most days is left as it is."""
    bound = CUT * np.median(np.abs(returns), axis=0)
    bound = np.where(bound > 0, bound, np.inf)
    return np.clip(returns, -bound, bound)


def correlation(returns: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Correlation of columns, rows weighted; 0 beside one that does not move, ones on the diagonal."""
    found = directions(returns, weights)
    return bounded(found.T @ found)


def directions(returns: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Columns of which the inner products are the correlations, of length 1; 0 where one does not move."""
    weights = np.ones(len(returns)) if weights is None else weights
    weights = (weights / weights.sum()).astype(returns.dtype)
    centred = (returns - weights @ returns) * np.sqrt(weights)[:, None]
    length = np.linalg.norm(centred, axis=0)
    return centred / np.where(length > 1e-12, length, np.inf)


def bounded(found: np.ndarray) -> np.ndarray:
    """Correlations within their bounds, ones on the diagonal, in place."""
    np.clip(found, -1.0, 1.0, out=found)
    np.fill_diagonal(found, 1.0)
    return found


@dataclass(frozen=True)
class Promise:
    """What labels promise on given correlations."""

    gap: float
    representation: float
    between: float

    @property
    def value(self) -> float:
        """What ``search`` makes as high as it can."""
        return self.gap + REPRESENTATION * self.representation - BETWEEN * self.between


def promise(expected: np.ndarray, labels: np.ndarray) -> Promise:
    """The promise of labels.

    Args:
        expected: correlations ``(n_assets, n_assets)``, ones on the diagonal.
        labels: cluster of each asset, two clusters or more, one of two members or more.

    >>> pairs = np.array([[1.0, 0.8, 0.1], [0.8, 1.0, 0.3], [0.1, 0.3, 1.0]])
    >>> found = promise(pairs, np.array([0, 0, 1]))
    >>> round(found.gap, 3), round(found.representation, 3), round(found.between, 3)
    (0.6, 0.933, 0.05)
    """
    members = np.equal.outer(labels, np.unique(labels)).astype(np.float64)
    n_members, n = members.sum(axis=0), len(labels)
    sums, squares = members.T @ expected @ members, members.T @ expected**2 @ members
    own, pairs = np.trace(sums), (n_members**2).sum()
    means = squares / np.outer(n_members, n_members)
    k = len(n_members)
    return Promise(
        gap=float((own - n) / (pairs - n) - (sums.sum() - own) / (n * n - pairs)),
        representation=float((np.diag(sums) / n_members).sum() / n),
        between=float((means.sum() - np.trace(means)) / (k * (k - 1))),
    )


def search(expected: np.ndarray, labels: np.ndarray, random_state: int = 0) -> np.ndarray:
    """Labels of a higher promise: asset by asset in random order, each to the cluster where the promise is highest.

    In each round only those assets are looked at that a move of their own would have helped when it began.
    No cluster is emptied, and none that holds a quarter of the assets takes another (it may begin with more). It ends
    when a round moves 0.3 % of the assets or fewer, after twelve rounds at most.

    Args:
        expected: correlations ``(n_assets, n_assets)``, symmetric, ones on the diagonal.
        labels: 0 to K - 1, each at least once.

    Returns:
        int64 ``(n_assets,)``, 0 to K - 1; the labels given where there is nothing to move.

    >>> pairs = np.kron(np.eye(5), np.full((2, 2), 0.9)) + 0.1 * np.eye(10)
    >>> search(pairs, np.array([0, 0, 1, 1, 2, 3, 4, 3, 2, 4]))
    array([0, 0, 1, 1, 3, 3, 4, 4, 2, 2])
    """
    labels, rng = np.asarray(labels, dtype=np.int64).copy(), np.random.default_rng(random_state)
    if labels.max() == 0 or labels.max() + 1 == len(labels):
        return labels
    moves = _Moves(expected, labels)
    for _ in range(SWEEPS):
        gains = moves.gains()
        moved = sum(moves.improve(asset) for asset in rng.permutation(len(labels)) if gains[asset] > LEAST_GAIN)
        if moved <= SETTLED * len(labels):
            break
    return moves.labels


class _Moves:
    """Labels and the sums that the promise of every single move follows from, kept up with each move."""

    def __init__(self, expected: np.ndarray, labels: np.ndarray):
        self.labels, self.n = labels, len(labels)
        members = np.eye(labels.max() + 1)[labels]
        self.size = members.sum(axis=0)
        self.expected, self.squared = expected, expected**2
        # Asset to cluster; a move changes whole columns.
        self.to, self.to_squared = (np.asfortranarray(table @ members) for table in (expected, self.squared))
        sums, self.apart = members.T @ self.to, members.T @ self.to_squared
        self.own, self.total = sums.diagonal().copy(), sums.sum()
        np.fill_diagonal(self.apart, 0.0)  # of squares between clusters, not inside them

    def gains(self) -> np.ndarray:
        """What the best move of each asset would add to the promise if it were the only one, ``(n_assets,)``."""
        found = np.zeros(self.n)
        assets = np.flatnonzero(self.size[self.labels] > 1)
        if len(assets):
            values = self._promises(assets, (np.arange(len(assets)), self.labels[assets]))
            found[assets] = values.max(axis=1) - values[np.arange(len(assets)), self.labels[assets]]
        return found

    def improve(self, asset: int) -> bool:
        """Move the asset to the cluster where the promise is highest; whether it moved."""
        home = self.labels[asset]
        if self.size[home] == 1:
            return False
        values = self._promises(asset, home)
        best = int(values.argmax())
        if values[best] <= values[home] + LEAST_GAIN:
            return False
        self._move(asset, home, best)
        return True

    def _promises(self, assets: np.ndarray | int, home: tuple[np.ndarray, np.ndarray] | int) -> np.ndarray:
        """The promise with each of these assets moved alone into each cluster, ``(m, K)``; none is alone in its own.

        The asset is taken out of its own cluster and put into each; -inf where that one is full.

        Args:
            assets: ``(m,)``; or one, whose answer is ``(K,)``.
            home: where their own clusters stand in the answer.
        """
        k, n = len(self.size), self.n
        to, to_squared = self.to[assets].copy(), self.to_squared[assets].copy()
        to[home] -= 1  # itself
        to_squared[home] -= 1
        grown = 2 * to + 1
        size, own = np.empty_like(to), np.empty_like(to)
        size[:], own[:] = self.size, self.own
        size[home] -= 1
        own[home] -= grown[home]
        share, joined = 1 / size, 1 / (size + 1)
        inside = own.sum(axis=-1, keepdims=True) + grown
        pairs = (size * size).sum(axis=-1, keepdims=True) + (2 * size + 1)
        gap = (inside - n) / (pairs - n) - (self.total - inside) / (n**2 - pairs)
        shares = own * share
        representation = (shares.sum(axis=-1, keepdims=True) - shares + (own + grown) * joined) / n
        each = to_squared * share
        reach = each.sum(axis=-1, keepdims=True) - each  # the asset's mean squares with the clusters but this one
        left = to_squared * share[home][..., None]
        left[home] = reach[home]
        others = share @ self.apart - left  # each cluster's with the others, times its size
        means = others * share
        change = (others + reach) * joined - means
        between = (means.sum(axis=-1, keepdims=True) + 2 * change) / (k * (k - 1))
        values = gap + REPRESENTATION * representation - BETWEEN * between
        full = self.size >= max(LARGEST, LARGEST_OF_FEW / k) * n
        if full.any():
            at_home = values[home]
            values[..., full] = -np.inf
            values[home] = at_home
        return values

    def _move(self, asset: int, home: int, into: int) -> None:
        self.labels[asset] = into
        to, to_squared = self.to[asset].copy(), self.to_squared[asset].copy()
        to[home] -= 1
        to_squared[home] -= 1
        self.own[home] -= 2 * to[home] + 1
        self.own[into] += 2 * to[into] + 1
        for cluster, sign in ((home, -1.0), (into, 1.0)):
            self.apart[cluster] += sign * to_squared
            self.apart[:, cluster] += sign * to_squared
            self.apart[cluster, cluster] = 0.0
            self.size[cluster] += sign
            self.to[:, cluster] += sign * self.expected[asset]
            self.to_squared[:, cluster] += sign * self.squared[asset]
