"""Exposure above 1 on borrowed money: the engine on both clocks, the vectorised path, and plain arithmetic."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.cash_flows import FINANCING, INTEREST, CashFlows, Payment, cash_flows
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.vectorised import Targets, simulate
from clusterfolio.strategies.policy import Decision, PolicyError
from tests.conftest import make_panel, random_closes
from tests.engine.trading.test_backtest import gapped_panel
from tests.engine.trading.test_cash_flows import rates

NAMES = list("ABCD")


class Levered:
    """Holds what it is told, times an exposure that follows from the day alone."""

    max_exposure = 1.5

    def __init__(self, weights, every=5, exposures=(1.5, 0.6, 1.2)):
        self.weights = weights
        self.guard_every = every
        self.exposures = exposures

    def decide(self, panel, state):
        return Decision(panel.dates[-1], self.weights[panel.dates[-1]])

    def guard(self, weights, panel, state):
        part = self.exposures[len(panel.sessions) // 5 % len(self.exposures)]
        base = self.weights[state.decided]
        return base * part, dict.fromkeys(base.index, f"exposure {part}")


def drawn(days, seed):
    rng = np.random.default_rng(seed)
    return {day: pd.Series(rng.dirichlet(np.ones(4)), NAMES) for day in days}


def engine(panel, policy, trading, cash=None, clock="shared"):
    return run_backtest(panel, lambda now: policy, pd.DatetimeIndex(list(policy.weights)), trading, clock, cash=cash)


def vectorised(panel, policy, trading, cash=None):
    frame = pd.DataFrame(policy.weights).T
    table = frame.to_numpy()
    picks = np.broadcast_to(panel.symbols.get_indexer(frame.columns), table.shape)
    days = pd.DatetimeIndex(list(policy.weights))
    return simulate(panel, Targets(picks[None], table[None]), days, trading, policy, cash)


@given(
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.1]),
    buffer=st.sampled_from([0.0, 0.02]),
    whole=st.booleans(),
    earns=st.booleans(),
)
@settings(max_examples=6, deadline=None)
def test_both_clocks_and_the_vectorised_path_agree_on_borrowed_money(seed, missing, buffer, whole, earns):
    panel = gapped_panel(seed=seed, missing=missing)
    policy = Levered(drawn(panel.sessions[[25, 45, 70]], seed))
    trading = TradingConfig(cash_buffer=buffer, fractional=not whole, cash_interest=earns, capital=1e6)
    cash = rates(panel, seed)
    found, stock = (engine(panel, policy, trading, cash, clock) for clock in ("shared", "stock"))
    pd.testing.assert_frame_equal(found.transactions, stock.transactions, check_exact=True)
    pd.testing.assert_frame_equal(found.payments, stock.payments, check_exact=True)
    pd.testing.assert_series_equal(found.value, stock.value, check_exact=True)
    assert found.positions["cash"].min() < 0

    twin = vectorised(panel, policy, trading, cash)
    assert twin.value[0] == pytest.approx(found.value.iloc[-1], abs=0.005)
    np.testing.assert_allclose(twin.net[0], found.returns["strategy"], atol=1e-10)
    np.testing.assert_allclose(twin.gross[0], found.gross, atol=1e-10)
    assert (
        twin.costs[0] == pytest.approx(found.costs.sum().to_numpy(), abs=0.005) and found.costs["financing"].sum() > 0
    )


def test_borrowed_money_by_hand():
    """Half as much again is bought; the night costs the rate and the spread over it, and both are named."""
    days = pd.bdate_range("2024-01-01", periods=40)
    panel = make_panel(pd.DataFrame({"A": 100.0}, days))
    panel.close.iloc[22:] = 110.0
    panel.open.iloc[22:] = panel.high.iloc[22:] = 110.0
    policy = Levered({days[20]: pd.Series({"A": 1.0})}, every=50, exposures=(1.5,))
    trading = TradingConfig(cash_buffer=0.0, costs=True, financing_spread=0.0252)
    found = engine(panel, policy, trading, pd.Series(2e-4, panel.sessions).where(panel.sessions > days[21], 0.0))
    (fill,) = found.transactions.itertuples()
    assert fill.amount == pytest.approx(1500.0)
    assert found.value.iloc[2] == pytest.approx(100_000 + 15_000 - 50_000 * (2e-4 + 1e-4))
    first = found.payments[found.payments["date"] == days[22]].set_index("reason")["amount"]
    assert first[INTEREST] == pytest.approx(-10.0) and first[FINANCING] == pytest.approx(-5.0)
    # What was earned before the costs, of which the spread over the rate is one and the rate itself is not.
    assert found.gross.iloc[1] == pytest.approx((15_000 - 10.0) / 100_000)


@pytest.mark.parametrize("earns", [True, False])
def test_what_is_borrowed_costs_rate_and_spread_whether_idle_cash_earns_or_not(earns):
    days = pd.bdate_range("2024-01-01", periods=5)
    trading = TradingConfig(cash_interest=earns, financing_spread=0.0252)
    flows = cash_flows(pd.Series(3e-4, days), trading, days[0], days)
    owed, earned = (list(flows.due(days[1], cash, lambda symbol: 0.0)) for cash in (-1000.0, 1000.0))
    assert sum(payment.amount for payment in owed) == pytest.approx(-0.4) and len(owed) == (2 if earns else 1)
    assert sum(payment.amount for payment in earned) == pytest.approx(0.3 if earns else 0.0)
    free = cash_flows(pd.Series(3e-4, days), TradingConfig(cash_interest=earns, costs=False), days[0], days)
    assert not free.financing
    day = days[1]
    assert list(CashFlows(financing={day: 1e-3}).due(day, -500.0, lambda s: 0.0)) == [Payment(day, "", -0.5, FINANCING)]


def test_no_more_is_lent_than_the_value_at_the_last_close_allows():
    """The open is a fifth above the close that sized the order: refused, and sent again for what the credit allows."""
    days = pd.bdate_range("2024-01-01", periods=60)
    panel = make_panel(pd.DataFrame({"A": 100.0}, days))
    panel.open.iloc[21:], panel.high.iloc[21:], panel.close.iloc[21:] = 120.0, 120.0, 120.0
    policy = Levered({days[20]: pd.Series({"A": 1.0})}, every=60, exposures=(1.5,))
    trading = TradingConfig(cash_buffer=0.0, costs=False)
    found, twin = engine(panel, policy, trading), vectorised(panel, policy, trading)
    fill, *more = found.transactions.itertuples()
    assert fill.reason == "rebalance, sent again after a margin refusal"
    assert fill.amount * 120.0 == pytest.approx(0.99 * 150_000)
    assert 120.0 * sum(row.amount for row in (fill, *more)) < 150_000
    assert twin.value[0] == pytest.approx(found.value.iloc[-1])


def test_a_sale_goes_through_however_much_is_owed_and_buys_nothing_beyond_the_credit():
    """The account falls by a third: it owes more than its value allows. It is sold down, and no buy is lent for."""
    closes = pd.DataFrame({"A": 100.0, "B": 50.0}, pd.bdate_range("2024-01-01", periods=60))
    closes.iloc[30:, 0] = 60.0
    panel = make_panel(closes)
    days = panel.sessions[[20, 35]]
    policy = Levered({days[0]: pd.Series({"A": 1.0}), days[1]: pd.Series({"A": 0.8, "B": 0.2})}, 60, (1.5,))
    trading = TradingConfig(cash_buffer=0.0, costs=False, financing_spread=0.0)
    found, twin = engine(panel, policy, trading), vectorised(panel, policy, trading)
    # Worth 40,000 with 90,000 of A and 50,000 owed, it may hold 60,000: 48,000 of A, and 12,000 of B.
    held = found.positions.iloc[-1]
    assert held["A"] == pytest.approx(48_000, rel=1e-6) and held["B"] == pytest.approx(12_000, rel=1e-6)
    assert held["cash"] == pytest.approx(-20_000, rel=1e-6) and twin.value[0] == pytest.approx(40_000)
    assert set(found.transactions["reason"]) == {"exposure 1.5"}


def test_without_a_guard_that_asks_for_it_nothing_is_lent():
    panel = gapped_panel(seed=1)
    policy = Levered(drawn(panel.sessions[[25]], 0), exposures=(1.0,))
    policy.max_exposure = 1.0
    found = engine(panel, policy, TradingConfig(cash_buffer=0.0))
    assert found.positions["cash"].min() >= 0 and (found.payments["reason"] != FINANCING).all()
    policy.exposures = (1.5,)
    with pytest.raises(PolicyError, match=r"weights that sum to 1\.5; expected at most 1$"):
        engine(panel, policy, TradingConfig())
    policy.max_exposure = 1.4
    with pytest.raises(PolicyError, match=r"weights that sum to 1\.5; expected at most 1\.4$"):
        engine(panel, policy, TradingConfig())


def test_an_account_that_loses_everything_is_named_and_a_portfolio_stays_lost():
    closes = random_closes(60, NAMES, seed=2)
    closes.iloc[40:] *= 0.3
    panel = make_panel(closes)
    policy = Levered({panel.sessions[20]: pd.Series(0.25, NAMES)}, exposures=(1.5,))
    for clock in ("shared", "stock"):
        with pytest.raises(ValueError, match=f"the account was lost on {panel.sessions[40].date()}: it held up to 1.5"):
            engine(panel, policy, TradingConfig(), clock=clock)
    twin = vectorised(panel, policy, TradingConfig())
    at = twin.sessions.get_loc(panel.sessions[40])
    assert twin.net[0, at] == pytest.approx(-1.0) and np.isfinite(np.log1p(twin.net)).all()
    assert (twin.net[0, at + 1 :] == 0).all() and twin.value[0] < 0
