"""The bars that the local venue is fed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from clusterfolio.engine.live.venue import ZERO, Asset, Session


@dataclass(frozen=True)
class Quote:
    """One asset's day: market prices in the account's currency, on the share basis of that day.

    Attributes:
        dividend: paid per share to who held it before the open.
        split: new shares per old one, at the open; 1 = none.
    """

    open: Decimal
    close: Decimal
    dividend: Decimal = ZERO
    split: Decimal = Decimal(1)


class Quotes(Protocol):
    """Where a local venue's bars come from."""

    def day(self, session: dt.date) -> Mapping[str, Quote] | None:
        """The day's bars by symbol; None = they are not known yet."""

    def sessions(self, first: dt.date, last: dt.date) -> Sequence[Session]:
        """The exchange's sessions."""

    def interest(self, session: dt.date) -> Decimal:
        """What cash held at the close before earns by a session's open, as a fraction."""

    def assets(self) -> Mapping[str, Asset]:
        """What can be traded."""
