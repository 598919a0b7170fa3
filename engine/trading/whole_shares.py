"""Whole shares: prices of the market, lots to trade them in, and dividends that are paid in cash.

A total-return level re-invests dividends, which nobody can do in whole shares. Here an asset is priced by its close in
the account's currency times the shares that one has become by splits: splits leave such a price alone, dividends do
not, and so many units of it stand for one share of the day.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from clusterfolio.feeds.currency import pair_of
from clusterfolio.feeds.panel import Panel


@dataclass(frozen=True)
class Traded:
    """What an engine trades. Frames have the dates and symbols of ``panel``.

    Attributes:
        panel: prices per unit, in the account's currency.
        lots: units of which whole multiples are traded, as known at each day's close; None = fractions are.
        dividends: paid on a day for each unit held at the close before, in the account's currency; None = re-invested.
    """

    panel: Panel
    lots: pd.DataFrame | None = None
    dividends: pd.DataFrame | None = None


def in_whole_shares(panel: Panel) -> Traded:
    """The panel priced by shares of the market; what is known at a day uses it and those before.

    A pair is priced as it is: a unit is one of the currency held. While no market price is stated the price follows the
    level, and dividends are re-invested.
    """
    if panel.market is None or panel.rate is None or panel.split is None or panel.paid is None:
        ones = pd.DataFrame(1.0, panel.dates, panel.symbols)
        return Traded(panel, ones * panel.assets["lot"], ones * 0.0)
    level = panel.close
    rate = panel.rate.ffill()
    price = panel.market * panel.rate * panel.split
    lots = 1 / panel.split
    dividends = (panel.paid.ffill().diff() * rate).clip(lower=0.0).where(level.notna()).fillna(0.0)
    as_level = [name for name in panel.symbols if pair_of(name) is not None or price[name].isna().all()]
    price[as_level], lots[as_level], dividends[as_level] = level[as_level], 1.0, 0.0
    for name in panel.symbols[(price.isna() & level.notna()).to_numpy().any(axis=0)]:
        price[name], followed = _through_gaps(price[name], level[name])
        dividends.loc[followed, name] = 0.0
        lots[name] = panel.market[name] * panel.rate[name] / price[name]
    factor = price / level
    bars = {name: getattr(panel, name) * factor for name in ("open", "high", "low")}
    lots = lots.ffill().fillna(1.0) * panel.assets["lot"]
    return Traded(replace(panel, **bars, close=price, features=None), lots, dividends)


def _through_gaps(price: pd.Series, level: pd.Series) -> tuple[pd.Series, pd.DatetimeIndex]:
    """A price that moves as its market's where that is known on both days, else as its level; and the latter days."""
    rows = np.flatnonzero(level.notna())
    moves = level.iloc[rows].pct_change() + 1.0
    stated = price.iloc[rows].pct_change(fill_method=None) + 1.0
    first = price.iloc[rows[0]] if np.isfinite(price.iloc[rows[0]]) else level.iloc[rows[0]]
    out = first * stated.fillna(moves).fillna(1.0).cumprod()
    return out.reindex(price.index), stated.index[stated.isna()]
