"""Live bars: one decision per timestamp, however the bars arrive; and who is missing at the deadline is named."""

import datetime as dt
import threading
import time

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from clusterfolio.feeds.live import Hub, live_feeds
from clusterfolio.strategies.policy import Decision
from clusterfolio.strategies.rebalance import RebalanceStrategy

DAYS = [dt.datetime(2025, 3, day) for day in (3, 4, 5, 6)]
BAR = dict.fromkeys(("open", "high", "low", "close", "volume"), 10.0)


class Watching(RebalanceStrategy):
    """The Strategy, and how many feeds were current whenever it was called."""

    def next(self):
        super().next()
        self.__dict__.setdefault("calls", []).append(
            (self.datetime.date(0), sum(len(d) > 0 and d.datetime.date(0) == self.datetime.date(0) for d in self.datas))
        )


class Equal:
    def decide(self, panel, state):
        names = list(panel.symbols)
        return Decision(panel.dates[-1], pd.Series(1 / len(names), names))


def run(hub, arrive):
    cerebro = bt.Cerebro(stdstats=False)
    for feed in live_feeds(hub):
        cerebro.adddata(feed)
    dates = [pd.Timestamp(day) for day in DAYS[:3]]
    cerebro.addstrategy(Watching, policy_for=lambda now: Equal(), decision_dates=dates, fractional=True)
    thread = threading.Thread(target=arrive)
    thread.start()
    (strategy,) = cerebro.run()
    thread.join()
    return strategy


def test_300_feeds_whose_bars_come_over_most_of_a_second_make_one_decision_per_timestamp():
    names = [f"S{n}" for n in range(300)]
    hub = Hub(names, patience=30.0)

    def arrive():
        rng = np.random.default_rng(0)
        for day in DAYS:
            for part in np.array_split(rng.permutation(300), 9):
                for n in part:
                    hub.push(names[n], day, BAR)
                time.sleep(0.9 / 9 if day == DAYS[0] else 0.002)
        hub.close()

    strategy = run(hub, arrive)
    assert strategy.calls == [(day.date(), 300) for day in DAYS]
    assert len(strategy.decisions) == 3 and not hub.late


def test_at_the_deadline_a_timestamp_is_let_through_and_the_missing_are_named():
    now = [0.0]
    hub = Hub(["A", "B", "C"], patience=5.0, clock=lambda: now[0])
    hub.push("A", DAYS[0], BAR)
    hub.push("B", DAYS[0], BAR)
    hub.turn(0.0)
    assert hub.releases == [] and hub.take("A") is None
    now[0] = 5.0
    hub.turn(0.0)
    (release,) = hub.releases
    assert release.missing == ("C",) and release.stamp == DAYS[0] and hub.take("A") == (DAYS[0], BAR)
    hub.push("C", DAYS[0], BAR)
    assert hub.late == [("C", DAYS[0])] and hub.take("C") is None


def test_timestamps_come_in_order_and_one_at_a_time():
    hub = Hub(["A", "B"], patience=5.0)
    for day in (DAYS[1], DAYS[0]):
        for name in "AB":
            hub.push(name, day, BAR)
    hub.turn(0.0)
    hub.turn(0.0)
    assert [release.stamp for release in hub.releases] == DAYS[:1]
    assert [hub.take(name)[0] for name in "AB"] == [DAYS[0]] * 2
    hub.turn(0.0)
    assert [release.stamp for release in hub.releases] == DAYS[:2]


def test_a_bar_of_nobody_is_an_error():
    with pytest.raises(KeyError, match="'X' is none of the hub's 1"):
        Hub(["A"], 1.0).push("X", DAYS[0], BAR)
