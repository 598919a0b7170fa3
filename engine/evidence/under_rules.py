"""A run under rules beside the same decisions without them, at the one constant exposure that has its volatility.

Whoever holds less falls less. What rules are worth shows only beside an account that held less all the time.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from clusterfolio.engine.evidence.records import trade
from clusterfolio.engine.evidence.resampling import sharpe_difference
from clusterfolio.engine.run_dir.finished import FinishedRun
from clusterfolio.feeds.panel import SESSIONS_PER_YEAR
from clusterfolio.strategies.sharpe import sharpe_ratio

#: Fewest sessions of which a comparison says anything.
FEWEST = 63


def beside_constant_exposure(run: FinishedRun, cash: pd.Series) -> dict | None:
    """Volatility, Sharpe ratio and drawdown of the run and of a constant exposure of equal volatility, net of costs.

    None where no guard looks at the account, or too little is known.

    Returns:
        ``exposure``; ``run``, ``constant`` and ``without`` (no rules, all invested): each ``volatility``, ``sharpe``
        and ``max_drawdown``; ``sharpe_difference`` of run less constant with ``low`` and ``high`` (95 %).
    """
    if not run.tables.run.get("guard_every") or not any(len(decision.weights) for decision in run.decisions):
        return None
    own = run.tables.returns["strategy"]
    free = without_rules(run).reindex(own.index)
    if len(own) < FEWEST or free.isna().any() or not (own.std() > 0 and free.std() > 0):
        return None
    return against_constant(own, free, cash, run.config.trading.financing_spread)


def against_constant(own: pd.Series, free: pd.Series, cash: pd.Series, financing_spread: float = 0.0) -> dict:
    """The same for any daily returns: ``own`` under rules, ``free`` without, ``cash`` beside them; one index.

    Args:
        financing_spread: what a constant exposure above 1 pays a year beyond the cash rate on what it borrows.
    """
    exposure = float((own - cash).std() / (free - cash).std())
    borrowed = max(exposure - 1.0, 0.0)
    constant = cash + exposure * (free - cash) - borrowed * financing_spread / SESSIONS_PER_YEAR
    apart = sharpe_difference(own - cash, constant - cash)
    return {
        "exposure": exposure,
        "run": _figures(own, cash),
        "constant": _figures(constant, cash),
        "without": _figures(free, cash),
        "sharpe_difference": apart.difference,
        "low": apart.low,
        "high": apart.high,
    }


def without_rules(run: FinishedRun) -> pd.Series:
    """Daily return, net of costs, of the run's decisions as they were made, no guard looking."""
    found = trade(run, {decision.asof: decision.weights for decision in run.decisions}, run.config.trading, None)
    return pd.Series(found.net[0], found.sessions)


def delevered(found: dict) -> tuple[str, str]:
    """The comparison in words: whether the rules did more than hold less."""
    own, constant = found["run"], found["constant"]
    if found["low"] > 0:
        judged = "The rules did more than hold less."
    elif found["high"] < 0:
        judged = "The rules did worse than simply holding less."
    else:
        judged = "The rules only de-levered, as far as this record can tell."
    said = (
        f"Under its rules the account had a volatility of {own['volatility']:.1%} a year, a drawdown of "
        f"{own['max_drawdown']:.1%} and a Sharpe ratio of {own['sharpe']:.2f}. The same decisions without rules at a "
        f"constant exposure of {found['exposure']:.0%}, which has that volatility: {constant['max_drawdown']:.1%} and "
        f"{constant['sharpe']:.2f} (difference {found['sharpe_difference']:+.2f}, 95 % interval {found['low']:+.2f} to "
        f"{found['high']:+.2f}). {judged}"
    )
    return "Rules beside constant exposure", said.replace("%", " %").replace("  %", " %")


def _figures(returns: pd.Series, cash: pd.Series) -> dict[str, float]:
    wealth = (1.0 + returns).cumprod()
    return {
        "volatility": float(returns.std() * np.sqrt(SESSIONS_PER_YEAR)),
        "sharpe": float(sharpe_ratio(returns, cash)),
        "max_drawdown": float((wealth / wealth.cummax().clip(lower=1.0) - 1.0).min()),
    }
