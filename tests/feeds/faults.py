"""Healthy series of one asset, and the ways in which vendors spoil them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

SPLITS = (1.5, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 1 / 2, 1 / 5, 1 / 10, 1 / 20)
UNITS = (10.0, 100.0, 1000.0, 0.1, 0.01, 0.001)


@dataclass
class Case:
    """What is delivered, and what is true: the wealth of a holder by day, and the days about which a word is due."""

    raw: pd.DataFrame
    wealth: pd.Series
    at: pd.Timestamp
    until: pd.Timestamp


def healthy(rng: np.random.Generator, n: int = 220) -> tuple[pd.DataFrame, pd.Series]:
    """Rows with prices as quoted, volume and quarterly dividends, and the wealth of a holder."""
    volatility = np.exp(rng.uniform(np.log(0.003), np.log(0.03)))
    moves = rng.standard_t(5, n) * volatility * np.sqrt(3 / 5)
    dates = pd.bdate_range("2022-01-03", periods=n)
    paid = np.where(np.arange(n) % 40 == 20, rng.uniform(0.003, 0.012), 0.0)
    wealth = 20 * np.exp(rng.uniform(0, 3)) * np.exp(moves.cumsum())
    close = wealth * np.cumprod(1 - paid)
    dividend = paid * close / (1 - paid)
    open_ = np.append(close[0], close[:-1]) * np.exp(rng.normal(0, volatility / 2, n))
    frame = pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * (1 + abs(rng.normal(0, volatility / 2, n))),
            "low": np.minimum(open_, close) * (1 - abs(rng.normal(0, volatility / 2, n))),
            "close": close,
            "volume": np.round(1e5 * np.exp(rng.normal(0, 0.4, n))),
            "dividend": dividend,
            "split": 0.0,
        },
        index=dates,
    )
    return frame, pd.Series((1 + (close[1:] + dividend[1:]) / close[:-1] - 1).cumprod(), dates[1:]).reindex(
        dates, fill_value=1.0
    )


def _times(raw: pd.DataFrame, rows: slice, factor: float, shares: float = 1.0) -> pd.DataFrame:
    raw = raw.copy()
    raw.loc[raw.index[rows], ["open", "high", "low", "close", "dividend"]] *= factor
    raw.loc[raw.index[rows], "volume"] *= shares
    return raw


def split_lost(raw, row, rng):
    ratio = rng.choice(SPLITS)
    return _times(raw, slice(row, None), 1 / ratio, rng.choice([1.0, ratio])), row


def unit_changed(raw, row, rng):
    return _times(raw, slice(row, None), rng.choice(UNITS)), row


def unit_block(raw, row, rng):
    last = row + int(rng.integers(1, 11))
    return _times(raw, slice(row, last), rng.choice(UNITS)), last - 1


def odd_block(raw, row, rng):
    last = row + int(rng.integers(1, 11))
    return _times(raw, slice(row, last), float(np.exp(rng.choice([-1, 1]) * rng.uniform(1.2, 4)))), last - 1


def other_company_later(raw, row, rng):
    raw = _times(raw, slice(row, None), float(np.exp(rng.uniform(-4, 4))))
    dates = raw.index.where(np.arange(len(raw)) < row, raw.index + pd.Timedelta(days=455))
    return raw.set_axis(dates), row


def other_company_at_once(raw, row, rng):
    return _times(raw, slice(row, None), float(np.exp(rng.choice([-1, 1]) * rng.uniform(1.7, 4.5)))), row


def dividend_in_cents(raw, row, rng):
    row = _next_payout(raw, row)
    raw = raw.copy()
    raw.iloc[row, raw.columns.get_loc("dividend")] *= rng.choice([100.0, 0.01])
    return raw, row


def split_in_prices_already(raw, row, rng):
    raw = raw.copy()
    raw.iloc[row, raw.columns.get_loc("split")] = rng.choice(SPLITS)
    return raw, row


def split_not_in_prices(raw, row, rng):
    ratio = rng.choice(SPLITS)
    raw = _times(raw, slice(row, None), 1 / ratio, ratio)
    raw.iloc[row, raw.columns.get_loc("split")] = ratio
    raw.iloc[row, raw.columns.get_loc("dividend")] *= ratio  # per share held the evening before
    return raw, row


def split_stated_late(raw, row, rng):
    late = min(row + int(rng.integers(1, 4)), len(raw) - 1)
    ratio = rng.choice(SPLITS)
    raw = _times(raw, slice(row, None), 1 / ratio, ratio)
    raw.iloc[late, raw.columns.get_loc("split")] = ratio
    return raw, late


def adjusted_close_jumps(raw, row, rng):
    growth = (1 + raw["dividend"] / (raw["close"])).cumprod()
    adjusted = raw["close"] * growth / growth.iloc[-1]
    adjusted.iloc[row:] *= rng.choice([1.4, 2.0, 0.6, 0.5])
    return raw.drop(columns=["dividend", "split"]).assign(adj_close=adjusted), row


def stale_rows_after_split(raw, row, rng):
    """A split that is stated, and the old price repeated on the next days, on which nothing traded."""
    row += 3 if (raw["dividend"].iloc[row : row + 3] > 0).any() else 0  # else it is paid at the next price
    raw, _ = split_not_in_prices(raw, row, rng)
    last = row + int(rng.integers(1, 3))
    stale = raw.index[row:last]
    raw.loc[stale, ["open", "high", "low", "close"]] = raw["close"].iloc[row - 1]
    raw.loc[stale, "volume"] = 0.0
    return raw, last


def dividend_in_a_row_of_its_own(raw, row, rng):
    row = _next_payout(raw, row)
    alone = raw.iloc[[row]].assign(open=np.nan, high=np.nan, low=np.nan, close=np.nan, volume=np.nan)
    raw = raw.copy()
    raw.iloc[row, raw.columns.get_loc("dividend")] = np.nan
    return pd.concat([raw, alone]).sort_index(kind="stable"), row


def _next_payout(raw: pd.DataFrame, row: int) -> int:
    payouts = np.flatnonzero(raw["dividend"] > 0)
    return int(payouts[min(np.searchsorted(payouts, row), len(payouts) - 1)])


FAULTS = {
    fault.__name__: fault
    for fault in (
        split_lost, unit_changed, unit_block, odd_block, other_company_later, other_company_at_once, dividend_in_cents,
        split_in_prices_already, split_not_in_prices, split_stated_late, adjusted_close_jumps, stale_rows_after_split,
        dividend_in_a_row_of_its_own,
    )
}  # fmt: skip


def spoilt(name: str, seed: int, row: int, columns: str = "all") -> Case:
    """A case of the fault ``name`` at about row ``row``; ``columns``: "all", "no volume" or "close only"."""
    rng = np.random.default_rng([seed, row])
    raw, wealth = healthy(rng)
    raw, last = FAULTS[name](raw, row, rng)
    if columns != "all":
        raw = raw.drop(columns=["volume"] if columns == "no volume" else ["volume", "open", "high", "low"])
    days = raw.index.unique()
    return Case(raw, wealth.set_axis(days), days[min(row, last)], days[min(max(last, row), len(days) - 1)])
