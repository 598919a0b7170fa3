"""Made-up daily bars, and how vendors write them: for tests of what is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.feeds.raw import RawData
from clusterfolio.feeds.sources.files.reader import read_files

DAYS = pd.bdate_range("2022-06-01", periods=260, name="Date")
NAMES = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"}


def bars(seed: int = 0, level: float = 50.0, days: pd.DatetimeIndex = DAYS, decimals: int = 4) -> pd.DataFrame:
    """Open, high, low, close (rounded) and volume of one healthy asset."""
    rng = np.random.default_rng(seed)
    close = (level * np.exp(rng.normal(0, 0.012, len(days)).cumsum())).round(decimals)
    open_ = (close * np.exp(rng.normal(0, 0.004, len(days)))).round(decimals)
    edge = (level * np.abs(rng.normal(0, 0.003, len(days)))).round(decimals)
    high, low = np.maximum(open_, close) + edge, np.minimum(open_, close) - edge
    volume = rng.integers(100_000, 900_000, len(days)).astype(float)
    table = {"open": open_, "high": high.round(decimals), "low": low.round(decimals), "close": close, "volume": volume}
    return pd.DataFrame(table, index=days)


def titled(frame: pd.DataFrame) -> pd.DataFrame:
    """With the usual headings and the dates in a column."""
    return frame.rename(columns=NAMES).rename_axis("Date").reset_index()


def write(path: Path, table: pd.DataFrame, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, **options)


def said(raw: RawData, symbol: str) -> list[str]:
    """The remarks on a symbol, in words."""
    return [str(remark) for remark in raw.remarks_on(symbol)]


def read_right(folder: Path, symbol: str, truth: pd.DataFrame, columns=("close",)) -> RawData:
    """Assert that a symbol's bars in a folder are these."""
    raw = read_files([folder])
    assert symbol in raw.bars, (list(raw.bars), raw.verdicts)
    frame = raw.bars[symbol].frame
    assert frame.index.tolist() == truth.index.tolist()
    np.testing.assert_allclose(frame[list(columns)], truth[list(columns)], rtol=1e-6)
    return raw
