"""Checks and repairs of one asset's bars, causal to the bit: cleaning and cutting at a day commute."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from clusterfolio.feeds.actions import shares_of
from clusterfolio.feeds.adjust import PRICES, cumulated, rows_of, total_return
from clusterfolio.feeds.levels import judge
from clusterfolio.feeds.raw import DOUBTED, MENDED, NOTED, Remark

#: The kind of remark on days with a volume of 0, and the share of an asset's days above which they are doubtful: it
#: hardly trades, or its volumes are wrong.
UNTRADED, RARELY_TRADED = "days without a trade left out", 0.2

#: A high or low off by less than this fraction is rounding: mended without a word.
ROUNDING = 1e-5


@dataclass(frozen=True)
class QualityConfig:
    """What counts as suspect. Moves are absolute log returns from the last accepted bar.

    Attributes:
        jump_sigmas, jump_floor: a move beyond ``jump_sigmas`` trailing standard deviations and beyond ``jump_floor``
            is suspect. The defaults let a share fall by a quarter on its earnings.
        quiet_sigmas, quiet_floor: the same for a move that the next bar may take back; a smaller one, for assets that
            hardly move.
        pair_sigmas, pair_floor, pair_cap: the same for exchange rates, which move less; a rate that is stated without
            a range is believed up to ``pair_cap``, and it is said.
        volume_vouches: a move on at least this multiple of the trailing median volume is news, not an error, and is
            believed up to ``jump_cap`` (0 = never). Without volumes, one that prices are seen to have made within the
            day is.
        jump_cap: a move beyond this is suspect whatever the volatility, and the only limit before ``warm_up`` bars.
        break_beyond: a confirmed new level farther than this, and no split or change of unit, is another history.
        window, warm_up: bars behind the trailing standard deviation (median absolute move), most and fewest.
        confirmations: traded bars that must follow at a new level before it is believed; those before stay withheld
            for good. A block of wrong prices up to this long is caught.
        quiet_confirmations: the same for the smaller move of an asset that hardly moves.
        settled_after: the same for the very first level, and for exchange rates. Every asset begins this many bars
            late, which is no repair and not counted.
        stale_after: bars in a row without any movement or volume that are believed; the further ones are withheld
            (0 = all believed). Exchange rates may be pegged and are believed always.
        min_assets: fewest usable assets beside the benchmark.
    """

    jump_sigmas: float = 20.0
    jump_floor: float = 0.33
    quiet_sigmas: float = 25.0
    quiet_floor: float = 0.01
    pair_sigmas: float = 12.0
    pair_floor: float = 0.10
    pair_cap: float = 0.40
    volume_vouches: float = 3.0
    jump_cap: float = 1.1
    break_beyond: float = 1.6
    window: int = 63
    warm_up: int = 20
    confirmations: int = 10
    quiet_confirmations: int = 3
    settled_after: int = 1
    stale_after: int = 10
    min_assets: int = 2

    def __post_init__(self):
        above = (
            "jump_sigmas jump_floor quiet_sigmas quiet_floor pair_sigmas pair_floor confirmations quiet_confirmations"
        )
        above += " settled_after"
        for name in (*above.split(), "min_assets"):
            if getattr(self, name) <= 0:
                raise ValueError(f"quality.{name} must be above 0, got {getattr(self, name)}")
        if not 2 <= self.warm_up <= self.window:
            raise ValueError(f"quality.warm_up must be between 2 and window={self.window}, got {self.warm_up}")
        for name in ("stale_after", "volume_vouches"):
            if getattr(self, name) < 0:
                raise ValueError(f"quality.{name} must be 0 or more, got {getattr(self, name)}")
        if self.jump_cap < max(self.jump_floor, self.pair_floor, self.quiet_floor):
            raise ValueError(f"quality.jump_cap must not be below the floors, got {self.jump_cap}")
        if self.break_beyond < self.jump_cap:
            raise ValueError(f"quality.break_beyond must be at least jump_cap={self.jump_cap}, got {self.break_beyond}")


@dataclass(frozen=True)
class Cleaned:
    """One asset's usable bars.

    Attributes:
        bars: sorted, unique days (naive, ns) with columns open, high, low, close, volume; total-return levels,
            ``low <= open, close <= high``, finite and above 0. A day that is withheld has no row. Columns market, split
            and paid are as in ``feeds.panel.Panel``, in the currency of the prices.
        begins: days with which a later history begins: no return leads there from the bar before, and the level is
            anew that day's price.
        remarks: what was mended, guessed or doubted.
    """

    bars: pd.DataFrame
    begins: tuple[pd.Timestamp, ...] = ()
    remarks: tuple[Remark, ...] = ()

    def histories(self) -> list[pd.DataFrame]:
        """The bars of each history, the first one first."""
        edges = [0, *self.bars.index.searchsorted(list(self.begins)), len(self.bars)]
        return [self.bars.iloc[first:last] for first, last in pairwise(edges)]


def clean(
    raw: pd.DataFrame, config: QualityConfig, *, symbol: str = "", pair: bool = False, index: bool = False
) -> Cleaned:
    """Usable total-return bars, and what was done to have them.

    What is decided about a day uses rows up to that day only: ``clean(raw)`` cut at a day equals ``clean`` of ``raw``
    cut there, bit for bit. A dividend or split on a day that is withheld takes effect at the next bar.

    Args:
        raw: a source's frame (``feeds.raw.RawBars.frame``), in any order.
        symbol: of the remarks.
        pair: the prices are an exchange rate.
        index: the prices are an index, which nobody trades: a volume of 0 says nothing.
    """
    dates, columns, counts = one_row_per_day(raw)
    if not pair:
        if not index:
            counts[UNTRADED] = _leave_out(columns, _untraded(columns))
        counts["stale bars withheld"] = _leave_out(columns, _stale(columns, config.stale_after))
    rows, at = rows_of(dates, columns)
    judged = judge(rows, config, symbol, pair)
    bars = total_return(rows, judged.growth, judged.shares, judged.begins)
    shares = shares_of(rows, judged, bars["close"])
    bars = {name: values[judged.believed] for name, values in bars.items()}
    bars["volume"] = bars["volume"] * (cumulated(judged.shares, judged.begins)[judged.believed] / shares.split)
    counts |= _mend_ranges(bars) | _cut_wicks(bars, judged.ordinary[judged.believed])
    remarks = [
        Remark(symbol, kind, text=str(n), nature=_nature(kind, n / max(len(dates), 1)))
        for kind, n in counts.items()
        if n
    ]
    remarks += judged.remarks
    remarks += [Remark(symbol, kind, dates[at[row]], *rest) for kind, row, *rest in shares.said]
    bars |= {"market": shares.price, "split": shares.split, "paid": shares.paid}
    names = [*PRICES, "volume", "market", "split", "paid"]
    frame = pd.DataFrame(np.column_stack([bars[name] for name in names]), dates[at[judged.believed]], names, copy=False)
    return Cleaned(frame, tuple(dates[at[judged.begins]]), tuple(remarks))


def _nature(kind: str, share: float) -> str:
    """What leaving out so many of an asset's rows amounts to."""
    if kind != UNTRADED:
        return MENDED
    return DOUBTED if share > RARELY_TRADED else NOTED


Columns = dict[str, np.ndarray]


def one_row_per_day(raw: pd.DataFrame) -> tuple[pd.DatetimeIndex, Columns, dict[str, int]]:
    """Sorted days, their columns with impossible values NaN, and what was wrong.

    Of a day stated twice, the row with most prices counts, then the later one. A row without a price only states an
    action: it goes with the day's other row, where that one states none.
    """
    index = pd.DatetimeIndex(raw.index).as_unit("ns").normalize()
    dated = ~index.isna()
    counts = {"undated rows": int((~dated).sum()), "rows out of order": 0}
    columns: Columns = {}
    wrong = np.zeros(len(index), dtype=bool)
    for name in raw.columns:
        values = raw[name].to_numpy(dtype=float, copy=True)
        if name in (*PRICES, "adj_close"):
            bad = (values <= 0) | np.isinf(values)
            wrong |= bad
            values[bad] = np.nan
        else:
            if name == "dividend":
                counts["dividends below 0, not taken"] = int((values < 0)[dated].sum())
            values[(values < 0) | np.isinf(values)] = np.nan
        columns[name] = values
    counts["prices that are not above 0"] = int(wrong[dated].sum())
    if counts["undated rows"]:
        index, columns = index[dated], {name: values[dated] for name, values in columns.items()}
    if index.is_monotonic_increasing and index.is_unique:
        return index, columns, counts
    counts["rows out of order"] = int((np.diff(index.asi8) < 0).sum())
    stated = np.sum([np.isfinite(columns[name]) for name in _prices(columns)], axis=0)
    order = np.lexsort((np.arange(len(index)), stated, index.asi8))
    index, stated = index[order], stated[order]
    columns = {name: values[order] for name, values in columns.items()}
    kept = ~index.duplicated(keep="last")
    actions_alone = ~kept & (stated == 0)
    counts["duplicate days"] = int((~kept & ~actions_alone).sum())
    _join_actions(index, columns, actions_alone, np.flatnonzero(kept))
    return index[kept], {name: values[kept] for name, values in columns.items()}, counts


def _join_actions(index: pd.DatetimeIndex, columns: Columns, alone: np.ndarray, kept: np.ndarray) -> None:
    """Dividends and splits of rows that state nothing else, in the day's row that is kept where it states none."""
    for name, nothing in (("dividend", 0.0), ("split", 1.0)):
        if name not in columns:
            continue
        values = columns[name]
        own = np.nan_to_num(values, nan=0.0)
        for row in np.flatnonzero(alone & (own != 0.0)):
            to = kept[index[kept].searchsorted(index[row])]
            if own[to] in (0.0, nothing):  # never one that the row itself states
                values[to] = values[row] if np.isnan(values[to]) or values[to] in (0.0, nothing) else values[to]


def _prices(columns: Columns) -> list[str]:
    return [name for name in columns if name in (*PRICES, "adj_close")]


def _leave_out(columns: Columns, days: np.ndarray) -> int:
    """Take the prices of these days away; what they state of dividends and splits stays. Returns how many."""
    n = int(days.sum())
    if n:
        for name in _prices(columns):
            columns[name] = np.where(days, np.nan, columns[name])
    return n


def _untraded(columns: Columns) -> np.ndarray:
    """Days with a volume of 0 of an asset that has traded with volume on a day before."""
    priced = np.any([np.isfinite(columns[name]) for name in ("close", "adj_close") if name in columns], axis=0)
    if "volume" not in columns:
        return np.zeros(len(priced), dtype=bool)
    before = np.logical_or.accumulate(priced & (columns["volume"] > 0))
    return priced & (columns["volume"] == 0) & before


def _stale(columns: Columns, believed: int) -> np.ndarray:
    """Days with the price of the one before and no volume, or the very same one, after ``believed`` in a row."""
    level = columns["adj_close"] if "adj_close" in columns else columns["close"]
    stale = np.zeros(len(level), dtype=bool)
    priced = np.flatnonzero(np.isfinite(level))
    if not believed or len(priced) <= believed:
        return stale
    level = level[priced]
    still = np.zeros(len(level), dtype=bool)
    still[1:] = level[1:] == level[:-1]
    if "volume" in columns:
        volume = columns["volume"][priced]
        still[1:] &= ~(volume[1:] > 0) | (volume[1:] == volume[:-1])
    at = np.arange(len(level))
    run = at - np.maximum.accumulate(np.where(still, -1, at))
    stale[priced[run > believed]] = True
    return stale


def _mend_ranges(bars: Columns) -> dict[str, int]:
    """Widen high and low to enclose open and close, in place."""
    high = np.max([bars[name] for name in PRICES], axis=0, initial=0.0)
    low = np.min([bars[name] for name in PRICES], axis=0, initial=np.inf)
    off = (high > bars["high"] * (1 + ROUNDING)) | (low < bars["low"] * (1 - ROUNDING))
    bars |= {"high": high, "low": low}
    return {"high or low widened": int(off.sum())}


def _cut_wicks(bars: Columns, limit: np.ndarray) -> dict[str, int]:
    """An open far from both closes around it becomes the close; a high or low far outside the body, its edge."""
    open_, high, low, close = (np.log(bars[name]) for name in PRICES)
    before = np.concatenate([open_[:1], close[:-1]])
    bad_open = (np.abs(open_ - close) > limit) & (np.abs(open_ - before) > limit)
    new_open = np.where(bad_open, bars["close"], bars["open"])
    open_ = np.where(bad_open, close, open_)
    bad_high, bad_low = high - np.maximum(open_, close) > limit, np.minimum(open_, close) - low > limit
    bars["open"] = new_open
    bars["high"] = np.where(bad_high, np.maximum(new_open, bars["close"]), bars["high"])
    bars["low"] = np.where(bad_low, np.minimum(new_open, bars["close"]), bars["low"])
    counts = {"opens replaced by the close": int(bad_open.sum())}
    return counts | {"highs or lows cut to the body": int((bad_high | bad_low).sum())}
