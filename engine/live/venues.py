"""Where one can trade, by name: how each venue is made for a run, and how time passes there."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

import pandas as pd

from clusterfolio.engine.live.journal import Journal
from clusterfolio.engine.live.local import LocalVenue
from clusterfolio.engine.live.market import RunMarket, RunQuotes, calendar_sessions, decimal
from clusterfolio.engine.live.paper_options import PaperOptions
from clusterfolio.engine.live.terms import Time
from clusterfolio.engine.live.venue import ZERO, Session, Venue
from clusterfolio.engine.trading.costs import costs_of

#: Seconds before the next open from which on bars that are missing are given up: at once, where none can come as the
#: venue's own time passes.
NEVER = 14 * 86400.0

#: Sessions of bars that a new local account has ahead of it, where no first day is stated.
AHEAD = 21


class WallTime:
    """The time as it passes everywhere."""

    def now(self) -> dt.datetime:
        """Now, in UTC."""
        return dt.datetime.now(dt.UTC)

    def wait(self, until: dt.datetime) -> None:
        """Sleep."""
        time.sleep(max(0.0, (until - self.now()).total_seconds()))


class LocalTime:
    """The local venue's time: it passes by what is waited for."""

    def __init__(self, venue: LocalVenue):
        self._venue = venue

    def now(self) -> dt.datetime:
        """Where the venue's time stands."""
        return self._venue.now

    def wait(self, until: dt.datetime) -> None:
        """Move the venue's time on."""
        self._venue.advance(until)


def fees_of(market: RunMarket) -> Callable[[str, Decimal, dt.date], Decimal]:
    """What the run charges a trade on a session, by what was known at the close before."""

    @lru_cache(maxsize=4)
    def charges(session: dt.date, last: pd.Timestamp) -> pd.DataFrame:
        panel = market.panel.until(pd.Timestamp(session) - pd.Timedelta(days=1))
        return costs_of(panel, panel, market.config.trading).charges(panel.dates[-1], panel.close.ffill().iloc[-1])

    def fee(symbol: str, value: Decimal, session: dt.date) -> Decimal:
        table = charges(session, market.panel.dates[-1])  # newer prices are another table
        if symbol not in table.index:
            return ZERO
        return value * decimal(table.loc[symbol, "rate"] + table.loc[symbol, "impact"] * float(value) ** 0.5)

    return fee


def _local(
    options: PaperOptions, market: RunMarket, journal: Journal, dry: bool
) -> tuple[Venue, Time, dict[str, float]]:
    """The local venue of a run, begun on ``--start`` or some sessions before its bars end."""
    traded = market.panel.sessions.intersection(market.panel.dates)
    if options.start is not None:
        begin = pd.to_datetime(options.start, format="%Y-%m-%d", errors="coerce")
        if pd.isna(begin) or begin not in traded:
            raise ValueError(f"--start: got {options.start!r}, expected a session between {traded[0].date()} and "
                             f"{traded[-1].date()} as YYYY-MM-DD")  # fmt: skip
    else:
        begin = traded[max(0, len(traded) - 1 - AHEAD)]
    known = journal.meta("start")
    if known is not None and options.start is not None and options.start != known:
        raise ValueError(f"--start: this account began on {known}; a new --home begins anew")
    begin = pd.Timestamp(known) if known else begin
    journal.identify(start=str(begin.date()))
    config = market.config.trading
    closes = calendar_sessions(market.calendar, begin.date(), begin.date())[0].closes
    venue = LocalVenue(
        options.folder / "venue.sqlite", RunQuotes(market), start=closes, cash=decimal(config.capital),
        currency=market.panel.currency, fee=fees_of(market), dividends=options.dividends,
        interest=options.interest, dry=dry,
    )  # fmt: skip
    return venue, LocalTime(venue), {"bars_delay": 0.0, "bars_guard": NEVER, "poll": 600.0}


def _alpaca(
    options: PaperOptions, market: RunMarket, journal: Journal, dry: bool
) -> tuple[Venue, Time, dict[str, float]]:
    """Alpaca's paper account, keys from the environment; a day's bars are asked for half an hour after its close."""
    clock = _begun(options, market, journal)
    return broker(options, market, dry), clock, {"bars_delay": 1800.0}


def _ibkr(
    options: PaperOptions, market: RunMarket, journal: Journal, dry: bool
) -> tuple[Venue, Time, dict[str, float]]:
    """Interactive Brokers' paper account, by the gateway on this machine."""
    clock = _begun(options, market, journal)
    return broker(options, market, dry), clock, {"bars_delay": 1800.0, "poll": 15.0}


def _begun(options: PaperOptions, market: RunMarket, journal: Journal) -> WallTime:
    """A broker's account begins on the last close before now."""
    if options.start is not None:
        raise ValueError("--start: for the local venue; a broker's account begins on the last close before now")
    if market.panel.currency != "USD":
        raise ValueError(f"--venue {options.venue}: it trades in USD, the run's currency is {market.panel.currency} "
                         "(data.currency)")  # fmt: skip
    clock = WallTime()
    if journal.meta("start") is None:
        today = clock.now().date()
        past = calendar_sessions(market.calendar, today - dt.timedelta(days=10), today)
        journal.identify(start=str(next(s.day for s in reversed(past) if s.closes <= clock.now())))
    return clock


def broker(options: PaperOptions, market: RunMarket, read_only: bool) -> Venue:
    """A broker's venue as the environment says, not yet connected."""
    if options.venue == "alpaca":
        from clusterfolio.engine.live.alpaca import AlpacaVenue

        return AlpacaVenue.from_environment(read_only=read_only, prices=options.venue_prices)
    from clusterfolio.engine.live.ibkr import IbkrVenue

    def sessions(first: dt.date, last: dt.date) -> list[Session]:
        return calendar_sessions(market.calendar, first, last)

    return IbkrVenue.from_environment(sessions, read_only=read_only)


#: Where one can trade, by the name that ``--venue`` takes: makes the venue (``dry``: for reading only), the time that
#: passes there, and how long is waited there (see ``Settings``). What makes it notes the account's
#: first session in the journal (``start``).
VENUES: dict[str, Callable[[PaperOptions, RunMarket, Journal, bool], tuple[Venue, Time, dict[str, float]]]] = {
    "local": _local,
    "alpaca": _alpaca,
    "ibkr": _ibkr,
}
