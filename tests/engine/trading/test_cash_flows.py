"""What idle cash earns: in the engine on both clocks, in the vectorised path, and by plain arithmetic."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.cash_flows import INTEREST, CashFlows, Payment, cash_flows, interest
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.metrics import performance
from clusterfolio.engine.trading.vectorised import Targets, simulate
from tests.conftest import FixedPolicy, make_panel, random_closes
from tests.engine.trading.test_backtest import gapped_panel

NAMES = "ABCD"


def rates(panel, seed=0, low=0.0) -> pd.Series:
    return pd.Series(np.random.default_rng(seed).uniform(low, 1e-3, len(panel.sessions)), panel.sessions)


def drawn_weights(days, seed, part=1.0) -> dict:
    rng = np.random.default_rng(seed)
    return {day: pd.Series(rng.dirichlet(np.ones(4)) * part * rng.integers(0, 2, 4), list(NAMES)) for day in days}


def engine(panel, weights, trading, cash, clock="shared"):
    policy = FixedPolicy(weights)
    return run_backtest(panel, lambda now: policy, pd.DatetimeIndex(list(weights)), trading, clock, cash=cash)


def vectorised(panel, weights, trading, cash):
    table = pd.DataFrame(weights).T[list(NAMES)].to_numpy()
    picks = np.broadcast_to(panel.symbols.get_indexer(list(NAMES)), table.shape)
    targets = Targets(np.where(table > 0, picks, -1)[None], table[None])
    return simulate(panel, targets, pd.DatetimeIndex(list(weights)), trading, cash=cash)


def by_hand(panel, weights, trading, cash, cost):
    """Each session pays the cash of the close before; then orders fill at their own next open, fractions allowed."""
    shares, last = pd.Series(0.0, list(NAMES)), pd.Series(np.nan, list(NAMES))
    money, pending, values, paid = trading.capital, {}, {}, {}
    for day in panel.dates:
        opens, closes = panel.open.loc[day, list(NAMES)], panel.close.loc[day, list(NAMES)]
        if day in cash.index and day > min(weights):
            paid[day] = money * cash[day]
            money += paid[day]
        for name in [name for name in pending if np.isfinite(opens[name])]:
            amount = pending.pop(name)
            money -= amount * opens[name] + abs(amount * opens[name]) * cost
            shares[name] += amount
        last = closes.where(closes.notna(), last)
        values[day] = money + float((shares * last.fillna(0.0)).sum())
        if day in weights:
            change = values[day] * (1 - trading.cash_buffer) * weights[day] / last - shares
            pending = {name: change[name] for name in NAMES if abs(change[name]) > 1e-12}
    return pd.Series(values), pd.Series(paid)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1]), st.booleans(), st.sampled_from([0.1, 0.5]))
@settings(max_examples=10, deadline=None)
def test_both_clocks_the_vectorised_path_and_plain_arithmetic_pay_the_same_interest(seed, missing, weekends, buffer):
    panel = gapped_panel(seed=seed, missing=missing)
    if weekends:  # days with a bar of some that are no session
        panel = make_panel(panel.close, panel.open, panel.sessions[::2], commission_bps=2.0, half_spread_bps=3.0)
    days = panel.sessions.intersection(panel.dates)
    days = days[[len(days) // 4, len(days) // 2, len(days) * 3 // 4]]
    weights, trading = drawn_weights(days, seed), TradingConfig(cash_buffer=buffer)
    cash = rates(panel, seed)
    found, stock = (engine(panel, weights, trading, cash, clock) for clock in ("shared", "stock"))
    pd.testing.assert_frame_equal(found.payments, stock.payments, check_exact=True)
    pd.testing.assert_series_equal(found.value, stock.value, check_exact=True)

    expected, paid = by_hand(panel, weights, trading, cash, 5e-4)
    assert found.value.to_numpy() == pytest.approx(expected.reindex(found.value.index).to_numpy(), abs=0.01)
    assert found.interest.to_numpy() == pytest.approx(paid.reindex(found.interest.index).to_numpy(), abs=1e-6)
    assert found.interest.gt(0).all()

    twin = vectorised(panel, weights, trading, cash)
    assert twin.value[0] == pytest.approx(found.value.iloc[-1], abs=0.01)
    np.testing.assert_allclose(twin.net[0], found.returns["strategy"], atol=1e-10)


def test_sizes_know_the_interest_paid_by_the_close_they_are_decided_on_and_nothing_later():
    panel = gapped_panel()
    first, second = panel.sessions[[20, 50]]
    weights = {first: pd.Series(0.0, list(NAMES)), second: pd.Series({"A": 0.5})}
    cash = rates(panel)
    found = engine(panel, weights, TradingConfig(), cash)
    grown = 100_000.0 * (1 + cash[panel.sessions[21:51]]).prod()
    assert found.value[second] == pytest.approx(grown)
    (fill,) = found.transactions.itertuples()
    assert fill.amount == pytest.approx(grown * 0.98 * 0.5 / panel.close.loc[second, "A"])


@pytest.mark.parametrize("clock", ["shared", "stock"])
def test_what_rates_are_later_changes_nothing_before(clock):
    panel = gapped_panel(seed=4, missing=0.1)
    days = panel.sessions[[20, 40, 60]]
    weights, cash, cut = drawn_weights(days, 1), rates(panel), panel.sessions[60]
    later = cash.where(cash.index <= cut, 1.0)
    one, two = (engine(panel, weights, TradingConfig(cash_buffer=0.3), known, clock) for known in (cash, later))
    pd.testing.assert_series_equal(one.value[:cut], two.value[:cut], check_exact=True)
    sized = one.transactions["amount"][one.transactions["date"] <= panel.sessions[61]]
    pd.testing.assert_series_equal(sized, two.transactions["amount"].iloc[: len(sized)], check_exact=True)
    assert (one.value != two.value).any()


def test_interest_is_there_for_the_orders_of_the_day():
    """A buy that only the night's interest pays for is neither refused nor cut."""
    panel = make_panel(pd.DataFrame(100.0, pd.bdate_range("2024-01-01", periods=30), ["A", "B", "C", "D"]))
    panel.open.iloc[21:] = 101.0  # more than was there at the close
    cash = pd.Series(0.0, panel.sessions)
    cash.iloc[21] = 0.02
    day = panel.sessions[20]
    found = engine(panel, {day: pd.Series({"A": 1.0})}, TradingConfig(cash_buffer=0.0, costs=False), cash)
    (fill,) = found.transactions.itertuples()
    assert fill.reason == "rebalance" and fill.amount == pytest.approx(1000.0)
    assert found.positions["cash"].iloc[1] == pytest.approx(102_000.0 - 101_000.0)


def test_an_account_in_cash_earns_the_rate_and_has_no_sharpe_ratio():
    panel = gapped_panel()
    day, cash = panel.sessions[20], rates(panel)
    found = engine(panel, {day: pd.Series(0.0, list(NAMES))}, TradingConfig(), cash)
    per_session = cash[found.returns.index]
    np.testing.assert_allclose(found.returns["strategy"], per_session, atol=1e-15)
    figures = performance(found.returns["strategy"], per_session)
    assert np.isnan(figures["sharpe"]) and np.isnan(figures["sortino"]) and figures["total_return"] > 0


def test_without_it_nothing_is_paid_and_nothing_before_the_first_decision():
    panel = gapped_panel()
    weights = drawn_weights(panel.sessions[[20]], 2)
    for trading, cash in ((TradingConfig(cash_interest=False), rates(panel)), (TradingConfig(), None)):
        found = engine(panel, weights, trading, cash)
        assert found.payments.empty
        assert vectorised(panel, weights, trading, cash).value[0] == pytest.approx(found.value.iloc[-1], rel=1e-12)
    found = engine(panel, weights, TradingConfig(), 0.05)
    assert found.payments["date"].min() == panel.sessions[21] and set(found.payments["reason"]) == {INTEREST}
    assert found.value.iloc[0] == 100_000.0


def test_borrowed_cash_pays_the_rate():
    day = pd.Timestamp("2024-01-02")
    assert list(CashFlows({day: 1e-3}).due(day, -500.0, lambda symbol: 0.0)) == [Payment(day, "", -0.5, INTEREST)]
    np.testing.assert_allclose(interest(np.array([-500.0, 0.0, 500.0]), 1e-3), [-0.5, 0.0, 0.5])


def test_a_session_without_a_rate_is_refused():
    panel = make_panel(random_closes(30, NAMES))
    with pytest.raises(ValueError, match="cash: no rate on 1 of 9 sessions"):
        cash_flows(rates(panel).iloc[:-1], TradingConfig(), panel.sessions[20], panel.sessions)
