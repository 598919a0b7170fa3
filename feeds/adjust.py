"""Total-return prices, adjusted forward: a later dividend or split rescales nothing of the past."""

from __future__ import annotations

import numpy as np
import pandas as pd

PRICES = ("open", "high", "low", "close")


def forward(days: pd.DataFrame) -> pd.DataFrame:
    """Total-return bars of one asset.

    With an ``adj_close`` the level is ``adj_close`` scaled so that it begins at the asset's first ``close``; a day
    without one carries the last known ratio to ``close``, a day without ``close`` has ``adj_close`` alone. Without an
    ``adj_close`` but with ``dividend`` or ``split``, prices count as unadjusted and the level grows by
    ``(close_t * split_t + dividend_t) / close_{t-1}``. Otherwise the level is ``close``.

    Args:
        days: sorted, one row per day, missing or impossible prices NaN; columns a subset of
            ``feeds.raw.RAW_COLUMNS``.

    Returns:
        The days whose level is known, with float64 columns open, high, low, close (finite) and volume (may be NaN).
        A missing open, high or low is filled from the same day. Volume is in shares of the first day where splits are
        applied here, else as stated.

    >>> dates = pd.date_range("2024-01-01", periods=3)
    >>> forward(pd.DataFrame({"close": [10.0, 6.0, 6.0], "split": [0, 2, 0], "dividend": [0, 0, 0.6]}, dates))["close"]
    2024-01-01    10.0
    2024-01-02    12.0
    2024-01-03    13.2
    Freq: D, Name: close, dtype: float64
    """
    close = _column(days, "close")
    volume = _column(days, "volume")
    if "adj_close" in days.columns:
        level = _level_of_adjusted(close, _column(days, "adj_close"))
    elif {"dividend", "split"} & set(days.columns):
        growth, split = _growth_by_actions(close, _column(days, "dividend"), _column(days, "split"))
        level, volume = close * growth, volume / split
    else:
        level = close
    known = np.isfinite(level)
    with np.errstate(invalid="ignore"):
        factor = level / close  # NaN where only an adjusted close is stated
    out = {name: _column(days, name) * factor for name in ("open", "high", "low")}
    out["open"] = np.where(np.isfinite(out["open"]), out["open"], level)
    out["high"] = np.where(np.isfinite(out["high"]), out["high"], np.maximum(out["open"], level))
    out["low"] = np.where(np.isfinite(out["low"]), out["low"], np.minimum(out["open"], level))
    out |= {"close": level, "volume": volume}
    return pd.DataFrame({name: out[name][known] for name in (*PRICES, "volume")}, index=days.index[known])


def _column(days: pd.DataFrame, name: str) -> np.ndarray:
    if name in days.columns:
        return days[name].to_numpy(dtype=float)
    return np.full(len(days), np.nan)


def _level_of_adjusted(close: np.ndarray, adjusted: np.ndarray) -> np.ndarray:
    """``adjusted`` times a constant fixed at its first value by past knowledge, its gaps bridged by ``close``."""
    has_close, has_adjusted = np.isfinite(close), np.isfinite(adjusted)
    if not has_adjusted.any():
        return close
    first = int(has_adjusted.argmax())
    before = np.nonzero(has_close[:first])[0]
    if has_close[first]:
        scale = close[first] / adjusted[first]
    elif len(before):
        scale = close[before[-1]] / adjusted[first]  # nothing tells what happened in between: no return
    else:
        scale = 1.0
    level = adjusted * scale
    level[:first] = close[:first]
    both = has_close & has_adjusted
    last_both = np.maximum.accumulate(np.where(both, np.arange(len(close)), -1))
    alone = has_close & ~has_adjusted & (np.arange(len(close)) > first) & (last_both >= 0)
    at = last_both[alone]
    level[alone] = close[alone] * (level[at] / close[at])
    return level


def _growth_by_actions(close: np.ndarray, dividend: np.ndarray, split: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares held by day of one who began with one share and re-invested dividends; and the same by splits alone.

    An action on a day without a close takes effect at the next close.
    """
    ratio = np.where(np.isfinite(split) & (split > 0), split, 1.0)
    paid = np.where(np.isfinite(dividend) & (dividend > 0), dividend, 0.0)
    usable = np.nonzero(np.isfinite(close))[0]
    held = {}  # row of the close at which actions take effect -> shares and cash of one share held before
    for at in np.nonzero((ratio != 1.0) | (paid != 0.0))[0]:
        if len(usable) and usable[0] < at <= usable[-1]:
            row = usable[np.searchsorted(usable, at)]
            shares, cash = held.get(row, (1.0, 0.0))
            held[row] = (shares * ratio[at], cash + shares * paid[at])
    step, split_step = np.ones(len(close)), np.ones(len(close))
    for row, (shares, cash) in held.items():
        step[row], split_step[row] = shares + cash / close[row], shares
    return np.cumprod(step), np.cumprod(split_step)
