"""Alpaca's answers as the project's own objects; what cannot be understood for certain is refused by name.

A number may be written as one or as text, a name in any case, and fields that are not known are left alone. A field
that is missing, of another kind, or in a state that is not known is ``Unreadable``: nothing is guessed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from clusterfolio.engine.live.moments import NEW_YORK
from clusterfolio.engine.live.venue import (
    ZERO,
    Account,
    Asset,
    Clock,
    Execution,
    OrderState,
    Session,
    Side,
    Unreadable,
    VenueOrder,
    VenuePosition,
)

#: Steps and least value of an order in parts of a share.
STEP, LEAST = Decimal("0.000000001"), Decimal(1)

#: What Alpaca calls the states of an order. ``done_for_day``, ``calculated`` and ``replaced`` are read with more care.
STATES = {
    **dict.fromkeys(
        ("new", "accepted", "pending_new", "accepted_for_bidding", "partially_filled", "stopped", "suspended", "held",
         "pending_cancel", "pending_replace"),
        OrderState.OPEN,
    ),
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELLED,
    "cancelled": OrderState.CANCELLED,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
}  # fmt: skip

SIDES = {"buy": Side.BUY, "sell": Side.SELL, "sell_short": Side.SELL}

#: Times in force of orders that end with their session.
ONE_SESSION = ("day", "opg", "cls")


class Fields:
    """One object of an answer, read field by field.

    Args:
        what: what it is, for messages ("order", "position").
    """

    def __init__(self, what: str, raw: Any):
        if not isinstance(raw, Mapping):
            raise Unreadable(f"{what}: got {_short(raw)}, expected an object")
        self._what, self._raw = what, raw

    def has(self, name: str) -> bool:
        """Whether a field is there and says something."""
        return self._raw.get(name) not in (None, "")

    def wrong(self, name: str, expected: str) -> Unreadable:
        """The refusal of a field, by its name and value."""
        found = _short(self._raw[name]) if name in self._raw else "nothing"
        which = next((f" {self._raw[key]}" for key in ("client_order_id", "symbol", "id") if self._raw.get(key)), "")
        return Unreadable(f"{self._what}{which}: {name}: got {found}, expected {expected}")

    def number(self, name: str) -> Decimal:
        """A number, however it is written."""
        value = self._raw.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
            raise self.wrong(name, "a number")
        try:
            found = Decimal(repr(value) if isinstance(value, float) else value)
        except InvalidOperation:
            raise self.wrong(name, "a number") from None
        if not found.is_finite():
            raise self.wrong(name, "a number")
        return found

    def text(self, name: str) -> str:
        """Text that is not empty; a number counts as its digits."""
        value = self._raw.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise self.wrong(name, "text")
        return str(value)

    def mapping(self, name: str) -> Mapping[str, Any]:
        """An object by name; nothing at all counts as an empty one."""
        value = self._raw.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise self.wrong(name, "an object")
        return value or {}

    def word(self, name: str) -> str:
        """Text in small letters, of a state or a kind."""
        return self.text(name).strip().lower()

    def one_of(self, name: str, known: Mapping[str, Any]) -> Any:
        """What a word stands for."""
        word = self.word(name)
        if word not in known:
            raise self.wrong(name, "one of " + ", ".join(known))
        return known[word]

    def flag(self, name: str) -> bool:
        """True or false, also in words."""
        value = self._raw.get(name)
        if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def moment(self, name: str) -> dt.datetime:
        """A moment with its zone, in UTC."""
        value = self._raw.get(name)
        try:
            found = dt.datetime.fromisoformat(value) if isinstance(value, str) else None
        except ValueError:
            found = None
        if found is None or found.tzinfo is None:
            raise self.wrong(name, "a moment as 2025-01-31T14:30:00Z")
        return found.astimezone(dt.UTC)

    def day(self, name: str) -> dt.date:
        """A day; of a moment its day."""
        value = self._raw.get(name)
        try:
            return dt.date.fromisoformat(value[:10] if isinstance(value, str) else "")
        except ValueError:
            raise self.wrong(name, "a day as 2025-01-31") from None

    def hour(self, name: str) -> dt.time:
        """An hour of the day as 09:30 or 0930."""
        try:
            return dt.time.fromisoformat(self.text(name))
        except ValueError:
            raise self.wrong(name, "an hour as 09:30") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def rows(what: str, raw: Any) -> Sequence[Any]:
    """The rows of a list."""
    if not isinstance(raw, list):
        raise Unreadable(f"{what}: got {_short(raw)}, expected a list")
    return raw


def clock(raw: Any) -> Clock:
    """The venue's time."""
    f = Fields("clock", raw)
    found = Clock(f.moment("timestamp"), f.flag("is_open"), f.moment("next_open"), f.moment("next_close"))
    if min(found.next_open, found.next_close) <= found.now - dt.timedelta(minutes=1):
        raise f.wrong("next_open" if found.next_open < found.next_close else "next_close", "a moment to come")
    if found.is_open != (found.next_close < found.next_open):
        raise f.wrong("is_open", "what next_open and next_close say")
    return found


def session(raw: Any) -> Session:
    """A day of the calendar."""
    f = Fields("calendar", raw)
    day, opens, closes = f.day("date"), f.hour("open"), f.hour("close")
    if opens >= closes:
        raise f.wrong("close", f"an hour after open, {opens}")
    at = [dt.datetime.combine(day, hour, NEW_YORK).astimezone(dt.UTC) for hour in (opens, closes)]
    return Session(day, *at)


def account(raw: Any) -> Account:
    """The account's money."""
    f = Fields("account", raw)
    why = [name for name in ("account_blocked", "trading_blocked", "trade_suspended_by_user") if f.flag(name)]
    if f.word("status") != "active":
        why.append(f"status {f.text('status')}")
    return Account(
        f.text("account_number" if f.has("account_number") else "id"), f.text("currency"), f.number("cash"),
        f.number("equity"), f.number("buying_power"), ", ".join(why),
    )  # fmt: skip


def position(raw: Any) -> VenuePosition:
    """What is held of a name; a short one is negative, whether or not its number has a sign."""
    f = Fields("position", raw)
    quantity, short = f.number("qty"), f.one_of("side", {"long": False, "short": True})
    if quantity < 0 and not short:
        raise f.wrong("qty", "a number above 0, as side is long")
    price = f.number("current_price") if f.has("current_price") else None
    return VenuePosition(f.text("symbol"), -abs(quantity) if short else quantity, price)


def asset(raw: Any) -> Asset:
    """What is known of a name."""
    f = Fields("asset", raw)
    active, tradable, fractionable = f.word("status") == "active", f.flag("tradable"), f.flag("fractionable")
    why = "" if active and tradable else "not tradable" if active else f"status {f.text('status')}"
    return Asset(
        f.text("symbol"), not why, fractionable, step=STEP, min_notional=LEAST if fractionable else ZERO,
        asset_class=f.text("class"), why_not=why,
    )  # fmt: skip


def order(raw: Any) -> VenueOrder:
    """An order, whatever became of it."""
    f = Fields("order", raw)
    filled = f.number("filled_qty")
    by_value = not f.has("qty") and f.has("notional")
    # An order for an amount of money is not one of ours; how many shares it is for is known by what fills only.
    quantity = filled if by_value else f.number("qty")
    state, why = _state(f, quantity, filled, by_value)
    if not ZERO <= filled <= quantity:
        raise f.wrong("filled_qty", f"a number from 0 to {quantity}")
    if state is OrderState.FILLED and filled != quantity:
        raise f.wrong("filled_qty", f"{quantity}, as it is said to be filled")
    average = f.number("filled_avg_price") if filled else None
    day = f.moment("expires_at").astimezone(NEW_YORK).date() if _ends(f) and f.has("expires_at") else None
    return VenueOrder(
        f.text("client_order_id"), f.text("id"), f.text("symbol"), f.one_of("side", SIDES), quantity, filled, state,
        average, day, why,
    )  # fmt: skip


def _ends(f: Fields) -> bool:
    return f.word("time_in_force") in ONE_SESSION


def _state(f: Fields, quantity: Decimal, filled: Decimal, by_value: bool) -> tuple[OrderState, str]:
    """What has become of an order, and why as far as it is told."""
    word = f.word("status")
    if word == "replaced":
        return OrderState.CANCELLED, f"replaced by order {f.text('replaced_by') if f.has('replaced_by') else '?'}"
    if word in ("done_for_day", "calculated"):
        if filled == quantity and not by_value:
            return OrderState.FILLED, ""
        return (OrderState.EXPIRED, "its day is over") if _ends(f) else (OrderState.OPEN, "")
    state = f.one_of("status", STATES | dict.fromkeys(("done_for_day", "calculated", "replaced")))
    return state, "" if state in (OrderState.OPEN, OrderState.FILLED) else f"{word} by the venue"


def submitted(raw: Any) -> dt.datetime:
    """When an order was sent, by which a list of orders goes on."""
    return Fields("order", raw).moment("submitted_at")


#: What a fill names its order by, and the session on which that order may fill (None = on several).
OrderKey = tuple[str, str, Side, dt.date | None]


def execution(raw: Any, client_ids: Mapping[OrderKey, str | None]) -> Execution:
    """A fill.

    Args:
        client_ids: of ``client_ids_of``: an activity names its order by the venue's id only.
    """
    f = Fields("fill", raw)
    for name, known in (("activity_type", ("fill",)), ("type", ("fill", "partial_fill"))):
        if f.word(name) not in known:
            raise f.wrong(name, " or ".join(known))
    venue_id, symbol, side = f.text("order_id"), f.text("symbol"), f.one_of("side", SIDES)
    quantity, price, at = f.number("qty"), f.number("price"), f.moment("transaction_time")
    if quantity <= 0:
        raise f.wrong("qty", "a number above 0")
    day = at.astimezone(NEW_YORK).date()
    known = client_ids.get((venue_id, symbol, side, day), client_ids.get((venue_id, symbol, side, None), ""))
    if known is None:
        raise f.wrong("order_id", "the id of one order; the venue has used it twice")
    return Execution(f.text("id"), known, venue_id, symbol, side, quantity, price, at)


def client_ids_of(orders: Iterable[VenueOrder]) -> dict[OrderKey, str | None]:
    """The client ids of orders by what a fill names them by; None where that is two orders'."""
    found: dict[OrderKey, str | None] = {}
    for known in orders:
        key = known.venue_id, known.symbol, known.side, known.session
        found[key] = known.client_id if found.get(key, known.client_id) == known.client_id else None
    return found
