"""What backtrader's feeds have delivered so far: days, last prices, a panel of bars.

A bar belongs to the day of its stamp, whatever the time of day: a daily bar stamped 00:00 and one stamped 23:59:59 are
of one session. Days are counted in Cerebro's time zone (its parameter ``tz``; UTC, as feeds store them, by default).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from datetime import tzinfo
from functools import lru_cache

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import FIELDS, Panel, make_assets

#: backtrader counts days as ``datetime.date.toordinal`` does; this is 1970-01-01.
UNIX_EPOCH = 719163

#: backtrader's moments come in steps of about 10 microseconds (floats near 738,000); this is half of one, in days. It
#: stamps ends of sessions 23:59:59.99999, one step before midnight.
HALF_STEP = 2.0**-34


def days_of(moments: Sequence[float], tz: tzinfo | None = None) -> pd.DatetimeIndex:
    """The days of backtrader's moments (day numbers with a fraction), in a time zone."""
    numbers = np.asarray(moments, dtype=float) - UNIX_EPOCH
    if tz is None:
        return pd.DatetimeIndex(np.floor(numbers).astype("datetime64[D]").astype("datetime64[ns]"))
    # A midnight elsewhere is no whole number and may lie half a step early; the end of a session must stay before it.
    stamps = np.rint((numbers + HALF_STEP) * 86_400e9).astype("datetime64[ns]")
    return pd.DatetimeIndex(stamps, tz="UTC").tz_convert(tz).tz_localize(None).normalize()


@lru_cache(maxsize=4096)
def day_of(moment: float, tz: tzinfo | None = None) -> pd.Timestamp:
    """The day of one moment.

    >>> day_of(738946.99)
    Timestamp('2024-03-01 00:00:00')
    """
    return days_of([moment], tz)[0]


def feed_names(datas) -> dict:
    """The feeds by name.

    Raises:
        ValueError: a feed without a name, or two of one name.
    """
    names = [data._name for data in datas]
    often = Counter(names)
    nameless = [str(place) for place, name in enumerate(names) if not name]
    if nameless:
        raise ValueError(
            f"feeds: {len(nameless)} of {len(names)} have no name (added as number {', '.join(nameless[:5])}, counted "
            "from 0); name each: cerebro.adddata(feed, name='SPY')"
        )
    name, count = often.most_common(1)[0]
    if count > 1:
        places = [str(place) for place, other in enumerate(names) if other == name]
        raise ValueError(f"feeds: numbers {', '.join(places)} (from 0) are all named {name!r}; names must differ")
    return dict(zip(names, datas, strict=True))


def has_bar(data, day: pd.Timestamp, tz: tzinfo | None = None) -> bool:
    """Whether a preloaded feed has a bar on a day; only its stamps are looked at."""
    begin, end = (_moment(day + pd.Timedelta(days=n), tz) for n in (0, 1))
    stamps, n_bars = data.datetime.array, data.buflen()
    first = bisect_left(stamps, begin - 2 * HALF_STEP, 0, n_bars)
    last = bisect_left(stamps, end + 2 * HALF_STEP, first, n_bars)
    return any(day_of(stamps[bar], tz) == day for bar in range(first, last))


def _moment(day: pd.Timestamp, tz: tzinfo | None) -> float:
    return (day.tz_localize(tz or "UTC") - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1) + UNIX_EPOCH


def since_priced(data) -> int:
    """How many bars ago the last one with a finite close came: 0 = the current bar has one."""
    for ago in range(len(data)):
        if math.isfinite(data.close[-ago]):
            return ago
    raise ValueError(f"feed {data._name!r}: no bar with a finite close so far")


def panel_from_feeds(datas, benchmark: str, sessions: pd.DatetimeIndex, tz: tzinfo | None = None) -> Panel:
    """The bars backtrader has delivered so far, as a panel: no later row exists in it.

    Args:
        datas: backtrader's data feeds with daily bars, prices in the account's currency.
        benchmark: the name of one of them.
        sessions: exchange sessions up to the current bar.
        tz: time zone in which days are counted; None = UTC.

    Raises:
        ValueError: a feed has several bars on one day.
    """
    bars = {}
    for data in datas:
        n_bars = len(data)
        if not n_bars:
            continue
        frame = pd.DataFrame({name: getattr(data, name).get(size=n_bars) for name in FIELDS}, dtype=float)
        frame.index = days_of(data.datetime.get(size=n_bars), tz)
        terminal = np.asarray(data.terminal.get(size=n_bars)) > 0 if hasattr(data.lines, "terminal") else False
        frame = frame[~np.broadcast_to(terminal, n_bars)]
        if frame.index.has_duplicates:
            day = frame.index[frame.index.duplicated()][0]
            raise ValueError(
                f"feed {data._name!r}: {(frame.index == day).sum()} bars on {day.date()}; decisions are made on daily "
                "bars: give the strategy a panel of them, or resample the feed (cerebro.resampledata) and add that only"
            )
        bars[data._name] = frame
    dates = pd.DatetimeIndex(sorted(set().union(*(frame.index for frame in bars.values()))))
    columns = pd.Index(list(bars), dtype=object)
    frames = {
        name: pd.DataFrame({symbol: frame[name] for symbol, frame in bars.items()}, index=dates, columns=columns)
        for name in FIELDS
    }
    known = sessions[(sessions >= dates[0]) & (sessions <= dates[-1])]
    return Panel(**frames, assets=make_assets(columns), sessions=known, benchmark=benchmark)
