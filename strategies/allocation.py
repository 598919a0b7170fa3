"""From the names picked to their weights: pure functions ``allocate(returns, selected) -> weights``."""

from __future__ import annotations

import pandas as pd

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR


def equal_weight(returns: pd.DataFrame, selected: list[str]) -> pd.Series:
    """The same weight for every name; an empty selection gives an empty series (all cash).

    Args:
        returns: simple daily returns up to now, ``(n_sessions, n_assets)``; not used here.
        selected: the names to hold.

    >>> equal_weight(pd.DataFrame(), ["SPY", "TLT"]).to_dict()
    {'SPY': 0.5, 'TLT': 0.5}
    """
    return pd.Series(1.0 / len(selected) if selected else 0.0, index=list(selected), dtype=float)


def inverse_volatility(returns: pd.DataFrame, selected: list[str], span: int = SESSIONS_PER_YEAR) -> pd.Series:
    """Weights proportional to 1 / volatility over the last ``span`` sessions, summing to 1.

    A name whose volatility is not known (listed yesterday), or is 0, counts as the one in the middle.

    >>> r = pd.DataFrame({"CALM": [0.01, -0.01, 0.01], "WILD": [0.02, -0.02, 0.02]})
    >>> inverse_volatility(r, ["CALM", "WILD"]).round(3).to_dict()
    {'CALM': 0.667, 'WILD': 0.333}
    """
    if not selected:
        return equal_weight(returns, selected)
    volatility = returns[selected].iloc[-span:].std()
    inverse = 1.0 / volatility.where(volatility > 0)
    inverse = inverse.fillna(inverse.median())
    return inverse / inverse.sum() if inverse.notna().all() else equal_weight(returns, selected)


ALLOCATORS = {"equal": equal_weight, "inverse_volatility": inverse_volatility}
