"""How fast what an account holds could be sold."""

from __future__ import annotations

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import Panel

#: Sessions of which the median day's value traded is taken, and the part of it that one seller may be.
SESSIONS, SHARE = 63, 0.1


def tradability(held: pd.Series, panel: Panel) -> list[dict]:
    """A row per name held, the slowest first.

    Args:
        held: value by symbol, in the account's currency.
        panel: up to the day on which it is held.

    Returns:
        ``symbol``, ``value``, ``traded`` (median value traded a day, over the last ``SESSIONS`` with any; None where no
        volume is stated) and ``days`` (to sell it as a tenth of that; None likewise).
    """
    table = panel.traded_value()
    rows = []
    for symbol, value in held[held != 0].items():
        days = table[symbol].to_numpy(dtype=float)
        days = days[np.isfinite(days) & (days > 0)][-SESSIONS:]
        traded = float(np.median(days)) if len(days) else None
        needed = abs(float(value)) / (SHARE * traded) if traded else None
        rows.append({"symbol": str(symbol), "value": float(value), "traded": traded, "days": needed})
    return sorted(rows, key=lambda row: -1.0 if row["days"] is None else row["days"], reverse=True)
