"""One file, one object: the configuration of a run is the configurations of its parts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clusterfolio.feeds.universe import ASSET_CLASSES
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
        costs: charge commission and half the spread, per asset class or as the universe file says, and what the keys
            below add.
        cost_multiplier: scales all costs; 2 = twice as dear.
        half_spreads: half the spread in basis points by asset class, as "equity=1, commodity=3", instead of what the
            universe says.
        spread_scaling: a spread is scaled by the asset's volatility (21 sessions) over its own long-run volatility to
            this power, between a half and five times: 1 = in proportion, 0 = it stays as stated.
        impact: Y of the market impact, Y x daily volatility x root of (order / average value traded in a day), both
            over 21 sessions; near 1 by most measurements, 0 = none.
        volume_cap: largest order as a part of the average volume of 21 sessions; the rest is sent on the days after,
            for 15 sessions, then named. 0 = no cap.
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
    half_spreads: tuple[str, ...] = ()
    spread_scaling: float = 0.0
    impact: float = 0.0
    volume_cap: float = 0.0
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
        for name in ("financing_spread", "spread_scaling", "impact", "volume_cap"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"trading.{name}: got {getattr(self, name)}, expected 0 or more")
        self.spreads()

    def spreads(self) -> dict[str, float]:
        """The stated half spreads as numbers, in basis points by asset class.

        >>> TradingConfig(half_spreads=("equity=1", "commodity = 3.5")).spreads()
        {'equity': 1.0, 'commodity': 3.5}
        """
        found = {}
        for text in self.half_spreads:
            name, _, stated = (part.strip() for part in text.partition("="))
            try:
                found[name] = float(stated)
            except ValueError:
                found[name] = math.nan
            if not (0 <= found[name] <= 1000 and name in ASSET_CLASSES):
                raise ValueError(
                    f"trading.half_spreads: got {text!r}, expected class=basis points, such as equity=1, the class "
                    f"one of {', '.join(ASSET_CLASSES)}"
                )
        return found
