"""Cleaning: bad ticks go, news stays, and no day is judged by a later one."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.feeds.panel import FIELDS
from clusterfolio.feeds.quality import QualityConfig, clean

CONFIG = QualityConfig()


def counted(raw: pd.DataFrame, config: QualityConfig = CONFIG, **kwargs) -> tuple[pd.DataFrame, dict[str, int]]:
    """The bars, and by kind of remark how many bars it is about (1 where it states none)."""
    cleaned = clean(raw, config, **kwargs)
    counts = {}
    for remark in cleaned.remarks:
        number = re.match(r"(\d+)( bars|$)", remark.text)
        counts[remark.kind] = counts.get(remark.kind, 0) + (int(number[1]) if number else 1)
    return cleaned.bars[list(FIELDS)], counts


def walk(n: int = 60, seed: int = 0, volatility: float = 0.01) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, volatility, n)))
    open_ = close * np.exp(rng.normal(0, volatility / 2, n))
    return pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * 1.002,
            "low": np.minimum(open_, close) * 0.998,
            "close": close,
            "volume": rng.integers(900, 1100, n).astype(float),
        },
        index=pd.bdate_range("2024-01-01", periods=n),
    )


def test_good_bars_pass_untouched_after_the_first_which_nothing_confirms():
    raw = walk()
    bars, counts = counted(raw)
    assert counts == {}
    pd.testing.assert_frame_equal(bars, raw.iloc[1:], check_exact=True, check_freq=False, check_index_type=False)


@pytest.mark.parametrize("factor", [100.0, 0.01])
@pytest.mark.parametrize("pair", [False, True])
def test_a_bad_first_bar_makes_no_return(factor, pair):
    raw = walk()
    raw.iloc[0, :4] *= factor
    bars, counts = counted(raw, pair=pair)
    assert counts == {"suspect bars withheld": 1}
    assert bars["close"].tolist() == raw["close"].tolist()[2:]


def test_a_lone_bar_is_none():
    bars, counts = counted(walk(1), QualityConfig(settled_after=2))
    assert bars.empty and counts == {}


@pytest.mark.parametrize("factor", [10.0, 0.1, 100.0, 1.6])
def test_a_spike_is_withheld_and_the_bars_around_it_stay(factor):
    raw = walk()
    raw.iloc[40, :4] *= factor
    bars, counts = counted(raw)
    assert counts == {"suspect bars withheld": 1}
    assert bars.index.equals(raw.index.delete([0, 40]))


@pytest.mark.parametrize("factor", [0.01, 100.0])
@pytest.mark.parametrize("split", [0.0, 2.0])
def test_a_bad_tick_on_an_ex_dividend_day_makes_no_lasting_return(factor, split):
    good = walk().assign(dividend=0.0, split=0.0)
    good.iloc[40:, :4] /= split or 1.0
    good.iloc[40, 5:] = 1.0, split
    bad = good.copy()
    bad.iloc[40, :4] *= factor
    bars, counts = counted(bad)
    assert counts.pop("suspect bars withheld") == 1 and set(counts) <= {"dividend doubted"}
    close, held = good["close"], split or 1.0
    reinvested = held + 1.0 / close.iloc[41]  # the dividend of the day withheld buys shares at the next close
    assert bars["close"].iloc[-1] / bars["close"].loc[bad.index[30]] == pytest.approx(
        close.iloc[-1] * reinvested / close.iloc[30]
    )


def test_a_new_level_is_believed_after_ten_more_bars_and_said_by_day_and_factor():
    raw = walk()
    raw.iloc[40:, :4] *= 1.8
    bars, counts = counted(raw)
    assert counts == {"suspect bars withheld": 10, "large move believed": 1}
    assert bars.index.equals(raw.index.delete([0, *range(40, 50)]))
    assert bars["close"].iloc[-1] == raw["close"].iloc[-1]


@pytest.mark.parametrize("move", [0.58, 0.75, 1.3])
def test_a_share_may_move_on_its_earnings(move):
    raw = walk()
    raw.iloc[40:, :4] *= move
    raw.iloc[40, 4] *= 5
    assert set(counted(raw)[1]) <= {"large move believed"}


def test_an_exchange_rate_is_judged_by_its_own_limits():
    raw = walk(volatility=0.005).drop(columns="volume")
    raw.iloc[40, :4] *= 1.2
    assert counted(raw, pair=True)[1] == {"suspect bars withheld": 1}
    assert raw.index[40] not in clean(raw, CONFIG, pair=True).bars.index


def test_days_are_sorted_and_unique_and_the_fuller_row_wins():
    raw = walk(5)
    thin = raw.iloc[[2]].assign(open=np.nan, high=np.nan, low=np.nan, close=1.0)
    bars, counts = counted(pd.concat([raw.iloc[::-1], thin]))
    assert counts == {"rows out of order": 4, "duplicate days": 1}
    assert bars["close"].tolist() == raw["close"].tolist()[1:]


def test_of_two_full_rows_the_later_one_wins():
    raw = walk(3)
    again = raw.iloc[[1]] * 1.01
    assert clean(pd.concat([raw, again]), CONFIG).bars["close"].iloc[0] == again["close"].iloc[0]


def test_a_dividend_below_zero_is_not_taken_and_counted():
    raw = walk().assign(dividend=0.0)
    raw.iloc[30, raw.columns.get_loc("dividend")] = -0.5
    bars, counts = counted(raw)
    assert counts == {"dividends below 0, not taken": 1}
    assert bars["close"].equals(clean(walk(), CONFIG).bars["close"])


@pytest.mark.parametrize("bad", [0.0, -37.63, np.inf])
def test_a_close_that_is_no_price_is_no_bar(bad):
    raw = walk()
    raw.iloc[30, 3] = bad
    bars, counts = counted(raw)
    assert counts == {"prices that are not above 0": 1}
    assert raw.index[30] not in bars.index


def test_high_and_low_are_widened_to_enclose_open_and_close():
    raw = walk()
    raw.iloc[10, 1], raw.iloc[20, 2] = raw["close"].iloc[10] * 0.9, raw["close"].iloc[20] * 1.1
    bars, counts = counted(raw)
    assert counts == {"high or low widened": 2}
    assert bars["high"].loc[raw.index[10]] == raw[["open", "close"]].iloc[10].max()
    assert bars["low"].loc[raw.index[20]] == raw[["open", "close"]].iloc[20].min()


def test_a_high_far_outside_the_body_is_cut_and_a_lone_open_replaced():
    raw = walk()
    raw.iloc[40, 1] *= 10
    raw.iloc[45, [0, 1]] *= 10
    bars, counts = counted(raw)
    assert counts == {"opens replaced by the close": 1, "highs or lows cut to the body": 2}
    bar = bars.loc[raw.index[45]]
    assert bar["open"] == bar["close"] == bar["high"]


def test_a_frozen_price_is_believed_for_ten_bars_only():
    raw = walk().drop(columns="volume")
    raw.iloc[30:50, :4] = raw["close"].iloc[29]
    bars, counts = counted(raw)
    assert counts == {"stale bars withheld": 10}
    assert raw.index[39] in bars.index and raw.index[40] not in bars.index and raw.index[50] in bars.index
    assert "stale bars withheld" not in counted(raw, QualityConfig(stale_after=0))[1]


def test_a_peg_is_no_stale_price():
    raw = pd.DataFrame({"close": np.full(40, 1.95583)}, index=pd.bdate_range("2024-01-01", periods=40))
    assert counted(raw, pair=True)[1] == {}


def test_nothing_usable_gives_no_bars():
    raw = pd.DataFrame({"close": [np.nan, 0.0]}, index=pd.DatetimeIndex(["2024-01-01", None]))
    bars, counts = counted(raw)
    assert bars.empty and counts == {"undated rows": 1}


@st.composite
def ugly(draw):
    """A random walk with bad ticks, level shifts, zeros, gaps, frozen stretches, duplicates and disorder planted."""
    n = draw(st.integers(2, 120))
    raw = walk(n, seed=draw(st.integers(0, 1000)), volatility=draw(st.sampled_from([0.002, 0.01, 0.05, 0.3])))
    rows = st.integers(0, n - 1)
    factors = st.sampled_from([0.01, 0.1, 0.6, 1.5, 2.0, 10.0, 0.0, -1.0, np.nan, np.inf])
    columns = st.lists(st.integers(0, 4), min_size=1, max_size=5, unique=True)
    for row, factor, where in draw(st.lists(st.tuples(rows, factors, columns), max_size=8)):
        raw.iloc[row, where] *= factor
    for row, factor in draw(st.lists(st.tuples(rows, st.sampled_from([0.1, 0.5, 2.0, 5.0])), max_size=3)):
        raw.iloc[row:, :4] *= factor
    for row, length in draw(st.lists(st.tuples(rows, st.integers(2, 30)), max_size=2)):
        raw.iloc[row : row + length, :4] = raw["close"].iloc[row]
    basis = draw(st.sampled_from(["close", "adj_close", "actions"]))
    if basis == "adj_close":
        raw["adj_close"] = raw["close"] * np.linspace(0.7, 1, n)
        raw.loc[raw.index[:: draw(st.integers(2, 9))], draw(st.sampled_from(["close", "adj_close"]))] = np.nan
    elif basis == "actions":
        raw["split"], raw["dividend"] = 0.0, 0.0
        for row in draw(st.lists(rows, max_size=3)):
            raw.iloc[row, raw.columns.get_loc("split")] = 2.0
            raw.iloc[row, raw.columns.get_loc("dividend")] = 0.5
        for row in draw(st.lists(rows, max_size=3)):  # a bad tick on an ex-dividend day, a split or none beside it
            raw.iloc[row, :4] *= draw(st.sampled_from([0.01, 100.0]))
            raw.iloc[row, raw.columns.get_loc("dividend")] = 0.5
    order = list(range(n)) + draw(st.lists(rows, max_size=4))
    return raw.iloc[draw(st.permutations(order)) if draw(st.booleans()) else order]


@given(raw=ugly(), pair=st.booleans(), confirmations=st.integers(1, 3), data=st.data())
@settings(max_examples=150, deadline=None)
def test_cleaning_and_cutting_at_a_day_commute(raw, pair, confirmations, data):
    config = QualityConfig(confirmations=confirmations, warm_up=5, window=10)
    day = data.draw(st.sampled_from(sorted(set(raw.index))))
    whole, cut = clean(raw, config, pair=pair), clean(raw[raw.index <= day], config, pair=pair)
    pd.testing.assert_frame_equal(whole.bars.loc[:day], cut.bars, check_exact=True, check_freq=False)
    assert [begin for begin in whole.begins if begin <= day] == list(cut.begins)


@given(raw=ugly(), pair=st.booleans())
@settings(max_examples=100, deadline=None)
def test_clean_bars_are_bars(raw, pair):
    bars, counts = counted(raw, pair=pair)
    prices = bars[["open", "high", "low", "close"]]
    assert np.isfinite(prices).all().all() and (prices > 0).all().all()
    assert (bars["high"] >= prices.max(axis=1)).all() and (bars["low"] <= prices.min(axis=1)).all()
    assert bars.index.is_monotonic_increasing and bars.index.is_unique
    assert all(n > 0 for n in counts.values())


@pytest.mark.parametrize("wrong", [{"jump_sigmas": 0}, {"warm_up": 1}, {"stale_after": -1}, {"jump_cap": 0.1}])
def test_impossible_settings_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=rf"quality\.{next(iter(wrong))}"):
        QualityConfig(**wrong)


def test_the_close_as_stated_travels_beside_the_level():
    raw = walk().assign(dividend=0.0)
    raw.iloc[20, raw.columns.get_loc("dividend")] = 0.5
    bars = clean(raw, CONFIG).bars
    pd.testing.assert_series_equal(
        bars["market"], raw["close"].iloc[1:], check_names=False, check_freq=False, check_index_type=False
    )
    assert bars["close"].iloc[-1] > bars["market"].iloc[-1]
