"""Whose prices they are: symbols as vendors spell them, and what the names of files and folders tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import pandas as pd

from clusterfolio.feeds.currency import pair_of
from clusterfolio.feeds.sources.files.columns import SPELLINGS, plain
from clusterfolio.feeds.symbols import spelling

ENDINGS = re.compile(r"(\.(csv|tsv|txt|asc|prn|parquet|pq|gz|bz2|xz|zip))+$", re.IGNORECASE)

#: Words of a file's name that are no part of a symbol.
WORDS = frozenset(
    (
        *(
            "historical",
            "history",
            "hist",
            "data",
            "prices",
            "price",
            "daily",
            "ohlc",
            "ohlcv",
            "eod",
            "stock",
            "stocks",
        ),
        *("quotes", "quote", "bars", "candles", "d", "1d", "day", "1day", "1440", "1440m", "download", "export"),
    )
)

#: Names of files and folders that are no symbols.
GENERIC = WORDS | frozenset(
    (
        *(
            "part",
            "table",
            "all",
            "close",
            "closes",
            "open",
            "high",
            "low",
            "volume",
            "market",
            "raw",
            "csv",
            "parquet",
        ),
        *("equities", "equity", "etf", "etfs", "index", "indices", "fx", "forex", "crypto", "us", "files", "values"),
    )
)

#: What a date in a file's name looks like: 2022, 2022-06, 2022_06_01, 20220601.
DATE = r"(?:19|20)\d\d(?:[-_.]?(?:0[1-9]|1[0-2])(?:[-_.]?(?:0[1-9]|[12]\d|3[01]))?)?"


@dataclass
class Names:
    """Which symbols are wanted (None = all), and under which name.

    Attributes:
        wanted: the symbols to take.
        preferred: names by which others may call theirs, where everything is taken.
    """

    wanted: Sequence[str] | None
    preferred: Sequence[str] = ()

    def __post_init__(self):
        self.known = [*(self.wanted or ()), *self.preferred]
        self._exact = set(self.known)
        self._alike = {spelling(name): name for name in reversed(self.known)}

    def of(self, symbol: str) -> str | None:
        """The name to go by: one that is asked for, or as stated (if all are, or an exchange rate); None = unwanted.

        >>> names = Names(["BRK-B", "SPY"])
        >>> [names.of(symbol) for symbol in ("brk.b", "SPY US Equity", "eurusd=x", "AAPL")]
        ['BRK-B', 'SPY', 'EURUSD=X', None]
        """
        symbol = re.sub(r" (US|UN|UW|UQ) Equity$", "", symbol)  # Bloomberg's
        if symbol in self._exact:
            return symbol
        if symbol == symbol.lower():
            symbol = symbol.upper()  # as some vendors write all of theirs
        name = self._alike.get(spelling(symbol), symbol)
        return name if self.wanted is None or name in self._exact or pair_of(name) else None

    def of_any(self, symbols: Sequence[str]) -> str | None:
        """The name of the first of these readings that is known; of the last one where everything is taken."""
        for symbol in symbols:
            name = self.of(symbol)
            if name in self._exact:
                return name
        return self.of(symbols[-1]) if symbols else None


def labels_of(path: str) -> list[str]:
    """The symbols that a file's name and folders may mean, the likeliest last; empty = none.

    >>> labels_of("AAPL.csv"), labels_of("MSFT Historical Data.csv"), labels_of("2022/ABC.csv")
    (['AAPL'], ['MSFT HISTORICAL DATA', 'MSFT'], ['ABC'])
    >>> labels_of("symbol=AAA/part-0.parquet"), labels_of("BTCUSDT-1d-2023-01.csv")[-1], labels_of("KO/2022.csv")[-1]
    (['AAA'], 'BTCUSDT', 'KO')
    """
    *folders, file = PurePath(path).parts
    for part in (*folders, file):
        key, _, value = ENDINGS.sub("", part).partition("=")
        if plain(key) in SPELLINGS["symbol"] and value:
            return [value.upper()]
    stem = ENDINGS.sub("", file)
    bare = _bare(stem)
    if bare:
        return list(dict.fromkeys([stem.upper(), bare.upper()]))
    for folder in reversed(folders):
        if "=" not in folder and _bare(ENDINGS.sub("", folder)):
            return [stem.upper(), _bare(ENDINGS.sub("", folder)).upper()]
    return [stem.upper()]


def _bare(stem: str) -> str:
    """A name without dates, the words of exports, and a browser's count; empty = nothing is left."""
    text = re.sub(r"\s*\(\d+\)$", "", stem)
    dated = re.sub(rf"(?<![A-Za-z0-9]){DATE}(?![A-Za-z0-9])", "", text)
    text = dated if dated != text else text
    words = [
        word
        for word in re.split(r"[_ ]+|(?<=[A-Za-z0-9])-(?=[^-]{{2,}}$)|-(?=1d\b|-|$)", text)
        if word and word.strip("-.")
    ]
    kept = [word.strip("-.") if word != text else word for word in words]
    while len(kept) > 1 and kept[-1].lower() in WORDS and not kept[-1].isupper():
        kept.pop()
    while len(kept) > 1 and kept[0].lower() in WORDS | {"adjusted"} and not kept[0].isupper():
        kept.pop(0)
    if len(kept) == 2 and kept[1] in ("us", "US"):
        kept = [f"{kept[0]}.US"]
    name = "_".join(kept) if "_" in stem else " ".join(kept)
    return "" if name.lower() in GENERIC or re.fullmatch(r"part[-_ ]?[\w-]*|\d{1,3}", name.lower()) else name


def date_in(path: str) -> pd.Timestamp | None:
    """The one day that a file's name or folders state (``2024-01-31.csv``, ``date=2024-01-31``); None = none."""
    text = "/".join(ENDINGS.sub("", part) for part in PurePath(path).parts)
    found = re.findall(r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)", text)
    days = {pd.Timestamp(f"{year}-{month}-{day}") for year, month, day in found if not (month == "02" and day > "29")}
    return days.pop() if len(days) == 1 else None
