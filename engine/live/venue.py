"""What a place to trade at must answer: the one contract of the local venue, the adapters and the simulated one.

Quantities, prices and money are ``Decimal``, never a float on its way to or from a socket. Moments are aware datetimes
in UTC, sessions are dates of the exchange. Nothing here sends or decides.

An order is known by its client id, which is ours and is the same in every process that would send it; the venue's own
id is kept beside it and is never looked up by, as some venues use one twice.

What goes wrong is one of four things, and they are not to be confused:

- ``NotAccepted``: the order is certainly not at the venue. It may be sent again, under the same client id.
- ``Unanswered``: it may be there or not. Whoever gets this asks ``order_by_client_id`` before anything else.
- ``Unavailable``: a question (a read, or a cancel) was not answered. It may be asked again.
- ``Unreadable``: an answer came, and its meaning is not certain. Nothing is guessed; the message names field and value.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol, runtime_checkable

from clusterfolio import ClusterfolioError

ZERO = Decimal(0)


class VenueError(ClusterfolioError):
    """A venue did not do what it was asked; the message says what, and never holds a key."""


class NotAccepted(VenueError):
    """An order is certainly not at the venue: refused by it, or never sent (no connection).

    Args:
        final: whether the same order would be refused again (no such asset, too little money); False: later it may be
            taken (too many requests, venue in maintenance).
        retry_after: seconds after which the venue wants to be asked again; None = it did not say.
    """

    def __init__(self, why: str, *, final: bool, retry_after: float | None = None):
        super().__init__(why)
        self.final = final
        self.retry_after = retry_after


class Unanswered(VenueError):
    """An order was sent, or may have been, and no answer says whether it was taken (timeout, cut, 5xx)."""


class Unavailable(VenueError):
    """A question was not answered; nothing was changed by it, or asking again changes no more.

    Args:
        retry_after: seconds after which the venue wants to be asked again; None = it did not say.
    """

    def __init__(self, why: str, *, retry_after: float | None = None):
        super().__init__(why)
        self.retry_after = retry_after


class Unreadable(VenueError, ValueError):
    """An answer that cannot be understood for certain; the message names the field and its value."""


class Side(StrEnum):
    """Which way an order goes."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 of a buy, -1 of a sale."""
        return 1 if self is Side.BUY else -1


class Timing(StrEnum):
    """When an order may fill; either way on one session only, and what is left of it then expires."""

    OPENING = "opening"  # in the opening auction of its session (``opg``)
    DAY = "day"  # at any time of its session, at once where that is running


class OrderState(StrEnum):
    """What has become of an order. A state of a venue's own that is none of these is ``Unreadable``."""

    OPEN = "open"  # taken, and may still fill: new, accepted, held, partly filled, being cancelled
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"

    @property
    def done(self) -> bool:
        """Whether nothing more can fill."""
        return self is not OrderState.OPEN


class ActivityKind(StrEnum):
    """What changes an account without an order of ours."""

    DIVIDEND = "dividend"
    SPLIT = "split"
    RENAME = "rename"
    FEE = "fee"
    INTEREST = "interest"
    TRANSFER = "transfer"  # money paid in or out
    OTHER = "other"  # named by the venue's own word in ``text``; if it changes a quantity it is not ours to explain


@dataclass(frozen=True)
class Account:
    """The account's money, in its currency.

    Attributes:
        id: the venue's, as a person would name it; no secret.
        cash: negative where money is borrowed.
        equity: cash and positions at the venue's last prices.
        buying_power: what may be spent on buys now.
        blocked: why nothing may be traded; empty = it may.
    """

    id: str
    currency: str
    cash: Decimal
    equity: Decimal
    buying_power: Decimal
    blocked: str = ""


@dataclass(frozen=True)
class Asset:
    """What can be traded, and in which steps.

    Attributes:
        tradable: whether orders are taken today (neither halted nor delisted).
        fractionable: whether parts of a share are traded.
        lot: the smallest step of a quantity where it is not fractionable (1 = whole shares).
        step: the smallest step of a quantity where it is.
        min_notional: the smallest value of an order; 0 = none.
        asset_class: the venue's own word (us_equity, crypto).
        why_not: why it is not tradable, in the venue's words; empty = it is.
    """

    symbol: str
    tradable: bool
    fractionable: bool
    lot: Decimal = Decimal(1)
    step: Decimal = Decimal("0.000000001")
    min_notional: Decimal = ZERO
    asset_class: str = ""
    why_not: str = ""


@dataclass(frozen=True)
class VenuePosition:
    """What the account holds: ``quantity`` is signed; ``price`` is the venue's last, None where it has none."""

    symbol: str
    quantity: Decimal
    price: Decimal | None = None


@dataclass(frozen=True)
class OrderRequest:
    """A market order to be sent.

    Attributes:
        client_id: ours, at most 48 characters of ``[A-Za-z0-9-]``; a venue takes each once.
        quantity: above 0, in steps the asset allows.
        session: the only session on which it may fill.
    """

    client_id: str
    symbol: str
    side: Side
    quantity: Decimal
    timing: Timing
    session: dt.date


@dataclass(frozen=True)
class VenueOrder:
    """An order as the venue knows it.

    Attributes:
        client_id: what it was sent under; a venue makes one up for orders that came without.
        venue_id: the venue's own; for people.
        filled: of ``quantity``, so far; never falls.
        average_price: of what filled; None where nothing has.
        session: on which it fills, or was to; None where the venue does not say.
        reason: why it was rejected or cancelled, where the venue says.
    """

    client_id: str
    venue_id: str
    symbol: str
    side: Side
    quantity: Decimal
    filled: Decimal
    state: OrderState
    average_price: Decimal | None = None
    session: dt.date | None = None
    reason: str = ""

    @property
    def remaining(self) -> Decimal:
        """What has not filled."""
        return self.quantity - self.filled


@dataclass(frozen=True)
class Execution:
    """One fill.

    Attributes:
        id: the venue's, of this fill and no other, the same however often and wherever it is asked for.
        client_id: of its order; empty where the venue names it by ``venue_id`` only.
    """

    id: str
    client_id: str
    venue_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    at: dt.datetime
    fee: Decimal = ZERO


@dataclass(frozen=True)
class Activity:
    """What changed the account without an order.

    Attributes:
        id: the venue's, of this activity and no other.
        quantity: change of shares held (a 2:1 split of 10 shares: +10); 0 = none.
        cash: change of money; 0 = none.
        symbol: empty where it is of no asset; of a rename the old one, and ``other`` the new one.
        ratio: of a split, new shares per old one (2:1 = 2), where the venue says.
    """

    id: str
    kind: ActivityKind
    day: dt.date
    symbol: str = ""
    quantity: Decimal = ZERO
    cash: Decimal = ZERO
    other: str = ""
    ratio: Decimal | None = None
    text: str = ""


@dataclass(frozen=True)
class Session:
    """A day on which the exchange is open, and from when to when; half days close early."""

    day: dt.date
    opens: dt.datetime
    closes: dt.datetime


@dataclass(frozen=True)
class Clock:
    """The venue's time, and whether it trades.

    Attributes:
        next_open, next_close: of the session that is running or comes next; while one runs ``next_close`` is its own.
    """

    now: dt.datetime
    is_open: bool
    next_open: dt.datetime
    next_close: dt.datetime


@dataclass(frozen=True)
class Update:
    """Something happened to an order. A hint to ask, never booked: streams repeat, reorder and lose."""

    client_id: str
    event: str


@runtime_checkable
class Venue(Protocol):
    """A place to trade at.

    Every method returns or raises within a bounded time. ``Unanswered`` comes from ``submit`` only; every other
    method raises ``Unavailable`` or ``Unreadable``. Lists are complete: an adapter follows the venue's pages.
    """

    name: str

    def connect(self, timeout: float) -> None:
        """Open what needs to be open, the stream of updates among it; again after a cut. ``Unavailable`` if not done in
        ``timeout`` seconds.
        """

    def close(self) -> None:
        """Let go of everything that is open; ``connect`` may follow."""

    def stream_ready(self) -> bool:
        """Whether the stream of updates is open and authenticated; no order is sent while it is not."""

    def clock(self) -> Clock:
        """The venue's time."""

    def calendar(self, first: dt.date, last: dt.date) -> list[Session]:
        """The sessions from ``first`` to ``last``, inclusive, in order."""

    def account(self) -> Account:
        """The account's money."""

    def positions(self) -> list[VenuePosition]:
        """Everything held, ours or not."""

    def open_orders(self) -> list[VenueOrder]:
        """Every order that may still fill, ours or not."""

    def orders(self, since: dt.datetime) -> list[VenueOrder]:
        """Every order sent from a moment on, whatever became of it, ours or not: many in one request. One that is not
        in it may exist all the same; for certain ask by its client id.
        """

    def order_by_client_id(self, client_id: str) -> VenueOrder | None:
        """The order sent under this id, whatever became of it; None = there is none, said by the venue for certain."""

    def submit(self, request: OrderRequest) -> VenueOrder:
        """Send an order, once: nothing below this call sends it again.

        An id that the venue has already is ``NotAccepted(final=True)``; nothing of a second order exists then.
        """

    def cancel(self, order: VenueOrder) -> None:
        """Ask for the rest of an order not to fill; done when its state says so. No error where it is done already."""

    def executions(self, since: dt.datetime) -> list[Execution]:
        """The account's fills from a moment on, in order, ours or not."""

    def activities(self, since: dt.date) -> list[Activity]:
        """What else changed the account, from a day on, in order."""

    def assets(self, symbols: Iterable[str]) -> dict[str, Asset]:
        """What is known of these symbols; a symbol the venue does not have is left out."""

    def prices(self, symbols: Iterable[str]) -> dict[str, Decimal]:
        """The venue's own last prices, of those of the symbols for which it states one; it may state none."""

    def updates(self, wait: float) -> list[Update]:
        """What the stream brought since it was last asked, after at most ``wait`` seconds; none is no error."""
