"""The differential Sharpe ratio is the derivative that it claims to be."""

import numpy as np
import pandas as pd
import pytest

from clusterfolio.strategies.agents.record import moments_of, sessions_since
from clusterfolio.strategies.agents.rewards import Moments, Reward, differential_sharpe
from clusterfolio.strategies.agents.terms import Terms


def test_it_is_the_derivative_of_the_sharpe_ratio_by_the_weight_of_the_newest_return():
    rng = np.random.default_rng(0)
    for _ in range(20):
        moments = Moments.of(0.01 * rng.standard_normal(30) + 0.002)
        newest, step = np.asarray(0.02 * rng.standard_normal()), 1e-6

        def ratio(weight, moments=moments, newest=newest):
            then = moments.after(newest, weight)
            return then.a / np.sqrt(then.variance)

        by_hand = (ratio(step) - ratio(-step)) / (2 * step)
        assert differential_sharpe(newest, moments) == pytest.approx(by_hand, rel=1e-5, abs=1e-7)


def test_it_is_finite_from_the_first_decision_on():
    for returns in (np.zeros(10), np.full(10, 0.01), np.array([0.03])):
        start = Moments.of(returns)
        assert start.variance > 0
        assert np.isfinite(differential_sharpe(np.array([-0.5, 0.0, 0.5]), start)).all()


def test_the_log_reward_takes_half_the_square_times_the_aversion():
    reward = Reward("log", risk_aversion=4.0)
    nothing = Moments(np.zeros(1), np.ones(1))
    np.testing.assert_allclose(reward(np.array([0.1]), nothing), np.log(1.1) - 2 * 0.01)


def test_the_moments_of_an_account_follow_from_its_values_alone():
    sessions = pd.bdate_range("2024-01-01", periods=100)
    values = pd.Series([100.0, 110.0, 99.0], sessions[[5, 26, 47]])
    start, terms = Moments(np.asarray(0.01), np.asarray(0.002)), Terms(sessions=21)
    cash = pd.Series(0.0001, sessions)
    found = moments_of(values, sessions, cash, terms, start, 0.5)
    paid = 1.0001**21
    by_hand = start.after(1.1 - paid, 0.5).after(0.9 - paid, 0.5)
    assert found.a[0] == pytest.approx(float(by_hand.a)) and found.b[0] == pytest.approx(float(by_hand.b))
    every_session = values.reindex(sessions[5:48]).interpolate()
    assert moments_of(every_session, sessions, cash, terms, start, 0.5).a[0] == pytest.approx(float(by_hand.a))
    assert moments_of(values.iloc[:0], sessions, cash, terms, start, 0.5).a[0] == pytest.approx(0.01)
    assert sessions_since(sessions, [sessions[5], None], sessions[26]).tolist() == [21.0, 0.0]
