"""Forward adjustment: the returns of a backward-adjusted series, at levels that nothing later can move."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.feeds.adjust import read_actions, rows_of, total_return

DATES = pd.bdate_range("2024-01-01", periods=40)


def forward(days: pd.DataFrame, said: list | None = None) -> pd.DataFrame:
    """Total-return bars where every row with a price is believed."""
    rows, at = rows_of(days.index, {name: days[name].to_numpy(dtype=float) for name in days.columns})
    readings = [read_actions(rows, row - 1, row, 0.02) for row in range(1, len(at))]
    growth, shares = (np.array([1.0, *(getattr(reading, of) for reading in readings)]) for of in ("growth", "shares"))
    if said is not None:
        said += [(kind, str(days.index[at[row]].date())) for reading in readings for kind, row, *_ in reading.said]
    bars = total_return(rows, growth[: len(at)], shares[: len(at)], np.zeros(len(at), dtype=bool))
    return pd.DataFrame(bars, index=days.index[at])


def unadjusted(seed: int, n: int = 40) -> pd.DataFrame:
    """A random walk with dividends and splits, prices as they were quoted on the day."""
    rng = np.random.default_rng(seed)
    split = np.where(rng.random(n) < 0.1, rng.choice([2.0, 3.0, 0.1], n), 0.0)
    share = np.where(rng.random(n) < 0.15, rng.uniform(0.001, 0.03, n), 0.0)
    held = np.cumprod(np.where(split > 0, split, 1.0))
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, n))) * np.cumprod(1 - share) / held
    dividend = share * close * np.where(split > 0, split, 1.0)
    open_ = close * np.exp(rng.normal(0, 0.01, n))
    return pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * 1.01,
            "low": np.minimum(open_, close) * 0.99,
            "close": close,
            "volume": 1000.0 * held,
            "dividend": dividend,
            "split": split,
        },
        index=DATES[:n],
    )


def backward_adjusted(days: pd.DataFrame) -> np.ndarray:
    """A vendor's way: start at the last close and walk back, dividing each action out of everything before it."""
    adjusted = days["close"].to_numpy().copy()
    ratio = np.where(days["split"] > 0, days["split"], 1.0)
    for t in range(len(days) - 1, 0, -1):
        growth = (days["close"].iloc[t] * ratio[t] + days["dividend"].iloc[t]) / days["close"].iloc[t]
        adjusted[:t] /= growth
    return adjusted


def test_a_dividend_is_reinvested_and_a_split_moves_nothing():
    days = pd.DataFrame(
        {"close": [100.0, 49.0, 50.0, 50.0], "split": [0, 2, 0, 0], "dividend": [0, 0, 0, 1.0]}, index=DATES[:4]
    )
    assert forward(days)["close"].tolist() == pytest.approx([100, 98, 100, 102])


def test_volume_counts_the_shares_of_the_first_day():
    days = pd.DataFrame({"close": [10.0, 5.0], "split": [0, 2.0], "volume": [100.0, 200.0]}, index=DATES[:2])
    assert forward(days)["volume"].tolist() == [100.0, 100.0]


@pytest.mark.parametrize("seed", range(5))
def test_returns_equal_those_of_the_same_actions_adjusted_backward(seed):
    days = unadjusted(seed)
    expected = pd.Series(backward_adjusted(days)).pct_change().to_numpy()
    assert forward(days)["close"].pct_change().to_numpy() == pytest.approx(expected, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("seed", range(5))
def test_a_vendors_adjusted_close_gives_the_same_series_as_its_actions(seed):
    days = unadjusted(seed)
    stated = days.drop(columns=["dividend", "split"]).assign(adj_close=backward_adjusted(days))
    pd.testing.assert_frame_equal(
        forward(stated).drop(columns="volume"), forward(days).drop(columns="volume"), rtol=1e-9
    )


@given(seed=st.integers(0, 10_000), cut=st.integers(1, 39))
@settings(max_examples=40, deadline=None)
def test_later_dividends_and_splits_leave_earlier_rows_as_they_were(seed, cut):
    days = unadjusted(seed)
    days.loc[days.index[::7], "close"] = np.nan
    pd.testing.assert_frame_equal(
        forward(days).loc[: DATES[cut]], forward(days.loc[: DATES[cut]]), check_exact=True, check_freq=False
    )


def test_an_action_on_a_day_without_a_price_counts_at_the_next_one():
    days = pd.DataFrame(
        {"close": [100.0, np.nan, 51.0], "split": [0, 2.0, 0], "dividend": [0, 0, 1.0]}, index=DATES[:3]
    )
    assert forward(days)["close"].tolist() == pytest.approx([100, 104])


def test_actions_up_to_the_first_price_change_nothing():
    days = pd.DataFrame({"close": [np.nan, 50.0, 51.0], "split": [2.0, 2.0, 0]}, index=DATES[:3])
    assert forward(days)["close"].tolist() == [50.0, 51.0]


def test_an_adjusted_series_begins_at_the_first_close():
    days = pd.DataFrame({"open": [9.0, 9.3], "close": [10.0, 9.5], "adj_close": [5.0, 5.225]}, index=DATES[:2])
    bars = forward(days)
    assert bars["close"].tolist() == pytest.approx([10.0, 10.45])
    assert bars["open"].tolist() == pytest.approx([9.0, 9.3 * 1.1])


@pytest.mark.parametrize("split", [10.0, 2.0, 1.5, 0.05])
def test_a_stated_split_that_is_in_the_prices_already_is_not_applied_again(split):
    said = []
    days = pd.DataFrame({"close": [100.0, 101.0, 102.0], "split": [0, 0, split]}, index=DATES[:3])
    assert forward(days, said)["close"].tolist() == [100.0, 101.0, 102.0]
    assert said == [("stated split already in the prices", "2024-01-03")]


def test_a_split_too_small_for_the_prices_to_tell_is_applied_and_called_a_guess():
    said = []
    forward(pd.DataFrame({"close": [100.0, 98.0], "split": [0, 1.02]}, index=DATES[:2]), said)
    assert said == [("stated split applied", "2024-01-02")]


@pytest.mark.parametrize(("paid", "said_of_it"), [(2000.0, "withheld"), (30.0, "withheld"), (8.0, "doubted")])
def test_a_dividend_that_the_close_did_not_fall_by_is_withheld_or_doubted(paid, said_of_it):
    said = []
    days = pd.DataFrame({"close": [100.0, 99.5], "dividend": [0, paid]}, index=DATES[:2])
    level = forward(days, said)["close"].iloc[-1]
    assert said == [(f"dividend {said_of_it}", "2024-01-02")]
    assert level == pytest.approx(99.5 + (paid if said_of_it == "doubted" else 0))


def test_a_large_dividend_that_the_close_fell_by_is_paid_without_a_word():
    said = []
    days = pd.DataFrame({"close": [100.0, 72.0], "dividend": [0, 30.0]}, index=DATES[:2])
    assert forward(days, said)["close"].tolist() == pytest.approx([100, 102]) and not said


def test_a_dividend_carried_on_from_row_to_row_is_paid_once_and_the_rest_named():
    said = []
    days = pd.DataFrame({"close": 100.0, "dividend": [0, 0.5, 0.5, 0.5, 0.6, 0.6]}, index=DATES[:6])
    paid = (1 + 0.005) * (1 + 0.006)
    assert forward(days, said)["close"].iloc[-1] == pytest.approx(100 * paid)
    assert said == [("dividend withheld", f"2024-01-{day:02}") for day in (3, 4, 8)]


def test_a_fund_that_pays_the_same_every_day_is_paid_every_day():
    said = []
    days = pd.DataFrame({"close": 1.0, "dividend": 0.0001}, index=DATES[:21])
    assert forward(days, said)["close"].iloc[-1] == pytest.approx(1.0001**20) and not said


@pytest.mark.parametrize(("factor", "kind"), [(100, "dividend withheld"), (0.01, "dividend doubted")])
def test_a_dividend_in_another_unit_than_those_before_is_named(factor, kind):
    said = []
    days = pd.DataFrame({"close": 100.0, "dividend": [0, 0.05, 0, 0.05, 0, 0.05 * factor]}, index=DATES[:6])
    forward(days, said)
    assert said == [(kind, "2024-01-08")]


def test_an_adjusted_close_that_jumps_while_the_close_does_not_is_not_followed():
    said = []
    days = pd.DataFrame({"close": [100.0, 101.0, 102.0], "adj_close": [50.0, 80.8, 81.6]}, index=DATES[:3])
    assert forward(days, said)["close"].tolist() == pytest.approx([100.0, 101.0, 102.0])
    assert said == [("adjusted close jumps alone", "2024-01-02")]


def test_days_with_an_adjusted_close_only_are_bars_without_a_range():
    days = pd.DataFrame({"open": [np.nan, 4.0], "close": [np.nan, 5.0], "adj_close": [4.0, 4.4]}, index=DATES[:2])
    bars = forward(days)
    assert bars.iloc[0, :4].tolist() == [4.0] * 4
    assert bars["close"].iloc[1] == pytest.approx(4.4)
    assert bars["open"].iloc[1] == pytest.approx(4.0 * 4.4 / 5.0)


def test_a_day_without_adjusted_close_carries_the_last_known_ratio():
    days = pd.DataFrame({"close": [10.0, 20.0, 22.0], "adj_close": [5.0, 10.5, np.nan]}, index=DATES[:3])
    assert forward(days)["close"].tolist() == pytest.approx([10, 21, 23.1])


def test_a_close_that_nothing_relates_to_the_adjusted_series_is_no_bar():
    days = pd.DataFrame({"close": [np.nan, 20.0], "adj_close": [5.0, np.nan]}, index=DATES[:2])
    assert forward(days).index.tolist() == [DATES[0]]


def test_an_adjusted_series_that_begins_late_continues_the_closes():
    days = pd.DataFrame({"close": [10.0, 11.0, np.nan], "adj_close": [np.nan, 5.5, 6.0]}, index=DATES[:3])
    assert forward(days)["close"].tolist() == pytest.approx([10, 11, 12])


def test_missing_open_high_low_come_from_the_same_day():
    days = pd.DataFrame(
        {"open": [np.nan, 9.0], "high": [np.nan] * 2, "low": [8.0, np.nan], "close": [10.0, 10.0]}, index=DATES[:2]
    )
    assert forward(days)[["open", "high", "low", "close"]].to_numpy().tolist() == [[10, 10, 8, 10], [9, 10, 9, 10]]


def test_an_adjusted_close_that_falls_against_the_close_by_a_little_is_followed_and_doubted():
    said = []
    close = [100.0, 101.0, 101.5, 102.0]
    days = pd.DataFrame({"close": close, "adj_close": [100.0, 101.0, 101.5 * 0.96, 102.0 * 0.96]}, index=DATES[:4])
    assert forward(days, said)["close"].tolist() == pytest.approx(days["adj_close"].tolist())
    assert said == [("adjusted close doubted", "2024-01-03")]
