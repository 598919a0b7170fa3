"""Live bars for backtrader: a hub that lets a timestamp through only when every feed has it, or at a deadline.

Bars of many symbols for one day arrive one by one. Handed on as they come, they would make backtrader call ``next``
several times for one timestamp, the first times with a part of the feeds still on the day before. The hub holds them
back until the day is complete; at the deadline it lets through what there is and names what is missing. A bar that
comes after its day was let through is named too, and never delivered.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import backtrader as bt

from clusterfolio.feeds.panel import FIELDS

#: Seconds that the loop waits for the hub before it looks after notifications; 0 would keep a core busy.
QCHECK = 0.5


@dataclass(frozen=True)
class Release:
    """A timestamp that was let through: its bars by symbol, and who is missing."""

    stamp: dt.datetime
    bars: Mapping[str, Mapping[str, float]]
    missing: tuple[str, ...]


class Hub:
    """Gathers bars and lets whole timestamps through, in order; may be filled from another thread.

    Args:
        symbols: whose bars make a timestamp complete.
        patience: seconds after a timestamp's first bar at which it is let through incomplete.
        clock: seconds, never going back.

    Attributes:
        releases: what was let through, in order.
        late: ``(symbol, timestamp)`` of bars that came too late.
    """

    def __init__(self, symbols: Sequence[str], patience: float, clock: Callable[[], float] = time.monotonic):
        self.symbols = tuple(symbols)
        self.releases: list[Release] = []
        self.late: list[tuple[str, dt.datetime]] = []
        self._patience = patience
        self._clock = clock
        self._changed = threading.Condition()
        self._gathering: dict[dt.datetime, dict[str, Mapping[str, float]]] = {}
        self._since: dict[dt.datetime, float] = {}
        self._queues: dict[str, deque] = {name: deque() for name in self.symbols}
        self._closed = False

    def push(self, symbol: str, stamp: dt.datetime, bar: Mapping[str, float]) -> None:
        """Take a bar (open, high, low, close, volume)."""
        if symbol not in self._queues:
            raise KeyError(f"symbol: {symbol!r} is none of the hub's {len(self.symbols)}")
        with self._changed:
            if self.releases and stamp <= self.releases[-1].stamp:
                self.late.append((symbol, stamp))
                return
            self._gathering.setdefault(stamp, {})[symbol] = bar
            self._since.setdefault(stamp, self._clock())
            self._changed.notify_all()

    def close(self) -> None:
        """No more bars come: what is gathered is let through, then the feeds end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def turn(self, wait: float) -> None:
        """Let through what is due, after at most ``wait`` seconds. Called by one feed only, so that all of them see the
        same timestamps in one round of backtrader's loop.
        """
        with self._changed:
            if not self._let_through() and not self._closed and wait > 0:
                self._changed.wait(min(wait, self._until_due()))
                self._let_through()

    def _until_due(self) -> float:
        if not self._since:
            return self._patience
        return max(0.0, self._since[min(self._since)] + self._patience - self._clock()) + 1e-3

    def _let_through(self) -> bool:
        """The oldest timestamp, if it is complete, or its time is up, or no more comes; one at a time."""
        if any(self._queues.values()) or not self._gathering:
            return False
        stamp = min(self._gathering)
        missing = tuple(name for name in self.symbols if name not in self._gathering[stamp])
        overdue = self._clock() - self._since[stamp] >= self._patience
        if missing and not (overdue or self._closed):
            return False
        bars = self._gathering.pop(stamp)
        del self._since[stamp]
        for name, bar in bars.items():
            self._queues[name].append((stamp, bar))
        self.releases.append(Release(stamp, bars, missing))
        return True

    def take(self, symbol: str) -> tuple[dt.datetime, Mapping[str, float]] | None:
        """The symbol's bar of the timestamp that was let through last; None = it has none."""
        queue = self._queues[symbol]
        return queue.popleft() if queue else None

    @property
    def ended(self) -> bool:
        """Whether nothing comes any more."""
        return self._closed and not self._gathering and not any(self._queues.values())


class LiveFeed(bt.feed.DataBase):
    """A feed that a hub fills; the first of them turns the hub.

    Params:
        dataname: the symbol.
        hub: the hub.
    """

    params = (("hub", None), ("qcheck", QCHECK))

    def islive(self):
        """Nothing is preloaded."""
        return True

    def haslivedata(self):
        """Whether a bar waits, so that no feed blocks for another."""
        return bool(self.p.hub._queues[self.p.dataname])

    def _load(self):
        hub = self.p.hub
        if self.p.dataname == hub.symbols[0]:
            hub.turn(self._qcheck)
        found = hub.take(self.p.dataname)
        if found is None:
            return False if hub.ended else None  # None: nothing yet
        stamp, bar = found
        self.lines.datetime[0] = bt.date2num(stamp)
        for name in FIELDS:
            getattr(self.lines, name)[0] = bar[name]
        self.lines.openinterest[0] = 0.0
        return True


def live_feeds(hub: Hub) -> list[LiveFeed]:
    """One feed per symbol of the hub, named by it, in the hub's order."""
    return [LiveFeed(dataname=name, name=name, hub=hub, timeframe=bt.TimeFrame.Days) for name in hub.symbols]
