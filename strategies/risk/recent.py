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


def since(panel: Panel, name: str, day: pd.Timestamp) -> tuple[np.ndarray, float]:
    """A name's closes from ``day`` on, without days on which it had none, and its open on that day (NaN = none)."""
    first = int(panel.dates.searchsorted(day))
    closes = _values(panel.close, panel, [name], first)[:, 0]
    opens = _values(panel.open, panel, [name], first)[:1, 0]
    return closes[np.isfinite(closes)], float(opens[0]) if len(opens) else np.nan


def bars(panel: Panel, name: str, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """High, low and close of a name's last bars, each ``(at most count,)``, of the rows that so many sessions take."""
    first = max(0, len(panel.dates) - int(ROWS_PER_SESSION * count) - MARGIN)
    table = [_values(getattr(panel, field), panel, [name], first)[:, 0] for field in ("high", "low", "close")]
    known = np.isfinite(table[2])
    high, low, close = (column[known][-count:] for column in table)
    return high, low, close


def _values(frame: pd.DataFrame, panel: Panel, names: Sequence[str], first: int) -> np.ndarray:
    return frame.to_numpy()[first:, panel.symbols.get_indexer(list(names))].astype(float)


def _carried(closes: np.ndarray) -> np.ndarray:
    """Each column's last finite value carried on."""
    rows = np.where(np.isfinite(closes), np.arange(len(closes))[:, None], 0)
    return np.take_along_axis(closes, np.maximum.accumulate(rows, axis=0), axis=0)
