"""What takes a strategy through a bar of the shared clock: ``bt.Strategy._oncepost`` and what that calls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager

import backtrader as bt
import numpy as np

from clusterfolio.engine.trading.clock_lines import DatedLine, LineBuffer, Pace, indicators_on_clock, take_off_clock

_STEPS = ("_oncepost", "forward", "_notify", "_next_analyzers", "_next_observers")


@contextmanager
def strategies_on_clock(runstrats, reached, ticker):
    """Put the strategies and their indicators on the clock.

    Yields:
        per strategy what takes it through a bar, given the bar's day number.
    """
    counting = [strat for strat in runstrats if type(strat)._getminperstatus is bt.Strategy._getminperstatus]
    for strat in counting:
        strat._getminperstatus = _minimum_period(strat, reached, ticker)
    lines = [strat.lines.datetime for strat in runstrats]
    for line in lines:
        line.__class__, line._ticker = DatedLine, ticker
    steps, served = [], []
    for strat in runstrats:
        pace = Pace()
        theirs, moved = indicators_on_clock(strat.getindicators(), ticker, pace)
        served += theirs
        steps.append(_step(strat, moved, pace, ticker))
    try:
        yield steps
    finally:
        for strat in counting:
            del strat._getminperstatus
        for line in lines:
            line.__class__ = LineBuffer
        for line, kind in served:
            take_off_clock(line, kind)


def _step(strat, moved, pace, ticker) -> Callable[[float], None]:
    """``strat._oncepost``, which moves only those indicators that the clock does not serve."""
    as_stock = all(getattr(type(strat), name) is getattr(bt.Strategy, name) for name in _STEPS)
    analyzers, observers = strat.analyzers._items, strat._lineiterators[strat.ObsType]
    lines, dates = strat.lines.lines, strat.lines.datetime

    def step(moment: float) -> None:
        pace.row = ticker.row
        if not as_stock:
            strat._oncepost(moment)
            return
        for indicator in moved:
            if len(indicator._clock) > len(indicator):
                indicator.advance()
        for line in lines:
            line.forward()
        dates[0] = moment
        _notify(strat)
        status = strat._getminperstatus()
        if status < 0:
            strat.next()
        elif status == 0:
            strat.nextstart()
        else:
            strat.prenext()
        if analyzers:
            strat._next_analyzers(status, once=True)
        if observers:
            strat._next_observers(status, once=True)
        strat.clear()

    return step


def _notify(strat) -> None:
    """``strat._notify()``."""
    if strat.cerebro.p.quicknotify:
        strat._notify()
        return
    analyzers = [*strat.analyzers._items, *strat._slave_analyzers]
    for order in strat._orderspending:
        if order.exectype != order.Historical or order.histnotify:
            strat.notify_order(order)
        for analyzer in analyzers:
            analyzer._notify_order(order)
    for trade in strat._tradespending:
        strat.notify_trade(trade)
        for analyzer in analyzers:
            analyzer._notify_trade(trade)
    broker = strat.broker
    cash, value, fund_value, fund_shares = broker.getcash(), broker.getvalue(), broker.fundvalue, broker.fundshares
    strat.notify_cashvalue(cash, value)
    strat.notify_fund(cash, value, fund_value, fund_shares)
    for analyzer in analyzers:
        analyzer._notify_cashvalue(cash, value)
        analyzer._notify_fund(cash, value, fund_value, fund_shares)


def _minimum_period(strat, reached, ticker):
    """``strat._getminperstatus`` with the answer for every row worked out beforehand."""
    longest = {}  # feeds with the same bars differ in their minimum period only
    for period, bars in zip(strat._minperiods, reached, strict=True):
        key = id(bars)
        if key not in longest or longest[key][0] < period:
            longest[key] = period, bars
    missing = np.full(len(reached[0]), np.iinfo(np.int64).min)
    for period, bars in longest.values():
        np.maximum(missing, period - 1 - np.frombuffer(bars, dtype=np.int32), out=missing)
    by_row = missing.tolist()

    def status():
        strat._minperstatus = by_row[ticker.row]
        return strat._minperstatus

    return status
