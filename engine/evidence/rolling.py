"""A strategy's figures over a window that moves with time: what a year's mean hides."""

from __future__ import annotations

import empyrical as ep
import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR

#: Sessions of a window (half a year), and of those on whose returns losses are judged (a year).
WINDOW, LOSS_WINDOW = SESSIONS_PER_YEAR // 2, SESSIONS_PER_YEAR

#: A loss that one session in twenty exceeds.
LEVEL = 0.05


def rolling_figures(returns: pd.DataFrame, cash: pd.Series) -> pd.DataFrame:
    """By session: ``sharpe``, ``volatility`` (both a year) and ``beta`` over ``WINDOW`` sessions; and over
    ``LOSS_WINDOW`` of them historical value at risk ``var`` and expected shortfall ``cvar`` of one session at 95 %,
    losses above 0. NaN until a window is full.

    Args:
        returns: columns ``strategy`` and ``benchmark``, simple daily returns.
        cash: return of cash per session.
    """
    excess = returns["strategy"] - cash
    market = returns["benchmark"] - cash
    window = excess.rolling(WINDOW)
    deviation = window.std()
    year = np.sqrt(SESSIONS_PER_YEAR)
    losses = returns["strategy"].rolling(LOSS_WINDOW)
    return pd.DataFrame(
        {
            "sharpe": window.mean() / deviation.where(deviation > 0) * year,
            "volatility": returns["strategy"].rolling(WINDOW).std() * year,
            "beta": window.cov(market) / market.rolling(WINDOW).var(),
            "var": -losses.quantile(LEVEL),
            "cvar": -losses.apply(ep.conditional_value_at_risk, raw=True, args=(LEVEL,)),
        }
    )


def rolling_betas(excess: pd.Series, factors: pd.DataFrame, step: int = 21) -> pd.DataFrame:
    """Coefficients of the least-squares regression on ``factors`` over ``WINDOW`` sessions, every ``step`` sessions.

    Args:
        excess: daily return of the strategy less cash.
        factors: daily returns, a column each, at the same sessions.
    """
    rows, days = [], []
    x = np.column_stack([np.ones(len(factors)), factors.to_numpy(dtype=float)])
    y = excess.to_numpy(dtype=float)
    for end in range(len(y), WINDOW - 1, -step):
        span = slice(end - WINDOW, end)
        rows.append(np.linalg.lstsq(x[span], y[span], rcond=None)[0][1:])
        days.append(factors.index[end - 1])
    found = pd.DataFrame(rows, pd.DatetimeIndex(days), list(factors.columns), dtype=float)
    return found.iloc[::-1].rename_axis("date")
