"""What a decision is worth to an agent: of the account's return until the next one, in excess of cash, net of costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Moments:
    """Exponential moments of an account's returns from decision to decision: ``A`` of them, ``B`` of their squares.

    Shapes are those of what is measured: a number, or ``(n_accounts,)``.
    """

    a: np.ndarray
    b: np.ndarray

    @classmethod
    def of(cls, returns: np.ndarray) -> Moments:
        """Plain moments of some returns, to start from: with ``A = B = 0`` the reward would divide by zero."""
        spread = max(float(np.var(returns)), 1e-8)
        mean = float(np.mean(returns))
        return cls(np.asarray(mean), np.asarray(mean**2 + spread))

    @property
    def variance(self) -> np.ndarray:
        """``B - A^2``, above 0."""
        return np.maximum(self.b - self.a**2, 1e-12)

    def after(self, returns: ArrayLike, adaptation: float) -> Moments:
        """The moments when another return is known, which counts with the weight ``adaptation``."""
        returns = np.asarray(returns)
        return Moments(self.a + adaptation * (returns - self.a), self.b + adaptation * (returns**2 - self.b))


def differential_sharpe(returns: np.ndarray, moments: Moments) -> np.ndarray:
    """``D = (B dA - A dB / 2) / (B - A^2)^(3/2)`` with ``dA = R - A`` and ``dB = R^2 - B``.

    How fast the Sharpe ratio of an exponential record rises with the weight of the newest return: Moody and Saffell,
    "Learning to Trade via Direct Reinforcement", IEEE Transactions on Neural Networks 12 (2001).

    Args:
        returns: any shape that broadcasts against the moments before they were known.

    >>> float(differential_sharpe(np.array(0.02), Moments(np.array(0.01), np.array(0.0005))).round(4))
    0.6875
    """
    a, b = moments.a, moments.b
    return (b * (returns - a) - a * (returns**2 - b) / 2) / moments.variance**1.5


@dataclass(frozen=True)
class Reward:
    """What an agent maximises.

    Attributes:
        kind: "sharpe" = ``differential_sharpe``, or "log" = the log return less ``risk_aversion / 2`` times its square.
        adaptation: weight of the newest return in the moments.
    """

    kind: str = "sharpe"
    risk_aversion: float = 1.0
    adaptation: float = 0.1

    def __call__(self, returns: np.ndarray, moments: Moments) -> np.ndarray:
        """Of simple returns; the moments are those before the returns were known."""
        if self.kind == "sharpe":
            return differential_sharpe(returns, moments)
        return np.log1p(np.maximum(returns, -0.999)) - self.risk_aversion / 2 * returns**2
