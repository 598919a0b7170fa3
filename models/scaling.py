"""Robust scaling of a table of bars, fitted on the training windows' own bars and on nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.preprocessing import RobustScaler

from clusterfolio.models.windows import Windows


def covered_bars(windows: Windows) -> np.ndarray:
    """Which rows of ``windows.values`` lie in at least one window, bool ``(n_bars,)``."""
    opened = np.zeros(len(windows.values) + 1, dtype=np.int64)
    np.add.at(opened, windows.start, 1)
    np.add.at(opened, windows.start + windows.lookback, -1)
    return np.cumsum(opened)[:-1] > 0


def fit_scaler(windows: Windows) -> RobustScaler:
    """Median and interquartile range of each channel over the observed entries of the bars the windows cover.

    A channel that is never observed gets centre 0 and scale 1.
    """
    covered = covered_bars(windows)
    seen = windows.observed[covered]
    bars = np.where(seen, windows.values[covered].astype(np.float64), np.nan)
    bars[:, ~seen.any(axis=0)] = 0.0
    return RobustScaler().fit(bars)


def scale(windows: Windows, scaler: RobustScaler, clip: float) -> Windows:
    """The windows over scaled bars (see ``scale_bars``)."""
    return replace(windows, values=scale_bars(windows.values, windows.observed, scaler, clip))


def scale_bars(values: np.ndarray, observed: np.ndarray, scaler: RobustScaler, clip: float) -> np.ndarray:
    """Bars ``(..., n_features)`` scaled, in float32 within ``[-clip, clip]``; 0, the training median, if unobserved."""
    scaled = (values.astype(np.float64) - scaler.center_) / scaler.scale_
    return np.where(observed, np.clip(scaled, -clip, clip), 0.0).astype(np.float32)
