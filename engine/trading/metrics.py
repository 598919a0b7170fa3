"""The figures by which a run is judged, from empyrical wherever it has them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import empyrical as ep
import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR
from clusterfolio.feeds.writing import finite
from clusterfolio.strategies.sharpe import sharpe_ratio

if TYPE_CHECKING:
    from clusterfolio.engine.trading.backtest import BacktestResult


def compute_metrics(result: BacktestResult, cash: pd.Series | float, benchmark_closes: pd.Series) -> dict:
    """What ``metrics.json`` holds: ``strategy``, ``benchmark`` and the ``period`` both are measured over.

    Args:
        cash: what idle money earns: simple return per session (a series that covers ``result.returns``), or one
            annual rate.
        benchmark_closes: the benchmark's close at every session of the panel, also before the first decision;
            NaN where it is not known. Only the benchmark's ``by_year`` is taken from it.

    Returns:
        Plain floats and strings; None where a figure is not defined (a ratio over no volatility, say). Returns are
        fractions (0.05 = 5 %), ``by_year`` maps ``"2025"`` to the return of that calendar year's sessions.
    """
    returns = result.returns
    per_session = cash_per_session(cash, returns.index)
    value = result.positions.sum(axis=1).reindex(returns.index)
    strategy = performance(returns["strategy"], per_session)
    strategy |= {
        "turnover": annual_turnover(result.transactions, value),
        "costs": trading_costs(result.costs, value),
        "interest": interest_earned(result.interest, value),
        "by_year": returns_by_year(returns["strategy"]),
    }
    benchmark = performance(returns["benchmark"], per_session)
    benchmark["by_year"] = returns_by_year(benchmark_closes.dropna().pct_change(fill_method=None).iloc[1:])
    period = {
        "first_session": returns.index[0].date().isoformat(),
        "last_session": returns.index[-1].date().isoformat(),
        "sessions": len(returns),
        "cash_return": ep.cum_returns_final(per_session),
    }
    return finite({"strategy": strategy, "benchmark": benchmark, "period": period})


def cash_per_session(cash: pd.Series | float, sessions: pd.DatetimeIndex) -> pd.Series:
    """Simple return of cash per session; a number is taken as an annual rate.

    >>> days = pd.DatetimeIndex(["2025-01-02", "2025-01-03"])
    >>> round(float((1 + cash_per_session(0.05, days).iloc[0]) ** 252), 9)
    1.05
    """
    if not isinstance(cash, pd.Series):
        return pd.Series((1 + cash) ** (1 / SESSIONS_PER_YEAR) - 1, sessions)
    missing = sessions.difference(cash.dropna().index)
    if len(missing):
        raise ValueError(f"cash: no rate on {len(missing)} of {len(sessions)} sessions, first {missing[0].date()}")
    return cash.reindex(sessions)


def performance(returns: pd.Series, cash: pd.Series) -> dict:
    """Figures that need nothing but daily returns.

    Args:
        returns: simple returns per session, finite.
        cash: simple return of cash at the same sessions.

    Returns:
        NaN for ratios of risk where an account does not move, or moves with cash alone.
    """
    sharpe = sharpe_ratio(returns, cash)
    sortino = ep.sortino_ratio(returns, required_return=cash, annualization=SESSIONS_PER_YEAR)
    return {
        "total_return": ep.cum_returns_final(returns),
        "cagr": ep.cagr(returns, annualization=SESSIONS_PER_YEAR),
        "volatility": ep.annual_volatility(returns, annualization=SESSIONS_PER_YEAR),
        "sharpe": sharpe,
        "sortino": sortino if math.isfinite(sharpe) else math.nan,
        "max_drawdown": ep.max_drawdown(returns),
        "max_drawdown_days": drawdown_length(returns),
        "calmar": ep.calmar_ratio(returns, annualization=SESSIONS_PER_YEAR),
    }


def drawdown_length(returns: pd.Series) -> int:
    """Sessions from the peak before the deepest drawdown to its recovery, or to the last session; 0 without one.

    >>> drawdown_length(pd.Series([0.1, -0.5, 0.2, 1.0, 0.0]))
    3
    """
    wealth = ep.cum_returns(returns, starting_value=1.0).to_numpy()
    peaks = np.maximum.accumulate(np.maximum(wealth, 1.0))  # the account before the first session is a peak too
    if (wealth == peaks).all():
        return 0
    trough = int((wealth / peaks).argmin())
    at_peak = np.flatnonzero(wealth == peaks)
    start = at_peak[at_peak < trough]
    recovery = at_peak[at_peak > trough]
    return int((recovery[0] if len(recovery) else len(wealth) - 1) - (start[-1] if len(start) else -1))


def annual_turnover(transactions: pd.DataFrame, value: pd.Series) -> float:
    """One-way turnover per year: half of what was bought and sold, over the mean account value.

    Args:
        transactions: with a column ``value``, signed or not.
        value: account value at each session.
    """
    return float(transactions["value"].abs().sum()) / 2 / float(value.mean()) * SESSIONS_PER_YEAR / len(value)


def trading_costs(costs: pd.DataFrame, value: pd.Series) -> dict:
    """Money paid, ``total`` and by kind in the account's currency, and in basis points of the account per year.

    Args:
        costs: by session and kind.
        value: account value at each session.
    """
    kinds = {str(kind): float(paid) for kind, paid in costs.sum().items()}
    total = sum(kinds.values())
    per_year = total / float(value.mean()) * SESSIONS_PER_YEAR / len(value)
    return {"total": total, **kinds, "bps_per_year": per_year * 1e4}


def interest_earned(interest: pd.Series, value: pd.Series) -> dict:
    """What cash earned: ``total`` in the account's currency, and in basis points of the account per year.

    Args:
        interest: money by session; negative where cash was borrowed.
        value: account value at each session.
    """
    total = float(interest.sum())
    return {"total": total, "bps_per_year": total / float(value.mean()) * SESSIONS_PER_YEAR / len(value) * 1e4}


def returns_by_year(returns: pd.Series) -> dict[str, float]:
    """Compound return of each calendar year's sessions, keyed by the year as text."""
    return {str(year): value for year, value in ep.aggregate_returns(returns, "yearly").items()}
