import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.feeds.bt_feed import panel_feeds
from clusterfolio.strategies.bars import panel_from_feeds
from clusterfolio.strategies.rebalance import RebalanceStrategy
from tests.conftest import FixedPolicy, make_panel, random_closes


def run(panel, weights, **trading):
    days = pd.DatetimeIndex(sorted(weights))
    policy = FixedPolicy(weights)
    return run_backtest(panel, lambda now: policy, days, TradingConfig(**{"costs": False, **trading})), policy


def test_a_buy_refused_for_margin_is_sent_again_and_filled():
    closes = random_closes(40, "ABC")
    opens = closes.copy()
    opens.iloc[11] *= 1.05  # every open after the decision is 5 % above the close that sized the orders
    closes.iloc[11:] *= 1.05
    opens.iloc[12:] *= 1.05
    day = closes.index[10]
    result, _ = run(make_panel(closes, opens), {day: {"A": 0.34, "B": 0.33, "C": 0.33}}, cash_buffer=0.0)
    assert set(result.transactions["symbol"]) == {"A", "B", "C"}
    assert "sent again after a margin refusal" in result.transactions["reason"].iloc[-1]
    assert not result.unfilled
    assert result.positions["cash"].iloc[-1] >= 0
    assert result.positions["C"].iloc[-1] / result.value.iloc[-1] > 0.25


def test_a_buy_that_waits_for_a_sale_on_holiday_reaches_its_target_when_the_sale_fills():
    closes = random_closes(60, "ABC")
    closes.iloc[31:33, 2] = np.nan  # what is to be sold has a holiday right after the decision
    first, second = closes.index[[10, 30]]
    for buffer in (0.0, 0.02):
        weights = {first: {"A": 0.5, "C": 0.5}, second: {"A": 0.5, "B": 0.5}}
        result, _ = run(make_panel(closes), weights, cash_buffer=buffer)
        last = result.positions.iloc[-1] / result.value.iloc[-1]
        assert last["C"] == 0 and last["B"] == pytest.approx(0.5, abs=0.03)
        assert not result.unfilled


def test_a_buy_sent_again_leaves_the_cash_that_a_waiting_buy_needs():
    closes = pd.DataFrame(100.0, pd.bdate_range("2024-01-01", periods=30), ["MKT", "A", "B"])
    closes.iloc[11, 2] = np.nan  # B has a holiday right after the decision
    opens = closes.copy()
    opens.iloc[11, 1] = 120.0  # A opens too dear for the cash
    closes.iloc[11:, 1] = opens.iloc[12:, 1] = 120.0
    panel = make_panel(closes, opens)
    result, _ = run(panel, {closes.index[10]: {"A": 0.9, "B": 0.1}}, cash_buffer=0.0, capital=1000.0)
    trades = result.transactions.set_index("symbol")
    # Of 1,000 B's share of 100 is left alone; 99 % of the rest buys A at 120.
    assert trades.loc["B", "amount"] == pytest.approx(1.0) and trades.loc["B", "reason"] == "rebalance"
    first = trades.loc[["A"]].iloc[0]
    assert first["amount"] == pytest.approx(0.99 * 900 / 120)
    assert first["date"] == closes.index[12]  # and is not refused a second time, for what B takes first


@pytest.mark.parametrize("clock", ["shared", "stock"])
@pytest.mark.parametrize("silent", [8, 9, 10, 11, 12])
def test_a_stop_around_a_decision_day_is_sold_once(clock, silent):
    closes = random_closes(80, "ABX")
    closes.iloc[30:, 2] = np.nan
    first, second = closes.index[[10, 29 + silent]]
    policy = FixedPolicy({first: {"A": 0.5, "X": 0.5}, second: {"A": 0.5, "B": 0.5}})
    panel = make_panel(closes)
    days = pd.DatetimeIndex([first, second])
    result = run_backtest(panel, lambda now: policy, days, TradingConfig(costs=False), clock)
    sales = result.transactions[(result.transactions["symbol"] == "X") & (result.transactions["amount"] < 0)]
    assert sales["date"].tolist() == [closes.index[40]]
    assert (result.positions >= -1e-9).all(axis=None)
    assert result.positions["B"].iloc[-1] / result.value.iloc[-1] == pytest.approx(0.49, abs=0.03)
    assert not result.unfilled


def test_what_still_waits_at_the_end_is_named():
    closes = random_closes(40, "AB")
    closes.iloc[36:, 1] = np.nan
    result, _ = run(make_panel(closes), {closes.index[35]: {"A": 0.5, "B": 0.5}})
    assert [(name, why) for _, name, why in result.unfilled] == [("B", "still waiting at the end of the run")]


def test_sells_go_before_buys_so_that_a_full_switch_needs_no_spare_cash():
    closes = random_closes(40, "AB")
    first, second = closes.index[[5, 20]]
    result, _ = run(make_panel(closes), {first: {"A": 1.0}, second: {"B": 1.0}}, cash_buffer=0.02)
    trades = result.transactions[result.transactions["date"] == closes.index[21]]
    assert trades["symbol"].tolist() == ["A", "B"]
    assert (trades["amount"] > 0).tolist() == [False, True]
    assert trades["reason"].tolist() == ["rebalance", "rebalance"]


def test_a_position_whose_feed_stops_is_sold_at_its_last_price():
    closes = random_closes(60, "AB")
    closes.iloc[30:, 1] = np.nan
    day = closes.index[10]
    result, _ = run(make_panel(closes), {day: {"A": 0.5, "B": 0.5}})
    exit_ = result.transactions.iloc[-1]
    assert (exit_["symbol"], exit_["reason"]) == ("B", "stopped trading")
    assert exit_["price"] == closes["B"].iloc[29]
    assert exit_["date"] == closes.index[29 + 11]
    assert result.positions["B"].iloc[-1] == 0


def test_a_feed_that_resumes_after_a_long_silence_was_sold_too():
    closes = random_closes(80, "AB")
    closes.iloc[30:50, 1] = np.nan
    result, _ = run(make_panel(closes), {closes.index[10]: {"A": 0.5, "B": 0.5}})
    assert result.transactions.iloc[-1]["reason"] == "stopped trading"
    assert result.transactions.iloc[-1]["date"] == closes.index[40]


def test_a_foreign_holiday_delays_the_fill_to_the_next_own_bar():
    closes = random_closes(40, "AB")
    closes.iloc[11:13, 1] = np.nan
    result, _ = run(make_panel(closes), {closes.index[10]: {"A": 0.5, "B": 0.5}})
    filled = result.transactions.set_index("symbol")["date"]
    assert filled.to_dict() == {"A": closes.index[11], "B": closes.index[13]}


def test_a_late_listing_does_not_hold_up_the_others():
    closes = random_closes(40, "AB")
    closes.iloc[:30, 1] = np.nan
    result, _ = run(make_panel(closes), {closes.index[10]: {"A": 1.0}, closes.index[32]: {"B": 1.0}})
    assert result.transactions["date"].iloc[0] == closes.index[11]
    assert result.positions["B"].iloc[-1] > 0


def test_whole_shares_only_when_asked_and_a_share_too_dear_is_named():
    closes = random_closes(40, "AB")
    closes["B"] *= 1e4
    weights = {closes.index[10]: {"A": 0.5, "B": 0.5}}
    result, _ = run(make_panel(closes), weights, fractional=False)
    assert (result.transactions["amount"] % 1 == 0).all()
    assert [(name, why[:52]) for _, name, why in result.unfilled] == [
        ("B", "its part of the value is less than the least order, ")
    ]


def test_the_policy_is_told_what_is_held():
    closes = random_closes(40, "AB")
    first, second = closes.index[[5, 20]]
    _, policy = run(make_panel(closes), {first: {"A": 0.5}, second: {"A": 0.5}}, cash_buffer=0.0)
    assert policy.states[0].cash == 1.0
    assert policy.states[1].weights.index.tolist() == ["A"]
    assert policy.states[1].cash + policy.states[1].weights.sum() == pytest.approx(1.0)
    assert policy.states[1].entries == {"A": closes.index[6]}


def test_in_a_plain_cerebro_the_panel_is_built_from_the_feeds_and_ends_now():
    closes = random_closes(60, "ABC")
    closes.iloc[:20, 2] = np.nan
    panel = make_panel(closes)
    seen = []

    class Spy(FixedPolicy):
        def decide(self, panel, state):
            seen.append(panel)
            return super().decide(panel, state)

    days = closes.index[[30, 50]]
    policy = Spy({day: {"A": 0.5, "B": 0.5} for day in days})
    cerebro = bt.Cerebro()
    for name in closes.columns:
        bars = pd.DataFrame({f: getattr(panel, f)[name] for f in ("open", "high", "low", "close", "volume")}).dropna()
        cerebro.adddata(bt.feeds.PandasData(dataname=bars), name=name)
    cerebro.addstrategy(RebalanceStrategy, policy_for=lambda now: policy, decision_dates=days)
    (strategy,) = cerebro.run()
    assert [p.dates[-1] for p in seen] == list(days)
    pd.testing.assert_frame_equal(
        seen[1].close, closes.loc[: days[1]], check_index_type=False, check_freq=False, check_names=False
    )
    assert len(strategy.fills) >= 2


def test_panel_from_feeds_leaves_terminal_bars_out():
    closes = random_closes(40, "AB")
    closes.iloc[10:, 1] = np.nan
    panel = make_panel(closes)
    built = []

    class Look(bt.Strategy):
        def prenext(self):
            self.next()

        def next(self):
            if len(self.datas[0]) == 40:
                built.append(panel_from_feeds(self.datas, "A", panel.sessions))

    cerebro = bt.Cerebro(stdstats=False)
    for feed in panel_feeds(panel):
        cerebro.adddata(feed)
    cerebro.addstrategy(Look)
    cerebro.run()
    pd.testing.assert_frame_equal(
        built[0].close, panel.close, check_index_type=False, check_freq=False, check_names=False
    )


def test_what_is_no_callable_is_refused():
    with pytest.raises(TypeError, match="policy_for: got None"):
        cerebro = bt.Cerebro()
        cerebro.adddata(panel_feeds(make_panel(random_closes(5, "A")))[0])
        cerebro.addstrategy(RebalanceStrategy)
        cerebro.run()
