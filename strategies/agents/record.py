"""What an account has done so far, as an agent's reward sees it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clusterfolio.strategies.agents.rewards import Moments
from clusterfolio.strategies.agents.terms import Terms


def moments_of(
    values: pd.Series,
    sessions: pd.DatetimeIndex,
    cash: pd.Series | None,
    terms: Terms,
    start: Moments,
    adaptation: float,
) -> Moments:
    """The moments of the reward now, of one account, ``(1,)`` each.

    Args:
        values: of the account, as far as known, by session, the last one now (``PortfolioState.values``). Where a guard
            had it noted between decisions, those nearest to a decision's distance from one another count.
        cash: simple return of cash per session; None = 0.
        start: where the moments begin.
    """
    chosen = _spaced(sessions.get_indexer(values.index), terms.sessions)
    known = values.iloc[chosen].to_numpy(dtype=float)
    days = values.index[chosen]
    moments = Moments(np.full(1, float(start.a)), np.full(1, float(start.b)))
    paid = pd.Series(0.0, sessions) if cash is None or not terms.interest else cash.reindex(sessions).fillna(0.0)
    for place in range(1, len(known)):
        span = paid[(sessions > days[place - 1]) & (sessions <= days[place])]
        earned = known[place] / known[place - 1] - float((1.0 + span).prod())
        moments = moments.after(np.full(1, earned), adaptation)
    return moments


def _spaced(places: np.ndarray, apart: int) -> list[int]:
    """Positions in ``places``, which increase, that lie about ``apart`` from one another, counted back from the last.

    >>> _spaced(np.array([0, 20, 41, 46, 51, 56, 61]), 21)
    [0, 1, 2, 6]
    """
    chosen = [len(places) - 1] if len(places) else []
    while chosen and chosen[-1] > 0:
        earlier = places[: chosen[-1]]
        chosen.append(int(np.abs(earlier - (places[chosen[-1]] - apart)).argmin()))
    return chosen[::-1]


def sessions_since(sessions: pd.DatetimeIndex, days: Sequence[pd.Timestamp | None], now: pd.Timestamp) -> np.ndarray:
    """Sessions from each day to now; 0 for None."""
    at = sessions.searchsorted(now, side="right")
    return np.array([0.0 if day is None else float(at - sessions.searchsorted(day, side="right")) for day in days])
