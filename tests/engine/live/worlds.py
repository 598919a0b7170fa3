"""A made-up market, its local venue and its time, for tests of paper trading; everything comes from one seed."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import exchange_calendars
import numpy as np
import pandas as pd

from clusterfolio.engine.live.limits import Limits
from clusterfolio.engine.live.local import LocalVenue
from clusterfolio.engine.live.planner import Day
from clusterfolio.engine.live.quotes import Quote
from clusterfolio.engine.live.terms import Settings
from clusterfolio.engine.live.venue import Asset, Session
from clusterfolio.feeds.panel import FIELDS
from clusterfolio.strategies.policy import Decision
from tests.conftest import make_panel

XNYS = exchange_calendars.get_calendar("XNYS", start="2014-01-01", end="2027-12-31")
CAPITAL = Decimal(100_000)


class RandomWeights:
    """Other weights on every day, from the day alone: the same in every process."""

    def __init__(self, symbols, seed=0):
        self.symbols, self.seed = list(symbols), seed

    def decide(self, panel, state):
        day = panel.dates[-1]
        rng = np.random.default_rng([self.seed, day.toordinal()])
        chosen = rng.choice(self.symbols, size=3, replace=False)
        return Decision(day, pd.Series(rng.dirichlet(np.ones(3)) * 0.95, index=sorted(chosen)))


class World:
    """Prices of a few symbols on New York's sessions; a market for the runner and quotes for the local venue."""

    calendar = "XNYS"

    def __init__(self, n_days=30, n_symbols=6, seed=0, start="2019-01-02", every=2, whole=True, policy=None):
        rng = np.random.default_rng(seed)
        days = XNYS.sessions_in_range(start, "2027-12-01")[: n_days + 15]
        days = pd.DatetimeIndex(days.to_numpy().astype("datetime64[ns]"))
        names = [f"S{i}" for i in range(n_symbols)]
        steps = rng.normal(0.0003, 0.01, (len(days), n_symbols))
        closes = pd.DataFrame(50 * np.exp(steps.cumsum(axis=0)), days, pd.Index(names, dtype=object)).round(4)
        opens = (closes.shift(1).fillna(50.0) * (1 + 0.004 * rng.standard_normal(closes.shape))).round(4)
        self.panel = make_panel(closes, opens)
        self.start = 12
        self.every = every
        self.policy = policy or RandomWeights(names, seed)
        self.stale: dict[dt.date, tuple[str, ...]] = {}
        self.unknown: set[dt.date] = set()
        self.actions: dict[tuple[dt.date, str], Quote] = {}
        self.splits: dict[tuple[dt.date, str], Decimal] = {}
        self.dividends: dict[tuple[dt.date, str], Decimal] = {}
        self.yields: dict[tuple[dt.date, str], float] = {}  # dividends that the panel's levels have re-invested
        self.rate = 0.0  # what cash earns in a session
        self.halted: set[str] = set()
        self.whole = whole
        self._by_day = {day.date(): row for row, day in enumerate(days)}
        self._quotes: dict[dt.date, dict] = {}

    # The runner's market

    @property
    def days(self):
        return self.panel.dates

    def day(self, session):
        if session in self.unknown or session not in self._by_day:
            return None
        panel = self.panel.until(pd.Timestamp(session))
        bars = {name: getattr(panel, name).iloc[-60:] for name in FIELDS}
        ratios = pd.Series({name: float(self.ratio(session, name)) for name in panel.symbols})
        bars = {name: frame if name == "volume" else frame / ratios for name, frame in bars.items()}
        for (day, name), part in self.yields.items():
            after = frame_days(bars) >= pd.Timestamp(day)
            bars = {n: f if n == "volume" else f.assign(**{name: f[name].where(~after, f[name] / (1 + part))})
                    for n, f in bars.items()}  # fmt: skip
        index = bars["close"].index
        paid = pd.DataFrame(0.0, index, panel.symbols)
        for (day, name), amount in self.dividends.items():  # stated per share of before a split on that day
            before = self.ratio(day - dt.timedelta(days=1), name)
            paid.loc[index == pd.Timestamp(day), name] += float(amount * before / self.ratio(session, name))
        for day, name in self.yields:
            if pd.Timestamp(day) in index:
                paid.loc[pd.Timestamp(day), name] += float(self.paid(day, name, self._by_day[day]))
        interest = pd.Series(self.rate, index) if self.rate else None
        return Day(panel, bars, self.stale.get(session, ()), dividends=paid, interest=interest)

    def ratio(self, session, symbol) -> Decimal:
        """By how much a share was split up to a session; the panel knows of no splits, the market does."""
        found = Decimal(1)
        for (day, name), ratio in self.splits.items():
            if name == symbol and day <= session:
                found *= ratio
        return found

    def payout(self, session, symbol) -> float:
        """What the level has gained over the price by dividends up to a session."""
        gains = [1 + part for (day, name), part in self.yields.items() if name == symbol and day <= session]
        return float(np.prod(gains))

    def paid(self, session, symbol, row) -> Decimal:
        part = self.yields.get((session, symbol), 0.0)
        price = self.panel.close[symbol].iloc[row] / self.payout(session, symbol)
        return Decimal(repr(float(part * price)))

    def due(self, after, session):
        dates = [d.date() for d in self.days[self.start :: self.every]]
        return any((after is None or day > after) and day <= session for day in dates)

    def policy_for(self, now):
        return self.policy

    def names(self):
        return list(self.panel.symbols)

    # The venue's quotes; ``day`` has another meaning there

    def quotes(self):
        return _Quotes(self)


class _Quotes:
    def __init__(self, world):
        self.world = world
        step = Decimal(1) if world.whole else Decimal("0.000000001")
        self._assets = {
            name: Asset(name, name not in world.halted, not world.whole, step=step, asset_class="us_equity",
                        why_not="halted" if name in world.halted else "")
            for name in world.names()
        }  # fmt: skip

    def day(self, session):
        world = self.world
        if session not in world._by_day:
            return None
        if session not in world._quotes:
            row = world._by_day[session]
            world._quotes[session] = {
                name: world.actions.get((session, name)) or self._quote(session, name, row) for name in world.names()
            }
        return world._quotes[session]

    def _quote(self, session, name, row):
        world, ratio = self.world, self.world.ratio(session, name)
        levels = (
            frame[name].iloc[row] / world.payout(session, name) for frame in (world.panel.open, world.panel.close)
        )
        prices = (Decimal(repr(float(level))) / ratio for level in levels)
        paid = world.dividends.get((session, name)) or world.paid(session, name, row)
        split = world.splits.get((session, name), 1)
        return Quote(*prices, Decimal(paid), Decimal(split))

    def sessions(self, first, last):
        return sessions_between(first, last)

    def interest(self, session):
        return Decimal(repr(self.world.rate))

    def assets(self):
        return self._assets


def frame_days(bars):
    return bars["close"].index


_KNOWN = [
    Session(day.date(), XNYS.schedule.loc[day, "open"].to_pydatetime(), XNYS.schedule.loc[day, "close"].to_pydatetime())
    for day in XNYS.sessions
]
_DAYS = [session.day for session in _KNOWN]


def sessions_between(first, last):
    from bisect import bisect_left, bisect_right

    return _KNOWN[bisect_left(_DAYS, first) : bisect_right(_DAYS, last)]


def close_of(day) -> dt.datetime:
    return sessions_between(day, day)[0].closes


def local_venue(world: World, path: Path | str, **more) -> LocalVenue:
    start = close_of(world.days[world.start].date())
    return LocalVenue(path, world.quotes(), **{"start": start, "cash": CAPITAL, "durable": False, **more})


class VenueTime:
    """Time that passes at the local venue."""

    def __init__(self, venue):
        self.venue = venue

    def now(self):
        return self.venue.now

    def wait(self, until):
        self.venue.advance(until)


def settings(**more) -> Settings:
    usual = dict(strategy="test", fractional=False, poll=600.0, retry=60.0, bars_delay=0.0, patience=30.0,
                 limits=Limits(max_order=1.0, max_position=1.0))  # fmt: skip
    return Settings(**{**usual, **more})
