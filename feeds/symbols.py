"""One security under several spellings: capitals, the sign before a share class, a ticker that was changed."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import pandas as pd

#: Tickers of US companies that were changed: ``old`` became ``new`` on ``day``, the same shares. Public facts, by hand.
RENAMES = Path(__file__).with_name("renames.csv")

#: What the account's money is called where names and it stand side by side: columns of tables, a file of holdings.
MONEY = "CASH"

#: What is said of an asset of that name.
NAME_OF_MONEY = (
    "CASH is the name of the account's money here; give the asset another name in the universe file or the file name"
)


def is_money(symbol: str) -> bool:
    """Whether an asset of this name could not be told from the account's money.

    >>> is_money("Cash"), is_money("CASHY")
    (True, False)
    """
    return str(symbol).strip().upper() == MONEY


def spelling(symbol: str) -> str:
    """What vendors write in different ways, written in one: capitals, the sign before a class, America's ending.

    >>> [spelling(symbol) for symbol in ("brk.b", "BRK/B", "BRK-B", "SPY.US", "0700.hk", "BTC-USD")]
    ['BRK.B', 'BRK.B', 'BRK.B', 'SPY', '0700.HK', 'BTC-USD']
    """
    text = re.sub(r"[.\-/_ ](?=[A-Z]$)", ".", symbol.strip().upper())
    return re.sub(r"\.US$", "", text)


@lru_cache(maxsize=1)
def renames() -> pd.DataFrame:
    """The shipped changes of tickers: columns old, new (``spelling``) and day."""
    return pd.read_csv(RENAMES, dtype={"old": str, "new": str}, parse_dates=["day"], keep_default_na=False)


def former(symbol: str) -> list[tuple[str, pd.Timestamp]]:
    """Earlier tickers of a security and the day each was given up, the newest first.

    >>> [(name, str(day.date())) for name, day in former("GEN")]
    [('NLOK', '2022-11-08'), ('SYMC', '2019-11-05')]
    """
    found, table = [], renames()
    new, before = spelling(symbol), pd.Timestamp.max
    while True:
        rows = table[(table["new"] == new) & (table["day"] < before)]
        if rows.empty:
            return found
        new, before = rows.iloc[-1][["old", "day"]]
        found.append((new, before))


def later_history(symbol: str, number: int) -> str:
    """The name of a symbol's second or later history: what stands under it once nothing relates its prices any more."""
    return f"{symbol}~{number}"


def first_history(name: str) -> str:
    """The symbol that a later history stands under.

    >>> first_history(later_history("XYZ", 2)), first_history("XYZ")
    ('XYZ', 'XYZ')
    """
    return re.sub(r"~\d+$", "", name)
