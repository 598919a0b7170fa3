"""What jobs for an encoder are measured on: assets by lot at a date every five sessions, and what an encoder sees."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import Panel
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.windows import Windows, make_windows
from clusterfolio.strategies.diversification import log_returns
from tests.benchmarks.multi_task import AHEAD, EVERY, HISTORY, TINY, mean_of_last, terms

#: Years an encoder serves, is trained on, and its heads look back; assets of the market's states; step of older rows.
REFIT, TRAINED, HEADS, OF_STATE, OLDER = 2, 2, 4, 60, 2


@dataclass(frozen=True)
class World:
    """What is measured on: assets by lot at sessions, the market in column 0.

    Attributes:
        days: sessions; ``rows``: those that forecasts are made at the close of.
        returns, ranges: log returns and log of high over low, ``(n_days, n_assets)``.
        x: ``multi_task.terms`` at ``rows``, ``(n_rows, n_assets, 16)``; y: log variance of the next 21 sessions, NaN
            where not known or not asked for.
        columns: of the assets in the panel.
    """

    panel: Panel
    days: pd.DatetimeIndex
    rows: np.ndarray
    returns: np.ndarray
    ranges: np.ndarray
    x: np.ndarray
    y: np.ndarray
    columns: np.ndarray

    def of_year(self, year: int) -> np.ndarray:
        """Which of ``rows`` lie in a year."""
        return self.days[self.rows].year == year

    def known(self, year: int, back: int = 99) -> np.ndarray:
        """Which of ``rows`` were answered before a year began, of so many years."""
        first = int(self.days.searchsorted(pd.Timestamp(year, 1, 1)))
        begin = int(self.days.searchsorted(pd.Timestamp(year - back, 1, 1)))
        return (self.rows + AHEAD < first) & (self.rows >= begin)


def sessions_of(panel: Panel, until: pd.Timestamp) -> tuple[pd.DatetimeIndex, np.ndarray, np.ndarray]:
    """Sessions, log returns and log ranges of all symbols."""
    days = panel.sessions[panel.sessions < until]
    with np.errstate(divide="ignore", invalid="ignore"):
        ranges = np.log(panel.high.reindex(days) / panel.low.reindex(days)).to_numpy(dtype=float)
    return days, log_returns(panel).reindex(days).to_numpy(dtype=float), ranges


def make_world(panel: Panel, sample: int, until: pd.Timestamp) -> World:
    """The market and so many tradable assets by lot."""
    days, returns, ranges = sessions_of(panel, until)
    market = panel.symbols.get_loc(panel.benchmark)
    others = np.setdiff1d(panel.symbols.get_indexer(panel.tradable), [market])
    drawn = np.random.default_rng(0).choice(others, min(sample, len(others)), replace=False)
    columns = np.concatenate([[market], np.sort(drawn)])
    returns, ranges = returns[:, columns], ranges[:, columns]
    rows = np.arange(HISTORY, len(days), EVERY)
    x = terms(returns.astype(np.float32), ranges.astype(np.float32), 0)[rows].astype(float)
    ahead = mean_of_last(returns**2, AHEAD)
    y = np.log(np.vstack([ahead[AHEAD:], np.full((AHEAD, len(columns)), np.nan)])[rows] + TINY)
    lively = x[..., 4] > 2 * np.log(0.03 / np.sqrt(252))
    y = np.where(np.isfinite(x).all(axis=2) & lively, y, np.nan)
    return World(panel, days, rows, returns, ranges, x, y, columns)


def export(world: World, file: Path) -> None:
    """Write what ``multi_task`` reads: all assets to learn from, and those of the sample that are asked for."""
    panel = world.panel
    days, returns, ranges = sessions_of(panel, world.days[-1] + pd.Timedelta(days=1))
    volume = panel.volume.reindex(days)
    volume = np.log(volume.where(volume > 0))
    beside = (volume - volume.rolling(63, min_periods=42).mean()).to_numpy(dtype=np.float16)
    np.savez_compressed(
        file, returns=returns.astype(np.float16), ranges=ranges.astype(np.float16), volume=beside,
        dates=days.strftime("%Y%m%d").astype(int).to_numpy(), market=panel.symbols.get_loc(panel.benchmark),
        asked=world.columns,
    )  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What an encoder trained before ``years`` makes of the assets: embeddings at ``World.rows``, NaN = none."""

    years: list[int]
    encoder: Encoder
    embeddings: np.ndarray

    def states(self) -> np.ndarray:
        """Mean embedding of the assets of the market's state at each row."""
        return np.nanmean(self.embeddings[:, : OF_STATE + 1], axis=1)


def encoders(world: World, years: list[int]) -> Iterator[Seen]:
    """The product's encoder, trained on two years before every two test years, and what it sees until their end."""
    panel, features = world.panel, world.panel.features
    windows = make_windows(features.values[:, world.columns], features.observed[:, world.columns], 30)
    at = panel.dates.get_indexer(world.days[world.rows])
    for first in range(0, len(years), REFIT):
        served = years[first : first + REFIT]
        encoder = Encoder(random_state=0).fit(training_windows(panel, served[0]))
        old = world.days[world.rows].year < served[0] - HEADS
        later = world.days[world.rows].year > served[-1]
        steps = np.arange(len(at)) % OLDER == 0
        wanted = np.where(old, np.where(steps, OF_STATE + 1, 0), np.where(later, 0, len(world.columns)))
        row = np.searchsorted(at, windows.date_idx).clip(max=len(at) - 1)
        chosen = np.flatnonzero((at[row] == windows.date_idx) & (windows.asset_idx < wanted[row]))
        found = np.full((len(at), len(world.columns), encoder.embed_dim), np.nan, dtype=np.float32)
        found[row[chosen], windows.asset_idx[chosen]] = encoder.transform(windows.take(chosen))
        print(f"encoder of {served}: {len(chosen)} windows embedded", file=sys.stderr, flush=True)
        yield Seen(served, encoder, found)


def training_windows(panel: Panel, year: int) -> Windows:
    """The windows of all assets that end in the two years before."""
    known = panel.until(panel.sessions[panel.sessions < pd.Timestamp(year, 1, 1)][-1])
    first = int(known.dates.searchsorted(pd.Timestamp(year - TRAINED, 1, 1)))
    return make_windows(known.features.values, known.features.observed, 30, 1, first)
