"""Runs the same strategy on stock backtrader and on the shared clock, writing down everything that can be seen."""

from __future__ import annotations

import datetime as dt
import random

import backtrader as bt
import numpy as np
import pandas as pd

from clusterfolio.engine.trading.clock import ClockCerebro
from clusterfolio.feeds.bt_feed import frame_feed, panel_feeds
from clusterfolio.feeds.panel import FIELDS, STOPPED_AFTER, Panel, make_assets

ORDERS = ("market", "close", "limit", "stop", "stoplimit", "trail", "trailpercent", "traillimit", "bracket", "oco")
ANALYZERS = (
    (bt.analyzers.PyFolio, {}),
    (bt.analyzers.PositionsValue, {"headers": True, "cash": True}),
    (bt.analyzers.Transactions, {"headers": True}),
    (bt.analyzers.TimeReturn, {}),
    (bt.analyzers.TimeReturn, {"timeframe": bt.TimeFrame.Months, "fund": True}),
    (bt.analyzers.TradeAnalyzer, {}),
    (bt.analyzers.DrawDown, {}),
    (bt.analyzers.TimeDrawDown, {}),
    (bt.analyzers.GrossLeverage, {}),
    (bt.analyzers.SQN, {}),
    (bt.analyzers.PeriodStats, {"timeframe": bt.TimeFrame.Weeks}),
)


def random_panel(
    seed=0, n_assets=6, n_days=60, missing=0.0, late=0, early=0, weekends=False, halts=0, no_volume=0.0
) -> Panel:
    """A random walk with ``missing`` of the bars left out and, per asset, up to ``late`` days without bars at the start
    and ``early`` at the end; ``halts`` assets stop for 8 to 16 days; every third asset trades on weekends."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2021-03-01", periods=n_days, freq="D" if weekends else "B")
    symbols = [f"A{i:02d}" for i in range(n_assets)]
    shape = n_days, n_assets
    close = 50 * np.exp(rng.normal(0, 0.03, shape).cumsum(axis=0))
    open_ = close * np.exp(rng.normal(0, 0.02, shape))
    high = np.maximum(open_, close) * (1 + rng.uniform(0, 0.02, shape))
    low = np.minimum(open_, close) * (1 - rng.uniform(0, 0.02, shape))
    volume = np.where(rng.random(shape) < no_volume, np.nan, rng.integers(1, 500, shape).astype(float))

    absent = rng.random(shape) < missing
    weekday = days.day_of_week.to_numpy() < 5
    for asset in range(n_assets):
        absent[: rng.integers(0, late + 1), asset] = True
        absent[n_days - rng.integers(0, early + 1) :, asset] = True
        if asset % 3:
            absent[~weekday, asset] = True
        if asset < halts:
            start = rng.integers(0, n_days)
            absent[start : start + rng.integers(8, 17), asset] = True
    absent[0, absent.all(axis=0)] = False
    frames = [pd.DataFrame(np.where(absent, np.nan, x), days, symbols) for x in (open_, high, low, close, volume)]
    return Panel(*frames, make_assets(symbols), sessions=days[weekday], benchmark=symbols[-1])


def asset_frame(panel: Panel, symbol: str) -> pd.DataFrame:
    """One asset's own bars and its terminal ones, found session by session."""
    frame = pd.DataFrame({name: getattr(panel, name)[symbol] for name in FIELDS})
    frame = frame[frame["close"].notna()]
    stops = {}
    for day in panel.sessions:
        before = frame.index[frame.index < day]
        if not len(before) or day in frame.index:
            continue
        passed = (panel.sessions > before[-1]) & (panel.sessions <= day)
        if passed.sum() == STOPPED_AFTER + 1:
            stops[day] = [frame.loc[before[-1], "close"]] * 4 + [0.0]
    table = pd.DataFrame.from_dict(stops, orient="index", columns=list(FIELDS), dtype=float)
    return pd.concat([frame, table]).sort_index() if stops else frame


def stock_feeds(panel: Panel, **kwargs) -> list:
    return [bt.feeds.PandasData(dataname=asset_frame(panel, s), name=s, **kwargs) for s in panel.symbols]


def intraday_frames(seed=0, n_feeds=3, n_bars=80) -> dict[str, pd.DataFrame]:
    """Bars at odd minutes, with feeds that differ in their moments."""
    rng = np.random.default_rng(seed)
    frames = {}
    for i in range(n_feeds):
        minutes = np.sort(rng.choice(np.arange(30, 60 * 24 * 3), n_bars, replace=False))
        index = pd.Timestamp("2022-05-02") + pd.to_timedelta(minutes, unit="min") + pd.to_timedelta(i % 2 * 7, unit="s")
        close = 20 * np.exp(rng.normal(0, 0.01, n_bars).cumsum())
        open_ = close * np.exp(rng.normal(0, 0.005, n_bars))
        spread = rng.uniform(0, 0.005, n_bars)
        frames[f"I{i}"] = pd.DataFrame(
            {
                "open": open_,
                "high": np.maximum(open_, close) * (1 + spread),
                "low": np.minimum(open_, close) * (1 - spread),
                "close": close,
                "volume": rng.integers(1, 99, n_bars).astype(float),
            },
            index=index,
        )
    return frames


def plain(value):
    """A comparable form of any result: exact (``repr`` round-trips floats), NaN equal to itself."""
    if isinstance(value, dict):
        return [(plain(key), plain(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return repr(value)


class Trader(bt.Strategy):
    """Trades at random, the same way whenever it sees the same, and writes down all it sees."""

    params = (
        ("seed", 0),
        ("orders", ORDERS),
        ("appetite", 0.3),
        ("valid", None),
        ("timers", ()),
        ("on_open", False),
        ("early_bird", True),
        ("indicators", ()),
        ("cash_flow", False),
        ("stop", None),
    )

    def __init__(self):
        self.log = []
        self.refs = {}
        self.rng = random.Random(self.p.seed)
        self.live = []
        self.watched = [make(data) for make in self.p.indicators for data in self.datas]
        for timer in self.p.timers:
            self.add_timer(**timer)

    def see(self, what, *seen):
        self.log.append((what, plain(seen)))

    def market(self):
        return [
            (len(d), d.datetime[0], d.datetime.datetime(), d.open[0], d.high[0], d.low[0], d.close[0], d.volume[0])
            if len(d)
            else 0
            for d in self.datas
        ]

    def readings(self):
        return [(len(ind), [line[0] for line in ind.lines] if len(ind) else None) for ind in self.watched]

    def account(self):
        broker = self.broker
        return (
            (broker.getcash(), broker.getvalue(), broker.get_value(mkt=True), broker.get_value(lever=True)),
            (broker.get_leverage(), broker.fundvalue, broker.fundshares, len(broker.get_orders_open())),
            [broker.get_value([d]) for d in self.datas if len(d) and self.rng.random() < 0.5],
            [
                (d._name, p.size, p.price, p.price_orig, p.adjbase, getattr(p, "datetime", 0), p.upopened, p.upclosed)
                for d, p in broker.positions.items()
            ],
        )

    def notify_order(self, order):
        ref = self.refs.setdefault(order.ref, len(self.refs))
        made, done = order.created, order.executed
        bits = [plain(list(vars(bit).values())) for bit in done.exbits]
        self.see(
            "order",
            (len(self), ref, order.data._name, order.getstatusname(), order.getordername(), order.ordtypename()),
            (order.size, order.triggered, order.valid, order.dteos, order.plen, order.info.get("note", None)),
            (made.dt, made.size, made.price, made.pricelimit, made.pclose, made.remsize),
            (done.dt, done.size, done.price, done.value, done.comm, done.pnl, done.margin, done.remsize),
            (done.psize, done.pprice),
            bits,
            self.readings(),
        )

    def notify_trade(self, trade):
        fields = {name: value for name, value in vars(trade).items() if name not in ("ref", "data", "history")}
        self.see("trade", trade.data._name, fields, len(trade.history))

    def notify_cashvalue(self, cash, value):
        self.see("cash", cash, value)

    def notify_fund(self, cash, value, fundvalue, shares):
        self.see("fund", cash, value, fundvalue, shares)

    def notify_timer(self, timer, when, *args, **kwargs):
        self.see("timer", when, self.market(), self.readings())
        if kwargs.get("trade"):
            self.trade()

    def prenext(self):
        self.see("prenext", len(self), self.datetime[0], self.market(), self.account(), self.readings())
        if self.p.early_bird and not self.p.on_open:
            self.trade()

    def nextstart(self):
        self.see("nextstart", len(self))
        super().nextstart()

    def next(self):
        self.see("next", len(self), self.datetime.datetime(), self.market(), self.account())
        self.see("indicators", self.readings())
        if not self.p.on_open:
            self.trade()
        if self.p.stop is not None and len(self) >= self.p.stop:
            self.env.runstop()

    def prenext_open(self):
        if self.p.early_bird:
            self.next_open()

    def next_open(self):
        self.see("open", self.market(), self.readings())
        if self.p.on_open:
            self.trade()

    def stop(self):
        self.see("stop", len(self), self.market(), [d.buflen() for d in self.datas])

    def trade(self):
        rng = self.rng
        if self.p.cash_flow and rng.random() < 0.1:
            self.broker.add_cash(rng.uniform(-50, 100))
        for data in self.datas:
            if len(data) and rng.random() < self.p.appetite:
                self.live += [order for order in self.order(data) if order is not None]
        self.live = [order for order in self.live if order.alive()]
        if self.live and rng.random() < 0.1:
            self.cancel(rng.choice(self.live))

    def order(self, data):
        rng, close, kind = self.rng, data.close[0], self.rng.choice(self.p.orders)
        act = self.buy if rng.random() < 0.55 else self.sell
        near = close * rng.uniform(0.97, 1.03)
        size = rng.choice([None, 1, rng.randint(1, 30), rng.uniform(0.1, 20)])
        more = dict(data=data, size=size, tradeid=rng.choice([0, 0, 0, 1]))
        if kind not in ("market", "close"):
            more["valid"] = self.p.valid
        if kind == "market":
            choice = rng.random()
            if choice < 0.2:
                return [self.close(data=data)]
            if choice < 0.4:
                return [self.order_target_percent(data, rng.uniform(-0.1, 0.4))]
            return [act(note="x", **more)]
        if kind == "close":
            return [act(exectype=bt.Order.Close, **more)]
        if kind == "limit":
            return [act(exectype=bt.Order.Limit, price=near, **more)]
        if kind == "stop":
            return [act(exectype=bt.Order.Stop, price=near, **more)]
        if kind == "stoplimit":
            limit = near * rng.uniform(0.98, 1.02)
            return [act(exectype=bt.Order.StopLimit, price=near, plimit=limit, **more)]
        if kind == "trail":
            return [act(exectype=bt.Order.StopTrail, trailamount=close * rng.uniform(0.005, 0.04), **more)]
        if kind == "trailpercent":
            return [act(exectype=bt.Order.StopTrail, trailpercent=rng.uniform(0.005, 0.04), **more)]
        if kind == "traillimit":
            limit = near * rng.uniform(0.98, 1.02)
            return [act(exectype=bt.Order.StopTrailLimit, price=near, plimit=limit, trailpercent=0.02, **more)]
        if kind == "bracket":
            low, high = close * rng.uniform(0.93, 0.99), close * rng.uniform(1.01, 1.07)
            both = dict(data=data, size=rng.randint(1, 9), price=near, valid=self.p.valid)
            if rng.random() < 0.5:
                return self.buy_bracket(stopprice=low, limitprice=high, **both)
            return self.sell_bracket(stopprice=high, limitprice=low, **both)
        first = act(exectype=bt.Order.Limit, price=near, **more)
        second = act(exectype=bt.Order.Stop, price=close * rng.uniform(0.97, 1.03), oco=first, **more)
        return [first, second, act(exectype=bt.Order.Limit, price=close * rng.uniform(0.97, 1.03), oco=first, **more)]


def record(cerebro: bt.Cerebro, feeds, build) -> list:
    """Run ``cerebro`` with what ``build(cerebro)`` adds; return what the strategies, analyzers and observers saw."""
    for feed in feeds:
        cerebro.adddata(feed)
    build(cerebro)
    strategies = cerebro.run()
    seen = []
    for strat in strategies:
        seen += getattr(strat, "log", [])
        seen += [(type(a).__name__, plain(a.get_analysis())) for a in strat.analyzers]
        for observer in strat.getobservers():
            lines = [plain(list(line.array)) for line in observer.lines]
            seen.append((type(observer).__name__, len(observer), lines))
        for indicator in strat.getindicators():
            seen.append((type(indicator).__name__, plain(list(indicator.lines[0].array))))
        seen.append(("end", len(strat), plain([(len(d), d.datetime[0], d.close[0]) for d in strat.datas if len(d)])))
    return seen


def assert_parity(build, panel=None, frames=None, feed_args=None, cerebro_args=None, clock=True) -> list:
    """Both engines see the same, and the shared clock was used (``clock``). Returns what was seen."""
    feed_args, cerebro_args = feed_args or {}, {"stdstats": False} | (cerebro_args or {})
    if frames is None:
        theirs, ours = stock_feeds(panel, **feed_args), panel_feeds(panel, **feed_args)
    else:
        theirs = [bt.feeds.PandasData(dataname=f, name=n, **feed_args) for n, f in frames.items()]
        ours = [frame_feed(f, n, **feed_args) for n, f in frames.items()]
    expected = record(bt.Cerebro(**cerebro_args), theirs, build)
    cerebro = ClockCerebro(**cerebro_args)
    seen = record(cerebro, ours, build)
    for number, (one, other) in enumerate(zip(expected, seen, strict=False)):
        assert one == other, f"entry {number} of {len(expected)}"
    assert len(expected) == len(seen)
    assert cerebro.clock_used is clock
    assert (cerebro.fallback_reason is None) is clock
    return seen


def trading(cash=2_000.0, analyzers=ANALYZERS, **params):
    """A ``build`` with the random trader and the analyzers."""

    def build(cerebro):
        cerebro.broker.setcash(cash)
        cerebro.addstrategy(Trader, **params)
        for number, (analyzer, args) in enumerate(analyzers):
            cerebro.addanalyzer(analyzer, _name=f"a{number}", **args)

    return build


def both(*builds):
    """Several builds after another."""

    def build(cerebro):
        for part in builds:
            part(cerebro)

    return build


def next_day(days=3) -> dt.timedelta:
    return dt.timedelta(days=days)
