"""What the machine of paper trading is told and passed: its states, its time and prices, its settings."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import pandas as pd

from clusterfolio import ClusterfolioError
from clusterfolio.engine.live.limits import Limits
from clusterfolio.engine.live.planner import Day
from clusterfolio.strategies.policy import Policy


class State(StrEnum):
    """Where the machine stands."""

    CONNECT = "connect"
    RECONCILE = "reconcile"
    IDLE = "idle"
    WARM_UP = "warm up"
    ARMED = "armed"
    PLAN = "plan"
    SEND = "send"
    SETTLE = "settle"
    VERIFY = "verify"
    HALT = "halt"


class Halted(ClusterfolioError):
    """Trading stops until a person has looked; the message says why."""


class Time(Protocol):
    """The time, and how it passes."""

    def now(self) -> dt.datetime:
        """Now, in UTC."""

    def wait(self, until: dt.datetime) -> None:
        """Come back at this moment or a little before."""


class Market(Protocol):
    """Where a day's prices and decisions come from: the run's own source, brought up to date."""

    calendar: str

    def day(self, session: dt.date) -> Day | None:
        """What is known at a session's close; None = its bars are not there yet."""

    def due(self, after: dt.date | None, session: dt.date) -> bool:
        """Whether a decision falls on a session, or fell after ``after`` and was missed; None = nothing was decided."""

    def policy_for(self, now: pd.Timestamp) -> Policy:
        """The policy that decides on a day."""

    def names(self) -> Sequence[str]:
        """Every symbol that may be held."""


@dataclass(frozen=True)
class Settings:
    """How it trades.

    Attributes:
        strategy: whose orders these are; part of every client id.
        when: "queue" = sent at once for the next open; "after_open" = sent ``open_delay`` seconds after it.
        opening: with "queue", put whole shares into the opening auction.
        close_guard: seconds before a close within which nothing is sent: what hangs must not fill another day.
        poll: seconds from one look at the orders to the next.
        retry: seconds before something that failed is tried again.
        tries: how often an answer that contradicts the journal is asked for again before it halts.
        patience: seconds to wait for a connection and its authenticated stream.
        bars_delay: seconds after the close at which the day's bars are first asked for; ``bars_retry``: and again.
        bars_guard: seconds before the next open at which a day whose bars are not all there is given up.
        rounds: how often what an order left missing is sent again within its session.
        adopt: count what the account holds beside the journal as ours.
    """

    strategy: str
    cash_buffer: float = 0.02
    fractional: bool = True
    limits: Limits = field(default_factory=Limits)
    when: str = "queue"
    opening: bool = True
    open_delay: float = 30.0
    close_guard: float = 300.0
    poll: float = 5.0
    retry: float = 15.0
    tries: int = 4
    patience: float = 30.0
    bars_delay: float = 1800.0
    bars_retry: float = 900.0
    bars_guard: float = 3600.0
    rounds: int = 3
    adopt: bool = False

    def __post_init__(self):
        if self.when not in ("queue", "after_open"):
            raise ValueError(f"when: got {self.when!r}, expected queue or after_open")
