"""Made-up worlds, cheap enough for hundreds: returns, a classical clustering, picks by a rule, and the verdict."""

from __future__ import annotations

import numpy as np
import pandas as pd

from clusterfolio.engine.evidence.claims import Record, weigh
from clusterfolio.engine.evidence.exposure import average_name, exposure_of
from clusterfolio.engine.evidence.verdict import verdict
from clusterfolio.models.clustering import Ward, unit_sphere
from clusterfolio.strategies.classical import correlation_rows
from tests.conftest import make_panel

N_GROUPS, MEMBERS = 10, 6
N_ASSETS = N_GROUPS * MEMBERS
YEAR, MONTH, QUARTER = 252, 21, 63
SHARPE, COST = 0.4, 0.0005


def market(rng: np.random.Generator, days: int, structure: bool) -> np.ndarray:
    """Daily returns ``(days, 60)``: equal true Sharpe ratios, heavy tails, spells of high volatility.

    With structure the correlation is 0.5 inside ten groups and 0.1 across, without it 0.2 everywhere.
    """
    within, between = (0.5, 0.1) if structure else (0.2, 0.2)
    volatility = 0.2 * np.exp(rng.normal(0, 0.4, N_ASSETS)) / YEAR**0.5
    shocks = [rng.standard_t(6, (days, n)) / 1.5**0.5 for n in (1, N_GROUPS, N_ASSETS)]
    moves = between**0.5 * shocks[0] + (within - between) ** 0.5 * np.repeat(shocks[1], MEMBERS, axis=1)
    moves += (1 - within) ** 0.5 * shocks[2]
    spells = np.zeros(days)
    for day, push in enumerate(rng.normal(0, 0.1, days)):
        spells[day] = 0.97 * spells[day - 1] + push
    return volatility * (SHARPE / YEAR**0.5 + moves * np.exp(spells - spells.var())[:, None])


def hold(returns: np.ndarray, targets: list[np.ndarray], starts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Daily returns before and after costs of portfolios bought to these weights and left to drift until the next.

    Args:
        returns: ``(days, n_assets)``.
        targets: weights ``(n_portfolios, n_assets)`` at each start.
        starts: first day each is held on.

    Returns:
        Two arrays ``(days from the first start on, n_portfolios)``.
    """
    gross, costs, drifted = [], [], 0.0
    for weights, start, end in zip(targets, starts, [*starts[1:], len(returns)], strict=True):
        grown = np.cumprod(1 + returns[start:end], axis=0)
        value = np.concatenate([np.ones((1, len(weights))), grown @ weights.T])
        gross.append(value[1:] / value[:-1] - 1)
        costs.append(np.zeros_like(gross[-1]))
        costs[-1][0] = COST * np.abs(weights - drifted).sum(axis=1)
        drifted = weights * grown[-1] / value[-1][:, None]
    before = np.concatenate(gross)
    return before, before - np.concatenate(costs)


def best_sharpe(past: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Equal weights on the asset with the best Sharpe ratio of each cluster, ``(n_assets,)``."""
    return best_of(past.mean(axis=0) / past.std(axis=0), labels)


def best_of(score: np.ndarray, labels: np.ndarray) -> np.ndarray:
    picks = [np.flatnonzero(labels == k)[score[labels == k].argmax()] for k in np.unique(labels)]
    return np.bincount(picks, minlength=len(score)) / len(picks)


def average_member(labels: np.ndarray) -> np.ndarray:
    """The mean of all portfolios with one asset of each cluster."""
    sizes = np.bincount(labels)
    return 1 / sizes[labels] / len(sizes)


def noise_record(seed: int, structure: bool, years: int = 10) -> Record:
    """A strategy of the usual kind in a world where the past says nothing about who does better."""
    rng = np.random.default_rng(seed)
    returns = market(rng, (years + 1) * YEAR, structure)
    starts, targets = list(range(YEAR, len(returns), MONTH)), []
    for start in starts:
        past = returns[start - YEAR : start]
        if (start - YEAR) % QUARTER == 0:
            labels = Ward(N_GROUPS).fit(unit_sphere(correlation_rows(past))).labels_
        targets.append(
            np.stack(
                [
                    best_sharpe(past, labels),
                    average_member(labels),
                    np.full(N_ASSETS, 1 / N_ASSETS),
                    best_sharpe(past, rng.integers(N_GROUPS, size=N_ASSETS)),
                    best_sharpe(past, np.arange(N_ASSETS) // MEMBERS),
                ]
            )
        )
    return record(*hold(returns, targets, starts))


def planted_record(seed: int, information_ratio: float, years: int = 10) -> Record:
    """A strategy whose picks are better than the average of their cluster by so much that its true information ratio
    is the one given.

    Clusters are the true groups and all assets equally volatile, so the tracking error has a closed form: a pick less
    the mean of its ``m`` members has the variance ``s^2 (1 - 1/m)`` of what members do not share, and ``K`` of them
    average to ``s^2 (1 - 1/m) / K``. Every month's picks earn ``d`` more each day, of which ``d (1 - 1/m)`` remains
    against the mean that holds them too.
    """
    rng = np.random.default_rng(seed)
    own, deviation = 0.5, 0.2 / YEAR**0.5
    days = years * YEAR
    shocks = [rng.standard_normal((days, n)) for n in (1, N_GROUPS, N_ASSETS)]
    moves = 0.1**0.5 * shocks[0] + 0.4**0.5 * np.repeat(shocks[1], MEMBERS, axis=1) + own**0.5 * shocks[2]
    returns = deviation * (SHARPE / YEAR**0.5 + moves)
    kept = 1 - 1 / MEMBERS
    tracking = deviation * (own * kept / N_GROUPS) ** 0.5
    bonus = information_ratio / YEAR**0.5 * tracking / kept
    labels, targets, starts = np.repeat(np.arange(N_GROUPS), MEMBERS), [], list(range(0, days, MONTH))
    for start in starts:
        picked = best_of(rng.standard_normal(N_ASSETS), labels)
        returns[start : start + MONTH] += bonus * (picked > 0)
        rivals = [best_of(rng.standard_normal(N_ASSETS), labels) for _ in range(2)]
        targets.append(np.stack([picked, average_member(labels), np.full(N_ASSETS, 1 / N_ASSETS), *rivals]))
    return record(*hold(returns, targets, starts))


def names_record(seed: int, information_ratio: float = 0.0, years: int = 10) -> Record:
    """A strategy without clusters: five of sixty names, drawn by lot for weeks to months each, at a changing exposure.

    With an information ratio its names are better than the mean of all by so much: all are equally volatile then, and
    a portfolio of ``m`` of ``N`` names less their mean has the variance ``s^2 (1/m - 1/N)`` of what names do not share.
    """
    rng = np.random.default_rng(seed)
    days, slots = years * YEAR, 5
    if information_ratio:
        deviation = 0.2 / YEAR**0.5
        shocks = rng.standard_normal((days, 1)), rng.standard_normal((days, N_ASSETS))
        returns = deviation * (SHARPE / YEAR**0.5 + 0.2**0.5 * shocks[0] + 0.8**0.5 * shocks[1])
        tracking = deviation * (0.8 * (1 / slots - 1 / N_ASSETS)) ** 0.5
        bonus = information_ratio / YEAR**0.5 * tracking / (1 - slots / N_ASSETS)
    else:
        returns, bonus = market(rng, days, structure=bool(seed % 2)), 0.0
    held, left = np.zeros((days, N_ASSETS)), np.zeros(slots, dtype=int)
    names, exposure = rng.choice(N_ASSETS, slots, replace=False), 1.0
    for day in range(days):
        for slot in np.flatnonzero(left <= 0):
            names[slot] = rng.choice(np.setdiff1d(np.arange(N_ASSETS), names))
            left[slot] = rng.integers(5, 120)
            exposure = rng.choice([0.3, 0.6, 1.0]) if rng.random() < 0.2 else exposure
        left -= 1
        held[day, names] = exposure / slots
    returns += bonus * (held > 0)
    return account_of_names(returns, held)


def tilted_record(seed: int, years: int = 10) -> Record:
    """Five names of the lowest exposure to the market among sixty with equal true means: a tilt, and no skill."""
    rng = np.random.default_rng(seed)
    days, deviation = years * YEAR, 0.2 / YEAR**0.5
    beta = np.sort(rng.uniform(0.4, 1.6, N_ASSETS))
    market_moves = rng.standard_t(6, (days, 1)) / 1.5**0.5
    own = rng.standard_t(6, (days, N_ASSETS)) / 1.5**0.5
    returns = deviation * (SHARPE / YEAR**0.5 + 0.7 * beta * market_moves + own)
    held = np.zeros((days, N_ASSETS))
    held[:, :5] = 0.2
    return account_of_names(returns, held)


def calm_days_record(seed: int, years: int = 10) -> Record:
    """One asset, held after a month calmer than the year before it: every day earns the same, calm ones with less risk.

    The test is against holding the asset at the average exposure.
    """
    rng = np.random.default_rng(seed)
    returns = pd.Series(market(rng, (years + 1) * YEAR, structure=False)[:, 0])
    volatility = returns.rolling(MONTH).std()
    calm = volatility.shift(1) < volatility.rolling(YEAR).median().shift(1)
    return account_of_names(returns.to_numpy()[YEAR:, None], calm.to_numpy(dtype=float)[YEAR:, None])


def account_of_names(returns: np.ndarray, held: np.ndarray) -> Record:
    """The record of an account that holds these fractions each day.

    Every name could have been held on every day, so the mean of all portfolios of other names holds all of them, by the
    same fraction together; of one name, that fraction's average. ``counted_out`` finds the same the long way round.
    """
    sessions = pd.bdate_range("2010-01-04", periods=len(returns) + 1)[1:]
    gross = pd.Series((held * returns).sum(axis=1), sessions)
    together = held.sum(axis=1)
    if returns.shape[1] == 1:  # by night what was held the day before, as it had grown
        overnight = (held[:-1, 0] * (1 + returns[:-1, 0]) / (1 + gross.to_numpy()[:-1])).sum() / len(held)
        together = (overnight + held.mean()) / 2
    everything = pd.Series(returns.mean(axis=1), sessions)
    return Record(
        net=gross,
        gross=gross,
        comparator=together * everything,
        cash=0.0 * gross,
        rivals=everything.to_frame("1/N"),
        claims={"1/N": ["1/N"]},
    )


def counted_out(returns: np.ndarray, held: np.ndarray) -> pd.Series:
    """What the program finds that account to be tested against; bought at the open, which is the close before."""
    sessions = pd.bdate_range("2010-01-04", periods=len(returns) + 1)
    names = [f"N{i:02d}" for i in range(returns.shape[1])]
    growth = np.concatenate([np.ones((1, returns.shape[1])), np.cumprod(1 + returns, axis=0)])
    panel = make_panel(
        pd.DataFrame(100 * growth, sessions, names), pd.DataFrame(100 * growth, sessions, names).shift(1).fillna(100.0)
    )
    gross = pd.Series((held * returns).sum(axis=1), sessions[1:])
    account = np.concatenate([[1.0], np.cumprod(1 + gross)])
    values = np.concatenate([np.zeros((1, len(names))), account[:-1, None] * held * (1 + returns)])
    positions = pd.DataFrame(values, sessions, names)
    positions["cash"] = account - values.sum(axis=1)
    fills = pd.DataFrame([], columns=["date", "symbol", "level", "value"])
    return average_name(exposure_of(panel, positions, pd.DataFrame({"net": gross, "gross": gross}), fills))


def record(gross: np.ndarray, net: np.ndarray) -> Record:
    """Columns: the strategy, the average member, 1/N, and two classical clusterings."""
    days = pd.bdate_range("2010-01-04", periods=len(gross))
    names = ["strategy", "average", "1/N", "random clusters", "sectors"]
    before, after = (pd.DataFrame(values, days, names) for values in (gross, net))
    return Record(
        net=after["strategy"],
        gross=before["strategy"],
        comparator=before["average"],
        cash=pd.Series(0.0, days),
        rivals=after[["1/N", "random clusters", "sectors"]],
        claims={"1/N": ["1/N"], "the best classical clustering": ["random clusters", "sectors"]},
    )


def judged(records, repetitions: int = 99) -> pd.DataFrame:
    """A row per world: the p-value of the primary test, whether the verdict claims skill, and its headline."""
    rows = []
    for one in records:
        evidence = weigh(one, repetitions)
        words = verdict(evidence)
        rows.append((evidence["primary"]["p"], words.claim, words.headline))
    return pd.DataFrame(rows, columns=["p", "claim", "headline"])
