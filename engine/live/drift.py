"""The daily line: the account beside a model of it, and what sets them apart, in money and by cause.

The model holds what the Strategy wanted, bought and sold in full at the market's open of the planned session, without
costs; dividends are paid to it. Between two closes ``p`` and ``c`` with the open ``o`` between them, an asset of which
the account has ``A`` shares and fills ``a`` at ``f``, and the model ``M`` and fills ``m``, sets them apart by

    (A - M) (c - p)  -  a (f - o)  +  (a - m) (c - o)

the first and last for what was not filled (or is rounded, or skipped), the second for the price. With costs, dividends
and whatever else was paid, that is the whole of the difference; what is not is stated as unexplained.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pandas as pd

from clusterfolio.engine.live.journal import Journal
from clusterfolio.engine.live.planner import Day
from clusterfolio.engine.live.records import Intent, Plan
from clusterfolio.engine.live.venue import ZERO, Account, Activity, ActivityKind

#: Causes, in the order in which they are shown.
CAUSES = ("price", "partial fills", "skipped names", "rounding", "costs", "dividends", "other payments", "unexplained")

#: Below this share of a position a difference is one of rounding.
ROUNDED = Decimal("1e-6")


@dataclass(frozen=True)
class Model:
    """The model's account after a close, and the account's beside it.

    Attributes:
        closes: what both were valued at.
        causes: why the account's shares differ from the model's, by symbol.
        heard: how many activities of the journal are in it; one may be told of days after its date.
    """

    day: dt.date
    cash: Decimal
    shares: Mapping[str, Decimal]
    held: Mapping[str, Decimal]
    account_cash: Decimal
    closes: Mapping[str, Decimal]
    causes: Mapping[str, str]
    heard: int

    @classmethod
    def of(cls, journal: Journal, day: dt.date, account: Account) -> Model:
        """As the journal has it; before the first line it is the account itself."""
        plain = journal.state("model")
        if plain is None:
            held = journal.holdings()
            return cls(day, account.cash, held, held, account.cash, {}, {}, journal.n_activities())
        numbers = {
            key: {name: Decimal(text) for name, text in plain[key].items()} for key in ("shares", "held", "closes")
        }
        return cls(
            dt.date.fromisoformat(plain["day"]), Decimal(plain["cash"]), account_cash=Decimal(plain["account_cash"]),
            causes=plain["causes"], heard=plain["heard"], **numbers,
        )  # fmt: skip

    def plain(self) -> dict[str, Any]:
        """As ``of`` takes it back."""
        texts = {
            key: {name: str(number) for name, number in getattr(self, key).items()}
            for key in ("shares", "held", "closes")
        }
        return {"day": str(self.day), "cash": str(self.cash), "account_cash": str(self.account_cash),
                "causes": dict(self.causes), "heard": self.heard} | texts  # fmt: skip

    def value(self) -> Decimal:
        """Of the model."""
        return self.cash + sum((n * self.closes.get(s, ZERO) for s, n in self.shares.items()), ZERO)

    def account_value(self) -> Decimal:
        """Of the account, at the same closes."""
        return self.account_cash + sum((n * self.closes.get(s, ZERO) for s, n in self.held.items()), ZERO)


def day_line(journal: Journal, before: Model, day: Day, account: Account) -> tuple[dict[str, Any], Model]:
    """The line of a close, and the model after it.

    Args:
        before: after the line before.
        account: now, all fills of the session in it.
    """
    intents = [i for i in journal.intents(since=before.day) if i.session <= day.date]
    plans = [p for p in journal.plans(since=before.day) if p.session <= day.date]
    activities = journal.activities(after=before.heard)
    before = _renamed(before, activities)
    fees = journal.fees(before.day)
    causes = dict.fromkeys(CAUSES, ZERO)
    model, old = _dividends(before, day, activities, causes), _prices(day)
    model = _split(model, activities)
    for plan in plans:
        own = [i for i in intents if i.plan == plan.key]
        model = _fills(model, plan, own, _opens(day, plan.session), old, causes)
    causes["costs"] -= sum((fees.get(i.client_id, ZERO) for i in intents), ZERO)
    for symbol, shares in before.held.items():
        ratio = _ratio(activities, symbol)
        apart = shares * ratio - before.shares.get(symbol, ZERO) * ratio
        move = old.get(symbol, ZERO) - before.closes.get(symbol, ZERO) / ratio
        causes[before.causes.get(symbol, "rounding")] += apart * move
    for symbol in set(before.shares) - set(before.held):
        ratio = _ratio(activities, symbol)
        move = old.get(symbol, ZERO) - before.closes.get(symbol, ZERO) / ratio
        causes[before.causes.get(symbol, "rounding")] -= before.shares[symbol] * ratio * move
    after = replace(
        model, day=day.date, held=journal.holdings(), account_cash=account.cash, heard=journal.n_activities(),
        closes={s: old[s] for s in {*model.shares, *journal.holdings()} if s in old},
    )  # fmt: skip
    drift, drifted = after.account_value() - after.value(), before.account_value() - before.value()
    causes["unexplained"] = drift - drifted - sum(causes.values(), ZERO)
    line = {
        "day": str(day.date), "account": _money(after.account_value()), "model": _money(after.value()),
        "drift": _money(drift), "change": _money(drift - drifted),
        "causes": {name: _money(amount) for name, amount in causes.items()},
        "skipped": _skipped(after),
        "orders": len(intents), "filled": sum(i.filled == i.quantity for i in intents),
    }  # fmt: skip
    return line, after


def _skipped(model: Model) -> dict[str, float]:
    """Names that the model holds otherwise than the account because they were skipped, with the model's weight."""
    value = model.value()
    names = [s for s, why in model.causes.items() if why == "skipped names"]
    apart = [s for s in names if model.shares.get(s, ZERO) != model.held.get(s, ZERO)]
    return {s: float(round(model.shares.get(s, ZERO) * model.closes.get(s, ZERO) / value, 6)) for s in sorted(apart)}


def _money(amount: Decimal) -> float:
    """To the hundredth of a cent, so that sums of a line are good to the cent."""
    return float(round(amount, 4))


def _ratio(activities: list[Activity], symbol: str) -> Decimal:
    found = Decimal(1)
    for activity in activities:
        if activity.kind is ActivityKind.SPLIT and activity.symbol == symbol and activity.ratio:
            found *= activity.ratio
    return found


def _renamed(model: Model, activities: list[Activity]) -> Model:
    """The same under the names of after."""
    for activity in activities:
        if activity.kind is ActivityKind.RENAME and activity.other:
            names = {activity.symbol: activity.other}
            moved = {
                key: {names.get(name, name): value for name, value in getattr(model, key).items()}
                for key in ("shares", "held", "closes", "causes")
            }
            model = replace(model, **moved)
    return model


def _split(model: Model, activities: list[Activity]) -> Model:
    """A split is the model's too."""
    return replace(model, shares={name: number * _ratio(activities, name) for name, number in model.shares.items()})


def _dividends(model: Model, day: Day, activities: list[Activity], causes: dict[str, Decimal]) -> Model:
    """What was paid, per share of before a split: to the account by the venue, to the model as the source states it, or
    else as the venue did; noted in ``causes``.
    """
    paid: dict[str, Decimal] = {}
    for activity in activities:
        if activity.kind is ActivityKind.DIVIDEND:
            paid[activity.symbol] = paid.get(activity.symbol, ZERO) + activity.cash
        else:
            causes["other payments"] += activity.cash
            if activity.kind not in (ActivityKind.SPLIT, ActivityKind.RENAME) and activity.quantity:
                causes["other payments"] += activity.quantity * _prices(day).get(activity.symbol, ZERO)
    due = {str(s): Decimal(repr(float(d))) for s, d in (day.dividends or {}).items() if d}
    for symbol, cash in paid.items():
        held = model.held.get(symbol, ZERO)
        if symbol not in due and held:
            due[symbol] = cash / held
    owed = sum((model.shares.get(symbol, ZERO) * per_share for symbol, per_share in due.items()), ZERO)
    causes["dividends"] += sum(paid.values(), ZERO) - owed
    return replace(model, cash=model.cash + owed)


def _fills(
    model: Model, plan: Plan, intents: list[Intent], opens: Mapping[str, Decimal], closes: Mapping[str, Decimal],
    causes: dict[str, Decimal],
) -> Model:  # fmt: skip
    """A plan's session: the model reaches what was wanted at the open, the account what it could (see ``causes``)."""
    shares, why, cash = dict(model.shares), dict(model.causes), model.cash
    wanted = plan.facts.get("wanted", {})
    splits = plan.facts.get("splits", {})
    for symbol in {*wanted, *(i.symbol for i in intents)}:
        legs = [i for i in intents if i.symbol == symbol]
        filled = sum((i.filled * i.side.sign for i in legs), ZERO)
        paid = sum((i.filled * i.side.sign * (i.average or i.price) for i in legs), ZERO)
        start = opens.get(symbol) or (paid / filled if filled else closes.get(symbol, ZERO))
        ratio = Decimal(splits.get(symbol, "1"))
        before = Decimal(plan.facts.get("held", {}).get(symbol, "0"))
        target = (before + Decimal(repr(wanted[symbol]))) * ratio if symbol in wanted else plan.targets[symbol]
        order = target - shares.get(symbol, ZERO)
        cash -= order * start
        shares[symbol] = target
        apart = filled - order
        if symbol in plan.skipped:
            why[symbol] = "skipped names"
        else:
            why[symbol] = "rounding" if abs(apart) <= max(Decimal(1), abs(order) * ROUNDED) else "partial fills"
            if symbol in plan.residue:
                why[symbol] = "partial fills"
        causes["price"] -= paid - filled * start
        causes[why[symbol]] += apart * (closes.get(symbol, ZERO) - start)
    return replace(model, cash=cash, shares={s: n for s, n in shares.items() if n}, causes=why)


def _prices(day: Day) -> dict[str, Decimal]:
    closes = day.closes
    return {str(name): Decimal(repr(float(price))) for name, price in closes[closes.notna()].items()}


def _opens(day: Day, session: dt.date) -> dict[str, Decimal]:
    opens = day.bars["open"]
    if pd.Timestamp(session) not in opens.index:
        return {}
    row = opens.loc[pd.Timestamp(session)]
    return {str(name): Decimal(repr(float(price))) for name, price in row[row.notna()].items()}
