"""What a trade costs, by kind, from what is known at the close before it fills.

Commission and half the spread are a part of the value traded. The spread may breathe with the asset's volatility: its
stated half is that of usual days, and is scaled by the ratio of the recent to the asset's own long-run volatility (an
order book's spread is in proportion to volatility: Wyart, Bouchaud, Kockelkoren, Potters and Vettorazzo 2008). It is
not estimated from daily bars, which say less of a spread than of the day's range. Market impact is the square-root law,
``Y sigma sqrt(Q / V)`` of the value traded (Toth et al. 2011): ``sigma`` the daily volatility, ``Q`` the order's value
and ``V`` the average value traded in a day. The same recent volume caps what one day's order may be.
"""

from __future__ import annotations

from dataclasses import dataclass

import backtrader as bt
import numpy as np
import pandas as pd

from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.feeds.panel import Panel
from clusterfolio.strategies.order_list import CHARGES

#: Costs by kind. Those of trades stand beside each fill; financing is paid between them (``cash_flows``).
OF_TRADES = ("commission", "spread", "impact")
KINDS = (*OF_TRADES, "financing")

#: Sessions over which volatility and volume are taken, and how many of them must be known.
RECENT, FEWEST = 21, 10
#: Sessions from which on an asset has a long-run volatility; until then its spread is not scaled.
LONG = 126
#: Bounds of the scale of a spread.
LEAST_SCALE, MOST_SCALE = 0.5, 5.0


@dataclass(frozen=True)
class Costs:
    """What trades cost, as known at each day's close. Frames have shape ``(n_days, n_assets)``.

    Attributes:
        days: increasing; what is known at a day is that of the last of these up to it.
        symbols: of the columns.
        commission: part of the value traded, ``(n_assets,)``.
        spread: half the spread, part of the value traded.
        impact: part of the value traded that trading one unit costs; it grows with the root of the units. 0 where
            volume or volatility is not known.
        most: units in one order at most; infinite where there is no cap, or no volume is known.
    """

    days: pd.DatetimeIndex
    symbols: pd.Index
    commission: np.ndarray
    spread: np.ndarray
    impact: np.ndarray
    most: np.ndarray

    def row(self, day: pd.Timestamp) -> int:
        """Of what is known at the close of a day."""
        return int(self.days.searchsorted(day, side="right")) - 1

    def parts(self, row: int, column: int, units: float) -> tuple[float, float, float]:
        """Commission, half the spread and impact of trading so many units, as parts of their value."""
        return (
            float(self.commission[column]),
            float(self.spread[row, column]),
            float(self.impact[row, column]) * abs(units) ** 0.5,
        )

    def charges(self, day: pd.Timestamp, prices: pd.Series) -> pd.DataFrame:
        """What an order in money costs and may be, by symbol, as known at a day's close (``order_list.CHARGES``).

        Args:
            prices: of a unit at that close.
        """
        row, price = self.row(day), prices[self.symbols].to_numpy(dtype=float)
        columns = (self.commission + self.spread[row], self.impact[row] / np.sqrt(price), self.most[row] * price)
        found = pd.DataFrame(dict(zip(CHARGES, columns, strict=True)), self.symbols)
        return found.fillna({"most": np.inf}).fillna(0.0)

    def at_most(self, symbol: str, day: pd.Timestamp) -> float:
        """Units of a symbol that one order sent at the close of a day may be for."""
        return float(self.most[self.row(day), self.symbols.get_loc(symbol)])


def costs_of(panel: Panel, traded: Panel, trading: TradingConfig) -> Costs:
    """What trades cost in a panel.

    Args:
        panel: all that is known: volatility and volume look back from each day.
        traded: what is traded: some of its days and symbols, at prices of a unit.
    """
    names, shape = traded.symbols, traded.close.shape
    share = trading.cost_multiplier / 1e4 if trading.costs else 0.0
    commission, spread = (traded.assets[name].to_numpy(dtype=float) for name in ("commission_bps", "half_spread_bps"))
    stated = trading.spreads()
    spread = np.where(traded.assets["asset_class"].isin(stated), traded.assets["asset_class"].map(stated), spread)
    halves = np.broadcast_to(spread.astype(float) * share, shape)
    impact, most = np.broadcast_to(0.0, shape), np.broadcast_to(np.inf, shape)
    looks_back = trading.spread_scaling or trading.impact or trading.volume_cap
    known = panel.select(list(names)) if looks_back and len(names) < len(panel.symbols) else panel
    if trading.spread_scaling:
        halves = halves * np.nan_to_num(_by_day(spread_scale(known), traded), nan=1.0) ** trading.spread_scaling
    if trading.impact or trading.volume_cap:
        value, close = _by_day(average_value(known), traded), traded.close.ffill().to_numpy(dtype=float)
        if trading.impact:
            sigma = _by_day(recent_volatility(known), traded)
            worth = trading.impact * trading.cost_multiplier * trading.costs
            impact = np.nan_to_num(worth * sigma * np.sqrt(close / value))
        if trading.volume_cap:
            most = trading.volume_cap * value / close
            most = np.where(np.isfinite(most), most, np.inf)
    return Costs(traded.dates, names, commission * share, halves, impact, most)


def recent_volatility(panel: Panel) -> pd.DataFrame:
    """Daily volatility by session: the root of the mean square of the last ``RECENT`` returns, ``(n_sessions, n)``."""
    square = panel.session_returns().pow(2).rolling(RECENT, min_periods=FEWEST).mean()
    return np.sqrt(square.clip(lower=0.0))  # a running sum may end a hair under 0 where prices stand still


def spread_scale(panel: Panel) -> pd.DataFrame:
    """Recent over long-run volatility by session, within bounds; 1 where an asset's long run is not known yet.

    The long run is all that an asset has been by then.
    """
    long = np.sqrt(panel.session_returns().pow(2).expanding(LONG).mean())
    return (recent_volatility(panel) / long).clip(LEAST_SCALE, MOST_SCALE).fillna(1.0)


def average_value(panel: Panel) -> pd.DataFrame:
    """Value traded in a day, by session: the mean of the last ``RECENT``; the last one known, NaN where none is."""
    traded = panel.traded_value().reindex(panel.sessions)
    mean = traded.rolling(RECENT, min_periods=FEWEST).mean()
    return mean.where(mean > 0).ffill()


def _by_day(by_session: pd.DataFrame, traded: Panel) -> np.ndarray:
    """What was known at each day's close, in the traded panel's order; a day before the first session knows nothing."""
    return by_session[traded.symbols].reindex(traded.dates, method="ffill").to_numpy(dtype=float)


class Known:
    """The day whose close is known while a broker works, for all of its schemes."""

    def __init__(self, costs: Costs):
        self.costs = costs
        self.row = 0

    def close(self, day: pd.Timestamp) -> None:
        """A day is over."""
        self.row = self.costs.row(day)


class Charged(bt.CommInfoBase):
    """What backtrader charges for an asset of ``Costs``, by what was known at the last close."""

    params = (
        ("known", None), ("column", 0), ("stocklike", True), ("commtype", bt.CommInfoBase.COMM_PERC), ("percabs", True),
    )  # fmt: skip

    def _getcommission(self, size, price, pseudoexec):
        known = self.p.known
        return abs(size) * sum(known.costs.parts(known.row, self.p.column, size)) * price
