import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.feeds.features import FEATURES, FeatureConfig, make_features, with_features
from clusterfolio.feeds.panel import Panel, make_assets

SHORT = FeatureConfig(rsi_window=3, macd_fast=2, macd_slow=4, macd_signal=2, volatility_window=3)


def panel_of(close: dict, volume: dict | None = None) -> Panel:
    n_dates = len(next(iter(close.values())))
    dates = pd.bdate_range("2024-01-02", periods=n_dates)
    close = pd.DataFrame(close, index=dates, dtype=float)
    volume = pd.DataFrame(volume or {}, index=dates, dtype=float).reindex(columns=close.columns)
    assets = make_assets(close.columns)
    return Panel(close, close, close, close, volume, assets, dates, close.columns[0])


def random_walk(n_dates: int, seed: int, sigma: float = 0.02) -> np.ndarray:
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, sigma, n_dates)))


def wilder_rsi(close: np.ndarray, window: int) -> np.ndarray:
    """RSI by its recursion, started at 0 like ta's."""
    up = down = 0.0
    rsi = [np.nan]
    for change in np.diff(close):
        up += (max(change, 0.0) - up) / window
        down += (max(-change, 0.0) - down) / window
        rsi.append(100 * up / (up + down))
    return np.array(rsi)


def ema(values: np.ndarray, span: int) -> np.ndarray:
    out = [values[0]]
    for value in values[1:]:
        out.append(out[-1] + 2 / (span + 1) * (value - out[-1]))
    return np.array(out)


def test_every_channel_equals_an_independent_computation():
    close = random_walk(120, seed=0)
    volume = np.random.default_rng(1).lognormal(10, 0.3, 120)
    features = make_features(panel_of({"A": close}, {"A": volume}))
    of = dict(zip(FEATURES, features.values[:, 0].T, strict=True))
    log_return = np.diff(np.log(close))
    line = ema(close, 12)[25:] - ema(close, 26)[25:]
    late = slice(40, None)
    np.testing.assert_allclose(of["log_return"][late], log_return[39:], rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(of["log_volume_change"][late], np.diff(np.log(volume))[39:], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(of["rsi"][late], wilder_rsi(close, 14)[late], rtol=1e-5)
    np.testing.assert_allclose(of["macd_diff"][late], (line - ema(line, 9))[15:] / close[late], rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(
        of["volatility"][late], [log_return[t - 20 : t].std(ddof=1) for t in range(40, 120)], rtol=1e-5
    )
    assert features.values.dtype == np.float32


def test_rows_are_nan_on_every_channel_until_the_slowest_indicator_is_warm():
    features = make_features(panel_of({"A": random_walk(60, 0)}, {"A": np.full(60, 5.0)}))
    complete = np.isfinite(features.values[:, 0])
    assert FeatureConfig().warm_up == 33
    assert not complete[:33].any() and complete[33:].all()
    assert not features.observed[:33].any() and features.observed[33:].all()


def test_an_asset_with_fewer_bars_than_the_warm_up_has_no_features():
    features = make_features(panel_of({"A": random_walk(20, 0)}))
    assert np.isnan(features.values).all() and not features.observed.any()


def test_unreported_volume_is_neutral_and_not_observed():
    volume = np.full(12, 100.0)
    volume[8], volume[10] = np.nan, 0.0
    features = make_features(panel_of({"A": random_walk(12, 0), "B": random_walk(12, 1)}, {"A": volume}), SHORT)
    channel = FEATURES.index("log_volume_change")
    assert features.observed[5:, 0, channel].tolist() == [True, True, True, False, False, False, False]
    assert (features.values[5:, :, channel] == 0).all()
    assert not features.observed[:, 1, channel].any()
    assert features.observed[5:, 1, 0].all()


def test_indicators_run_over_the_assets_own_bars():
    close = random_walk(40, 3)
    apart = np.full(60, np.nan)
    rows = np.sort(np.random.default_rng(0).choice(60, 40, replace=False))
    apart[rows] = close
    features = make_features(panel_of({"A": apart, "B": random_walk(60, 4)}), SHORT)
    alone = make_features(panel_of({"A": close}), SHORT)
    np.testing.assert_array_equal(features.values[rows, 0], alone.values[:, 0])
    assert np.isnan(np.delete(features.values[:, 0], rows, axis=0)).all()


def test_a_price_that_never_moved_is_neither_strong_nor_weak():
    features = make_features(panel_of({"A": np.full(12, 7.0)}), SHORT)
    assert (features.values[5:, 0] == [0, 0, 50, 0, 0]).all()


def test_a_price_that_only_rises_has_an_rsi_of_100():
    features = make_features(panel_of({"A": np.arange(1.0, 13.0)}), SHORT)
    assert (features.values[5:, 0, FEATURES.index("rsi")] == 100).all()


def test_returns_and_volume_changes_are_clipped():
    close, volume = np.full(12, 10.0), np.full(12, 10.0)
    close[8:], volume[8:] = 1000.0, 1e9
    features = make_features(panel_of({"A": close}, {"A": volume}), SHORT)
    assert features.values[8, 0, 0] == np.float32(0.5)
    assert features.values[8, 0, 1] == np.float32(3.0)
    assert features.values[11, 0, 4] == 0  # the jump has left the window


def test_features_are_computed_once():
    panel = with_features(panel_of({"A": random_walk(60, 0)}))
    assert make_features(panel) is panel.features
    assert with_features(panel).features is panel.features
    assert make_features(panel, SHORT).config == SHORT


def test_errors_name_the_symbol_and_the_value():
    with pytest.raises(ValueError, match=r"B has a price of -1\.0"):
        make_features(panel_of({"A": [1.0, 2.0], "B": [3.0, -1.0]}))
    with pytest.raises(ValueError, match="rsi_window must be at least 1, got 0"):
        FeatureConfig(rsi_window=0)
    with pytest.raises(ValueError, match="clip_return must be positive, got 0"):
        FeatureConfig(clip_return=0)


@st.composite
def ragged_panels(draw):
    n_dates, n_assets = draw(st.integers(1, 70)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    close = np.exp(rng.normal(0, 0.05, (n_dates, n_assets)).cumsum(axis=0)) * rng.uniform(0.01, 1e4, n_assets)
    volume = rng.lognormal(8, 2, close.shape)
    volume[rng.random(close.shape) < draw(st.sampled_from([0, 0.2, 1]))] = draw(st.sampled_from([np.nan, 0]))
    close[rng.random(close.shape) < draw(st.sampled_from([0, 0.1, 0.6]))] = np.nan
    listed = rng.integers(0, n_dates, n_assets) if draw(st.booleans()) else np.zeros(n_assets, int)
    close[np.arange(n_dates)[:, None] < listed] = np.nan
    flat = rng.random(n_assets) < 0.2
    close[:, flat] = np.where(np.isnan(close[:, flat]), np.nan, 42.0)
    names = [f"S{i}" for i in range(n_assets)]
    panel = panel_of(dict(zip(names, close.T, strict=True)), dict(zip(names, volume.T, strict=True)))
    return panel, draw(st.integers(0, n_dates - 1))


@settings(max_examples=60, deadline=None)
@given(ragged_panels(), st.sampled_from([SHORT, FeatureConfig()]))
def test_nothing_later_changes_a_row(drawn, config):
    panel, row = drawn
    asof = panel.dates[row]
    cut = with_features(panel, config).until(asof).features
    fresh = make_features(panel.until(asof), config)
    assert cut.values.tobytes() == fresh.values.tobytes()
    assert cut.observed.tobytes() == fresh.observed.tobytes()


@settings(max_examples=60, deadline=None)
@given(ragged_panels())
def test_a_row_is_complete_or_absent_and_observed_means_finite(drawn):
    panel, _ = drawn
    features = make_features(panel, SHORT)
    finite = np.isfinite(features.values)
    assert (finite.all(axis=2) == finite.any(axis=2)).all()
    assert not (features.observed & ~finite).any()
    assert not (finite.all(axis=2) & panel.close.isna().to_numpy()).any()
