"""The Sharpe ratio, from one function wherever the program speaks of it: empyrical's, which pyfolio uses too."""

from __future__ import annotations

import bottleneck
import empyrical
import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR

#: Returns whose standard deviation is not above this do not move: it is what rounding leaves of a flat price.
STILL = 1e-12

#: Sessions that running sums serve before they begin anew; and the deviation, as a part of the largest return among
#: those they have seen, up to which what rounding left of that return could show.
SERVE, DIM = SESSIONS_PER_YEAR // 4, 0.01


def sharpe_ratios(
    returns: pd.DataFrame | np.ndarray, cash: pd.Series | np.ndarray | float = 0.0, per_year: float = SESSIONS_PER_YEAR
) -> pd.Series:
    """Sharpe ratio of each column in excess of cash: mean over standard deviation (n - 1), annualised.

    A column's ratio is that of ``sharpe_ratio``, to the last bit, whatever stands beside it.

    Args:
        returns: simple returns by session, shape ``(n_sessions, n_series)``; NaN counts as no session.
        cash: simple return of cash at the same sessions, or one number for all.
        per_year: sessions per year; 1 = the ratio per session.

    Returns:
        Shape ``(n_series,)``, indexed by the columns; NaN where a column has fewer than two returns or does not move.

    Raises:
        ValueError: ``cash`` is at other sessions.

    >>> flat = pd.DataFrame({"UP": [0.01, 0.02, 0.03], "FLAT": [0.0, 0.0, 0.0]})
    >>> sharpe_ratios(flat).round(2).to_dict()
    {'UP': 31.75, 'FLAT': nan}
    """
    table = pd.DataFrame(returns)
    if isinstance(cash, pd.Series) and isinstance(returns, pd.DataFrame) and not cash.index.equals(table.index):
        raise ValueError(f"cash: {len(cash)} sessions that are not the {len(table)} of returns")
    values = table.to_numpy(dtype=float)
    rate = np.asarray(cash, dtype=float)
    # Column by column in memory: summed in this order, a column's ratio does not depend on the others.
    excess = np.asfortranarray(values - (rate[:, None] if rate.ndim else rate))
    moving = np.isfinite(excess).sum(axis=0) >= 2
    for series in (table, pd.DataFrame(excess)):  # nor does what moves with cash alone
        moving &= series.std().to_numpy() > STILL
    ratios = np.full(values.shape[1], np.nan)
    if moving.any():
        ratios[moving] = empyrical.sharpe_ratio(np.asfortranarray(excess[:, moving]), annualization=per_year)
    return pd.Series(np.where(np.isfinite(ratios), ratios, np.nan), index=table.columns)


def sharpe_ratio(
    returns: pd.Series | np.ndarray, cash: pd.Series | np.ndarray | float = 0.0, per_year: float = SESSIONS_PER_YEAR
) -> float:
    """Sharpe ratio of one series in excess of cash; see ``sharpe_ratios``.

    >>> round(sharpe_ratio(np.array([0.01, 0.02, 0.03]), per_year=1), 6)
    2.0
    """
    table = returns.to_frame() if isinstance(returns, pd.Series) else np.asarray(returns, dtype=float)[:, None]
    return float(sharpe_ratios(table, cash, per_year).iloc[0])


def rolling_sharpe_ratios(
    returns: pd.DataFrame, cash: pd.Series | float = 0.0, window: int = SESSIONS_PER_YEAR
) -> pd.DataFrame:
    """``sharpe_ratios`` of the last ``window`` sessions at every session, ``(n_sessions, n_series)``; to rounding.

    Means and deviations come from running sums. Where such a sum holds a return many times the deviation, what is left
    of it is rounding, and the ratio is worked out from the window itself.

    >>> table = pd.DataFrame({"UP": [0.01, 0.02, 0.03, 0.05], "FLAT": [0.0] * 4})
    >>> rolling_sharpe_ratios(table, window=3).round(2).to_numpy().tolist()[2:]
    [[31.75, nan], [34.64, nan]]
    """
    rate = np.broadcast_to(np.asarray(cash, dtype=float), len(returns))
    raw = np.asfortranarray(returns.to_numpy(dtype=float))
    found = np.full(raw.shape, np.nan)
    for first in range(0, len(raw), SERVE):
        span = slice(max(0, first - window + 1), first + SERVE)
        found[first : first + SERVE] = _running(raw[span], rate[span], window)[first - span.start :]
    return pd.DataFrame(found, returns.index, returns.columns)


def _running(raw: np.ndarray, rate: np.ndarray, window: int) -> np.ndarray:
    """The ratios at each row of its window among these rows, ``(n_rows, n_series)``."""
    excess = raw - rate[:, None]
    of = {"window": min(window, len(raw)), "min_count": 1, "axis": 0}
    known = bottleneck.move_sum(np.isfinite(excess).astype(float), **of)
    deviation = bottleneck.move_std(excess, ddof=1, **of)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = bottleneck.move_mean(excess, **of) / deviation * np.sqrt(SESSIONS_PER_YEAR)
    flat = bottleneck.move_max(raw, **of) == bottleneck.move_min(raw, **of)
    ratios[flat | (known < 2)] = np.nan
    dim = np.zeros(raw.shape, dtype=bool)
    for values, spread in ((raw, bottleneck.move_std(raw, ddof=1, **of)), (excess, deviation)):
        dim |= ~(spread > DIM * bottleneck.nanmax(np.abs(np.nan_to_num(values)), axis=0))
    dim &= ~flat & (known >= 2)
    for row in np.flatnonzero(dim.any(axis=1)):
        span = slice(max(0, row - window + 1), row + 1)
        ratios[row, dim[row]] = sharpe_ratios(raw[span][:, dim[row]], rate[span]).to_numpy()
    return ratios
