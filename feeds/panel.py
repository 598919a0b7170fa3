"""The panel: aligned daily bars of many assets, the one form in which prices travel."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clusterfolio.feeds.symbols import MONEY, is_money

if TYPE_CHECKING:
    from clusterfolio.feeds.features import Features

#: Sessions of a year, in every figure that is stated per year and every span of "a year".
SESSIONS_PER_YEAR = 252

FIELDS = ("open", "high", "low", "close", "volume")

#: Frames of the same shape that a panel may carry beside them: at what price and in which shares the market trades ...
MARKET = ("market", "rate", "split", "paid")
#: ... and who is in the universe.
BESIDE = ("member", *MARKET)

#: Columns of ``Panel.assets`` and what stands in them where nothing is known.
ASSET_DEFAULTS = {
    "name": "",
    "asset_class": "unknown",
    "sector": "",
    "region": "",
    "currency": "",
    "commission_bps": 0.0,
    "half_spread_bps": 0.0,
    "lot": 1.0,
    "tradable": True,
}

#: A feed without a bar for this many sessions is taken to have stopped trading.
STOPPED_AFTER = 10


@dataclass(frozen=True)
class Panel:
    """Aligned OHLCV frames in the account's currency.

    Each frame has shape ``(n_dates, n_assets)``, the same naive daily ``DatetimeIndex`` (the day whose close the
    row states) and the same columns. NaN in ``close`` means: the asset did not trade that day. Where ``close`` is
    finite so are ``open``, ``high`` and ``low``; ``volume`` may be NaN (not reported). Prices are total-return
    adjusted forward from each asset's first bar, so nothing that happens later rescales a row.

    Attributes:
        assets: one row per column of the frames, in the same order; columns as in ``ASSET_DEFAULTS``. Costs are
            in basis points of the traded value, per side. ``lot``: the fewest shares that are traded where shares are
            whole. ``tradable`` is False for a benchmark that is not part of the universe.
        sessions: the benchmark exchange's sessions inside the panel's span; decisions, reported returns and
            annualisation use these days. The frames may hold more rows (weekend bars, other holidays).
        benchmark: the column that is the benchmark.
        currency: the account's currency.
        simulated: True where the prices are made up; everything drawn from the panel says so.
        features: indicator values computed once on this panel (``feeds.features.make_features``), or None.
        exog: market-wide series beside prices (``feeds.exogenous.inputs``), index ``dates``, a column per series:
            what was known by the close of the row's day, NaN where nothing was; or None.
        member: bool, same shape as the frames: whether the asset was in the universe that day, as known at its close
            (``feeds.membership``); None = always. What is no member is not held and not learned from.
        market: the close as the source states it, in the listing's currency (``assets["currency"]``) and on the share
            basis of the source, same shape as the frames; NaN where there is no bar or none is stated. Nothing
            rescales it: orders are priced and sized by it. None = not known.
        rate: units of the account's currency for one of the listing's, same shape; None = not known.
        split: shares that one of the asset's first bar has become by splits that ``market`` falls by, same shape, NaN
            where there is no bar; None = not known.
        paid: dividends that one share of the asset's first bar has been paid so far, in the listing's currency, same
            shape, NaN where there is no bar; it falls where an adjusted close falls against the close. None = not
            known.
    """

    open: pd.DataFrame
    high: pd.DataFrame
    low: pd.DataFrame
    close: pd.DataFrame
    volume: pd.DataFrame
    assets: pd.DataFrame
    sessions: pd.DatetimeIndex
    benchmark: str
    currency: str = "USD"
    simulated: bool = False
    features: Features | None = field(default=None, repr=False)
    exog: pd.DataFrame | None = field(default=None, repr=False)
    member: pd.DataFrame | None = field(default=None, repr=False)
    market: pd.DataFrame | None = field(default=None, repr=False)
    rate: pd.DataFrame | None = field(default=None, repr=False)
    split: pd.DataFrame | None = field(default=None, repr=False)
    paid: pd.DataFrame | None = field(default=None, repr=False)

    def __post_init__(self):
        for name in FIELDS:
            frame = getattr(self, name)
            if not (frame.index.equals(self.dates) and frame.columns.equals(self.symbols)):
                raise ValueError(f"panel.{name}: its dates or columns differ from panel.close's")
        if not (self.dates.is_monotonic_increasing and self.dates.is_unique):
            raise ValueError("panel.close: dates must be unique and increasing")
        if not self.assets.index.equals(self.symbols):
            raise ValueError("panel.assets: its index must equal the columns of panel.close")
        if self.exog is not None and not self.exog.index.equals(self.dates):
            raise ValueError("panel.exog: its dates differ from panel.close's")
        for name in BESIDE:
            frame = getattr(self, name)
            if frame is not None and not (frame.index.equals(self.dates) and frame.columns.equals(self.symbols)):
                raise ValueError(f"panel.{name}: its dates or columns differ from panel.close's")
        missing = [name for name in ASSET_DEFAULTS if name not in self.assets.columns]
        if missing:
            raise ValueError(f"panel.assets: columns missing: {', '.join(missing)}")
        if any(map(is_money, self.symbols)):
            raise ValueError(f"panel.close: a column called {MONEY}: that is the name of the account's money")
        if self.benchmark not in self.symbols:
            raise ValueError(f"panel.benchmark: {self.benchmark!r} is not one of the {len(self.symbols)} symbols")

    @property
    def dates(self) -> pd.DatetimeIndex:
        """Every day on which any asset traded, shape ``(n_dates,)``."""
        return self.close.index

    @property
    def symbols(self) -> pd.Index:
        """Column labels, shape ``(n_assets,)``."""
        return self.close.columns

    @property
    def tradable(self) -> pd.Index:
        """The symbols a policy may hold."""
        return self.symbols[self.assets["tradable"].to_numpy(dtype=bool)]

    def until(self, asof: pd.Timestamp) -> Panel:
        """What was known at the close of ``asof``: a view of the rows up to and including that day."""
        stop = self.dates.searchsorted(pd.Timestamp(asof), side="right")
        cut = {name: getattr(self, name).iloc[:stop] for name in FIELDS}
        sessions = self.sessions[: self.sessions.searchsorted(pd.Timestamp(asof), side="right")]
        features = None if self.features is None else self.features.rows(stop)
        exog = None if self.exog is None else self.exog.iloc[:stop]
        cut |= {name: getattr(self, name).iloc[:stop] for name in BESIDE if getattr(self, name) is not None}
        return replace(self, **cut, sessions=sessions, features=features, exog=exog)

    def select(self, symbols: list[str]) -> Panel:
        """The same panel with these columns only, in this order; features are dropped."""
        unknown = [name for name in symbols if name not in self.symbols]
        if unknown:
            raise KeyError(f"symbols: not in the panel: {', '.join(unknown[:5])}")
        cut = {name: getattr(self, name)[list(symbols)] for name in FIELDS}
        cut |= {name: getattr(self, name)[list(symbols)] for name in BESIDE if getattr(self, name) is not None}
        return replace(self, **cut, assets=self.assets.loc[list(symbols)], features=None)

    def members(self) -> pd.Series:
        """Whether each asset is in the universe at the panel's last row, bool by symbol."""
        return pd.Series(True, self.symbols) if self.member is None else self.member.iloc[-1]

    def members_on(self, days: pd.DatetimeIndex) -> pd.DataFrame:
        """Whether each asset was in the universe, as last known on each of these days, bool ``(n_days, n_assets)``."""
        if self.member is None:
            return pd.DataFrame(True, days, self.symbols)
        rows = self.dates.searchsorted(days, side="right") - 1
        return self.member.iloc[np.maximum(rows, 0)].set_axis(days)

    def session_closes(self) -> pd.DataFrame:
        """Last known close at each session, shape ``(n_sessions, n_assets)``; NaN before an asset's first bar."""
        return self.close.ffill().reindex(self.sessions, method="ffill")

    def session_returns(self) -> pd.DataFrame:
        """Simple returns from session to session, shape ``(n_sessions, n_assets)``; 0 where an asset did not trade."""
        return self._session_returns

    @cached_property
    def _session_returns(self) -> pd.DataFrame:
        # A decision needs them several times, and a panel does not change.
        return self.session_closes().pct_change(fill_method=None)

    def traded_value(self) -> pd.DataFrame:
        """Value traded by day in the account's currency, close times volume, NaN where no volume is known.

        At the market's prices; of an asset without any, at its level, in which re-invested dividends count.
        """
        if self.market is None or self.rate is None or self.split is None:
            return self.close * self.volume
        at_market = self.market * self.rate * self.split * self.volume  # volume is in shares of the first bar
        return at_market.where(self.market.notna(), self.close * self.volume)

    def bars_since_last(self) -> pd.Series:
        """Sessions passed since each asset's last bar at the panel's last row; 0 = traded then, NaN = never."""
        traded = self.close.notna().to_numpy()
        last = np.where(traded.any(axis=0), len(traded) - 1 - traded[::-1].argmax(axis=0), -1)
        at = self.sessions.searchsorted(self.dates[np.maximum(last, 0)], side="right")
        return pd.Series(np.where(last >= 0, len(self.sessions) - at, np.nan), self.symbols)


def make_assets(symbols, known: pd.DataFrame | None = None) -> pd.DataFrame:
    """An ``assets`` table for ``symbols``, filled from ``known`` (indexed by symbol) and ``ASSET_DEFAULTS``."""
    table = pd.DataFrame(index=pd.Index(symbols, dtype=object))
    for name, default in ASSET_DEFAULTS.items():
        column = pd.Series(default, index=table.index)
        if known is not None and name in known.columns:
            column = known[name].reindex(table.index).where(lambda s: s.notna(), default)
        table[name] = column.astype(type(default))
    return table
