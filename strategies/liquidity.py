"""How much of an asset is traded a day: what can be bought and sold again."""

from __future__ import annotations

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import Panel


def traded_a_day(panel: Panel, sessions: int) -> pd.Series:
    """Mean value traded a day over the last sessions, in the account's currency, by tradable symbol.

    A session without a bar or without volume counts as 0. NaN for an asset of which no volume above 0 was ever stated:
    of exchange rates, which banks trade among themselves, sources state none.
    """
    value = panel.traded_value()[panel.tradable]
    before = len(panel.sessions) - sessions - 1
    recent = value if before < 0 else value.loc[value.index > panel.sessions[before]]
    stated = (panel.volume[panel.tradable].to_numpy(dtype=float) > 0).any(axis=0)
    return (recent.sum() / max(min(sessions, len(panel.sessions)), 1)).where(stated, np.nan)
