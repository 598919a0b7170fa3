"""Rival forecasts of volatility, how forecasts are judged, and how two of them are told apart.

Variances are means of squared daily log returns. Every forecast is brought to one scale by a pooled regression on what
was known before its year, so that none wins or loses by a bias.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Decay of RiskMetrics (1996); days that a GARCH is fitted on, and the fewest.
DECAY, FITTED, FEWEST = 0.94, 1000, 500


@dataclass(frozen=True)
class Difference:
    """A mean difference of losses with the statistic of Diebold and Mariano (1995) and its two-sided p."""

    mean: float
    statistic: float
    p: float


def diebold_mariano(difference: np.ndarray, lags: int) -> Difference:
    """Of a series of differences of losses, one a date (for a panel their mean over assets), by Newey and West (1987).

    Args:
        difference: of loss less the rival's, ``(n_dates,)``; below 0 = better than the rival.
        lags: dates that forecasts overlap.

    >>> diebold_mariano(np.array([0.1, -0.1, 0.1, -0.1]), 0).statistic
    0.0
    """
    mean = float(difference.mean())
    variance = long_run_variance(difference - mean, lags) / len(difference)
    statistic = mean / math.sqrt(variance) if variance > 0 else math.nan
    return Difference(mean, statistic, math.erfc(abs(statistic) / math.sqrt(2)))


def long_run_variance(centred: np.ndarray, lags: int) -> float:
    """Newey and West's, of a series of mean 0, Bartlett weights."""
    products = [float(centred[lag:] @ centred[: len(centred) - lag]) for lag in range(lags + 1)]
    return (products[0] + 2 * sum((1 - lag / (lags + 1)) * products[lag] for lag in range(1, lags + 1))) / len(centred)


def encompassing(
    truth: np.ndarray, rival: np.ndarray, forecast: np.ndarray, keep: np.ndarray, lags: int
) -> tuple[float, float]:
    """The share that a forecast gets beside its rival, and its t: above 2 = it says what the rival does not.

    Harvey, Leybourne and Newbold (1998): of ``truth = rival + share * (forecast - rival)``, pooled over assets, the
    error by date.

    Args:
        truth, rival, forecast: ``(n_dates, n_assets)``; keep: which are looked at.
    """
    left, apart = (np.where(keep, one, 0.0) for one in (truth - rival, forecast - rival))
    size = float(np.square(apart).sum())
    if not size:
        return math.nan, math.nan
    share = float((left * apart).sum()) / size
    moments = ((left - share * apart) * apart).sum(axis=1)
    return share, share / (math.sqrt(long_run_variance(moments, lags) * len(moments)) / size)


def qlike(variance: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Patton's (2011) loss that no noise in the measured variance misleads; 0 = hit.

    >>> float(qlike(np.array([2.0]), np.array([2.0]))[0])
    0.0
    """
    ratio = variance / forecast
    return ratio - np.log(ratio) - 1


def pooled(x: np.ndarray, y: np.ndarray, penalty: float = 0.0) -> Callable[[np.ndarray], np.ndarray]:
    """Ridge regression on standardised columns, the intercept free; a function that predicts.

    Args:
        x: ``(n, n_columns)``; y: ``(n,)``.
        penalty: in multiples of the number of rows.
    """
    middle, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    z = (x - middle) / scale
    slope = np.linalg.solve(z.T @ z + (penalty + 1e-9) * len(z) * np.eye(z.shape[1]), z.T @ (y - y.mean()))
    return lambda new: y.mean() + (new - middle) / scale @ slope


def ewma(returns: np.ndarray) -> np.ndarray:
    """RiskMetrics' variance at each day's close, ``(n_days, n_assets)``; a day without a return changes nothing."""
    found, now = np.full(returns.shape, np.nan), np.full(returns.shape[1], np.nan)
    for day, today in enumerate(returns**2):
        moved = DECAY * now + (1 - DECAY) * today
        now = np.where(np.isnan(today), now, np.where(np.isnan(now), today, moved))
        found[day] = now
    return found


def garch(returns: np.ndarray, last: int, until: int, ahead: int) -> np.ndarray:
    """GARCH(1,1): mean variance of the next ``ahead`` days at the closes of rows ``last`` to ``until``.

    Fitted by the library arch on the days before ``last``, and followed on with the same parameters.

    Args:
        returns: one asset's, ``(n_days,)``; NaN = not known.

    Returns:
        ``(until - last,)``; NaN throughout where there are too few days or it is not stationary.
    """
    from arch import arch_model  # an extra of the project's

    nothing = np.full(until - last, np.nan)
    known = returns[max(0, last - FITTED) : last]
    known = known[np.isfinite(known)]
    if len(known) < FEWEST or known.std() == 0:
        return nothing
    scale = 1 / known.std()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence: what does not converge is left out below
        fit = arch_model(known * scale, mean="Constant", rescale=False).fit(disp="off", show_warning=False)
    mean, omega, alpha, beta = fit.params
    if fit.convergence_flag or not alpha + beta < 1:
        return nothing
    now, kept, level = fit.conditional_volatility[-1] ** 2, alpha + beta, omega / (1 - alpha - beta)
    now = omega + alpha * (known[-1] * scale - mean) ** 2 + beta * now  # of the first day to come
    share = (1 - kept**ahead) / (ahead * (1 - kept))
    found = nothing.copy()
    for at, today in enumerate(returns[last:until] * scale):
        if np.isfinite(today):
            now = omega + alpha * (today - mean) ** 2 + beta * now
        found[at] = (level + (now - level) * share) / scale**2
    return found


def auc(score: np.ndarray, happened: np.ndarray) -> float:
    """Share of pairs of a case and a non-case in which the case has the higher score; ties count half.

    >>> auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, True, False, True]))
    0.875
    """
    from scipy.stats import rankdata

    cases, ranks = happened.sum(), rankdata(score)
    return float((ranks[happened].sum() - cases * (cases + 1) / 2) / (cases * (len(score) - cases)))


def crps(ensemble: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of each row of an ensemble ``(n, k)`` against ``(n,)``; lower is better.

    >>> float(crps(np.array([[1.0, 3.0]]), np.array([2.0]))[0])  # 1 - 2 / 4
    0.5
    """
    apart = np.abs(ensemble[:, :, None] - ensemble[:, None, :]).mean(axis=(1, 2))
    return np.abs(ensemble - truth[:, None]).mean(axis=1) - apart / 2
