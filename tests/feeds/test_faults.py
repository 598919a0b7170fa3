"""A healthy series through a vendor's fault is right or named, and a healthy one or a true move is left alone."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.feeds.quality import Cleaned, QualityConfig, clean
from tests.feeds.faults import FAULTS, healthy, spoilt

CONFIG = QualityConfig()
COLUMNS = ("all", "no volume", "close only")

#: A payout in another unit is told by those before it.
TWO_PAYOUTS = 62


def wrong_returns(cleaned: Cleaned, wealth: pd.Series) -> pd.Index:
    """Days on which the return since the bar before is not a holder's; a history's first bar has none."""
    days = []
    for bars in cleaned.histories():
        got = bars["close"].pct_change().iloc[1:]
        days += list(got.index[(got - wealth.loc[bars.index].pct_change().iloc[1:]).abs() > 1e-6])
    return pd.Index(days)


def cases(first: int = 5):
    return {"seed": st.integers(0, 10_000), "row": st.integers(first, 200), "columns": st.sampled_from(COLUMNS)}


@pytest.mark.parametrize("fault", FAULTS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_what_a_vendor_spoils_is_right_or_named_by_its_day(fault, data):
    drawn = {name: data.draw(of) for name, of in cases(TWO_PAYOUTS if fault == "dividend_in_cents" else 5).items()}
    if fault == "stale_rows_after_split":
        drawn["columns"] = "all"  # told by the volume
    case = spoilt(fault, **drawn)
    cleaned = clean(case.raw, CONFIG, symbol="X")
    if len(wrong_returns(cleaned, case.wealth)):
        near = pd.Timedelta(days=20)
        assert [str(r) for r in cleaned.remarks if r.day and case.at - near <= r.day <= case.until + near], drawn


@pytest.mark.parametrize(
    ("fault", "least"),
    [
        ("split_in_prices_already", 1.0), ("split_not_in_prices", 1.0), ("adjusted_close_jumps", 1.0),
        ("stale_rows_after_split", 1.0), ("dividend_in_a_row_of_its_own", 1.0), ("other_company_later", 1.0),
        ("unit_block", 0.8), ("odd_block", 0.8), ("split_stated_late", 0.8), ("unit_changed", 0.6),
        ("split_lost", 0.6), ("other_company_at_once", 0.5),
    ],
)  # fmt: skip
def test_most_of_what_can_be_mended_is(fault, least):
    right = 0
    for seed in range(40):
        case = spoilt(fault, seed, 30 + 4 * seed)
        right += not len(wrong_returns(clean(case.raw, CONFIG), case.wealth))
    assert right >= least * 40


@given(fault=st.sampled_from(list(FAULTS)), share=st.floats(0, 1), **cases())
@settings(max_examples=150, deadline=None)
def test_what_comes_later_changes_no_bar_of_any_fault(fault, share, seed, row, columns):
    raw = spoilt(fault, seed, row, columns).raw
    day = raw.index[int(share * (len(raw) - 1))]
    whole, cut = clean(raw, CONFIG), clean(raw[raw.index <= day], CONFIG)
    pd.testing.assert_frame_equal(whole.bars.loc[:day], cut.bars, check_exact=True, check_freq=False)
    assert [begin for begin in whole.begins if begin <= day] == list(cut.begins)


def test_of_healthy_series_no_more_than_one_in_a_hundred_loses_a_bar_or_a_return():
    spoiled = 0
    for seed in range(300):
        raw, wealth = healthy(np.random.default_rng(seed), 500)
        raw = raw.drop(columns=[[], ["volume"], ["volume", "open", "high", "low"]][seed % 3])
        cleaned = clean(raw, CONFIG)
        spoiled += len(cleaned.bars) < len(raw) - 1 or len(wrong_returns(cleaned, wealth)) > 0
    assert spoiled <= 3


def quiet(volatility: float, n: int = 150, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(rng.normal(0, volatility, n).cumsum())
    volume = np.round(1e5 * np.exp(rng.normal(0, 0.3, n)))
    return pd.DataFrame({"close": close, "volume": volume}, index=pd.bdate_range("2024-01-01", periods=n))


@pytest.mark.parametrize("share", [0.037, -0.037, 0.015])
def test_a_bad_tick_of_a_fund_that_hardly_moves_is_withheld(share):
    raw = quiet(0.00014)
    raw.iloc[100, 0] *= 1 + share
    cleaned = clean(raw, CONFIG)
    assert cleaned.bars.index.equals(raw.index.delete([0, 100]))
    assert [(str(r.day.date()), r.kind) for r in cleaned.remarks] == [("2024-05-20", "suspect bars withheld")]


def test_an_asset_that_rarely_trades_is_not_taken_for_a_quiet_one():
    raw = quiet(0.02, 400)[["close"]]
    raw["close"] = raw["close"].where(np.arange(400) % 4 == 0).ffill()
    assert clean(raw, CONFIG).bars.index.equals(raw.index[1:])


def test_without_volumes_a_fall_by_a_third_is_booked_and_doubted_not_undone():
    raw = quiet(0.012)[["close"]]
    raw.iloc[100:] *= 0.675
    cleaned = clean(raw, CONFIG)
    assert cleaned.bars["close"].iloc[-1] == raw["close"].iloc[-1]
    assert {remark.kind for remark in cleaned.remarks} == {"suspect bars withheld", "large move believed"}


@pytest.mark.parametrize("days", [1, 2, 3])
def test_a_fund_that_hardly_moves_has_up_to_three_wrong_days_withheld_and_a_fourth_named(days):
    raw = quiet(0.00014)
    raw.iloc[100 : 100 + days, 0] *= 1.02
    cleaned = clean(raw, CONFIG)
    assert cleaned.bars.index.equals(raw.index.delete([0, *range(100, 100 + days)]))
    raw.iloc[100:104, 0] = raw["close"].iloc[99] * 1.02
    kinds = [remark.kind for remark in clean(raw, CONFIG).remarks]
    assert kinds == ["suspect bars withheld", "large move believed"] * 2


@pytest.mark.parametrize(("move", "volume"), [(0.6, 9.0), (0.47, 12.0), (0.75, 4.0), (1.55, 15.0)])
def test_a_true_move_on_its_day_of_news_is_booked_on_that_day(move, volume):
    raw = quiet(0.012)
    raw.iloc[100:, 0] *= move
    raw.iloc[100, 1] *= volume
    bars = clean(raw, CONFIG).bars
    pd.testing.assert_series_equal(bars["close"], raw["close"].iloc[1:], check_freq=False, check_index_type=False)


def test_a_spell_of_turmoil_loses_no_bar():
    raw = quiet(0.002)
    moves = np.log(raw["close"]).diff().fillna(0.0).to_numpy(copy=True)
    moves[100:130] *= np.linspace(4, 16, 30)
    raw["close"] = 50 * np.exp(moves.cumsum())
    assert len(clean(raw, CONFIG).bars) == len(raw) - 1


@pytest.mark.parametrize("factor", [0.82, 0.845, 1.3])
def test_a_currency_that_jumps_is_believed_on_the_day_and_said(factor):
    closes = pd.DataFrame({"close": quiet(0.004)["close"]})
    closes.iloc[100:] *= factor
    cleaned = clean(closes, CONFIG, pair=True)
    assert len(cleaned.bars) == len(closes) - 1
    assert [(r.kind, r.nature) for r in cleaned.remarks] == [("large move believed", "doubted")]


def test_a_constant_price_with_real_volume_is_no_stale_run():
    raw = quiet(0.012)
    raw.iloc[20:120, 0] = raw["close"].iloc[19]
    assert raw.index[20:120].isin(clean(raw, CONFIG).bars.index).all()


@pytest.mark.parametrize("kept", [{"index": True}, {"pair": True}])
def test_days_without_a_trade_are_no_bars_except_of_what_nobody_trades(kept):
    raw = quiet(0.012)
    raw.iloc[60:63, 1] = 0.0
    cleaned = clean(raw, CONFIG)
    assert cleaned.bars.index.equals(raw.index.delete([0, 60, 61, 62]))
    assert [str(remark) for remark in cleaned.remarks] == ["days without a trade left out: 3"]
    assert len(clean(raw, CONFIG, **kept).bars) == len(raw) - 1


def test_volumes_that_are_mostly_0_are_doubted_and_no_row_at_all_is_no_error():
    raw = quiet(0.012)
    raw.iloc[60:100, 1] = 0.0
    assert [remark.nature for remark in clean(raw, CONFIG).remarks] == ["doubted"]
    assert clean(raw.set_axis([pd.NaT] * len(raw)), CONFIG).bars.empty


def test_days_without_a_trade_confirm_no_new_level():
    raw = quiet(0.012)
    raw.iloc[60:, 0] *= 0.1
    raw.iloc[61:75, 1] = 0.0
    assert clean(raw, CONFIG).bars["close"].loc[raw.index[60] :].index[0] == raw.index[84]


def test_an_asset_that_never_states_a_volume_above_0_keeps_its_days():
    raw = quiet(0.012).assign(volume=0.0)
    assert len(clean(raw, CONFIG).bars) == len(raw) - 1
