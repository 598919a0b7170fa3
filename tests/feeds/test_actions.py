"""Which growth of a holding is a split, which a dividend, and which is rounding."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.feeds.actions import SPLIT_TOLD
from clusterfolio.feeds.quality import QualityConfig, clean

N = 400
DAYS = pd.bdate_range("2023-01-02", periods=N)
EX_DAYS = (60, 123, 186, 249)


def market(seed=0, sd=0.01, start=60.0):
    """A close that falls by 0.50 on four days and by 10 on a split, and what a holder has."""
    rng = np.random.default_rng(seed)
    paid, ratio = np.zeros(N), np.ones(N)
    paid[list(EX_DAYS)], ratio[200] = 0.5, 10.0
    close = start * np.exp(np.cumsum(rng.normal(0, sd, N))) / np.cumprod(ratio)
    paid[201:] /= 10
    return pd.DataFrame({"close": close, "dividend": paid, "split": np.where(ratio == 1, 0.0, ratio)}, DAYS)


def adjusted(raw: pd.DataFrame) -> pd.Series:
    """An adjusted close as Yahoo works it out: every close before an action times a factor, from the last back."""
    before = raw["close"].shift(1)
    ratio = raw["split"].where(raw["split"] > 0, 1.0)
    back = (1 - raw["dividend"] / (before / ratio)) / ratio
    return raw["close"] * back.fillna(1.0)[::-1].cumprod()[::-1].shift(-1, fill_value=1.0)


def told(raw: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Splits and dividends per share of the day, on the days on which they were found."""
    bars = clean(raw, QualityConfig()).bars
    split = bars["split"] / bars["split"].shift(1)
    paid = bars["paid"].diff() / bars["split"]
    return split[(split != 1.0) & split.notna()], paid[(paid != 0.0) & paid.notna()]


def check(raw, found, within=1e-9):
    split, paid = found
    assert split.to_dict() == {DAYS[200]: 10.0}
    assert list(paid.index) == list(DAYS[list(EX_DAYS)])
    assert paid.to_numpy() == pytest.approx(raw.loc[paid.index, "dividend"].to_numpy(), rel=within)


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_stated_actions_are_found_again(seed):
    raw = market(seed)
    check(raw, told(raw))


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_actions_beside_an_adjusted_close_and_closes_that_are_not_adjusted(seed):
    raw = market(seed)
    raw["adj_close"] = adjusted(raw)
    check(raw, told(raw.astype(np.float32).astype(float)), within=1e-6)


def test_an_adjusted_close_alone_tells_dividends_and_splits_and_the_split_is_called_a_guess():
    raw = market()
    raw["adj_close"] = adjusted(raw)
    stated = raw.drop(columns=["dividend", "split"])
    check(raw, told(stated), within=0.05)  # re-invested at another price than the close
    said = [remark for remark in clean(stated, QualityConfig(), symbol="A").remarks if remark.kind == SPLIT_TOLD]
    assert [(remark.day, remark.factor) for remark in said] == [(DAYS[200], 10.0)]


def test_closes_that_are_split_adjusted_know_of_no_split():
    raw = market()
    ratio = raw["split"].where(raw["split"] > 0, 1.0)
    later = ratio[::-1].cumprod()[::-1].shift(-1, fill_value=1.0)
    raw[["close", "dividend"]] = raw[["close", "dividend"]].div(later, axis=0)
    raw["adj_close"] = adjusted(raw.assign(split=0.0))
    split, paid = told(raw)
    assert split.empty and list(paid.index) == list(DAYS[list(EX_DAYS)])
    assert paid.to_numpy() == pytest.approx(raw.loc[paid.index, "dividend"].to_numpy())


def test_figures_rounded_to_cents_pay_nothing_between_dividends():
    raw = market()
    raw["adj_close"] = adjusted(raw)
    bars = clean(raw.round({"close": 2, "adj_close": 2}), QualityConfig()).bars
    grown = bars["close"] / bars["market"]
    assert (grown.diff().abs() / grown > 1e-5).mean() > 0.5  # it wavers on every day up to the last dividend
    split, paid = told(raw.round({"close": 2, "adj_close": 2}))
    assert split.to_dict() == {DAYS[200]: 10.0}
    assert set(DAYS[list(EX_DAYS)]) <= set(paid.index) and len(paid) <= 6


def test_a_change_of_unit_is_neither_and_the_price_stays_in_the_first_one():
    raw = market()[["close"]].iloc[:180]
    changed = raw.copy()
    changed.iloc[90:] *= 100
    bars = clean(changed, QualityConfig()).bars
    assert (bars["split"] == 1).all() and (bars["paid"] == 0).all()
    assert bars["market"].to_numpy() == pytest.approx(raw["close"].reindex(bars.index).to_numpy())


def test_a_split_that_nothing_states_changes_the_shares_and_not_the_volume():
    raw = market(sd=0.005)
    raw["volume"] = 1000.0 * np.where(np.arange(N) >= 200, 10.0, 1.0)
    bars = clean(raw.drop(columns="split"), QualityConfig()).bars
    assert bars["split"].iloc[0] == 1.0 and bars["split"].iloc[-1] == pytest.approx(10.0)
    assert bars["volume"].iloc[-1] == pytest.approx(1000.0)


def test_where_no_close_is_stated_nothing_is_known_and_what_was_paid_meanwhile_counts_afterwards():
    raw = market().assign(split=0.0).iloc[:180]
    raw["adj_close"] = adjusted(raw)
    raw.loc[DAYS[50:70], "close"] = np.nan
    bars = clean(raw, QualityConfig()).bars
    assert bars.loc[DAYS[50:70], "market"].isna().all() and (bars.loc[: DAYS[69], "paid"] == 0).all()
    assert bars.loc[DAYS[70], "paid"] == pytest.approx(0.5, rel=0.05)
