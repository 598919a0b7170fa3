"""Tests that resample the record: Sharpe differences, overfitting, the best of many."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from arch.bootstrap import SPA, optimal_block_length

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR


@dataclass(frozen=True)
class SharpeDifference:
    """One Sharpe ratio less another, annualised.

    Attributes:
        difference: first less second.
        low: of the two-sided interval.
        high: of the two-sided interval.
        p: one-sided, of the hypothesis that the first is not better.
        block: sessions per block.
    """

    difference: float
    low: float
    high: float
    p: float
    block: int


def block_length(series: np.ndarray) -> int:
    """Sessions per block that Politis and White (2004, corrected 2009) find optimal for the mean of a series (arch's),
    at most an eighth of the record.
    """
    best = optimal_block_length(series)["circular"].iloc[0] if series.std() > 1e-14 else 1.0
    return int(np.clip(math.ceil(best), 1, max(1, len(series) // 8)))


def sharpe_difference(
    first: np.ndarray | pd.Series,
    second: np.ndarray | pd.Series,
    confidence: float = 0.95,
    repetitions: int = 2000,
    block: int | None = None,
    random_state: int = 0,
) -> SharpeDifference:
    """Sharpe ratio of one series less that of another, with a studentised block-bootstrap interval and p-value.

    Ledoit and Wolf, "Robust performance hypothesis testing with the Sharpe ratio", Journal of Empirical Finance 15
    (2008), section 3.2.2: the four moments ``v = (mean1, mean2, mean square1, mean square2)`` are resampled in
    circular blocks (Politis and Romano 1992); the difference ``D(v)`` has the gradient
    ``(c1 / (c1 - m1^2)^1.5, -c2 / (...)^1.5, -m1 / 2 (...)^1.5, m2 / 2 (...)^1.5)``; its error comes from the
    covariance of block means, on the data as in every resample, and the interval from the quantiles of
    ``|D* - D| / error*``.

    Args:
        first: excess returns by session, shape ``(n,)``.
        second: at the same sessions.
        block: sessions per block; where not given, ``block_length`` of the series that the difference is linear in.

    Raises:
        ValueError: shorter than 30 sessions, of different lengths, not finite, or without any movement.
    """
    pair = np.column_stack([np.asarray(first, dtype=float), np.asarray(second, dtype=float)])
    n = len(pair)
    if n < 30 or not np.isfinite(pair).all() or (pair.std(axis=0) < 1e-14).any():
        raise ValueError(f"first, second: got {n} sessions, expected at least 30, all finite, that move")
    values = np.column_stack([pair, pair**2])
    mean = values.mean(axis=0)
    # The difference moves with the mean of this one series, so its dependence decides.
    length = block or block_length((values - mean) @ _slope(mean))
    rolled = np.concatenate([np.zeros((1, 4)), np.concatenate([values, values[: length - 1]]).cumsum(axis=0)])
    blocks = (rolled[length:] - rolled[:-length]) / length - mean  # circular block means around the mean, (n, 4)
    outer = blocks[:, :, None] * blocks[:, None, :]
    difference, slope = float(_ratio_difference(mean)), _slope(mean)
    error = math.sqrt(max(slope @ outer.mean(axis=0) @ slope * length / n, 1e-300))
    count = n // length
    draws = np.random.default_rng(random_state).integers(n, size=(repetitions, count))
    shift = np.stack([blocks[draw].mean(axis=0) for draw in draws])
    spread = np.stack([outer[draw].mean(axis=0) for draw in draws]) - shift[:, :, None] * shift[:, None, :]
    slopes = _slope(mean + shift)
    errors = np.sqrt(np.einsum("ri,rij,rj->r", slopes, spread, slopes).clip(min=1e-300) / count)
    pivots = (_ratio_difference(mean + shift) - difference) / errors
    width = float(np.quantile(np.abs(pivots), confidence)) * error
    p = (1 + int((pivots >= difference / error).sum())) / (repetitions + 1)
    year = math.sqrt(SESSIONS_PER_YEAR)
    return SharpeDifference(difference * year, (difference - width) * year, (difference + width) * year, p, length)


def _ratio_difference(v: np.ndarray) -> np.ndarray:
    m1, m2, c1, c2 = np.moveaxis(v, -1, 0)
    return m1 / np.sqrt(c1 - m1**2) - m2 / np.sqrt(c2 - m2**2)


def _slope(v: np.ndarray) -> np.ndarray:
    m1, m2, c1, c2 = np.moveaxis(v, -1, 0)
    one, two = (c1 - m1**2) ** 1.5, (c2 - m2**2) ** 1.5
    return np.stack([c1 / one, -c2 / two, -m1 / (2 * one), m2 / (2 * two)], axis=-1)


@dataclass(frozen=True)
class Overfitting:
    """What choosing the best in one half of the record is worth in the other.

    Attributes:
        probability: that the best in sample is below the median out of sample (PBO).
        candidates: series compared.
        splits: ways to halve the record.
        logits: of the relative rank out of sample, one per split.
    """

    probability: float
    candidates: int
    splits: int
    logits: np.ndarray


def overfitting(returns: pd.DataFrame | np.ndarray, blocks: int = 16) -> Overfitting:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation.

    Bailey, Borwein, Lopez de Prado and Zhu, "The probability of backtest overfitting", Journal of Computational
    Finance 20 (2015): the record is cut into ``blocks`` equal parts; over all halves, the candidate with the best
    Sharpe ratio inside is ranked by its Sharpe ratio in the other half (``w = rank / (N + 1)``, logit
    ``ln(w / (1 - w))``); PBO is the share of logits at or below 0.

    Args:
        returns: excess returns, shape ``(n_sessions, n_candidates)``; the first sessions that do not fill a block
            are left out.
        blocks: even.

    Raises:
        ValueError: fewer than two candidates or than two sessions per block, or an odd number of blocks.
    """
    values = np.asarray(returns, dtype=float)
    n, candidates = values.shape
    if candidates < 2 or blocks % 2 or blocks < 2 or n < 2 * blocks:
        raise ValueError(
            f"returns, blocks: got {n} sessions by {candidates} candidates in {blocks} blocks; expected at least 2 "
            "candidates, an even number of blocks and 2 sessions in each"
        )
    size = n // blocks
    cut = values[n - size * blocks :].reshape(blocks, size, candidates)
    sums, squares = cut.sum(axis=1), (cut**2).sum(axis=1)
    halves = list(combinations(range(blocks), blocks // 2))
    inside = np.zeros((len(halves), blocks))
    inside[np.arange(len(halves))[:, None], halves] = 1.0
    seen, unseen = (_sharpe_of_sums(part @ sums, part @ squares, size * blocks // 2) for part in (inside, 1 - inside))
    rows, best = np.arange(len(halves)), seen.argmax(axis=1)
    chosen = unseen[rows, best][:, None]
    rank = (unseen < chosen).sum(axis=1) + 0.5 * ((unseen == chosen).sum(axis=1) - 1) + 1.0  # ties share their ranks
    share = rank / (candidates + 1)
    logits = np.log(share / (1 - share))
    return Overfitting(float((logits <= 0).mean()), candidates, len(halves), logits)


def _sharpe_of_sums(total: np.ndarray, squares: np.ndarray, n: int) -> np.ndarray:
    variance = (squares - total**2 / n) / (n - 1)
    return np.where(variance > 1e-20, total / n / np.sqrt(variance.clip(min=1e-20)), 0.0)


def superior_ability(
    reference: pd.Series | np.ndarray, models: pd.DataFrame | np.ndarray, repetitions: int = 1000, random_state: int = 0
) -> dict[str, float]:
    """P-values of the hypothesis that none of the models has a higher mean return than the reference.

    Hansen, "A test for superior predictive ability", Journal of Business & Economic Statistics 23 (2005): keys
    ``lower``, ``consistent``, ``upper``; the upper one is the studentised reality check of White, Econometrica 68
    (2000). Stationary bootstrap, through the arch package.

    Args:
        reference: returns by session, shape ``(n,)``.
        models: returns at the same sessions, shape ``(n, n_models)``; one equal to the reference is left out.
    """
    base, table = np.asarray(reference, dtype=float), np.asarray(models, dtype=float)
    table = table[:, (table - base[:, None]).std(axis=0) > 1e-12]
    if not table.shape[1]:
        raise ValueError("models: none differs from the reference")
    test = SPA(-base, -table, reps=repetitions, bootstrap="stationary", seed=random_state)
    test.compute()
    return {str(name): float(p) for name, p in test.pvalues.items()}
