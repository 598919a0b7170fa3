import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterfolio.strategies.diversification import (
    between_clusters,
    cluster_gap,
    correlations,
    effective_bets,
    even_gap,
    held_equally,
    label_stability,
    log_returns,
    mean_correlation,
    measurable,
    measure,
    random_members,
    worst_days,
)
from tests.conftest import make_panel


def random_correlations(seed: int, n_assets: int) -> np.ndarray:
    return np.corrcoef(np.random.default_rng(seed).standard_normal((n_assets, 2 * n_assets)))


def planted(n_days: int, groups: int, members: int, within: float, seed: int = 0) -> np.ndarray:
    """Returns whose correlation is ``within`` inside groups and 0 across, in expectation."""
    rng = np.random.default_rng(seed)
    factors = np.repeat(rng.standard_normal((n_days, groups)), members, axis=1)
    return 0.01 * (math.sqrt(within) * factors + math.sqrt(1 - within) * rng.standard_normal(factors.shape))


def test_correlations_are_numpys():
    returns = np.random.default_rng(0).standard_normal((50, 6)) * 0.01 + 0.001
    np.testing.assert_allclose(correlations(returns), np.corrcoef(returns.T), atol=1e-12)


def test_an_asset_that_stays_still_is_correlated_with_nothing_and_counts_nowhere():
    returns = np.random.default_rng(0).standard_normal((50, 4))
    still = np.column_stack([returns, np.full(50, 0.1)])
    found = correlations(still)
    assert np.isnan(found[4]).all() and np.isnan(found[:, 4]).all()
    labels = np.array([0, 0, 1, 1, 1])
    assert cluster_gap(found, labels) == pytest.approx(cluster_gap(correlations(returns), labels[:4]))
    assert between_clusters(found, labels) == pytest.approx(between_clusters(correlations(returns), labels[:4]))
    assert mean_correlation(found) == pytest.approx(mean_correlation(correlations(returns)))
    assert effective_bets(found) == pytest.approx(effective_bets(correlations(returns)))


@given(st.integers(0, 10**6), st.lists(st.integers(0, 3), min_size=3, max_size=12).filter(lambda x: len(set(x)) > 1))
def test_gap_and_between_follow_their_formulae_pair_by_pair(seed, numbers):
    labels = np.array(numbers)
    correlation = random_correlations(seed, len(labels))
    inside = [correlation[i, j] for i, j in combinations(range(len(labels)), 2) if labels[i] == labels[j]]
    across = [correlation[i, j] for i, j in combinations(range(len(labels)), 2) if labels[i] != labels[j]]
    by_pair = [
        np.mean([correlation[i, j] for i in np.flatnonzero(labels == a) for j in np.flatnonzero(labels == b)])
        for a, b in combinations(sorted(set(numbers)), 2)
    ]
    gap = cluster_gap(correlation, labels)
    assert math.isnan(gap) if not inside else gap == pytest.approx(np.mean(inside) - np.mean(across))
    assert between_clusters(correlation, labels) == pytest.approx(np.mean(by_pair))


@given(st.integers(0, 10**6))
def test_neither_the_names_of_clusters_nor_the_order_of_assets_matters(seed):
    rng = np.random.default_rng(seed)
    labels, correlation = np.arange(9) % 3, random_correlations(seed, 9)
    order, renamed = rng.permutation(9), rng.permutation(50)[:3]
    shuffled = correlation[np.ix_(order, order)]
    for number in (cluster_gap, between_clusters):
        assert number(shuffled, renamed[labels[order]]) == pytest.approx(number(correlation, labels))


def test_between_is_the_expected_correlation_of_one_asset_drawn_from_each_of_two_clusters():
    correlation, labels = random_correlations(3, 8), np.array([0, 0, 0, 0, 0, 1, 1, 2])
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(4000):
        a, b = rng.choice(3, 2, replace=False)
        drawn.append(correlation[rng.choice(np.flatnonzero(labels == a)), rng.choice(np.flatnonzero(labels == b))])
    assert between_clusters(correlation, labels) == pytest.approx(np.mean(drawn), abs=0.02)


def test_one_cluster_has_nothing_between():
    assert math.isnan(between_clusters(random_correlations(0, 4), np.zeros(4, dtype=int)))


def test_planted_clusters_have_the_planted_gap():
    correlation = correlations(planted(4000, groups=4, members=6, within=0.6))
    labels = np.repeat(np.arange(4), 6)
    assert cluster_gap(correlation, labels) == pytest.approx(0.6, abs=0.03)
    assert between_clusters(correlation, labels) == pytest.approx(0.0, abs=0.02)
    shuffled = np.random.default_rng(1).permutation(labels)
    assert abs(cluster_gap(correlation, shuffled)) < 0.1


def test_effective_bets_lie_between_one_and_the_number_of_assets_and_fall_with_correlation():
    def equal(rho: float) -> float:
        return effective_bets(np.full((10, 10), rho) + (1 - rho) * np.eye(10))

    bets = [equal(rho) for rho in (0.0, 0.2, 0.5, 0.9, 1.0)]
    assert bets == sorted(bets, reverse=True)
    assert bets[0] == pytest.approx(10) and bets[-1] == pytest.approx(1)


def test_two_groups_that_move_as_one_each_are_two_bets():
    assert effective_bets(np.kron(np.eye(2), np.ones((5, 5)))) == pytest.approx(2)


def test_stability_compares_the_assets_in_both_and_ignores_the_names_of_clusters():
    labels = pd.Series({"A": 0, "B": 0, "C": 1, "D": 1, "GONE": 5})
    assert label_stability(labels, pd.Series({"D": 0, "C": 0, "B": 9, "A": 9, "NEW": 0})) == 1.0
    crossed = pd.Series({"A": 0, "B": 1, "C": 0, "D": 1})
    assert label_stability(labels, crossed) == pytest.approx(-0.5)  # (0 - 2*2/6) / (2 - 2*2/6)


def test_worst_days_are_the_lowest_returns_rounded_up():
    market = np.random.default_rng(0).standard_normal(252)
    worst = worst_days(market)
    assert worst.sum() == 13  # 5 % of 252 is 12.6
    assert market[worst].max() < market[~worst].min()
    with pytest.raises(ValueError, match="share must be above 0"):
        worst_days(market, 0)


def test_correlation_on_the_worst_days_is_measured_on_them_alone():
    rng = np.random.default_rng(0)
    returns = rng.normal(0, 0.01, (400, 4))
    market = pd.Series(rng.normal(0, 0.01, 400))
    panic = worst_days(market.to_numpy())
    returns[panic] = market[panic].to_numpy()[:, None]  # all fall together
    labels = pd.Series([0, 0, 1, 1], index=list("ABCD"))
    figures = measure(labels, pd.DataFrame(returns, columns=list("ABCD")), market, ["A", "C"])
    assert figures["worst_between"] == pytest.approx(1.0)
    assert figures["worst_pick_bets"] == pytest.approx(1.0, abs=1e-4)
    assert figures["between"] < 0.5
    assert figures["largest"] == 0.5


def test_log_returns_leave_out_days_on_either_side_of_a_gap():
    dates = pd.bdate_range("2024-01-01", periods=4)
    closes = pd.DataFrame({"A": [1.0, math.e, math.e**2, math.e**2], "B": [1.0, np.nan, 2.0, 2.0]}, index=dates)
    returns = log_returns(make_panel(closes))
    np.testing.assert_allclose(returns["A"], [np.nan, 1, 1, 0])
    np.testing.assert_allclose(returns["B"], [np.nan, np.nan, np.nan, 0])


def test_log_returns_of_an_asset_that_trades_on_weekends_are_from_session_to_session():
    dates = pd.date_range("2024-01-05", "2024-01-08")  # Friday to Monday
    closes = pd.DataFrame({"COIN": [1.0, 5.0, 7.0, math.e]}, index=dates)
    returns = log_returns(make_panel(closes, sessions=dates[[0, 3]]))
    np.testing.assert_allclose(returns["COIN"], [np.nan, 1])


def test_an_asset_is_measured_if_it_trades_on_98_of_100_days():
    returns = pd.DataFrame(np.random.default_rng(0).normal(0, 0.01, (100, 2)), columns=["TWO", "THREE"])
    returns.iloc[:2, 0] = np.nan
    returns.iloc[:3, 1] = np.nan
    assert measurable(returns).to_dict() == {"TWO": True, "THREE": False}


def test_random_members_of_groups_of_one_are_those_held_equally():
    returns = np.random.default_rng(0).normal(0, 0.01, (250, 6))
    one = random_members(returns, np.arange(6), draws=3)
    assert one == pytest.approx(held_equally(returns, correlations(returns)))
    pairs = random_members(np.repeat(returns, 2, axis=1), np.repeat(np.arange(6), 2), draws=5)
    assert pairs == pytest.approx(one)  # whichever of two twins


def test_even_gap_counts_a_large_cluster_once():
    found = np.full((6, 6), 0.1)
    found[:4, :4], found[4:, 4:] = 0.9, 0.5
    np.fill_diagonal(found, 1.0)
    labels = np.array([0, 0, 0, 0, 1, 1])
    assert even_gap(found, labels) == pytest.approx((0.9 + 0.5) / 2 - 0.1)
    assert cluster_gap(found, labels) == pytest.approx((6 * 0.9 + 0.5) / 7 - 0.1)
