"""Costs by kind: by hand, the same on both clocks and in the vectorised path, adding up, and blind to the future."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.engine.trading import costs
from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.costs import KINDS, OF_TRADES, costs_of
from clusterfolio.feeds.panel import SESSIONS_PER_YEAR
from clusterfolio.strategies.rebalance import GIVE_UP_AFTER
from tests.conftest import FixedPolicy, make_panel, random_closes
from tests.engine.trading.test_backtest import gapped_panel
from tests.engine.trading.test_cash_flows import rates
from tests.engine.trading.test_leverage import Levered, drawn, engine, vectorised

ALL = {"spread_scaling": 1.0, "impact": 1.0, "volume_cap": 0.05, "financing_spread": 0.02}
EACH = [{}, {"spread_scaling": 1.0}, {"impact": 1.0}, {"volume_cap": 0.05}, {"half_spreads": ("unknown=9",)}, ALL]


def traded_panel(seed=0, missing=0.0, n_days=180):
    """Prices whose volatility changes, and volumes of which some are not known."""
    panel = gapped_panel(seed=seed, missing=missing, n_days=n_days)
    rng = np.random.default_rng(seed + 2)
    volume = panel.close.notna() * rng.lognormal(11.0, 0.6, panel.close.shape)
    volume["D"] = np.nan
    return replace(panel, volume=volume.mask(rng.random(volume.shape) < 0.1))


# By hand -----------------------------------------------------------------------------------------------------------


def flat_then(moves, days=300):
    """One asset, closes by daily moves up and down in turn, traded for 1,000 shares a day."""
    steps = np.where(np.arange(days) % 2, 1.0, -1.0) * moves
    closes = pd.DataFrame({"A": 100 * np.cumprod(1 + steps)}, pd.bdate_range("2023-01-02", periods=days))
    return make_panel(closes, commission_bps=2.0, half_spread_bps=3.0)


def test_a_spread_is_scaled_by_recent_over_long_run_volatility():
    moves = np.full(300, 0.01)
    moves[270:] = 0.03
    panel = flat_then(moves)
    found = costs_of(panel, panel, TradingConfig(spread_scaling=1.0))
    # The first day has no return: 299 in all, of which at the last close 30 are of 3 %.
    long = np.sqrt((269 * 0.01**2 + 30 * 0.03**2) / 299)
    assert found.spread[-1, 0] == pytest.approx(3e-4 * 0.03 / long)
    assert found.spread[[100, 260], 0] == pytest.approx([3e-4, 3e-4])  # on day 100 there is no long run yet
    root = costs_of(panel, panel, TradingConfig(spread_scaling=0.5, cost_multiplier=2.0))
    assert root.spread[-1, 0] == pytest.approx(6e-4 * np.sqrt(0.03 / long)) and root.commission[0] == 4e-4
    moves[270:] = 0.0  # it stands still: the least there is
    still = costs_of(flat_then(moves), flat_then(moves), TradingConfig(spread_scaling=1.0))
    assert still.spread[-1, 0] == pytest.approx(3e-4 * costs.LEAST_SCALE)
    moves[270:] = 0.5
    bounded = costs_of(flat_then(moves), flat_then(moves), TradingConfig(spread_scaling=1.0))
    assert bounded.spread[-1, 0] == pytest.approx(3e-4 * min(costs.MOST_SCALE, 0.5 / np.sqrt((269e-4 + 7.5) / 299)))


def test_impact_is_the_square_root_law_and_a_cap_a_part_of_the_volume():
    panel = flat_then(np.full(300, 0.01))
    price = float(panel.close["A"].iloc[-1])
    value = float((panel.close["A"] * 1000.0).iloc[-21:].mean())
    found = costs_of(panel, panel, TradingConfig(impact=0.8, volume_cap=0.1))
    commission, spread, impact = found.parts(299, 0, -250.0)
    assert (commission, spread) == pytest.approx((2e-4, 3e-4))
    assert impact == pytest.approx(0.8 * 0.01 * np.sqrt(250.0 * price / value))
    assert found.at_most("A", panel.dates[-1]) == pytest.approx(0.1 * value / price)
    nothing = costs_of(replace(panel, volume=panel.volume * np.nan), panel, TradingConfig(impact=0.8, volume_cap=0.1))
    assert nothing.parts(299, 0, 250.0)[2] == 0.0 and nothing.at_most("A", panel.dates[-1]) == np.inf


def test_a_class_may_have_its_own_half_spread():
    panel = make_panel(random_closes(30, "AB"), asset_class=["equity", "crypto"], half_spread_bps=[1.0, 2.0])
    found = costs_of(panel, panel, TradingConfig(half_spreads=("crypto=7",)))
    np.testing.assert_allclose(found.spread[-1], [1e-4, 7e-4])
    for wrong in ("stocks=1", "equity=-1", "equity", "equity=x"):
        with pytest.raises(ValueError, match=r"trading\.half_spreads: got '.*', expected class=basis points"):
            TradingConfig(half_spreads=(wrong,))
    assert costs_of(panel, panel, TradingConfig(costs=False, impact=1.0)).spread.max() == 0.0


@pytest.mark.parametrize("fractional", [True, False])
def test_a_large_order_is_filled_in_parts_over_the_days_and_pays_for_each(fractional):
    panel = make_panel(pd.DataFrame(100.0, pd.bdate_range("2024-01-01", periods=60), ["A", "B"]))
    day = panel.sessions[30]
    policy = FixedPolicy({day: pd.Series({"A": 0.5})})
    # 490 shares are wanted (a hair less: 489 whole ones), and a tenth of 1,000 goes through, or a fortieth.
    trading = TradingConfig(volume_cap=0.1, fractional=fractional, impact=1.0)
    found = run_backtest(panel, lambda now: policy, panel.sessions[[30]], trading)
    assert found.transactions["amount"].tolist() == pytest.approx(
        [100.0] * 4 + [90.0 if fractional else 89.0], rel=1e-6
    )
    assert found.transactions["date"].tolist() == list(panel.sessions[31:36])
    assert set(found.transactions["reason"]) == {"rebalance"} and not found.unfilled
    slow = replace(trading, volume_cap=1 / 40)
    found = run_backtest(panel, lambda now: policy, panel.sessions[[30]], slow)
    assert len(found.transactions) == GIVE_UP_AFTER
    ((when, name, why),) = found.unfilled
    assert (when, name) == (panel.sessions[30 + GIVE_UP_AFTER], "A")
    assert why == f"its volume lets so much through in {GIVE_UP_AFTER} sessions; 77 % of its target reached"


# The same in the engine and in the vectorised path -----------------------------------------------------------------


@pytest.mark.parametrize("kinds", EACH, ids=lambda kinds: "+".join(kinds) or "stated")
@given(
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.1]),
    buffer=st.sampled_from([0.0, 0.02]),
    whole=st.booleans(),
    most=st.sampled_from([1.0, 1.5]),
)
@settings(max_examples=4, deadline=None)
def test_both_clocks_and_the_vectorised_path_pay_the_same(kinds, seed, missing, buffer, whole, most):
    panel = traded_panel(seed, missing)
    parts = (most, 0.6, 0.8 * most)
    policy = Levered(drawn(panel.sessions[[130, 150, 160]], seed), exposures=parts)
    policy.max_exposure = most
    trading = TradingConfig(cash_buffer=buffer, fractional=not whole, capital=1e6, **kinds)
    cash = rates(panel, seed)
    found, stock = (engine(panel, policy, trading, cash, clock) for clock in ("shared", "stock"))
    pd.testing.assert_frame_equal(found.transactions, stock.transactions, check_exact=True)
    pd.testing.assert_frame_equal(found.costs, stock.costs, check_exact=True)
    pd.testing.assert_series_equal(found.value, stock.value, check_exact=True)
    assert found.unfilled == stock.unfilled

    twin = vectorised(panel, policy, trading, cash)
    assert twin.value[0] == pytest.approx(found.value.iloc[-1], abs=0.005)
    np.testing.assert_allclose(twin.net[0], found.returns["strategy"], atol=1e-9)
    np.testing.assert_allclose(twin.gross[0], found.gross, atol=1e-9)
    assert twin.costs[0] == pytest.approx(found.costs.sum().to_numpy(), abs=0.005)
    assert twin.traded[0] == pytest.approx(found.transactions["value"].abs().sum(), rel=1e-9)
    adds_up(found, panel, trading, cash)


def adds_up(found, panel, trading, cash):
    """Gross is net and the costs, by kind and to the cent, all worked out anew from fills and closes."""
    sessions, before = found.returns.index, found.value.shift(1).iloc[1:]
    assert list(found.costs.columns) == list(KINDS) and (found.costs >= -1e-12).all(axis=None)
    gained = ((found.gross - found.returns["strategy"]) * before).cumsum()
    np.testing.assert_allclose(gained, found.costs.sum(axis=1).cumsum(), atol=0.005)
    for kind in OF_TRADES:
        assert found.costs[kind].sum() == pytest.approx(found.transactions[kind].sum(), abs=0.005)
    borrowed = found.positions["cash"].clip(upper=0.0).shift(1).iloc[1:]
    spread = trading.financing_spread * trading.cost_multiplier / SESSIONS_PER_YEAR
    base = 0.0 if trading.cash_interest else cash.reindex(sessions)
    np.testing.assert_allclose(found.costs["financing"], -borrowed * (spread + base), atol=0.005)
    # What the account would be worth, had nothing been charged and the money gone nowhere.
    moves = found.transactions.pivot_table(index="date", columns="symbol", values="amount", aggfunc="sum")
    held = moves.reindex(found.value.index).fillna(0.0).cumsum()
    worth = (held * panel.close.ffill().loc[held.index, held.columns]).sum(axis=1)
    spent = found.transactions.groupby("date")["value"].sum().reindex(held.index).fillna(0.0).cumsum()
    free = trading.capital + worth - spent + found.interest.reindex(held.index).fillna(0.0).cumsum()
    charged = found.costs.sum(axis=1).reindex(held.index).fillna(0.0).cumsum()
    if trading.fractional:  # else dividends would count too
        np.testing.assert_allclose(found.value, free - charged, atol=0.005)


# Time ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", ["shared", "stock"])
def test_costs_and_parts_know_nothing_of_what_comes_after_the_close_before(clock):
    panel = traded_panel(seed=5)
    weights, cut = drawn(panel.sessions[[130, 152]], 3), panel.sessions[152]
    later = panel.dates > cut
    rng = np.random.default_rng(0)
    closes = panel.close.mask(later[:, None] & np.ones(4, dtype=bool), panel.close * rng.uniform(0.2, 5, (180, 4)))
    other = replace(
        panel, close=closes, low=np.minimum(panel.low, closes), high=np.maximum(panel.high, closes),
        volume=panel.volume.mask(later[:, None] & np.ones(4, dtype=bool), 1.0),
    )  # fmt: skip
    trading = TradingConfig(capital=1e6, **ALL)
    one, two = (engine(some, Levered(weights), trading, rates(panel), clock) for some in (panel, other))
    for name in ("transactions", "payments"):
        tables = [getattr(run, name) for run in (one, two)]
        pd.testing.assert_frame_equal(*(table[table["date"] <= cut] for table in tables), check_exact=True)
    assert (one.costs[:cut].sum() > 0).all()
    # The day after fills at its own open, at what was known at the cut.
    fills = [run.transactions[run.transactions["date"] == panel.sessions[153]] for run in (one, two)]
    pd.testing.assert_frame_equal(*fills, check_exact=True)
    assert len(fills[0])
