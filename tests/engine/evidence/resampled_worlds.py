"""Worlds made of real returns: every asset's mean is made the same, its beta, volatility and tails stay its own.

Months of real sessions are drawn with replacement, all assets together (a circular block bootstrap), and every asset's
mean over the pool is replaced by one figure. So the true means are equal to the last digit and nothing known at a
decision, which falls between two blocks, tells anything about what follows; betas, volatilities, correlations and
spells within the month are those of the market.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.evidence.claims import Record
from clusterfolio.models.clustering import Ward, unit_sphere
from clusterfolio.strategies.baselines.classical import correlation_rows
from tests.engine.evidence.verdict_worlds import (
    MONTH,
    N_ASSETS,
    N_GROUPS,
    QUARTER,
    SHARPE,
    YEAR,
    account_of_names,
    average_member,
    best_of,
    hold,
)

#: Mean of every asset, per session.
MEAN = SHARPE * 0.2 / YEAR

#: Calmer assets are cash under another name and are left out, as a run leaves them out; per year.
CALMEST = 0.02


@dataclass(frozen=True)
class Pool:
    """Real daily returns that worlds are drawn from.

    Attributes:
        returns: ``(n_sessions, n_assets)``; the mean of every column is ``MEAN``.
        beta: to the mean of all, ``(n_assets,)``.
        volatility: per year, ``(n_assets,)``.
    """

    returns: np.ndarray
    beta: np.ndarray
    volatility: np.ndarray


def read_pool(folder: Path) -> Pool:
    """Shares and funds with (nearly) every session from December 2011 on; see the folder's own README."""
    tables = [
        pd.read_parquet(folder / name, columns=["date", "symbol", "adj_close"]).pivot_table(
            index="date", columns="symbol", values="adj_close"
        )
        for name in ("us_stocks.parquet", "us_etfs.parquet")
    ]
    closes = pd.concat(tables, axis=1, join="inner").loc["2011-12-05":]
    closes = closes.loc[:, ~closes.columns.duplicated()]
    whole = closes.loc[:, closes.notna().mean() > 0.997].ffill().dropna(axis=1)
    return pool_of(whole.astype(float).pct_change().iloc[1:].to_numpy())


def pool_of(returns: np.ndarray) -> Pool:
    """A pool of these returns, ``(n_sessions, n_assets)``, without what is calm as cash."""
    moving = returns[:, returns.std(axis=0) * YEAR**0.5 >= CALMEST]
    level = moving - moving.mean(axis=0) + MEAN
    together = level.mean(axis=1) - MEAN
    beta = together @ (level - MEAN) / (together @ together)
    return Pool(level, beta, level.std(axis=0) * YEAR**0.5)


def drawn(pool: Pool, rng: np.random.Generator, months: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns of sixty names over so many months, ``(21 * months, 60)``, and which columns of the pool they are."""
    names = rng.choice(pool.returns.shape[1], N_ASSETS, replace=False)
    starts = rng.integers(len(pool.returns), size=months)
    rows = (starts[:, None] + np.arange(MONTH)).ravel() % len(pool.returns)
    return pool.returns[rows[:, None], names], names


def by_sharpe(past: np.ndarray) -> np.ndarray:
    """The usual way of picking."""
    return past.mean(axis=0) / past.std(axis=0)


def by_calm(past: np.ndarray) -> np.ndarray:
    """The calmest first."""
    return -past.std(axis=0)


def by_low_beta(past: np.ndarray) -> np.ndarray:
    """What moves least with the others first."""
    together = past.mean(axis=1)
    return -(together - together.mean()) @ past


def picked_record(pool: Pool, seed: int, score: Callable[[np.ndarray], np.ndarray], years: int = 10) -> Record:
    """One name of each of ten clusters of the past year's correlations, by its score in that year."""
    rng = np.random.default_rng(seed)
    returns, _ = drawn(pool, rng, (years + 1) * YEAR // MONTH)
    starts, targets = list(range(YEAR, len(returns), MONTH)), []
    for start in starts:
        past = returns[start - YEAR : start]
        if (start - YEAR) % QUARTER == 0:
            labels = Ward(N_GROUPS).fit(unit_sphere(correlation_rows(past))).labels_
        targets.append(np.stack([best_of(score(past), labels), average_member(labels), _everything()]))
    return _record(*hold(returns, targets, starts))


def planted_record(pool: Pool, seed: int, information_ratio: float, years: int = 10) -> Record:
    """Names drawn by lot from ten clusters every month, which earn so much more that their ratio is the one given.

    The tracking error is that of the very picks in this world before anything is added to them.
    """
    rng = np.random.default_rng(seed)
    returns, _ = drawn(pool, rng, years * YEAR // MONTH)
    labels = Ward(N_GROUPS).fit(unit_sphere(correlation_rows(returns))).labels_
    starts = list(range(0, len(returns), MONTH))
    picks = [best_of(rng.standard_normal(N_ASSETS), labels) for _ in starts]
    targets = [np.stack([picked, average_member(labels), _everything()]) for picked in picks]
    gross, _ = hold(returns, targets, starts)
    active = gross[:, 0] - gross[:, 1]
    kept = 1 - (1 / np.bincount(labels)).mean()
    bonus = information_ratio / YEAR**0.5 * active.std() / kept
    for start, picked in zip(starts, picks, strict=True):
        returns[start : start + MONTH] += bonus * (picked > 0)
    return _record(*hold(returns, targets, starts))


def names_record(pool: Pool, seed: int, tilt: str, years: int = 10) -> Record:
    """The five of sixty names with the lowest true ``beta`` or ``volatility``, held throughout, without clusters."""
    returns, names = drawn(pool, np.random.default_rng(seed), years * YEAR // MONTH)
    held = np.zeros(returns.shape)
    held[:, np.argsort(getattr(pool, tilt)[names])[:5]] = 0.2
    return account_of_names(returns, held)


def _everything() -> np.ndarray:
    return np.full(N_ASSETS, 1 / N_ASSETS)


def _record(gross: np.ndarray, net: np.ndarray) -> Record:
    """Columns: the strategy, the average member, 1/N."""
    days = pd.bdate_range("2010-01-04", periods=len(gross))
    return Record(
        net=pd.Series(net[:, 0], days),
        gross=pd.Series(gross[:, 0], days),
        comparator=pd.Series(gross[:, 1], days),
        cash=pd.Series(0.0, days),
        rivals=pd.DataFrame({"1/N": net[:, 2]}, days),
        claims={"1/N": ["1/N"]},
    )
