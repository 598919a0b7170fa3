"""A panel's bars as arrays, as the engine's loop meets them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clusterfolio.engine.trading.backtest import traded_part
from clusterfolio.engine.trading.cash_flows import cash_flows
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.costs import costs_of
from clusterfolio.feeds.bt_feed import terminal_bars
from clusterfolio.feeds.panel import Panel


@dataclass(frozen=True)
class Tape:
    """A panel's bars as the engine's loop meets them, from the first decision on; assets sorted by name.

    The last column stands for an empty slot. Shapes ``(n_days, n_assets + 1)`` unless stated.

    Attributes:
        days: every day on which any asset has a bar, terminal bars included.
        open, high, low: where there is a bar.
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
    high: np.ndarray
    low: np.ndarray
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


def read_tape(panel: Panel, first: pd.Timestamp, trading: TradingConfig, cash: pd.Series | float | None = None) -> Tape:
    """The bars of a run that decides on ``first`` for the first time, and what ``cash`` earns meanwhile."""
    traded = traded_part(panel, first, trading.fractional)
    cut = traded.panel
    order = sorted(range(len(cut.symbols)), key=lambda column: cut.symbols[column])
    names = cut.symbols[order]
    stops = terminal_bars(cut)
    days = cut.dates[cut.close.notna().any(axis=1)].union(pd.DatetimeIndex(stops["date"].unique()))
    close = _with_spare(cut.close[names].reindex(days).to_numpy(dtype=float), np.nan)
    opens, highs, lows = (
        _with_spare(frame[names].reindex(days).to_numpy(dtype=float), np.nan) for frame in (cut.open, cut.high, cut.low)
    )
    at = days.get_indexer(stops["date"]), names.get_indexer(stops["symbol"])
    close[at] = opens[at] = highs[at] = lows[at] = stops["price"].to_numpy()
    bar = np.isfinite(close)
    last = np.maximum.accumulate(np.where(bar, np.arange(len(days))[:, None], -1), axis=0)
    count = panel.sessions.searchsorted(days, side="right")
    silent = np.where(last >= 0, count[:, None] - count[np.maximum(last, 0)], 0)
    close = np.where(last >= 0, np.take_along_axis(close, np.maximum(last, 0), axis=0), 1.0)
    costs = costs_of(panel, cut, trading)
    column = np.append(names.get_indexer(panel.symbols), len(names))  # a pick of -1 is the spare column
    began = days.get_loc(first)
    listed = np.where((last >= 0).any(axis=0), (last >= 0).argmax(axis=0) - began, len(days))
    listed[-1] = 0
    fills = bar & np.isfinite(opens)
    days = days[began:]
    known = np.array([costs.row(day) for day in days])
    spread, impact, most = (
        _with_spare(table[known][:, order], spare)
        for table, spare in ((costs.spread, 0.0), (costs.impact, 0.0), (costs.most, np.inf))
    )
    session = days.isin(panel.sessions)
    flows = cash_flows(cash, trading, first, days[session])
    interest, financing = (np.array([by.get(day, 0.0) for day in days]) for by in (flows.rates, flows.financing))
    return Tape(
        days, opens[began:], highs[began:], lows[began:], close[began:], fills[began:],
        silent[began:].astype(np.int32), listed,
        np.append(costs.commission[order], 0.0), spread, impact, most if trading.volume_cap else None, interest,
        financing, _by_day(traded.dividends, names, days, 0.0), _by_day(traded.lots, names, days, 1.0), session,
        count[began:], column,
    )  # fmt: skip


def _by_day(frame: pd.DataFrame | None, names: pd.Index, days: pd.DatetimeIndex, spare: float) -> np.ndarray | None:
    return None if frame is None else _with_spare(frame[names].reindex(days).to_numpy(dtype=float), spare)


def _with_spare(values: np.ndarray, fill: float) -> np.ndarray:
    return np.column_stack([values, np.full(len(values), fill)])
