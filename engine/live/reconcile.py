"""Journal and venue side by side: what has to be done so that they agree, or why a person has to look.

Pure: nothing is asked, sent or written here. ``reconcile`` is given what the journal says and one consistent look at
the venue, and returns findings in the order in which they are to be carried out. Whatever cannot be explained by an
order of the journal or by an activity that the venue states is a reason to halt; nothing is guessed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from clusterfolio.engine.live.records import Intent, IntentState
from clusterfolio.engine.live.venue import (
    ZERO,
    Account,
    Activity,
    ActivityKind,
    OrderState,
    VenueOrder,
    VenuePosition,
)


@dataclass(frozen=True)
class Known:
    """What the journal says.

    Attributes:
        holdings: shares by symbol, ours.
        alive: orders to which something may still happen.
        activities: ids of those that are booked.
        session: the only session on which an order may fill now; None = no plan is open.
        names: symbols that are ours to trade; what others hold in other names is left alone.
        mark: what the client ids of our orders begin with.
    """

    holdings: Mapping[str, Decimal]
    alive: Sequence[Intent]
    activities: Collection[str]
    session: dt.date | None
    names: Collection[str]
    mark: str


@dataclass(frozen=True)
class Seen:
    """One look at the venue.

    Attributes:
        orders: what the venue says of each order of ``Known.alive`` that may be there, by client id; None = it has no
            such order, for certain.
        open_orders: everything that may still fill there.
    """

    account: Account
    positions: Sequence[VenuePosition]
    open_orders: Sequence[VenueOrder]
    orders: Mapping[str, VenueOrder | None]
    activities: Sequence[Activity] = ()


@dataclass(frozen=True)
class Findings:
    """What follows, to be done in this order: take activities, book orders, give back, cancel.

    Attributes:
        activities: new ones, to be taken into the journal.
        book: orders of ours, to be booked as the venue states them.
        absent: client ids of orders that were being sent and are certainly not there.
        cancel: orders of ours that could fill on another session than the planned one.
        adoptable: shares in our names that are not ours, by symbol; each is a reason to halt, unless a person says
            that they are to be ours.
        halt: reasons to stop; empty = journal and venue agree once the rest is done.
    """

    activities: tuple[Activity, ...] = ()
    book: tuple[VenueOrder, ...] = ()
    absent: tuple[str, ...] = ()
    cancel: tuple[VenueOrder, ...] = ()
    adoptable: Mapping[str, Decimal] = field(default_factory=dict)
    halt: tuple[str, ...] = ()


def reconcile(known: Known, seen: Seen) -> Findings:
    """What has to be done so that journal and venue agree."""
    halt: list[str] = []
    if seen.account.blocked:
        halt.append(f"the venue has blocked account {seen.account.id}: {seen.account.blocked}")
    activities = tuple(a for a in seen.activities if a.id not in known.activities)
    holdings = _with_activities(known, activities, halt)
    ours = {intent.client_id: intent for intent in known.alive}
    book, absent = _orders(ours, seen, halt)
    for order in book:
        intent = ours[order.client_id]
        holdings[order.symbol] = holdings.get(order.symbol, ZERO) + (order.filled - intent.filled) * order.side.sign
    cancel = tuple(o for o in book if o.state is OrderState.OPEN and not _in_time(o, ours[o.client_id], known.session))
    halt += _foreign_orders(known, seen, ours)
    adoptable = _positions(known, seen, holdings, book, halt)
    return Findings(activities, tuple(book), tuple(absent), cancel, adoptable, tuple(halt))


def _with_activities(known: Known, activities: Sequence[Activity], halt: list[str]) -> dict[str, Decimal]:
    holdings = dict(known.holdings)
    for activity in activities:
        if activity.quantity:
            holdings[activity.symbol] = holdings.get(activity.symbol, ZERO) + activity.quantity
        if activity.kind is ActivityKind.RENAME and activity.other:
            moved = holdings.pop(activity.symbol, ZERO)
            holdings[activity.other] = holdings.get(activity.other, ZERO) + moved
    for symbol, quantity in holdings.items():
        if quantity < 0:
            halt.append(
                f"{symbol}: {quantity} shares by the journal after the venue's activities; ours are never short"
            )
    return holdings


def _orders(ours: Mapping[str, Intent], seen: Seen, halt: list[str]) -> tuple[list[VenueOrder], list[str]]:
    book, absent = [], []
    for client_id, intent in ours.items():
        if client_id not in seen.orders:
            continue
        order = seen.orders[client_id]
        if order is None:
            if intent.state is IntentState.SENDING:
                absent.append(client_id)
            elif intent.state is IntentState.SENT:
                halt.append(f"{intent.symbol}: the venue took order {client_id} and does not know it any more")
            continue
        if (order.symbol, order.side, order.quantity) != (intent.symbol, intent.side, intent.quantity):
            halt.append(
                f"order {client_id}: the venue has {order.side} {order.quantity} {order.symbol}, the journal "
                f"{intent.side} {intent.quantity} {intent.symbol}"
            )
        elif not intent.filled <= order.filled <= order.quantity:
            halt.append(
                f"order {client_id}: the venue says {order.filled} of {order.quantity} filled, "
                f"{intent.filled} are booked"
            )
        else:
            book.append(order)
    return book, absent


def _in_time(order: VenueOrder, intent: Intent, session: dt.date | None) -> bool:
    """Whether an open order can fill on the session it was planned for only."""
    return intent.session == session and (order.session is None or order.session == session)


def _foreign_orders(known: Known, seen: Seen, ours: Mapping[str, Intent]) -> list[str]:
    found = []
    for order in seen.open_orders:
        if order.client_id in ours:
            continue
        if order.client_id.startswith(known.mark + "-"):
            found.append(f"{order.symbol}: an open order of ours, {order.client_id}, that the journal does not expect")
        elif order.symbol in known.names:
            known_as = order.client_id or order.venue_id
            found.append(f"{order.symbol}: a foreign order to {order.side} {order.remaining} ({known_as})")
    return found


def _positions(
    known: Known, seen: Seen, holdings: Mapping[str, Decimal], book: Sequence[VenueOrder], halt: list[str]
) -> dict[str, Decimal]:
    """Compare what is held; an open order may have filled further between two looks, by what remains of it at most."""
    at_venue = {position.symbol: position.quantity for position in seen.positions if position.quantity}
    adoptable = {}
    for symbol in sorted({*(s for s, q in holdings.items() if q), *(s for s in at_venue if s in known.names)}):
        mine, theirs = holdings.get(symbol, ZERO), at_venue.get(symbol, ZERO)
        moving = [o.remaining * o.side.sign for o in book if o.symbol == symbol and o.state is OrderState.OPEN]
        least = mine + sum((m for m in moving if m < 0), ZERO)
        most = mine + sum((m for m in moving if m > 0), ZERO)
        if least <= theirs <= most:
            continue
        if theirs > most:
            adoptable[symbol] = theirs - mine
            halt.append(f"{symbol}: the account holds {theirs}, the journal {mine}: {theirs - mine} are not ours")
        else:
            halt.append(
                f"{symbol}: the journal holds {mine}, the account {theirs}, and no activity of the venue says why"
            )
    return adoptable
