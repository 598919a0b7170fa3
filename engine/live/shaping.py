"""What the Strategy wants as orders that the venue takes: rounded, within what is held, named where left out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from clusterfolio.engine.live.broker import Wanted
from clusterfolio.engine.live.records import Intent, client_id
from clusterfolio.engine.live.venue import ZERO, Asset, Side, Timing

#: Less than this is no share: what a reverse split leaves of one.
STEP = Decimal("0.000000001")


@dataclass(frozen=True)
class Shaped:
    """Orders as the venue takes them: signed amounts by symbol in sending order, and what is left out, and why."""

    legs: list[tuple[Wanted, Decimal]]
    skipped: dict[str, str]
    untradable: float


def shape(
    wanted: Sequence[Wanted], holdings: Mapping[str, Decimal], assets: Mapping[str, Asset], value: float,
    stale: Collection[str] = (), why_not: Mapping[str, str] | None = None,
) -> Shaped:  # fmt: skip
    """Round what the Strategy wants to what the venue takes; sales before buys.

    A sale is of what is held at most. What cannot be traded is left out by name: what is held of it stays,
    its other weight is cash. That buys need no more than the cash is seen to when they are sent.
    """
    legs, skipped, untradable = [], {}, 0.0
    for want in wanted:
        asset, share = assets.get(want.symbol), abs(want.amount) * want.price / value
        held = holdings.get(want.symbol, ZERO)
        why = why_untradable(want.symbol, assets, why_not)
        if why:
            skipped[want.symbol] = why
            untradable += share
            continue
        if want.symbol in stale:
            skipped[want.symbol] = "no bar of the day: its price is of an earlier close"
            continue
        amount = rounded(Decimal(repr(want.amount)), held, asset)
        least = asset.min_notional / Decimal(repr(want.price))
        if not amount or abs(amount) < least:
            if abs(want.amount) > float(STEP):
                skipped[want.symbol] = f"{abs(want.amount):g} shares are less than the venue takes"
            continue
        if Decimal(repr(want.amount)) < -held - step_of(asset):
            skipped[want.symbol] = f"only {held} are held: the rest would be sold short"
        legs.append((want, amount))
    legs.sort(key=lambda leg: leg[1] > 0)
    return Shaped(legs, skipped, untradable)


def why_untradable(symbol: str, assets: Mapping[str, Asset], why_not: Mapping[str, str] | None = None) -> str:
    """Why a symbol is not traded at all, in words; empty = it is."""
    asset = assets.get(symbol)
    unlisted = "the venue does not list it" if asset is None else ""
    halted = "" if asset is None or asset.tradable else asset.why_not or "halted"
    return (why_not or {}).get(symbol, "") or unlisted or halted


def step_of(asset: Asset) -> Decimal:
    """The smallest change of a position."""
    return asset.step if asset.fractionable else asset.lot


def rounded(amount: Decimal, held: Decimal, asset: Asset) -> Decimal:
    """A signed amount in the venue's steps, towards 0; a sale closes what it comes within a step of, and no more.

    >>> share = Asset("A", True, False)
    >>> [str(rounded(Decimal(n), Decimal("10"), share)) for n in ("3.9", "-9.2", "-12")]
    ['3', '-9', '-10']
    """
    step = step_of(asset)
    if amount < 0:
        amount = -held if -amount > held or held + amount < (step if asset.fractionable else ZERO) else amount
    return (amount / step).quantize(Decimal(1), rounding=ROUND_DOWN) * step


def make_intents(
    shaped: Sequence[tuple[Wanted, Decimal]], plan: str, session: dt.date, decided: dt.date, account: str,
    strategy: str, round_: int, opening: bool,
) -> list[Intent]:  # fmt: skip
    """The orders of a plan, each with its client id.

    Args:
        round_: 1 for the plan's own, then what is sent for what was left missing.
        opening: whether orders go into the opening auction where it takes them (whole shares).
    """
    intents = []
    for want, amount in shaped:
        side = Side.BUY if amount > 0 else Side.SELL
        leg = f"{'b' if amount > 0 else 's'}{round_}{plan[len(session.isoformat()) :].replace('-', '')[:3]}"
        whole = amount == amount.to_integral_value()
        intents.append(
            Intent(
                client_id(account, strategy, decided, want.symbol, leg), plan, want.symbol, side, abs(amount), leg,
                Timing.OPENING if opening and whole else Timing.DAY, session, Decimal(repr(want.price)), want.reason,
            )
        )  # fmt: skip
    return intents
