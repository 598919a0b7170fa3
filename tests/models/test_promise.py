import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from clusterfolio.models import promise_layer
from clusterfolio.models.promise import Days, _Moves, correlation, expected_correlation, promise, search
from clusterfolio.strategies.diversification import between_clusters, cluster_gap


def market(n_assets=40, n_groups=8, n_days=300, seed=0):
    """Log returns of groups with a factor each beside the market's, and the groups."""
    rng = np.random.default_rng(seed)
    groups = np.arange(n_assets) % n_groups
    returns = 0.7 * rng.standard_normal((n_days, n_groups))[:, groups] + 0.5 * rng.standard_normal((n_days, 1))
    return 0.01 * (returns + 0.5 * rng.standard_normal((n_days, n_assets))), groups


def some_labels(n_assets, n_clusters, seed):
    labels = np.random.default_rng(seed).integers(n_clusters, size=n_assets)
    labels[:n_clusters] = np.arange(n_clusters)
    return labels


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n_assets=st.integers(6, 30), n_clusters=st.integers(2, 5))
def test_gap_and_between_are_the_measures_own(seed, n_assets, n_clusters):
    expected = expected_correlation(market(n_assets, seed=seed)[0])
    labels = some_labels(n_assets, n_clusters, seed)
    found = promise(expected, labels)
    assert found.gap == pytest.approx(cluster_gap(expected, labels))
    assert found.between == pytest.approx(between_clusters(expected**2, labels))
    own = [expected[np.ix_(labels == k, labels == k)] for k in range(n_clusters)]
    assert found.representation == pytest.approx(sum(pairs.sum() / len(pairs) for pairs in own) / n_assets)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n_assets=st.integers(6, 30), n_clusters=st.integers(2, 5))
def test_the_promise_of_every_move_is_that_of_the_labels_it_would_make(seed, n_assets, n_clusters):
    expected = expected_correlation(market(n_assets, seed=seed)[0])
    moves = _Moves(expected, some_labels(n_assets, n_clusters, seed))
    for asset in np.random.default_rng(seed).permutation(n_assets)[:5]:
        home = moves.labels[asset]
        if moves.size[home] == 1:
            assert not moves.improve(asset)
            continue
        values = [promise(expected, np.where(np.arange(n_assets) == asset, k, moves.labels)).value
                  for k in range(n_clusters)]  # fmt: skip
        found = moves._promises(asset, home)
        open_to = np.isfinite(found)
        np.testing.assert_allclose(found[open_to], np.array(values)[open_to], atol=1e-12)
        assert moves.gains()[asset] == pytest.approx(found.max() - found[home], abs=1e-12)
        moves.improve(asset)  # the sums are kept up: the next asset is looked at with them


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n_assets=st.integers(8, 60), n_clusters=st.integers(2, 20))
def test_a_search_raises_the_promise_empties_no_cluster_and_fills_none_beyond_its_share(seed, n_assets, n_clusters):
    n_clusters = min(n_clusters, n_assets)
    expected = expected_correlation(market(n_assets, seed=seed)[0])
    labels = some_labels(n_assets, n_clusters, seed)
    found = search(expected, labels, seed)
    before, after = np.bincount(labels, minlength=n_clusters), np.bincount(found, minlength=n_clusters)
    assert len(after) == n_clusters and after.min() >= 1
    assert (after <= np.maximum(before, np.ceil(max(0.25, 1.5 / n_clusters) * n_assets))).all()
    if n_clusters < n_assets:
        assert promise(expected, found).value >= promise(expected, labels).value - 1e-9
    np.testing.assert_array_equal(found, search(expected, labels, seed))


def test_planted_groups_are_found_from_a_start_that_is_half_wrong():
    returns, groups = market(160)
    start = np.where(np.arange(160) % 2 == 0, groups, some_labels(160, 8, 1))
    assert adjusted_rand_score(groups, search(expected_correlation(returns), start)) == 1.0


def test_one_cluster_and_one_for_each_asset_are_left_as_they_are():
    expected = expected_correlation(market(12)[0])
    for labels in (np.zeros(12, dtype=np.int64), np.arange(12)):
        np.testing.assert_array_equal(search(expected, labels), labels)


def test_expected_correlations_are_near_the_true_ones_and_a_jump_moves_them_little():
    returns, _ = market(n_days=504)
    expected = expected_correlation(returns)
    np.testing.assert_array_equal(expected, expected.T)
    assert (np.diag(expected) == 1).all() and np.abs(expected).max() <= 1
    plain = np.corrcoef(returns.T)
    assert np.abs(expected - plain).mean() < 0.03
    jumped = returns.copy()
    jumped[400, 3] = 0.5  # fifty deviations
    moved, plainly = (
        np.abs(f(jumped) - f(returns))[3].mean() for f in (expected_correlation, lambda x: np.corrcoef(x.T))
    )
    assert moved < 0.6 * plainly


def test_expected_correlations_are_the_mean_of_the_five_that_are_said():
    returns, _ = market(8, 3, 60)
    frame = pd.DataFrame(returns)

    def weighted(rows, weights):
        return np.cov(rows.T, aweights=weights) / np.outer(*[np.sqrt(np.diag(np.cov(rows.T, aweights=weights)))] * 2)

    bound = 4 * 1.4826 * frame.abs().median()
    tame = frame.clip(-bound, bound, axis=1)
    volatility = np.sqrt((frame**2).ewm(alpha=1 - np.exp(-1 / 21)).mean().shift().bfill())
    paced = frame / volatility
    bound = 4 * 1.4826 * paced.abs().median()
    five = [
        frame.corr(),
        weighted(tame, 0.5 ** (np.arange(60)[::-1] / 15)),
        tame.rolling(5).sum().dropna().corr(),
        paced.clip(-bound, bound, axis=1).corr(),
        frame[30:].corr(),
    ]
    np.testing.assert_allclose(expected_correlation(returns), np.mean(five, axis=0), atol=1e-9)


def test_days_drawn_are_summed_and_paced_among_their_own():
    returns, _ = market(8, 3, 60)
    by_day = Days.of(returns)
    np.testing.assert_array_equal(by_day.expected(np.arange(60)), expected_correlation(returns))
    drawn = np.repeat(np.arange(10, 40), 2)
    n = len(drawn)
    parts = [
        (by_day.returns, np.ones(n)),
        (by_day.tame, 0.5 ** (np.arange(n)[::-1] / (n / 4))),
        (pd.DataFrame(by_day.tame).rolling(5).sum().to_numpy(), np.ones(n)),
        (by_day.paced, np.ones(n)),
        (by_day.returns, np.arange(n) >= n // 2),
    ]
    found = np.mean([correlation(rows[drawn], weights.astype(float)) for rows, weights in parts], axis=0)
    np.testing.assert_allclose(by_day.expected(drawn), found, atol=1e-9)


def test_what_does_not_move_is_correlated_with_nothing():
    returns, _ = market(6, 3)
    returns[:, 2] = 0.0
    returns[:150, 4] = 0.0  # listed late
    expected = expected_correlation(returns)
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(np.delete(expected[2], 2), 0.0)
    assert expected[4, 1] > 0.2  # of the same group


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_weighted_correlation_is_that_of_repeated_rows(seed):
    rng = np.random.default_rng(seed)
    rows, times = rng.standard_normal((20, 4)), rng.integers(1, 5, 20)
    np.testing.assert_allclose(correlation(rows, times.astype(float)), np.corrcoef(rows.repeat(times, axis=0).T))


def test_with_shares_that_are_labels_the_loss_is_less_the_promise():
    expected = expected_correlation(market(30)[0])
    labels = np.arange(30) % 8
    shares = torch.eye(8, dtype=torch.float64)[torch.tensor(labels)].clamp_min(1e-12)
    found = promise_layer.loss(shares, torch.tensor(expected)).item()
    assert found == pytest.approx(-promise(expected, labels).value, abs=1e-6)


def test_the_learned_layer_raises_the_promise_of_its_start_and_repeats_itself():
    expected = expected_correlation(market(40, n_groups=6, seed=2)[0])
    start = some_labels(40, 6, 3)
    found, again = (promise_layer.learned_shares(expected, start, 0.1, random_state=1, steps=100) for _ in range(2))
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert promise(expected, found.argmax(axis=1)).value > promise(expected, start).value + 0.1
    np.testing.assert_array_equal(found, again)
