"""What changed an account at Alpaca without an order: dividends, splits, changes of name, fees, transfers."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from clusterfolio.engine.live.alpaca_decoding import Fields
from clusterfolio.engine.live.moments import NEW_YORK
from clusterfolio.engine.live.venue import ZERO, Activity, ActivityKind

#: What Alpaca calls what changes an account, by how the name begins; the first that fits. Others are ``OTHER``.
KINDS = (
    ("DIVFEE", ActivityKind.FEE),
    ("DIV", ActivityKind.DIVIDEND),
    ("CGD", ActivityKind.DIVIDEND),
    ("SPLIT", ActivityKind.SPLIT),
    ("SSP", ActivityKind.SPLIT),
    ("NC", ActivityKind.RENAME),
    ("INT", ActivityKind.INTEREST),
    ("FEE", ActivityKind.FEE),
    ("CFEE", ActivityKind.FEE),
    ("PTC", ActivityKind.FEE),
    ("PTR", ActivityKind.FEE),
    ("CSD", ActivityKind.TRANSFER),
    ("CSW", ActivityKind.TRANSFER),
    ("TRANS", ActivityKind.TRANSFER),
    ("JNLC", ActivityKind.TRANSFER),
    ("ACATC", ActivityKind.TRANSFER),
)

#: Kinds whose ``qty`` is a change of shares; of a dividend it is the shares that were paid for.
MOVES_SHARES = (ActivityKind.SPLIT, ActivityKind.RENAME, ActivityKind.OTHER)


def read_activities(raw: Sequence[Any]) -> list[Activity]:
    """What changed the account without an order.

    A split and a change of name come as two rows, the old shares taken and the new ones given; both are told at once,
    and are one activity here, under the id of the new shares' row. A row that is alone stays what it says.
    """
    given = [Fields("activity", row) for row in raw]
    pairs: dict[tuple[str, ...], list[Fields]] = {}
    for f in given:
        if f.has("qty") and _kind(f) in (ActivityKind.SPLIT, ActivityKind.RENAME):
            pairs.setdefault(_key(f), []).append(f)
    found = []
    for f in given:
        rows_ = sorted(pairs.get(_key(f), ()) if f.has("qty") else (), key=lambda row: row.number("qty"))
        one = _merged(*rows_) if len(rows_) == 2 else None
        if one is None:
            found.append(_activity(f))
        elif f is rows_[1]:
            found.append(one)
    return found


def _kind(f: Fields) -> ActivityKind:
    if f.has("status") and f.word("status") in ("canceled", "cancelled"):
        return ActivityKind.OTHER
    name = f.text("activity_type").upper()
    return next((kind for start, kind in KINDS if name.startswith(start)), ActivityKind.OTHER)


def _key(f: Fields) -> tuple[str, ...]:
    """What the two rows of one event have in common."""
    if f.has("group_id"):
        return f.text("activity_type"), f.text("group_id")
    return f.text("activity_type"), str(_day(f)), f.text("symbol") if f.has("symbol") else ""


def _day(f: Fields) -> dt.date:
    if f.has("date") or not f.has("created_at"):
        return f.day("date")
    return f.moment("created_at").astimezone(NEW_YORK).date()


def _merged(old: Fields, new: Fields) -> Activity | None:
    """Two rows as one event; None = they are none."""
    gone, come, kind = -old.number("qty"), new.number("qty"), _kind(new)
    if gone <= 0 or come <= 0:
        return None
    if kind is ActivityKind.SPLIT and old.text("symbol") == new.text("symbol"):
        return replace(_activity(new), quantity=come - gone, cash=_cash(old) + _cash(new), ratio=_plain(come / gone))
    if kind is ActivityKind.RENAME and gone == come:
        return replace(_activity(new), quantity=ZERO, cash=_cash(old) + _cash(new), symbol=old.text("symbol"),
                       other=new.text("symbol"))  # fmt: skip
    return None


def _plain(ratio: Decimal) -> Decimal:
    """A split's ratio: of two small numbers, but for what the shares were rounded by."""
    near = Fraction(ratio).limit_denominator(1000)
    plain = Decimal(near.numerator) / Decimal(near.denominator)
    return plain if abs(plain - ratio) < ratio / 1_000_000 else ratio


def _cash(f: Fields) -> Decimal:
    return f.number("net_amount") if f.has("net_amount") else ZERO


def _activity(f: Fields) -> Activity:
    """One row as it is."""
    kind, day, symbol = _kind(f), _day(f), f.text("symbol") if f.has("symbol") else ""
    said = f.text("description") if f.has("description") else ""
    text = " ".join(filter(None, (
        f.text("activity_type").upper(), f.text("activity_sub_type") if f.has("activity_sub_type") else "", said,
    )))  # fmt: skip
    if f.has("status") and f.word("status") in ("canceled", "cancelled"):
        return Activity(f.text("id"), kind, day, symbol, text=f"cancelled: {text}")
    quantity = f.number("qty") if f.has("qty") and kind in MOVES_SHARES else ZERO
    ratio = _stated(said) if kind is ActivityKind.SPLIT and quantity > 0 else None
    return Activity(f.text("id"), kind, day, symbol, quantity, _cash(f), ratio=ratio, text=text)


def _stated(said: str) -> Decimal | None:
    """The ratio of a split, where its words tell it."""
    found = re.search(r"From QTY:\s*([\d.]+),\s*To QTY:\s*([\d.]+)", said, re.IGNORECASE)
    return _plain(Decimal(found[2]) / Decimal(found[1])) if found and Decimal(found[1]) else None
