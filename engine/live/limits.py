"""Limits before trade: what no plan may exceed, whatever decided it, and the kill file.

Every limit is inclusive: a plan that reaches it exactly passes. What breaks one is not sent, not in part either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path

from clusterfolio.engine.live.records import Intent
from clusterfolio.engine.live.venue import ZERO, Side


@dataclass(frozen=True)
class Limits:
    """What a plan may be at most; fractions are of the account's value.

    Attributes:
        max_orders: orders of one plan.
        max_order: value of one order.
        max_position: value of one position after the plan.
        max_invested: value of all positions after the plan.
        max_turnover: value of all orders, buys and sales together.
        max_untradable: weight that the venue cannot trade.
        max_stale: share of the symbols without a bar of the day from which on nothing is rebalanced; one symbol alone
            is only skipped.
        max_gap: how far a price that sized an order may be from the venue's last one, where it states one.
        min_value: of the account, in its currency.
    """

    max_orders: int = 1000
    max_order: float = 0.5
    max_position: float = 0.5
    max_invested: float = 1.0
    max_turnover: float = 2.5
    max_untradable: float = 0.25
    max_stale: float = 0.05
    max_gap: float = 0.25
    min_value: float = 100.0

    def __post_init__(self):
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"limits.{item.name}: got {value!r}, expected a number of at least 0")


def too_stale(n_stale: int, n_symbols: int, limits: Limits) -> bool:
    """Whether so many symbols lack the day's bar that nothing is to be rebalanced.

    >>> [too_stale(n, 100, Limits()) for n in (1, 4, 5)], too_stale(1, 10, Limits())
    ([False, False, True], False)
    """
    return n_stale > 1 and n_stale >= limits.max_stale * n_symbols


def broken(
    intents: Sequence[Intent],
    targets: Mapping[str, Decimal],
    holdings: Mapping[str, Decimal],
    prices: Mapping[str, Decimal],
    venue_prices: Mapping[str, Decimal],
    value: Decimal,
    untradable: float,
    limits: Limits,
) -> list[str]:
    """The limits that a plan breaks, in words that name the limit; empty = it may be sent.

    Args:
        intents: the plan's orders.
        targets: shares after it, of the names it changes; ``holdings`` are those before.
        prices: what it was sized by, also of names that are held and left alone, in the account's currency.
        venue_prices: the venue's last, where it states one.
        value: of the account.
        untradable: weight that the venue cannot trade.
    """
    if not value.is_finite() or value < Decimal(repr(limits.min_value)):
        return [f"min_value: the account is worth {value:,.2f}, less than {limits.min_value:,.2f}"]
    found = []

    def check(name: str, what: str, amount: Decimal) -> None:
        allowed = getattr(limits, name)
        if amount > Decimal(repr(allowed)) * value:
            found.append(f"{name}: {what} is {amount / value:.2%} of the account, more than {allowed:.2%}")

    if len(intents) > limits.max_orders:
        found.append(f"max_orders: {len(intents)} orders, more than {limits.max_orders}")
    for intent in intents:
        check("max_order", f"the order to {intent.side} {intent.symbol}", intent.quantity * intent.price)
        theirs = venue_prices.get(intent.symbol)
        if theirs and abs(intent.price / theirs - 1) > Decimal(repr(limits.max_gap)):
            found.append(
                f"max_gap: {intent.symbol} was sized at {intent.price}, the venue's last price is {theirs}: more than "
                f"{limits.max_gap:.0%} apart"
            )
    after = {**holdings, **targets}
    worth = {name: quantity * prices[name] for name, quantity in after.items() if quantity and name in prices}
    for name in sorted(set(targets) & set(worth)):
        if targets[name] > holdings.get(name, ZERO):
            check("max_position", f"the position in {name}", worth[name])
    check("max_turnover", "the value of all orders", sum((i.quantity * i.price for i in intents), ZERO))
    if any(intent.side is Side.BUY for intent in intents):
        check("max_invested", "the value of all positions", sum(worth.values(), ZERO))
    if untradable > limits.max_untradable:
        found.append(
            f"max_untradable: the venue cannot trade {untradable:.2%} of the account, more than "
            f"{limits.max_untradable:.2%}"
        )
    short = sorted(name for name, quantity in targets.items() if quantity < 0)
    oversold = [i.symbol for i in intents if i.side is Side.SELL and i.quantity > holdings.get(i.symbol, ZERO)]
    found += [f"never short: {name} would be sold beyond what is held" for name in dict.fromkeys([*short, *oversold])]
    return [text.replace("%", " %") for text in found]


def killed(kill_file: Path) -> bool:
    """Whether the kill file is there; looked for before every single order."""
    return kill_file.exists()
