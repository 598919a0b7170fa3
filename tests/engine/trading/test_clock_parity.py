"""Random strategies on random panels: the shared clock and stock backtrader see the same, to the last bit."""

import random

import backtrader as bt
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.engine.trading.clock_parity import ORDERS, assert_parity, both, next_day, random_panel, trading

QUICK, THOROUGH = 40, 300

PANELS = {
    "n_assets": [1, 2, 5, 8, 20, 24],
    "n_days": [3, 30, 45, 60, 60],
    "missing": [0.0, 0.03, 0.3],
    "late": [0, 5, 25],
    "early": [0, 5, 25],
    "weekends": [False, True],
    "halts": [0, 2],
    "no_volume": [0.0, 0.5],
}
TRADERS = {
    "cash": [500.0, 20_000.0, 20_000.0],
    "appetite": [0.05, 0.2, 0.4],
    "valid": [None, None, 0, 2.5, next_day(0), next_day(3)],
    "early_bird": [True, True, False],
    "cash_flow": [False, False, True],
}
COMMISSIONS = [
    {},
    {"commission": 0.002},
    {"commission": 1.5, "margin": 20.0, "mult": 3.0},
    {"commission": 0.001, "interest": 0.08, "interest_long": True},
    {"commission": 0.001, "leverage": 2.0, "interest": 0.05},
]
BROKERS = [
    {},
    {"slip_perc": 0.01, "slip_open": True},
    {"slip_fixed": 0.2, "slip_match": False, "slip_limit": False},
    {"coc": True},
    {"shortcash": False},
    {"checksubmit": False, "int2pnl": False},
    {"fundmode": True},
]
CEREBROS = [{}, {}, {"cheat_on_open": True}, {"stdstats": True}, {"quicknotify": True}, {"tradehistory": True}]


def check(number):
    """Draw one of some 10**8 scenarios by its number, and run it both ways."""
    rng = random.Random(number)
    panel = random_panel(seed=number % 10_007, **{name: rng.choice(values) for name, values in PANELS.items()})
    trader = {name: rng.choice(values) for name, values in TRADERS.items()}
    orders = ("market", *rng.sample(ORDERS, rng.randint(0, 5)))
    commission, broker, cerebro = rng.choice(COMMISSIONS), rng.choice(BROKERS), rng.choice(CEREBROS)

    def configure(engine):
        engine.broker = bt.brokers.BackBroker(**broker)
        engine.broker.setcommission(**commission)

    trader |= {"seed": number, "orders": orders, "on_open": cerebro.get("cheat_on_open", False)}
    assert_parity(both(configure, trading(**trader)), panel, cerebro_args=cerebro)


scenario = given(number=st.integers(0, 2**32 - 1))
# Not shrunk: the number alone says which scenario failed, and there is no simpler one near it.
common = {
    "deadline": None,
    "derandomize": True,
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": [HealthCheck.too_slow],
}
test_random_panels_agree = settings(max_examples=QUICK, **common)(scenario(check))
test_many_random_panels_agree = pytest.mark.acceptance(settings(max_examples=THOROUGH, **common)(scenario(check)))
