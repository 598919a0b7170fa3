"""Lines that are read through the shared clock instead of being moved bar by bar.

A feed's line looks its value up at the bar that the feed has reached by the clock's row. An indicator's line does the
same at the row at which its strategy stands: backtrader moves indicators after the broker, timers and notifications of
a bar, and until then they show the bar before.
"""

from __future__ import annotations

import datetime as dt
import math
from array import array
from functools import cache
from typing import Any

import backtrader as bt
from backtrader.linebuffer import LineBuffer
from backtrader.lineseries import Lines, LineSeries

from clusterfolio.feeds.bt_feed import PanelLine


class Ticker:
    """Where the clock stands.

    Attributes:
        row: 0 before the first bar, then 1, 2, ...
        moments: day numbers of the rows 1, 2, ...
        dates: datetimes by day number, as far as anybody has asked for them.
    """

    def __init__(self, moments: list[float]):
        self.row = 0
        self.moments = moments
        self.dates: dict[float, dt.datetime] = {}
        self._session_ends: dict[tuple, float] = {}

    @property
    def next_moment(self) -> float:
        """Day number of the next row, infinite on the last."""
        return self.moments[self.row] if self.row < len(self.moments) else math.inf

    def date(self, number: float) -> dt.datetime:
        """``bt.num2date(number)``, worked out once."""
        found = self.dates.get(number)
        if found is None:
            found = self.dates[number] = bt.num2date(number)
        return found

    def session_end(self, data, moment: float) -> float:
        """Day number of the end of the session of a feed's bar at ``moment``, as backtrader's orders have it."""
        key = moment, data.p.sessionend, data._tz, type(data)
        found = self._session_ends.get(key)
        if found is None:
            begun, end = data.datetime.datetime(), data.p.sessionend
            ended = begun.replace(hour=end.hour, minute=end.minute, second=end.second, microsecond=end.microsecond)
            if ended < begun:
                ended += dt.timedelta(days=1)
            found = self._session_ends[key] = data.date2num(ended)
        return found


class Pace:
    """Where one strategy stands: at the clock's row from the moment at which stock backtrader moves its indicators."""

    def __init__(self):
        self.row = 0


class DatedLine(LineBuffer):
    """A line of day numbers that converts each of them once."""

    def datetime(self, ago=0, tz=None, naive=True):
        """As backtrader's, from the calendar where no time zone is asked for."""
        if tz is None and self._tz is None:
            return self._ticker.date(self[ago])
        return super().datetime(ago, tz, naive)

    def date(self, ago=0, tz=None, naive=True):
        """As backtrader's."""
        return self.datetime(ago, tz, naive).date()

    def time(self, ago=0, tz=None, naive=True):
        """As backtrader's."""
        return self.datetime(ago, tz, naive).time()


class OnClock:
    """A line read through a clock.

    ``_reached[row]`` is the index of the latest bar when ``_ticker`` stands at ``row``, -1 before the first.
    """

    _reached: array
    _ticker: Ticker | Pace

    def __getitem__(self, ago):
        return self.array[self._reached[self._ticker.row] + ago]

    def __len__(self):
        return self._reached[self._ticker.row] + 1

    def _stay(self, value):
        raise RuntimeError("a line on the shared clock cannot be moved by hand; use runonce=False if it must be")

    def get_idx(self):
        """The line's own bar that the clock has reached."""
        return self._reached[self._ticker.row]

    idx = property(get_idx, _stay)
    lencount = property(__len__, _stay)


class ClockLine(OnClock, DatedLine, PanelLine):
    """A feed's line read through the clock."""


_MOVES = ("__getitem__", "__len__", "advance", "get_idx", "idx")


@cache
def _on_clock(kind: Any) -> Any:
    """``kind``, a kind of line, as it is read through the clock; None where it moves in its own way."""
    if any(getattr(kind, name) is not getattr(LineBuffer, name) for name in _MOVES):
        return None
    return type(kind)(kind.__name__, (OnClock, kind), {"__module__": kind.__module__})


def _moves_like_stock(indicator: Any) -> bool:
    """Whether an indicator is moved as backtrader moves them; its lines are looked at in ``_on_clock``."""
    if isinstance(indicator, LineBuffer):
        return True
    kind: Any = type(indicator)
    lines: Any = type(indicator.lines)
    return (
        bt.Indicator in kind.__mro__
        and kind.advance is bt.Indicator.advance
        and kind.__len__ is LineSeries.__len__
        and lines.advance is Lines.advance
        and lines.__len__ is Lines.__len__
    )


def put_on_clock(line: LineBuffer, kind: type, reached: array, ticker: Ticker | Pace) -> None:
    """Let ``line`` read through ``ticker``."""
    line._reached, line._ticker = reached, ticker
    line.__class__ = kind


def take_off_clock(line: LineBuffer, kind: type) -> None:
    """Let ``line`` stand where the clock left it."""
    index = line.idx
    line.__class__ = kind
    line.idx, line.lencount = index, index + 1


def indicators_on_clock(indicators: list, ticker: Ticker, pace: Pace) -> tuple[list, list]:
    """Let those of a strategy's indicators read through the clock whose length follows that of a line on the clock.

    An indicator follows its own clock, a feed, a feed's line or an indicator before it, bar by bar; so it has reached
    the bar that its clock has reached. Whatever moves in another way is left to be moved.

    Args:
        indicators: in the order in which backtrader moves them.

    Returns:
        the lines put on the clock with the kinds that they were; the indicators that remain to be moved.
    """
    served: list[tuple[LineBuffer, type]] = []
    moved: list = []
    awaited: set[int] = set()
    for indicator in indicators:
        lines, kinds = list(indicator.lines), []
        lead = indicator._clock.lines[0]  # whose length is the clock's
        follows = isinstance(lead, OnClock) and lead._ticker in (ticker, pace)
        if follows and _moves_like_stock(indicator) and awaited.isdisjoint(map(id, lines)):
            kinds = [_on_clock(kind) for kind in map(type, lines)]
        if not kinds or None in kinds:
            moved.append(indicator)
            awaited.add(id(lead))  # if that comes later, it still stands a bar behind at this one's turn
            continue
        for line, kind in zip(lines, kinds, strict=True):
            served.append((line, type(line)))
            put_on_clock(line, kind, lead._reached, pace)
    return served, moved
