"""Every price into the account's currency."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from clusterfolio.feeds.raw import DataError
from clusterfolio.feeds.units import COIN_QUOTES, COINS, major, unit_of

#: Quote currency by Yahoo's exchange suffix, for symbols about which nobody states one.
SUFFIX_CURRENCY = {
    "DE": "EUR", "F": "EUR", "MU": "EUR", "SG": "EUR", "BE": "EUR", "DU": "EUR", "HM": "EUR", "HA": "EUR",
    "PA": "EUR", "AS": "EUR", "BR": "EUR", "MI": "EUR", "MC": "EUR", "LS": "EUR", "VI": "EUR", "HE": "EUR",
    "IR": "EUR", "AT": "EUR", "TL": "EUR", "RG": "EUR", "VS": "EUR", "L": "GBp", "IL": "USD", "SW": "CHF",
    "ST": "SEK", "OL": "NOK", "CO": "DKK", "IC": "ISK", "WA": "PLN", "PR": "CZK", "BD": "HUF", "IS": "TRY",
    "TA": "ILA", "JO": "ZAc", "SR": "SAR", "QA": "QAR", "KW": "KWF", "T": "JPY", "HK": "HKD", "SS": "CNY",
    "SZ": "CNY", "TW": "TWD", "TWO": "TWD", "KS": "KRW", "KQ": "KRW", "SI": "SGD", "KL": "MYR", "JK": "IDR",
    "BK": "THB", "NS": "INR", "BO": "INR", "AX": "AUD", "NZ": "NZD", "TO": "CAD", "V": "CAD", "CN": "CAD",
    "NE": "CAD", "MX": "MXN", "SA": "BRL", "BA": "ARS", "SN": "CLP", "US": "USD", "SH": "CNY",
    "XSHG": "CNY", "XSHE": "CNY", "JP": "JPY", "XETRA": "EUR", "LSE": "GBp",
}  # fmt: skip

#: An exchange rate serves for this many days after it was stated.
RATE_SERVES_DAYS = 7


def pair_of(symbol: str) -> tuple[str, str] | None:
    """``(base, quote)`` of a Yahoo-style pair: the price is ``quote`` per one ``base``. None for anything else.

    >>> pair_of("EURUSD=X"), pair_of("JPY=X"), pair_of("AAPL")
    (('EUR', 'USD'), ('USD', 'JPY'), None)
    """
    found = re.fullmatch(r"([A-Z]{3})?([A-Z]{3})=X", symbol)
    return (found[1] or "USD", found[2]) if found else None


def side_held(symbol: str, account: str) -> str:
    """Which side of a pair an account holds, in words; empty for what is no pair.

    >>> [side_held(symbol, "USD") for symbol in ("MYR=X", "EURUSD=X", "EURJPY=X", "AAPL")]
    ['USD/MYR sold (long MYR)', 'EUR/USD bought (long EUR)', 'EUR/JPY bought (an index, profit converted daily)', '']
    """
    pair = pair_of(symbol)
    if pair is None:
        return ""
    base, quote = pair
    if base == account:
        return f"{base}/{quote} sold (long {quote})"
    return f"{base}/{quote} bought " + (f"(long {base})" if quote == account else "(an index, profit converted daily)")


def with_side(name: str, symbol: str, account: str) -> str:
    """A name, with the side that an account holds where the symbol is a pair; said once.

    >>> with_side("US dollar / Malaysian ringgit", "MYR=X", "USD"), with_side("Apple", "AAPL", "USD")
    ('US dollar / Malaysian ringgit: USD/MYR sold (long MYR)', 'Apple')
    """
    side = side_held(symbol, account)
    return name if side in name else ": ".join(part for part in (name, side) if part)


def rate_of(symbol: str) -> tuple[str, str] | None:
    """``(base, quote)`` of what converts prices: a pair, or a coin in which others are quoted.

    >>> rate_of("EURUSD=X"), rate_of("BTC-USD"), rate_of("ADA-USD")
    (('EUR', 'USD'), ('BTC', 'USD'), None)
    """
    base, _, quote = symbol.partition("-")
    return (base, quote) if base in COINS and quote in COIN_QUOTES else pair_of(symbol)


def quote_currency(symbol: str) -> str:
    """What a symbol's ending tells about its quote currency (``BTC-EUR``, ``0700.HK``); empty = nothing.

    >>> [quote_currency(symbol) for symbol in ("VOD.L", "BTC-USD", "ETH-BTC", "BRK-B", "BAC-PRL", "AAPL")]
    ['GBp', 'USD', 'BTC', '', '', '']
    """
    coin = re.fullmatch(r".+[-/]([A-Z]{3})", symbol)
    if coin and coin[1] in COIN_QUOTES:
        return coin[1]
    return SUFFIX_CURRENCY.get(symbol.rpartition(".")[2], "") if "." in symbol else ""


def one_currency(stated: np.ndarray, days: pd.DatetimeIndex) -> tuple[str, np.ndarray, str]:
    """The unit of the earliest day, the size of each row's unit in it, and a remark.

    A row that states none counts as in that one; a row in another currency has size 0: nothing here can convert it.

    Args:
        stated: the vendor's texts by row, empty = none.

    Raises:
        DataError: a text that is no currency, or the earliest day states none and a later one does: what the earlier
            prices were in would be told by later rows.
    """
    meant = {text: unit_of(text) for text in dict.fromkeys(stated)}
    units = np.array([meant[text] for text in stated], dtype=object)
    others = sorted(set(units) - {""})
    if not others:
        return "", np.ones(len(units)), ""
    first = max(units[days == days.min()], default="")
    if not first:
        since = days[units != ""].min()
        raise DataError(f"currency {', '.join(others)} stated from {since.date()} on only, nothing before")
    if len(others) == 1:
        return first, np.ones(len(units)), ""
    code, unit = major(first)
    sizes = {text: major(text)[1] / unit if major(text)[0] == code else 0.0 for text in others}
    sized = np.array([sizes.get(text, 1.0) for text in units])
    note = f"stated in several currencies ({', '.join(others)}): taken in {first}"
    left_out = int((sized == 0).sum())
    return first, sized, note + (f", rows in another left out: {left_out}" if left_out else "")


def rate_symbols(currency: str, account: str) -> list[str]:
    """Yahoo's names of the pairs between ``currency`` and ``account``, the usual one first.

    >>> rate_symbols("JPY", "USD"), rate_symbols("GBp", "EUR")
    (['JPY=X', 'JPYUSD=X'], ['GBPEUR=X', 'EURGBP=X'])
    """
    code = major(currency)[0]
    if code in COINS:
        return [f"{code}-{account}"]
    if "USD" not in (code, account):
        return [f"{code}{account}=X", f"{account}{code}=X"]
    other = code if account == "USD" else account
    names = [f"{other}=X", f"{other}USD=X"]
    return names[::-1] if other in ("EUR", "GBP", "AUD", "NZD") else names


def rate(code: str, account: str, dates: pd.DatetimeIndex, closes: Mapping[tuple[str, str], pd.Series]) -> np.ndarray:
    """``account`` units per unit of ``code`` as last known at each date, shape ``(n_dates,)``; NaN = none in 7 days.

    Day by day the direct pair serves before the inverse, and both before the way through the dollar, so a pair that
    begins later changes nothing earlier.

    Args:
        closes: exchange rates by ``(base, quote)``, each on its own sorted days.
    """
    if code == account:
        return np.ones(len(dates))
    value = _of_pair(code, account, dates, closes)
    if "USD" not in (code, account):
        through = _of_pair(code, "USD", dates, closes) * _of_pair("USD", account, dates, closes)
        value = np.where(np.isnan(value), through, value)
    return value


def _of_pair(base: str, quote: str, dates: pd.DatetimeIndex, closes: Mapping[tuple[str, str], pd.Series]) -> np.ndarray:
    value = _as_known(closes.get((base, quote)), dates)
    return np.where(np.isnan(value), 1 / _as_known(closes.get((quote, base)), dates), value)


def _as_known(closes: pd.Series | None, dates: pd.DatetimeIndex) -> np.ndarray:
    """The last close at or before each date, NaN where it is older than ``RATE_SERVES_DAYS``."""
    if closes is None or not len(closes):
        return np.full(len(dates), np.nan)
    at = closes.index.searchsorted(dates, side="right") - 1
    age = dates - closes.index[np.maximum(at, 0)]
    served = (at >= 0) & (age <= pd.Timedelta(days=RATE_SERVES_DAYS))
    return np.where(served, closes.to_numpy()[at], np.nan)


def convert(
    bars: pd.DataFrame, currency: str, account: str, closes: Mapping[tuple[str, str], pd.Series]
) -> pd.DataFrame:
    """Bars quoted in ``currency``, in ``account``'s; days without an exchange rate have no row. Volume stays.

    A column ``rate`` is multiplied too: it becomes what one unit of ``currency`` is worth.
    """
    code, unit = major(currency)
    if code == account:
        return bars if unit == 1.0 else _scaled(bars, np.full(len(bars), unit))
    value = rate(code, account, bars.index, closes)
    known = np.isfinite(value)
    return _scaled(bars[known], value[known] * unit)


def _scaled(bars: pd.DataFrame, by: np.ndarray) -> pd.DataFrame:
    names = [name for name in ("open", "high", "low", "close", "rate") if name in bars.columns]
    return bars.assign(**{name: bars[name] * by for name in names})


def convert_pair(bars: pd.DataFrame, pair: tuple[str, str], account: str) -> tuple[pd.DataFrame, str]:
    """An exchange rate as an asset of an account, and in words what was done.

    A pair quoted in the account's currency is the price of its base; one whose base is the account's currency is
    turned over, so it is the price of its quote currency. A cross of two others stays as it is, as an index: its
    return ``S_t / S_{t-1} - 1`` is that of a position whose profit is converted every day, with its collateral in the
    account's currency. (Times a rate it would be just the base currency.)
    """
    base, quote = pair
    if quote == account:
        return bars, ""
    if base != account:
        return bars, f"cross {base}/{quote}: an index, profit converted daily"
    turned = 1 / bars[["open", "low", "high", "close"]]
    turned.columns = ["open", "high", "low", "close"]
    return bars.assign(**turned), f"inverted: price of one {quote} in {account}"
