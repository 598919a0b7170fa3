"""A policy that learns nothing, for runs that are to be quick."""

import pandas as pd

from clusterfolio import Decision


class Momentum:
    """The strongest assets of half a year, held equally."""

    def decide(self, panel, state):
        shares = [name for name in panel.tradable if "=" not in name]
        closes = panel.session_closes()[shares].iloc[-126:]
        best = (closes.iloc[-1] / closes.iloc[0]).dropna().nlargest(5).index
        return Decision(panel.dates[-1], pd.Series(1 / len(best), best))
