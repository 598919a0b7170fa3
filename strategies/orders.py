"""Weights into shares: the one sizing rule, for an account, a table of accounts, or an order list.

Pure functions of numbers and arrays of any shape. What trades in the backtest, what is simulated by the thousand, what
``decide`` tells a person to buy and what the leakage check sizes again all come from here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

#: Kept back from the sizes, so that weights summing to 1 do not overdraw the cash by a rounding error.
ROUNDING = 1e-9

#: A target is reached when no more than this fraction of it is missing.
SETTLED = 1e-9

#: Part of the cash that a buy which was refused may use: the rest is for the next open's gap.
FOR_THE_GAP = 0.99


def target_shares(
    weights: ArrayLike,
    prices: ArrayLike,
    value: ArrayLike,
    *,
    cash_buffer: float,
    fractional: bool,
    lots: ArrayLike = 1.0,
) -> np.ndarray:
    """Shares that bring each asset to its weight of the account.

    Args:
        weights: target fraction of the account's value, any shape.
        prices: of one share, in the account's currency; not looked at where the weight is 0.
        value: of the account, in the same currency; broadcasts against ``weights``.
        cash_buffer: fraction of the value kept in cash.
        fractional: allow fractions of a share; else whole lots, never more than the weight says.
        lots: shares of which only whole multiples are traded; broadcasts against ``weights``.

    Returns:
        float64, 0 where the weight is 0.

    Raises:
        ValueError: a weight or a value that is not finite, or a weight beside a price that is not a number above 0.

    >>> target_shares([0.5, 0.25, 0.0], [20.0, 30.0, np.nan], 1000.0, cash_buffer=0.02, fractional=False)
    array([24.,  8.,  0.])
    >>> target_shares([0.5], [20.0], 10_000.0, cash_buffer=0.02, fractional=False, lots=100)
    array([200.])
    """
    weights, prices, value = (np.asarray(given, dtype=float) for given in (weights, prices, value))
    for name, given in (("weights", weights), ("value", value)):
        if not np.isfinite(given).all():
            raise ValueError(f"{name}: got {given[~np.isfinite(given)][0]}, expected finite numbers")
    wanted = weights != 0
    unpriced = wanted & ~(np.isfinite(prices) & (prices > 0))
    if unpriced.any():
        wrong = np.broadcast_to(prices, unpriced.shape)[unpriced]
        raise ValueError(f"prices: got {wrong[0]} for an asset with a weight, expected a number above 0")
    investable = value * (1.0 - cash_buffer) * (1.0 - ROUNDING)
    shares = investable * weights / np.where(wanted, prices, 1.0)
    return shares if fractional else whole_lots(shares, lots)


def whole_lots(shares: ArrayLike, lots: ArrayLike) -> np.ndarray:
    """The whole lots among these shares, towards 0; what is missing by rounding alone counts as there.

    >>> whole_lots([249.0, -249.0, 0.75], [100, 100, 0.5])
    array([ 200. , -200. ,    0.5])
    """
    lots = np.asarray(lots, dtype=float)
    count = np.asarray(shares, dtype=float) / lots
    near = np.rint(count)
    return np.where(np.abs(count - near) <= SETTLED / 2 * np.abs(near), near, np.trunc(count)) * lots


def missing_shares(targets: ArrayLike, held: ArrayLike, tolerance: ArrayLike = SETTLED) -> np.ndarray:
    """Shares to buy (positive) or sell (negative) to get from what is held to the targets, 0 where reached.

    Args:
        targets, held: shares, of one shape; NaN (no target) stays NaN.
        tolerance: a target counts as reached when no more than this fraction of it is missing.

    >>> missing_shares([10.0, 0.0, 5.0], [4.0, 2.0, 5.0 + 1e-10])
    array([ 6., -2.,  0.])
    """
    missing = np.asarray(targets, dtype=float) - np.asarray(held, dtype=float)
    return np.where(np.abs(missing) <= tolerance * np.abs(targets), 0.0, missing)


def affordable_shares(
    cash: ArrayLike, prices: ArrayLike, rate: ArrayLike, *, fractional: bool, lots: ArrayLike = 1.0
) -> np.ndarray:
    """Shares that the cash pays for, costs included, with 1 % left for the next open's gap.

    Args:
        cash: not promised to another order, in the account's currency.
        prices: the last closes.
        rate: cost per unit of value traded.
        fractional: allow fractions of a share; else whole ``lots``.

    >>> float(affordable_shares(1000.0, 30.0, 0.001, fractional=False))
    32.0
    """
    shares = FOR_THE_GAP * np.asarray(cash, dtype=float) / (np.asarray(prices, dtype=float) * (1.0 + np.asarray(rate)))
    return shares if fractional else whole_lots(shares, lots)
