"""One answer of Yahoo's, and what it says: prices as they were quoted, money as it was paid.

Yahoo's prices, dividends and volumes are adjusted for every split up to the day of the request, as a rule; the splits
it states are undone, where the prices of the day show them to be in those before.

Tested against recorded and faulty answers; unverified against the live service.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clusterfolio import ClusterfolioError
from clusterfolio.feeds import units
from clusterfolio.feeds.adjust import USUAL_SIGMA, split_to_come
from clusterfolio.feeds.raw import DOUBTED, MENDED, DataError, Remark

#: Yahoo's column names and ours.
COLUMNS = {
    "Open": "open",
    "High": "high",
    "Low": "low",
    "Close": "close",
    "Volume": "volume",
    "Dividends": "dividend",
    "Capital Gains": "gain",
    "Stock Splits": "split",
}
#: Beside them: what a dividend is paid in, where it is not the price's currency.
DIVIDEND_CURRENCY = "Dividends FX"

PRICES = ["open", "high", "low", "close"]


class NoPrices(ClusterfolioError):
    """Yahoo does not know the symbol, or has no prices for it in the span asked for."""


class Unreachable(ClusterfolioError):
    """No usable answer this time: requests are limited, the network fails, the answer is garbled."""


class Offline(Unreachable):
    """No connection at all, as where a machine has no network."""


@dataclass(frozen=True)
class Answer:
    """What Yahoo says about a symbol: its daily table (columns as in ``COLUMNS``) and the quote currency."""

    frame: pd.DataFrame
    currency: str = ""


def unadjusted(frame: pd.DataFrame) -> pd.DataFrame:
    """Yahoo's table as bars with the splits undone: prices as quoted, money per share as paid, shares traded.

    A split that the prices of its day show not to be in those before is not undone. Capital gains are paid as dividends
    are. Columns ``close``, ``dividend`` and ``split`` (new shares per old one, 0 = none) are always there, the others
    as far as Yahoo states them; naive days, increasing, each once (the last statement counts).

    >>> dates = pd.date_range("2024-01-01", periods=2, tz="America/New_York")
    >>> unadjusted(pd.DataFrame({"Close": [50.0, 51.0], "Stock Splits": [0.0, 2.0]}, index=dates))["close"].tolist()
    [100.0, 51.0]
    """
    if "Close" not in frame.columns or frame["Close"].isna().all():
        raise NoPrices("the answer holds no closing prices")
    days = frame[[name for name in COLUMNS if name in frame.columns]].rename(columns=COLUMNS).astype(float)
    if DIVIDEND_CURRENCY in frame.columns:
        days["dividend_currency"] = frame[DIVIDEND_CURRENCY].astype(object)
    days.index = pd.DatetimeIndex(frame.index).tz_localize(None).normalize().as_unit("ns").rename("date")
    days = days[~days.index.duplicated(keep="last")].sort_index()
    for name in ("dividend", "split"):
        days[name] = days[name].fillna(0.0) if name in days.columns else 0.0
    if "gain" in days.columns:
        days["dividend"] = _with_gains(days)
        days = days.drop(columns="gain")
    ratio = np.where(_undoable(days), days["split"], 1.0)
    later = np.append(np.cumprod(ratio[::-1])[::-1][1:], 1.0)
    for name in (*PRICES, "dividend"):
        if name in days.columns:
            days[name] *= later
    if "volume" in days.columns:
        days["volume"] /= later
    return days[days["close"].notna() | (days["dividend"] > 0) | (days["split"] > 0)]


def _with_gains(days: pd.DataFrame) -> pd.Series:
    """Dividends with the capital gains that are stated beside them, unless the close shows them to be in there."""
    gain, before = days["gain"].fillna(0.0), days["close"].ffill().shift()
    paid = days["dividend"] + gain
    fell = before - days["close"]
    inside = (gain > 0) & (days["dividend"] >= gain) & ((fell - days["dividend"]).abs() < (fell - paid).abs())
    return paid.where(~inside, days["dividend"])


def _undoable(days: pd.DataFrame) -> np.ndarray:
    """Days with a split that the prices before are adjusted for, as Yahoo's are unless the day shows otherwise."""
    splits = (days["split"] > 0).to_numpy() & (days["split"] != 1).to_numpy()
    if not splits.any():
        return splits
    level = np.log(days["close"].ffill())
    moves = level.diff()
    for row in np.flatnonzero(splits):
        usual = moves.iloc[max(row - 63, 0) : row].abs().median()
        variance = (1.4826 * usual if usual > 0 else USUAL_SIGMA) ** 2
        if np.isfinite(moves.iloc[row]) and split_to_come(moves.iloc[row], days["split"].iloc[row], variance):
            splits[row] = False
    return splits


def from_yahoo(symbol: str, start: pd.Timestamp, session=None) -> Answer:
    """Ask Yahoo for ``symbol`` from ``start`` to the present; ``session`` is a requests or curl_cffi session."""
    import yfinance  # here, so that nobody who stays offline loads an HTTP stack
    from yfinance.exceptions import YFRateLimitError, YFTickerMissingError

    hidden = yfinance.config.debug.hide_exceptions
    yfinance.config.debug.hide_exceptions = False  # else a network failure looks like an unknown symbol
    try:
        ticker = yfinance.Ticker(symbol, session=session)
        frame = ticker.history(
            period=None,
            interval="1d",
            start=f"{start:%Y-%m-%d}",
            end=None,
            prepost=False,
            actions=True,
            auto_adjust=False,
            back_adjust=False,
            repair=False,
            keepna=False,
            rounding=False,
            timeout=30,
        )
        currency = ticker.get_history_metadata().get("currency") or ""
        return Answer(_with_dividend_currency(frame, ticker, currency), currency)
    except YFRateLimitError as fault:
        raise Unreachable("Yahoo limits the number of requests") from fault
    except YFTickerMissingError as fault:
        raise NoPrices(str(fault)) from fault
    except Exception as fault:  # network stacks and yfinance's parsing raise whatever they meet
        if getattr(getattr(fault, "response", None), "status_code", None) == 404:
            raise NoPrices("Yahoo does not know the symbol") from fault
        kind = Offline if "ConnectionError" in [each.__name__ for each in type(fault).__mro__] else Unreachable
        raise kind(f"{type(fault).__name__}: {fault}") from fault
    finally:
        yfinance.config.debug.hide_exceptions = hidden


def _with_dividend_currency(frame: pd.DataFrame, ticker, currency: str) -> pd.DataFrame:
    """The table with what each dividend is paid in, where Yahoo states another currency than the price's.

    yfinance reads it, and leaves it out of its table.
    """
    stated = getattr(getattr(ticker, "_price_history", None), "_dividends", None)
    if not isinstance(stated, pd.DataFrame) or "currency" not in stated.columns:
        return frame
    other = stated["currency"].fillna("")
    other = other[(other != "") & (other != currency)]
    if other.empty:
        return frame
    on_day = other.groupby(other.index.normalize()).last()
    return frame.assign(**{DIVIDEND_CURRENCY: on_day.reindex(frame.index.normalize()).fillna("").to_numpy()})


def in_price_currency(symbol: str, frame: pd.DataFrame, currency: str) -> tuple[pd.DataFrame, list[Remark]]:
    """The bars with dividends in the price's currency: another unit converted, another currency withheld and said."""
    if "dividend_currency" not in frame.columns:
        return frame, []
    paid_in = frame["dividend_currency"].fillna("")
    frame = frame.drop(columns="dividend_currency")
    remarks = []
    for day in frame.index[(paid_in != "").to_numpy() & (frame["dividend"] > 0).to_numpy()]:
        amount, (code, unit) = frame.loc[day, "dividend"], _unit(paid_in[day])
        said = f"{amount:.6g} {paid_in[day]} on a price in {currency}"
        price_code, price_unit = _unit(currency)
        if code == price_code:
            frame.loc[day, "dividend"] = amount * unit / price_unit
            remarks.append(Remark(symbol, "dividend in another unit converted", day, unit / price_unit, said, MENDED))
        else:
            frame.loc[day, "dividend"] = 0.0
            remarks.append(Remark(symbol, "dividend in another currency withheld", day, None, said, DOUBTED))
    return frame, remarks


def _unit(currency: str) -> tuple[str, float]:
    try:
        return units.major(currency)
    except DataError:
        return currency, 1.0
