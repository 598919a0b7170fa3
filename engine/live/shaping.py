"""What the Strategy wants as orders that the venue takes: rounded, within what is held, named where left out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal

import numpy as np

from clusterfolio.engine.live.broker import Wanted
from clusterfolio.engine.live.planner import Asked, Day
from clusterfolio.engine.live.records import Intent, client_id
from clusterfolio.engine.live.venue import ZERO, Asset, Side, Timing
from clusterfolio.strategies.order_list import share_to_order
from clusterfolio.strategies.orders import missing_shares, target_shares

#: Less than this is no share: what a reverse split leaves of one.
STEP = Decimal("0.000000001")


@dataclass(frozen=True)
class Shaped:
    """Orders as the venue takes them: signed amounts by symbol in sending order, and what is left out, and why.

    ``untradable`` is what the venue cannot trade at all, as fractions of the account's value.
    """

    legs: list[tuple[Wanted, Decimal]]
    skipped: dict[str, str]
    untradable: dict[str, float]


def shape(
    wanted: Sequence[Wanted], holdings: Mapping[str, Decimal], assets: Mapping[str, Asset], value: float,
    stale: Collection[str] = (), why_not: Mapping[str, str] | None = None,
) -> Shaped:  # fmt: skip
    """Round what the Strategy wants to what the venue takes; sales before buys.

    A sale is of what is held at most. What cannot be traded is left out by name: what is held of it stays,
    its other weight is cash. That buys need no more than the cash is seen to when they are sent.
    """
    legs, skipped, untradable = [], {}, {}
    for want in wanted:
        asset, share = assets.get(want.symbol), abs(want.amount) * want.price / value
        held = holdings.get(want.symbol, ZERO)
        why = why_untradable(want.symbol, assets, why_not)
        if why:
            skipped[want.symbol] = why
            untradable[want.symbol] = share
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


def within_means(
    asked: Asked, holdings: Mapping[str, Decimal], assets: Mapping[str, Asset], day: Day, cash: float, *,
    cash_buffer: float, fractional: bool,
) -> tuple[list[Wanted], dict[str, float]]:  # fmt: skip
    """What is wanted, sized anew where something is held that cannot be sold: the others share the rest of the value.

    Args:
        assets: of everything that is held, wanted or decided on.

    Returns:
        The orders, and by symbol the part of its weight that a name gets (of a buy that no decision asked for: of its
        amount); empty = nothing had to be cut.
    """
    stuck = {s for s in assets_of(asked, holdings) if why_untradable(s, assets, day.why_not) or s in day.stale}
    if not any(holdings.get(symbol) for symbol in stuck):
        return list(asked.wanted), {}
    if asked.target is None:
        return _scaled_buys(asked.wanted, stuck, cash)
    names = assets_of(asked, holdings)
    weights = asked.target.reindex(names, fill_value=0.0).to_numpy(dtype=float)
    held = np.array([float(holdings.get(name, ZERO)) for name in names])
    prices = day.closes.reindex(names).to_numpy(dtype=float)
    possible = np.array([name not in stuck for name in names])
    worth = np.where(held == 0, 0.0, held * prices) / asked.value
    share = share_to_order(weights, worth, 1.0, possible, cash_buffer)
    if share >= 1.0:
        return list(asked.wanted), {}
    aimed = np.where(possible, weights * share, 0.0)
    lots = 1.0 if day.lots is None else day.lots.reindex(names).fillna(1.0)
    targets = target_shares(aimed, prices, asked.value, cash_buffer=cash_buffer, fractional=fractional, lots=lots)
    change = dict(zip(names, missing_shares(targets, held).tolist(), strict=True))
    reasons = {want.symbol: want.reason for want in asked.wanted}
    wanted = [
        Wanted(name, change[name], float(price), reasons.get(name, "rebalance"))
        for name, price in zip(names, prices, strict=True)
        if name not in stuck and change[name]
    ]
    left = [want for want in asked.wanted if want.symbol in stuck]  # to be named by ``shape``
    cut = {name: share for name, weight in zip(names, aimed.tolist(), strict=True) if weight}
    return [*left, *wanted], cut


def assets_of(asked: Asked, holdings: Mapping[str, Decimal]) -> list[str]:
    """Every symbol that is held, wanted or decided on, or could not be wanted."""
    target = [] if asked.target is None else [str(name) for name in asked.target.index[asked.target != 0]]
    return sorted({*(want.symbol for want in asked.wanted), *asked.reasons, *holdings, *target})


def _scaled_buys(
    wanted: Sequence[Wanted], stuck: Collection[str], cash: float
) -> tuple[list[Wanted], dict[str, float]]:
    """Buys, each cut by the same part where cash and sales do not pay for all of them."""
    alive = [want for want in wanted if want.symbol not in stuck]
    money = cash - sum(want.amount * want.price for want in alive if want.amount < 0)
    needed = sum(want.amount * want.price for want in alive if want.amount > 0)
    if needed <= money:
        return list(wanted), {}
    buys = {want.symbol for want in alive if want.amount > 0}
    part = max(money, 0.0) / needed
    cut = [replace(want, amount=want.amount * part) if want.symbol in buys else want for want in wanted]
    return cut, dict.fromkeys(buys, part)


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
