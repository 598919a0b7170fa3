"""Random strategies on random panels: the shared clock and stock backtrader see the same, to the last bit."""

import backtrader as bt
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.engine.clock_parity import ORDERS, assert_parity, both, next_day, random_panel, trading

QUICK, THOROUGH = 40, 240

panels = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "n_assets": st.one_of(st.just(1), st.integers(2, 8), st.integers(20, 24)),
        "n_days": st.integers(2, 60),
        "missing": st.sampled_from([0.0, 0.03, 0.3]),
        "late": st.sampled_from([0, 5, 25]),
        "early": st.sampled_from([0, 5, 25]),
        "weekends": st.booleans(),
        "halts": st.sampled_from([0, 2]),
        "no_volume": st.sampled_from([0.0, 0.5]),
    }
)
traders = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "cash": st.sampled_from([500.0, 20_000.0]),
        "orders": st.lists(st.sampled_from(ORDERS), min_size=1, max_size=5, unique=True),
        "appetite": st.sampled_from([0.05, 0.3]),
        "valid": st.sampled_from([None, 0, 2.5, next_day(0), next_day(3)]),
        "on_open": st.booleans(),
        "cash_flow": st.booleans(),
    }
)
commissions = st.sampled_from(
    [
        {},
        {"commission": 0.002},
        {"commission": 1.5, "margin": 20.0, "mult": 3.0},
        {"commission": 0.001, "interest": 0.08, "interest_long": True},
        {"commission": 0.001, "leverage": 2.0, "interest": 0.05},
    ]
)
brokers = st.sampled_from(
    [
        {},
        {"slip_perc": 0.01, "slip_open": True},
        {"slip_fixed": 0.2, "slip_match": False, "slip_limit": False},
        {"coc": True},
        {"shortcash": False},
        {"checksubmit": False, "int2pnl": False},
        {"fundmode": True},
    ]
)
cerebros = st.sampled_from(
    [{}, {"cheat_on_open": True}, {"stdstats": True}, {"quicknotify": True}, {"tradehistory": True}]
)


def check(panel, trader, commission, broker, cerebro):
    def configure(engine):
        engine.broker = bt.brokers.BackBroker(**broker)
        engine.broker.setcommission(**commission)

    assert_parity(both(configure, trading(**trader)), random_panel(**panel), cerebro_args=cerebro)


scenario = given(panel=panels, trader=traders, commission=commissions, broker=brokers, cerebro=cerebros)
# Without shrinking: an example that fails is printed with its seeds, and shrinking it would take minutes.
common = {
    "deadline": None,
    "derandomize": True,
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
test_random_panels_agree = settings(max_examples=QUICK, **common)(scenario(check))
test_many_random_panels_agree = pytest.mark.acceptance(settings(max_examples=THOROUGH, **common)(scenario(check)))
