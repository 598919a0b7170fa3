"""How much a record of returns proves: Sharpe ratios, alpha, many trials. Pure functions of arrays, no I/O.

Sharpe ratios in here are per session, not annualised, unless the name says so; kurtosis is Pearson's (3 = normal).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR
from clusterfolio.strategies.sharpe import sharpe_ratio


@dataclass(frozen=True)
class Moments:
    """What the tests of a Sharpe ratio need to know of returns.

    Attributes:
        sharpe: ``strategies.sharpe``'s, per session; 0 where nothing moves.
        n: number of returns.
        skew: third standardised moment.
        kurtosis: fourth standardised moment, 3 = normal.
    """

    sharpe: float
    n: int
    skew: float = 0.0
    kurtosis: float = 3.0


def moments(returns: np.ndarray | pd.Series) -> Moments:
    """Moments of excess returns, shape ``(n,)``, finite.

    >>> moments(np.array([0.01, -0.01, 0.03, 0.01])).n
    4
    """
    values = np.asarray(returns, dtype=float)
    if values.ndim != 1 or len(values) < 3 or not np.isfinite(values).all():
        raise ValueError(f"returns: got shape {values.shape}, expected at least 3 finite numbers in one dimension")
    ratio = sharpe_ratio(values, per_year=1)
    if math.isnan(ratio):
        return Moments(0.0, len(values))
    return Moments(ratio, len(values), float(stats.skew(values)), float(stats.kurtosis(values) + 3.0))


def sharpe_variance(known: Moments) -> float:
    """Variance of the estimate of a Sharpe ratio: ``(1 - g3 SR + (g4 - 1) / 4 SR^2) / (n - 1)``.

    Mertens (2002); Bailey and Lopez de Prado, "The Sharpe ratio efficient frontier", Journal of Risk 15 (2012).
    """
    form = 1.0 - known.skew * known.sharpe + (known.kurtosis - 1.0) / 4.0 * known.sharpe**2
    return max(form, 1e-12) / (known.n - 1)


def probabilistic_sharpe(known: Moments, threshold: float = 0.0) -> float:
    """Probability that the true Sharpe ratio is above ``threshold`` (per session), given what was seen.

    ``PSR(SR*) = Phi((SR - SR*) sqrt(n - 1) / sqrt(1 - g3 SR + (g4 - 1) / 4 SR^2))``: Bailey and Lopez de Prado (2012).

    >>> fund = Moments(sharpe=0.458, n=24, skew=-2.448, kurtosis=10.164)  # the paper's example, 1.59 a year
    >>> round(probabilistic_sharpe(fund), 3)
    0.913
    """
    return float(stats.norm.cdf((known.sharpe - threshold) / math.sqrt(sharpe_variance(known))))


def minimum_track_record(known: Moments, threshold: float = 0.0, confidence: float = 0.95) -> float:
    """Returns needed until a Sharpe ratio like this one is above ``threshold`` with this confidence; inf if it is not.

    ``1 + (1 - g3 SR + (g4 - 1) / 4 SR^2) (z / (SR - SR*))^2``: Bailey and Lopez de Prado (2012).

    >>> daily = Moments(sharpe=2 / 252**0.5, n=2)  # 2 a year against 1 a year: 2.73 years
    >>> round(minimum_track_record(daily, 1 / 252**0.5) / 252, 2)
    2.73
    """
    if known.sharpe <= threshold:
        return math.inf
    form = sharpe_variance(known) * (known.n - 1)
    return float(1.0 + form * (stats.norm.ppf(confidence) / (known.sharpe - threshold)) ** 2)


def expected_maximum_sharpe(variance: float, trials: float) -> float:
    """The best Sharpe ratio to be expected of ``trials`` independent ones whose true ratio is 0.

    ``sqrt(V) ((1 - g) Z(1 - 1/N) + g Z(1 - 1/(N e)))``, g = 0.5772...: Bailey and Lopez de Prado, "The deflated Sharpe
    ratio", Journal of Portfolio Management 40 (2014).

    Args:
        variance: of the trials' Sharpe ratios, per session squared.
        trials: their (effective) number; 1 = nothing was chosen, and 0 comes back.

    >>> round(expected_maximum_sharpe(0.5 / 250, 100), 4)  # the paper's example
    0.1132
    """
    if trials < 1 or variance < 0:
        raise ValueError(f"trials, variance: got {trials}, {variance}; expected at least 1 and at least 0")
    if trials == 1:
        return 0.0
    high, higher = stats.norm.ppf(1 - 1 / trials), stats.norm.ppf(1 - 1 / (trials * math.e))
    return max(0.0, float(math.sqrt(variance) * ((1 - np.euler_gamma) * high + np.euler_gamma * higher)))


def deflated_sharpe(known: Moments, variance: float, trials: float) -> float:
    """Probability that the true Sharpe ratio is above 0, after so many trials: ``PSR(expected maximum)``.

    Bailey and Lopez de Prado (2014); arguments as in ``expected_maximum_sharpe``.

    >>> found = Moments(sharpe=2.5 / 250**0.5, n=1250, skew=-3.0, kurtosis=10.0)  # the paper's example
    >>> round(deflated_sharpe(found, 0.5 / 250, 100), 4)
    0.9004
    """
    return probabilistic_sharpe(known, expected_maximum_sharpe(variance, trials))


def effective_trials(returns: pd.DataFrame) -> float:
    """How many independent trials so many correlated ones are worth: ``(sum sqrt(l))^2 / sum l``.

    ``l`` are the eigenvalues of the correlation matrix of the trials' returns. Galwey, "A new measure of the effective
    number of tests", Genetic Epidemiology 33 (2009): 1 where all trials are the same, their number where none has to
    do with another; between the two it errs towards more.

    Args:
        returns: a column per trial, net of what all trials share (or it counts too few); NaN where a trial has no
            return. Two that share fewer than 30 sessions count as unrelated.

    >>> one = np.random.default_rng(0).normal(size=50)
    >>> round(effective_trials(pd.DataFrame({"a": one, "b": 2 * one, "c": one})), 6)
    1.0
    """
    moving = returns.loc[:, returns.std() > 1e-14]
    if moving.shape[1] < 2:
        return 1.0
    correlation = moving.corr(min_periods=30).fillna(0.0).to_numpy(copy=True)
    np.fill_diagonal(correlation, 1.0)
    lengths = np.linalg.eigvalsh(correlation).clip(min=0.0)
    return max(1.0, float(np.sqrt(lengths).sum() ** 2 / lengths.sum()))


def sidak(p: float, trials: float) -> float:
    """The p-value of the best of ``trials`` independent tests: ``1 - (1 - p)^N``; ``p`` itself for one.

    Sidak, Journal of the American Statistical Association 62 (1967).

    >>> sidak(0.03, 1), round(sidak(0.03, 10), 3)
    (0.03, 0.263)
    """
    if not 0 <= p <= 1 or trials < 1:
        raise ValueError(f"p, trials: got {p}, {trials}; expected a probability and at least 1")
    return p if trials == 1 else float(-np.expm1(trials * np.log1p(-min(p, 1 - 1e-16))))


def trials_borne(p: float, level: float = 0.05) -> float:
    """Independent trials among which a p-value still is at most ``level`` as that of the best (Sidak); inf for 0.

    >>> round(trials_borne(0.01), 1), round(trials_borne(0.05), 1)
    (5.1, 1.0)
    """
    return float(np.log1p(-level) / np.log1p(-p)) if 0 < p < 1 else math.inf if p == 0 else 0.0


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """P-values of several claims, adjusted so that any false one among them is as rare as a single test's.

    Holm, Scandinavian Journal of Statistics 6 (1979): the i-th smallest times (m - i + 1), never falling.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    adjusted, running = {}, 0.0
    for i, name in enumerate(sorted(p_values, key=p_values.get)):
        running = max(running, min(1.0, p_values[name] * (len(p_values) - i)))
        adjusted[name] = running
    return {name: adjusted[name] for name in p_values}


@dataclass(frozen=True)
class Alpha:
    """What is left of returns after exposures, and how sure that is.

    Attributes:
        alpha: intercept per session.
        error: its HAC standard error.
        t: their ratio.
        p: one-sided, of the hypothesis that the true alpha is not above 0.
        betas: exposure by factor.
        residual: standard deviation of what factors leave, per session.
        n: sessions.
    """

    alpha: float
    error: float
    t: float
    p: float
    betas: dict[str, float]
    residual: float
    n: int

    @property
    def appraisal(self) -> float:
        """Alpha over residual risk, annualised: the information ratio at equal exposure; 0 without such risk."""
        return self.alpha / self.residual * math.sqrt(SESSIONS_PER_YEAR) if self.residual > 0 else 0.0


def newey_west_lags(n: int) -> int:
    """Lags of a HAC error for ``n`` sessions: ``floor(4 (n / 100)^(2/9))``, Newey and West (1994).

    >>> newey_west_lags(252), newey_west_lags(2520)
    (4, 8)
    """
    return int(4 * (n / 100) ** (2 / 9))


def alpha_test(returns: pd.Series | np.ndarray, factors: pd.DataFrame) -> Alpha:
    """Alpha of returns against factors by least squares, errors robust to heteroscedasticity and autocorrelation.

    Newey and West, Econometrica 55 (1987), through statsmodels; Student's t with ``n - k`` degrees of freedom.

    Args:
        returns: excess of cash by session, finite.
        factors: excess returns at the same sessions, one column each; a column that stays still is left out.

    Raises:
        ValueError: fewer than 30 sessions beyond the number of factors.
    """
    values, table = np.asarray(returns, dtype=float), factors.loc[:, factors.std() > 1e-14]
    n, k = len(values), table.shape[1]
    if len(table) != n or n < 30 + k:
        raise ValueError(f"returns: {n} sessions, factors: {len(table)} by {k}; expected as many, at least {30 + k}")
    if values.std() < 1e-14 or _spanned(values, table.to_numpy()):
        return Alpha(0.0, 0.0, 0.0, 1.0, dict.fromkeys(table.columns, 0.0), 0.0, n)
    fitted = sm.OLS(values, sm.add_constant(table.to_numpy(dtype=float), prepend=True, has_constant="add")).fit(
        cov_type="HAC", cov_kwds={"maxlags": newey_west_lags(n), "use_correction": True}, use_t=True
    )
    t = float(fitted.tvalues[0])
    return Alpha(
        alpha=float(fitted.params[0]),
        error=float(fitted.bse[0]),
        t=t,
        p=float(stats.t.sf(t, n - k - 1)),
        betas=dict(zip(table.columns, map(float, fitted.params[1:]), strict=True)),
        residual=float(np.sqrt(fitted.scale)),
        n=n,
    )


def _spanned(values: np.ndarray, factors: np.ndarray) -> bool:
    """Whether the returns are nothing but their factors."""
    design = np.column_stack([np.ones(len(values)), factors])
    left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return bool(left.std() < 1e-9 * values.std())


def sessions_needed(appraisal: float, trials: float = 1.0, level: float = 0.05, power: float = 0.5) -> float:
    """Sessions until an information ratio like this (annualised) is found by a one-sided test, with this power.

    ``((z(1 - level') + z(power)) / IR)^2`` years, level' = level after ``trials`` (Sidak); inf where IR is not above 0.
    With power 0.5 this is the minimum track record length of the ratio.

    >>> round(sessions_needed(0.8, power=0.8) / 252, 1)
    9.7
    """
    if appraisal <= 0:
        return math.inf
    strict = -np.expm1(np.log1p(-level) / trials)
    return float(((stats.norm.isf(strict) + stats.norm.ppf(power)) / appraisal) ** 2 * SESSIONS_PER_YEAR)


def within_cluster_ic(scores: pd.Series, outcomes: pd.Series, labels: pd.Series) -> float:
    """Spearman's rank correlation of scores with what followed, inside clusters only; NaN where nothing can be ranked.

    Ranks are taken inside each cluster, centred there and scaled to variance 1, and pooled: what differs between
    clusters plays no part.

    >>> index = ["A", "B", "C", "D"]
    >>> labels = pd.Series([0, 0, 1, 1], index)
    >>> within_cluster_ic(pd.Series([1, 2, 9, 8], index), pd.Series([3.0, 4.0, 1.0, 0.0], index), labels)
    1.0
    """
    table = pd.DataFrame({"score": scores, "outcome": outcomes.reindex(scores.index), "label": labels}).dropna()
    ranks = table.groupby("label")[["score", "outcome"]].rank()
    centred = ranks - ranks.groupby(table["label"]).transform("mean")
    spread = (centred**2).groupby(table["label"]).transform("mean") ** 0.5
    scaled = (centred / spread.where(spread > 0)).dropna()
    return float((scaled["score"] * scaled["outcome"]).mean()) if len(scaled) else math.nan


def rank_ic(by_decision: pd.Series) -> dict:
    """Mean of the rank correlations of many decisions, its HAC error and one-sided p-value.

    Args:
        by_decision: one correlation per decision; NaN is left out.
    """
    known = by_decision.dropna()
    found = {"mean": float(known.mean()) if len(known) else None, "decisions": len(known), "t": None, "p": None}
    if len(known) < 6 or known.std() < 1e-14:
        return found
    fitted = sm.OLS(known.to_numpy(), np.ones(len(known))).fit(
        cov_type="HAC", cov_kwds={"maxlags": newey_west_lags(len(known)), "use_correction": True}, use_t=True
    )
    t = float(fitted.tvalues[0])
    return found | {"t": t, "p": float(stats.t.sf(t, len(known) - 1))}


def break_even_cost(edge_before_costs: float, traded: float) -> float | None:
    """Cost per unit traded, in basis points, that eats an edge up; None where nothing was traded.

    Args:
        edge_before_costs: return per year before costs over what it is compared with.
        traded: value bought and sold per year, as a multiple of the account.

    >>> break_even_cost(0.02, 4.0)  # 2 % a year, the account turned over twice
    50.0
    """
    return edge_before_costs / traded * 1e4 if traded > 0 else None


def deepest_drawdowns(returns: pd.Series, n: int = 3, floor: float = 0.05) -> list[tuple]:
    """The deepest falls from a peak, none inside another: ``(first session, last session, return)``, deepest first.

    Args:
        floor: shallower ones do not count.
    """
    wealth = np.concatenate([[1.0], np.cumprod(1.0 + returns.to_numpy(dtype=float))])
    found, spans = [], [(0, len(wealth))]
    while spans and len(found) < n:
        falls = [(*_fall(wealth[low:high]), low, high) for low, high in spans]
        depth, peak, trough, low, high = min(falls)
        if depth > -floor:
            break
        start, end = low + peak, low + trough
        found.append((returns.index[start], returns.index[end - 1], float(depth)))
        spans.remove((low, high))
        spans += [span for span in ((low, start + 1), (end, high)) if span[1] - span[0] > 1]
    return found


def _fall(wealth: np.ndarray) -> tuple[float, int, int]:
    depth = wealth / np.maximum.accumulate(wealth) - 1.0
    trough = int(depth.argmin())
    return float(depth[trough]), int(wealth[: trough + 1].argmax()), trough
