"""Doubts about what the data are, as a whole: do the days of the prices fit the exchange they are taken to be from?"""

from __future__ import annotations

import pandas as pd

from clusterfolio.feeds.calendar import sessions
from clusterfolio.feeds.raw import DOUBTED, Remark

#: Share of days on which prices and calendar may differ, and the fewest such days that tell anything. A right calendar
#: differs by a few lost days; one of another country by the holidays, 3 to 10 % of the days, on both sides.
DIFFER, FEWEST = 0.015, 6

#: Fewest bars on days that are no session: where there are none, days were lost, whatever the calendar.
STRANGE = 3

#: Exchanges that are tried where the prices do not fit the one that is named.
EXCHANGES = (
    "XNYS", "XLON", "XETR", "XPAR", "XSWX", "XMIL", "XMAD", "XSTO", "XTSE", "XTKS", "XKRX", "XHKG", "XSHG", "XTAI",
    "XBOM", "XASX", "XSES", "BVMF", "XJSE", "24/5", "24/7",
)  # fmt: skip


def calendar_doubt(symbol: str, days: pd.DatetimeIndex, calendar: str) -> Remark | None:
    """What speaks against a symbol's prices being from the exchange ``calendar``; None = they fit.

    Args:
        days: of its bars, increasing.

    >>> london = sessions("XLON", "2023-01-02", "2024-12-30")
    >>> print(calendar_doubt("SHEL", london, "XNYS"))
    its days are not those of data.calendar XNYS: 12 of 504 bars on no session, 9 sessions without a bar; XLON fits
    >>> calendar_doubt("SHEL", london, "XLON")
    """
    if len(days) < FEWEST:
        return None
    strange, without = _apart(days, calendar)
    most = max(FEWEST, DIFFER * len(days))
    if strange < STRANGE or strange + without < most:
        return None
    best, apart = calendar, strange + without
    for other in EXCHANGES:
        found = sum(_apart(days, other))
        if found < apart:
            best, apart = other, found
    text = f"{strange} of {len(days)} bars on no session, {without} sessions without a bar"
    text += f"; {best} fits" if apart < most else f"; the nearest is {best}, {apart} days apart"
    return Remark(symbol, f"its days are not those of data.calendar {calendar}", text=text, nature=DOUBTED)


def _apart(days: pd.DatetimeIndex, calendar: str) -> tuple[int, int]:
    """Bars on days that are no session, and sessions between the first and the last bar without one."""
    open_days = sessions(calendar, days[0], days[-1])
    return len(days.difference(open_days)), len(open_days.difference(days))
