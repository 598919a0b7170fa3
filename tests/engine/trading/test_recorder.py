"""What the recorder writes down is what backtrader's own analyzers say, and it changes nothing."""

import pickle
import time

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.trading.clock import ClockCerebro
from clusterfolio.engine.trading.recorder import RunRecorder, describe_strategy
from clusterfolio.feeds.bt_feed import frame_feed
from tests.engine.trading.own_runs import Crossover, Orders, bars, cerebro_of, recorded


def with_stock_analyzers(cerebro):
    cerebro.addanalyzer(bt.analyzers.TimeReturn, _name="returns", timeframe=bt.TimeFrame.Days)
    cerebro.addanalyzer(bt.analyzers.PositionsValue, _name="positions", headers=True, cash=True)
    cerebro.addanalyzer(bt.analyzers.Transactions, _name="transactions")
    return cerebro.run()[0].analyzers


CEREBROS = {
    "stock": (bt.Cerebro, None),
    "stock, bar by bar": (lambda: bt.Cerebro(runonce=False), None),
    "stock, nothing preloaded": (lambda: bt.Cerebro(preload=False), None),
    "shared clock": (ClockCerebro, frame_feed),
}


@pytest.mark.parametrize("kind", CEREBROS)
def test_it_writes_down_what_the_stock_analyzers_do(kind):
    make, feed = CEREBROS[kind]
    found = with_stock_analyzers(cerebro_of(bars(), Crossover, make(), feed))
    recorder = found.runrecorder
    returns = pd.Series(found.returns.get_analysis())
    assert recorder.returns.tolist() == returns.tolist()
    assert [day.date() for day in recorder.returns.index] == [stamp.date() for stamp in returns.index]
    rows = dict(found.positions.get_analysis())
    names = rows.pop("Datetime")
    stock = pd.DataFrame.from_dict(rows, orient="index", columns=names)
    own = recorder.positions.reindex(columns=names, fill_value=0.0)
    assert own.to_numpy().tolist() == stock.to_numpy().tolist()
    expected = [
        (moment.date(), symbol, float(size), price)
        for moment, entries in found.transactions.get_analysis().items()
        for size, price, _, symbol, _ in entries
    ]
    fills = recorder.transactions
    assert len(fills) > 30
    known = zip(fills["date"].dt.date, fills["symbol"], fills["amount"], fills["price"], strict=True)
    assert sorted(known) == sorted(expected)
    assert fills["commission"].to_numpy() == pytest.approx(0.0005 * (fills["amount"] * fills["price"]).abs().to_numpy())


def test_it_changes_nothing():
    values = []
    for recorder in (True, False):
        cerebro = cerebro_of(bars(), Crossover)
        if not recorder:
            cerebro.analyzers.clear()
        cerebro.run()
        values.append(cerebro.broker.getvalue())
    assert values[0] == values[1]


def test_a_bar_costs_the_same_whatever_the_number_of_feeds():
    """Two names held among 20 and among 400 feeds: the recorder's own time per bar, in the middle of all bars."""

    class Timed(RunRecorder):
        def next(self):
            began = time.perf_counter()
            super().next()
            self.spent = [*getattr(self, "spent", []), time.perf_counter() - began]

    middle = {}
    for n_feeds in (20, 400):
        cerebro = ClockCerebro(stdstats=False)
        for name, frame in bars(n_feeds, 60).items():
            cerebro.adddata(frame_feed(frame), name=name)
        buy = {2: [lambda self: [self.buy(data, size=1) for data in self.datas[:2]]]}
        cerebro.addstrategy(Orders, plan=buy)
        cerebro.addanalyzer(Timed)
        middle[n_feeds] = float(np.median(cerebro.run()[0].analyzers.timed.spent))
    assert middle[400] < 3 * middle[20], middle


def test_the_bars_are_those_of_the_feeds_and_none_is_added():
    frames = bars(2, 60)
    frames["S1"] = frames["S1"].iloc[20:50]  # listed late, gone early
    recorder = recorded(frames, slow=10)
    for name, frame in frames.items():
        assert recorder.bars[name].index.equals(frame.index)
        assert recorder.bars[name].to_numpy().tolist() == frame.to_numpy().tolist()


def test_a_shared_clock_s_terminal_bar_is_no_bar_of_the_recorder():
    from clusterfolio.feeds.bt_feed import panel_feeds
    from tests.conftest import make_panel, random_closes

    closes = random_closes(60, ["A", "B"])
    closes.loc[closes.index[30] :, "B"] = np.nan
    cerebro = ClockCerebro()
    for feed in panel_feeds(make_panel(closes)):
        cerebro.adddata(feed)
    cerebro.addstrategy(bt.Strategy)
    cerebro.addanalyzer(RunRecorder)
    assert len(cerebro.run()[0].analyzers.runrecorder.bars["B"]) == 30


def test_money_paid_in_is_no_return():
    """Half as much again is paid in while everything lies in a share that stands still."""
    frames = bars(1, 12)
    frames["S0"][["open", "high", "low", "close"]] = 100.0
    plan = {1: [lambda self: self.buy(size=500)], 5: [lambda self: self.broker.add_cash(50_000.0)]}
    cerebro = cerebro_of(frames, Orders, plan=plan)
    cerebro.broker.setcommission(0.0)
    recorder = cerebro.run()[0].analyzers.runrecorder
    assert recorder.returns.abs().max() == 0
    assert recorder.account().paid_in.sum() == pytest.approx(50_000.0)


def test_a_future_is_worth_its_price_times_its_multiplier():
    frames = bars(1, 12)
    cerebro = cerebro_of(frames, Orders, plan={2: [lambda self: self.buy(size=3)]})
    cerebro.broker.setcommission(commission=2.0, margin=1000.0, mult=50.0)
    account = cerebro.run()[0].analyzers.runrecorder.account()
    last = frames["S0"]["close"].iloc[-1]
    assert account.positions["S0"].iloc[-1] == pytest.approx(3 * 50 * last)
    assert account.transactions["amount"].tolist() == [150.0]
    moved = 150 * (last - account.transactions["price"].iloc[0]) - account.transactions["commission"].sum()
    assert account.value.iloc[-1] == pytest.approx(100_000 + moved)


def test_slippage_is_a_cost_of_market_orders():
    cerebro = cerebro_of(bars(), Crossover)
    cerebro.broker.set_slippage_perc(0.001)
    fills = cerebro.run()[0].analyzers.runrecorder.account().transactions
    assert fills["spread"].sum() == pytest.approx(0.001 * (fills["amount"] * fills["price"]).abs().sum(), rel=0.01)


def test_feeds_without_a_name_or_with_the_same_are_told_apart():
    frames = bars(3, 30)
    cerebro = bt.Cerebro()
    for name in ("", "X", "X"):
        cerebro.adddata(bt.feeds.PandasData(dataname=frames[f"S{len(cerebro.datas)}"]), name=name or None)
    cerebro.addstrategy(Orders, plan={2: [lambda self: [self.buy(data, size=1) for data in self.datas]]})
    cerebro.addanalyzer(RunRecorder)
    recorder = cerebro.run()[0].analyzers.runrecorder
    assert list(recorder.bars) == ["Data0", "X", "X (2)"]
    assert sorted(recorder.transactions["symbol"]) == ["Data0", "X", "X (2)"]


def test_trials_are_told_apart_by_class_source_and_parameters():
    class Other(Crossover):
        def next(self):
            pass

    known = [
        describe_strategy(cerebro_of(bars(1, 30), kind, **params).run()[0])
        for kind, params in ((Crossover, {}), (Crossover, {"fast": 3}), (Other, {}))
    ]
    assert known[0]["source"] == known[1]["source"] != known[2]["source"]
    assert known[0]["parameters"] == {"fast": 5, "slow": 20, "part": 0.18} != known[1]["parameters"]
    assert known[0]["class"].endswith("own_runs.Crossover")


def test_a_strategy_typed_at_a_prompt_has_a_source_too():
    text = "import backtrader as bt\nclass Typed(bt.Strategy):\n    def next(self):\n        self.buy(size={})\n"
    hashes = []
    for size in (1, 1, 2):
        space = {"__name__": "__main__"}
        exec(text.format(size), space)
        hashes.append(describe_strategy(cerebro_of(bars(1, 5), space["Typed"]).run()[0])["source"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_recorder_is_pickled_and_comes_back_from_an_optimisation():
    cerebro = cerebro_of(bars(2, 60), Crossover, bt.Cerebro(maxcpus=1, optreturn=True))
    cerebro.strats.clear()
    cerebro.optstrategy(Crossover, fast=[3, 5], slow=10)
    found = [run[0].analyzers.runrecorder for run in cerebro.run()]
    again = pickle.loads(pickle.dumps(recorded(bars(2, 60), slow=10)))
    pd.testing.assert_series_equal(found[1].returns, again.returns)
    assert found[0].account().parameters["fast"] == 3


def test_what_cannot_be_judged_is_said():
    two = cerebro_of(bars(1, 30), Crossover)
    two.addstrategy(Orders, plan={})
    with pytest.raises(ValueError, match="2 strategies shared one account"):
        two.run()[0].analyzers.runrecorder.account()
    some = cerebro_of(bars(1, 60), Crossover, bt.Cerebro(exactbars=1))
    with pytest.raises(ValueError, match="exactbars"):
        some.run()[0].analyzers.runrecorder.account()
    hours = bars(1, 60)
    hours["S0"].index = pd.date_range("2024-01-01 09:00", periods=60, freq="4h")
    with pytest.raises(ValueError, match="S0 has several bars a day and was traded"):
        recorded(hours, Orders, plan={2: [lambda self: self.buy(size=1)]}).account()


@pytest.mark.parametrize("time", ["0:00:00", "23:59:59", "23:59:59.99999", "16:00:00"])
def test_a_bar_belongs_to_the_day_of_its_stamp_whatever_the_time(time):
    frames = bars(2, 30)
    stamped = {name: frame.set_axis(frame.index + pd.Timedelta(time)) for name, frame in frames.items()}
    found = recorded(stamped, Orders, plan={3: [lambda self: self.buy(size=1)]})
    assert found.bars["S0"].index.normalize().equals(frames["S0"].index)
    assert found.account().prices["S0"].index.equals(frames["S0"].index)
