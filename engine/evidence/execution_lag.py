"""What a run would have earned had its decisions been carried out earlier or later: its own decisions, traded again.

A session earlier cannot be had: the decision was made on that day's close. Where it pays much better, the decision
holds what that day did; where much is gone a session or two later, it holds what those days did. Both are what a
look-ahead leaves, and a good strategy that trades monthly shows neither. A diagnostic: no trial, and in no ledger.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clusterfolio.engine.evidence.records import trade
from clusterfolio.engine.run_dir.finished import FinishedRun
from clusterfolio.feeds.writing import finite
from clusterfolio.strategies.policy import Decision
from clusterfolio.strategies.sharpe import sharpe_ratio

#: Sessions after the run's own fills, 0 = those.
LAGS = (-1, 0, 1, 2, 3, 5, 10)

#: Lags whose mean return is held against that of a session later, and how many standard errors more are an alarm:
#: chance alone brings one to about one run in two hundred.
LOOKED_AT, ALARM = (-1, 0, 1, 2), 3.0


def by_lag(run: FinishedRun, cash: pd.Series) -> dict | None:
    """Sharpe ratios net of costs by lag, over the sessions that all lags share; None where there are too few.

    Returns:
        ``rows`` of ``lag``, ``sharpe`` (a year, in excess of cash) and ``lost``: the mean daily return at that lag less
        that of a session later, in standard errors of the difference (None beyond ``LOOKED_AT``); ``sessions``; and
        ``alarm``: the lag at which most is lost, where that is above ``ALARM``, else None.
    """
    if run.tables.run.get("judged") or run.guard is not None or run.tables.run.get("guard_every"):
        return None  # a rule that looks at the account between decisions acts on its own days
    sessions = run.panel.sessions
    nets = {}
    for lag in LAGS:
        weights = moved(run.decisions, sessions, lag, run.panel.close)
        if not weights or not any(len(row) for row in weights.values()):
            return None
        found = trade(run, weights, run.config.trading, None)
        nets[lag] = pd.Series(found.net[0], found.sessions)
    first = sessions[min(sessions.get_loc(run.decisions[0].asof) + max(LAGS) + 1, len(sessions) - 1)]
    table = pd.DataFrame(nets).loc[lambda found: found.index > first]
    if len(table) < 2 * max(LAGS):
        return None
    idle = cash.reindex(table.index, method="ffill").fillna(0.0)
    lost = {lag: errors_of(table[lag] - table[lag + 1]) for lag in LOOKED_AT}
    worst = max(lost, key=lost.__getitem__)
    return finite(
        {
            "rows": [
                {"lag": lag, "sharpe": float(sharpe_ratio(table[lag], idle)), "lost": lost.get(lag)} for lag in LAGS
            ],
            "sessions": len(table),
            "alarm": worst if lost[worst] > ALARM else None,
        }
    )


def alarm(found: dict) -> tuple[str, str]:
    """A caveat, from what ``by_lag`` found where its ``alarm`` is set."""
    at = {row["lag"]: row for row in found["rows"]}
    lag = found["alarm"]
    when = {-1: "a session earlier than can be", 0: "when the run does"}.get(lag, f"{lag} sessions later")
    return (
        "Execution lag",
        f"Carried out {when}, the same decisions have a Sharpe ratio of {at[lag]['sharpe']:.2f}, and a session after "
        f"that {at[lag + 1]['sharpe']:.2f}: {at[lag]['lost']:.1f} standard errors of the mean return less. A decision "
        "that knows what the next days bring looks so; so does one that holds what has just risen. Run `check "
        "leakage`.",
    )


def moved(
    decisions: Sequence[Decision], sessions: pd.DatetimeIndex, lag: int, closes: pd.DataFrame
) -> dict[pd.Timestamp, pd.Series]:
    """Weights by the session on whose close they are taken, ``lag`` sessions after the decision.

    A decision that would fall behind the one after it or on the last session is left out, and so is a name that had no
    bar by then.
    """
    found: dict[pd.Timestamp, pd.Series] = {}
    began = closes.notna().idxmax()
    for decision in decisions:
        row = sessions.get_loc(decision.asof) + lag
        if 0 <= row < len(sessions) - 1:
            day = sessions[row]
            found[day] = decision.weights[(began.reindex(decision.weights.index) <= day).to_numpy()]
    return found


def errors_of(differences: pd.Series) -> float:
    """A mean in units of its standard error; 0 where nothing differs.

    >>> round(errors_of(pd.Series([1.0, 2.0, 3.0])), 3), errors_of(pd.Series([0.0, 0.0]))
    (3.464, 0.0)
    """
    error = float(differences.std() / np.sqrt(len(differences)))
    return float(differences.mean()) / error if error > 0 else 0.0
