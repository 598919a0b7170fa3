"""What volatility to expect, and the exposure that brings it to a target: pure functions of past returns."""

from __future__ import annotations

import math

import numpy as np

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR

#: Half-life, in sessions, of the account's realised volatility that the feedback looks at.
REALISED_HALF_LIFE = 126

#: Sessions of account before the feedback looks at it.
FEWEST_VALUES = 21

#: Sessions that an estimate looks back over, and fewest from which GARCH is fitted.
EWMA_SESSIONS, GARCH_SESSIONS, FEWEST_FOR_GARCH = SESSIONS_PER_YEAR, 1000, 250

#: Sessions ahead over which GARCH's forecast is averaged.
AHEAD = 5


def ewma(returns: np.ndarray, half_life: float) -> float:
    """Annual volatility: the root of the exponentially weighted mean square, newest return last; NaN without any.

    >>> round(ewma(np.array([0.02, 0.01, 0.01]), 1.0) / 252**0.5, 6)  # weights 1/7, 2/7, 4/7
    0.011952
    """
    if not len(returns):
        return math.nan
    weights = 0.5 ** (np.arange(len(returns))[::-1] / half_life)
    return float(np.sqrt(weights @ np.square(returns) / weights.sum() * SESSIONS_PER_YEAR))


def garch(returns: np.ndarray) -> float:
    """Annual volatility that a GARCH(1,1) with mean 0 expects of the next sessions (Bollerslev 1986, by arch).

    NaN where there are fewer than ``FEWEST_FOR_GARCH`` returns or the fit does not converge.
    """
    from arch import arch_model

    if len(returns) < FEWEST_FOR_GARCH or not returns.std() > 0:
        return math.nan
    scale = 1.0 / returns.std()
    model = arch_model(returns * scale, mean="Zero", vol="GARCH", p=1, q=1, rescale=False)
    fitted = model.fit(disp="off", show_warning=False)
    variance = fitted.forecast(horizon=AHEAD, reindex=False).variance.to_numpy().mean()
    good = fitted.convergence_flag == 0 and 0 < variance < math.inf
    return float(np.sqrt(variance * SESSIONS_PER_YEAR) / scale) if good else math.nan


def forecast(returns: np.ndarray, how: str, half_life: float, slow_half_life: float = 0.0) -> tuple[float, str]:
    """Annual volatility to expect, and by what: "EWMA", "GARCH", or that GARCH fell back.

    Args:
        slow_half_life: of a second EWMA, of which the larger counts; 0 = none.

    >>> returns = np.repeat([0.02, 0.001], 100)
    >>> forecast(returns, "ewma", 5, 100)[0] == ewma(returns, 100) > ewma(returns, 5)
    True
    """
    recent = returns[-EWMA_SESSIONS:]
    expected = ewma(recent, half_life)
    if slow_half_life:
        expected = max(expected, ewma(recent, slow_half_life))
    if how == "garch":
        found = garch(returns[-GARCH_SESSIONS:])
        return (found, "GARCH") if found == found else (expected, "EWMA, as GARCH has no answer")
    return expected, "EWMA"


def correction(before: float, realised: float, target: float, gain: float, persistence: float) -> float:
    """The feedback's log correction of the exposure: ``(1 - theta) clip(-g e, -1, 1) + theta k``.

    ``e = log(realised / target)``: an account that ran wilder than its target is held smaller (arXiv 2603.01298).

    >>> round(correction(0.0, 0.12, 0.10, 2.0, 0.5), 4), correction(0.2, 0.10, 0.10, 2.0, 0.5)
    (-0.1823, 0.1)
    """
    if not (realised > 0 and gain > 0):
        return before
    wanted = min(max(-gain * math.log(realised / target), -1.0), 1.0)
    return (1.0 - persistence) * wanted + persistence * before


def exposure(log_correction: float, target: float, expected: float, largest: float) -> float:
    """``min(exp(k) target / expected, largest)``; the largest where nothing is expected.

    >>> exposure(0.0, 0.10, 0.20, 1.0), exposure(0.0, 0.10, 0.05, 1.0)
    (0.5, 1.0)
    """
    return min(math.exp(log_correction) * target / expected, largest) if expected > 0 else largest


def realised(values: np.ndarray) -> float:
    """Annual volatility of an account from its values by session; NaN while there are too few."""
    if len(values) < FEWEST_VALUES:
        return math.nan
    return ewma(values[1:] / values[:-1] - 1.0, REALISED_HALF_LIFE)
