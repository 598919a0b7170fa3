"""What a bar costs on the shared clock: it grows with positions and live orders, not with the number of feeds."""

import sys

import backtrader as bt
import pytest

from clusterfolio.engine.trading.clock import ClockCerebro
from clusterfolio.feeds.bt_feed import panel_feeds
from clusterfolio.strategies.rebalance import RebalanceStrategy
from tests.benchmarks.engine import measure
from tests.conftest import FixedPolicy
from tests.engine.trading.clock_parity import random_panel


class Holder(bt.Strategy):
    """Opens ``positions`` positions on the first bar and places ``orders`` orders that never fill."""

    params = (("positions", 3), ("orders", 2))

    def prenext(self):
        self.next()

    def next(self):
        if len(self) == 1:
            for data in self.datas[: self.p.positions]:
                self.buy(data)
            for data in self.datas[: self.p.orders]:
                self.buy(data, price=0.01, exectype=bt.Order.Limit)


def calls_per_bar(n_feeds: int, strategy=Holder, **params) -> float:
    """Python and C calls per bar once positions and orders stand."""
    cerebro = ClockCerebro(stdstats=False)
    for feed in panel_feeds(random_panel(n_assets=n_feeds, n_days=60, missing=0.05)):
        cerebro.adddata(feed)
    cerebro.addstrategy(strategy, **params)
    cerebro.broker.setcash(1e6)
    counts = []

    def count(frame, event, argument):
        if event in ("call", "c_call"):
            counts[-1] += 1

    class Bars(bt.Analyzer):
        def next(self):
            counts.append(0)

    cerebro.addanalyzer(Bars)
    counts.append(0)
    sys.setprofile(count)
    try:
        cerebro.run()
    finally:
        sys.setprofile(None)
    assert cerebro.clock_used
    steady = counts[30:50]
    return sum(steady) / len(steady)


def test_cost_does_not_grow_with_feeds():
    assert calls_per_bar(10) == pytest.approx(calls_per_bar(200), abs=20)  # 190 feeds more


def test_nor_does_that_of_a_rebalanced_portfolio_in_any_cerebro():
    def cost(n_feeds):
        panel = random_panel(n_assets=n_feeds, n_days=60, missing=0.05)
        day = panel.sessions[5]
        weights = {day: dict.fromkeys(panel.until(day).close.iloc[-1].dropna().index[:5], 0.2)}
        policy = FixedPolicy(weights)
        return calls_per_bar(
            n_feeds, RebalanceStrategy, policy_for=lambda now: policy, decision_dates=[day], panel=panel,
            sessions=panel.sessions,
        )  # fmt: skip

    cost(10)  # the days are worked out once
    assert cost(10) == pytest.approx(cost(200), abs=20)


class Watcher(Holder):
    """Has three indicators on each feed and looks at those of one."""

    def __init__(self):
        self.crosses = [bt.ind.CrossOver(bt.ind.SMA(data, period=3), bt.ind.SMA(data, period=7)) for data in self.datas]

    def next(self):
        super().next()
        self.crosses[0][0]


def test_cost_does_not_grow_with_indicators():
    assert calls_per_bar(10, Watcher) == pytest.approx(calls_per_bar(60, Watcher), abs=10)


def test_cost_grows_with_positions_and_live_orders():
    assert calls_per_bar(20, positions=12) > calls_per_bar(20, positions=2)
    assert calls_per_bar(20, orders=12) > calls_per_bar(20, orders=2) + 50


def test_the_benchmarks_peers_run_the_same_rebalance():
    stock, clock, other = (
        measure(peer, feeds=30, bars=120, missing=0.02, repeat=1) for peer in ("stock", "clock", "bt")
    )
    assert clock["digest"] == stock["digest"]
    assert other["final_value"] == pytest.approx(stock["final_value"], rel=0.03)  # bt fills at the close


def test_and_the_same_crossovers():
    stock, clock = (
        measure(peer, feeds=4, bars=120, missing=0.02, repeat=1, job="active") for peer in ("stock", "clock")
    )
    assert clock["digest"] == stock["digest"]
