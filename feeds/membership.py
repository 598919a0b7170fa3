"""Who was in the universe when: spells of membership, as an index provider or a universe file states them.

A table with a row per spell. Columns ``symbol`` (or ``ticker``), ``from`` (or ``start``, ``start_date``) and ``to`` (or
``end``, ``end_date``): a member from the close of ``from`` on; on the day ``to`` it is known to be none any more. An
empty ``from`` means since ever, an empty ``to`` means still. Other columns are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import STOPPED_AFTER, Panel
from clusterfolio.feeds.symbols import former, spelling

SPELLINGS = {
    "symbol": ("symbol", "ticker"),
    "start": ("from", "start", "start_date"),
    "end": ("to", "end", "end_date"),
}


@dataclass(frozen=True)
class Membership:
    """Spells of membership.

    Attributes:
        spells: columns ``ticker`` (``feeds.symbols.spelling``), ``start`` and ``end``: a member on the days
            ``start <= day < end``; NaT = without a bound. Several rows a ticker.
        name: of the file, for the words about it.
    """

    spells: pd.DataFrame
    name: str = ""

    def tickers_of(self, symbols: Iterable[str]) -> dict[str, list[tuple[str, pd.Timestamp]]]:
        """By symbol that the list names: its tickers there, each with the day before which a spell of it began.

        A ticker that was changed (``feeds.symbols.former``) counts for its successor; where it is among ``symbols`` too
        it has prices of its own, and counts only for a successor that the list does not name.
        """
        symbols = list(symbols)
        listed, own = set(self.spells["ticker"]), {_ticker(symbol) for symbol in symbols}
        found = {}
        for symbol in symbols:
            ticker = _ticker(symbol)
            tickers = [(ticker, pd.Timestamp.max)]
            tickers += [(old, day) for old, day in former(ticker) if old not in own or ticker not in listed]
            named = [(ticker, day) for ticker, day in tickers if ticker in listed]
            if named:
                found[symbol] = named
        return found

    def on(self, dates: pd.DatetimeIndex, symbols: pd.Index) -> pd.DataFrame:
        """Who is a member, bool ``(n_dates, n_symbols)``; a symbol the list never names is one throughout.

        Which symbols the list names is part of the question, as the universe is; no spell that begins or ends later
        changes an earlier row of a named one.
        """
        member = np.ones((len(dates), len(symbols)), dtype=bool)
        at = {symbol: column for column, symbol in enumerate(symbols)}
        by_ticker = dict(list(self.spells.groupby("ticker")))
        for symbol, tickers in self.tickers_of(symbols).items():
            inside = np.zeros(len(dates), dtype=bool)
            for ticker, before in tickers:
                for start, end in by_ticker[ticker][["start", "end"]].itertuples(index=False):
                    if pd.isna(start) or start < before:
                        inside |= (pd.isna(start) | (dates >= start)) & (pd.isna(end) | (dates < end))
            member[:, at[symbol]] = inside
        return pd.DataFrame(member, dates, symbols)

    def members(self, day: pd.Timestamp) -> set[str]:
        """Tickers with a spell that holds ``day``."""
        start, end = self.spells["start"], self.spells["end"]
        return set(self.spells.loc[(start.isna() | (start <= day)) & (end.isna() | (end > day)), "ticker"])

    def coverage(self, panel: Panel, days: Iterable[pd.Timestamp]) -> pd.DataFrame:
        """Of the members on each of these days, how many have prices: columns ``members`` and ``priced``.

        Priced is a member whose symbol in the panel may be held and had a bar in the ``STOPPED_AFTER`` sessions before.
        """
        symbol_of = {
            (ticker, before): symbol
            for symbol, tickers in self.tickers_of(panel.tradable).items()
            for ticker, before in tickers
        }
        rows = {}
        for day in days:
            known = panel.until(day)
            fresh = known.bars_since_last() <= STOPPED_AFTER
            members = self.members(day)
            priced = {ticker for (ticker, before), symbol in symbol_of.items() if ticker in members and fresh[symbol]}
            rows[day] = (len(members), len(priced))
        return pd.DataFrame.from_dict(rows, orient="index", columns=["members", "priced"])


def _ticker(symbol: str) -> str:
    """How a list writes it; a symbol's later histories (``SYM~2``) are members as it is."""
    return spelling(symbol.partition("~")[0])


def read_membership(path: str | Path) -> Membership:
    """The spells in a CSV file.

    Raises:
        ValueError: no such file, a column missing, a day that cannot be read, a spell that ends before it begins.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"membership: {str(path)!r} is no file; the path of a CSV with symbol, from and to is meant")
    found = spells_in(path)
    if found is None:
        raise ValueError(f"{path.name}: no columns from and to (or start_date and end_date) beside the symbol's")
    return found


def spells_in(path: Path) -> Membership | None:
    """The spells of a CSV file that has columns for them; None where it has not, as a universe file need not."""
    try:
        header = path.read_text(encoding="utf-8-sig").partition("\n")[0]
        separator = ";" if ";" in header and "," not in header else ","
        text = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig").fillna("")
    except (UnicodeDecodeError, pd.errors.EmptyDataError, pd.errors.ParserError) as fault:
        raise ValueError(f"{path.name}: no CSV table in UTF-8: {fault}") from fault
    text.columns = [str(name).strip().lower() for name in text.columns]
    at = {role: next((name for name in names if name in text.columns), None) for role, names in SPELLINGS.items()}
    if at["start"] is None and at["end"] is None:
        return None
    if at["symbol"] is None:
        raise ValueError(f"{path.name}: no column 'symbol' (or 'ticker') among {', '.join(text.columns)}")
    empty = pd.Series("", index=text.index)
    spells = pd.DataFrame({"ticker": text[at["symbol"]].map(spelling)})
    for bound in ("start", "end"):
        spells[bound] = _days(path, text[at[bound]] if at[bound] else empty, at[bound] or bound)
    wrong = spells[spells["end"] <= spells["start"]]
    if len(wrong):
        row = wrong.iloc[0]
        raise ValueError(
            f"{path.name}, row {wrong.index[0] + 2}: {row['ticker']} leaves on {row['end'].date()}, not after it "
            f"joined ({row['start'].date()})"
        )
    return Membership(spells[spells["ticker"] != ""].reset_index(drop=True), path.name)


def _days(path: Path, cells: pd.Series, column: str) -> pd.Series:
    cells = cells.str.strip()
    days = pd.to_datetime(cells.where(cells != ""), format="%Y-%m-%d", errors="coerce").astype("datetime64[ns]")
    unread = (cells != "") & days.isna()
    if unread.any():
        row = unread.idxmax()
        raise ValueError(f"{path.name}, row {row + 2}: {column} is {cells[row]!r}; a day as YYYY-MM-DD is meant")
    return days
