"""On what terms an agent's decisions are carried out: as section [trading] says, without its module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Sessions from one decision to the next, by the name of the frequency; "once" is decided as if it were for a quarter.
SESSIONS = {"week": 5, "month": 21, "quarter": 63, "once": 63}

#: Costs and limits beyond commission and half the spread.
UNCHARGED = ("half_spreads", "spread_scaling", "impact", "volume_cap")


@dataclass(frozen=True)
class Terms:
    """What decisions cost and when they are made.

    Attributes:
        sessions: from one decision to the next.
        capital: starting cash.
        cash_buffer: fraction of the value kept in cash.
        cost_multiplier: scales the costs of ``Panel.assets``; 0 = none are charged.
        interest: idle cash earns what cash earns.
        uncharged: keys of [trading] that the engine charges and an agent's accounts do not.
    """

    sessions: int = 21
    capital: float = 100_000.0
    cash_buffer: float = 0.02
    cost_multiplier: float = 1.0
    interest: bool = True
    uncharged: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of a decision: what the agent learned without."""
        if not self.uncharged:
            return ()
        return (f"the agent learned without {', '.join(f'trading.{key}' for key in self.uncharged)}",)

    @classmethod
    def of(cls, trading: Any) -> Terms:
        """From a configuration's section [trading]; None = the defaults.

        >>> from types import SimpleNamespace
        >>> Terms.of(SimpleNamespace(rebalance="week", capital=1e6, cash_buffer=0.0, costs=False, cost_multiplier=2.0,
        ...                          cash_interest=True))
        Terms(sessions=5, capital=1000000.0, cash_buffer=0.0, cost_multiplier=0.0, interest=True, uncharged=())
        """
        if trading is None:
            return cls()
        return cls(
            sessions=SESSIONS.get(trading.rebalance, trading.rebalance),
            capital=trading.capital,
            cash_buffer=trading.cash_buffer,
            cost_multiplier=trading.cost_multiplier if trading.costs else 0.0,
            interest=trading.cash_interest,
            uncharged=tuple(key for key in UNCHARGED if getattr(trading, key, None)),
        )
