"""The section [risk]: which rules look at the account, and with which values; all are off by default."""

from __future__ import annotations

import math
from dataclasses import dataclass

FORECASTS = ("ewma", "garch")

#: How a stop or a take-profit is carried out.
STOP_ORDERS = ("close", "resting")


@dataclass(frozen=True)
class RiskConfig:
    """Rules that look at decisions and between them; each is off at 0.

    Attributes:
        stop: a name is left when its close lies this fraction under the price it was bought at; 0 = off, as below.
        trailing_stop: when its close lies this fraction under its highest close since it was bought.
        atr_stop: when its close lies so many average true ranges under that high.
        atr_sessions: sessions of that average.
        take_profit: when its close lies this fraction above the price it was bought at.
        embedding_stop: when its embedding has moved further from the one at its entry than this quantile (0.99) of such
            moves on the training span; looked at every `volatility_every` sessions.
        centre_stop: when its embedding lies further from the middle of its cluster, those that were in it at the last
            decision, than this quantile (0.99) of such distances on the training span; looked at as `embedding_stop`.
        stop_orders: "close" = stops and take-profit are looked at on the close, and what they leave is left at the next
            open; "resting" = they are orders that rest with the broker for whole shares, and are carried out during the
            session at their price, or at the open where that is worse (a stop) or better (a take-profit).
        stop_every: sessions from one look of stops and circuit breaker to the next; what they leave is left at the next
            open.
        cool_down: sessions after a stop in which the name is not bought again; its part stays in cash.
        volatility_target: annual volatility that the account is held at, by a smaller exposure where more is forecast.
        forecast: "ewma" or "garch" (1,1), of the portfolio's own past returns.
        half_life: of "ewma", in sessions.
        slow_half_life: of a second one beside it, of which the larger counts: the exposure falls with the fast one and
            comes back with the slow; 0 = none.
        feedback: how strongly the exposure answers to the account's realised volatility being off the target (half-life
            126 sessions); 0 = the forecast alone.
        persistence: how much of that answer stays from one look to the next, 0 to 1.
        max_exposure: largest exposure that the volatility target asks for; above 1 the account borrows what it takes,
            and pays trading.financing_spread beyond the cash rate for it.
        exposure_band: a change of the exposure up to this size is not made.
        volatility_every: sessions from one look of the volatility target to the next.
        name_volatility: annual volatility above which a name's part is scaled down to it, the rest stays in cash.
        max_drawdown: circuit breaker: the account's loss from its peak at which the exposure is cut ...
        drawdown_exposure: ... to this part ...
        drawdown_sessions: ... for so many sessions; then it is full again and the peak is counted anew.
    """

    stop: float = 0.0
    trailing_stop: float = 0.0
    atr_stop: float = 0.0
    atr_sessions: int = 20
    take_profit: float = 0.0
    embedding_stop: float = 0.0
    centre_stop: float = 0.0
    stop_orders: str = "close"
    stop_every: int = 1
    cool_down: int = 21
    volatility_target: float = 0.0
    forecast: str = "ewma"
    half_life: int = 21
    slow_half_life: int = 0
    feedback: float = 5.0
    persistence: float = 0.5
    max_exposure: float = 1.0
    exposure_band: float = 0.02
    volatility_every: int = 5
    name_volatility: float = 0.0
    max_drawdown: float = 0.0
    drawdown_exposure: float = 0.5
    drawdown_sessions: int = 63

    def __post_init__(self):
        for name in ("stop", "trailing_stop", "max_drawdown", "embedding_stop", "centre_stop", "persistence"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"risk.{name}: got {getattr(self, name)}, expected 0 <= {name} < 1")
        for name in ("atr_stop", "take_profit", "volatility_target", "feedback", "exposure_band", "name_volatility"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"risk.{name}: got {getattr(self, name)}, expected 0 or more")
        for name in ("atr_sessions", "stop_every", "half_life", "volatility_every", "drawdown_sessions"):
            if getattr(self, name) < 1:
                raise ValueError(f"risk.{name}: got {getattr(self, name)}, expected at least 1")
        if self.slow_half_life < 0:
            raise ValueError(f"risk.slow_half_life: got {self.slow_half_life}, expected 0 or more sessions")
        if self.cool_down < 0:
            raise ValueError(f"risk.cool_down: got {self.cool_down}, expected 0 or more sessions")
        if self.stop_orders not in STOP_ORDERS:
            raise ValueError(f"risk.stop_orders: got {self.stop_orders!r}, expected one of {', '.join(STOP_ORDERS)}")
        if self.rests and not self.stops:
            raise ValueError(
                'risk.stop_orders: got "resting", but nothing is to rest; set risk.stop, trailing_stop, atr_stop or '
                "take_profit"
            )
        if self.forecast not in FORECASTS:
            raise ValueError(f"risk.forecast: got {self.forecast!r}, expected one of {', '.join(FORECASTS)}")
        if not 0 < self.max_exposure < math.inf:
            raise ValueError(f"risk.max_exposure: got {self.max_exposure}, expected a number above 0")
        if not 0 <= self.drawdown_exposure < 1:
            raise ValueError(f"risk.drawdown_exposure: got {self.drawdown_exposure}, expected 0 <= it < 1")

    @property
    def stops(self) -> bool:
        """Whether a stop looks at prices."""
        return bool(self.stop or self.trailing_stop or self.atr_stop or self.take_profit)

    @property
    def looks_at_embeddings(self) -> bool:
        """Whether a stop looks at embeddings, and so needs the encoder."""
        return bool(self.embedding_stop or self.centre_stop)

    @property
    def rests(self) -> bool:
        """Whether stops are orders that rest with the broker."""
        return self.stop_orders == "resting"

    @property
    def scales(self) -> bool:
        """Whether weights are scaled by a volatility."""
        return bool(self.volatility_target or self.name_volatility)

    @property
    def largest(self) -> float:
        """Largest sum of the weights under these rules: above 1 only where a volatility is aimed at."""
        return max(1.0, self.max_exposure) if self.volatility_target else 1.0

    @property
    def every(self) -> int:
        """Sessions from one look of any rule to the next; 0 = none looks."""
        cadences = []
        if self.stops or self.max_drawdown:
            cadences.append(self.stop_every)
        if self.scales or self.looks_at_embeddings:
            cadences.append(self.volatility_every)
        return math.gcd(*cadences)
