"""One feature of backtrader at a time on the shared clock; each case shows that the feature was really exercised."""

import datetime as dt

import backtrader as bt
import pandas as pd
import pytest

from clusterfolio.engine.trading.clock import ClockCerebro
from clusterfolio.feeds.bt_feed import panel_feeds
from tests.engine.trading.clock_parity import (
    ANALYZERS,
    ORDERS,
    Trader,
    assert_parity,
    both,
    intraday_frames,
    next_day,
    plain,
    random_panel,
    record,
    stock_feeds,
    trading,
)

GAPS = dict(n_days=60, missing=0.1, late=8, early=8, halts=2)


def entries(seen, what):
    return [entry[1] for entry in seen if entry[0] == what]


def fills(seen):
    """Status and kind of the orders that were filled."""
    return {
        (facts[0][4].strip("'"), facts[0][5].strip("'"))
        for facts in entries(seen, "order")
        if facts[0][3] == "'Completed'"
    }


def statuses(seen):
    return {facts[0][3].strip("'") for facts in entries(seen, "order")}


KINDS = {
    "market": "Market",
    "close": "Close",
    "limit": "Limit",
    "stop": "Stop",
    "stoplimit": "StopLimit",
    "trail": "StopTrail",
    "trailpercent": "StopTrail",
    "traillimit": "StopTrailLimit",
    "bracket": "Stop",
    "oco": "Stop",
}


@pytest.mark.parametrize("kind", ORDERS)
def test_order_type(kind):
    seen = assert_parity(trading(cash=50_000.0, seed=4, orders=(kind,)), random_panel(seed=4, **GAPS))
    assert {side for name, side in fills(seen) if name == KINDS[kind]} == {"Buy", "Sell"}
    if kind in ("bracket", "oco"):
        assert "Canceled" in statuses(seen)


@pytest.mark.parametrize("valid", [next_day(0), next_day(4), dt.date(2021, 4, 20), dt.datetime(2021, 4, 20, 12)])
def test_orders_valid_until(valid):
    seen = assert_parity(trading(seed=1, orders=("limit", "stop"), valid=valid), random_panel(seed=1, **GAPS))
    assert "Expired" in statuses(seen)


@pytest.mark.parametrize("on_open", [False, True])
def test_margin_calls_and_rejections(on_open):
    build = trading(cash=300.0, seed=2, orders=("market", "bracket"), on_open=on_open)
    seen = assert_parity(build, random_panel(seed=2, **GAPS), cerebro_args=dict(cheat_on_open=on_open))
    assert {"Margin", "Completed"} <= statuses(seen)


class PerShare(bt.CommInfoBase):
    params = (("stocklike", True), ("commtype", bt.CommInfoBase.COMM_FIXED))

    def _getcommission(self, size, price, pseudoexec):
        return max(1.0, abs(size) * self.p.commission)

    def get_credit_interest(self, data, pos, dt):
        return 0.01 * abs(pos.size)


class HalfValue(bt.CommInfoBase):
    params = (("stocklike", True),)

    def getvaluesize(self, size, price):
        return 0.5 * size * price + 1.0  # not 0 for a flat position


@pytest.mark.parametrize(
    "scheme",
    [
        lambda broker: broker.setcommission(commission=0.003),
        lambda broker: broker.setcommission(commission=2.0, margin=30.0, mult=4.0),
        lambda broker: broker.setcommission(commission=2.0, margin=30.0, mult=4.0, automargin=0.3, leverage=2.0),
        lambda broker: broker.setcommission(commission=0.001, interest=0.1, leverage=3.0),
        lambda broker: broker.setcommission(commission=0.001, interest=0.1, interest_long=True),
        lambda broker: (
            broker.setcommission(commission=0.01, name="A01"),
            broker.setcommission(margin=9.0, name="A02"),
        ),
        lambda broker: broker.addcommissioninfo(PerShare(commission=0.05)),
        lambda broker: broker.addcommissioninfo(HalfValue(), name="A03"),
    ],
    ids=["percent", "futures", "automargin", "interest", "interest-long", "by-name", "own-commission", "own-valuation"],
)
def test_commission_scheme(scheme):
    build = both(lambda cerebro: scheme(cerebro.broker), trading(cash=50_000.0, seed=3))
    seen = assert_parity(build, random_panel(seed=3, **GAPS))
    assert entries(seen, "trade")


def test_a_scheme_that_counts_what_was_executed():
    class Counts(bt.CommInfoBase):
        params = (("stocklike", True), ("commission", 0.5))

        def confirmexec(self, size, price):
            self.executed = [*getattr(self, "executed", []), (size, price)]

    def build(cerebro):
        schemes.append(Counts())
        cerebro.broker.addcommissioninfo(schemes[-1])
        trading(cash=50_000.0, seed=3)(cerebro)

    schemes = []
    assert_parity(build, random_panel(seed=3, **GAPS))
    assert plain(schemes[0].executed) == plain(schemes[1].executed)
    assert len(schemes[0].executed) > 20


def test_interest_charged_while_it_was_asked_for_is_part_of_a_later_trades_cost():
    class Ends(Trader):
        def next(self):
            if len(self) == 20:
                self.broker.setcommission(commission=0.001)
            super().next()

    def build(cerebro):
        cerebro.broker.setcommission(commission=0.001, interest=2.0, interest_long=True)
        cerebro.addstrategy(Ends, seed=3, appetite=0.5)

    charged = assert_parity(build, random_panel(seed=3, n_days=50))
    assert entries(charged, "trade")


@pytest.mark.parametrize(
    "change",
    [
        lambda broker: broker.setcommission(commission=2.0, margin=30.0, mult=4.0),
        lambda broker: broker.setcommission(commission=0.001, interest=0.2, name="A01"),
        lambda broker: broker.addcommissioninfo(HalfValue(), name="A02"),
        lambda broker: broker.comminfo.__setitem__("A03", HalfValue()),
    ],
    ids=["futures", "interest", "own-valuation", "by-hand"],
)
def test_commission_scheme_changed_on_the_way(change):
    class Changes(Trader):
        def next(self):
            if len(self) == 20:
                change(self.broker)
            super().next()

    panel = random_panel(seed=3, n_days=50)
    changed = assert_parity(lambda c: c.addstrategy(Changes, seed=3, appetite=0.5), panel)
    same = assert_parity(lambda c: c.addstrategy(Trader, seed=3, appetite=0.5), panel)
    assert entries(changed, "cash") != entries(same, "cash")


def test_own_valuation_of_a_flat_position_starts_on_the_way():
    class Changes(bt.Strategy):
        def __init__(self):
            self.log = []
            self.flat = self.getposition(self.data2)

        def next(self):
            if len(self) == 20:
                self.broker.addcommissioninfo(HalfValue(), name="A02")
            self.log.append((self.broker.getvalue(), self.broker.getvalue([self.data2])))

    seen = assert_parity(lambda cerebro: cerebro.addstrategy(Changes), random_panel(seed=3, n_days=30))
    assert {(10_000.0, 0.0), (10_001.0, 1.0)} <= set(seen[:30])


@pytest.mark.parametrize(
    "slippage",
    [
        dict(slip_perc=0.02, slip_open=True),
        dict(slip_perc=0.02, slip_open=True, slip_match=False),
        dict(slip_fixed=0.5, slip_open=True, slip_limit=False, slip_match=False),
        dict(slip_fixed=0.5, slip_open=True, slip_out=True),
    ],
)
def test_slippage(slippage):
    def configure(cerebro):
        cerebro.broker = bt.brokers.BackBroker(**slippage)

    panel = random_panel(seed=5, **GAPS)
    seen = assert_parity(both(configure, trading(seed=5)), panel)
    assert entries(seen, "order") != entries(assert_parity(trading(seed=5), panel), "order")


@pytest.mark.parametrize("interest", [0.0, 0.05])
@pytest.mark.parametrize(
    "options", [dict(shortcash=False), dict(checksubmit=False), dict(int2pnl=False), dict(eosbar=True)], ids=str
)
def test_broker_option(options, interest):
    def configure(cerebro):
        cerebro.broker = bt.brokers.BackBroker(**options)
        cerebro.broker.setcommission(commission=0.001, interest=interest)

    seen = assert_parity(both(configure, trading(seed=6)), random_panel(seed=6, **GAPS))
    assert entries(seen, "trade")


def test_fund_mode_and_cash_flows():
    build = both(lambda c: c.broker.set_fundmode(True, 50.0), trading(seed=7, cash_flow=True))
    seen = assert_parity(build, random_panel(seed=7, **GAPS))
    assert len({facts[3] for facts in entries(seen, "fund")}) > 1  # shares were issued


@pytest.mark.parametrize(
    "filler", [bt.fillers.FixedSize(size=3), bt.fillers.FixedBarPerc(perc=1.0), bt.fillers.BarPointPerc()]
)
def test_volume_filler(filler):
    build = both(lambda c: c.broker.set_filler(filler), trading(cash=50_000.0, seed=8, orders=("market", "limit")))
    seen = assert_parity(build, random_panel(seed=8, **GAPS))
    assert "Partial" in statuses(seen)


def test_a_broker_of_ones_own():
    class Generous(bt.brokers.BackBroker):
        def next(self):
            super().next()
            self.cash += 1.0

    def configure(cerebro):
        cerebro.broker = Generous()

    assert_parity(both(configure, trading(seed=9)), random_panel(seed=9, **GAPS))


@pytest.mark.parametrize("orders", [("market",), ORDERS])
def test_cheat_on_open(orders):
    build = trading(seed=10, orders=orders, on_open=True)
    seen = assert_parity(build, random_panel(seed=10, **GAPS), cerebro_args=dict(cheat_on_open=True))
    assert entries(seen, "open") and fills(seen)


def test_cheat_on_close():
    build = both(lambda c: c.broker.set_coc(True), trading(seed=11, orders=("market", "limit", "close")))
    assert fills(assert_parity(build, random_panel(seed=11, **GAPS)))


def test_observers():
    def observe(cerebro):
        cerebro.addobserver(bt.observers.DrawDown)
        cerebro.addobserver(bt.observers.TimeReturn)
        cerebro.addobserver(bt.observers.FundValue)
        cerebro.addobserver(bt.observers.Benchmark, data=cerebro.datas[0])
        cerebro.addobservermulti(bt.observers.BuySell)

    seen = assert_parity(
        both(observe, trading(seed=12)), random_panel(seed=12, **GAPS), cerebro_args=dict(stdstats=True)
    )
    assert {"Broker", "BuySell", "DataTrades", "DrawDown", "TimeReturn", "Benchmark"} <= {entry[0] for entry in seen}


@pytest.mark.parametrize(
    "timer",
    [
        dict(when=bt.timer.SESSION_START),
        dict(when=bt.timer.SESSION_END),
        dict(when=dt.time(0, 0), weekdays=[1, 3], weekcarry=True),
        dict(when=dt.time(0, 0), monthdays=[1, 15], monthcarry=True, cheat=True, trade=True),
        dict(when=bt.timer.SESSION_START, allow=lambda day: day.day % 2 == 0, trade=True),
    ],
)
def test_timer(timer):
    seen = assert_parity(trading(seed=13, timers=(timer,)), random_panel(seed=13, **GAPS))
    # Stock timers at the session's end do not fire on stamps at midnight, here as there.
    assert entries(seen, "timer") or timer["when"] is bt.timer.SESSION_END


def test_timers_within_the_day():
    timers = (dict(when=dt.time(9, 30), offset=dt.timedelta(minutes=15), repeat=dt.timedelta(hours=2)),)
    seen = assert_parity(trading(seed=14, timers=timers), frames=intraday_frames(seed=14))
    assert len(entries(seen, "timer")) > 5


class Trend(bt.Indicator):
    """Calculated bar by bar."""

    lines = ("trend",)
    params = (("period", 5),)

    def __init__(self):
        self.addminperiod(self.p.period)

    def next(self):
        self.lines.trend[0] = self.data.close[0] - self.data.close[-self.p.period + 1]


INDICATORS = {
    "sma": lambda data: bt.indicators.SMA(data, period=7),
    "line": lambda data: bt.indicators.EMA(data.close, period=5),
    "nested": lambda data: bt.indicators.MACDHisto(data, period_me1=4, period_me2=9, period_signal=3),
    "range": lambda data: bt.indicators.ATR(data, period=5),
    "own": Trend,
    "two": lambda data: bt.indicators.CrossOver(bt.indicators.SMA(data, period=3), data.close),
    "operations": lambda data: bt.indicators.SMA(bt.Max(data.high - data.low, data.close(-1) - data.low), period=3),
}


@pytest.mark.parametrize("name", INDICATORS)
@pytest.mark.parametrize(
    "panel", [dict(n_days=60), dict(n_days=60, late=10, early=10, missing=0.05)], ids=["full", "gaps"]
)
def test_indicators(name, panel):
    seen = assert_parity(trading(seed=15, indicators=(INDICATORS[name],)), random_panel(seed=15, **panel))
    assert entries(seen, "indicators")


@pytest.mark.parametrize(
    "option", [dict(quicknotify=True), dict(cheat_on_open=True), dict(objcache=True), dict(stdstats=True)], ids=str
)
def test_indicators_are_a_bar_behind_the_feeds_until_the_strategys_turn(option):
    """Timers, orders' notifications and the open come before: what they see of an indicator is of the bar before."""
    timers = (dict(when=bt.timer.SESSION_START, cheat=True), dict(when=bt.timer.SESSION_START))
    more = dict(indicators=tuple(INDICATORS.values()), timers=timers, on_open="cheat_on_open" in option)
    panel = random_panel(seed=51, n_assets=3, n_days=50, missing=0.05)
    seen = assert_parity(trading(seed=51, **more), panel, cerebro_args=option)
    timed = [entry[1] for entry in seen if entry[0] == "timer"]
    stepped = [entry[1] for entry in seen if entry[0] == "indicators"]
    assert timed[-1][2] == stepped[-2][0] != stepped[-1][0]  # the last bar's timer sees the bar before


class Halting(bt.Indicator):
    """Moves in its own way, on every second bar."""

    lines = ("close",)

    def advance(self, size=1):
        if len(self.data) % 2:
            super().advance(size)

    def once(self, start, end):
        for bar in range(start, end):
            self.lines.close.array[bar] = self.data.close.array[bar]


OTHER_CLOCKS = {
    "constant": lambda data: bt.linebuffer.LineNum(5.0),  # backtrader moves it by its strategy's own bars
    "own-way": Halting,
    "after-own-way": lambda data: bt.indicators.SMA(Halting(data), period=2),
    "two-feeds": lambda data: bt.indicators.SMA(
        data.high - bt.metabase.findowner(None, bt.Strategy).data0.low, period=2
    ),
    "part-of-another": lambda data: bt.indicators.SMA(bt.indicators.MACD(data).signal, period=2),
    "delayed": lambda data: bt.If(data.close(-1) > data.open, bt.indicators.Highest(data, period=3), data.low),
}


@pytest.mark.parametrize("name", OTHER_CLOCKS)
def test_indicators_on_other_clocks(name):
    gaps = {} if name in ("constant", "two-feeds") else dict(missing=0.1, late=6, early=6)  # stock runs out of bars
    panel = random_panel(seed=52, n_assets=4, n_days=60, **gaps)
    assert_parity(trading(seed=52, indicators=(OTHER_CLOCKS[name], INDICATORS["sma"])), panel)


@pytest.mark.parametrize("kind", ("stop", "stoplimit", "trail", "traillimit", "bracket"))
def test_indicators_and_stops_of_several_strategies(kind):
    builds = [
        trading(
            cash=50_000.0,
            seed=seed,
            orders=("market", kind),
            indicators=tuple(INDICATORS.values())[seed:],
            analyzers=(),
        )
        for seed in (1, 4)
    ]
    assert fills(assert_parity(both(*builds), random_panel(seed=53, n_assets=4, **GAPS)))


def test_an_indicator_stands_where_stock_leaves_it_and_cannot_be_moved_by_hand():
    class Moves(Trader):
        def next(self):
            super().next()
            if self.p.stop == len(self):
                self.watched[0].lines.advance()

    panel, left = random_panel(seed=54, n_days=30, early=5), []
    for engine, feeds in ((bt.Cerebro, stock_feeds(panel)), (ClockCerebro, panel_feeds(panel))):
        cerebro = engine(stdstats=False)
        record(cerebro, feeds, trading(seed=54, indicators=(INDICATORS["nested"],)))
        (strat,) = cerebro.runstrats[0]
        lines = [line for indicator in strat.getindicators() for line in indicator.lines]
        left.append([(type(line), line.idx, len(line), line[0], line.get(size=2)) for line in lines])
    assert left[0] == left[1]
    with pytest.raises(RuntimeError, match="cannot be moved by hand"):
        record(
            ClockCerebro(stdstats=False),
            panel_feeds(panel),
            lambda c: c.addstrategy(Moves, indicators=(INDICATORS["sma"],), stop=20),
        )


def test_terminal_line_feeds_an_indicator():
    class Counts(bt.Strategy):
        def __init__(self):
            self.stops = [bt.indicators.SumN(data.terminal, period=1) for data in self.datas]
            self.log = []

        def prenext(self):
            self.next()

        def next(self):
            self.log += [(d._name, len(d), d.volume[0]) for d, s in zip(self.datas, self.stops, strict=True) if s[0]]

    panel = random_panel(n_days=60, early=0, seed=3)
    closes = panel.close.copy()
    closes.iloc[20:, 2] = float("nan")
    panel = type(panel)(panel.open, panel.high, panel.low, closes, panel.volume, panel.assets, panel.sessions, "A00")
    logs = []
    for engine in (bt.Cerebro, ClockCerebro):
        cerebro = engine(stdstats=False)
        logs.append(record(cerebro, panel_feeds(panel), lambda c: c.addstrategy(Counts)))
    assert logs[0] == logs[1]
    assert ("A02", 21, 0.0) in logs[1]


@pytest.mark.parametrize("analyzer", [a for a in ANALYZERS], ids=lambda a: "" if isinstance(a, dict) else a[0].__name__)
def test_analyzer(analyzer):
    seen = assert_parity(trading(seed=16, analyzers=(analyzer,)), random_panel(seed=16, **GAPS))
    assert next(result for name, result in seen if name == analyzer[0].__name__)


MORE_ANALYZERS = [
    (bt.analyzers.SharpeRatio, dict(timeframe=bt.TimeFrame.Weeks)),
    (bt.analyzers.Returns, {}),
    (bt.analyzers.AnnualReturn, {}),
    (bt.analyzers.VWR, {}),
    (bt.analyzers.LogReturnsRolling, {}),
    (bt.analyzers.Calmar, {}),
]


def test_analyzers_of_ratios():
    panel = random_panel(seed=17, n_days=80, missing=0.05)
    assert_parity(trading(seed=17, analyzers=MORE_ANALYZERS), panel, cerebro_args=dict(stdstats=True))


@pytest.mark.parametrize(
    "sizer",
    [(bt.sizers.FixedSize, dict(stake=4)), (bt.sizers.PercentSizer, dict(percents=20)), (bt.sizers.AllInSizer, {})],
)
def test_sizer(sizer):
    build = both(lambda c: c.addsizer(sizer[0], **sizer[1]), trading(seed=18, orders=("market", "limit")))
    assert fills(assert_parity(build, random_panel(seed=18, **GAPS)))


@pytest.mark.parametrize(
    "gaps", [dict(late=30), dict(early=30), dict(missing=0.5), dict(weekends=True), dict(halts=6)], ids=str
)
def test_data_of_different_lengths(gaps):
    panel = random_panel(seed=19, n_days=70, **gaps)
    assert len(set(panel.close.notna().sum())) > 1
    assert_parity(trading(seed=19), panel)


def test_one_feed():
    assert_parity(trading(seed=20), random_panel(seed=20, n_assets=1), cerebro_args=dict(stdstats=True))


def test_one_bar():
    assert_parity(trading(seed=21), random_panel(seed=21, n_assets=2, n_days=1), cerebro_args=dict(stdstats=True))


def test_many_feeds():
    assert_parity(trading(cash=10_000.0, seed=22, appetite=0.1), random_panel(seed=22, n_assets=40, **GAPS))


@pytest.mark.parametrize("frame", [bt.TimeFrame.Minutes, bt.TimeFrame.Days])
def test_intraday_stamps(frame):
    seen = assert_parity(trading(seed=23), frames=intraday_frames(seed=23), feed_args=dict(timeframe=frame))
    assert "Close" in {kind for kind, _ in fills(seen)}


def test_session_times():
    args = dict(timeframe=bt.TimeFrame.Minutes, sessionstart=dt.time(9), sessionend=dt.time(17, 30))
    timers = (dict(when=bt.timer.SESSION_START), dict(when=bt.timer.SESSION_END, cheat=True))
    seen = assert_parity(trading(seed=24, timers=timers), frames=intraday_frames(seed=24), feed_args=args)
    assert entries(seen, "timer")


def test_time_zones():
    import pytz

    args = dict(tz=pytz.timezone("US/Eastern"), timeframe=bt.TimeFrame.Minutes)
    assert_parity(trading(seed=25), frames=intraday_frames(seed=25), feed_args=args)
    args["tzinput"] = pytz.timezone("Europe/Berlin")
    assert_parity(trading(seed=25), frames=intraday_frames(seed=25), feed_args=args)


def test_span_of_dates():
    args = dict(fromdate=dt.datetime(2021, 3, 20), todate=dt.datetime(2021, 5, 1))
    seen = assert_parity(trading(seed=26), random_panel(seed=26, **GAPS), feed_args=args)
    assert entries(seen, "next")


def test_filter_on_a_feed():
    class Mondays:
        def __init__(self, data):
            pass

        def __call__(self, data):
            if data.datetime.date().weekday() == 0:
                data.backwards()
                return True
            return False

    assert_parity(trading(seed=27), random_panel(seed=27, **GAPS), feed_args=dict(filters=[Mondays]))


def test_feeds_resampled_while_they_load():
    panel = random_panel(seed=50, missing=0.05)
    seen = []
    for engine, feeds in ((bt.Cerebro, stock_feeds(panel)), (ClockCerebro, panel_feeds(panel))):
        for feed in feeds[:3]:
            feed.resample(timeframe=bt.TimeFrame.Weeks)
        cerebro = engine(stdstats=False)
        seen.append(record(cerebro, feeds, trading(seed=5, analyzers=(), early_bird=False)))
    assert seen[0] == seen[1]
    assert cerebro.clock_used
    assert fills(seen[1])


def test_several_strategies():
    build = both(trading(seed=28, analyzers=()), trading(seed=29))
    seen = assert_parity(build, random_panel(seed=28, **GAPS))
    assert len([entry for entry in seen if entry[0] == "end"]) == 2


def test_signals():
    class Above(bt.Indicator):
        lines = ("signal",)

        def __init__(self):
            self.lines.signal = self.data - bt.indicators.SMA(self.data, period=5)

    def build(cerebro):
        cerebro.add_signal(bt.SIGNAL_LONGSHORT, Above)
        for analyzer, args in ANALYZERS:
            cerebro.addanalyzer(analyzer, **args)
        cerebro.addobserver(bt.observers.Value)

    seen = assert_parity(build, random_panel(seed=30, missing=0.1))
    assert len(dict(entry for entry in seen if len(entry) == 2)["Transactions"]) > 3


@pytest.mark.parametrize("option", [dict(quicknotify=True), dict(tradehistory=True), dict(objcache=True)])
def test_cerebro_option(option):
    assert_parity(trading(seed=31, indicators=(INDICATORS["sma"],)), random_panel(seed=31, **GAPS), cerebro_args=option)


def test_lookahead():
    build = trading(seed=31, indicators=(INDICATORS["sma"],))
    assert_parity(build, random_panel(seed=31, missing=0.0, early=8), cerebro_args=dict(lookahead=7))


def test_stopping_early():
    seen = assert_parity(trading(seed=32, stop=17), random_panel(seed=32))
    assert entries(seen, "stop")[0][0] == "17"


def test_order_history():
    history = [["2021-03-10", 5, 50.0], ["2021-04-01", -3, 51.0, 1], ["2021-04-20", 2, 49.5, "A02"]]
    build = both(lambda c: c.add_order_history(history, notify=True), trading(seed=33))
    seen = assert_parity(build, random_panel(seed=33))
    assert "Historical" in {kind for kind, _ in fills(seen)}


def test_written_csv(tmp_path):
    texts = []

    def build(cerebro):
        path = tmp_path / f"{len(texts)}.csv"
        texts.append(path)
        cerebro.addwriter(bt.WriterFile, csv=True, out=str(path), rounding=None)
        trading(seed=34)(cerebro)

    panel = random_panel(seed=34, **GAPS)
    for engine in (bt.Cerebro, ClockCerebro):
        cerebro = engine(stdstats=True)
        record(cerebro, panel_feeds(panel), build)
    one, other = (path.read_text() for path in texts)
    assert one == other and "A03" in one


def test_a_position_set_by_hand():
    class Seeded(Trader):
        def start(self):
            self.broker.positions[self.data1].update(7, 40.0)
            self.broker.getposition(self.data2)

    def build(cerebro):
        cerebro.addstrategy(Seeded, seed=35)

    seen = assert_parity(build, random_panel(seed=35, **GAPS))
    assert entries(seen, "next")


def test_a_position_held_from_before_the_run_is_followed():
    class Holds(Trader):
        def __init__(self):
            super().__init__()
            self.kept = [self.getposition(data) for data in self.datas[:3]]

        def next(self):
            super().next()
            self.see("kept", [(kept.size, kept.price) for kept in self.kept])

    seen = assert_parity(lambda cerebro: cerebro.addstrategy(Holds, seed=42), random_panel(seed=42))
    assert len({str(facts) for facts in entries(seen, "kept")}) > 5


def test_positions_copied_by_a_strategy_are_its_own():
    import copy

    class Copies(Trader):
        def next(self):
            super().next()
            twins = [copy.copy(position) for position in self.broker.positions.values()]
            twins += [copy.deepcopy(position) for position in self.broker.positions.values()]
            for twin in twins:
                twin.update(100, 1.0)
            self.see("twins", [(type(t).__name__, sorted(vars(t).items())) for t in twins])

    def build(cerebro):
        cerebro.addstrategy(Copies, seed=36)

    assert_parity(build, random_panel(seed=36))


def test_unpriced_bars_make_the_same_nan():
    frames = {name: frame.copy() for name, frame in intraday_frames(seed=37).items()}
    frames["I1"].iloc[40, 3] = float("nan")
    seen = assert_parity(trading(seed=37), frames=frames)
    assert any("nan" in facts for facts in entries(seen, "cash"))


def test_ticks_of_the_current_bar():
    class Ticks(bt.Strategy):
        def __init__(self):
            self.log = []

        def prenext(self):
            self.next()

        def next(self):
            names = ("tick_open", "tick_close", "tick_volume", "tick_last")
            self.log.append(plain([[getattr(d, name, "absent") for name in names] for d in self.datas if len(d)]))

    assert_parity(lambda c: c.addstrategy(Ticks), random_panel(seed=38, **GAPS))


def test_compensation_between_feeds():
    def build(cerebro):
        cerebro.datas[1].compensate(cerebro.datas[0])
        trading(seed=39, orders=("market",))(cerebro)

    assert_parity(build, random_panel(seed=39, n_assets=3))


def test_running_twice_gives_the_same():
    panel = random_panel(seed=40, **GAPS)
    cerebro = ClockCerebro(stdstats=False)
    first = record(cerebro, panel_feeds(panel), trading(seed=40))
    (again,) = cerebro.run()
    assert cerebro.clock_used
    assert again.log == first[: len(again.log)]


def test_after_the_run_feeds_stand_at_their_last_bar():
    panel = random_panel(seed=41, **GAPS)
    feeds = panel_feeds(panel)
    record(ClockCerebro(stdstats=False), feeds, trading(seed=41))
    for feed in feeds:
        own = panel.close[feed._name].dropna()
        assert pd.Timestamp(feed.datetime.date()) >= own.index[-1]
        assert feed.close[0] == own.iloc[-1]
        assert list(feed.close.get(size=3)) == list(feed.close.array[-3:])


def test_a_feed_on_the_clock_cannot_be_moved_by_hand():
    class Moves(bt.Strategy):
        def next(self):
            self.data.advance()

    cerebro = ClockCerebro(stdstats=False)
    with pytest.raises(RuntimeError, match="cannot be moved by hand"):
        record(cerebro, panel_feeds(random_panel()), lambda c: c.addstrategy(Moves))


def test_lines_nobody_reads_are_not_made():
    class Closes(bt.Strategy):
        def next(self):
            assert self.data1.close[0] > 0

    feeds = panel_feeds(random_panel(n_assets=3))
    record(ClockCerebro(stdstats=False), feeds, lambda c: c.addstrategy(Closes))
    assert "array" in vars(feeds[1].lines.close)
    assert "array" not in vars(feeds[1].lines.volume)
    assert len(feeds[1].lines.volume.array) == 60


class ListensIn(bt.Strategy):
    """Hears its own notifications on the object and not on the class, as logging tools do."""

    def start(self):
        self.seen, step = [], self._addnotification
        self._addnotification = lambda order, quicknotify=False: (
            self.seen.append(order.getstatusname()), step(order, quicknotify)
        )  # fmt: skip

    def next(self):
        if len(self) == 5:
            self.buy(size=3)


def test_a_strategy_object_with_a_notification_step_of_its_own():
    found = []
    for engine, feeds in ((bt.Cerebro, stock_feeds), (ClockCerebro, panel_feeds)):
        cerebro = engine(stdstats=False)
        for feed in feeds(random_panel(3, n_assets=2, n_days=20)):
            cerebro.adddata(feed)
        cerebro.addstrategy(ListensIn)
        found.append(cerebro.run()[0].seen)
    assert found[0] == found[1] and len(found[0]) >= 3
