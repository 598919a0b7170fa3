"""Resampling tests against closed forms, loops written differently, and the arch package."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import SPA, CircularBlockBootstrap
from scipy import stats

from clusterfolio.engine.evidence.resampling import overfitting, sharpe_difference, superior_ability


def two(n=1000, correlation=0.6, first=0.06, second=0.02, seed=0):
    rng = np.random.default_rng(seed)
    shared, own = rng.standard_normal((n, 1)), rng.standard_normal((n, 2))
    z = correlation**0.5 * shared + (1 - correlation) ** 0.5 * own
    return 0.01 * (z + np.array([first, second]))


def memmel(pair):
    """Error of a Sharpe difference for independent normal returns: Jobson and Korkie (1981), Memmel (2003)."""
    s = pair.mean(axis=0) / pair.std(axis=0, ddof=1)
    rho = np.corrcoef(pair, rowvar=False)[0, 1]
    variance = 2 * (1 - rho) + 0.5 * (s[0] ** 2 + s[1] ** 2 - 2 * s[0] * s[1] * rho**2)
    return s[0] - s[1], np.sqrt(variance / len(pair))


def test_the_interval_of_normal_returns_is_the_closed_form():
    pair = two()
    found, (difference, error) = sharpe_difference(pair[:, 0], pair[:, 1], block=1), memmel(pair)
    year = 252**0.5
    assert found.difference == pytest.approx(difference * year, rel=2e-3)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error * year, rel=0.05)
    assert found.p == pytest.approx(stats.norm.sf(difference / error), abs=0.02)


def test_the_interval_is_that_of_resamples_drawn_one_by_one():
    """The same studentised bootstrap, one resample at a time through arch and in Sharpe ratios, not raw moments."""
    pair, size = np.column_stack([np.convolve(x, [1, 0.4, 0.2], "same") for x in two(400, seed=2).T]), 5
    found = sharpe_difference(pair[:, 0], pair[:, 1], block=size, repetitions=3000)

    def influence(sample):
        mean, deviation = sample.mean(axis=0), sample.std(axis=0)
        z = (sample - mean) / deviation
        z -= 0.5 * mean / deviation * (z**2 - 1)
        return np.subtract(*(mean / deviation)), z[:, 0] - z[:, 1]

    difference, series = influence(pair)
    pivots = []
    for (sample,), _ in CircularBlockBootstrap(size, pair, seed=1).bootstrap(3000):
        value, moved = influence(sample)
        pivots.append((value - difference) / np.sqrt((moved.reshape(-1, size).mean(axis=1) ** 2).mean() * size / 400))
    blocks = np.convolve(np.concatenate([series, series[: size - 1]]), np.ones(size) / size, "valid")
    error = np.sqrt((blocks**2).mean() * size / 400)
    half = np.quantile(np.abs(pivots), 0.95) * error * 252**0.5
    assert found.difference == pytest.approx(difference * 252**0.5)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.05)


def test_under_no_difference_it_is_found_as_rarely_as_stated():
    p = [sharpe_difference(*two(300, first=0.05, second=0.05, seed=s).T, repetitions=200).p for s in range(120)]
    assert np.mean(np.array(p) <= 0.05) <= 0.1
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_the_same_seed_gives_the_same_interval_and_swapping_mirrors_it():
    first, second = two().T
    once, again = (sharpe_difference(first, second, random_state=3) for _ in range(2))
    assert once == again
    mirrored = sharpe_difference(second, first, random_state=3)
    assert (mirrored.low, mirrored.high) == (pytest.approx(-once.high), pytest.approx(-once.low))


@pytest.mark.parametrize("bad", [np.zeros(100), np.full(100, np.nan), np.ones(10)])
def test_what_cannot_be_compared_is_refused(bad):
    with pytest.raises(ValueError, match="first, second"):
        sharpe_difference(bad, np.arange(len(bad)) * 1e-3)


def pbo_by_hand(table, blocks):
    """Bailey et al. (2015), algorithm 2.3, step by step."""
    parts, logits = np.array_split(np.arange(len(table)), blocks), []
    for chosen in combinations(range(blocks), blocks // 2):
        rows = np.concatenate([parts[i] for i in chosen])
        inside, outside = table[rows], np.delete(table, rows, axis=0)
        best = (inside.mean(axis=0) / inside.std(axis=0, ddof=1)).argmax()
        ratios = outside.mean(axis=0) / outside.std(axis=0, ddof=1)
        share = stats.rankdata(ratios)[best] / (table.shape[1] + 1)
        logits.append(np.log(share / (1 - share)))
    return np.array(logits)


def test_pbo_is_the_papers_algorithm():
    table = np.random.default_rng(7).normal(0.0002, 0.01, (240, 7))
    found, logits = overfitting(table, blocks=8), pbo_by_hand(table, 8)
    assert found.logits == pytest.approx(logits) and found.splits == 70
    assert found.probability == pytest.approx((logits <= 0).mean())


def test_pbo_is_a_coin_for_noise_and_none_for_one_that_is_better():
    rng = np.random.default_rng(8)
    noise = [overfitting(rng.normal(0, 0.01, (320, 9)), blocks=8).probability for _ in range(60)]
    assert np.mean(noise) == pytest.approx(0.5, abs=0.12)
    table = rng.normal(0, 0.01, (1600, 9))
    table[:, 4] += 0.004
    assert overfitting(table).probability == 0.0


def test_pbo_of_one_candidate_is_refused():
    with pytest.raises(ValueError, match="at least 2 candidates"):
        overfitting(np.zeros((100, 1)))


def test_the_snooping_test_is_archs_and_finds_what_is_better():
    rng = np.random.default_rng(9)
    base, models = rng.normal(0, 0.01, 800), rng.normal(0, 0.01, (800, 5))
    found = superior_ability(base, models, repetitions=200)
    direct = SPA(-base, -models, reps=200, bootstrap="stationary", seed=0)
    direct.compute()
    assert found == {name: pytest.approx(p) for name, p in direct.pvalues.items()}
    assert found["lower"] <= found["consistent"] <= found["upper"]
    models[:, 2] += 0.002
    assert superior_ability(base, pd.DataFrame(models), repetitions=200)["consistent"] < 0.01


def test_a_model_that_is_the_reference_is_left_out():
    base = np.random.default_rng(10).normal(0, 0.01, 200)
    with pytest.raises(ValueError, match="none differs"):
        superior_ability(base, base[:, None])
