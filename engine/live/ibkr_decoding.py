"""What Interactive Brokers states, through ib_async, as the project's own objects; what is not certain is refused.

An order is known by ``orderRef``, which is our client id, and by ``permId``, which is the broker's for good. The
``orderId`` is a connection's own, is given again after a restart of the gateway, and is never looked at.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from clusterfolio.engine.live.venue import ZERO, Account, Execution, OrderState, Session, Side, Unreadable, VenueOrder

#: What the broker calls the states of an order.
STATES = {
    **dict.fromkeys(("PendingSubmit", "ApiPending", "PreSubmitted", "Submitted", "PendingCancel", "ApiUpdate",
                     "ValidationError"), OrderState.OPEN),
    "Filled": OrderState.FILLED,
    **dict.fromkeys(("Cancelled", "ApiCancelled"), OrderState.CANCELLED),
    "Inactive": OrderState.REJECTED,
}  # fmt: skip

SIDES = {"BUY": Side.BUY, "SELL": Side.SELL, "BOT": Side.BUY, "SLD": Side.SELL}

#: What our references begin with, see ``engine.live.records.client_id``.
OURS = re.compile(r"cf[0-9a-f]{6}-\d{8}-")

#: From so much on a number stands for none.
UNSET = 1e300


def number(value: Any, what: str) -> Decimal:
    """A number that is one; ib_async has floats, whose shortest decimal is what was sent."""
    try:
        found = Decimal(repr(float(value)))
    except (TypeError, ValueError):
        raise Unreadable(f"{what}: got {value!r}, expected a number") from None
    if not found.is_finite() or abs(found) >= Decimal(UNSET):
        raise Unreadable(f"{what}: got {value!r}, expected a number")
    return found.normalize() + ZERO


def symbol_of(contract: Any) -> str:
    """The run's symbol of a contract: a share's, with a dot where the broker has a blank; others by kind and name."""
    if contract.secType == "STK":
        return str(contract.symbol).replace(" ", ".")
    return f"{contract.secType}:{contract.localSymbol or contract.symbol}"


def name_of(order: Any) -> str:
    """What an order, or an execution, goes by: our reference, or the broker's number where it has none of ours.

    References of others are no names: many orders may share one.
    """
    return order.orderRef if OURS.match(order.orderRef) else f"ib-{order.permId}"


def order(trade: Any, fills: Iterable[Any]) -> VenueOrder:
    """An order with its state.

    Args:
        fills: the executions of this order that are known, from ``executions``.
    """
    stated, status = trade.order, trade.orderStatus
    what = f"order {name_of(stated)}"
    for field, value, known in (("status", status.status, STATES), ("action", stated.action, SIDES)):
        if value not in known:
            raise Unreadable(f"{what}: {field}: got {value!r}, expected one of {', '.join(known)}")
    state = STATES[status.status]
    own = list(fills)
    filled = max(number(status.filled, f"{what}: filled"), sum((fill.quantity for fill in own), ZERO))
    quantity = number(stated.totalQuantity, f"{what}: totalQuantity")
    if not quantity and state is OrderState.FILLED:  # of one that is done the broker may state what filled alone
        quantity = filled = max(filled, number(stated.filledQuantity, f"{what}: filledQuantity"))
    if not quantity:
        raise Unreadable(f"{what}: totalQuantity: got 0, expected a number above 0")
    if state is OrderState.FILLED:
        filled = quantity
    permanent = str(stated.permId or status.permId or "")
    return VenueOrder(
        name_of(stated), permanent, symbol_of(trade.contract), SIDES[stated.action], quantity, filled, state,
        _average(own, filled, status), reason=_reason(trade) if state.done else "",
    )  # fmt: skip


def _average(own: Sequence[Execution], filled: Decimal, status: Any) -> Decimal | None:
    if not filled:
        return None
    shares = sum((fill.quantity for fill in own), ZERO)
    if shares == filled:
        return sum((fill.quantity * fill.price for fill in own), ZERO) / shares
    return number(status.avgFillPrice, "avgFillPrice") or None


def _reason(trade: Any) -> str:
    said = [entry.message for entry in trade.log if entry.message] if trade.orderStatus.status != "Filled" else []
    return str(said[-1])[:300] if said else ""


def executions(fills: Iterable[Any], account: str) -> list[Execution]:
    """The account's fills in order, each once: of one that was corrected the last word counts."""
    found: dict[str, Execution] = {}
    for fill in fills:
        done = fill.execution
        if done.acctNumber != account:
            continue
        what = f"execution {done.execId}"
        if done.side not in SIDES:
            raise Unreadable(f"{what}: side: got {done.side!r}, expected one of BOT, SLD")
        fee = number(fill.commissionReport.commission, f"{what}: commission")
        # A correction has the number of what it corrects but for the part after the last dot.
        found[done.execId.rpartition(".")[0] or done.execId] = Execution(
            done.execId, name_of(done), str(done.permId), symbol_of(fill.contract),
            SIDES[done.side], number(done.shares, f"{what}: shares"), number(done.price, f"{what}: price"),
            done.time.astimezone(dt.UTC), fee,
        )  # fmt: skip
    return sorted(found.values(), key=lambda execution: (execution.at, execution.id))


def account(values: Iterable[Any], name: str, currency: str) -> Account:
    """The account's money; one in another currency than the run's is blocked."""
    money = {value.tag: value for value in values if value.account == name and value.currency not in ("", "BASE")}
    for tag in ("TotalCashValue", "NetLiquidation", "AvailableFunds"):
        if tag not in money:
            raise Unreadable(f"account {name}: {tag}: got nothing, expected a number")
    cash, worth, spare = (
        number(money[tag].value, f"account {name}: {tag}")
        for tag in ("TotalCashValue", "NetLiquidation", "AvailableFunds")
    )
    held = str(money["NetLiquidation"].currency)
    blocked = "" if held == currency else f"its base currency is {held}, the run's {currency}"
    return Account(name, held, cash, worth, max(min(cash, spare), ZERO), blocked)


def hours(text: str, zone: str) -> tuple[set[dt.date], list[Session]]:
    """The days that a contract's ``liquidHours`` speak of, and the sessions among them.

    >>> days, sessions = hours("20240721:CLOSED;20240722:0930-20240722:1600", "America/New_York")
    >>> len(days), [f"{s.opens:%F %H:%M}" for s in sessions]
    (2, ['2024-07-22 13:30'])
    """
    days, sessions = set(), []
    for part in filter(None, text.split(";")):
        try:
            day = dt.datetime.strptime(part[:8], "%Y%m%d").date()
            days.add(day)
            if not part.endswith("CLOSED"):
                opens, closes = (
                    dt.datetime.strptime(end, "%Y%m%d:%H%M").replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC)
                    for end in part.split("-")
                )
                sessions.append(Session(day, opens, closes))
        except (ValueError, KeyError):
            raise Unreadable(f"liquidHours: got {part!r} in {zone!r}, expected YYYYMMDD:HHMM-YYYYMMDD:HHMM") from None
    return days, sessions
