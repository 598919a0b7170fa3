"""Headlines as dated texts: RSS feeds and Yahoo's news, collected into a CSV that grows from call to call.

Neither source has much of a past, so the file is the archive: rows once in it stay as they are. A headline bears the
later of its publication and its last change, in UTC.

Tested against recorded and faulty answers; unverified against live services.
"""

from __future__ import annotations

import calendar
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd

from clusterfolio.feeds.exogenous.sentiment import Scorer, read_scores
from clusterfolio.feeds.raw import DataError
from clusterfolio.feeds.writing import replacing

log = logging.getLogger(__name__)

#: Of the collected table; ``score`` is empty until it is scored.
COLUMNS = ["timestamp", "text", "symbol", "source", "score"]

#: Seconds until a request is given up; the longest answer taken.
TIMEOUT, MOST_BYTES = 30.0, 10_000_000


def read_rss(address: str, download: Callable[[str], bytes] | None = None) -> pd.DataFrame:
    """The entries of an RSS or Atom feed as dated texts; those without a date are left out. Needs the extra [news].

    Raises:
        DataError: the feed cannot be fetched, or is no feed.
    """
    try:
        import feedparser
    except ImportError as fault:
        raise ValueError("--rss: needs pip install 'clusterfolio[news]'") from fault
    feed = feedparser.parse((download or fetch)(address))
    if not feed.get("version"):
        raise DataError(f"--rss {address}: not a feed")
    rows = []
    for entry in feed.entries:
        # As a plain dictionary: feedparser's own gives the one date where the other is asked for.
        told = [dict.get(entry, key) for key in ("published_parsed", "updated_parsed")]
        told = [calendar.timegm(moment) for moment in told if moment]
        if told and entry.get("title"):
            rows.append((pd.Timestamp(max(told), unit="s", tz="UTC"), entry.title, "", address, np.nan))
    return _table(rows, len(feed.entries), address)


def read_yahoo_news(symbol: str, ask: Callable[[str], list[dict[str, Any]]] | None = None) -> pd.DataFrame:
    """Yahoo's latest headlines on a symbol as dated texts; those without a date are left out.

    Raises:
        DataError: Yahoo gives no usable answer.
    """
    items, rows = (ask or from_yahoo)(symbol), []
    for item in items:
        content = item.get("content") or item  # older answers are flat
        title, said = content.get("title"), content.get("pubDate") or content.get("providerPublishTime")
        seconds = isinstance(said, int | float)
        moment = pd.to_datetime(said, utc=True, errors="coerce", unit="s" if seconds else None)
        if title and not pd.isna(moment):
            rows.append((moment, title, symbol, "Yahoo", np.nan))
    return _table(rows, len(items), f"Yahoo's news on {symbol}")


def collect(path: Path, fresh: Sequence[pd.DataFrame], scorer: Scorer | None = None) -> int:
    """Add dated texts to the CSV at ``path``; returns how many are new.

    A text of the same moment and symbol counts once. Rows already there stay as they are.

    Args:
        scorer: scores what has no score yet, so that no run has to; None = nothing is scored.
    """
    path = Path(path)
    known = pd.DataFrame(columns=COLUMNS)
    if path.is_file():
        known = read_scores(path).reindex(columns=COLUMNS)
    n_known = len(known)
    tables = [table for table in (known, *fresh) if len(table)]
    if not tables:
        return 0
    table = pd.concat(tables, ignore_index=True).fillna({"symbol": "", "source": ""})
    table = table.drop_duplicates(["timestamp", "text", "symbol"]).reset_index(drop=True)
    if scorer is not None:
        wanting = table["score"].isna()
        if wanting.any():
            table.loc[wanting, "score"] = scorer(table.loc[wanting, "text"].astype(str).tolist())
    with replacing(path) as part:
        table.sort_values("timestamp", kind="stable").to_csv(part, index=False, date_format="%Y-%m-%dT%H:%M:%S%z")
    return len(table) - n_known


def fetch(address: str) -> bytes:
    """What lies at an http or https address."""
    if not address.startswith(("http://", "https://")):
        raise ValueError(f"--rss: got {address!r}, expected an address that begins with https://")
    try:
        with urlopen(Request(address, headers={"User-Agent": "clusterfolio"}), timeout=TIMEOUT) as answer:
            content = answer.read(MOST_BYTES + 1)
    except (URLError, OSError) as fault:
        raise DataError(f"--rss {address}: {type(fault).__name__}: {fault}") from fault
    if len(content) > MOST_BYTES:
        raise DataError(f"--rss {address}: more than {MOST_BYTES} bytes")
    return content


def from_yahoo(symbol: str) -> list[dict[str, Any]]:
    """Yahoo's latest headlines on a symbol, as yfinance hands them over."""
    import yfinance  # here, so that nobody who stays offline loads an HTTP stack

    try:
        return list(yfinance.Ticker(symbol).get_news(count=50) or [])
    except Exception as fault:  # network stacks and yfinance's parsing raise whatever they meet
        raise DataError(f"--symbol {symbol}: Yahoo gave no news: {type(fault).__name__}: {fault}") from fault


def _table(rows: list[tuple], n_told: int, where: str) -> pd.DataFrame:
    if len(rows) < n_told:
        log.warning(
            "%s: %d of %d headlines have no date or no title and are left out", where, n_told - len(rows), n_told
        )
    return pd.DataFrame(rows, columns=COLUMNS)
