"""Whose rows they are where no column of symbols says so, and what tells several rows of a day apart."""

from __future__ import annotations

import re
from pathlib import PurePath

import numpy as np
import pandas as pd

from clusterfolio.feeds.raw import NOTED
from clusterfolio.feeds.sources.files.columns import NotPrices, plain, role_of, shown
from clusterfolio.feeds.sources.files.containers import Sheet
from clusterfolio.feeds.sources.files.names import DATE, ENDINGS, labels_of
from clusterfolio.feeds.sources.files.parts import Note
from clusterfolio.feeds.sources.files.shapes import TICKER

#: Share of days with several prices from which on a table holds more than one asset under a name.
MANY = 0.05


def whose(
    sheet: Sheet, cells: pd.DataFrame, spare: list[int], stamps: pd.DatetimeIndex, numbers: dict[str, np.ndarray]
) -> tuple[list, np.ndarray]:
    """Whose rows these are where no column says so by its name: an identifier's, else those of the file's own name.

    Raises:
        NotPrices: many days have several prices, and a column that is no known one tells them apart.
    """
    close = numbers["close" if "close" in numbers else "adj_close"]
    many = several_prices(stamps, close)
    if many > MANY:
        for at in spare:
            codes, texts = pd.factorize(cells[at].astype(str).str.strip())
            if len(texts) > 1 and _tells_apart(codes, stamps, close):
                return list(texts), codes
        telling = telling_columns(sheet, np.arange(len(cells)), stamps, close, len(cells))
        if telling:
            raise NotPrices(
                f"the same day several times with different prices, and no column of symbols; column {telling} would "
                "tell them apart: call it symbol"
            )
    zero = np.zeros(len(cells), dtype=int)
    for key in ("symbol", "ticker", "security"):
        if sheet.above.get(key):
            return [sheet.above[key].removesuffix(" US Equity")], zero
    for at in spare:
        texts = cells[at].astype(str).str.strip().unique()
        if (
            plain(sheet.names[at]) in ("name", "index", "security", "pair")
            and len(texts) == 1
            and TICKER.match(texts[0])
        ):
            return [texts[0]], zero
    labels = labels_of(sheet.path)
    stem = ENDINGS.sub("", PurePath(sheet.path).name)
    if re.fullmatch(DATE, stem) and not (stamps.year == int(stem[:4])).all():
        labels = [stem]  # a symbol of digits
    return [labels], zero


def said_of(labels: list, sheet: Sheet) -> list[Note]:
    """What is to be said of a symbol that is only a part of its file's name."""
    if isinstance(labels[0], list) and len(labels[0]) > 1:
        return [("symbol from the file's name", sheet.path, NOTED)]
    return []


def several_prices(stamps: pd.DatetimeIndex, close: np.ndarray) -> float:
    """The share of moments that are stated several times with different prices."""
    repeated = stamps.duplicated(keep=False)
    if not repeated.any():
        return 0.0
    prices = pd.Series(close[repeated]).groupby(stamps[repeated])
    return float((prices.max() > prices.min() * (1 + 1e-5)).sum() / max(stamps.nunique(), 1))


def _tells_apart(codes: np.ndarray, stamps: pd.DatetimeIndex, close: np.ndarray) -> bool:
    """Whether within each code hardly any moment has several prices."""
    table = pd.DataFrame({"code": codes, "stamp": stamps, "close": close}).dropna()
    table = table[table.duplicated(["code", "stamp"], keep=False)]
    return len(table) < 0.005 * len(codes)


def telling_columns(sheet: Sheet, rows: np.ndarray, stamps: pd.DatetimeIndex, close: np.ndarray, n_rows: int) -> str:
    """The columns by which these rows' several prices of a day differ; empty = none is seen."""
    every = sheet.read()
    if len(every) != n_rows:
        return ""
    stamps = stamps[rows] if len(stamps) != len(rows) else stamps
    found = []
    for at in every:
        if role_of(sheet.names[at]) is not None:
            continue
        codes, texts = pd.factorize(every[at].iloc[rows].astype(str))
        if 1 < len(texts) <= max(2, len(rows) // 5) and _tells_apart(codes, stamps, close):
            found.append(sheet.names[at])
    return shown(found)
