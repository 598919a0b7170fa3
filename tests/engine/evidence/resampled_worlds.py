"""Worlds made of real returns: every asset's mean is made the same, its beta, volatility and tails stay its own.

Months of real sessions are drawn with replacement, all assets together (a circular block bootstrap), and every asset's
mean over the pool is replaced by one figure. So the true means are equal to the last digit and nothing known at a
decision, which falls between two blocks, tells anything about what follows; betas, volatilities, correlations and
spells within the month are those of the market.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from clusterfolio.engine.evidence.claims import Record
from clusterfolio.models.clustering import Ward, unit_sphere
from clusterfolio.strategies.classical import correlation_rows
from tests.engine.evidence.verdict_worlds import (
    MONTH,
    N_ASSETS,
    N_GROUPS,
    SHARPE,
    YEAR,
    account_of_names,
    average_member,
)

#: Mean of every asset, per session.
MEAN = SHARPE * 0.2 / YEAR

#: Months in a year.
IN_YEAR = YEAR // MONTH

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
    """Returns of sixty names over so many months, ``(months, 21, 60)``, and which columns of the pool they are."""
    names = rng.choice(pool.returns.shape[1], N_ASSETS, replace=False)
    starts = rng.integers(len(pool.returns), size=months)
    rows = (starts[:, None] + np.arange(MONTH)) % len(pool.returns)
    return pool.returns[rows[:, :, None], names], names


def scores(months: np.ndarray, by: str) -> np.ndarray:
    """What each name is ranked by at every decision, ``(months less a year, 60)``, from the twelve months before it.

    Args:
        months: returns ``(months, 21, 60)``.
        by: "sharpe" = the usual way, "volatility" = the calmest first, "beta" = what moves least with the others first.
    """

    def year(values: np.ndarray) -> np.ndarray:
        return sliding_window_view(values.mean(axis=1), IN_YEAR, axis=0).mean(axis=-1)[:-1]

    together = months.mean(axis=2, keepdims=True)
    mean = year(months)
    if by == "beta":
        return year(together) * mean - year(together * months)
    deviation = np.sqrt(year(months**2) - mean**2)
    return mean / deviation if by == "sharpe" else -deviation


def picked_record(pool: Pool, seed: int, by: str, years: int = 10) -> Record:
    """One name of each of ten clusters of the past year's correlations, drawn every year, the best by its score."""
    months, _ = drawn(pool, np.random.default_rng(seed), (years + 1) * IN_YEAR)
    ranked, picks, spread = scores(months, by), [], []
    for first in range(0, len(ranked), IN_YEAR):
        past = months[first : first + IN_YEAR].reshape(-1, N_ASSETS)
        labels = Ward(N_GROUPS).fit(unit_sphere(correlation_rows(past))).labels_
        picks.append(best_of_each(ranked[first : first + IN_YEAR], labels))
        spread += [average_member(labels)] * IN_YEAR
    return _record(months[IN_YEAR:], np.concatenate(picks), np.array(spread))


def planted_record(pool: Pool, seed: int, information_ratio: float, years: int = 10) -> Record:
    """Names drawn by lot from ten clusters every month, which earn so much more that their ratio is the one given.

    The tracking error is that of the very picks in this world before anything is added to them.
    """
    rng = np.random.default_rng(seed)
    months, _ = drawn(pool, rng, years * IN_YEAR)
    labels = Ward(N_GROUPS).fit(unit_sphere(correlation_rows(months.reshape(-1, N_ASSETS)))).labels_
    picks = best_of_each(rng.standard_normal((len(months), N_ASSETS)), labels)
    spread = np.tile(average_member(labels), (len(months), 1))
    active = held(months, picks) - held(months, spread)
    kept = 1 - (1 / np.bincount(labels)).mean()
    bonus = information_ratio / YEAR**0.5 * active.std() / kept
    return _record(months + bonus * (picks > 0)[:, None, :], picks, spread)


def best_of_each(score: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Equal weights on the best of each cluster, a row per row of ``score``; ``(n_decisions, n_assets)``."""
    weights, groups = np.zeros(score.shape), np.unique(labels)
    for group in groups:
        members = np.flatnonzero(labels == group)
        weights[np.arange(len(score)), members[score[:, members].argmax(axis=1)]] = 1 / len(groups)
    return weights


def held(months: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Daily returns of a portfolio that is brought to these weights every month and left to drift; no costs."""
    grown = (np.cumprod(1 + months, axis=1) @ weights[:, :, None])[:, :, 0]
    return (grown / np.column_stack([np.ones(len(grown)), grown[:, :-1]]) - 1).ravel()


def names_record(pool: Pool, seed: int, tilt: str, years: int = 10) -> Record:
    """The five of sixty names with the lowest true ``beta`` or ``volatility``, held throughout, without clusters."""
    months, names = drawn(pool, np.random.default_rng(seed), years * IN_YEAR)
    returns = months.reshape(-1, N_ASSETS)
    parts = np.zeros(returns.shape)
    parts[:, np.argsort(getattr(pool, tilt)[names])[:5]] = 0.2
    return account_of_names(returns, parts)


def _record(months: np.ndarray, picks: np.ndarray, spread: np.ndarray) -> Record:
    own, average = held(months, picks), held(months, spread)
    days = pd.bdate_range("2010-01-04", periods=len(own))
    whole = held(months, np.full(picks.shape, 1 / N_ASSETS))
    return Record(
        net=pd.Series(own, days),
        gross=pd.Series(own, days),
        comparator=pd.Series(average, days),
        cash=pd.Series(0.0, days),
        rivals=pd.DataFrame({"1/N": whole}, days),
        claims={"1/N": ["1/N"]},
    )
