"""Orders and trades on the shared clock have each attribute that backtrader's have, in every copy."""

import datetime as dt
import itertools

import backtrader as bt
import pytest

from clusterfolio.engine.trading.clock import ClockCerebro
from clusterfolio.feeds.bt_feed import frame_feed, panel_feeds
from tests.engine.trading.clock_parity import intraday_frames, plain, random_panel, stock_feeds

NAMES = (
    *bt.Order.params._getkeys(), "ref", "broker", "info", "triggered", "status", "plimit", "position", "dteos",
    "plen", "pannotated", "ordtype", "_active", "_limitoffset",
)  # fmt: skip
TERMS = [
    dict(price=price, plimit=limit, exectype=exectype, valid=valid)
    for price, limit, exectype, valid in itertools.product(
        (None, 0.0, 45.0), (None, 0.0, 46.0), (None, *range(7)), (None, dt.timedelta(2))
    )
    if price or exectype not in range(2, 7)  # backtrader cannot fill a limit at no price
]


def facts(order, first) -> tuple:
    """All that an order says of itself; numbers of orders count from the run's first."""
    told = {name: getattr(order, name, "absent") for name in NAMES}
    told["ref"] -= first
    for name in ("data", "owner", "parent"):
        told[name] = getattr(told[name], "_name", type(told[name]).__name__)
    amounts = [sorted(plain(vars(amount)) for amount in bits) for bits in (order.created.exbits, order.executed.exbits)]
    sums = [{k: v for k, v in vars(part).items() if k != "exbits"} for part in (order.created, order.executed)]
    return type(order).__name__, plain(told), plain(sums), amounts, getattr(order, "tag", None)


class Asks(bt.Strategy):
    """Sends orders of all terms, some with a child, some in a group, and writes all of them down, again and again."""

    params = (("every", 1),)

    def __init__(self):
        self.log, self.sent, self.told = [], [], []
        self.terms = iter(TERMS)

    def prenext(self):
        self.next()

    def next(self):
        for data in self.datas:
            terms = next(self.terms, None) if len(data) and len(self) % self.p.every == 0 else None
            if terms is None:
                continue
            side = self.buy if len(self.sent) % 3 else self.sell
            ask = dict(data=data, size=1 + len(self.sent) % 5, tradeid=len(self.sent) % 2, **terms)
            if len(self.sent) % 4 == 1:
                ask |= {"oco": self.sent[-1], "note": len(self)}
            self.sent.append(side(transmit=len(self.sent) % 7 != 3, **ask))
            self.sent[-1].tag = len(self.sent)  # a copy has what a strategy hangs on an order
            if len(self.sent) % 7 == 4:
                self.sent.append(
                    self.sell(data=data, size=1, exectype=bt.Order.Limit, price=60.0, parent=self.sent[-1])
                )
        self.write("next", self.sent[-9:])

    def write(self, when, orders):
        self.log += [(when, len(self), facts(order, self.sent[0].ref)) for order in orders]

    def notify_order(self, order):
        self.told.append(order)
        self.write("told", [order])

    def notify_trade(self, trade):
        told = vars(trade) | {"data": trade.data._name, "ref": None, "history": len(trade.history)}
        self.log.append(("trade", len(self), plain(told)))

    def stop(self):
        self.write("end", self.sent)
        self.write("end", self.told)


def run(engine, feeds, strategy=Asks, every=1, **options):
    cerebro = engine(stdstats=False, **options)
    for feed in feeds:
        cerebro.adddata(feed)
    cerebro.broker.setcash(900.0)
    cerebro.addstrategy(strategy, every=every)
    (strat,) = cerebro.run()
    assert engine is bt.Cerebro or cerebro.clock_used
    return strat


def same(strategy=Asks, **options):
    panel = random_panel(seed=60, n_assets=4, n_days=120, missing=0.05, late=5)
    stock = run(bt.Cerebro, stock_feeds(panel), strategy, **options)
    clock = run(ClockCerebro, panel_feeds(panel), strategy, **options)
    for number, (one, other) in enumerate(zip(stock.log, clock.log, strict=True)):
        assert one == other, f"entry {number}"
    return clock


@pytest.mark.parametrize("options", [{}, {"quicknotify": True}, {"tradehistory": True}], ids=str)
def test_orders_and_their_copies(options):
    strat = same(**options)
    assert len(strat.sent) > len(TERMS)
    assert {"Market", "Close", "Limit", "Stop", "StopTrail"} <= {order.getordername() for order in strat.told}
    assert {"Submitted", "Accepted", "Completed", "Margin", "Canceled"} <= {o.getstatusname() for o in strat.told}


@pytest.mark.parametrize("more", [{}, {"tz": "America/New_York"}, {"sessionend": dt.time(9, 30)}], ids=str)
def test_the_end_of_an_orders_session(more):
    frames = intraday_frames(seed=61)
    stock = run(bt.Cerebro, [bt.feeds.PandasData(dataname=f, name=n, **more) for n, f in frames.items()], every=5)
    clock = run(ClockCerebro, [frame_feed(f, n, **more) for n, f in frames.items()], every=5)
    assert stock.log == clock.log
    assert len({order.dteos for order in clock.sent}) > 1


def test_an_asset_that_costs_nothing():
    frames = intraday_frames(seed=62, n_feeds=1)
    frames["I0"].iloc[:10] = 0.0
    stock = run(bt.Cerebro, [bt.feeds.PandasData(dataname=f, name=n) for n, f in frames.items()])
    clock = run(ClockCerebro, [frame_feed(f, n) for n, f in frames.items()])
    assert stock.log == clock.log


class Meddles(Asks):
    """Takes backtrader's inner steps into its own hands."""

    def forward(self, *args, **kwargs):
        self.log.append("forward")
        super().forward(*args, **kwargs)

    def _addnotification(self, order, quicknotify=False):
        self.log.append(("added", order.getstatusname()))
        super()._addnotification(order, quicknotify)


class Listens(Asks):
    def _notify(self, *args, **kwargs):
        self.log.append(("notifying", len(self._orderspending)))
        super()._notify(*args, **kwargs)


@pytest.mark.parametrize("strategy", [Meddles, Listens])
def test_a_strategy_that_has_inner_steps_of_its_own(strategy):
    same(strategy)
