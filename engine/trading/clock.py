"""A Cerebro that moves one shared clock instead of every feed.

Stock backtrader peeks at, advances and fills every feed on every bar, in Python. Here all feeds are read through one
clock (``clock_lines``), so a bar costs the same whether three feeds are loaded or three thousand, with or without
indicators on them. Strategies, indicators, observers, analyzers and the broker see what they see in ``bt.Cerebro``, to
the last bit; what the clock does not serve runs on the stock path, and says so.
"""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from contextlib import contextmanager

import backtrader as bt
import numpy as np
from backtrader.brokers import BackBroker

from clusterfolio.engine.trading.cash_flows import AccountBroker
from clusterfolio.engine.trading.clock_broker import ClockAccountBroker, ClockBroker
from clusterfolio.engine.trading.clock_garbage import garbage_seldom_collected
from clusterfolio.engine.trading.clock_lines import ClockLine, Ticker, put_on_clock, take_off_clock
from clusterfolio.engine.trading.clock_orders import note
from clusterfolio.engine.trading.clock_steps import strategies_on_clock
from clusterfolio.feeds.bt_feed import BarsFeed, PanelLine

logger = logging.getLogger(__name__)

#: Brokers that the clock serves, and what becomes of them meanwhile; any other is left as it is.
BROKERS = {BackBroker: ClockBroker, AccountBroker: ClockAccountBroker}


class ClockCerebro(bt.Cerebro):
    """``bt.Cerebro`` with the same parameters, methods and results, on the shared clock where that is possible.

    The clock serves the feeds that ``panel_feeds`` and ``frame_feed`` make, with ``preload`` and ``runonce`` on, which
    is the default.

    Attributes:
        clock_used: whether the last ``run`` was served by the shared clock.
        fallback_reason: why it was not, or None.
        next_moment: while the clock runs, when the next bar of any feed comes (a day number, infinite if none does);
            None otherwise. Whoever asks need not ask every feed.
    """

    def __init__(self):
        super().__init__()
        self.clock_used = False
        self.fallback_reason = None
        self._ticker = None

    @property
    def next_moment(self) -> float | None:
        """When the next bar of any feed comes, a day number; None while the clock does not run."""
        return None if self._ticker is None else self._ticker.next_moment

    def run(self, **kwargs):
        """As backtrader's, on the clock where it serves; ``clock_used`` and ``fallback_reason`` then say."""
        self.clock_used, self.fallback_reason = False, None
        if self._dooptimize:  # the workers are other processes: say it here
            self._fall_back("optstrategy runs its strategies on the stock path")
        return super().run(**kwargs)

    def _fall_back(self, reason: str) -> None:
        if self.fallback_reason is None:
            self.fallback_reason = reason
            logger.warning("shared clock not used: %s", reason)

    def _runonce(self, runstrats):
        reason = _added_twice(self.datas) or next(filter(None, map(_unserved, self.datas)), None)
        if reason is None and self.fallback_reason is None:
            self._run_on_clock(runstrats)
            return
        self._fall_back(reason)
        super()._runonce(runstrats)

    def _runnext(self, runstrats):
        self._fall_back(self._why_stepwise())
        super()._runnext(runstrats)

    def _runonce_old(self, runstrats):
        self._fall_back("oldsync=True")
        super()._runonce_old(runstrats)

    def _runnext_old(self, runstrats):
        self._fall_back(self._why_stepwise())
        super()._runnext_old(runstrats)

    def _why_stepwise(self) -> str:
        if self._dolive or self.p.live:
            return "live data"
        if self._exactbars:
            return f"exactbars={self.p.exactbars}"
        if self._doreplay:
            return "resampled or replayed data"
        if not (self.p.preload and self.p.runonce):
            return f"preload={self.p.preload}, runonce={self.p.runonce}"
        return "an indicator needs runonce=False"

    def _run_on_clock(self, runstrats) -> None:
        for strat in runstrats:
            strat._once()
            strat.reset()
        moments, reached = _timeline(self.datas)
        ticker = Ticker(moments)
        with (
            _on_clock(self.datas, reached, ticker),
            _broker_on_clock(self._broker, ticker),
            strategies_on_clock(runstrats, reached, ticker) as steps,
            garbage_seldom_collected(),
        ):
            self.clock_used, self._ticker = True, ticker
            try:
                self._tick(runstrats, steps, ticker)
            finally:
                self._ticker = None

    def _tick(self, runstrats, steps, ticker) -> None:
        """The run loop: as in ``bt.Cerebro._runonce``, with the clock moved instead of the feeds."""
        for row, moment in enumerate(ticker.moments, start=1):
            ticker.row = row
            self._check_timers(runstrats, moment, cheat=True)
            if self.p.cheat_on_open:
                for strat in runstrats:
                    strat._oncepost_open()
                    if self._event_stop:
                        return
            self._brokernotify()
            if self._event_stop:
                return
            self._check_timers(runstrats, moment, cheat=False)
            for step in steps:
                step(moment)
                if self._event_stop:
                    return
                self._next_writers(runstrats)

    def _brokernotify(self):
        broker = self._broker
        if self._ticker is None or self.p.quicknotify or not isinstance(broker, ClockBroker):
            super()._brokernotify()
            return
        broker.next()
        while broker.notifs:
            order = broker.notifs.popleft()
            note(self.runningstrats[0] if order.owner is None else order.owner, order)


def _added_twice(datas) -> str | None:
    """A feed that backtrader has twice is moved twice per bar, and so has every second bar only."""
    for data, times in Counter(datas).items():
        if times > 1:
            which = {2: "second", 3: "third"}.get(times, f"{times}th")
            return f"feed {data._name!r} was added {times} times, and backtrader shows every {which} bar of such a feed"
    return None


def _unserved(data) -> str | None:
    """Why the clock cannot serve a feed, or None."""
    if not isinstance(data, BarsFeed):
        return f"feed {data._name!r} is a {type(data).__name__}, not a BarsFeed (feeds.bt_feed.frame_feed makes one)"
    if any(getattr(type(data), name) is not getattr(BarsFeed, name) for name in ("advance", "advance_peek", "__len__")):
        return f"feed {data._name!r} moves its bars in its own way ({type(data).__name__})"
    calendar, rows = data.stamps()
    if calendar is not data.p.dataname.calendar and (np.diff(calendar[rows]) <= 0).any():
        return f"feed {data._name!r} has bars that do not follow each other in time"
    return None


def _timeline(datas) -> tuple[list[float], list[array]]:
    """All feeds' moments in order, and per feed which bar it has reached.

    Returns:
        day numbers of the clock's rows 1, 2, ...; per feed the index of its latest bar by row, -1 before its first,
        shape ``(n_rows + 1,)``. Feeds with a bar on every row share one.
    """
    stamps = [data.stamps() for data in datas]
    calendars = {id(calendar): calendar for calendar, _ in stamps}
    used = {key: np.zeros(len(calendar), dtype=bool) for key, calendar in calendars.items()}
    for calendar, rows in stamps:
        used[id(calendar)][rows] = True
    moments = np.unique(np.concatenate([calendars[key][marks] for key, marks in used.items()]))
    row_of = {key: moments.searchsorted(calendar) for key, calendar in calendars.items()}

    everywhere = array("i", range(-1, len(moments)))
    reached = []
    for calendar, rows in stamps:
        if len(rows) == len(moments):
            reached.append(everywhere)
            continue
        bars = np.zeros(len(moments) + 1, dtype=np.int32)
        bars[row_of[id(calendar)][rows] + 1] = 1
        by_row = array("i")
        by_row.frombytes((np.cumsum(bars, dtype=np.int32) - np.int32(1)).tobytes())
        reached.append(by_row)
    return moments.tolist(), reached


@contextmanager
def _on_clock(datas, reached, ticker):
    """Let the feeds' lines read through the clock; afterwards they stand where the clock left them."""
    for data, bars in zip(datas, reached, strict=True):
        for name in [name for name in vars(data) if name.startswith("tick_")]:
            delattr(data, name)  # left by an indicator that was calculated bar by bar
        data.on_clock = True
        for line in data.lines:
            put_on_clock(line, ClockLine, bars, ticker)
    try:
        yield
    finally:
        for data in datas:
            data.on_clock = False
            for line in data.lines:
                take_off_clock(line, PanelLine)


@contextmanager
def _broker_on_clock(broker, ticker):
    """Let a stock broker look at open positions only; any other broker is left as it is."""
    stock = type(broker)
    if stock not in BROKERS:
        yield
        return
    broker.__class__ = BROKERS[stock]
    broker.on_clock(ticker)
    try:
        yield
    finally:
        broker.off_clock()
        broker.__class__ = stock
