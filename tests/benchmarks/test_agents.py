"""The closed form that the agents are measured by, against the Riccati equation; and a part of the benchmark."""

import numpy as np
import pytest

from tests.benchmarks import trading_problem as problem
from tests.benchmarks.trading_problem import (
    Problem,
    aim,
    best,
    path,
    rate,
    reward,
    to_markowitz,
    to_the_aim,
    value,
)


def by_riccati(sigma, loadings, phi, gamma, lam, rho, rounds=2000):
    """Gains ``x_t = G (x_{t-1}, f_t)`` of the best linear policy, by iterating its quadratic value function."""
    n, k = loadings.shape
    d = 1.0 - rho
    moves = np.eye(k) - phi
    worth = np.zeros((n + k, n + k))  # of (x_{t-1}, f_t): half the quadratic form
    for _ in range(rounds):
        next_x, next_f = worth[:n, :n], worth[n:, n:]
        cross = worth[:n, n:]
        # max over x of d (x' B f - gamma/2 x' S x) - lam/2 (x - x0)' S (x - x0) + d/2 V(x, (I - Phi) f)
        curve = d * gamma * sigma + lam * sigma - d * next_x
        pull = np.hstack([lam * sigma, d * loadings + d * cross @ moves])
        gains = np.linalg.solve(curve, pull)
        rest = np.zeros_like(worth)
        rest[:n, :n] = -lam * sigma
        rest[n:, n:] = d * moves.T @ next_f @ moves
        worth = rest + pull.T @ gains
    return gains


def test_the_closed_form_solves_the_riccati_equation():
    rng = np.random.default_rng(0)
    n, k = 3, 2
    root = rng.standard_normal((n, n))
    sigma, loadings = root @ root.T + 0.5 * np.eye(n), rng.standard_normal((n, k))
    phi = np.array([[0.3, 0.0], [0.05, 0.1]])
    gamma, lam, rho = 2.0, 7.0, 0.05
    gains = by_riccati(sigma, loadings, phi, gamma, lam, rho)
    a = rate(gamma, lam, rho)
    held, factors = rng.standard_normal(n), rng.standard_normal(k)
    wanted = (1 - a / lam) * held + a / lam * aim(factors, loadings, sigma, phi, gamma, a)
    np.testing.assert_allclose(gains @ np.concatenate([held, factors]), wanted, rtol=1e-8)
    one = Problem()
    gains = by_riccati(np.eye(1), np.eye(1), np.full((1, 1), one.phi), one.gamma, one.lam, one.rho)
    np.testing.assert_allclose(gains @ [0.3, -0.7], best(one, np.array([0.3]), np.array([-0.7])), rtol=1e-8)


def test_the_closed_form_beats_its_neighbours_and_both_naive_rules():
    asked = Problem(ratio=0.1)
    top = value(asked, best, n_paths=500)
    assert top > 0 > value(asked, to_the_aim, n_paths=500) > value(asked, to_markowitz, n_paths=500)
    for wrong in (0.8, 1.25):
        assert value(asked, lambda p, x, f, wrong=wrong: wrong * best(p, x, f), n_paths=500) < top


def test_signal_to_noise_is_what_it_says():
    factors, returns = path(Problem(ratio=0.5), 4000, 5, np.random.default_rng(1))
    assert factors.std() / (returns - factors).std() == pytest.approx(0.5, rel=0.05)
    assert np.corrcoef(factors[:-1].ravel(), factors[1:].ravel())[0, 1] == pytest.approx(0.9, abs=0.02)
    assert reward(Problem(), np.zeros(1), np.ones(1), np.ones(1)) == pytest.approx(0.95 * 0.5 - 5.0)


@pytest.mark.acceptance
def test_an_agent_learns_the_trading_problem_from_ten_years_of_twenty_assets():
    pytest.importorskip("stable_baselines3", reason="needs the extra rl")
    from tests.benchmarks.agents import taught

    asked = Problem(ratio=0.1)
    agent = taught(asked, seed=0, passes=100, from_history=True)
    assert value(asked, problem.of_agent(agent)) > 0.95 * value(asked, best)
