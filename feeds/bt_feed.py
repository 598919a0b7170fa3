"""Panel -> backtrader data feeds, one per asset, each with the asset's own bars only.

The feeds work in any ``bt.Cerebro``; in ``engine.clock.ClockCerebro`` they run on the shared clock. Their lines are
filled from the panel's arrays when somebody first looks at them, so a feed nobody trades costs next to nothing.

When an asset has had no bar for more than ``STOPPED_AFTER`` sessions, a terminal bar stands on the session after
that: open, high, low and close are the last close, the volume is 0 and the line ``terminal`` is 1. backtrader fills
no order on a feed that has ended; this bar is where the exit of a stopped asset fills. It depends on the past only:
it stands there too where trading resumes later.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import backtrader as bt
import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import FIELDS, STOPPED_AFTER, Panel

#: backtrader's day number of 1970-01-01.
EPOCH = 719163


def terminal_bars(panel: Panel) -> pd.DataFrame:
    """The terminal bars of a panel, in order of date.

    Returns:
        columns ``date`` (the session on which the bar stands), ``symbol`` and ``price`` (the last close).

    For any day t, ``terminal_bars(panel.until(t))`` are the rows of ``terminal_bars(panel)`` up to t.
    """
    closes = panel.close.to_numpy(dtype=float)
    session_at, late_row = _due_sessions(panel)
    lasts = []
    for asset in range(len(panel.symbols)):
        own = np.flatnonzero(np.isfinite(closes[:, asset]))
        lasts.append(own[_stops(own, late_row)])
    last, column = np.concatenate(lasts), np.repeat(np.arange(len(lasts)), [len(own) for own in lasts])
    table = {"date": panel.sessions[session_at[last]], "symbol": panel.symbols[column], "price": closes[last, column]}
    return pd.DataFrame(table).sort_values("date", kind="stable", ignore_index=True)


def _due_sessions(panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """Per row of the panel, what becomes of an asset whose last bar stands there.

    Returns:
        the position in ``panel.sessions`` of its terminal bar, and the first row at which a next bar comes too late to
        prevent it; both shape ``(n_dates,)``. Where the panel ends before that session no row is too late.
    """
    dates, sessions = panel.dates, panel.sessions
    session_at = sessions.searchsorted(dates, side="right") + STOPPED_AFTER
    inside = session_at < len(sessions)
    late_row = np.full(len(dates), len(dates) + 1)
    late_row[inside] = dates.searchsorted(sessions[session_at[inside]], side="right")  # a bar on the day is in time
    return session_at, late_row


def _stops(own: np.ndarray, late_row: np.ndarray) -> np.ndarray:
    """Positions in ``own``, an asset's rows, after which a terminal bar stands."""
    following = np.empty_like(own)
    following[:-1], following[-1:] = own[1:], len(late_row)
    return np.flatnonzero(following >= late_row[own])


@dataclass(frozen=True, eq=False)
class Bars:
    """One asset's bars, as views of arrays shared by all assets.

    Attributes:
        calendar: backtrader day numbers, shape ``(n_days,)``, strictly increasing, shared between assets.
        rows: positions in ``calendar`` of this asset's bars, terminal bars included, shape ``(n_bars,)``.
        fields: arrays of shape ``(n_rows, n_assets)`` by name.
        asset: this asset's column in ``fields``.
        own: this asset's rows in ``fields``, shape ``(n_bars - n_terminal,)``.
        stops: positions in ``own`` after which a terminal bar stands.
        always_priced: whether every bar, and there is one, has a finite close.
    """

    calendar: np.ndarray
    rows: np.ndarray
    fields: dict[str, np.ndarray]
    asset: int
    own: np.ndarray
    stops: np.ndarray
    always_priced: bool = True

    def __len__(self) -> int:
        return len(self.rows)

    def line(self, name: str) -> np.ndarray:
        """Values of the feed's line ``name``, float64, shape ``(n_bars,)``; NaN where the source has no such field."""
        if name == "datetime":
            return self.calendar[self.rows]
        if name == "terminal":
            return self._with_stops(np.zeros(len(self.own)), 1.0)
        if name not in self.fields:
            return np.full(len(self), np.nan)
        field = self.fields[name]
        values = field[:, self.asset] if len(self.own) == len(field) else field[self.own, self.asset]
        if not len(self.stops):
            return values
        price = self.fields["close"][self.own[self.stops], self.asset]
        return self._with_stops(values, 0.0 if name == "volume" else price)

    def _with_stops(self, values: np.ndarray, at_stops) -> np.ndarray:
        return np.insert(values, self.stops + 1, at_stops) if len(self.stops) else values


def day_numbers(index: pd.DatetimeIndex) -> np.ndarray:
    """backtrader's float day numbers, bit for bit those of ``bt.date2num``."""
    if index.tz is None and (index == index.normalize()).all():
        return (index.to_numpy().astype("datetime64[D]").astype(np.int64) + EPOCH).astype(float)
    return np.array([bt.date2num(stamp.to_pydatetime()) for stamp in index], dtype=float)


class PanelLine(bt.linebuffer.LineBuffer):
    """A line whose array is made from the feed's bars when it is first read."""

    @classmethod
    def fresh(cls) -> PanelLine:
        """``cls()`` without the search for its owner, which takes longer than all else."""
        line = object.__new__(cls)
        line.__dict__ = vars(_TEMPLATE) | {"lines": [line], "bindings": [], "array": array("d")}
        return line

    def preload(self, bars: Bars, name: str, window: slice) -> None:
        """Hold what ``LineBuffer.forward`` and assignments would have stored for the bars in ``window``."""
        self._source = bars, name, window
        self._bars_held = window.stop - window.start
        self.__dict__.pop("array", None)

    def __getattr__(self, name):
        if name != "array" or "_source" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        bars, line, window = self._source
        values = array("d")
        values.frombytes(np.ascontiguousarray(bars.line(line)[window]).tobytes())
        values.extend([np.nan] * self.extension)
        self.array = values
        return values

    def buflen(self):
        """As backtrader's, without reading the bars."""
        return self._bars_held if "array" not in self.__dict__ else super().buflen()


_TEMPLATE = PanelLine()
_day_number = lru_cache(maxsize=4096)(bt.date2num)  # of session ends, mostly: every order asks


class BarsFeed(bt.feed.DataBase):
    """A backtrader feed over :class:`Bars` (parameter ``dataname``), with the lines of ``bt.feeds.PandasData``.

    All parameters of backtrader's feeds are understood.
    """

    on_clock = False  # set by the shared clock while it serves this feed

    def __init__(self):
        super().__init__()
        if not isinstance(self.p.dataname, Bars):
            kind = type(self.p.dataname).__name__
            raise TypeError(f"dataname: expected Bars, got {kind}; panel_feeds and frame_feed make feeds from data")
        self.always_priced = self.p.dataname.always_priced
        for name, line in zip(self.getlinealiases(), self.lines, strict=True):
            line._owner = self
            self.__dict__[name] = line  # found at once, without asking ``self.lines``

    def __len__(self):
        line = self.line
        return line._reached[line._ticker.row] + 1 if self.on_clock else line.lencount

    def __getattr__(self, name):
        # What ``_tick_fill`` leaves behind: the current bar's values, None on the last bar, nothing before the first.
        if name.startswith("tick_") and self.on_clock and len(self):
            line = getattr(self.lines, "close" if name == "tick_last" else name[5:])
            return line[0] if len(self) < self.buflen() else None
        return super().__getattr__(name)

    def _getlinealias(self, i):
        return self.lines._getlinealias(i)  # found at once: whoever is made over a feed asks for each line

    def date2num(self, dt):
        """As backtrader's, each day worked out once."""
        return _day_number(dt) if self._tz is None else super().date2num(dt)

    def start(self):
        """Called before anything is read."""
        super().start()
        self._next_row = 0
        self._table = None
        self._window = None

    def preload(self):
        """Hold all bars without a loop over them, where nothing filters or shifts them."""
        if self._filters or self._tzinput or self._barstack or self._barstash:
            super().preload()
            return
        bars = self.p.dataname
        self._window = slice(0, len(bars))
        if self.p.fromdate is not None or self.p.todate is not None:
            stamps = bars.line("datetime")
            first = int(np.searchsorted(stamps, self.fromdate, side="left"))
            self._window = slice(first, max(first, int(np.searchsorted(stamps, self.todate, side="right"))))
        for name, line in zip(self.getlinealiases(), self.lines, strict=True):
            line.preload(bars, name, self._window)
        self._next_row = len(bars)
        self.home()

    def stamps(self) -> tuple[np.ndarray, np.ndarray]:
        """After preloading: a calendar of day numbers and the positions in it of this feed's bars."""
        bars = self.p.dataname
        if self._window is not None:
            return bars.calendar, bars.rows[self._window]
        held = np.array(self.lines.datetime.array[: self.buflen()])
        return held, np.arange(len(held))

    def _load(self):
        if self._next_row >= len(self.p.dataname):
            return False
        if self._table is None:
            self._table = [self.p.dataname.line(name).tolist() for name in self.getlinealiases()]
        for line, values in zip(self.lines, self._table, strict=True):
            line[0] = values[self._next_row]
        self._next_row += 1
        return True


class _BarsLines(BarsFeed.lines):
    """The lines of a feed; subclasses of ``BarsFeed`` derive theirs from it."""

    def __init__(self, initlines=None):
        self.lines = [PanelLine.fresh() for _ in self._getlines()]

    def __iter__(self):
        return iter(self.lines)


BarsFeed.lines = _BarsLines


class PanelFeed(BarsFeed):
    """One asset of a panel as a backtrader feed; ``panel_feeds`` makes them.

    Its line ``terminal`` is 1 on the bar, at the last close, that follows ``STOPPED_AFTER`` sessions without any, for
    what is still held to leave on; else 0.
    """

    lines = ("terminal",)


def panel_feeds(panel: Panel, symbols=None, **kwargs) -> list[PanelFeed]:
    """One feed per asset, named by symbol, in the order of ``symbols`` (default: all of the panel's).

    An asset without any bar gets no feed: backtrader would wait for its first bar for ever.

    Args:
        panel: prices in the account's currency; a feed has a bar where the asset's close is finite, daily stamps.
        symbols: labels among ``panel.symbols``.
        kwargs: further parameters of backtrader's feeds (``fromdate``, ``plot``, ...).

    Raises:
        KeyError: a symbol is not in the panel.
    """
    symbols = list(panel.symbols if symbols is None else symbols)
    unknown = [name for name in symbols if name not in panel.symbols]
    if unknown:
        raise KeyError(f"symbols: not in the panel: {', '.join(map(str, unknown[:5]))}")
    fields = {name: getattr(panel, name).to_numpy(dtype=float) for name in FIELDS}
    traded = np.isfinite(fields["close"])
    session_at, late_row = _due_sessions(panel)
    days = panel.dates.union(panel.sessions)
    calendar = day_numbers(days)
    row_of, session_of = days.searchsorted(panel.dates), days.searchsorted(panel.sessions)

    def bars_at(own: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        stops = _stops(own, late_row)
        rows = row_of[own]
        if len(stops):
            rows = np.insert(rows, stops + 1, session_of[session_at[own[stops]]])
        return rows, own, stops

    always, ever = traded.all(axis=0), traded.any(axis=0)
    on_all_days = bars_at(np.arange(len(traded)))
    feeds: list[PanelFeed] = []
    make: Callable[..., PanelFeed] = partial(PanelFeed, **kwargs)
    for symbol, column in zip(symbols, panel.symbols.get_indexer(symbols).tolist(), strict=True):
        if not ever[column]:
            continue
        rows, own, stops = on_all_days if always[column] else bars_at(np.flatnonzero(traded[:, column]))
        feeds.append(make(dataname=Bars(calendar, rows, fields, column, own, stops), name=str(symbol)))
        if len(feeds) == 1 and not feeds[0].p.filters:  # those are made for each feed
            make = _likes_of(feeds[0])
    return feeds


def _likes_of(feed: PanelFeed) -> Callable[..., PanelFeed]:
    """What makes feeds as ``feed`` is, fresh and without filters: with bars and a name of their own, all else the same.

    backtrader finds that out for each feed anew, in five times as long.
    """
    numbers = {id(line): number for number, line in enumerate(feed.lines)}
    places = [(name, numbers[id(value)]) for name, value in vars(feed).items() if id(value) in numbers]

    def make(dataname: Bars, name: str) -> PanelFeed:
        like, lines = object.__new__(type(feed)), type(feed.lines)()
        parameters, plotlines = _copy(feed.params), _copy(feed.plotlines)
        parameters.dataname, parameters.name = dataname, name
        plotlines.__dict__ = {line: _copy(looks) for line, looks in vars(plotlines).items()}
        like.__dict__ = vars(feed) | {place: lines.lines[number] for place, number in places}
        like.__dict__ |= {
            "params": parameters,
            "p": parameters,
            "plotinfo": _copy(feed.plotinfo),
            "plotlines": plotlines,
            "lines": lines,
            "l": lines,
            "notifs": deque(),
            "_dataname": dataname,
            "_name": name,
            "always_priced": dataname.always_priced,
            "_barstack": deque(),
            "_barstash": deque(),
            "_filters": [],
            "_ffilters": [],
        }
        for line in lines.lines:
            line._owner = like
        return like

    return make


def _copy(thing):
    twin = object.__new__(type(thing))
    twin.__dict__ = vars(thing).copy()
    return twin


def frame_feed(frame: pd.DataFrame, name: str = "", **kwargs) -> BarsFeed:
    """A feed from one frame of bars at any time of day, as ``bt.feeds.PandasData(dataname=frame)`` would give.

    Bars, lines and what a writer prints are the same; a row of NaN is a bar, as there.

    Args:
        frame: columns among open, high, low, close, volume, openinterest in any case; index of strictly increasing
            timestamps; shape ``(n_bars, n_columns)``.
        name: the feed's name.
        kwargs: further parameters of backtrader's feeds (``timeframe``, ``compression``, ``tz``, ...).
    """
    if not (
        isinstance(frame.index, pd.DatetimeIndex) and frame.index.is_monotonic_increasing and frame.index.is_unique
    ):
        raise ValueError(f"frame.index: expected strictly increasing timestamps, got {frame.index!r:.200}")
    fields = {str(column).lower(): frame[[column]].to_numpy(dtype=float) for column in frame.columns}
    rows, none = np.arange(len(frame)), np.empty(0, dtype=np.int64)
    priced = len(frame) > 0 and "close" in fields and bool(np.isfinite(fields["close"]).all())
    return BarsFeed(dataname=Bars(day_numbers(frame.index), rows, fields, 0, rows, none, priced), name=name, **kwargs)
