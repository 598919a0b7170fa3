"""The broker that the Strategy meets, asked as any backtrader strategy asks."""

import datetime as dt

import backtrader as bt
import pytest

from clusterfolio.engine.live.broker import LiveBroker, Outcome, Record
from clusterfolio.feeds.live import Hub, live_feeds

DAYS = [dt.datetime(2025, 3, day) for day in (3, 4, 5)]
CLOSES = {"A": (10.0, 11.0, 12.0), "B": (20.0, 20.0, 30.0)}


class Asking(bt.Strategy):
    """Notes what it is told, and acts as a test says."""

    params = dict(act=None)  # noqa: RUF012 - backtrader's form

    def __init__(self):
        self.seen, self.orders = [], []

    def prenext(self):
        self.next()

    def next(self):
        day = self.datetime.date(0)
        held = {data._name: self.getposition(data).size for data in self.datas}
        self.seen.append((day, held, self.broker.get_cash(), self.broker.get_value()))
        if self.p.act is not None:
            self.p.act(self, day)

    def notify_order(self, order):
        self.orders.append((order.data._name, order.getstatusname(), order.executed.size))


def run(record, act=None):
    hub = Hub(list(CLOSES), patience=0.0)
    for n, day in enumerate(DAYS):
        for name, closes in CLOSES.items():
            hub.push(
                name, day, {"open": closes[n], "high": closes[n], "low": closes[n], "close": closes[n], "volume": 1.0}
            )
    hub.close()
    cerebro = bt.Cerebro(stdstats=False)
    for feed in live_feeds(hub):
        cerebro.adddata(feed)
    broker = LiveBroker(record)
    cerebro.setbroker(broker)
    cerebro.addstrategy(Asking, act=act)
    (strategy,) = cerebro.run()
    return strategy, broker


HELD = {"A": (5.0, dt.date(2025, 2, 3))}
LAST = DAYS[-1].date()


def test_cash_value_and_positions_are_there_before_the_first_next_and_follow_what_the_journal_says():
    bought = Outcome(DAYS[1].date(), "B", 2.0, 21.0, fee=1.0)
    strategy, broker = run(Record(HELD, 100.0, [bought], cash_now=57.0, last=LAST))
    assert strategy.seen == [
        (DAYS[0].date(), {"A": 5.0, "B": 0}, 100.0, 150.0),
        (DAYS[1].date(), {"A": 5.0, "B": 2.0}, 57.0, 57.0 + 5 * 11.0 + 2 * 20.0),
        (DAYS[2].date(), {"A": 5.0, "B": 2.0}, 57.0, 57.0 + 5 * 12.0 + 2 * 30.0),
    ]
    assert broker.wanted == []


def test_the_value_of_some_feeds_is_of_those_only():
    worth = []
    run(Record(HELD, 100.0, last=LAST), lambda s, day: worth.append(
        (s.broker.getvalue([s.datas[0]]), s.broker.get_value([s.datas[1]]), s.broker.getvalue())
    ))  # fmt: skip
    assert worth[0] == (50.0, 0, 150.0)


def test_only_the_armed_broker_takes_orders_and_one_of_a_warm_up_bar_gets_what_came_of_it():
    def act(strategy, day):
        strategy.buy(data=strategy.datas[1], size=2.5)

    filled = Outcome(DAYS[1].date(), "B", 2.5, 20.0)
    strategy, broker = run(Record(HELD, 100.0, [filled], cash_now=50.0, last=LAST), act)
    assert [(w.symbol, w.amount, w.price) for w in broker.wanted] == [("B", 2.5, 30.0)]
    told = [status for name, status, _ in strategy.orders if name == "B"]
    assert told.count("Completed") == 1 and told.count("Canceled") == 1  # nothing came of the second day's


def test_parts_of_a_share_stay_parts_and_an_order_taken_back_is_not_wanted():
    def act(strategy, day):
        if day == LAST:
            strategy.sell(data=strategy.datas[0], size=0.25)
            strategy.cancel(strategy.buy(data=strategy.datas[1], size=1))

    _, broker = run(Record(HELD, 100.0, cash_now=100.0, last=LAST), act)
    assert [(w.symbol, w.amount) for w in broker.wanted] == [("A", -0.25)]


@pytest.mark.parametrize(
    "more", [{"exectype": bt.Order.Limit, "price": 5.0}, {"exectype": bt.Order.Stop, "price": 5.0}]
)
def test_what_is_no_market_order_is_refused(more):
    with pytest.raises(ValueError, match="plain market orders only"):
        run(Record(HELD, 100.0, last=LAST), lambda s, day: s.buy(data=s.datas[0], size=1, **more))


def test_a_strategy_without_sizes_gets_whole_shares():
    _, broker = run(
        Record({}, 100.0, cash_now=100.0, last=LAST), lambda s, day: s.order_target_percent(s.datas[0], 0.55)
    )
    assert [w.amount for w in broker.wanted] == [4]  # 55 of money at 12 a share


def test_waiting_for_bars_does_not_keep_a_core_busy():
    assert all(feed.p.qcheck > 0.1 for feed in live_feeds(Hub(["A"], 1.0)))
