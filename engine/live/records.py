"""What the journal keeps: an order that is to be at the venue once, and the plan that it belongs to."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from clusterfolio.engine.live.venue import ZERO, OrderRequest, Side, Timing


class IntentState(StrEnum):
    """Where an order stands; ``engine.live.journal`` says what each asks of who finds it."""

    PLANNED = "planned"
    SENDING = "sending"
    SENT = "sent"
    DONE = "done"
    REFUSED = "refused"
    DROPPED = "dropped"


#: States in which something may still happen.
ALIVE = (IntentState.PLANNED, IntentState.SENDING, IntentState.SENT)


@dataclass(frozen=True)
class Intent:
    """An order that is to be at the venue once.

    Attributes:
        plan: key of the plan it belongs to.
        leg: "s1", "b1", then "s2", "b2" for what the first left missing.
        price: what it was sized by, in the account's currency.
        filled: of ``quantity``, cumulative; ``average``: price of what filled.
        why: what came of it, where that needs saying.
    """

    client_id: str
    plan: str
    symbol: str
    side: Side
    quantity: Decimal
    leg: str
    timing: Timing
    session: dt.date
    price: Decimal
    reason: str
    state: IntentState = IntentState.PLANNED
    filled: Decimal = ZERO
    average: Decimal | None = None
    venue_id: str = ""
    why: str = ""

    @property
    def request(self) -> OrderRequest:
        """As the venue takes it."""
        return OrderRequest(self.client_id, self.symbol, self.side, self.quantity, self.timing, self.session)

    @property
    def remaining(self) -> Decimal:
        """What has not filled."""
        return self.quantity - self.filled


@dataclass(frozen=True)
class Plan:
    """What is to be reached on a session.

    Attributes:
        key: of the journal's row: the session's date, "flatten" before it where everything is sold.
        decided: the session on whose close it was made.
        status: "open", "done" or "dropped".
        targets: shares to hold by symbol, of the names that the plan changes.
        skipped: names that are not traded, and why; what is held of them stays, their other weight is cash.
        residue: once done: names short of their target, and why.
        facts: figures for people: value, cash, closes it was sized by, notes.
    """

    key: str
    session: dt.date
    decided: dt.date
    status: str = "open"
    targets: Mapping[str, Decimal] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    residue: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def client_id(account: str, strategy: str, decided: dt.date, symbol: str, leg: str) -> str:
    """An order's name, the same in every process that would send it; at most 45 characters.

    >>> client_id("PA1", "first", dt.date(2025, 1, 31), "BRK.B", "b1")
    'cf80efd3-20250131-BRKB-b1-2539dc3f7e'
    """
    whole = "|".join((account, strategy, decided.isoformat(), symbol, leg))
    digest = hashlib.sha256(whole.encode()).hexdigest()[:10]
    plain = re.sub(r"[^A-Za-z0-9]", "", symbol)[:12]
    return f"{tag(account, strategy)}-{decided:%Y%m%d}-{plain}-{leg}-{digest}"


def tag(account: str, strategy: str) -> str:
    """What all orders of one strategy on one account begin with."""
    return "cf" + hashlib.sha256(f"{account}|{strategy}".encode()).hexdigest()[:6]
