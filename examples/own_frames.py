"""Prices of your own, as pandas frames, to a Panel: what was believed, what was mended, what was dropped.

Three series are made up here: a fund in dollars, a share in euros with a mistyped price, and the rate that converts it.
"""

import numpy as np
import pandas as pd

import clusterfolio as cf

days = pd.bdate_range("2023-01-02", "2024-12-31", name="date")
rng = np.random.default_rng(7)


def made_up(level, volatility):
    """Daily bars of one asset: a random walk, and a volume."""
    close = level * np.exp(rng.normal(0.0002, volatility, len(days)).cumsum())
    return pd.DataFrame({"close": close, "volume": 1e6}, days)


sap = made_up(100, 0.015)
sap.loc["2024-03-14", "close"] *= 10  # a decimal sign in the wrong place
bars = {
    "SPY": cf.RawBars(made_up(400, 0.01), "USD"),
    "SAP.DE": cf.RawBars(sap, "EUR"),
    "EURUSD=X": cf.RawBars(made_up(1.1, 0.004), "USD"),
    "EMPTY": cf.RawBars(made_up(10, 0.01).iloc[:0], "USD"),
}

# Every price in the account's currency. Checks look back only, so that a day's prices do not depend on later ones.
panel, verdicts = cf.build_panel(cf.RawData(bars), benchmark="SPY", currency="USD")
for symbol, row in verdicts.iterrows():
    print(symbol, row["verdict"], row["why"], sep=": ")

# What was known at a day's close is a view of the rows up to it.
known = panel.until("2024-06-28")
print(known.session_closes().tail(3).round(2))
print(known.session_returns().std().mul(252**0.5).round(3).to_dict())
