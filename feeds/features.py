"""Five indicators per asset and day, computed once per panel and causal to the bit.

Each asset's indicators run over its own bars (the days on which its ``close`` is finite), whatever the calendar days
between them, and are put back at its dates. The channels, in the order of ``FEATURES``:

``log_return``          log(close_t / close_t-1), clipped
``log_volume_change``   log(volume_t / volume_t-1), clipped; 0 and not observed where either volume is missing or 0
``rsi``                 relative strength index, 0..100; 50 while the price has not moved at all
``macd_diff``           MACD minus its signal line, as a share of the close
``volatility``          standard deviation of the clipped log returns over the last bars, per day
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from ta.momentum import RSIIndicator
from ta.trend import MACD

from clusterfolio.feeds.panel import Panel

#: Channel order of ``Features.values``.
FEATURES = ("log_return", "log_volume_change", "rsi", "macd_diff", "volatility")


@dataclass(frozen=True)
class FeatureConfig:
    """Windows of the indicators, in an asset's own bars.

    Attributes:
        rsi_window: bars of the relative strength index.
        macd_fast, macd_slow, macd_signal: spans of the moving averages behind the MACD difference.
        volatility_window: bars of the rolling standard deviation of log returns.
        clip_return, clip_volume: bounds of the log return and of the log volume change, absolute.
    """

    rsi_window: int = 14
    macd_fast: int = 12
    macd_slow: int = 26
    macd_signal: int = 9
    volatility_window: int = 20
    clip_return: float = 0.5
    clip_volume: float = 3.0

    def __post_init__(self):
        for name in ("rsi_window", "macd_fast", "macd_slow", "macd_signal", "volatility_window"):
            low = 2 if name == "volatility_window" else 1
            if not getattr(self, name) >= low:
                raise ValueError(f"{name} must be at least {low}, got {getattr(self, name)}")
        for name in ("clip_return", "clip_volume"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    @property
    def warm_up(self) -> int:
        """Bars at an asset's beginning that have no complete set of indicators."""
        macd = max(self.macd_fast, self.macd_slow) + self.macd_signal - 2
        return max(self.rsi_window, macd, self.volatility_window, 1)


@dataclass(frozen=True)
class Features:
    """Indicator values of a panel.

    Attributes:
        values: float32, shape ``(n_dates, n_assets, n_features)``; NaN on every channel where the asset has no bar
            or an indicator is still warming up; 0 where the channel itself is missing (no volume reported).
        observed: bool, same shape: False where ``values`` is NaN or the channel is missing.
        config: what they were computed with.
    """

    values: np.ndarray
    observed: np.ndarray
    config: FeatureConfig

    def rows(self, stop: int) -> Features:
        """The first ``stop`` dates, as views."""
        return Features(self.values[:stop], self.observed[:stop], self.config)


def make_features(panel: Panel, config: FeatureConfig | None = None) -> Features:
    """The indicators of every asset in ``panel``; row t uses nothing later than row t.

    Those the panel already carries are returned as they are if they were computed with the same ``config``
    (default: ``FeatureConfig()``).
    """
    config = FeatureConfig() if config is None else config
    if panel.features is not None and panel.features.config == config:
        return panel.features
    close, volume = panel.close.to_numpy(dtype=float), panel.volume.to_numpy(dtype=float)
    if (close <= 0).any():
        symbol = panel.symbols[(close <= 0).any(axis=0)][0]
        raise ValueError(
            f"panel.close: {symbol} has a price of {np.nanmin(panel.close[symbol])}; prices must be positive"
        )
    values = np.full((*close.shape, len(FEATURES)), np.nan, dtype=np.float32)
    observed = np.zeros(values.shape, dtype=bool)
    for asset in range(close.shape[1]):
        bars = np.flatnonzero(np.isfinite(close[:, asset]))
        if len(bars) > config.warm_up:
            of_asset, reported = _indicators(close[bars, asset], volume[bars, asset], config)
            bars, of_asset, reported = bars[config.warm_up :], of_asset[config.warm_up :], reported[config.warm_up :]
            values[bars, asset] = of_asset
            observed[bars, asset] = True
            observed[bars, asset, FEATURES.index("log_volume_change")] = reported
    return Features(values, observed, config)


def with_features(panel: Panel, config: FeatureConfig | None = None) -> Panel:
    """The same panel, carrying its indicators; ``until`` then cuts them instead of computing them again."""
    features = make_features(panel, config)
    return panel if features is panel.features else replace(panel, features=features)


def _indicators(close: np.ndarray, volume: np.ndarray, config: FeatureConfig) -> tuple[np.ndarray, np.ndarray]:
    """One asset's channels ``(n_bars, n_features)`` over its own bars, and where its volume change is known."""
    series = pd.Series(close)
    log_return = np.diff(np.log(close), prepend=np.nan)
    log_return = np.clip(log_return, -config.clip_return, config.clip_return)

    known = volume > 0  # False for NaN
    log_volume = np.log(np.where(known, volume, 1.0))
    reported = known & np.concatenate([[False], known[:-1]])
    log_volume_change = np.where(reported, np.diff(log_volume, prepend=np.nan), 0.0)
    log_volume_change = np.clip(log_volume_change, -config.clip_volume, config.clip_volume)

    rsi = RSIIndicator(series, window=config.rsi_window, fillna=False).rsi().to_numpy()
    never_moved = np.logical_and.accumulate(close == close[0])  # ta states 100 here, as if it had only risen
    rsi = np.where(never_moved, 50.0, rsi)

    macd = MACD(
        series,
        window_slow=config.macd_slow,
        window_fast=config.macd_fast,
        window_sign=config.macd_signal,
        fillna=False,
    )
    volatility = pd.Series(log_return).rolling(config.volatility_window).std().to_numpy()
    channels = (log_return, log_volume_change, rsi, macd.macd_diff().to_numpy() / close, volatility)
    return np.column_stack(channels), reported
