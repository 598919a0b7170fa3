"""On a random walk no stop helps: it costs the drift of the days on which it is out (Kaminski and Lo 2014)."""

import numpy as np
import pytest

from clusterfolio.strategies.risk.config import RiskConfig
from clusterfolio.strategies.risk.stops import stopped

PATHS, DAYS, COOL_DOWN = 200, 200, 21

STOPS = {
    "stop": RiskConfig(stop=0.04),
    "trailing": RiskConfig(trailing_stop=0.05),
    "atr": RiskConfig(atr_stop=4.0),
    "profit": RiskConfig(take_profit=0.05),
}


def effect(config: RiskConfig, steps: np.ndarray) -> float:
    """What a stop adds to the sum of one path's daily returns: it leaves at the close and comes back when cool."""
    prices, lost, entry, out_until = 100 * np.cumprod(1 + np.r_[0.0, steps]), 0.0, 0, -1
    for day in range(1, len(prices)):
        if day <= out_until:
            lost += steps[day - 1]
            entry = day
        elif stopped(prices[entry : day + 1], prices[entry], 0.01 * prices[day], config):
            out_until = day + COOL_DOWN
    return -lost


@pytest.mark.parametrize("rule", STOPS)
def test_a_stop_costs_the_drift_and_nothing_else(rule):
    noise = np.random.default_rng(1).normal(0.0, 0.01, (PATHS, DAYS))
    noise -= noise.mean()
    for drift in (0.0, 0.001):
        effects = np.array([effect(STOPS[rule], drift + path) for path in noise])
        error = effects.std(ddof=1) / np.sqrt(PATHS)
        if drift:
            assert effects.mean() < -2 * error
        else:
            assert abs(effects.mean()) < 2 * error
