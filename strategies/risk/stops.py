"""When a name is left: pure functions of its own prices since it was bought."""

from __future__ import annotations

import numpy as np

from clusterfolio.strategies.policy import Resting
from clusterfolio.strategies.risk.config import RiskConfig


def percent(share: float) -> str:
    """A share of 1 in words.

    >>> percent(0.083)
    '8.3 %'
    """
    return f"{100 * share:.1f} %"


def true_range(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> np.ndarray:
    """Wilder's true range (1978) by bar, ``(n_bars - 1,)``: each bar's span, the close before it included.

    >>> true_range(np.array([11.0, 12.0]), np.array([9.0, 11.5]), np.array([10.0, 11.8]))
    array([2.])
    """
    return np.maximum(high[1:], close[:-1]) - np.minimum(low[1:], close[:-1])


def fired(close: float, high: float, entry: float, average_range: float, config: RiskConfig) -> str:
    """Why a name is to be left at its close, in a line; "" = it stays. The first rule that fires is named.

    Args:
        high: its highest close since it was bought, or the price it was bought at where that is higher.
        entry: the price it was bought at.
        average_range: its average true range; NaN = not known.

    >>> fired(107.0, 120.0, 100.0, 4.0, RiskConfig(atr_stop=3.0))
    'ATR stop, 3.2 > 3.0 ranges under its high'
    """
    loss, fall, gain = 1.0 - close / entry, 1.0 - close / high, close / entry - 1.0
    if 0 < config.stop <= loss:
        return f"stop, {percent(loss)} > {percent(config.stop)} under its entry"
    if 0 < config.trailing_stop <= fall:
        return f"trailing stop, {percent(fall)} > {percent(config.trailing_stop)} under its high"
    if config.atr_stop and average_range > 0 and (high - close) / average_range >= config.atr_stop:
        return f"ATR stop, {(high - close) / average_range:.1f} > {config.atr_stop:.1f} ranges under its high"
    if 0 < config.take_profit <= gain:
        return f"take-profit, {percent(gain)} > {percent(config.take_profit)} above its entry"
    return ""


def stopped(closes: np.ndarray, entry: float, average_range: float, config: RiskConfig) -> str:
    """The same from a name's closes, from the day it was bought on, the newest last, ``(n_sessions,)``.

    >>> stopped(np.array([100.0, 91.0]), 100.0, np.nan, RiskConfig(stop=0.08))
    'stop, 9.0 % > 8.0 % under its entry'
    """
    return fired(float(closes[-1]), max(float(np.max(closes)), entry), entry, average_range, config)


def resting(close: float, high: float, entry: float, average_range: float, config: RiskConfig) -> Resting:
    """The orders that carry out the same rules during the next session; of several stops the nearest.

    Args:
        close, high, entry, average_range: as of ``fired``.

    >>> resting(120.0, 125.0, 100.0, np.nan, RiskConfig(stop=0.1, trailing_stop=0.1)).stop
    0.9375
    """
    stops = {}
    if config.stop:
        stops[entry * (1.0 - config.stop)] = f"stop order, {percent(config.stop)} under its entry"
    if config.trailing_stop:
        of_high = f"trailing stop order, {percent(config.trailing_stop)} under its high"
        stops[high * (1.0 - config.trailing_stop)] = of_high
    if config.atr_stop and average_range > 0:
        stops[high - config.atr_stop * average_range] = f"ATR stop order, {config.atr_stop:.1f} ranges under its high"
    stop = max((price for price in stops if price > 0), default=np.nan)
    found = Resting(stop / close, stop_reason=stops.get(stop, ""))
    if not config.take_profit:
        return found
    reason = f"take-profit order, {percent(config.take_profit)} above its entry"
    return found._replace(limit=entry * (1.0 + config.take_profit) / close, limit_reason=reason)
