"""Stops and take-profits that rest with the broker: by hand, on both clocks, beside the vectorised path, and why."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.vectorised import Targets, simulate
from clusterfolio.strategies.policy import Decision
from clusterfolio.strategies.risk.config import RiskConfig
from clusterfolio.strategies.risk.rules import RiskRules
from tests.conftest import make_panel, random_closes

SYMBOLS = "ABCDEF"
WHOLE, DEAR = TradingConfig(fractional=False, costs=False), TradingConfig(fractional=False)

RESTING = {
    "stop": RiskConfig(stop=0.05, stop_orders="resting"),
    "trailing": RiskConfig(trailing_stop=0.06, stop_orders="resting", stop_every=5, cool_down=10),
    "atr": RiskConfig(atr_stop=3.0, stop_orders="resting"),
    "profit": RiskConfig(take_profit=0.05, stop_orders="resting"),
    "bracket": RiskConfig(stop=0.04, take_profit=0.06, stop_orders="resting"),
    "everything": RiskConfig(
        stop=0.08, trailing_stop=0.1, atr_stop=6.0, take_profit=0.2, cool_down=15, volatility_target=0.12,
        name_volatility=0.3, max_drawdown=0.06, drawdown_sessions=20, max_exposure=0.9, stop_orders="resting",
    ),
}  # fmt: skip


class Told(RiskRules):
    """Holds what it is told, under the rules."""

    def __init__(self, chosen, config):
        super().__init__(config)
        self.chosen = chosen

    def decide(self, panel, state):
        return Decision(panel.dates[-1], self.chosen[panel.dates[-1]])


def bars(*of_days, **assets):
    """A panel of A with these bars (open, high, low, close), beside a flat benchmark."""
    days = pd.bdate_range("2024-01-01", periods=len(of_days))
    table = np.array(of_days, dtype=float)
    flat = np.full(len(days), 100.0)
    frames = [pd.DataFrame({"A": table[:, at], "B": flat}, days) for at in range(4)]
    panel = make_panel(frames[3], frames[0], benchmark="B", **assets)
    return replace(panel, high=frames[1], low=frames[2])


def trades(panel, config, decided=(0,), weight=0.5):
    chosen = {panel.dates[at]: pd.Series({"A": weight}) for at in decided}
    policy = Told(chosen, config)
    result = run_backtest(panel, lambda now: policy, pd.DatetimeIndex(list(chosen)), WHOLE)
    return result.transactions


# By hand -----------------------------------------------------------------------------------------------------------

BOUGHT = [(100, 100, 100, 100), (100, 101, 99, 100)]  # decided on, bought at 100 the day after


@pytest.mark.parametrize(
    ("config", "bar", "price", "why"),
    [
        ({"stop": 0.1}, (97, 98, 89, 95), 90, "stop order, 10.0 % under its entry"),
        ({"stop": 0.1}, (85, 98, 80, 95), 85, "stop order, 10.0 % under its entry"),  # gapped through
        ({"stop": 0.1}, (97, 98, 91, 95), None, ""),
        ({"trailing_stop": 0.05}, (97, 98, 94, 96), 95, "trailing stop order, 5.0 % under its high"),
        ({"take_profit": 0.2}, (110, 125, 105, 119), 120, "take-profit order, 20.0 % above its entry"),
        ({"take_profit": 0.2}, (130, 135, 105, 119), 130, "take-profit order, 20.0 % above its entry"),
        # Both are reached: which was first nobody knows, so it is the stop.
        ({"stop": 0.1, "take_profit": 0.2}, (100, 130, 80, 100), 90, "stop order, 10.0 % under its entry"),
    ],
)
def test_an_order_is_carried_out_at_its_price_or_at_a_gap_s_open(config, bar, price, why):
    table = trades(bars(*BOUGHT, bar, (95, 95, 95, 95), (95, 95, 95, 95)), RiskConfig(**config, stop_orders="resting"))
    sold = table[table["amount"] < 0]
    if price is None:
        assert sold.empty
        return
    assert list(sold["price"]) == [price] and list(sold["reason"]) == [why]
    assert sold["date"].iloc[0] == pd.Timestamp("2024-01-03")
    assert table["amount"].sum() == 0 and (table["amount"] % 1 == 0).all()


def test_on_the_close_the_same_rule_leaves_a_day_later():
    panel = bars(*BOUGHT, (97, 98, 85, 89), (88, 90, 85, 89), (88, 88, 88, 88))
    sold = trades(panel, RiskConfig(stop=0.1)).iloc[-1]
    assert (sold["price"], sold["date"]) == (88, panel.dates[3])


def test_a_trailing_order_follows_the_highest_close_and_never_falls():
    rising = [(100, 111, 100, 110), (110, 121, 110, 120), (118, 119, 115, 116), (116, 117, 100, 101), (101,) * 4]
    sold = trades(bars(*BOUGHT, *rising), RiskConfig(trailing_stop=0.1, stop_orders="resting")).iloc[-1]
    assert sold["price"] == pytest.approx(108) and sold["date"] == pd.Timestamp("2024-01-08")


def test_it_is_not_carried_out_on_the_bar_that_it_was_sent_after():
    """A has no bar on the third day: what its second reached is over."""
    nothing = (np.nan,) * 4
    panel = bars(BOUGHT[0], (100, 101, 80, 100), nothing, (100, 101, 99, 100), (100,) * 4)
    assert len(trades(panel, RiskConfig(stop=0.1, stop_orders="resting"))) == 1


def test_a_name_that_it_sold_stays_out_until_it_has_cooled_down():
    panel = bars(*BOUGHT, (97, 98, 89, 95), *[(95, 95, 95, 95)] * 12)
    config = RiskConfig(stop=0.1, stop_orders="resting", cool_down=6)
    for decided, again in ((5, False), (8, True)):
        table = trades(panel, config, decided=(0, decided))
        assert (len(table) == 3) is again


def test_only_whole_shares_may_rest_and_something_must():
    from clusterfolio.engine.config.run import make_config

    with pytest.raises(ValueError, match=r'risk.stop_orders: got "resting", but nothing is to rest'):
        RiskConfig(stop_orders="resting")
    settings = {"risk": {"stop": 0.1, "stop_orders": "resting"}}
    with pytest.raises(ValueError, match=r"risk\.stop_orders.*trading\.fractional"):
        make_config(settings)
    assert make_config(settings | {"trading": {"fractional": False}}).risk.rests


# Both clocks and the vectorised path ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def market():
    closes = random_closes(170, SYMBOLS, seed=1, volatility=0.02)
    closes.iloc[80:115, 2] = np.nan  # silent for long
    closes.iloc[50::7, 3] = np.nan  # holidays of its own
    rng = np.random.default_rng(1)
    panel = make_panel(closes, closes.shift(1) * np.exp(rng.normal(0, 0.01, closes.shape)), commission_bps=2.0)
    wide = np.exp(np.abs(rng.normal(0, 0.01, (2, *closes.shape))))
    panel = replace(panel, high=panel.high * wide[0], low=panel.low / wide[1])
    days = panel.sessions[[40, 60, 90, 120, 145]]
    return panel, {day: pd.Series(0.3, sorted(rng.choice(list(SYMBOLS), 3, replace=False))) for day in days}


def run_on(clock, market, rule, trading=DEAR):
    panel, chosen = market
    policy = Told(chosen, RESTING[rule])
    return run_backtest(panel, lambda now: policy, pd.DatetimeIndex(list(chosen)), trading, clock)


@pytest.mark.parametrize("rule", RESTING)
def test_both_clocks_agree_exactly_and_the_vectorised_path_to_the_cent(market, rule):
    ours, theirs = run_on("shared", market, rule), run_on("stock", market, rule)
    assert ours.clock == "shared" and theirs.clock == "stock, as asked for"
    pd.testing.assert_frame_equal(ours.transactions, theirs.transactions, check_exact=True)
    pd.testing.assert_frame_equal(ours.positions, theirs.positions, check_exact=True)
    assert ours.unfilled == theirs.unfilled
    assert ours.transactions["reason"].str.contains("order, ").any()
    assert (ours.positions.drop(columns="cash") >= 0).all(axis=None), "an order sold more than was held"
    agrees(market, rule, ours, DEAR)


def test_they_agree_under_a_volume_cap_and_costs_of_every_kind(market):
    trading = TradingConfig(fractional=False, volume_cap=0.1, spread_scaling=1.0, impact=1.0)
    ours, theirs = (run_on(clock, market, "bracket", trading=trading) for clock in ("shared", "stock"))
    pd.testing.assert_frame_equal(ours.transactions, theirs.transactions, check_exact=True)
    assert ours.transactions["reason"].str.contains("order, ").sum() > 3
    agrees(market, "bracket", ours, trading)


def test_random_portfolios_have_the_same_orders_for_divisible_shares(market):
    trading = TradingConfig()
    agrees(market, "everything", run_on("shared", market, "everything", trading), trading)


def agrees(market, rule, result, trading):
    panel, chosen = market
    picks = np.array([[panel.symbols.get_indexer(names.index) for names in chosen.values()]])
    targets = Targets(picks, np.full(picks.shape, 0.3))
    found = simulate(panel, targets, pd.DatetimeIndex(list(chosen)), trading, RiskRules(RESTING[rule]))
    np.testing.assert_allclose(found.net[0], result.returns["strategy"], atol=1e-10)
    np.testing.assert_allclose(found.gross[0], result.gross, atol=1e-10)
    assert found.value[0] == pytest.approx(result.value.iloc[-1], abs=0.01)
