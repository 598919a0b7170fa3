"""What backtrader's own samples of orders and writers show, on the shared clock: the same lines of text as on stock.

Rebuilt from what the samples do (bracket, oco, order-history, writer-test, order-execution, order_target, stoptrail,
multitrades, cheat-on-open, sizertest); each strategy prints as they do, and the texts are compared, floats in full.
"""

import datetime as dt
import io
import itertools
from unittest import mock

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.trading.clock import ClockCerebro
from clusterfolio.feeds.bt_feed import frame_feed


def two_years(seed: int) -> pd.DataFrame:
    """Daily bars of an index near 3,000, as in the file the samples read."""
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2005-01-03", "2006-12-29")
    close = 3000 * np.exp(rng.normal(2e-4, 0.011, len(days)).cumsum())
    opened = close * np.exp(rng.normal(0, 0.004, len(days)))
    high = np.maximum(opened, close) * (1 + rng.uniform(0, 0.01, len(days)))
    low = np.minimum(opened, close) * (1 - rng.uniform(0, 0.01, len(days)))
    return pd.DataFrame(dict(open=opened, high=high, low=low, close=close, volume=1e6, openinterest=0.0), index=days)


class Printing(bt.Strategy):
    """Tells of orders, trades, cash and value in text. Orders are numbered from 1 in each run."""

    params = dict(fast=5, slow=15, limit=0.005)  # noqa: RUF012 - backtrader's form

    def __init__(self):
        self.text = []
        self.waiting = set()
        self.entered = 0
        self.cross = bt.ind.CrossOver(bt.ind.SMA(period=self.p.fast), bt.ind.SMA(period=self.p.slow))

    def say(self, *words):
        self.text.append(" ".join(str(word) for word in (self.datetime.date(), *words)))

    def sent(self, *orders):
        self.waiting |= {order.ref for order in orders}
        for order in orders:
            self.say("order", order.ref, order.ordtypename(), order.getordername(), order.created.price, order.valid)

    def notify_order(self, order):
        done = order.executed
        self.say("order", order.ref, order.getstatusname(), done.size, done.price, done.value, done.comm, done.pnl)
        if order.status == order.Completed:
            self.entered = len(self)
        if not order.alive():
            self.waiting.discard(order.ref)

    def notify_trade(self, trade):
        self.say("trade", trade.tradeid, trade.size, trade.price, trade.pnl, trade.pnlcomm, trade.isclosed)

    def notify_cashvalue(self, cash, value):
        self.say("account", cash, value)


def texts(strategy, seeds=(1,), prepare=lambda cerebro: None, **params) -> tuple[str, ...]:
    """What the strategy said on stock and on the clock, with what a writer wrote below."""
    found = []
    for engine in (bt.Cerebro, ClockCerebro):
        cerebro, written = engine(), io.StringIO()
        for seed in seeds:
            frame, name = two_years(seed), f"INDEX{seed}"
            stock = bt.feeds.PandasData(dataname=frame, name=name)
            cerebro.adddata(stock if engine is bt.Cerebro else frame_feed(frame, name))
        cerebro.addstrategy(strategy, **params)
        cerebro.addanalyzer(bt.analyzers.TradeAnalyzer)
        cerebro.addanalyzer(bt.analyzers.TimeReturn, timeframe=bt.TimeFrame.Months)
        cerebro.addanalyzer(bt.analyzers.SQN)
        cerebro.addwriter(bt.WriterFile, csv=True, out=written, rounding=None)
        prepare(cerebro)
        with mock.patch.object(bt.Order, "refbasis", itertools.count(1)):
            (ran,) = cerebro.run()
        assert engine is bt.Cerebro or cerebro.clock_used, cerebro.fallback_reason
        found.append("\n".join(ran.text) + written.getvalue())
    return tuple(found)


def same(strategy, **how) -> str:
    """Both texts are equal; one of them."""
    stock, clock = texts(strategy, **how)
    for number, (one, other) in enumerate(zip(stock.splitlines(), clock.splitlines(), strict=False)):
        assert one == other, f"line {number}"
    assert stock == clock
    assert "terminal" not in clock
    return clock


class Bracket(Printing):
    """A limit buy with a stop and a limit sale that cancel each other: by hand, or by ``buy_bracket``."""

    params = dict(by_hand=True, days=3, switched=False)  # noqa: RUF012

    def next(self):
        if self.waiting or self.position or not self.cross[0] > 0:
            return
        entry = self.data.close[0] * (1 - self.p.limit)
        stop, target = entry - 0.02 * self.data.close[0], entry + 0.02 * self.data.close[0]
        short, long = dt.timedelta(self.p.days), dt.timedelta(1000)
        if self.p.switched:
            entry, stop, short = stop, entry, long
        if self.p.by_hand:
            first = self.buy(exectype=bt.Order.Limit, price=entry, valid=short, transmit=False)
            second = self.sell(exectype=bt.Order.Stop, price=stop, valid=long, parent=first, transmit=False)
            self.sent(first, second, self.sell(exectype=bt.Order.Limit, price=target, valid=long, parent=first))
        else:
            self.sent(
                *self.buy_bracket(
                    price=entry, valid=short, stopprice=stop, stopargs={"valid": long}, limitprice=target,
                    limitargs={"valid": long},
                )
            )  # fmt: skip


@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("switched", [True, False])
def test_brackets(by_hand, switched):
    text = same(Bracket, by_hand=by_hand, switched=switched)
    assert "Completed" in text and "Canceled" in text


class OneOfThree(Printing):
    """Three limit buys of which one cancels the others; sold after ten bars."""

    params = dict(together=True, by_second=False, by_target=False)  # noqa: RUF012

    def next(self):
        if self.waiting:
            return
        if self.position:
            if len(self) - self.entered >= 10:
                self.order_target_size(target=0) if self.p.by_target else self.close()
        elif self.cross[0] > 0:
            leader, orders = None, []
            for step, days in ((1, 3), (4, 1000), (9, 1000)):
                price = self.data.close[0] * (1 - step * self.p.limit)
                act = self.order_target_size if self.p.by_target else self.buy
                size = {"target": 1} if self.p.by_target else {"size": 1}
                more = {"price": price, "valid": dt.timedelta(days), "oco": leader}
                orders.append(act(exectype=bt.Order.Limit, **size, **more))
                if self.p.together:
                    leader = orders[-1] if self.p.by_second else orders[0]
            self.sent(*orders)


@pytest.mark.parametrize("by_second", [True, False])
@pytest.mark.parametrize("by_target", [True, False])
def test_one_cancels_the_others(by_second, by_target):
    text = same(OneOfThree, by_second=by_second, by_target=by_target)
    assert "Completed" in text and "Canceled" in text


def test_orders_that_do_not_cancel_each_other():
    assert "Expired" in same(OneOfThree, together=False)


class Idle(Printing):
    def next(self):
        pass


class Crossing(bt.SignalStrategy, Printing):
    """Long while the fast average is above the slow one."""

    def __init__(self):
        super().__init__()
        self.signal_add(bt.SIGNAL_LONG, self.cross)


@pytest.mark.parametrize("notify", [True, False])
def test_a_history_of_orders_stands_in_for_the_strategy_that_made_them(notify):
    history = [("2005-02-01", 1, 2984.63), ("2005-03-04", -1, 3079.93), ("2005-03-08", 1, 3113.82, 0)]
    history += [("2005-08-19", -1, 3284.35, "INDEX1"), (dt.date(2006, 2, 6), 1, 3678.87), ("2006-12-01", -1, 3993.03)]
    text = same(Idle, prepare=lambda cerebro: cerebro.add_order_history(history, notify=notify))
    assert ("order" in text.split("====")[0]) == notify
    assert text.count("True") >= 3  # three trades were closed


def test_signals():
    assert "Completed" in same(Crossing)


class LongShort(Printing):
    """Long above its average, short below, as a future with a margin."""

    def next(self):
        if self.cross[0]:
            if self.position:
                self.close()
            (self.buy if self.cross[0] > 0 else self.sell)(size=1)


@pytest.mark.parametrize("rounding", [None, 2])
@pytest.mark.parametrize("csv", [True, False])
def test_what_writers_print(rounding, csv):
    outputs = []

    def prepare(cerebro):
        cerebro.broker.setcash(100_000.0)
        cerebro.broker.setcommission(commission=2.0, mult=10.0, margin=2000.0)
        cerebro.addobserver(bt.observers.DrawDown)
        cerebro.addindicator(bt.ind.RSI)
        outputs.append(io.StringIO())
        cerebro.addwriter(bt.WriterFile, csv=csv, out=outputs[-1], rounding=rounding, indent=4)

    same(LongShort, seeds=(1, 2), prepare=prepare)
    stock, clock = (output.getvalue() for output in outputs)
    assert stock == clock and "terminal" not in clock
    assert ("INDEX2,len,datetime,open" in clock) == csv
    assert len(clock.splitlines()) > (500 if csv else 50)


class EveryKind(Printing):
    """One kind of order at each crossing; what is held is sold at the next crossing down."""

    params = dict(kind="Market", valid=None)  # noqa: RUF012

    def next(self):
        if self.waiting:
            return
        close, kind = self.data.close[0], getattr(bt.Order, self.p.kind)
        valid = None if self.p.valid is None else dt.timedelta(self.p.valid)
        below, above = close * (1 - self.p.limit), close * (1 + self.p.limit)
        terms = {
            "Limit": {"price": below},
            "Stop": {"price": above},
            "StopLimit": {"price": above, "plimit": above * 1.002},
            "StopTrail": {"trailpercent": 0.01},
            "StopTrailLimit": {"price": above, "plimit": above * 1.001, "trailamount": 0.005 * close},
        }.get(self.p.kind, {})
        if self.cross[0] > 0 and not self.position:
            self.sent(self.buy(exectype=kind, valid=valid, **terms))
        elif self.cross[0] < 0 and self.position:
            self.sent(self.sell(exectype=bt.Order.Market))


@pytest.mark.parametrize(
    ("kind", "valid"),
    [("Market", None), ("Close", None), ("Limit", 4), ("Stop", 4), ("StopLimit", 4), ("StopTrail", None),
     ("StopTrailLimit", 4)],
)  # fmt: skip
def test_every_kind_of_order(kind, valid):
    assert "Completed" in same(EveryKind, kind=kind, valid=valid)


class Targets(Printing):
    """A share of the account that grows through each month, as ``order_target`` does it."""

    params = dict(by="percent")  # noqa: RUF012

    def next(self):
        self.waiting or self.sent(*filter(None, [self.aim(self.datetime.date().day)]))

    def aim(self, day):
        share = day / 100 if self.datetime.date().month % 2 else (31 - day) / 100
        if self.p.by == "size":
            return self.order_target_size(target=int(100 * share))
        if self.p.by == "value":
            return self.order_target_value(target=share * self.broker.getvalue())
        return self.order_target_percent(target=share)


@pytest.mark.parametrize("by", ["size", "value", "percent"])
def test_targets(by):
    text = same(Targets, by=by, prepare=lambda cerebro: cerebro.broker.setcash(1e6))
    assert text.count("Completed") > 300


class Trailing(Printing):
    """A stop that is moved by hand after each bar, cancelled and sent again; positions told apart by trade number."""

    def __init__(self):
        super().__init__()
        self.numbers = itertools.cycle([0, 1, 2])
        self.guard = None

    def next(self):
        if not self.position and self.cross[0] > 0:
            self.number = next(self.numbers)
            self.sent(self.buy(size=5, tradeid=self.number))
        elif self.position:
            level = self.data.close[0] * 0.97
            if self.guard is None or not self.guard.alive() or level > self.guard.created.price:
                if self.guard is not None and self.guard.alive():
                    self.cancel(self.guard)
                self.guard = self.sell(size=5, exectype=bt.Order.Stop, price=level, tradeid=self.number)


def test_a_stop_trailed_by_hand_and_several_trades():
    text = same(Trailing, prepare=lambda cerebro: cerebro.broker.setcash(1e5))
    assert "Canceled" in text and "trade 2" in text


class OnOpen(Printing):
    def next_open(self):
        if self.cross[-1] > 0 and not self.position:
            self.sent(self.buy())
        elif self.cross[-1] < 0 and self.position:
            self.sent(self.close())

    def nextstart_open(self):
        pass


def test_cheating_on_the_open_with_a_sizer():
    def prepare(cerebro):
        cerebro.addsizer(bt.sizers.PercentSizer, percents=40)
        cerebro.p.cheat_on_open = True
        cerebro.broker.set_coo(True)
        cerebro.broker.set_slippage_perc(0.001)

    assert "Completed" in same(OnOpen, prepare=prepare)
