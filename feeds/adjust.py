"""Total-return levels, adjusted forward: a later dividend or split rescales nothing of the past.

What a vendor states about splits, dividends and adjusted closes is read as the prices of the day have it: whether a
split is in the prices already, whether the close fell by a dividend, whether an adjusted close jumps alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pandas as pd

from clusterfolio.feeds.raw import DOUBTED, GUESSED, MENDED

PRICES = ("open", "high", "low", "close")

#: Payouts up to this share of the price, or this many standard deviations, are too small for the close to tell.
TOLD_FROM, TOLD_SIGMAS = 0.03, 3.0

#: A payout above this share of the price that the close did not fall by is withheld; a smaller one is doubted only.
LARGE_PAYOUT = 0.15

#: How much better, in variances of a day's move, the close must fit without an action for it to be refused.
REFUSED_AT = 6.0

#: The same for a split: below, the prices of the day do not tell whether it is in them.
SPLIT_TOLD_AT = 16.0

#: Standard deviation of a day's move where it is not known yet.
USUAL_SIGMA = 0.02

#: A payout this many times the usual of those before it, or that part of it, is in another unit.
UNIT_APART = (40.0, 250.0)

#: A share of the price that a fund which pays by the day does not pay in one: above, the same payout on two rows that
#: follow each other is one, carried on.
PAID_BY_THE_DAY = 5e-4


@dataclass(frozen=True, eq=False)
class Rows:
    """One asset's rows that state a price, as arrays of shape ``(n_rows,)``.

    Attributes:
        days: days since 1970, strictly increasing.
        level: the adjusted close, scaled to begin at the first close; the close where there is none.
        open, high, low, close: as stated, NaN = not stated.
        volume: shares, NaN = not stated.
        split: new shares per old one since the row before, 1 = none.
        dividend: money per share held the row before, 0 = none.
        adjusted: whether the level is that of an adjusted close.
        listed_split, listed_dividend: as ``split`` and ``dividend``, also where an adjusted close has them in it.
        lists_splits: whether the source has said anything of splits so far.
    """

    days: np.ndarray
    level: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    split: np.ndarray
    dividend: np.ndarray
    adjusted: bool
    listed_split: np.ndarray
    listed_dividend: np.ndarray
    lists_splits: np.ndarray

    @cached_property
    def log_level(self) -> np.ndarray:
        """Logarithm of the level."""
        return np.log(self.level)

    @property
    def acted(self) -> np.ndarray:
        """Rows on which an action is stated, or an adjusted close moves apart from the close."""
        acted = (self.split != 1.0) | (self.dividend != 0.0)
        if self.adjusted:
            with np.errstate(invalid="ignore", divide="ignore"):
                apart = np.abs(np.diff(self.log_level - np.log(self.close), prepend=np.nan))
            acted |= apart > TOLD_FROM
        return acted


@dataclass(frozen=True)
class Reading:
    """What lies between two believed rows.

    Attributes:
        move: log return of a holder, absolute as stated where nothing is refused.
        growth: what the later row's level is multiplied by to give that return.
        shares: shares held per share before.
        said: ``(kind, row, factor, text, nature)`` of what was refused, guessed or doubted.
    """

    move: float
    growth: float = 1.0
    shares: float = 1.0
    said: tuple[tuple, ...] = ()


def rows_of(dates: pd.DatetimeIndex, columns: dict[str, np.ndarray]) -> tuple[Rows, np.ndarray]:
    """The rows with a price, and their positions in ``dates``; actions on other days count at the next row.

    Args:
        dates: sorted days, each once.
        columns: a subset of ``feeds.raw.RAW_COLUMNS``, shape ``(n_days,)``; missing or impossible values NaN.
    """
    nothing = np.full(len(dates), np.nan)
    close, adjusted = columns.get("close", nothing), "adj_close" in columns
    level = _level_of_adjusted(close, columns["adj_close"]) if adjusted else close
    at = np.flatnonzero(np.isfinite(level))
    split, paid = columns.get("split", nothing), columns.get("dividend", nothing)
    split, paid = np.where(split > 0, split, 1.0), np.where(paid > 0, paid, 0.0)
    listed = split, paid = _at_next_row(split, paid, at)
    if adjusted:  # has splits and dividends in it
        split, paid = np.ones(len(at)), np.zeros(len(at))
    stated = {name: columns.get(name, nothing)[at] for name in (*PRICES, "volume")}
    number = dates.to_numpy().astype("datetime64[D]").astype(np.int64)[at]
    lists_splits = np.logical_or.accumulate(np.isfinite(columns.get("split", nothing)))[at]
    rows = Rows(number, level[at], **stated, split=split, dividend=paid, adjusted=adjusted, listed_split=listed[0],
                listed_dividend=listed[1], lists_splits=lists_splits)  # fmt: skip
    return rows, at


def total_return(rows: Rows, growth: np.ndarray, shares: np.ndarray, begins: np.ndarray) -> dict[str, np.ndarray]:
    """Total-return bars of all rows: open, high, low, close (finite) and volume (may be NaN).

    A missing open, high or low is filled from the same row. Volume is in shares of the history's first row.

    Args:
        growth, shares: by row, what the level is multiplied by from it on, and the part of it that is more shares.
        begins: rows with which a later history begins.
    """
    held, volume = cumulated(growth, begins), rows.volume / cumulated(shares, begins)
    level = rows.level * held
    factor = level / rows.close  # NaN where only an adjusted close is stated
    opened = rows.open * factor
    opened = np.where(np.isfinite(opened), opened, level)
    high, low = rows.high * factor, rows.low * factor
    high = np.where(np.isfinite(high), high, np.maximum(opened, level))
    low = np.where(np.isfinite(low), low, np.minimum(opened, level))
    return {"open": opened, "high": high, "low": low, "close": level, "volume": volume}


def cumulated(growth: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """The product of the growth so far, anew with each history."""
    edges = [0, *np.flatnonzero(begins), len(growth)]
    return np.concatenate([np.cumprod(growth[first:last]) for first, last in pairwise(edges)] or [growth])


def _at_next_row(ratio: np.ndarray, paid: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Splits and payouts of every day, at the next of the rows ``at``."""
    split, dividend = np.ones(len(at)), np.zeros(len(at))
    for day in np.flatnonzero((ratio != 1.0) | (paid != 0.0)):
        row = np.searchsorted(at, day)
        if row < len(at):
            dividend[row] += split[row] * paid[day]
            split[row] *= ratio[day]
    return split, dividend


def _level_of_adjusted(close: np.ndarray, adjusted: np.ndarray) -> np.ndarray:
    """``adjusted`` times a constant fixed at its first value by past knowledge, its gaps bridged by ``close``."""
    has_close, has_adjusted = np.isfinite(close), np.isfinite(adjusted)
    if not has_adjusted.any():
        return close
    first = int(has_adjusted.argmax())
    before = np.nonzero(has_close[:first])[0]
    if has_close[first]:
        scale = close[first] / adjusted[first]
    elif len(before):
        scale = close[before[-1]] / adjusted[first]  # nothing tells what happened in between: no return
    else:
        scale = 1.0
    level = adjusted * scale
    level[:first] = close[:first]
    both = has_close & has_adjusted
    last_both = np.maximum.accumulate(np.where(both, np.arange(len(close)), -1))
    alone = has_close & ~has_adjusted & (np.arange(len(close)) > first) & (last_both >= 0)
    at = last_both[alone]
    level[alone] = close[alone] * (level[at] / close[at])
    return level


def read_actions(rows: Rows, before: int, row: int, sigma: float, rebased: float = 1.0) -> Reading:
    """What happened from one row to a later one, as the prices have it.

    Args:
        before: the last believed row.
        sigma: standard deviation of a day's log move, NaN = not known yet.
        rebased: what multiplied the price level in between for no other reason than its unit or an unstated split.
    """
    move = float(rows.log_level[row] - rows.log_level[before])
    variance = (USUAL_SIGMA if np.isnan(sigma) else max(sigma, 1e-3)) ** 2 * (row - before)
    if rows.adjusted:
        return _read_adjusted(rows, before, row, move, variance)
    window = slice(before + 1, row + 1)
    split = float(np.prod(rows.split[window]))
    said = []
    if split != 1.0:
        to_come = split_to_come(move, split, variance)
        if to_come is None:
            said.append(("stated split applied", row, split, "the prices of the day do not tell", GUESSED))
        elif not to_come:
            said.append(("stated split already in the prices", row, split, "", MENDED))
            split = 1.0
    held = float(rows.level[row])
    cash = 0.0
    for at in np.flatnonzero(rows.dividend[window]) + before + 1:
        paid = rows.dividend[at]
        refused = _payout_refused(rows, before, at, paid, move + np.log(split / rebased), variance, rebased)
        if refused:
            nature = MENDED if refused[0] == "dividend withheld" else DOUBTED
            said.append((refused[0], at, None, refused[1], nature))
        if not refused or refused[0] != "dividend withheld":
            cash += paid
    growth = split + cash / held
    return Reading(move + float(np.log(growth)), growth, split, tuple(said))


def split_to_come(move: float, split: float, variance: float) -> bool | None:
    """Whether prices are not adjusted for a stated split yet; None = the day does not tell.

    Args:
        move: log move of the close over the day of the split, as stated.
        split: new shares per old one.
        variance: of an ordinary day's log move.

    >>> split_to_come(-0.70, 2.0, 0.0004), split_to_come(0.01, 2.0, 0.0004), split_to_come(0.01, 1.02, 0.0004)
    (True, False, None)
    """
    by_split = move + np.log(split)
    if abs(move**2 - by_split**2) < SPLIT_TOLD_AT * variance and abs(np.log(split)) < 0.3:
        return None
    return bool(abs(by_split) <= abs(move))


def _payout_refused(
    rows: Rows, before: int, at: int, paid: float, move: float, variance: float, rebased: float
) -> tuple[str, str] | None:
    """Why a payout is not believed, or doubted. ``move``: without it, splits applied."""
    price = float(rows.level[before]) * rebased
    share = paid / price
    told = f"{paid:.6g} on a price of {price:.6g}"
    if share >= 1:
        return "dividend withheld", f"{told}: above the price"
    if share > PAID_BY_THE_DAY and at > 0 and paid == rows.dividend[at - 1]:
        return "dividend withheld", f"{told}: stated again, the same as on the row before"
    earlier = rows.dividend[:at]
    earlier = earlier[earlier > 0]
    usual = float(np.median(earlier[-8:])) * rebased if len(earlier) else np.nan
    with_it = move + np.log1p(share * np.exp(-move))
    better = (with_it**2 - move**2) / variance
    told += f", the close moved {np.expm1(move):+.1%}".replace("%", " %")
    if share > max(LARGE_PAYOUT, TOLD_SIGMAS * variance**0.5) and better > REFUSED_AT:
        return "dividend withheld", f"{told}: it did not fall by it"
    if UNIT_APART[0] <= paid / usual <= UNIT_APART[1] and share > TOLD_FROM and better > 0:
        return "dividend withheld", f"{told}: {paid / usual:.0f} times those before"
    if UNIT_APART[0] <= usual / paid <= UNIT_APART[1]:
        return "dividend doubted", f"{told}: 1/{usual / paid:.0f} of those before"
    if share > max(TOLD_FROM, TOLD_SIGMAS * variance**0.5) and better > 0:
        return "dividend doubted", f"{told}: hardly seen in the close"
    return None


def _read_adjusted(rows: Rows, before: int, row: int, move: float, variance: float) -> Reading:
    """An adjusted close that moves apart from the close is followed where the close moved by as much."""
    with np.errstate(invalid="ignore"):
        plain = float(np.log(rows.close[row]) - np.log(rows.close[before]))
    apart = move - plain
    text = f"the close moved {np.expm1(plain):+.1%}, the adjusted close {np.expm1(move):+.1%}".replace("%", " %")
    if not abs(apart) > max(TOLD_FROM, TOLD_SIGMAS * variance**0.5) or move**2 - plain**2 <= REFUSED_AT * variance:
        fell = apart < -TOLD_FROM and move**2 > plain**2  # no payout does that
        doubt = ("adjusted close doubted", row, float(np.exp(apart)), text, DOUBTED)
        return Reading(move, said=(doubt,) if fell else ())
    said = (("adjusted close jumps alone", row, float(np.exp(apart)), f"{text}; the close is followed", MENDED),)
    return Reading(plain, float(np.exp(-apart)), 1.0, said)
