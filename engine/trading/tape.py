"""A panel's bars as arrays, as the engine's loop meets them.

``Bars`` are what a panel states, and serve any number of tapes; a ``Tape`` is what one run meets of them, with what it
is charged and paid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clusterfolio.engine.trading.backtest import traded_from, traded_rows
from clusterfolio.engine.trading.cash_flows import cash_flows
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.costs import costs_of
from clusterfolio.feeds.bt_feed import terminal_bars
from clusterfolio.feeds.panel import Panel


@dataclass(frozen=True)
class Bars:
    """A panel's bars on every day from a first one on, assets sorted by name.

    The last column stands for an empty slot. Shapes ``(n_days, n_assets + 1)`` unless stated.

    Attributes:
        first: the first day on which a run that is traded on them may decide.
        fractional: in units of total-return levels; else of the market's shares.
        panel: the prices they were read from, in its own order of columns, from no later than the first day on.
        order: columns of ``panel``, by those here, ``(n_assets,)``.
        days: every day on which any asset has a bar, terminal bars included.
        open, high, low: where there is a bar; ``high`` and ``low`` None where nobody asked for them.
        close: the last one known.
        bar: whether there is one, with an open to fill at.
        silent: sessions since the last one.
        began, ended: row of the first close and of the last, ``(n_assets + 1,)``; ``len(days)`` and -1 where there is
            none.
        dividends: what a day pays for each unit held at the close before; None = they are re-invested.
        lots: units of which whole multiples are traded; None = fractions are.
    """

    first: pd.Timestamp
    fractional: bool
    panel: Panel
    order: np.ndarray
    days: pd.DatetimeIndex
    open: np.ndarray
    high: np.ndarray | None
    low: np.ndarray | None
    close: np.ndarray
    bar: np.ndarray
    silent: np.ndarray
    began: np.ndarray
    ended: np.ndarray
    dividends: np.ndarray | None
    lots: np.ndarray | None


@dataclass(frozen=True)
class Tape:
    """A panel's bars as the engine's loop meets them, from the first decision on; assets sorted by name.

    The last column stands for an empty slot. Shapes ``(n_days, n_assets + 1)`` unless stated.

    Attributes:
        days: every day on which any asset has a bar, terminal bars included.
        open, high, low: where there is a bar; ``high`` and ``low`` None where nobody asked for them.
        close: the last one known.
        bar: whether there is one, with an open to fill at.
        silent: sessions since the last one.
        listed: row from which a close is known, ``(n_assets + 1,)``; 0 for the empty slot.
        commission: part of the value traded, ``(n_assets + 1,)``.
        spread: half the spread, part of the value traded, as known at the close.
        impact: part of it that trading one unit costs; it grows with the root of the units.
        most: units in one order at most; None = there is no cap.
        interest: what each day pays on the cash of the close before, as a fraction of it, ``(n_days,)``.
        financing: what it costs beyond that where the cash is borrowed, ``(n_days,)``.
        dividends: what it pays for each unit held at the close before; None = they are re-invested.
        lots: units of which whole multiples are traded; None = fractions are.
        session: which days are sessions, ``(n_days,)``.
        count: sessions up to each day, ``(n_days,)``.
        column: position here of each column of the panel, -1 where it never trades, ``(n_panel_columns + 1,)``.
    """

    days: pd.DatetimeIndex
    open: np.ndarray
    high: np.ndarray | None
    low: np.ndarray | None
    close: np.ndarray
    bar: np.ndarray
    silent: np.ndarray
    listed: np.ndarray
    commission: np.ndarray
    spread: np.ndarray
    impact: np.ndarray
    most: np.ndarray | None
    interest: np.ndarray
    financing: np.ndarray
    dividends: np.ndarray | None
    lots: np.ndarray | None
    session: np.ndarray
    count: np.ndarray
    column: np.ndarray


def read_bars(panel: Panel, first: pd.Timestamp, fractional: bool = True, ranges: bool = False) -> Bars:
    """The bars of runs that decide on ``first`` at the earliest.

    Args:
        fractional: as ``traded_rows`` takes it.
        ranges: read each day's high and low too, which nothing but a resting order looks at.
    """
    traded, _ = traded_rows(panel, first, fractional)  # views of the panel's own: none of it is copied but here
    cut = traded.panel
    order = np.argsort(cut.symbols.to_numpy(), kind="stable")
    names = cut.symbols[order]
    stops = terminal_bars(cut)
    days = cut.dates[cut.close.notna().to_numpy().any(axis=1)].union(pd.DatetimeIndex(stops["date"].unique()))
    close, opens = (_by_day(frame, names, days, np.nan) for frame in (cut.close, cut.open))
    high, low = (_by_day(frame, names, days, np.nan) if ranges else None for frame in (cut.high, cut.low))
    known = np.isfinite(close)
    ended = np.where(known.any(axis=0), len(days) - 1 - known[::-1].argmax(axis=0), -1)
    at = days.get_indexer(stops["date"]), names.get_indexer(stops["symbol"])
    for prices in (close, opens, high, low):
        if prices is not None:
            prices[at] = stops["price"].to_numpy()
    bar = np.isfinite(close)
    last = np.maximum.accumulate(np.where(bar, np.arange(len(days), dtype=np.int32)[:, None], -1), axis=0)
    count = panel.sessions.searchsorted(days, side="right").astype(np.int32)
    silent = np.where(last >= 0, count[:, None] - count[last], 0)
    close = np.where(last >= 0, np.take_along_axis(close, last, axis=0), 1.0)
    began = np.where((last >= 0).any(axis=0), (last >= 0).argmax(axis=0), len(days))
    return Bars(
        first, fractional, cut, order, days, opens, high, low, close, bar & np.isfinite(opens), silent, began, ended,
        *(None if table is None else _by_day(table, names, days, spare)
          for table, spare in ((traded.dividends, 0.0), (traded.lots, 1.0))),
    )  # fmt: skip


def read_tape(
    panel: Panel,
    first: pd.Timestamp,
    trading: TradingConfig,
    cash: pd.Series | float | None = None,
    bars: Bars | None = None,
    ranges: bool = False,
) -> Tape:
    """The bars of a run that decides on ``first`` for the first time, and what ``cash`` earns meanwhile.

    Args:
        bars: the panel's, from no later than ``first`` on; None = they are read.
        ranges: see ``read_bars``.
    """
    if bars is None or bars.fractional != trading.fractional or bars.first > first or (ranges and bars.high is None):
        bars = read_bars(panel, first, trading.fractional, ranges)
    cut, order, began = bars.panel, bars.order, bars.days.get_loc(first)
    costs = costs_of(panel, cut, trading)
    # What had its last bar before a run's own has no feed in it.
    gone = bars.ended < bars.days.searchsorted(traded_from(panel, first))
    column = np.append(cut.symbols[order].get_indexer(panel.symbols), len(order))  # a pick of -1 is the spare column
    column[:-1][gone[column[:-1]]] = -1
    listed = np.append(bars.began[:-1] - began, 0)
    days = bars.days[began:]
    known = costs.days.searchsorted(days, side="right") - 1  # see ``Costs.row``
    spread, impact, most = (
        _known_on(table, known, order, spare)
        for table, spare in ((costs.spread, 0.0), (costs.impact, 0.0), (costs.most, np.inf))
    )
    session = days.isin(panel.sessions)
    flows = cash_flows(cash, trading, first, days[session])
    interest, financing = (
        pd.Series(by, dtype=float).reindex(days, fill_value=0.0).to_numpy() for by in (flows.rates, flows.financing)
    )
    high, low, dividends, lots = (
        None if table is None else table[began:] for table in (bars.high, bars.low, bars.dividends, bars.lots)
    )
    return Tape(
        days, bars.open[began:], high, low, bars.close[began:], bars.bar[began:], bars.silent[began:], listed,
        np.append(costs.commission[order], 0.0), spread, impact, most if trading.volume_cap else None, interest,
        financing, dividends, lots, session, panel.sessions.searchsorted(days, side="right"), column,
    )  # fmt: skip


def _by_day(frame: pd.DataFrame, names: pd.Index, days: pd.DatetimeIndex, spare: float) -> np.ndarray:
    """A frame's rows of these days and columns of these names, NaN where it has none, and the spare column."""
    values = np.full((len(days), len(names) + 1), np.nan)
    rows = frame.index.get_indexer(days)
    there = rows >= 0
    values[there, :-1] = frame.to_numpy(dtype=float)[rows[there]][:, frame.columns.get_indexer(names)]
    values[:, -1] = spare
    return values


def _known_on(table: np.ndarray, rows: np.ndarray, order: np.ndarray, spare: float) -> np.ndarray:
    """What is known of costs on each day; one row for all days where they do not change."""
    same = table.strides[0] == 0
    found = np.column_stack([(table[:1] if same else table[rows])[:, order], np.full(1 if same else len(rows), spare)])
    return np.broadcast_to(found, (len(rows), found.shape[1]))
