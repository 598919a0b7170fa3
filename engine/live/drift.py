"""The daily line: what the account is worth beside the backtest's, and what sets them apart, in money and by cause.

The model is the account that the backtest has: it sizes every decision by its own value, fills it in full at the
market's open, re-invests dividends (in whole shares: is paid them), earns interest on its cash, and pays no costs. The
account's difference to it is kept by cause, see ``engine.live.books``. What the venue states and no cause accounts for
is stated as unexplained.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pandas as pd

from clusterfolio.engine.live.books import Prices, Standing
from clusterfolio.engine.live.journal import Journal
from clusterfolio.engine.live.planner import Day
from clusterfolio.engine.live.records import Intent, Plan
from clusterfolio.engine.live.venue import ZERO, Account, Activity, ActivityKind
from clusterfolio.strategies.orders import target_shares

#: Below this share of a position a difference is one of rounding.
ROUNDED = Decimal("1e-6")


#: Shares aimed at, by symbol and by book: "" is the model's, the others are the causes'.
Targets = dict[str, dict[str, Decimal]]


@dataclass(frozen=True)
class Sizing:
    """How weights become shares: as the Strategy is told."""

    cash_buffer: float
    fractional: bool


@dataclass(frozen=True)
class Move:
    """A decision that the model fills at the open of a session.

    Attributes:
        weights: by symbol; of all that is held where ``whole``, else of the names that are aimed at anew.
    """

    session: dt.date
    weights: Mapping[str, float]
    whole: bool


@dataclass(frozen=True)
class Filled:
    """What the account traded in one name on a session: signed shares, what was paid for them, and costs."""

    amount: Decimal
    paid: Decimal
    fee: Decimal


def standing(journal: Journal, day: dt.date, account: Account) -> Standing:
    """After the last line; before the first one the model is the account."""
    plain = journal.state("model")
    if plain is None:
        return Standing.new(day, account.cash, journal.holdings(), journal.n_activities())
    return Standing.of(plain)


def day_line(journal: Journal, day: Day, account: Account, sizing: Sizing) -> tuple[dict[str, Any], Standing]:
    """The line of a close, and where model and account stand after it.

    Args:
        account: now, all fills of the session in it.
    """
    now = standing(journal, day.date, account)
    before, begun = now.apart(), now.day
    activities = journal.activities(after=now.heard)
    _restate(now, activities)
    sizes = [_sized(now, move, day, sizing) for move in _moves(journal, now.day, day.date)]
    plans = [plan for plan in journal.plans(since=begun) if plan.session <= day.date]
    intents = [intent for intent in journal.intents(since=begun) if intent.session <= day.date]
    fees = journal.fees(begun)
    sessions = [moment for moment in day.bars["close"].index if begun < moment.date() <= day.date]
    for moment in sessions:
        session, last = moment.date(), moment is sessions[-1]
        paid = [a for a in activities if a.day <= session or last]
        activities = [a for a in activities if a not in paid]
        coming = [size for at, size in sizes if at >= session]
        _pay(now, coming, day, moment, paid, sizing)
        filled = _filled([i for i in intents if i.session == session], fees)
        wanted = [size for at, size in sizes if at == session]
        _trade(now, {**{s: {} for s in filled}, **(wanted[0] if wanted else {})}, filled,
               [p for p in plans if p.session == session], day, moment)  # fmt: skip
    now.closes = _prices(day, day.panel.dates[-1])
    _check(now, journal.holdings(), account.cash)
    now.day, now.heard = day.date, journal.n_activities()
    held = {*now.symbols(), *journal.holdings()}
    now.closes = {symbol: price for symbol, price in now.closes.items() if symbol in held}
    return _line(now, before, intents), now


def _line(now: Standing, before: Mapping[str, Decimal], intents: list[Intent]) -> dict[str, Any]:
    apart, model = now.apart(), now.model.value(now.closes)
    drift, drifted = sum(apart.values(), ZERO), sum(before.values(), ZERO)
    weights = {s: now.model.shares.get(s, ZERO) * now.closes.get(s, ZERO) / model for s in now.skipped}
    return {
        "day": str(now.day), "account": _money(model + drift), "model": _money(model), "drift": _money(drift),
        "change": _money(drift - drifted),
        "causes": {name: _money(amount - before[name]) for name, amount in apart.items()},
        "so_far": {name: _money(amount) for name, amount in apart.items()},
        "quantities": {s: {name: _money(worth) for name, worth in by.items()} for s, by in now.quantities().items()},
        "skipped": {s: float(round(weight, 6)) for s, weight in weights.items()},
        "orders": len(intents), "filled": sum(i.filled == i.quantity for i in intents),
    }  # fmt: skip


def _money(amount: Decimal) -> float:
    """To the hundredth of a cent, so that sums of a line are good to the cent."""
    return float(round(amount, 4))


# What was decided


def _moves(journal: Journal, after: dt.date, until: dt.date) -> Iterator[Move]:
    """What the model fills on the sessions after a day: decisions, what a guard asked for, and a person's flatten."""
    for _, facts in journal.decisions(after - dt.timedelta(days=14)):
        session = dt.date.fromisoformat(facts["session"])
        if after < session <= until:
            yield Move(session, facts["weights"], True)
    for plan in journal.plans(since=after):
        if plan.session <= until and "aimed" in plan.facts:
            yield Move(plan.session, plan.facts["aimed"], False)


def _sized(now: Standing, move: Move, day: Day, sizing: Sizing) -> tuple[dt.date, Targets]:
    """The shares that the model and each cause aim at: by what each is worth."""
    closes = _prices(day, pd.Timestamp(now.day))
    names = [*move.weights, *(s for s in now.symbols() if s not in move.weights and move.whole)]
    weights = pd.Series([move.weights.get(s, 0.0) for s in names], names, dtype=float)
    prices = pd.Series([float(closes.get(s, ZERO)) for s in names], names)
    weights = weights[(weights == 0) | (prices > 0)]
    prices = prices[weights.index]
    lots = 1.0 if day.lots is None else day.lots.reindex(weights.index).fillna(1.0)

    def shares(value: Decimal, fractional: bool) -> list[float]:
        return target_shares(weights, prices, float(value), cash_buffer=sizing.cash_buffer, fractional=fractional,
                             lots=lots).tolist()  # fmt: skip

    books = {"": shares(now.model.value(closes), sizing.fractional)}
    books |= {name: shares(book.value(closes), True) for name, book in now.causes.items()}
    return move.session, {
        symbol: {name: Decimal(repr(targets[row])) for name, targets in books.items()}
        for row, symbol in enumerate(weights.index)
    }


# A session


def _restate(now: Standing, activities: list[Activity]) -> None:
    """Splits and renames that were heard of: everything on the shares and under the names of after."""
    for activity in activities:
        old, new, ratio = activity.symbol, activity.other or activity.symbol, activity.ratio or Decimal(1)
        if activity.kind is ActivityKind.SPLIT:
            for book in now.books():
                book.turn(lambda s, n, old=old, ratio=ratio: (s, n * ratio if s == old else n))
            now.closes = {s: price / ratio if s == old else price for s, price in now.closes.items()}
        if activity.kind is ActivityKind.RENAME:
            for book in now.books():
                book.turn(lambda s, n, old=old, new=new: (new if s == old else s, n))
            now.closes = {new if s == old else s: price for s, price in now.closes.items()}
            now.skipped = tuple(new if s == old else s for s in now.skipped)


def _pay(
    now: Standing, coming: list[Targets], day: Day, moment: pd.Timestamp, activities: list[Activity], sizing: Sizing
) -> None:
    """Interest and dividends before a session's fills: what all books are due, and what the account was paid."""
    rate = ZERO if day.interest is None else _decimal(day.interest.get(moment, 0.0))
    earned = rate * now.cash()  # by the account, if it were paid as the model is
    for book in now.books():
        book.cash *= 1 + rate
    now.causes["interest"].cash -= earned
    if day.dividends is not None:
        due, closes = day.dividends.loc[moment], _prices(day, moment)
        for symbol in due.index[due != 0]:
            if sizing.fractional:
                _reinvest(now, coming, str(symbol), _decimal(due[symbol]) / closes[str(symbol)])
            else:
                _pay_out(now, str(symbol), _decimal(due[symbol]))
    for activity in activities:
        kinds = {ActivityKind.DIVIDEND: "dividends", ActivityKind.INTEREST: "interest"}
        book = now.causes[kinds.get(activity.kind, "other payments")]
        book.cash += activity.cash
        if activity.quantity and activity.kind is not ActivityKind.SPLIT:
            book.move(activity.symbol, activity.quantity)


def _pay_out(now: Standing, symbol: str, each: Decimal) -> None:
    """A dividend in cash, of which the account's is told by the venue."""
    owed = now.held(symbol) * each
    for book in now.books():
        book.cash += book.shares.get(symbol, ZERO) * each
    now.causes["dividends"].cash -= owed


def _reinvest(now: Standing, coming: list[Targets], symbol: str, part: Decimal) -> None:
    """A dividend in shares, which the account does not get; it makes units that are aimed at more shares too, and an
    order of the account, which is in shares, stays what it is.
    """
    grown = now.held(symbol) * part
    for book in now.books():
        book.move(symbol, book.shares.get(symbol, ZERO) * part)
    now.causes["dividends"].move(symbol, -grown)
    for targets in (found[symbol] for found in coming if symbol in found):
        whole = sum(targets.values(), ZERO)
        targets.update({name: target * (1 + part) for name, target in targets.items()})
        targets["dividends"] -= whole * part


def _filled(intents: list[Intent], fees: Mapping[str, Decimal]) -> dict[str, Filled]:
    found = {}
    for symbol in dict.fromkeys(intent.symbol for intent in intents):
        legs = [intent for intent in intents if intent.symbol == symbol]
        found[symbol] = Filled(
            sum((i.filled * i.side.sign for i in legs), ZERO),
            sum((i.filled * i.side.sign * (i.average or i.price) for i in legs), ZERO),
            sum((fees.get(i.client_id, ZERO) for i in legs), ZERO),
        )
    return found


def _trade(
    now: Standing, targets: Targets, filled: Mapping[str, Filled], plans: list[Plan],
    day: Day, moment: pd.Timestamp,
) -> None:  # fmt: skip
    """All books reach their targets at the session's opens; what the account did otherwise is its cause's."""
    opens, closes = _opens(day, moment), _prices(day, moment)
    for symbol in sorted(targets):
        own = filled.get(symbol, Filled(ZERO, ZERO, ZERO))
        price = opens.get(symbol) or (own.paid / own.amount if own.amount else closes.get(symbol, ZERO))
        meant = ZERO
        for name, target in targets[symbol].items():
            book = now.causes[name] if name else now.model
            amount = target - book.shares.get(symbol, ZERO)
            book.move(symbol, amount, price)
            meant += amount
        cause = _cause(symbol, own.amount - meant, meant, plans)
        now.causes[cause].move(symbol, own.amount - meant, price)
        now.causes["price"].cash -= own.paid - own.amount * price
        now.causes["costs"].cash -= own.fee
        if own.amount != meant and any(symbol in plan.skipped for plan in plans):
            now.skipped = tuple(sorted({*now.skipped, symbol}))
        elif targets[symbol]:
            now.skipped = tuple(s for s in now.skipped if s != symbol)


def _cause(symbol: str, apart: Decimal, meant: Decimal, plans: list[Plan]) -> str:
    """Why the account did not trade what was meant."""
    if any(symbol in plan.skipped for plan in plans):
        return "skipped names"
    if any(symbol in plan.residue or plan.status == "open" for plan in plans):
        return "partial fills"
    if any(symbol in plan.facts.get("cut", {}) for plan in plans):
        return "skipped names"
    return "rounding" if abs(apart) <= max(Decimal(1), abs(meant) * ROUNDED) else "partial fills"


def _check(now: Standing, holdings: Mapping[str, Decimal], cash: Decimal) -> None:
    """What venue and journal have beyond all of this is unexplained."""
    rest = now.causes["unexplained"]
    rest.cash += cash - now.cash()
    for symbol in {*holdings, *now.symbols()}:
        rest.move(symbol, holdings.get(symbol, ZERO) - now.held(symbol))


# Prices, on the last day's share basis


def _prices(day: Day, moment: pd.Timestamp) -> Prices:
    """The last closes up to a day."""
    closes = day.bars["close"].loc[:moment]
    if closes.empty:
        return {}
    row = closes.ffill().iloc[-1]
    return {str(name): _decimal(price) for name, price in row[row.notna()].items()}


def _opens(day: Day, moment: pd.Timestamp) -> Prices:
    row = day.bars["open"].loc[moment]
    return {str(name): _decimal(price) for name, price in row[row.notna()].items()}


def _decimal(number: float) -> Decimal:
    return Decimal(repr(float(number)))
