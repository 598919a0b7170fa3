"""One file, one object: the configuration of a run is the configurations of its parts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clusterfolio.strategies.allocation import ALLOCATORS

FREQUENCIES = ("once", "week", "month", "quarter")


@dataclass(frozen=True)
class TradingConfig:
    """How decisions become orders, and what they cost.

    Attributes:
        rebalance: "once", "week", "month" or "quarter" (decided on its last session), or a number of sessions.
        allocate: "equal", "inverse_volatility", "softmax" (of the Sharpe ratio), or by skfolio (the extra `risk`)
            "hrp", "herc", "nco", "schur", "equal_risk", "class_risk", "minimum_variance", "maximum_diversification";
            their settings and the caps stand in section [allocation].
        capital: starting cash in the account's currency.
        cash_buffer: fraction of the value kept in cash.
        fractional: allow fractions of a share, and re-invest dividends; else whole shares of the market, or lots where
            the universe file states some, and dividends in cash.
        costs: charge commission and half the spread, per asset class or as the universe file says.
        cost_multiplier: scales those costs; 2 = twice as dear.
        cash_interest: idle cash earns what section [cash] says, and borrowed cash costs it: the rate known at a close
            counts until the next session.
        financing_spread: annual rate that borrowed cash (risk.max_exposure above 1) costs on top of that, whether idle
            cash earns or not; a choice, near what a large broker takes.
    """

    rebalance: str | int = "month"
    allocate: str = "equal"
    capital: float = 100_000.0
    cash_buffer: float = 0.02
    fractional: bool = True
    costs: bool = True
    cost_multiplier: float = 1.0
    cash_interest: bool = True
    financing_spread: float = 0.015

    def __post_init__(self):
        number = isinstance(self.rebalance, int) and not isinstance(self.rebalance, bool) and self.rebalance >= 1
        if not number and self.rebalance not in FREQUENCIES:
            raise ValueError(
                f"trading.rebalance: got {self.rebalance!r}, expected one of {', '.join(FREQUENCIES)} or a number of "
                "sessions"
            )
        if self.allocate not in ALLOCATORS:
            raise ValueError(
                f"trading.allocate: got {self.allocate!r}, expected one of {', '.join(sorted(ALLOCATORS))}"
            )
        if not 0 < self.capital < math.inf:
            raise ValueError(f"trading.capital: got {self.capital}, expected a number above 0")
        if not 0 <= self.cash_buffer < 1:
            raise ValueError(f"trading.cash_buffer: got {self.cash_buffer}, expected 0 <= cash_buffer < 1")
        if not self.cost_multiplier >= 0:
            raise ValueError(f"trading.cost_multiplier: got {self.cost_multiplier}, expected 0 or more")
        if not self.financing_spread >= 0:
            raise ValueError(f"trading.financing_spread: got {self.financing_spread}, expected 0 or more")
