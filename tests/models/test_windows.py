import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.models.scaling import covered_bars, fit_scaler, scale_bars
from clusterfolio.models.windows import make_windows


def naive(values, observed, lookback, stride, first, last):
    """Every window by hand: (asset, date of the last bar, values, observed)."""
    found = []
    for asset in range(values.shape[1]):
        dates = [d for d in range(len(values)) if np.isfinite(values[d, asset]).all()]
        ends = [k for k in range(lookback - 1, len(dates)) if first <= dates[k] <= last]
        for k in ends[::-1][::stride][::-1]:
            rows = dates[k - lookback + 1 : k + 1]
            found.append((asset, dates[k], values[rows, asset], observed[rows, asset]))
    return found


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_dates=st.integers(1, 20),
    n_assets=st.integers(1, 4),
    lookback=st.integers(1, 6),
    stride=st.integers(1, 4),
    span=st.tuples(st.integers(0, 19), st.integers(0, 19)),
    missing=st.floats(0, 1),
)
def test_windows_are_those_of_a_plain_loop(seed, n_dates, n_assets, lookback, stride, span, missing):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n_dates, n_assets, 2)).astype(np.float32)
    values[rng.random((n_dates, n_assets)) < missing] = np.nan
    observed = np.isfinite(values) & (rng.random(values.shape) < 0.9)
    expected = naive(values, observed, lookback, stride, *span)
    windows = make_windows(values, observed, lookback, stride, *span)
    assert len(windows) == len(expected)
    assert list(zip(windows.asset_idx, windows.date_idx, strict=True)) == [
        (asset, date) for asset, date, *_ in expected
    ]
    if expected:
        got_values, got_observed = windows.gather(np.arange(len(windows)))
        np.testing.assert_array_equal(got_values, [x for *_, x, _ in expected])
        np.testing.assert_array_equal(got_observed, [x for *_, x in expected])


def test_a_bar_with_one_channel_missing_does_not_count():
    values = np.arange(12, dtype=np.float32).reshape(6, 1, 2)
    values[3, 0, 1] = np.nan
    windows = make_windows(values, np.isfinite(values), lookback=3)
    assert windows.date_idx.tolist() == [2, 4, 5]
    np.testing.assert_array_equal(windows.gather(np.array([1]))[0][0, :, 0], [2, 4, 8])


def test_bars_that_no_window_can_reach_are_left_out():
    values = np.random.default_rng(0).normal(size=(40, 2, 2)).astype(np.float32)
    values[18:27, 1] = np.nan  # the second asset's windows begin the earlier for it
    windows = make_windows(values, np.isfinite(values), lookback=5, first=25, last=30)
    assert covered_bars(windows).all()
    np.testing.assert_array_equal(
        windows.values, np.concatenate([values[21:31, 0], values[14:18, 1], values[27:31, 1]])
    )


def test_later_bars_change_no_earlier_window():
    values = np.random.default_rng(0).normal(size=(30, 3, 2)).astype(np.float32)
    changed = values.copy()
    changed[20:] = np.nan
    before = make_windows(values, np.isfinite(values), lookback=5, last=19)
    after = make_windows(changed, np.isfinite(changed), lookback=5, last=19)
    everything = np.arange(len(before))
    np.testing.assert_array_equal(before.gather(everything)[0], after.gather(everything)[0])


def test_bars_are_scaled_as_the_fitted_scaler_does_to_the_bit():
    values = (100 * np.random.default_rng(0).normal(size=(50, 3, 4))).astype(np.float32)
    observed = values > -150
    scaler = fit_scaler(make_windows(values, observed, lookback=5))
    expected = np.clip(scaler.transform(values.reshape(-1, 4).astype(np.float64)), -1.5, 1.5).reshape(values.shape)
    scaled = scale_bars(values, observed, scaler, 1.5)
    np.testing.assert_array_equal(scaled, np.where(observed, expected, 0).astype(np.float32))
    assert scaled.dtype == np.float32 and (np.abs(scaled) == 1.5).any()


def test_the_published_132_300_windows_take_a_tenth_of_their_copy():
    values = np.zeros((300 + 29 + 141, 300, 5), dtype=np.float32)  # 441 windows of 30 bars for each of 300 assets
    windows = make_windows(values, np.ones(values.shape, dtype=bool), lookback=30)
    assert len(windows) == 132_300
    parts = (windows.values, windows.observed, windows.start, windows.date_idx, windows.asset_idx)
    assert sum(part.nbytes for part in parts) < 0.1 * (132_300 * 30 * 5 * 4)
    assert np.shares_memory(windows.take(windows.asset_idx == 7).values, windows.values)


def test_impossible_lengths_are_refused():
    values = np.zeros((3, 1, 1), dtype=np.float32)
    with pytest.raises(ValueError, match="got 0 and 1"):
        make_windows(values, values == 0, lookback=0)
    with pytest.raises(ValueError, match="got 2 and 0"):
        make_windows(values, values == 0, lookback=2, stride=0)
