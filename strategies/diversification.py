"""How far clusters found on the past diversify the days after: the measure every embedding is judged by.

With ``c_ij`` the correlation of the daily log returns of assets i and j on the days *after* the clusters were drawn:

(a) gap = mean of ``c_ij`` over pairs inside a cluster - mean over pairs of different clusters: higher is better.
(b) between = mean over pairs of clusters of the mean ``c_ij`` between their members, so every cluster counts the same
    whatever its size; also the expected correlation of two assets drawn from two clusters at random. Lower is better.
(c) mean pairwise correlation and effective number of bets of the assets picked, one per cluster.
(d) stability = adjusted Rand index between these clusters and those drawn a year later.

(a), (b) and (c) are also taken on the market's worst days, when correlations rise and diversification is needed. They
read together: one giant cluster and singletons reach a low (b) by putting a few odd assets beside a market that is not
divided at all, which shows in the share of the largest cluster, in (a) and in (c).
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR, Panel

#: Share of sessions an asset must have traded on to be measured, and the daily log return's smallest deviation.
MIN_PRESENT, MIN_STD = 0.98, 1e-5

#: Share of the days that count as the market's worst.
WORST_SHARE = 0.05


def log_returns(panel: Panel) -> pd.DataFrame:
    """Daily log returns at the benchmark's sessions, ``(n_sessions, n_assets)``.

    NaN on a session without a bar and on the one after, where the return of a single day is not known.
    """
    return np.log(panel.close.reindex(panel.sessions)).diff()


def measurable(returns: pd.DataFrame) -> pd.Series:
    """Which columns trade on enough sessions of this span and move, bool by asset; apply it to training and test.

    >>> returns = pd.DataFrame({"GOOD": [0.01, -0.01], "GAP": [0.01, np.nan], "FLAT": [0.0, 0.0]})
    >>> measurable(returns).to_dict()
    {'GOOD': True, 'GAP': False, 'FLAT': False}
    """
    return (returns.notna().mean() >= MIN_PRESENT) & (returns.std() > MIN_STD)


def correlations(returns: np.ndarray) -> np.ndarray:
    """Pearson correlation of the columns of ``(n_days, n_assets)``; NaN beside an asset that does not move."""
    centred = returns - returns.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    moves = length > 1e-9  # far below any price's tick: the rest is rounding
    directions = centred / np.where(moves, length, 1.0)
    found = np.clip(directions.T @ directions, -1.0, 1.0)
    found[~moves, :] = found[:, ~moves] = np.nan
    return found


def cluster_gap(correlation: np.ndarray, labels: np.ndarray) -> float:
    """(a): mean correlation over pairs inside clusters minus mean over pairs of different clusters.

    NaN correlations count nowhere; NaN where there is no pair of either kind.

    >>> pairs = np.array([[1.0, 0.8, 0.1], [0.8, 1.0, 0.3], [0.1, 0.3, 1.0]])
    >>> round(cluster_gap(pairs, np.array([0, 0, 1])), 3)  # 0.8 - (0.1 + 0.3) / 2
    0.6
    """
    known, inside = _pairs(correlation), np.equal.outer(labels, labels)
    return _mean(correlation[known & inside]) - _mean(correlation[known & ~inside])


def between_clusters(correlation: np.ndarray, labels: np.ndarray) -> float:
    """(b): mean over pairs of clusters of the mean correlation between their members.

    NaN correlations count nowhere; NaN where there is one cluster only.

    >>> pairs = np.eye(4)
    >>> pairs[0, 3] = pairs[3, 0] = 0.9
    >>> round(between_clusters(pairs, np.array([0, 0, 1, 2])), 3)  # (0 + 0.45 + 0) / 3
    0.15
    """
    members = np.equal.outer(np.unique(labels), labels).astype(float)
    known = np.isfinite(correlation)
    if known.all():
        sums, counts = members @ correlation @ members.T, np.multiply.outer(*[members.sum(axis=1)] * 2)
    else:
        sums, counts = members @ np.where(known, correlation, 0.0) @ members.T, members @ known @ members.T
    above = np.triu(counts, 1) > 0
    return _mean(sums[above] / counts[above])


def even_gap(correlation: np.ndarray, labels: np.ndarray) -> float:
    """(a) with every cluster of two or more counting the same: mean over them of the mean inside, less (b).

    >>> pairs = np.array([[1.0, 0.8, 0.1], [0.8, 1.0, 0.3], [0.1, 0.3, 1.0]])
    >>> round(even_gap(pairs, np.array([0, 0, 1])), 3)  # 0.8 - (0.1 + 0.3) / 2
    0.6
    """
    return _inside(correlation, labels) - between_clusters(correlation, labels)


def _inside(correlation: np.ndarray, labels: np.ndarray) -> float:
    """Mean over clusters of two or more of the mean correlation inside."""
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    inside = np.array([mean_correlation(correlation[np.ix_(at, at)]) for at in groups if len(at) > 1])
    return _mean(inside[np.isfinite(inside)])


def random_members(
    returns: np.ndarray, labels: np.ndarray, draws: int = 200, random_state: int = 0
) -> dict[str, float]:
    """What one member of each cluster by lot, equally weighted, comes to on these days: means over ``draws``.

    Returns:
        ``bets``: effective bets; ``volatility``: annual; ``ratio``: mean volatility of the members over that of the
        whole, the diversification ratio of Choueifaty and Coignard (2008).
    """
    rng = np.random.default_rng(random_state)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    drawn = np.stack([rng.choice(members, draws) for members in groups], axis=1)
    known = np.nan_to_num(correlations(returns))
    np.fill_diagonal(known, 1.0)
    share = np.maximum(np.linalg.eigvalsh(known[drawn[:, :, None], drawn[:, None, :]]), 1e-12) / len(groups)
    whole = returns[:, drawn].mean(axis=2).std(axis=0, ddof=1)
    apart = returns.std(axis=0, ddof=1)[drawn].mean(axis=1)
    return {
        "bets": float(np.exp(-(share * np.log(share)).sum(axis=1)).mean()),
        "volatility": float(whole.mean() * math.sqrt(SESSIONS_PER_YEAR)),
        "ratio": float((apart / np.where(whole > 0, whole, np.nan)).mean()),
    }


def held_equally(returns: np.ndarray, correlation: np.ndarray) -> dict[str, float]:
    """``bets``, ``volatility`` and ``ratio`` of the columns at equal weights; see ``random_members``."""
    whole = float(returns.mean(axis=1).std(ddof=1))
    year = math.sqrt(SESSIONS_PER_YEAR)
    apart = float(returns.std(axis=0, ddof=1).mean())
    return {
        "bets": effective_bets(correlation),
        "volatility": whole * year,
        "ratio": apart / whole if whole else math.nan,
    }


def mean_correlation(correlation: np.ndarray) -> float:
    """(c): mean over all pairs; NaN correlations count nowhere.

    >>> mean_correlation(np.array([[1.0, 0.5], [0.5, 1.0]]))
    0.5
    """
    return _mean(correlation[_pairs(correlation)])


def effective_bets(correlation: np.ndarray) -> float:
    """(c): how many independent bets the assets are: 1 where all move as one, their number where none moves with any.

    ``exp(-sum p ln p)`` with p the eigenvalues of the correlation matrix as shares of their sum: the entropy that
    Meucci ("Managing Diversification", Risk, May 2009) takes over a portfolio's principal bets, here over the
    variance of the assets at equal risk, which Roy and Vetterli ("The effective rank", EUSIPCO 2007) call effective
    rank. Meucci's own number depends on the weights and is 1 for equal weights in any market of equal correlations,
    however small these are.

    >>> round(effective_bets(np.eye(4)), 6), round(effective_bets(np.ones((4, 4))), 6)
    (4.0, 1.0)
    """
    known = np.isfinite(np.diag(correlation))
    variance = np.linalg.eigvalsh(correlation[np.ix_(known, known)])
    share = variance[variance > 1e-12] / variance[variance > 1e-12].sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def label_stability(labels: pd.Series, later: pd.Series) -> float:
    """(d): adjusted Rand index of two clusterings over the assets in both; 1 = the same, 0 = as by chance.

    Hubert and Arabie, "Comparing partitions", Journal of Classification 2 (1985).

    >>> label_stability(pd.Series({"A": 0, "B": 0, "C": 1}), pd.Series({"C": 7, "B": 4, "A": 4, "NEW": 1}))
    1.0
    """
    both = labels.index.intersection(later.index)
    return float(adjusted_rand_score(labels[both], later[both]))


def worst_days(market: np.ndarray, share: float = WORST_SHARE) -> np.ndarray:
    """The market's worst days, bool ``(n_days,)``: ``share`` of them, rounded up; of equal ones the earlier.

    >>> worst_days(np.array([0.01, -0.03, 0.02, -0.01]), share=0.3)
    array([False,  True, False,  True])
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    worst = np.zeros(len(market), dtype=bool)
    worst[np.argsort(market, kind="stable")[: math.ceil(share * len(market))]] = True
    return worst


def measure(labels: pd.Series, returns: pd.DataFrame, market: pd.Series, picks: list[str]) -> dict[str, float]:
    """Everything but the stability, on the days after the clusters were drawn.

    Args:
        labels: cluster by asset, drawn on earlier days.
        returns: log returns of the days measured, ``(n_days, n_assets)``, columns at least those of ``labels`` and
            ``picks``; NaN = no return known, taken as 0.
        market: the market's log return on the same days; says which were its worst.
        picks: the assets picked from the clusters.

    Returns:
        ``gap``, ``between``, ``pick_correlation``, ``pick_bets``, the same with ``worst_`` before them on the
        market's worst days; ``even_gap``; ``squared``: (b) of squared correlations; ``largest``, the share of assets in
        the largest cluster, and ``small``, clusters of fewer than three; ``member_bets``, ``member_volatility`` and
        ``member_ratio`` of a random member of each cluster, ``pick_volatility`` and ``pick_ratio`` of the picks.
    """
    sizes, values = labels.value_counts(), returns[labels.index].fillna(0.0).to_numpy()
    figures = {"largest": float(sizes.iloc[0] / len(labels)), "small": float((sizes < 3).sum())}
    known = correlations(values)
    figures |= {"even_gap": even_gap(known, labels.to_numpy()),
                "squared": between_clusters(known**2, labels.to_numpy())}  # fmt: skip
    figures |= {f"member_{name}": value for name, value in random_members(values, labels.to_numpy()).items()}
    picked = returns[picks].fillna(0.0).to_numpy()
    alone = held_equally(picked, correlations(picked))
    figures |= {f"pick_{name}": alone[name] for name in ("volatility", "ratio")}
    days = {"": np.ones(len(returns), dtype=bool), "worst_": worst_days(market.fillna(0.0).to_numpy())}
    numbers = labels.to_numpy()
    for prefix, chosen in days.items():
        of_all = correlations(values[chosen]) if prefix else known
        of_picks = correlations(returns.loc[chosen, picks].fillna(0.0).to_numpy())
        figures[f"{prefix}gap"] = cluster_gap(of_all, numbers)
        figures[f"{prefix}between"] = between_clusters(of_all, numbers)
        figures[f"{prefix}pick_correlation"] = mean_correlation(of_picks)
        figures[f"{prefix}pick_bets"] = effective_bets(of_picks)
    return figures


def _pairs(correlation: np.ndarray) -> np.ndarray:
    """Which correlations are known, of two different assets, once a pair; bool, of the same shape."""
    return np.triu(np.isfinite(correlation), k=1)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan
