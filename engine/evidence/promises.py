"""What each decision promised of its clusters and picks, and what the days after it kept.

Promised is what the two years before the decision let expect (``models.promise.expected_correlation``, of which the
searched clusters and the joint picks are made). Kept is what the days after it showed: until the next decision, and
over the year after as far as the run goes. None of it reaches a decision.

Few days show fewer bets than there are: chance correlations of a sample make some of its variance common. So beside the
bets expected stands what so many days would have shown of them had the correlations been just those expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR, Panel
from clusterfolio.models.blas import one_blas_thread
from clusterfolio.models.promise import expected_correlation, search
from clusterfolio.strategies.diversification import (
    between_clusters,
    cluster_gap,
    correlations,
    effective_bets,
    log_returns,
    mean_correlation,
    measure,
)
from clusterfolio.strategies.joint import joint_picks
from clusterfolio.strategies.policy import Decision

#: Sessions before a decision that the expected correlations are taken over; fewest of the year after it, of those until
#: the next decision, and of what hindsight is asked about.
BEFORE, LEAST_OF_A_YEAR, LEAST, LEAST_OF_CEILING = 2 * SESSIONS_PER_YEAR, SESSIONS_PER_YEAR // 4, 5, 126

#: Samples drawn of the expected correlations.
SAMPLES = 20

#: Promised, and kept until the next decision and over the year after.
OF_PROMISE = ("bets", "correlation", "gap", "between")

#: What else the year after showed (``strategies.diversification.measure``), and what hindsight would have found.
OF_YEAR = (
    "even_gap", "squared", "member_bets", "member_volatility", "member_ratio", "pick_volatility", "pick_ratio",
    "worst_gap", "worst_between", "largest", "small",
)  # fmt: skip
OF_CEILING = ("ceiling_bets", "ceiling_gap", "ceiling_between")

COLUMNS = (
    "date", "n_assets", "n_clusters", "n_picks",
    *(f"expected_{name}" for name in OF_PROMISE),
    "next_sessions", *(f"next_{name}" for name in OF_PROMISE[1:]),
    "kept_sessions", "expected_bets_shown", *(f"kept_{name}" for name in OF_PROMISE),
    *OF_YEAR, *OF_CEILING,
)  # fmt: skip


@one_blas_thread
def promises(decisions: Sequence[Decision], panel: Panel) -> pd.DataFrame:
    """A row per decision that states clusters and picks two names or more; columns ``COLUMNS``.

    ``n_assets`` clustered in ``n_clusters``, ``n_picks`` of them picked. ``expected_``: effective bets and mean
    correlation of the picks, gap (a) and correlation between clusters (b), as expected; ``next_``: those until the next
    decision (no bets: days are too few), NaN under ``LEAST`` sessions; ``kept_``: over the year after, or what there is
    of it, NaN under ``LEAST_OF_A_YEAR`` sessions; ``expected_bets_shown``: what ``kept_sessions`` would show of the
    bets expected. ``OF_YEAR``: the measure of the same days. ``OF_CEILING``: with hindsight, at years that do not
    overlap, of half a year at least: bets of the names of the same clusters that then had least in common, and clusters
    searched on those days.

    Args:
        decisions: in order of date.
        panel: up to the run's last day.
    """
    returns, rows, ceiling_from = log_returns(panel), [], -1
    ends = [*(later.asof for _, later in pairwise(decisions)), panel.dates[-1]]
    for decision, end in zip(decisions, ends, strict=True):
        if not len(decision.labels) or len(decision.selected or ()) < 2:
            continue
        at = int(returns.index.searchsorted(decision.asof, side="right"))  # the decision's own session was known
        names, picks = decision.labels.index, list(decision.selected or ())
        row: dict = {"date": decision.asof, "n_assets": len(names), "n_clusters": decision.labels.nunique()}
        expected, of_picks = _expected(returns[names].iloc[max(0, at - BEFORE) : at], decision)
        row |= {"n_picks": len(picks)} | expected
        until = int(returns.index.searchsorted(end, side="right"))
        row |= _until_the_next(returns.iloc[at:until], decision)
        year = returns.iloc[at : at + SESSIONS_PER_YEAR]
        row |= {"kept_sessions": len(year)}
        if len(year) >= LEAST_OF_A_YEAR:
            row |= _kept(year, panel.benchmark, decision)
            row["expected_bets_shown"] = bets_shown(of_picks, len(year))
        if len(year) >= LEAST_OF_CEILING and at >= ceiling_from:
            ceiling_from = at + SESSIONS_PER_YEAR
            row |= _ceiling(year, decision)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def bets_shown(correlation: np.ndarray, sessions: int, random_state: int = 0) -> float:
    """Effective bets that a sample of so many days shows on average where these are the correlations.

    Normal days that know nothing of one another are drawn; real ones are wilder, so that it is still a little high.

    Args:
        correlation: ``(n, n)``, ones on the diagonal.

    >>> round(bets_shown(np.eye(20), 63), 1), round(bets_shown(np.eye(20), 63_000), 1)
    (17.1, 20.0)
    """
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    days = np.random.default_rng(random_state).standard_normal((SAMPLES, sessions, len(root))) @ root.T
    return float(np.mean([effective_bets(correlations(sample)) for sample in days]))


def _expected(before: pd.DataFrame, decision: Decision) -> tuple[dict[str, float], np.ndarray]:
    """What the days before the decision let expect, and the correlations expected of the picks."""
    expected = expected_correlation(before.fillna(0.0).to_numpy())
    at = decision.labels.index.get_indexer(decision.selected)
    figures = {f"expected_{name}": value for name, value in _figures(expected, at, decision).items()}
    return figures, expected[np.ix_(at, at)]


def _figures(correlation: np.ndarray, picks: np.ndarray, decision: Decision) -> dict[str, float]:
    """``OF_PROMISE`` on given correlations of the assets clustered."""
    labels, picked = decision.labels.to_numpy(), correlation[np.ix_(picks, picks)]
    return {
        "bets": effective_bets(picked),
        "correlation": mean_correlation(picked),
        "gap": cluster_gap(correlation, labels),
        "between": between_clusters(correlation, labels),
    }


def _until_the_next(days: pd.DataFrame, decision: Decision) -> dict:
    """The same of the days until the next decision; bets are not taken of so few."""
    found: dict = {"next_sessions": len(days)}
    if len(days) < LEAST:
        return found
    known = correlations(days[decision.labels.index].fillna(0.0).to_numpy())
    figures = _figures(known, decision.labels.index.get_indexer(decision.selected), decision)
    return found | {f"next_{name}": figures[name] for name in OF_PROMISE[1:]}


def _kept(year: pd.DataFrame, benchmark: str, decision: Decision) -> dict[str, float]:
    """What the year after showed."""
    found = measure(decision.labels, year, year[benchmark], list(decision.selected or ()))
    kept = {"bets": "pick_bets", "correlation": "pick_correlation", "gap": "gap", "between": "between"}
    return {f"kept_{name}": found[key] for name, key in kept.items()} | {name: found[name] for name in OF_YEAR}


def _ceiling(year: pd.DataFrame, decision: Decision) -> dict[str, float]:
    """What who had known the year could have reached."""
    labels = np.unique(decision.labels, return_inverse=True)[1]
    known = np.nan_to_num(correlations(year[decision.labels.index].fillna(0.0).to_numpy()))
    np.fill_diagonal(known, 1.0)
    n_picks, n_clusters = len(decision.selected or ()), int(labels.max()) + 1
    found = {}
    if n_picks <= n_clusters:
        groups = [np.flatnonzero(labels == label)[None] for label in range(n_clusters)]
        picks = joint_picks([(members, np.zeros(members.shape)) for members in groups], known**2, n_picks)[0]
        best = picks[picks >= 0]
        found["ceiling_bets"] = effective_bets(known[np.ix_(best, best)])
    if n_clusters > 1:
        again = search(known, labels)
        found |= {"ceiling_gap": cluster_gap(known, again), "ceiling_between": between_clusters(known, again)}
    return found
