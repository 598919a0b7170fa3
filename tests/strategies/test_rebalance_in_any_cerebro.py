"""RebalanceStrategy among feeds, brokers and other strategies that are not ours."""

from types import SimpleNamespace

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.engine.trading.clock import ClockCerebro
from clusterfolio.feeds.bt_feed import frame_feed
from clusterfolio.strategies.bars import day_of, days_of, has_bar
from clusterfolio.strategies.rebalance import RebalanceStrategy
from tests.conftest import FixedPolicy, make_panel

LATE = pd.Timedelta(hours=23, minutes=59, seconds=59)

#: Where the strategy runs: Cerebro's class, how a feed is made, Cerebro's options.
PLACES = {
    "stock": (bt.Cerebro, lambda frame, name: bt.feeds.PandasData(dataname=frame, name=name), {}),
    "stock, bar by bar": (bt.Cerebro, frame_feed, {"runonce": False}),
    "stock, not preloaded": (bt.Cerebro, frame_feed, {"preload": False}),
    "clock": (ClockCerebro, frame_feed, {}),
}


def bars(seed: int, n_days: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2024-01-02", periods=n_days)
    close = 50 * np.exp(rng.normal(0, 0.02, n_days).cumsum())
    opened = close * np.exp(rng.normal(0, 0.01, n_days))
    high, low = np.maximum(opened, close) * 1.01, np.minimum(opened, close) * 0.99
    return pd.DataFrame(dict(open=opened, high=high, low=low, close=close, volume=1e4), index=days)


class Watching(FixedPolicy):
    """Equal weights in what has a close on the day; keeps the panels it was shown."""

    def __init__(self):
        super().__init__({})
        self.panels = []

    def decide(self, panel, state):
        self.panels.append(panel)
        last = panel.close.iloc[-1].dropna()
        self.weights[panel.dates[-1]] = pd.Series(1.0 / len(last), last.index)
        return super().decide(panel, state)


def trade(feeds, dates, place="stock", policy=None, prepare=lambda cerebro: None, options=None, **params):
    """``feeds``: frames by name. Returns the strategy, its policy and Cerebro."""
    make_cerebro, make_feed, standard = PLACES[place]
    cerebro = make_cerebro(**({"stdstats": False} | standard | (options or {})))
    for name, frame in feeds.items():
        cerebro.adddata(make_feed(frame, name))
    cerebro.broker.setcash(100_000.0)
    policy = Watching() if policy is None else policy
    cerebro.addstrategy(
        RebalanceStrategy,
        policy_for=lambda now: policy,
        decision_dates=pd.DatetimeIndex(dates),
        sessions=pd.bdate_range("2023-12-01", "2024-12-31"),
        **params,
    )
    prepare(cerebro)
    strategy = cerebro.run()[0]
    return strategy, policy, cerebro


def stamped(frame: pd.DataFrame, time: pd.Timedelta) -> pd.DataFrame:
    return frame.set_index(frame.index + time)


# One decision per session, with all of its bars --------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_bars_of_one_day_at_different_times_make_one_decision_that_fills_on_the_next_day(place):
    a, b = bars(1), bars(2)
    days = a.index[[20, 40]]
    strategy, policy, cerebro = trade({"A": a, "B": stamped(b, LATE)}, days, place)
    assert getattr(cerebro, "clock_used", True)
    assert [panel.dates[-1] for panel in policy.panels] == list(days)
    for panel in policy.panels:
        assert panel.close.iloc[-1].to_dict() == {"A": a.close[panel.dates[-1]], "B": b.close[panel.dates[-1]]}
        assert len(panel.dates) == len(panel.sessions)
    assert {fill.date for fill in strategy.fills} == {a.index[21], a.index[41]}
    for fill in strategy.fills:
        assert fill.price == {"A": a, "B": b}[fill.symbol].open[fill.date]


times = st.sampled_from([0, 1, 9 * 3600 + 30 * 60, 16 * 3600, 86_399])


@given(
    seed=st.integers(0, 1000),
    clock_times=st.lists(times, min_size=2, max_size=4),
    missing=st.floats(0.0, 0.3),
    at=st.sets(st.integers(12, 38), min_size=1, max_size=4),
)
@settings(max_examples=12, deadline=None)
def test_whatever_the_times_of_day_a_decision_sees_its_whole_day_and_fills_later_at_an_own_open(
    seed, clock_times, missing, at
):
    rng = np.random.default_rng(seed)
    days = bars(0, 40).index
    frames = {f"S{number}": bars(seed + number, 40) for number in range(len(clock_times))}
    keep = {name: (rng.random(40) >= missing) | (np.arange(40) < 2) for name in frames}
    frames = {name: frame[keep[name]] for name, frame in frames.items()}
    dates = [day for day in days[sorted(at)] if any(day in frame.index for frame in frames.values())]
    if not dates:
        return
    feeds = {
        name: stamped(frame, pd.Timedelta(seconds=seconds))
        for (name, frame), seconds in zip(frames.items(), clock_times, strict=True)
    }
    outcomes = []
    for place in ("stock", "clock"):
        strategy, policy, _ = trade(feeds, dates, place)
        assert [panel.dates[-1] for panel in policy.panels] == dates
        for panel in policy.panels:
            for name, frame in frames.items():
                expected = frame.close[: panel.dates[-1]]
                pd.testing.assert_series_equal(
                    panel.close[name].dropna(), expected, check_names=False, check_freq=False, check_index_type=False
                )
        for fill in strategy.fills:
            assert fill.price == frames[fill.symbol].open[fill.date]
            before = [day for day in dates if day < fill.date]
            assert before  # nothing fills on the day of the first decision
        outcomes.append((strategy.fills, strategy.unfilled, strategy.broker.getvalue()))
    assert outcomes[0] == outcomes[1]


def test_a_fill_never_comes_on_the_day_that_sized_it():
    """With one asset to trade and one decision, the only fill is at the first bar of a later day."""
    for place in PLACES:
        for seconds in (0, 86_399):
            a, b = bars(3), stamped(bars(4), pd.Timedelta(seconds=seconds))
            day = a.index[30]
            strategy, _, _ = trade({"A": a, "B": b}, [day], place, FixedPolicy({day: {"B": 1.0}}))
            assert [fill.date for fill in strategy.fills] == [a.index[31]], (place, seconds)


def test_days_are_counted_in_cerebros_time_zone():
    frame = bars(5)
    evening = stamped(frame, LATE).tz_localize("America/New_York").tz_convert("UTC").tz_localize(None)
    assert evening.index[0].date() > frame.index[0].date()
    day = frame.index[30]
    strategy, policy, _ = trade({"A": evening}, [day], options={"tz": "America/New_York"})
    assert list(policy.panels[0].dates) == list(frame.index[:31])
    assert [fill.date for fill in strategy.fills] == [frame.index[31]]


@pytest.mark.parametrize("zone", [None, "America/New_York", "Asia/Tokyo", "Asia/Kolkata", "Pacific/Chatham"])
@pytest.mark.parametrize("time", ["00:00:00", "00:00:01", "09:30:00", "16:00:00", "23:59:59", "23:59:59.999990"])
def test_a_stamp_from_midnight_to_backtraders_end_of_the_session_belongs_to_its_day(zone, time):
    days = pd.date_range("2010-01-01", "2026-12-31", freq="7D")
    stamps = days + pd.Timedelta(time)
    tz = None
    if zone is not None:
        stamps = stamps.tz_localize(zone).tz_convert("UTC").tz_localize(None)
        tz = bt.utils.date.tzparse(zone)
    moments = [bt.date2num(stamp) for stamp in stamps.to_pydatetime()]
    assert days_of(moments, tz).equals(pd.DatetimeIndex(days.as_unit("ns")))
    assert day_of(moments[-1], tz) == days[-1]
    feed = SimpleNamespace(datetime=SimpleNamespace(array=moments), buflen=lambda: len(moments))
    assert all(has_bar(feed, day, tz) for day in days[::50])
    assert not any(has_bar(feed, day + pd.Timedelta(days=step), tz) for day in days[::50] for step in (-1, 1))


# What cannot be decided is said ------------------------------------------------------------------------------------


def test_feeds_without_a_name_are_refused_by_number():
    with pytest.raises(ValueError, match=r"feeds: 2 of 3 have no name \(added as number 0, 2"):
        cerebro = bt.Cerebro()
        for name in ("", "A", ""):
            cerebro.adddata(bt.feeds.PandasData(dataname=bars(1), name=name))
        cerebro.addstrategy(RebalanceStrategy, policy_for=lambda now: Watching())
        cerebro.run()


def test_feeds_of_one_name_are_refused_by_name_and_number():
    with pytest.raises(ValueError, match=r"feeds: numbers 1, 2 \(from 0\) are all named 'A'"):
        cerebro = bt.Cerebro()
        for name in ("B", "A", "A"):
            cerebro.adddata(bt.feeds.PandasData(dataname=bars(1), name=name))
        cerebro.addstrategy(RebalanceStrategy, policy_for=lambda now: Watching())
        cerebro.run()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("day", ["2023-12-29", "2024-02-10"])
def test_a_decision_date_without_any_bar_is_refused(place, day):
    policy = Watching()
    with pytest.raises(ValueError, match=f"decision_dates: no feed has a bar on {day}; decide on sessions only"):
        trade({"A": bars(1), "B": stamped(bars(2), LATE)}, [day], place, policy)
    assert not policy.panels


def test_of_preloaded_feeds_it_is_refused_before_anything_is_decided():
    frame, policy = bars(1), Watching()
    with pytest.raises(ValueError, match="no feed has a bar on 2030-01-01"):
        trade({"A": frame}, [frame.index[20], "2030-01-01"], policy=policy)
    assert not policy.panels


def test_of_other_feeds_a_date_after_their_end_is_said(caplog):
    frame = bars(1)
    trade({"A": frame}, [frame.index[20], "2030-01-01"], "stock, not preloaded")
    assert "2030-01-01 was not decided, the feeds end on 2024-03-25" in caplog.text


def hourly(frame: pd.DataFrame) -> pd.DataFrame:
    """Three bars a day."""
    parts = [stamped(frame, pd.Timedelta(hours=hour)) for hour in (10, 12, 14)]
    return pd.concat(parts).sort_index()


def test_intraday_feeds_are_refused_without_a_panel_and_decide_with_the_days_last_bar_with_one():
    frame = bars(1)
    day = frame.index[30]
    with pytest.raises(ValueError, match=r"feed 'A': 3 bars on .*; decisions are made on daily bars"):
        trade({"A": hourly(frame)}, [day])
    panel = make_panel(frame[["close"]].set_axis(["A"], axis=1))
    for place in ("stock", "clock"):
        strategy, policy, _ = trade({"A": hourly(frame)}, [day], place, panel=panel)
        assert [shown.dates[-1] for shown in policy.panels] == [day]
        assert [(fill.date, fill.price) for fill in strategy.fills] == [(frame.index[31], frame.open.iloc[31])]


def test_a_bar_that_comes_after_its_days_decision_is_an_error():
    frame = bars(1)
    panel = make_panel(frame[["close"]].set_axis(["A"], axis=1))
    with pytest.raises(RuntimeError, match=r"A: a bar of 2024-02-13 came after that day's decision; let Cerebro prelo"):
        trade({"A": hourly(frame)}, [frame.index[30]], "stock, not preloaded", panel=panel)


@pytest.mark.parametrize("exactbars", [1, True])
def test_exactbars_is_refused(exactbars):
    with pytest.raises(ValueError, match=r"exactbars=.*: the feeds' bars are needed; use False, -1 or -2"):
        trade({"A": bars(1)}, [bars(1).index[20]], options={"exactbars": exactbars})


# Bars of NaN -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_a_nan_bar_on_a_decisions_day_values_the_position_at_its_last_close_and_loses_no_order(place):
    a, b = bars(1), bars(2)
    first, second = a.index[[20, 40]]
    b.loc[second] = np.nan
    policy = FixedPolicy({first: {"A": 0.5, "B": 0.5}, second: {"A": 1.0}})
    strategy, policy, cerebro = trade({"A": a, "B": b}, [first, second], place, policy)
    bought = {fill.symbol: fill for fill in strategy.fills[:2]}
    cash = 100_000.0 - sum(fill.amount * fill.price for fill in bought.values())
    worth = {"A": bought["A"].amount * a.close[second], "B": bought["B"].amount * b.close[a.index[39]]}
    value = cash + sum(worth.values())
    assert policy.states[1].weights.to_dict() == pytest.approx({name: worth[name] / value for name in worth})
    assert policy.states[1].cash == pytest.approx(cash / value)
    sold, added = strategy.fills[2:]
    assert (sold.symbol, sold.amount, sold.date) == ("B", -bought["B"].amount, a.index[41])
    assert bought["A"].amount + added.amount == pytest.approx(0.98 * value / a.close[second])
    assert not strategy.unfilled and np.isfinite(cerebro.broker.getvalue())


@pytest.mark.parametrize("place", PLACES)
def test_an_order_waits_for_an_open_that_is_a_number(place):
    a, b = bars(1), bars(2)
    b.loc[b.index[21], "open"] = np.nan
    b.loc[b.index[22]] = np.nan
    strategy, _, cerebro = trade({"A": a, "B": b}, [a.index[20]], place)
    filled = {fill.symbol: (fill.date, fill.price) for fill in strategy.fills}
    assert filled == {"A": (a.index[21], a.open.iloc[21]), "B": (a.index[23], b.open.iloc[23])}
    assert np.isfinite(cerebro.broker.getvalue()) and not strategy.unfilled


def test_a_position_whose_rows_are_nan_to_the_end_is_kept_at_its_last_close_and_named():
    a, b = bars(1, 80), bars(2, 80)
    b.iloc[30:] = np.nan
    days = a.index[[20, 45]]
    policy = FixedPolicy({days[0]: {"A": 0.5, "B": 0.5}, days[1]: {"A": 1.0}})
    strategy, _, cerebro = trade({"A": a, "B": b}, days, policy=policy)
    why = {name: text for _, name, text in strategy.unfilled}
    assert why["B"].startswith("no bar to trade on") and why["A"].startswith("short of cash")
    assert np.isfinite(cerebro.broker.getcash())
    assert strategy.state().weights["B"] > 0


# Fills as they happen ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_every_part_of_an_order_is_recorded_when_it_fills_and_what_held_it_back_is_told_truly(place):
    a, b = bars(1), bars(2)
    a["volume"], b["volume"] = 30.0, 1e6

    def prepare(cerebro):
        cerebro.broker.set_filler(bt.broker.fillers.FixedBarPerc(perc=50))
        cerebro.broker.setcommission(0.001)
        cerebro.addanalyzer(bt.analyzers.Transactions, _name="theirs")

    strategy, _, cerebro = trade({"A": a, "B": b}, [a.index[20]], place, prepare=prepare)
    parts = [fill for fill in strategy.fills if fill.symbol == "A"]
    assert [fill.date for fill in parts] == list(a.index[21:36])
    assert [fill.amount for fill in parts] == [15.0] * 15
    assert [fill.price for fill in parts] == a.open.iloc[21:36].tolist()
    assert [fill.commission for fill in parts] == pytest.approx([15 * 0.001 * fill.price for fill in parts])
    assert cerebro.broker.getposition(strategy.datas[0]).size == sum(fill.amount for fill in parts)
    assert sum(map(len, strategy.analyzers.theirs.get_analysis().values())) == len(strategy.fills) == 16
    ((_, name, why),) = strategy.unfilled
    assert name == "A" and why.startswith("the broker filled a part of the order in 15 sessions; 2")


def test_an_order_of_which_the_broker_fills_nothing_is_not_called_short_of_cash():
    frame = bars(1)
    nothing = lambda cerebro: cerebro.broker.set_filler(lambda order, price, ago: 0)  # noqa: E731
    strategy, _, _ = trade({"A": frame}, [frame.index[20]], prepare=nothing)
    assert not strategy.fills
    assert [why for _, _, why in strategy.unfilled] == [
        "the broker filled nothing of the order in 15 sessions; 0 % of its target reached"
    ]


# In company --------------------------------------------------------------------------------------------------------


class Neighbour(bt.Strategy):
    """Buys 300 shares of the first and the second feed on its fifth bar and keeps them."""

    def next(self):
        if len(self) == 5:
            for data in self.datas[:2]:
                self.buy(data, size=300)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("ours_first", [True, False])
def test_anothers_positions_are_left_alone_and_only_own_fills_count(place, ours_first):
    a, b, c = bars(1), bars(2), bars(3)
    first, second = a.index[[20, 40]]
    policy = FixedPolicy({first: {"B": 0.5, "C": 0.5}, second: {"C": 1.0}})
    make_cerebro, make_feed, options = PLACES[place]
    cerebro = make_cerebro(stdstats=False, **options)
    for name, frame in {"A": a, "B": b, "C": c}.items():
        cerebro.adddata(make_feed(frame, name))
    cerebro.broker.setcash(100_000.0)

    def ours():
        cerebro.addstrategy(RebalanceStrategy, policy_for=lambda now: policy, decision_dates=[first, second])

    adders = [ours, lambda: cerebro.addstrategy(Neighbour)]
    for add in adders if ours_first else adders[::-1]:
        add()
    strategy = next(found for found in cerebro.run() if isinstance(found, RebalanceStrategy))
    theirs = 300 * (a.open.iloc[5] + b.open.iloc[5])
    cash = 100_000.0 - theirs
    bought = {fill.symbol: fill.amount for fill in strategy.fills[:2]}
    for name, frame in (("B", b), ("C", c)):
        assert bought[name] == pytest.approx(0.98 * cash * 0.5 / frame.close[first])
    own = pd.Series({fill.symbol: 0.0 for fill in strategy.fills})
    for fill in strategy.fills:
        own[fill.symbol] += fill.amount
    assert own["B"] == 0 and own["C"] > 0 and "A" not in own
    sizes = {data._name: cerebro.broker.getposition(data).size for data in strategy.datas}
    assert sizes == pytest.approx({"A": 300, "B": 300, "C": own["C"]})
    assert policy.states[0].weights.empty and set(policy.states[1].weights.index) == {"B", "C"}
    assert policy.states[1].weights.sum() + policy.states[1].cash == pytest.approx(1.0)


def test_an_order_history_is_not_booked_as_own():
    frame = bars(1)
    history = [[frame.index[3].to_pydatetime(), 10, 50.0]]
    day = frame.index[20]
    strategy, policy, cerebro = trade(
        {"A": frame, "B": bars(2)},
        [day],
        policy=FixedPolicy({day: {"B": 1.0}}),
        prepare=lambda cerebro: cerebro.add_order_history(history, notify=True),
    )
    assert cerebro.broker.getposition(strategy.datas[0]).size == 10
    assert [fill.symbol for fill in strategy.fills] == ["B"]
    assert policy.states[0].weights.empty
