"""The last prices of a few names, without looking at the rest of a panel: a rule is asked thousands of times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import Panel

#: Rows of a panel for each session looked back at: weekend bars and other holidays included, with a margin.
ROWS_PER_SESSION, MARGIN = 1.6, 30


def session_closes(panel: Panel, names: Sequence[str], sessions: int) -> np.ndarray:
    """Last known closes at the last sessions, ``(n_sessions, n_names)``; NaN where there was none within the rows read.

    The same numbers as the end of ``panel.session_closes()[names]``, but for names without a bar for long before.
    """
    first = max(0, len(panel.dates) - int(ROWS_PER_SESSION * sessions) - MARGIN)
    closes = _carried(_values(panel.close, panel, names, first))
    days = panel.sessions[-sessions:]
    rows = panel.dates[first:].searchsorted(days, side="right") - 1
    return np.where((rows >= 0)[:, None], closes[np.maximum(rows, 0)], np.nan)


def session_returns(panel: Panel, names: Sequence[str], sessions: int) -> np.ndarray:
    """Simple returns at the last sessions, ``(n_sessions, n_names)``; 0 where unknown."""
    closes = session_closes(panel, names, sessions + 1)
    return np.nan_to_num(closes[1:] / closes[:-1] - 1.0)


def since(
    panel: Panel, names: Sequence[str], days: Sequence[pd.Timestamp]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each name its last close, its highest since the day it was bought, and that day's open, ``(n_names,)`` each.

    NaN where it has had no close since; the open of a day without one is the first close after it.
    """
    rows = panel.dates.searchsorted(pd.DatetimeIndex(days))
    first = int(rows.min())
    closes = _values(panel.close, panel, names, first)
    closes[np.arange(first, first + len(closes))[:, None] < rows] = np.nan
    known = np.isfinite(closes)
    some = known.any(axis=0)
    columns = np.arange(len(names))
    newest, oldest = len(closes) - 1 - known[::-1].argmax(axis=0), known.argmax(axis=0)
    last, high = closes[newest, columns], np.where(known, closes, -np.inf).max(axis=0, initial=-np.inf)
    opens = _values(panel.open, panel, names, first)
    entry = opens[np.minimum(rows - first, len(opens) - 1), columns]
    entry = np.where(np.isfinite(entry) & (entry > 0), entry, closes[oldest, columns])
    return np.where(some, last, np.nan), np.where(some, np.maximum(high, entry), np.nan), entry


def bars(panel: Panel, name: str, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """High, low and close of a name's last bars, each ``(at most count,)``, of the rows that so many sessions take."""
    first = max(0, len(panel.dates) - int(ROWS_PER_SESSION * count) - MARGIN)
    table = [_values(getattr(panel, field), panel, [name], first)[:, 0] for field in ("high", "low", "close")]
    known = np.isfinite(table[2])
    high, low, close = (column[known][-count:] for column in table)
    return high, low, close


def _values(frame: pd.DataFrame, panel: Panel, names: Sequence[str], first: int) -> np.ndarray:
    columns = [panel.symbols.get_loc(name) for name in names]  # get_indexer would make an index of the names first
    return frame.to_numpy()[first:, columns].astype(float)


def _carried(closes: np.ndarray) -> np.ndarray:
    """Each column's last finite value carried on."""
    rows = np.where(np.isfinite(closes), np.arange(len(closes))[:, None], 0)
    return np.take_along_axis(closes, np.maximum.accumulate(rows, axis=0), axis=0)
