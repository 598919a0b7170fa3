"""Panel feeds: each asset's own bars, terminal bars, and the same lines as backtrader's own feed."""

import datetime as dt
from dataclasses import replace

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.feeds.bt_feed import PanelFeed, day_numbers, frame_feed, panel_feeds, terminal_bars
from clusterfolio.feeds.panel import FIELDS, STOPPED_AFTER, Panel, make_assets


def make_panel(traded: np.ndarray, dates=None, sessions=None) -> Panel:
    """Prices 100 + row + asset / 10 where ``traded``, shape ``(n_dates, n_assets)``; volume 1000 + row."""
    n_dates, n_assets = traded.shape
    dates = pd.bdate_range("2021-01-04", periods=n_dates) if dates is None else dates
    symbols = [f"A{i}" for i in range(n_assets)]
    price = 100.0 + np.arange(n_dates)[:, None] + np.arange(n_assets) / 10
    values = dict(open=price - 0.5, high=price + 1, low=price - 1, close=price, volume=price + 900)
    frames = {name: pd.DataFrame(np.where(traded, x, np.nan), dates, symbols) for name, x in values.items()}
    sessions = dates if sessions is None else sessions
    return Panel(**frames, assets=make_assets(symbols), sessions=sessions, benchmark=symbols[0])


def stopping_panel(last: int, resumes: int | None = None, n_dates: int = 40) -> Panel:
    """A1's last bar is row ``last``; it trades again from row ``resumes``."""
    traded = np.ones((n_dates, 2), dtype=bool)
    traded[last + 1 : resumes, 1] = False
    return make_panel(traded)


class Collect(bt.Strategy):
    def __init__(self):
        self.bars = {data._name: [] for data in self.datas}
        self.fills = []

    def prenext(self):
        self.next()

    def next(self):
        for data in self.datas:
            if len(data) > len(self.bars[data._name]):
                self.bars[data._name].append([line[0] for line in data.lines])

    def notify_order(self, order):
        if order.status == order.Completed:
            self.fills.append((order.data._name, bt.num2date(order.executed.dt), order.executed.price))


def collect(feeds, strategy=Collect, **options):
    cerebro = bt.Cerebro(stdstats=False, **options)
    for feed in feeds:
        cerebro.adddata(feed)
    cerebro.addstrategy(strategy)
    return cerebro.run()[0]


def test_each_feed_has_its_assets_own_bars():
    traded = np.ones((6, 3), dtype=bool)
    traded[2, 1] = traded[:3, 2] = False
    panel = make_panel(traded)
    seen = collect(panel_feeds(panel)).bars
    assert list(seen) == ["A0", "A1", "A2"]
    assert [len(bars) for bars in seen.values()] == [6, 5, 3]
    closes = [bar[0] for bar in seen["A1"]]
    assert closes == panel.close["A1"].dropna().tolist()
    first = dict(zip(("close", "low", "high", "open", "volume"), seen["A2"][0], strict=False))
    assert first == dict(close=103.2, low=102.2, high=104.2, open=102.7, volume=1003.2)
    assert bt.num2date(seen["A2"][0][6]) == dt.datetime(2021, 1, 7)


@pytest.mark.parametrize("options", [{}, dict(runonce=False), dict(preload=False)])
@pytest.mark.parametrize("span", [{}, dict(fromdate=dt.date(2021, 1, 8), todate=dt.date(2021, 2, 2))])
def test_lines_equal_those_of_the_pandas_feed(options, span):
    rng = np.random.default_rng(5)
    panel = make_panel(rng.random((30, 4)) < 0.8)
    panel.volume.iloc[5:9, 1] = np.nan

    theirs = []
    for name in panel.symbols:
        frame = pd.DataFrame({field: getattr(panel, field)[name] for field in FIELDS})
        theirs.append(bt.feeds.PandasData(dataname=frame[frame["close"].notna()], name=name, **span))
    one, other = collect(theirs, **options).bars, collect(panel_feeds(panel, **span), **options).bars
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_array_equal(np.array(one[name]), np.array(other[name])[:, :7])


def test_a_frames_feed_has_the_lines_of_the_pandas_feed_and_no_other():
    frame = pd.DataFrame({"close": [1.0, 2.0]}, pd.bdate_range("2024-01-01", periods=2))
    ours, theirs = frame_feed(frame, "A"), bt.feeds.PandasData(dataname=frame, name="A")
    assert ours.getlinealiases() == theirs.getlinealiases()
    assert not hasattr(ours, "terminal") and not hasattr(ours.lines, "terminal")
    assert "terminal" in panel_feeds(make_panel(np.ones((4, 1), dtype=bool)))[0].getlinealiases()


def test_a_choice_of_symbols_keeps_its_order():
    panel = make_panel(np.ones((4, 3), dtype=bool))
    assert [feed._name for feed in panel_feeds(panel, ["A2", "A0"])] == ["A2", "A0"]
    with pytest.raises(KeyError, match="symbols: not in the panel: B7"):
        panel_feeds(panel, ["A2", "B7"])


@pytest.mark.parametrize(
    "options",
    [{}, {"fromdate": dt.datetime(2021, 1, 12), "plot": False, "tz": "America/New_York"}, {"filters": [lambda data: 0]},
     {"sessionend": dt.time(16), "timeframe": bt.TimeFrame.Minutes}],
    ids=["plain", "window", "filtered", "session"],
)  # fmt: skip
def test_each_feed_is_as_backtrader_makes_one(options):
    def look(thing, depth=0):
        """Of which kind all parts are, which of them are the same object, and the values of the plain ones."""
        if not hasattr(thing, "__dict__") or isinstance(thing, type) or depth > 3:
            return type(thing).__name__, repr(thing) if isinstance(thing, (int, float, str, dt.time)) else None
        parts = vars(thing)
        first = {}
        same = [first.setdefault(id(part), name) for name, part in sorted(parts.items())]
        return type(thing), same, {name: look(part, depth + 1) for name, part in parts.items() if part is not thing}

    feeds = panel_feeds(stopping_panel(12), **options)
    for feed in feeds:
        made = PanelFeed(dataname=feed.p.dataname, name=feed._name, **options)
        assert look(feed) == look(made)
        assert all(line._owner is feed for line in feed.lines)
    owned = [id(part) for feed in feeds for part in [feed.p, feed.plotinfo, feed.plotlines, feed.notifs, *feed.lines]]
    assert len(set(owned)) == len(owned)  # each has its own


def test_an_asset_without_bars_gets_no_feed():
    traded = np.ones((4, 2), dtype=bool)
    traded[:, 1] = False
    assert [feed._name for feed in panel_feeds(make_panel(traded))] == ["A0"]


def test_terminal_bar_stands_on_the_eleventh_session_after_the_last_bar():
    panel = stopping_panel(last=19)
    table = terminal_bars(panel)
    assert table.to_dict("records") == [dict(date=panel.dates[30], symbol="A1", price=119.1)]
    bars = collect(panel_feeds(panel)).bars["A1"]
    assert len(bars) == 21
    close, low, high, open_, volume, _, day, terminal = bars[-1]
    assert (open_, high, low, close, volume, terminal) == (119.1, 119.1, 119.1, 119.1, 0.0, 1.0)
    assert bt.num2date(day) == panel.dates[30]
    assert [bar[-1] for bar in bars[:-1]] == [0.0] * 20


def test_ten_sessions_without_a_bar_are_no_stop():
    assert terminal_bars(stopping_panel(last=10, resumes=21)).empty
    assert terminal_bars(stopping_panel(last=29)).empty  # the eleventh session is beyond the panel's end
    assert len(terminal_bars(stopping_panel(last=28))) == 1


def test_terminal_bar_stands_there_too_where_trading_resumes():
    panel = stopping_panel(last=10, resumes=22)
    assert terminal_bars(panel)["date"].tolist() == [panel.dates[21]]
    bars = collect(panel_feeds(panel)).bars["A1"]
    assert [bar[-1] for bar in bars] == [0.0] * 11 + [1.0] + [0.0] * 18
    assert [bar[0] for bar in bars[10:13]] == [110.1, 110.1, 122.1]


def test_only_sessions_count():
    dates = pd.date_range("2021-01-04", periods=40, freq="D")
    traded = np.ones((40, 2), dtype=bool)
    traded[5:, 1] = False  # the last bar is Friday the 8th
    panel = make_panel(traded, dates, dates[dates.day_of_week < 5])
    assert terminal_bars(panel)["date"].tolist() == [pd.Timestamp("2021-01-25")]


def test_a_session_without_any_row_can_carry_a_terminal_bar():
    panel = stopping_panel(last=19)
    day = panel.dates[30]
    rows = panel.dates != day
    frames = {name: getattr(panel, name).loc[rows] for name in FIELDS}
    panel = replace(panel, **frames)
    assert terminal_bars(panel)["date"].tolist() == [day]
    assert bt.num2date(collect(panel_feeds(panel)).bars["A1"][-1][6]) == day


def slow_terminal_bars(panel: Panel) -> list:
    """Session by session: how many sessions have passed since the last bar?"""
    found = []
    for day in panel.sessions:
        for name in panel.symbols:
            bars = panel.close[name].dropna()
            before = bars[bars.index < day]
            if len(before) and day not in bars.index:
                passed = ((panel.sessions > before.index[-1]) & (panel.sessions <= day)).sum()
                if passed == STOPPED_AFTER + 1:
                    found.append((day, name, before.iloc[-1]))
    return found


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 9999), n_dates=st.integers(1, 60), cut=st.integers(0, 59), weekends=st.booleans())
def test_terminal_bars_match_a_slow_count_and_know_no_future(seed, n_dates, cut, weekends):
    rng = np.random.default_rng(seed)
    traded = rng.random((n_dates, 4)) < [1.0, 0.9, 0.2, 0.08]
    dates = pd.date_range("2021-01-04", periods=n_dates, freq="D" if weekends else "B")
    sessions = dates[(dates.day_of_week < 5) & (rng.random(n_dates) < 0.95)]
    panel = make_panel(traded, dates, sessions)
    table = terminal_bars(panel)
    assert list(table.itertuples(index=False, name=None)) == slow_terminal_bars(panel)

    asof = dates[min(cut, n_dates - 1)]
    pd.testing.assert_frame_equal(terminal_bars(panel.until(asof)), table[table["date"] <= asof], check_dtype=False)


def test_an_exit_fills_on_the_terminal_bar_at_the_last_close():
    class Exit(Collect):
        def next(self):
            super().next()
            data = self.datas[1]
            if len(self) == 5:
                self.buy(data, size=10)
            if len(self) == 30:  # ten sessions without a bar
                assert len(data) == 20
                self.close(data)

    panel = stopping_panel(last=19)
    fills = collect(panel_feeds(panel), Exit).fills
    assert fills == [("A1", panel.dates[5], 104.6), ("A1", panel.dates[30], 119.1)]


def test_day_numbers_are_backtraders():
    daily = pd.date_range("1969-12-28", periods=9000, freq="D")
    assert day_numbers(daily).tolist() == [bt.date2num(day.to_pydatetime()) for day in daily]
    odd = pd.date_range("2021-01-04 00:00:01", periods=500, freq="7919s")
    assert day_numbers(odd).tolist() == [bt.date2num(moment.to_pydatetime()) for moment in odd]
    assert day_numbers(odd.tz_localize("America/New_York")).tolist() == [
        bt.date2num(moment.to_pydatetime()) for moment in odd.tz_localize("America/New_York")
    ]


def test_frame_feed_reads_columns_in_any_case():
    index = pd.date_range("2021-01-04 09:30", periods=3, freq="min")
    frame = pd.DataFrame(
        {"Open": [1.0, 2, 3], "HIGH": [2.0, 3, 4], "low": [0.0, 1, 2], "Close": [1.5, 2.5, 3.5]}, index
    )
    bars = collect([frame_feed(frame, "x", timeframe=bt.TimeFrame.Minutes)]).bars["x"]
    np.testing.assert_array_equal(bars[2][:6], [3.5, 2.0, 4.0, 3.0, np.nan, np.nan])


def test_frame_feed_wants_increasing_timestamps():
    index = pd.DatetimeIndex(["2021-01-04", "2021-01-04"])
    with pytest.raises(ValueError, match=r"frame\.index: expected strictly increasing timestamps"):
        frame_feed(pd.DataFrame({"close": [1.0, 2.0]}, index))
    with pytest.raises(ValueError, match=r"frame\.index"):
        frame_feed(pd.DataFrame({"close": [1.0, 2.0]}))


def test_a_feed_can_be_used_in_one_run_after_another():
    feeds = panel_feeds(stopping_panel(last=19))
    once, again = (np.array(collect(feeds).bars["A1"]) for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_a_feed_wants_bars():
    with pytest.raises(TypeError, match="dataname: expected Bars, got DataFrame"):
        PanelFeed(dataname=pd.DataFrame())
