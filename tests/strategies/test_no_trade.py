"""The no-trade band's best width by Monte Carlo, beside the formula it is set by."""

import numpy as np
import pytest

from clusterfolio.strategies.no_trade import banded, half_width

#: Half-widths tried, as multiples of the formula's.
TRIED = np.array([0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5])

VOLATILITY, YEARS, PATHS, STEP = 0.2, 40, 120, 1 / 252


def growth_lost(target: float, cost: float, widths: np.ndarray, years: int = YEARS) -> np.ndarray:
    """What an investor with logarithmic utility loses a year, beside one who trades freely, by half-width.

    One risky asset of constant volatility whose drift makes ``target`` the best weight (Merton), cash at 0. Every day,
    after its return, what ``banded`` says is traded at ``cost`` of it, one way. The growth rate is ``pi mu - pi^2
    sigma^2 / 2`` of the weight held, less the costs: the part of the return that is pure chance is left out of the
    mean, and all widths meet the same days.
    """
    drift = target * VOLATILITY**2
    rng = np.random.default_rng(0)
    n = len(widths)
    half = np.repeat(widths, PATHS)[:, None]
    aims = np.full((n * PATHS, 1), target)
    held, lost = aims.copy(), np.zeros(n * PATHS)
    for _ in range(round(years / STEP)):
        moved = np.exp((drift - VOLATILITY**2 / 2) * STEP + VOLATILITY * np.sqrt(STEP) * rng.standard_normal(PATHS))
        grown = held[:, 0] * np.tile(moved, n)
        held = (grown / (1.0 + grown - held[:, 0]))[:, None]
        wanted = banded(aims, held, half)
        lost += cost * np.abs(wanted - held)[:, 0]
        held = wanted
        lost += VOLATILITY**2 / 2 * STEP * np.square(held[:, 0] - target)
    return lost.reshape(n, PATHS).mean(axis=1) / years


@pytest.mark.acceptance
@pytest.mark.parametrize(("target", "cost"), [(0.5, 0.005), (0.5, 0.001), (0.3, 0.002), (0.7, 0.01)])
def test_the_best_band_is_within_thirty_percent_of_the_formula(target, cost):
    stated = float(half_width(target, cost, 1.0))
    lost = growth_lost(target, cost, stated * TRIED)
    best = TRIED[lost.argmin()]
    print(
        f"target {target}, cost {cost}: formula {stated:.4f}, best {best * stated:.4f}, {best:.2f} times; lost a year"
    )
    print(dict(zip(TRIED.tolist(), (1e4 * lost).round(3).tolist(), strict=True)), "basis points")
    assert 0.7 <= best <= 1.3
    assert lost[0] > 1.1 * lost.min() and lost[-1] > 1.1 * lost.min()  # it does matter


def test_a_band_costs_less_than_trading_every_day_and_than_none():
    found = growth_lost(0.5, 0.005, np.array([0.0, float(half_width(0.5, 0.005, 1.0)), 0.45]), years=8)
    assert found[1] < 0.5 * found[0] and found[1] < 0.7 * found[2]
