"""Bars and last prices of many symbols from Alpaca's data host: a hundred symbols a request, behind the orders.

The free plan has 200 requests a minute and 30 symbols on its stream, so feeds of hundreds are asked for in batches,
from the same bucket as everything else, of which a part is kept for orders. It is another host than the paper
account's: whoever makes one of these lets it have the keys too, for reading only.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from clusterfolio.engine.live.alpaca_decoding import Fields
from clusterfolio.engine.live.alpaca_wire import Budget, Client, Keys
from clusterfolio.engine.live.moments import NEW_YORK
from clusterfolio.engine.live.venue import Unreadable
from clusterfolio.feeds.live import Hub

DATA = "https://data.alpaca.markets"

#: Symbols of a request, and bars of a page at most.
BATCH, PAGE = 100, 10_000

#: Alpaca's letters for the fields of a bar.
LETTERS = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}


#: A symbol's bars by session, each by field.
Bars = dict[dt.date, dict[str, float]]


class AlpacaBars:
    """Reads bars.

    Args:
        url: the data host's, or an address of this machine; anything else is refused.
        keys: None = from the environment.
        budget: shared with whoever sends orders; None = one of its own.
        feed: "iex" (free) or "sip".
        timeout: seconds for each request.
    """

    def __init__(
        self,
        url: str = DATA,
        *,
        keys: Keys | None = None,
        budget: Budget | None = None,
        feed: str = "iex",
        timeout: float = 10.0,
    ):
        keys = keys or Keys.from_environment()
        self._client = Client(url, keys, budget or Budget(), timeout, read_only=True, host=DATA)
        self._feed = feed

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def daily(self, symbols: Sequence[str], first: dt.date, last: dt.date) -> dict[str, Bars]:
        """Daily bars as traded, by symbol and session, of the sessions there are; a symbol without any is left out."""
        found: dict[str, Bars] = {}
        start, end = (dt.datetime.combine(day, dt.time(), NEW_YORK).isoformat() for day in (first, last))
        asked = {"timeframe": "1Day", "start": start, "end": end, "limit": PAGE, "adjustment": "raw"}
        for batch in _batches(symbols):
            for symbol, raw in self._pages({**asked, "symbols": ",".join(batch)}):
                if symbol not in batch or not isinstance(raw, list):
                    raise Unreadable(f"bars: got those of {symbol}, expected a list for each of {len(batch)} symbols")
                for row in raw:
                    fields = Fields(f"bar of {symbol}", row)
                    day = fields.moment("t").astimezone(NEW_YORK).date()
                    found.setdefault(symbol, {})[day] = _bar(fields)
        return found

    def prices(self, symbols: Sequence[str]) -> dict[str, Decimal]:
        """The last price of each symbol that has one."""
        found: dict[str, Decimal] = {}
        for batch in _batches(symbols):
            asked = {"symbols": ",".join(batch), "feed": self._feed}
            raw = Fields("latest bars", self._client.get("/stocks/bars/latest", asked)).mapping("bars")
            found |= {s: Fields(f"bar of {s}", row).number("c") for s, row in raw.items() if s in batch}
        return found

    def fill(
        self,
        hub: Hub,
        session: dt.date,
        *,
        seconds: float,
        again: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> tuple[str, ...]:
        """Give a session's bars to a hub as they come to be there, and ask again for those that are not.

        Args:
            seconds: for how long; the hub lets the session through at its own deadline, with the missing named.
            again: seconds from one question to the next.

        Returns:
            The symbols without a bar.
        """
        stamp = dt.datetime.combine(session, dt.time())
        deadline, missing = monotonic() + seconds, list(hub.symbols)
        while True:
            for symbol, bars in self.daily(missing, session, session).items():
                if session in bars:
                    hub.push(symbol, stamp, bars[session])
                    missing.remove(symbol)
            left = deadline - monotonic()
            if not missing or left <= 0:
                return tuple(missing)
            sleep(min(again, left))

    def _pages(self, asked: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """Every page's rows by symbol."""
        token: str | None = None
        while True:
            more = {} if token is None else {"page_token": token}
            page = self._client.get("/stocks/bars", {**asked, "feed": self._feed, **more})
            fields = Fields("bars", page)
            yield from fields.mapping("bars").items()
            if not fields.has("next_page_token"):
                return
            before, token = token, fields.text("next_page_token")
            if token == before:
                raise Unreadable(f"bars: the page after {token} is that page again")


def _batches(symbols: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(symbols), BATCH):
        yield symbols[first : first + BATCH]


def _bar(fields: Fields) -> dict[str, float]:
    bar: Mapping[str, Decimal] = {name: fields.number(letter) for name, letter in LETTERS.items()}
    if min(bar[name] for name in ("open", "high", "low", "close")) <= 0 or bar["volume"] < 0:
        raise fields.wrong("c", "prices above 0 and a volume of at least 0")
    return {name: float(value) for name, value in bar.items()}
