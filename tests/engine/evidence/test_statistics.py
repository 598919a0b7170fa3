"""Statistics against the numbers of the papers, closed forms, Monte Carlo and other implementations."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hyp
from scipy import stats
from statsmodels.stats.multitest import multipletests

from clusterfolio.engine.evidence import statistics as st


# Bailey and Lopez de Prado, "The Sharpe ratio efficient frontier" (2012): a fund of 24 months, 1.59 a year.
def test_the_probabilistic_sharpe_ratio_is_the_papers():
    assert st.probabilistic_sharpe(st.Moments(0.458, 24)) == pytest.approx(0.982, abs=5e-4)
    assert st.probabilistic_sharpe(st.Moments(0.458, 24, -2.448, 10.164)) == pytest.approx(0.913, abs=5e-4)


# The same paper: years until a Sharpe ratio of 2 is above one of 1, by frequency of returns.
@pytest.mark.parametrize(("per_year", "years"), [(252, 2.73), (52, 2.83), (12, 3.24)])
def test_the_minimum_track_record_is_the_papers(per_year, years):
    record = st.minimum_track_record(st.Moments(2 / per_year**0.5, 2), 1 / per_year**0.5)
    assert record / per_year == pytest.approx(years, abs=5e-3)


def test_a_record_as_long_as_the_minimum_is_just_believed():
    seen = st.Moments(0.1, 500, -0.5, 6.0)
    n = st.minimum_track_record(seen, 0.02)
    exact = (n - 1) / (seen.n - 1)  # the variance scales with the length
    z = (seen.sharpe - 0.02) / math.sqrt(st.sharpe_variance(seen) / exact)
    assert stats.norm.cdf(z) == pytest.approx(0.95)
    assert st.minimum_track_record(st.Moments(0.02, 500), 0.02) == math.inf


# Bailey and Lopez de Prado, "The deflated Sharpe ratio" (2014), the numerical example.
def test_the_deflated_sharpe_ratio_is_the_papers():
    variance, seen = 0.5 / 250, st.Moments(2.5 / 250**0.5, 1250, -3.0, 10.0)
    assert st.expected_maximum_sharpe(variance, 100) == pytest.approx(0.1132, abs=5e-5)
    assert st.deflated_sharpe(seen, variance, 100) == pytest.approx(0.9004, abs=5e-5)
    assert st.deflated_sharpe(seen, variance, 46) == pytest.approx(0.9505, abs=5e-5)
    normal = st.Moments(2.5 / 250**0.5, 1250)
    assert st.deflated_sharpe(normal, variance, 88) == pytest.approx(0.9505, abs=5e-4)


def test_the_expected_maximum_is_that_of_many_draws():
    drawn = np.random.default_rng(1).standard_normal((20_000, 50)).max(axis=1).mean()
    assert st.expected_maximum_sharpe(1.0, 50) == pytest.approx(drawn, rel=0.02)  # the formula is asymptotic


def test_one_trial_is_not_deflated():
    seen = st.Moments(0.05, 1000)
    assert st.expected_maximum_sharpe(0.3, 1) == 0.0
    assert st.deflated_sharpe(seen, 0.3, 1) == st.probabilistic_sharpe(seen)
    assert st.sidak(0.04, 1) == 0.04


@settings(max_examples=50, deadline=None)
@given(hyp.floats(0, 1), hyp.floats(1, 1000), hyp.floats(0, 1000))
def test_more_trials_never_make_a_result_better(p, trials, more):
    assert st.sidak(p, trials) <= st.sidak(p, trials + more) + 1e-12
    assert st.expected_maximum_sharpe(0.1, trials) <= st.expected_maximum_sharpe(0.1, trials + more) + 1e-12


def test_sidak_and_holm_are_those_of_statsmodels():
    p = {"a": 0.004, "b": 0.03, "c": 0.2, "d": 0.011}
    assert list(st.holm(p).values()) == pytest.approx(multipletests(list(p.values()), method="holm")[1])
    assert st.sidak(0.004, 4) == pytest.approx(multipletests(list(p.values()), method="sidak")[1][0])


def test_moments_are_those_of_another_formula():
    x = np.random.default_rng(0).standard_t(5, 400) * 0.01 + 0.001
    z = (x - x.mean()) / x.std()
    found = st.moments(x)
    assert found.sharpe == pytest.approx(x.mean() / x.std(ddof=1))
    assert (found.skew, found.kurtosis) == (pytest.approx((z**3).mean()), pytest.approx((z**4).mean()))


def test_the_spread_of_sharpe_ratios_is_the_formulas():
    """Of 20,000 records of skewed, heavy-tailed returns with a Sharpe ratio of 0.15."""
    draws = np.random.default_rng(2).gamma(4.0, size=(20_000, 250))
    draws = (draws - 4.0) / 2.0 + 0.15
    ratios = draws.mean(axis=1) / draws.std(axis=1, ddof=1)
    known = st.Moments(0.15, 250, skew=1.0, kurtosis=3 + 6 / 4)
    assert ratios.std() == pytest.approx(math.sqrt(st.sharpe_variance(known)), rel=0.03)


def test_equal_trials_count_once_and_unrelated_ones_each():
    rng = np.random.default_rng(3)
    alone = pd.DataFrame(rng.standard_normal((5000, 8)))
    assert st.effective_trials(alone) == pytest.approx(8, abs=0.1)
    same = pd.concat([alone[0]] * 8, axis=1, ignore_index=True)
    assert st.effective_trials(same) == pytest.approx(1)
    apart = pd.DataFrame({"early": alone[0].where(alone.index < 2500), "late": alone[1].where(alone.index >= 2500)})
    assert st.effective_trials(apart) == pytest.approx(2)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_the_best_of_correlated_trials_is_found_too_often_by_no_one(correlation):
    """Sidak with the effective number keeps the rate of false finds under 5 %, whatever the trials share."""
    n, rng = 20, np.random.default_rng(4)
    shared = correlation**0.5 * rng.standard_normal((20_000, 1))
    t = shared + (1 - correlation) ** 0.5 * rng.standard_normal((20_000, n))
    lengths = np.array([1 + (n - 1) * correlation, *[1 - correlation] * (n - 1)])
    effective = np.sqrt(lengths).sum() ** 2 / lengths.sum()  # of the true correlation matrix
    best = stats.norm.sf(t.max(axis=1))
    rate = np.mean([st.sidak(p, effective) <= 0.05 for p in best])
    assert rate <= 0.055
    if not correlation:
        assert rate == pytest.approx(0.05, abs=0.006)


def ols(returns, factors):
    design = np.column_stack([np.ones(len(returns)), factors])
    return np.linalg.lstsq(design, returns, rcond=None)[0], design


def test_alpha_and_its_error_are_those_of_newey_and_west_by_hand():
    rng = np.random.default_rng(5)
    market = rng.normal(0.0004, 0.01, 600)
    noise = np.convolve(rng.normal(0, 0.004, 603), [1, 0.5, 0.3, 0.2], mode="valid")
    returns = 0.0003 + 1.2 * market + noise
    found = st.alpha_test(returns, pd.DataFrame({"market": market}))
    (alpha, beta), design = ols(returns, market)
    score = design * (returns - design @ [alpha, beta])[:, None]
    lags = st.newey_west_lags(600)
    meat = score.T @ score
    for lag in range(1, lags + 1):
        gamma = score[lag:].T @ score[:-lag]
        meat += (1 - lag / (lags + 1)) * (gamma + gamma.T)
    bread = np.linalg.inv(design.T @ design)
    error = math.sqrt((bread @ meat @ bread)[0, 0] * 600 / 598)
    assert found.alpha == pytest.approx(alpha) and found.betas["market"] == pytest.approx(beta)
    assert found.error == pytest.approx(error)
    assert found.p == pytest.approx(stats.t.sf(alpha / error, 598))


def test_more_of_the_same_risk_is_no_alpha():
    market = pd.DataFrame({"market": np.random.default_rng(6).normal(0.001, 0.01, 500)})
    found = st.alpha_test(1.5 * market["market"], market)
    assert (found.alpha, found.p, found.appraisal) == (0.0, 1.0, 0.0)


def test_the_sessions_needed_are_those_after_which_the_test_has_the_power():
    years = st.sessions_needed(0.8, power=0.81) / 252
    assert years == pytest.approx(((1.6449 + 0.8779) / 0.8) ** 2, rel=1e-3)
    assert stats.norm.sf(1.6449 - 0.8 * years**0.5) == pytest.approx(0.81, abs=1e-3)
    assert st.sessions_needed(0.8, trials=10) > st.sessions_needed(0.8)
    assert st.sessions_needed(0.0) == math.inf


def test_the_rank_correlation_sees_inside_clusters_only():
    names = list("ABCDEF")
    labels = pd.Series([0, 0, 0, 1, 1, 1], names)
    score = pd.Series([1, 2, 3, 11, 12, 13], names, dtype=float)
    between = pd.Series([5, 5, 5, 9, 9, 9], names) + pd.Series([0.3, 0.2, 0.1] * 2, names)
    assert st.within_cluster_ic(score, between, labels) == pytest.approx(-1)
    one = labels * 0
    outcome = pd.Series([3.0, 1.0, 2.0, 6.0, 4.0, 9.0], names)
    assert st.within_cluster_ic(score, outcome, one) == pytest.approx(stats.spearmanr(score, outcome)[0])
    assert math.isnan(st.within_cluster_ic(score, outcome, pd.Series(range(6), names)))


def test_the_break_even_cost_by_hand():
    assert st.break_even_cost(0.01, 2.0) == pytest.approx(50)
    assert st.break_even_cost(0.01, 0.0) is None


def test_the_deepest_falls_are_found_and_do_not_overlap():
    days = pd.bdate_range("2024-01-01", periods=7)
    returns = pd.Series([0.1, -0.5, 0.2, -0.1, 1.5, -0.2, 0.0], days)
    falls = st.deepest_drawdowns(returns, n=3)
    assert [(a, b, round(fall, 6)) for a, b, fall in falls[:2]] == [(days[1], days[1], -0.5), (days[5], days[5], -0.2)]
    assert st.deepest_drawdowns(returns.clip(lower=0.0)) == []


@pytest.mark.parametrize("bad", [[0.1, np.nan, 0.2, 0.1], [0.1, 0.2], [[0.1, 0.2, 0.3]]])
def test_what_are_no_returns_is_refused(bad):
    with pytest.raises(ValueError, match="returns"):
        st.moments(np.array(bad))
