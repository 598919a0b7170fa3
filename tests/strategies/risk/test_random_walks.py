"""On a random walk no stop helps: it costs the drift of the days on which it is out (Kaminski and Lo 2014)."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.vectorised import Targets, simulate
from clusterfolio.feeds.features import with_features
from clusterfolio.strategies.risk.config import RiskConfig
from clusterfolio.strategies.risk.embedding_stop import EmbeddingStop
from clusterfolio.strategies.risk.rules import RiskRules
from clusterfolio.strategies.risk.stops import stopped
from tests.conftest import make_panel
from tests.strategies.risk.test_embedding_stop import Wildness

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


# Whole accounts: 40 names, decided on every month, looked at every day, no costs ------------------------------------

WORLDS, NAMES, SESSIONS, FIRST = 20, 40, 300, 60
DRIFTS = (0.0, 0.001)


def walks(world: int, drift: float):
    """Independent random walks of 1 % a day."""
    steps = drift + np.random.default_rng(world).normal(0.0, 0.01, (SESSIONS, NAMES + 1))
    names = [*(f"A{name:02d}" for name in range(NAMES)), "MARKET"]
    days = pd.bdate_range("2023-01-02", periods=SESSIONS)
    return make_panel(pd.DataFrame(100 * np.cumprod(1 + steps, axis=0), days, names), benchmark="MARKET")


def total_return(panel, guard=None) -> float:
    days = panel.sessions[FIRST:-5:21]
    picks = np.tile(np.arange(NAMES), (1, len(days), 1))
    trading = TradingConfig(costs=False, cash_buffer=0.0)
    found = simulate(panel, Targets(picks, np.full(picks.shape, 1 / NAMES)), days, trading, guard)
    return float(found.value[0] / trading.capital - 1.0)


@pytest.fixture(scope="module")
def worlds():
    """By drift, panels and what they return without a rule."""
    panels = {drift: [walks(world, drift) for world in range(WORLDS)] for drift in DRIFTS}
    return {drift: [(panel, total_return(panel)) for panel in found] for drift, found in panels.items()}


def rules_of(rule: str, panel):
    """The rule as an account has it, and the panel with what it looks at."""
    if rule != "embedding":
        return RiskRules(replace(STOPS[rule], cool_down=COOL_DOWN)), panel
    panel = with_features(panel)
    stop = EmbeddingStop(Wildness(), (panel.dates[35], panel.dates[FIRST]), 0.9)
    return RiskRules(RiskConfig(embedding_stop=0.9, cool_down=COOL_DOWN), stop), panel


@pytest.mark.acceptance
@pytest.mark.parametrize("rule", [*STOPS, "embedding"])
def test_an_account_under_a_stop_loses_the_drift_and_nothing_else(worlds, rule, capsys):
    for drift, plain in worlds.items():
        effects = []
        for panel, without in plain:
            rules, panel = rules_of(rule, panel)
            effects.append(total_return(panel, rules) - without)
        mean, error = np.mean(effects), np.std(effects, ddof=1) / np.sqrt(WORLDS)
        with capsys.disabled():
            print(f"\n{rule}, drift {drift:.1%} a day: {mean:+.3%} of the capital, standard error {error:.3%}")
        assert mean < -2 * error if drift else abs(mean) < 2 * error
