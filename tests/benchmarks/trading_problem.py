"""Dynamic trading with quadratic costs: Garleanu and Pedersen, "Dynamic Trading with Predictable Returns and
Transaction Costs", Journal of Finance 68 (2013), whose best policy has a closed form.

Returns are ``r_{t+1} = B f_t + u_{t+1}`` with ``u`` of covariance Sigma, factors ``f_{t+1} = (I - Phi) f_t + e_{t+1}``,
and ``x_t`` is chosen to maximise, with ``d = 1 - rho``,

    E sum d^(t+1) (x_t' r_{t+1} - gamma/2 x_t' Sigma x_t) - d^t/2 dx_t' Lambda dx_t,     Lambda = lambda Sigma.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Problem:
    """Of one asset and one factor, in units of the asset's daily volatility.

    Attributes:
        ratio: signal to noise: standard deviation of the expected return over that of the rest.
        phi: what the factor loses in a day.
        gamma, lam, rho: risk aversion, cost, discount rate.
    """

    ratio: float = 1.0
    phi: float = 0.1
    gamma: float = 1.0
    lam: float = 10.0
    rho: float = 0.05

    @property
    def unit(self) -> float:
        """Standard deviation of Markowitz's position."""
        return self.ratio / self.gamma


def rate(gamma: float, lam: float, rho: float) -> float:
    """``a``: the part ``a / lambda`` of the way to the aim is traded at once."""
    d = 1.0 - rho
    middle = gamma * d + lam * rho
    return (-middle + np.sqrt(middle**2 + 4 * gamma * lam * d**2)) / (2 * d)


def aim(factors: np.ndarray, loadings: np.ndarray, sigma: np.ndarray, phi: np.ndarray, gamma: float, a: float):
    """``(gamma Sigma)^-1 B (I + (a / gamma) Phi)^-1 f``, ``(n_assets,)``."""
    discounted = np.linalg.solve(np.eye(len(phi)) + a / gamma * phi, factors)
    return np.linalg.solve(gamma * sigma, loadings @ discounted)


def best(problem: Problem, held: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The closed form, of any shape."""
    a = rate(problem.gamma, problem.lam, problem.rho)
    goal = factor / problem.gamma / (1 + a / problem.gamma * problem.phi)
    return (1 - a / problem.lam) * held + a / problem.lam * goal


def to_the_aim(problem: Problem, held: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Naive: to the aim at once."""
    a = rate(problem.gamma, problem.lam, problem.rho)
    return factor / problem.gamma / (1 + a / problem.gamma * problem.phi)


def to_markowitz(problem: Problem, held: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Naive: to what would be best without costs, at once."""
    return factor / problem.gamma


def path(problem: Problem, n_days: int, n_assets: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Factors of days 0 .. n, and what each day's asset returns on the next; ``(n_days, n_assets)`` each."""
    factors = np.empty((n_days, n_assets))
    factors[0] = problem.ratio * rng.standard_normal(n_assets)
    shock = problem.ratio * np.sqrt(1 - (1 - problem.phi) ** 2)
    for day in range(1, n_days):
        factors[day] = (1 - problem.phi) * factors[day - 1] + shock * rng.standard_normal(n_assets)
    return factors, factors + rng.standard_normal(factors.shape)


class TradingWorld:
    """The problem as a world: a slot is an asset, its action the position to hold, the reward quadratic.

    Args:
        paths: draws factors and returns, ``(n_days, n_assets)`` each, for every episode; or one history, in which
            episodes begin on days drawn by lot.
    """

    n_actions = 0
    n_features = 2
    bound = 3.0

    def __init__(self, problem: Problem, n_envs: int, n_slots: int, horizon: int, history=None, copies: int = 4):
        self.problem, self.copies = problem, copies
        self.n_envs, self.n_slots, self.horizon = n_envs, n_slots, horizon
        self.history = history

    def reset(self, rng):
        drawn = self.n_envs // self.copies
        if self.history is None:
            wide = path(self.problem, self.horizon + 1, drawn * self.n_slots, rng)
            market = [each.reshape(self.horizon + 1, drawn, self.n_slots) for each in wide]
        else:
            starts = rng.integers(len(self.history[0]) - self.horizon, size=drawn)
            days = starts + np.arange(self.horizon + 1)[:, None]
            market = [each[days] for each in self.history]
        self.factors, self.returns = (np.repeat(each, self.copies, axis=1) for each in market)
        held = self.problem.unit * rng.standard_normal((drawn, self.n_slots))
        self.held = np.repeat(held, self.copies, axis=0)
        self.day = 0
        return self.seen()

    def seen(self):
        shown = np.stack([self.held / self.problem.unit, self.factors[self.day] / self.problem.ratio], axis=-1)
        return shown.astype(np.float32)

    def step(self, actions):
        wanted = np.asarray(actions, dtype=float) * self.problem.unit
        earned = reward(self.problem, self.held, wanted, self.returns[self.day])
        self.held = wanted
        self.day += 1
        return self.seen(), earned


def reward(problem: Problem, held: np.ndarray, wanted: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """Of one decision, per asset."""
    gain = wanted * returns - problem.gamma / 2 * wanted**2
    return (1 - problem.rho) * gain - problem.lam / 2 * (wanted - held) ** 2


def value(problem: Problem, decide, n_paths: int = 2000, n_days: int = 120, random_state: int = 12345) -> float:
    """The objective from an empty account, on fresh days, the expected return in the place of the one drawn."""
    rng = np.random.default_rng(random_state)
    factors, _ = path(problem, n_days, n_paths, rng)
    held, total = np.zeros(n_paths), 0.0
    for day in range(n_days):
        wanted = decide(problem, held, factors[day])
        total += (1 - problem.rho) ** day * float(reward(problem, held, wanted, factors[day]).mean())
        held = wanted
    return total


def of_agent(agent):
    """A trained agent as a function like ``best``."""

    def decide(problem, held, factor):
        shown = np.stack([held / problem.unit, factor / problem.ratio], axis=-1)
        return agent.act(shown.astype(np.float32)) * problem.unit

    return decide
