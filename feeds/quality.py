"""Checks and repairs of one asset's bars, causal to the bit: cleaning and cutting at a day commute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clusterfolio.feeds.adjust import forward

PRICES = ("open", "high", "low", "close")

#: A high or low off by less than this fraction is rounding: mended without a word.
ROUNDING = 1e-5


@dataclass(frozen=True)
class QualityConfig:
    """What counts as suspect. Moves are absolute log returns from the last accepted bar.

    Attributes:
        jump_sigmas, jump_floor: a move beyond ``jump_sigmas`` trailing standard deviations and beyond ``jump_floor``
            is suspect. The defaults let a share fall by a quarter on its earnings.
        pair_sigmas, pair_floor: the same for exchange rates, which move less.
        volume_vouches: a move on at least this multiple of the trailing median volume is news, not an error, and is
            believed up to ``jump_cap`` (0 = never).
        jump_cap: a move beyond this is suspect whatever the volatility, and the only limit before ``warm_up`` bars.
        window, warm_up: bars behind the trailing standard deviation (median absolute move), most and fewest.
        confirmations: bars that must follow at the new level before it is accepted. The suspect bars before that
            stay withheld for good. The first bar is a new level too: every asset begins this many bars late, which
            is no repair and not counted.
        stale_after: bars in a row without any movement that are believed; the further ones are withheld (0 = all
            believed). Exchange rates may be pegged and are believed always.
        min_assets: fewest usable assets beside the benchmark.
    """

    jump_sigmas: float = 20.0
    jump_floor: float = 0.33
    pair_sigmas: float = 12.0
    pair_floor: float = 0.10
    volume_vouches: float = 3.0
    jump_cap: float = 1.1
    window: int = 63
    warm_up: int = 20
    confirmations: int = 1
    stale_after: int = 10
    min_assets: int = 2

    def __post_init__(self):
        for name in ("jump_sigmas", "jump_floor", "pair_sigmas", "pair_floor", "confirmations", "min_assets"):
            if getattr(self, name) <= 0:
                raise ValueError(f"quality.{name} must be above 0, got {getattr(self, name)}")
        if not 2 <= self.warm_up <= self.window:
            raise ValueError(f"quality.warm_up must be between 2 and window={self.window}, got {self.warm_up}")
        for name in ("stale_after", "volume_vouches"):
            if getattr(self, name) < 0:
                raise ValueError(f"quality.{name} must be 0 or more, got {getattr(self, name)}")
        if self.jump_cap < max(self.jump_floor, self.pair_floor):
            raise ValueError(f"quality.jump_cap must not be below the floors, got {self.jump_cap}")


def clean(raw: pd.DataFrame, config: QualityConfig, pair: bool = False) -> tuple[pd.DataFrame, dict[str, int]]:
    """Usable total-return bars, and how many were repaired or withheld, by what was wrong.

    What is decided about a day uses rows up to that day only: ``clean(raw)`` cut at a day equals ``clean`` of ``raw``
    cut there, bit for bit. A dividend or split on a day that is withheld takes effect at the next bar.

    Args:
        raw: a source's frame (``feeds.raw.RawBars.frame``), in any order.
        pair: the prices are an exchange rate.

    Returns:
        Sorted, unique days (naive, ns) with columns open, high, low, close, volume; ``low <= open, close <= high``,
        prices finite and above 0. A day that is withheld has no row. The counts hold no zeros.
    """
    days, counts = one_row_per_day(raw)
    bars, more = _mend_ranges(forward(days))
    counts |= more
    if not pair and config.stale_after:
        stale = _stale(bars, config.stale_after)
        counts["stale bars withheld"] = int(stale.sum())
        bars = bars[~stale]
    pays = "dividend" in days.columns and "adj_close" not in days.columns
    # A dividend buys shares at its day's close, for good: closes are judged before any are bought.
    judged = forward(days.drop(columns="dividend")).loc[bars.index] if pays else bars
    limit = _move_limit(judged, config, pair)
    suspect = _suspect(np.log(judged["close"].to_numpy()), limit, config.confirmations)
    counts["suspect bars withheld"] = int(suspect.sum()) - min(config.confirmations, len(suspect))
    bars = bars[~suspect]
    if pays:
        believed = days.loc[bars.index, _prices(days)]  # assigned by day: NaN where a bar is withheld
        bars, _ = _mend_ranges(forward(days.assign(**believed)))
    bars, more = _cut_wicks(bars, limit[~suspect])
    counts |= more
    return bars, {what: n for what, n in counts.items() if n}


def _prices(days: pd.DataFrame) -> list[str]:
    return [name for name in days.columns if name in (*PRICES, "adj_close")]


def one_row_per_day(raw: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Sorted by day, impossible values NaN; of a day stated twice, the row with most prices, then the later one."""
    index = pd.DatetimeIndex(raw.index).as_unit("ns").normalize()
    dated = ~index.isna()
    days = raw.set_axis(index)[dated]
    counts = {"undated rows": int((~dated).sum()), "rows out of order": 0}
    columns = {}
    wrong = np.zeros(len(days), dtype=bool)
    for name in days.columns:
        values = days[name].to_numpy(dtype=float, copy=True)
        if name in (*PRICES, "adj_close"):
            bad = (values <= 0) | np.isinf(values)
            wrong |= bad
            values[bad] = np.nan
        else:
            values[(values < 0) | np.isinf(values)] = np.nan
        columns[name] = values
    counts["prices that are not above 0"] = int(wrong.sum())
    days = pd.DataFrame(columns, index=days.index)
    if days.index.is_monotonic_increasing and days.index.is_unique:
        return days, counts
    counts["rows out of order"] = int((np.diff(days.index.asi8) < 0).sum())
    stated = days[_prices(days)].notna().sum(axis=1).to_numpy()
    order = np.lexsort((np.arange(len(days)), stated, days.index.asi8))
    days = days.iloc[order]
    repeated = days.index.duplicated(keep="last")
    counts["duplicate days"] = int(repeated.sum())
    return days[~repeated], counts


def _mend_ranges(bars: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """High and low widened to enclose open and close."""
    high = bars[list(PRICES)].to_numpy().max(axis=1, initial=0.0)
    low = bars[list(PRICES)].to_numpy().min(axis=1, initial=np.inf)
    off = (high > bars["high"] * (1 + ROUNDING)) | (low < bars["low"] * (1 - ROUNDING))
    return bars.assign(high=high, low=low), {"high or low widened": int(off.sum())}


def _stale(bars: pd.DataFrame, believed: int) -> np.ndarray:
    """Bars without movement since the one before, after ``believed`` such bars in a row."""
    close, volume = bars["close"].to_numpy(), bars["volume"].to_numpy()
    still = np.zeros(len(bars), dtype=bool)
    still[1:] = close[1:] == close[:-1]
    still &= ~(volume > 0) | (bars["high"] == bars["low"]).to_numpy()
    at = np.arange(len(bars))
    run = at - np.maximum.accumulate(np.where(still, -1, at))
    return run > believed


def _move_limit(bars: pd.DataFrame, config: QualityConfig, pair: bool) -> np.ndarray:
    """The largest move that is believed at once, by bar, from the bars before it and its own volume."""
    sigmas, floor = (config.pair_sigmas, config.pair_floor) if pair else (config.jump_sigmas, config.jump_floor)

    def typical(values: pd.Series) -> np.ndarray:
        return values.rolling(config.window, min_periods=config.warm_up).median().shift(1).to_numpy()

    sigma = 1.4826 * typical(np.log(bars["close"]).diff().abs())  # of a normal distribution with this median
    limit = np.where(np.isnan(sigma), config.jump_cap, np.clip(sigmas * sigma, floor, config.jump_cap))
    if not config.volume_vouches:
        return limit
    usual = typical(bars["volume"])
    vouched = (usual > 0) & (bars["volume"].to_numpy() >= config.volume_vouches * usual)
    return np.where(vouched, config.jump_cap, limit)


def _suspect(log_close: np.ndarray, limit: np.ndarray, confirmations: int) -> np.ndarray:
    """Bars too far from the last accepted one, until enough bars in a row stay at the new level.

    Before the first bar nothing is accepted, so it needs its confirmations like any new level, and is withheld.
    """
    suspect = np.zeros(len(log_close), dtype=bool)
    moves = np.abs(np.diff(log_close, prepend=-np.inf)) if len(log_close) else log_close
    accepted_until = -1
    for jump in np.nonzero(moves > limit)[0]:
        if jump <= accepted_until:
            continue
        reference, following = jump - 1, 0
        for at in range(jump, len(log_close)):
            if reference >= 0 and abs(log_close[at] - log_close[reference]) <= limit[at]:
                break
            at_new_level = at > jump and abs(log_close[at] - log_close[at - 1]) <= limit[at]
            following = following + 1 if at_new_level else 0
            if following >= confirmations:
                break
            suspect[at] = True
        accepted_until = at
    return suspect


def _cut_wicks(bars: pd.DataFrame, limit: np.ndarray) -> tuple[pd.DataFrame, dict[str, int]]:
    """An open far from both closes around it becomes the close; a high or low far outside the body, its edge."""
    open_, high, low, close = (np.log(bars[name].to_numpy()) for name in PRICES)
    before = np.concatenate([open_[:1], close[:-1]])
    bad_open = (np.abs(open_ - close) > limit) & (np.abs(open_ - before) > limit)
    new_open = np.where(bad_open, bars["close"], bars["open"])
    open_ = np.where(bad_open, close, open_)
    top, bottom = np.maximum(new_open, bars["close"]), np.minimum(new_open, bars["close"])
    bad_high, bad_low = high - np.maximum(open_, close) > limit, np.minimum(open_, close) - low > limit
    mended = bars.assign(
        open=new_open, high=np.where(bad_high, top, bars["high"]), low=np.where(bad_low, bottom, bars["low"])
    )
    counts = {"opens replaced by the close": int(bad_open.sum())}
    return mended, counts | {"highs or lows cut to the body": int((bad_high | bad_low).sum())}
