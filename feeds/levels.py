"""Which rows of one asset are believed, and by how much each multiplies what is held: decided day by day.

A row is compared with the last believed one. What it stated about splits and dividends is read as the prices of the
day have it; what then remains as a move is believed, or withheld until enough further rows stand at the new level.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import bottleneck
import numpy as np
import pandas as pd

from clusterfolio.feeds.adjust import Reading, Rows, read_actions
from clusterfolio.feeds.raw import DOUBTED, GUESSED, MENDED, NOTED, Remark

if TYPE_CHECKING:
    from clusterfolio.feeds.quality import QualityConfig

#: Factors by which a unit that changes moves prices, and splits that are usual; each may be turned over.
UNITS = (10.0, 100.0, 1000.0)
SPLITS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 100.0)

#: How many standard deviations the day's own move may hide such a factor by, and within which bounds: for a move that
#: is withheld for it, and for one that is only spoken of.
NEAR, SPOKEN_OF = (2.5, 0.02, 0.05), (4.5, 0.03, 0.12)

#: Daily standard deviation above which an asset without volumes is not quiet: it may well move on news.
QUIET_SIGMA = 0.005

#: Rows after which the volatility of a turmoil counts as known, and moves that tell of an asset that rarely has one.
TURMOIL, FEW = 10, 5

#: A move of such a factor's size is looked at from this many standard deviations on.
FACTOR_SIGMAS = 8.0

#: Without a row for this many days, what comes after may be another company under the same name; for this many, it is
#: taken as one whatever its price.
LONG_GAP_DAYS, TOO_LONG_A_GAP_DAYS = 90, 365

#: The kind of remark on a level that begins a new history.
BREAK = "price level breaks"

#: Verdicts on one row.
BELIEVED, SPIKE, LEVEL = range(3)


class Limits:
    """What moves are believed at once, by row, from the rows before it and its own volume.

    Attributes:
        sigma: robust standard deviation of the log moves before the row, NaN in the warm-up.
        ordinary: the largest move, absolute and log, that needs no volume behind it where nothing else speaks.
        quiet: the same for one that the next row must not take back; never above ``ordinary``.
    """

    def __init__(self, rows: Rows, config: QualityConfig, pair: bool):
        self.rows, self.config = rows, config
        sigmas, floor = (config.pair_sigmas, config.pair_floor) if pair else (config.jump_sigmas, config.jump_floor)
        self.moves = np.abs(np.diff(rows.log_level, prepend=np.nan))
        moving = np.where(self.moves == 0, np.nan, self.moves)  # what rarely trades is not quiet
        usual = np.fmax(self._typical(moving, config.window, FEW), self._typical(self.moves, TURMOIL, TURMOIL))
        unknown = np.arange(len(self.moves)) <= config.warm_up
        self.sigma = np.where(unknown, np.nan, 1.4826 * np.nan_to_num(usual))  # of a normal with this median
        self.ordinary = np.where(unknown, config.jump_cap, np.clip(sigmas * self.sigma, floor, config.jump_cap))
        quiet = np.maximum(config.quiet_sigmas * self.sigma, config.quiet_floor)
        untold = np.isnan(rows.volume) & (self.sigma > QUIET_SIGMA)  # no volume that could vouch for news
        exempt = unknown | untold | pair
        self.quiet = np.where(exempt, self.ordinary, np.minimum(quiet, self.ordinary))

    def _typical(self, values: np.ndarray, window: int, least: int) -> np.ndarray:
        """The median of the ``window`` values before each row, NaN where fewer than ``least`` are known."""
        out = np.full(len(values), np.nan)
        if len(values) > least:
            out[1:] = bottleneck.move_median(values, min(window, len(values)), min_count=least)[:-1]
        return out

    @cached_property
    def times_usual(self) -> tuple[np.ndarray, np.ndarray]:
        """The row's volume as a multiple of the usual, in shares and in money; NaN where no volume is usual."""
        volume, of = self.rows.volume, (self.config.window, self.config.warm_up)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = [values / self._typical(values, *of) for values in (volume, volume * self.rows.level)]
        shares, money = (np.where(np.isfinite(ratio), ratio, np.nan) for ratio in ratios)
        return shares, money

    def vouched(self, row: int, reference: int, factor: bool) -> bool:
        """Whether the day's trading stands behind a move: its volume, or a way from one price to the other.

        A split lost and a unit changed come with more or less shares, not with more money: where the move is of such
        a ``factor``, both must be unusual, the money a little less so.
        """
        if not self.config.volume_vouches:
            return False
        shares, money = (ratio[row] for ratio in self.times_usual)
        if np.isfinite(shares):
            return (min(shares, money / 0.75) if factor else shares) >= self.config.volume_vouches
        return reference == row - 1 and self._connected(row)

    def _connected(self, row: int) -> bool:
        """Whether prices are seen to have gone from the last close to this one, this day or the day before."""
        rows, slack = self.rows, np.exp(min(self.ordinary[row], 0.1))
        close, before = rows.close[row], rows.close[row - 1]
        inside = rows.low[row] <= close <= rows.high[row]
        opened_there = before / slack <= rows.open[row] <= before * slack
        reached = rows.low[row - 1] < rows.high[row - 1] and (
            rows.low[row - 1] / slack <= close <= rows.high[row - 1] * slack
        )
        return bool(inside and (opened_there or reached))

    def factor_of(self, move: float, row: int, pair: bool, within: tuple[float, float, float] = NEAR) -> float:
        """The split or change of unit that a move looks like, as a multiple of the price; 1.0 = none."""
        sigma = self.sigma[row]
        factors = list(UNITS) if pair else [*UNITS, *SPLITS]
        if within is NEAR and (np.isnan(sigma) or np.isnan(self.rows.volume[row])):
            factors = [factor for factor in factors if factor >= 2]  # nothing tells 3 for 2 from a fall on bad news
        best = min(factors, key=lambda factor: abs(abs(move) - np.log(factor)))
        sigmas, least, most = SPOKEN_OF if best in UNITS else within  # hardly anything else moves a price so far
        near = most if np.isnan(sigma) else min(max(sigmas * sigma, least), most)
        if abs(abs(move) - np.log(best)) > near or abs(move) < FACTOR_SIGMAS * np.nan_to_num(sigma):
            return 1.0
        return best if move > 0 else 1 / best

    def gapped(self, move: float, row: int, reference: int) -> bool:
        """Whether a move was there at the open already, as far as an open is stated; a split's and a unit's always is.

        What is left to the day is then no more than a day's move.
        """
        rows = self.rows
        if reference != row - 1 or not np.isfinite(rows.open[row]) or not rows.high[row] > rows.low[row]:
            return True
        in_the_day = abs(np.log(rows.close[row] / rows.open[row]))
        return bool(in_the_day < max(4 * np.nan_to_num(self.sigma[row], nan=0.03), 0.02))

    def to_look_at(self) -> np.ndarray:
        """Rows whose move from the row before is not believed at first sight."""
        small = np.where(np.isnan(self.sigma), 0.0, FACTOR_SIGMAS * self.sigma)
        small = np.maximum(small, np.log(min(SPLITS)) - SPOKEN_OF[2])
        look = self.moves > np.minimum(self.quiet, small)
        look[1:] |= np.diff(self.rows.days) > LONG_GAP_DAYS
        return look


@dataclass
class Judgement:
    """What became of an asset's rows.

    Attributes:
        believed: rows that become bars, shape ``(n_rows,)``.
        growth: by how much a holding's value per share grows beside the level, on that row.
        shares: the part of ``growth`` that is more shares, by which volumes are brought to those of the first day.
        units: by what the prices are divided from that row on to be in the unit of those before.
        begins: believed rows with which a new history begins; nothing relates them to the rows before.
        ordinary: as ``Limits.ordinary``.
    """

    believed: np.ndarray
    growth: np.ndarray
    shares: np.ndarray
    units: np.ndarray
    begins: np.ndarray
    ordinary: np.ndarray
    remarks: list[Remark] = field(default_factory=list)


def judge(rows: Rows, config: QualityConfig, symbol: str = "", pair: bool = False) -> Judgement:
    """Go through the rows once; what is decided about one uses it and the rows before it only."""
    return _Walk(rows, config, symbol, pair).walk()


class _Walk:
    """One pass over an asset's rows."""

    def __init__(self, rows: Rows, config: QualityConfig, symbol: str, pair: bool):
        self.rows, self.config, self.symbol, self.pair = rows, config, symbol, pair
        self.limits = Limits(rows, config, pair)
        n = len(rows.log_level)
        self.out = Judgement(
            np.ones(n, dtype=bool), np.ones(n), np.ones(n), np.ones(n), np.zeros(n, dtype=bool), self.limits.ordinary
        )
        self.reference = -1  # the last believed row

    def walk(self) -> Judgement:
        look = self.limits.to_look_at() | self.rows.acted
        if len(look):
            look[0] = True
        settled = -1
        for row in np.flatnonzero(look).tolist():
            if row <= settled:
                continue
            self.reference = row - 1
            verdict, reading = self._test(row)
            if verdict == BELIEVED:
                self._settle(row, reading)
                settled = row
            else:
                settled = self._excursion(row, verdict)
        return self.out

    def _test(self, row: int) -> tuple[int, Reading]:
        """What to make of a row after the last believed one, with the actions in between."""
        rows, limits, reference = self.rows, self.limits, self.reference
        if reference < 0:
            return SPIKE, Reading(0.0)
        reading = read_actions(rows, reference, row, limits.sigma[row])
        size = abs(reading.move)
        gap = int(rows.days[row] - rows.days[reference])
        factor = limits.factor_of(reading.move, row, self.pair) != 1.0 and limits.gapped(reading.move, row, reference)
        doubtful = factor or size > limits.ordinary[row]
        if gap > LONG_GAP_DAYS and (size > min(limits.ordinary[row], self.config.jump_floor) or self._too_long(gap)):
            return LEVEL, reading
        if not doubtful and size <= limits.quiet[row]:
            return BELIEVED, reading
        if size <= self.config.jump_cap and limits.vouched(row, reference, factor):
            return BELIEVED, reading
        if self.pair and not factor and size <= self.config.pair_cap and not rows.high[row] > rows.low[row]:
            return BELIEVED, reading  # a rate without a range: nothing could show the way
        return (LEVEL if doubtful and not (self.pair and size <= self.config.jump_cap) else SPIKE), reading

    def _too_long(self, gap: int) -> bool:
        return gap > TOO_LONG_A_GAP_DAYS and not self.pair

    def _settle(
        self, row: int, reading: Reading, undone: float = 1.0, split: bool = False, named: bool = False
    ) -> None:
        """Believe a row; ``undone``: by which prices are divided from here on; ``named``: its move is, already."""
        self.out.growth[row] = reading.growth / undone
        self.out.shares[row] = reading.shares / (undone if split else 1.0)
        self.out.units[row] = 1.0 if split else undone
        for remark in reading.said:
            self._say(*remark)
        if self.reference >= 0:
            gap = int(self.rows.days[row] - self.rows.days[self.reference])
            if gap > LONG_GAP_DAYS and not self.out.begins[row]:
                self._say("long gap bridged", row, float(np.exp(reading.move)), f"no row for {gap} days", DOUBTED)
            limit = self.config.jump_floor if np.isnan(self.limits.sigma[row]) else self.limits.ordinary[row]
            spoken_of = self.limits.factor_of(reading.move, row, self.pair, SPOKEN_OF) != 1.0
            if not named and (spoken_of or abs(reading.move) > limit):
                why, nature = self._why(row)
                self._say("large move believed", row, float(np.exp(reading.move)), why, nature)
        self.reference = row

    def _why(self, row: int) -> tuple[str, str]:
        shares = self.limits.times_usual[0][row]
        if np.isfinite(shares):
            return f"on {shares:.1f} times the usual volume", NOTED
        if self.rows.high[row] > self.rows.low[row]:
            return "prices went there step by step", NOTED
        return "without a range or a volume that could tell", DOUBTED

    def _excursion(self, begun: int, verdict: int) -> int:
        """Withhold rows from ``begun`` on until they are back, or confirmed; returns the row that settled it."""
        candidate, following = begun, 0
        for row in range(begun, len(self.rows.log_level)):
            if row > begun:
                verdict_now, reading = self._test(row)
                step = self.rows.log_level[row] - self.rows.log_level[row - 1]
                nearer = abs(reading.move) < abs(step) or reading.shares != 1.0
                if verdict_now == BELIEVED and nearer:
                    self._say_withheld(begun, row, "back at the old level")
                    self._settle(row, reading)
                    return row
                if self._same_level(row):
                    following += 1
                else:
                    candidate, following, verdict = row, 0, SPIKE if verdict_now == SPIKE else LEVEL
                if following >= self._needed(verdict):
                    self._resolve(begun, candidate, row, reading)
                    return row
            self.out.believed[row] = False
        if self.reference >= 0:
            self._say_withheld(begun, len(self.rows.log_level), "not settled by the last row", DOUBTED)
        return len(self.rows.log_level) - 1

    def _needed(self, verdict: int) -> int:
        """How many rows must follow at a level of which the first row was judged like this."""
        if verdict == LEVEL:
            return self.config.confirmations
        return self.config.settled_after if self.pair or self.reference < 0 else self.config.quiet_confirmations

    def _same_level(self, row: int) -> bool:
        step = self.rows.log_level[row] - self.rows.log_level[row - 1]
        by_split = step + np.log(self.rows.split[row])
        return min(abs(step), abs(by_split)) <= self.limits.ordinary[row]

    def _resolve(self, begun: int, candidate: int, row: int, reading: Reading) -> None:
        """A new level is confirmed: undo it, believe it, or begin a new history."""
        if self.reference < 0:
            if row > self.config.settled_after:
                self._say_withheld(begun, row, "no two that agree before", spare=self.config.settled_after)
            self._settle(row, Reading(0.0))
            return
        rows, last = self.rows, self.reference
        move = reading.move - (rows.log_level[row] - rows.log_level[candidate])  # that of the level's first row
        factor, times = self.limits.factor_of(move, candidate, self.pair), float(np.exp(move))
        gap = int(rows.days[candidate] - rows.days[last])
        if factor != 1.0 and gap <= LONG_GAP_DAYS:  # payouts since are in the new level's money
            reading = read_actions(rows, last, row, self.limits.sigma[row], factor)
        self._say_withheld(begun, row, "until the new level was confirmed")
        if not self.pair and (gap > LONG_GAP_DAYS or (factor == 1.0 and abs(move) > self.config.break_beyond)):
            why = f"no row for {gap} days before it" if gap > LONG_GAP_DAYS else "nothing explains it"
            text = f"{why}; last believed close on {_day(rows.days[last])}, a new history begins {_day(rows.days[row])}"
            self._say(BREAK, candidate, times, text, DOUBTED)
            self.out.begins[row] = True
            self._settle(row, Reading(0.0), named=True)
        elif factor != 1.0 and gap <= LONG_GAP_DAYS:
            split = self._looks_like_split(candidate, row, factor)
            kind = "unstated split undone" if split else "another unit undone"
            self._say(kind, candidate, times, f"taken as x{factor:.4g}; {row - candidate + 1} rows agree", GUESSED)
            self._settle(row, reading, factor, split, named=True)
        else:
            self._say("large move believed", candidate, times, f"{row - candidate + 1} rows agree", DOUBTED)
            self._settle(row, reading, named=True)

    def _looks_like_split(self, candidate: int, row: int, factor: float) -> bool:
        """A factor that is no unit is a split; of the others, a split if the volume moved the other way."""
        if max(factor, 1 / factor) not in UNITS or self.pair:
            return not self.pair
        shares = self.limits.times_usual[0][candidate]
        if not np.isfinite(shares) or shares <= 0:
            return False
        usual = self.rows.volume[candidate] / shares
        now = np.nanmedian(self.rows.volume[candidate : row + 1])
        return now > 0 and abs(np.log(now / usual * factor)) < abs(np.log(now / usual))

    def _say_withheld(self, begun: int, until: int, why: str, nature: str = MENDED, spare: int = 0) -> None:
        times = 1.0
        if self.reference >= 0:
            times = float(np.exp(self.rows.log_level[begun] - self.rows.log_level[self.reference]))
        text = f"{until - begun - spare} bars, {why}"
        self._say("suspect bars withheld", begun, times if self.reference >= 0 else None, text, nature)

    def _say(self, kind: str, row: int, factor: float | None, text: str, nature: str) -> None:
        day = pd.Timestamp(int(self.rows.days[row]), unit="D").as_unit("ns")
        self.out.remarks.append(Remark(self.symbol, kind, day, factor, text, nature))


def _day(number: int) -> str:
    return str(np.datetime64(int(number), "D"))
