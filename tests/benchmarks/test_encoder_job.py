"""Rivals, losses and tests of the encoder's jobs against libraries and by hand; no forecast sees what comes after."""

import argparse

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from tests.benchmarks.forecasts import auc, crps, diebold_mariano, encompassing, ewma, garch, pooled
from tests.benchmarks.multi_task import AHEAD, Data, mean_of_last, targets, terms, variant


def moves(n_days, n_assets, seed=0):
    """Returns with volatility that lasts, and ranges around them."""
    rng = np.random.default_rng(seed)
    log_volatility = np.full((n_days, 1), np.log(0.01))
    for day in range(1, n_days):
        log_volatility[day] += 0.96 * (log_volatility[day - 1] - np.log(0.01)) + 0.1 * rng.normal()
    returns = np.exp(log_volatility) * rng.normal(size=(n_days, n_assets))
    return returns.astype(np.float32), (np.abs(returns) * rng.uniform(1, 2, returns.shape)).astype(np.float32)


def test_the_statistic_of_diebold_and_mariano_is_that_of_a_regression_on_a_constant():
    statsmodels = pytest.importorskip("statsmodels.api")
    series = np.convolve(np.random.default_rng(0).normal(0.1, 1, 300), np.ones(5), "valid")
    other = statsmodels.OLS(series, np.ones(len(series))).fit(cov_type="HAC", cov_kwds={"maxlags": 5})
    found = diebold_mariano(series, 5)
    assert found.statistic == pytest.approx(other.tvalues[0]) and found.p == pytest.approx(other.pvalues[0])


def test_a_forecast_gets_the_share_that_was_planted_and_one_that_knows_nothing_gets_none():
    rng = np.random.default_rng(1)
    rival, forecast, noise = (rng.normal(size=(200, 30)) for _ in range(3))
    truth = rival + 0.3 * (forecast - rival) + noise
    keep = rng.uniform(size=truth.shape) < 0.9
    share, t = encompassing(truth, rival, forecast, keep, 5)
    assert share == pytest.approx(0.3, abs=0.05) and t > 10
    share, t = encompassing(rival + noise, rival, rival + forecast, keep, 5)
    assert abs(share) < 0.05 and abs(t) < 3


def test_heads_areas_and_scores_agree_with_other_ways_to_get_them():
    rng = np.random.default_rng(2)
    x, y = rng.normal(3, 2, (80, 4)), rng.normal(size=80)
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    np.testing.assert_allclose(pooled(x, y, 0.1)(x), Ridge(alpha=8.0).fit(scaled, y).predict(scaled), atol=1e-6)
    score, happened = rng.integers(0, 9, 80).astype(float), rng.uniform(size=80) < 0.3
    assert auc(score, happened) == pytest.approx(roc_auc_score(happened, score))
    drawn, grid = np.sort(rng.normal(size=7)), np.linspace(-9, 9, 200_001)
    steps = (drawn[None] <= grid[:, None]).mean(axis=1) - (grid >= 0.4)
    assert crps(drawn[None], np.array([0.4]))[0] == pytest.approx(np.square(steps).sum() * 18 / 200_000, abs=1e-3)
    returns = moves(100, 2)[0]
    other = pd.DataFrame(returns**2).ewm(alpha=0.06, adjust=False).mean()
    np.testing.assert_allclose(ewma(returns), other, rtol=1e-5)


def test_garch_forecasts_as_its_library_does_and_looks_at_nothing_later():
    arch = pytest.importorskip("arch")
    returns = moves(1030, 1, seed=3)[0][:, 0].astype(float)
    found = garch(returns, 1000, 1030, AHEAD)
    scale = 1 / returns[:1000].std()
    params = arch.arch_model(returns[:1000] * scale, mean="Constant", rescale=False).fit(disp="off").params
    followed = arch.arch_model(returns[:1010] * scale, mean="Constant", rescale=False).fix(params)
    other = followed.forecast(horizon=AHEAD).variance.iloc[-1].mean() / scale**2
    assert found[9] == pytest.approx(other, rel=1e-3)
    later = returns.copy()
    later[1010:] *= 5
    np.testing.assert_array_equal(garch(later, 1000, 1030, AHEAD)[:10], found[:10])
    assert garch(later, 1000, 1030, AHEAD)[12] > found[12]


def test_terms_look_back_and_targets_ahead():
    returns, ranges = moves(400, 3)
    returns[40, 1] = np.nan
    before, after = terms(returns, ranges, 0), targets(returns, ranges, 0)
    assert before[300, 1, 2] == pytest.approx(np.log(np.square(returns[280:301, 1]).mean()), abs=0.01)
    assert after[300, 1, 0] == pytest.approx(np.log(np.square(returns[301:322, 1]).mean()), abs=0.01)
    path = np.cumsum(returns[301:322, 2])
    deviation = np.sqrt(np.square(returns[238:301, 2]).mean() * AHEAD)
    assert after[300, 2, 3] == pytest.approx(min(path.min(), 0) / deviation, rel=0.01)
    assert np.isnan(after[-AHEAD:]).all() and np.isfinite(after[300]).all()
    assert np.isnan(mean_of_last(returns, 5)[40:45, 1]).all() and np.isfinite(mean_of_last(returns, 21)[40:60, 1]).all()
    shaken = returns.copy()
    shaken[301:] *= 3
    np.testing.assert_array_equal(terms(shaken, ranges, 0)[:301], before[:301])


def test_the_network_forecasts_a_year_from_what_was_known_before_it(tmp_path):
    returns, ranges = moves(800, 4)
    days = pd.bdate_range("2020-01-01", periods=800)

    def forecasts(returns):
        np.savez(
            tmp_path / "inputs.npz", returns=returns, ranges=ranges, volume=np.zeros_like(returns), market=0,
            asked=[1, 2, 3], dates=days.strftime("%Y%m%d").astype(int),
        )  # fmt: skip
        options = argparse.Namespace(first=3, steps=20, batch=16, width=16, layers=1, seed=0)
        found = variant(Data(tmp_path / "inputs.npz", "cpu"), [2022], True, options)
        return found["rows"], found["forecasts"][0]

    rows, told = forecasts(returns)
    of_year = days[rows].year == 2022
    assert np.isfinite(told[of_year][:, 1:]).all() and np.isnan(told[~of_year]).all() and np.isnan(told[:, 0]).all()
    cut = int(days.searchsorted(pd.Timestamp("2022-07-01")))
    shaken = returns.copy()
    shaken[cut:] *= 4
    again = forecasts(shaken)[1]
    np.testing.assert_array_equal(again[rows < cut], told[rows < cut])
    assert (again != told)[of_year & (rows > cut)][:, 1:].all()
