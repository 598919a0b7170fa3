"""What the shared clock does not serve runs on the stock path, with stock results, and says so once."""

import logging

import backtrader as bt
import pytest

from clusterfolio.engine.trading.clock import ClockCerebro
from clusterfolio.feeds.bt_feed import PanelFeed, panel_feeds
from tests.engine.trading.clock_parity import assert_parity, random_panel, record, stock_feeds, trading


def _light(cerebro):
    trading(seed=1, orders=("market", "limit"), analyzers=())(cerebro)


def run(panel, add=None, cerebro_args=None, engine=ClockCerebro):
    """Run the random trader; ``add(cerebro, feeds)`` puts the feeds in."""
    cerebro = engine(**({"stdstats": False} | (cerebro_args or {})))
    feeds = panel_feeds(panel)
    if add is not None:
        add(cerebro, feeds)
        feeds = []
    return cerebro, record(cerebro, feeds, _light)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        (dict(runonce=False), "preload=True, runonce=False"),
        (dict(preload=False), "preload=False, runonce=True"),
        (dict(exactbars=1), "exactbars=1"),
        (dict(exactbars=-1), "exactbars=-1"),
        (dict(live=True), "live data"),
    ],
)
def test_option_of_cerebro(option, reason, caplog):
    panel = random_panel(seed=1, n_days=40)
    expected = _values(bt.Cerebro(stdstats=False, **option), panel)
    cerebro = ClockCerebro(stdstats=False, **option)
    with caplog.at_level(logging.WARNING, "clusterfolio.engine.trading.clock"):
        assert _values(cerebro, panel) == expected
    assert not cerebro.clock_used
    assert cerebro.fallback_reason == reason
    assert [entry.getMessage() for entry in caplog.records] == [f"shared clock not used: {reason}"]


def _values(cerebro, panel):
    """Broker values of a strategy that reads the current bar only: exactbars keeps no more."""
    values = []

    class Steps(bt.Strategy):
        def next(self):
            values.append((self.data.close[0], self.broker.getvalue()))
            if len(self) % 3 == 1:
                self.order_target_percent(self.datas[len(self) % 5], 0.2)

    for feed in panel_feeds(panel):
        cerebro.adddata(feed)
    cerebro.addstrategy(Steps)
    cerebro.run()
    assert len({value for _, value in values}) > 10
    return values


def test_the_stock_feed_and_ours_agree_step_by_step():
    panel = random_panel(seed=2, n_days=40, missing=0.1, late=5, early=5, halts=1)
    assert_parity(trading(seed=2), panel, cerebro_args=dict(runonce=False), clock=False)
    assert_parity(trading(seed=2), panel, cerebro_args=dict(preload=False), clock=False)


def test_old_synchronisation():
    panel = random_panel(seed=3, n_days=30)
    assert_parity(trading(seed=3), panel, cerebro_args=dict(oldsync=True), clock=False)
    assert_parity(trading(seed=3), panel, cerebro_args=dict(oldsync=True, runonce=False), clock=False)


def test_resampled_feed():
    def add(cerebro, feeds):
        for feed in feeds[:2]:
            cerebro.adddata(feed)
        cerebro.resampledata(feeds[0], timeframe=bt.TimeFrame.Weeks, name="weekly")

    panel = random_panel(seed=4, n_days=40)
    cerebro, seen = run(panel, add)
    assert not cerebro.clock_used
    assert cerebro.fallback_reason == "resampled or replayed data"
    assert seen == run(panel, add, engine=bt.Cerebro)[1]


def test_resampling_the_only_feed():
    def add(cerebro, feeds):
        cerebro.resampledata(feeds[0], timeframe=bt.TimeFrame.Weeks)

    panel = random_panel(seed=4, n_days=40)
    cerebro, seen = run(panel, add)
    assert not cerebro.clock_used
    assert seen == run(panel, add, engine=bt.Cerebro)[1]


def test_replayed_feed():
    def add(cerebro, feeds):
        cerebro.replaydata(feeds[0], timeframe=bt.TimeFrame.Weeks)

    panel = random_panel(seed=5, n_days=40)
    cerebro, seen = run(panel, add)
    assert cerebro.fallback_reason == "resampled or replayed data"
    assert seen == run(panel, add, engine=bt.Cerebro)[1]


def test_feed_of_another_kind():
    panel = random_panel(seed=6, n_days=40)

    def add(cerebro, feeds):
        cerebro.adddata(feeds[0])
        cerebro.adddata(stock_feeds(panel)[1])

    cerebro, seen = run(panel, add)
    assert cerebro.fallback_reason.startswith("feed 'A01' is a PandasData, not a BarsFeed")
    assert seen == run(panel, add, engine=bt.Cerebro)[1]


def test_live_feed():
    class Live(PanelFeed):
        def islive(self):
            return True

    def add(cerebro, feeds):
        cerebro.adddata(Live(dataname=feeds[0].p.dataname, name="live"))

    cerebro, seen = run(random_panel(seed=7, n_days=40), add)
    assert cerebro.fallback_reason == "live data"
    assert seen


@pytest.mark.parametrize(("times", "bars"), [(2, "second"), (3, "third")])
def test_a_feed_added_twice_is_read_as_backtrader_reads_it(times, bars, caplog):
    """Every second bar, that is: stock backtrader moves the one feed once for each time it was added."""

    def closes(engine):
        seen = []

        class Look(bt.Strategy):
            def next(self):
                seen.append(self.data.close[0])

        cerebro = engine(stdstats=False)
        (feed,) = panel_feeds(random_panel(n_assets=1, n_days=42, seed=6))
        for _ in range(times):
            cerebro.adddata(feed)
        cerebro.addstrategy(Look)
        cerebro.run()
        return seen, cerebro

    (stock, _), (ours, cerebro) = closes(bt.Cerebro), closes(ClockCerebro)
    assert ours == stock and len(stock) == 42 // times
    assert not cerebro.clock_used
    said = f"feed 'A00' was added {times} times, and backtrader shows every {bars} bar of such a feed"
    assert cerebro.fallback_reason == said
    assert f"shared clock not used: {said}" in caplog.text


def test_feed_that_moves_in_its_own_way():
    class Own(PanelFeed):
        def advance(self, size=1, datamaster=None, ticks=True):
            super().advance(size, datamaster, ticks)

    def add(cerebro, feeds):
        cerebro.adddata(Own(dataname=feeds[0].p.dataname, name="own"))

    cerebro, _ = run(random_panel(seed=8, n_days=20), add)
    assert cerebro.fallback_reason == "feed 'own' moves its bars in its own way (Own)"


def test_indicator_that_needs_single_steps():
    class Stepwise(bt.Indicator):
        lines = ("value",)
        _nextforce = True

        def next(self):
            self.lines.value[0] = self.data.close[0]

    panel = random_panel(seed=9, n_days=30)
    seen = assert_parity(trading(seed=9, indicators=(Stepwise,)), panel, clock=False)
    assert seen


def test_optimisation(caplog):
    class Buys(bt.Strategy):
        params = (("size", 1),)

        def next(self):
            if len(self) == 3:
                self.buy(size=self.p.size)

        def stop(self):
            self.value = self.broker.getvalue()

    values = []
    for engine in (bt.Cerebro, ClockCerebro):
        cerebro = engine(stdstats=False, maxcpus=1, optreturn=False)
        for feed in panel_feeds(random_panel(seed=10, n_days=20)):
            cerebro.adddata(feed)
        cerebro.optstrategy(Buys, size=[1, 5])
        values.append([strat.value for (strat,) in cerebro.run()])
    assert values[0] == values[1]
    assert not cerebro.clock_used
    assert len(caplog.records) == 1


def test_optimisation_in_several_processes():
    cerebro = ClockCerebro(stdstats=False, maxcpus=2)
    for feed in panel_feeds(random_panel(seed=11, n_days=20)):
        cerebro.adddata(feed)
    cerebro.optstrategy(Idle, period=[1, 2])
    assert len(cerebro.run()) == 2
    assert cerebro.fallback_reason == "optstrategy runs its strategies on the stock path"


class Idle(bt.Strategy):
    params = (("period", 1),)


def test_the_clock_is_used_again_after_a_fallback():
    cerebro, _ = run(random_panel(seed=12, n_days=20), cerebro_args=dict(runonce=False))
    assert not cerebro.clock_used
    cerebro.run(runonce=True)
    assert cerebro.clock_used
    assert cerebro.fallback_reason is None
