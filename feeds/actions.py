"""What one share became and was paid: the way from total-return levels back to the shares and prices of the market.

A level over the market's price is the number of shares into which one has grown, splits and dividends re-invested. It
grows by splits where the price falls by them, and by dividends; figures that are rounded make it waver, which is
neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import bottleneck
import numpy as np

from clusterfolio.feeds.adjust import Rows, cumulated
from clusterfolio.feeds.levels import SPLITS, Judgement
from clusterfolio.feeds.raw import GUESSED

#: By how much logs of figures waver that are worked out here, and of a vendor's that come as floats of four bytes.
EXACT, FLOAT32 = 1e-12, 2e-6

#: Rounding moves a ratio by at most so many times what it usually does, which so many of the last rows tell; before
#: that many are known it is taken as this.
TIMES_USUAL, WINDOW, TOLD_AFTER, UNTOLD = 5.0, 63, 10, 2e-3

#: How far, in logs, a growth may be from a usual split for it to be told by an adjusted close alone.
NEAR_SPLIT = 0.03

#: How far, in logs, a dividend that is stated may be from what the adjusted close has of it.
NEAR_DIVIDEND = 0.2

#: The kind of remark on a split that nothing states.
SPLIT_TOLD = "split told by the adjusted close"


@dataclass(frozen=True)
class Shares:
    """What one share of an asset's first believed row has become, by believed row.

    Attributes:
        price: the close as stated, in the unit of the first row; NaN where only an adjusted one is stated.
        split: shares that one has become by splits which the closes fell by; 1 at first.
        paid: dividends that it has been paid so far, in the currency of the prices; 0 at first. It falls where an
            adjusted close falls against the close.
        said: ``(kind, row, factor, text, nature)`` of what was guessed; ``row`` counts all rows.
    """

    price: np.ndarray
    split: np.ndarray
    paid: np.ndarray
    said: tuple[tuple, ...] = ()


def shares_of(rows: Rows, judged: Judgement, level: np.ndarray) -> Shares:
    """What a share became and was paid; what is known at a row uses it and the rows before it only.

    Args:
        level: the total-return level of all rows.
    """
    at = np.flatnonzero(judged.believed)
    price = (rows.close / cumulated(judged.units, judged.begins))[at]
    walk = _Walk(rows, at, price, cumulated(judged.shares, judged.begins)[at])
    with np.errstate(invalid="ignore"):
        grown = np.log(level[at] / price)
    walk.walk(grown, _wavering(rows, grown, price), judged.begins[at])
    return Shares(price, walk.split, walk.paid, tuple(walk.said))


class _Walk:
    """One pass over the believed rows ``at``; ``known``: shares by the splits that the levels already count."""

    def __init__(self, rows: Rows, at: np.ndarray, price: np.ndarray, known: np.ndarray):
        self.rows, self.at, self.price, self.known = rows, at, price, known
        self.split, self.paid = np.ones(len(at)), np.zeros(len(at))
        self.said: list[tuple] = []

    def walk(self, grown: np.ndarray, wavering: np.ndarray, begins: np.ndarray) -> None:
        """``grown``: log of the shares that one has become, ``wavering``: by how much rounding may move it."""
        split, paid, last = 1.0, 0.0, -1
        have, most, anew, known = grown.tolist(), wavering.tolist(), begins.tolist(), self.known.tolist()
        for row, now in enumerate(have):
            if anew[row]:
                split, paid, last = 1.0, 0.0, -1
            if now == now:  # a price is stated
                if last >= 0 and (known[row] != known[last] or abs(now - have[last]) > most[row]):
                    by, dividend = self._told(last, row, now - have[last], most[row])
                    split, paid, last = split * by, paid + split * by * dividend, row
                elif last < 0:
                    last = row
            self.split[row], self.paid[row] = split, paid

    def _told(self, last: int, row: int, growth: float, most: float) -> tuple[float, float]:
        """Shares per share, and the dividend on each of them, of what lies after one believed row, up to another."""
        by = float(self.known[row] / self.known[last])
        window = slice(self.at[last] + 1, self.at[row] + 1)
        if self.rows.adjusted and by == 1.0:
            by = self._split_of_adjusted(window, growth)
        rest = growth - float(np.log(by))
        if abs(rest) <= most:
            return by, 0.0
        dividend = float(self.price[row] * np.expm1(rest))
        stated = float(self.rows.listed_dividend[window].sum()) / by
        if self.rows.adjusted and dividend > 0 and stated > 0 and abs(np.log(stated / dividend)) < NEAR_DIVIDEND:
            dividend = stated  # vendors re-invest at other prices than the close
        return by, dividend

    def _split_of_adjusted(self, window: slice, growth: float) -> float:
        """The split that an adjusted close counts and the close does not; 1 = none."""
        stated = float(np.prod(self.rows.listed_split[window]))
        if self.rows.lists_splits[window.stop - 1]:
            return stated if abs(growth - np.log(stated)) < abs(growth) else 1.0
        best = min(SPLITS, key=lambda factor: abs(abs(growth) - np.log(factor)))
        if abs(abs(growth) - np.log(best)) > NEAR_SPLIT:
            return 1.0
        by = best if growth > 0 else 1 / best
        text = "the close moved by it, the adjusted close did not; the source states no splits"
        self.said.append((SPLIT_TOLD, window.stop - 1, by, text, GUESSED))
        return by


def _wavering(rows: Rows, grown: np.ndarray, price: np.ndarray) -> np.ndarray:
    """By how much rounded figures move ``grown`` at most, by row, told by what they did before it.

    Counted in the price, as what they are rounded to is.
    """
    if not rows.adjusted:
        return np.full(len(grown), EXACT)
    known = np.flatnonzero(np.isfinite(grown))
    price = price[known]
    moves = np.abs(np.diff(grown[known])) * price[1:]
    wavering = np.full(len(grown), UNTOLD)
    if len(moves) > TOLD_AFTER:
        usual = bottleneck.move_median(moves, min(WINDOW, len(moves)), min_count=TOLD_AFTER)
        told = FLOAT32 + TIMES_USUAL * usual[:-1] / price[2:]
        wavering[known[2:]] = np.where(np.isfinite(told), told, UNTOLD)
    return wavering
