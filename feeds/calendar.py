"""Exchange sessions, decision dates, and where a run ends."""

from __future__ import annotations

from functools import lru_cache

import exchange_calendars
import numpy as np
import pandas as pd
from exchange_calendars.errors import InvalidCalendarName

from clusterfolio.feeds.raw import DataError

#: Frequencies of ``decision_dates`` that end with a calendar period, and the period.
PERIODS = {"week": "W", "month": "M", "quarter": "Q"}


def sessions(calendar: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DatetimeIndex:
    """Sessions of an exchange from ``start`` to ``end``, inclusive; naive days.

    Args:
        calendar: a name that ``exchange_calendars`` knows (``XNYS``, ``XLON``, ``24/7`` ...).

    >>> [str(day.date()) for day in sessions("XNYS", "2025-12-24", "2025-12-29")]
    ['2025-12-24', '2025-12-26', '2025-12-29']
    """
    start, end = pd.Timestamp(start).normalize(), pd.Timestamp(end).normalize()
    if start > end:
        raise ValueError(f"start must not be after end, got {start.date()} and {end.date()}")
    known = _calendar(calendar, start.year, end.year)
    return known[known.searchsorted(start) : known.searchsorted(end, side="right")]


def session_closes(calendar: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.Series:
    """When each session from ``start`` to ``end`` closes, naive in UTC, indexed by session; half days close early.

    >>> session_closes("XNYS", "2024-07-02", "2024-07-03").dt.hour.tolist()  # 16:00 and 13:00 in New York
    [20, 17]
    """
    return _moments("closes", calendar, start, end)


def session_opens(calendar: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.Series:
    """When each session from ``start`` to ``end`` opens, as ``session_closes`` states its close."""
    return _moments("opens", calendar, start, end)


def _moments(which: str, calendar: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.Series:
    start, end = pd.Timestamp(start).normalize(), pd.Timestamp(end).normalize()
    return _all_moments(which, calendar, start.year, end.year).loc[start:end]


@lru_cache(maxsize=32)
def _all_moments(which: str, calendar: str, first_year: int, last_year: int) -> pd.Series:
    moments = getattr(_schedule(calendar, first_year, last_year), which)
    return pd.Series(moments.dt.tz_convert(None).to_numpy(), moments.index.as_unit("ns"))


@lru_cache(maxsize=16)
def _calendar(name: str, first_year: int, last_year: int) -> pd.DatetimeIndex:
    """Sessions of whole years, as far as the calendar is defined."""
    return _schedule(name, first_year, last_year).sessions.as_unit("ns")


@lru_cache(maxsize=16)
def _schedule(name: str, first_year: int, last_year: int) -> exchange_calendars.ExchangeCalendar:
    first, last = pd.Timestamp(first_year, 1, 1), pd.Timestamp(last_year, 12, 31)
    try:
        made = exchange_calendars.get_calendar(name, start=first, end=last)
    except InvalidCalendarName:
        known = ", ".join(exchange_calendars.get_calendar_names(include_aliases=False))
        raise ValueError(f"unknown calendar {name!r}; available: {known}") from None
    except ValueError:  # the years asked for reach beyond those the exchange has rules for
        made_by = type(exchange_calendars.get_calendar(name))
        first, last = max(first, made_by.bound_min() or first), min(last, made_by.bound_max() or last)
        made = exchange_calendars.get_calendar(name, start=first, end=last)
    return made


def decision_dates(calendar: str, first: pd.Timestamp, last: pd.Timestamp, frequency: str | int) -> pd.DatetimeIndex:
    """Sessions from ``first`` to ``last`` (inclusive) on which to decide.

    Args:
        frequency: ``once`` (the first session), ``week``, ``month``, ``quarter`` (the period's last session according
            to the exchange's calendar, whether or not the data go on after it), or every how many sessions.

    >>> [str(day.date()) for day in decision_dates("XNYS", "2026-01-15", "2026-03-25", "month")]
    ['2026-01-30', '2026-02-27']
    """
    inside = sessions(calendar, first, last)
    if frequency == "once":
        return inside[:1]
    if isinstance(frequency, (int, np.integer)) and not isinstance(frequency, bool) and frequency >= 1:
        return inside[::frequency]
    if frequency not in PERIODS:
        known = ", ".join(("once", *PERIODS))
        raise ValueError(f"frequency must be one of {known} or a number of sessions above 0, got {frequency!r}")
    beyond = sessions(calendar, first, pd.Timestamp(last) + pd.Timedelta(days=100))
    periods = beyond.to_period(PERIODS[frequency])
    ends = np.append(periods[1:] != periods[:-1], False)
    return beyond[ends].intersection(inside)


def last_common_session(
    closes: pd.DataFrame, sessions: pd.DatetimeIndex, benchmark: pd.Series, share: float = 0.9, within: int = 126
) -> pd.Timestamp:
    """The last session on which the benchmark and ``share`` of the universe still trade.

    The universe of a session are the assets with a bar in the ``within`` sessions up to it, so delistings spread over
    years do not end a run; an asset still trades while its last bar lies ahead or is that day's.

    Args:
        closes: shape ``(n_dates, n_assets)``, NaN where an asset did not trade.
        benchmark: its closes, on the same dates.
    """
    traded = closes.notna()
    on_session = traded.groupby(np.searchsorted(sessions, closes.index)).any()  # a weekend's bar: the next session
    on_session = on_session.reindex(range(len(sessions)), fill_value=False).to_numpy()
    ever = traded.any().to_numpy()
    last_row = len(traded) - 1 - traded.to_numpy()[::-1].argmax(axis=0)
    last_bar = np.where(ever, closes.index.to_numpy()[last_row], np.datetime64(0, "ns"))
    seen = np.vstack([np.zeros((1, closes.shape[1])), on_session.cumsum(axis=0)])
    window_start = np.maximum(np.arange(1, len(sessions) + 1) - within, 0)
    recent = seen[1:] - seen[window_start] > 0
    alive = recent & (last_bar[None, :] >= sessions.to_numpy()[:, None])
    good = (alive.sum(axis=1) >= share * recent.sum(axis=1)) & (sessions <= benchmark.last_valid_index())
    good &= recent.any(axis=1)
    if not good.any():
        raise DataError(f"no session on which the benchmark and {share:.0%} of {closes.shape[1]} assets trade")
    return sessions[np.nonzero(good)[0][-1]]
