"""How a made-up vendor states an asset whose total return is given: bars, dividends, splits, volume, and flaws."""

from __future__ import annotations

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR

WEEKDAYS_PER_YEAR = 261

FLAWS = ("spike", "zero_price", "duplicate_row", "high_below_low", "stale_run", "missing_bars", "unsorted")


def make_bars(
    log_level: pd.Series,
    volatility: float,
    rng: np.random.Generator,
    annual_yield: float = 0.0,
    payments: int = 0,
    may_split: bool = False,
    reports_volume: bool = True,
) -> pd.DataFrame:
    """Unadjusted bars of one asset whose total return index is ``exp(log_level)``.

    Args:
        log_level: by session, shape ``(n_bars,)``.
        volatility: annual; sets the ranges of the bars.
        annual_yield, payments: typical dividend as a share of the price, and payments a year; three in ten pay none.
        may_split: one in ten splits once.
        reports_volume: else there are neither volume nor actions.

    Returns:
        Columns open, high, low, close, and with volume also volume, dividend and split.
    """
    n_bars = len(log_level)
    log_return = np.diff(log_level.to_numpy(), prepend=log_level.iloc[0])
    paid = np.zeros(n_bars)
    if payments and rng.random() < 0.7:
        every = SESSIONS_PER_YEAR // payments
        paid[rng.integers(1, every) :: every] = annual_yield * rng.uniform(0.5, 1.5) / payments
    splits = np.zeros(n_bars)
    if may_split and rng.random() < 0.1 and n_bars > 1:
        day = rng.integers(1, n_bars)
        splits[day], paid[day] = rng.choice([2.0, 3.0, 10.0, 0.1]), 0.0
    ratio = np.where(splits > 0, splits, 1.0)
    log_close = log_level.iloc[0] + np.cumsum(np.log(np.exp(log_return) - paid) - np.log(ratio))
    log_before = np.concatenate([log_close[:1], log_close[:-1]]) - np.log(ratio)  # in today's shares

    daily = volatility / np.sqrt(WEEKDAYS_PER_YEAR)
    log_open = log_before + 0.3 * (log_close - log_before) + 0.3 * daily * rng.standard_normal(n_bars)
    beyond = 0.4 * daily * np.abs(rng.standard_normal((2, n_bars)))
    close, open_ = np.exp(log_close), np.exp(log_open)
    frame = pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(close, open_) * np.exp(beyond[0]),
            "low": np.minimum(close, open_) * np.exp(-beyond[1]),
            "close": close,
        },
        index=log_level.index.rename("date"),
    )
    if reports_volume:
        frame["volume"] = _volume(log_return / daily, rng) * np.cumprod(ratio)
        frame["dividend"] = paid * np.exp(log_before)
        frame["split"] = splits
    return frame


def _volume(standardised: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shares traded: persistent from day to day, higher on days of large returns."""
    log_volume, noise = np.empty(len(standardised)), rng.normal(0, 0.25, len(standardised))
    state = 0.0
    for day, shock in enumerate(noise):
        state = 0.8 * state + shock
        log_volume[day] = state
    return np.round(np.exp(rng.normal(13, 1.5) + log_volume + 0.3 * np.minimum(np.abs(standardised), 6)))


def with_flaw(frame: pd.DataFrame, flaw: str, rng: np.random.Generator) -> pd.DataFrame:
    """``frame`` with one bad bar or run of bars in its middle third, or as it is where ``flaw`` is empty."""
    if not flaw:
        return frame
    frame = frame.copy()
    n_bars, prices = len(frame), ["open", "high", "low", "close"]
    at = int(rng.integers(n_bars // 3, 2 * n_bars // 3))
    if flaw == "spike":
        frame.iloc[at, [1, 3]] *= 10  # high and close
    elif flaw == "zero_price":
        frame.iloc[at, :4] = 0.0
    elif flaw == "high_below_low":
        frame.iloc[at, [1, 2]] = frame.iloc[at, [2, 1]].to_numpy()
    elif flaw == "duplicate_row":
        return frame.iloc[np.insert(np.arange(n_bars), at, at)]
    elif flaw == "stale_run":
        frame.iloc[at : at + 15, :4] = frame["close"].iloc[at - 1]
    elif flaw == "missing_bars":
        return frame.drop(frame.index[at : at + 7])
    elif flaw == "unsorted":
        order = np.arange(n_bars)
        order[[at, at + 1]] = order[[at + 1, at]]
        return frame.iloc[order]
    return frame.astype({name: float for name in prices})
