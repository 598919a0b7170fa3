"""Five indicators per asset and day, computed once per panel and causal to the bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
