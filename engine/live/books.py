"""The model's account, and what each cause has set the paper account apart from it by: cash and shares for each.

The paper account is the model's plus those of all causes, share by share and to the last digit. What the model does to
its own shares (dividends re-invested, interest, a new size at a decision) it does to every cause's too, as all of it is
in proportion to what an account is worth; what the paper account did otherwise goes to the cause of it. So a difference
in quantities is a sum over causes, and so is every profit that came of it since.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from clusterfolio.engine.live.venue import ZERO

#: Causes, in the order in which they are shown.
CAUSES = ("price", "partial fills", "skipped names", "rounding", "costs", "dividends", "interest", "other payments",
          "unexplained")  # fmt: skip

Prices = Mapping[str, Decimal]


@dataclass
class Book:
    """Cash and signed shares by symbol."""

    cash: Decimal = ZERO
    shares: dict[str, Decimal] = field(default_factory=dict)

    def move(self, symbol: str, amount: Decimal, price: Decimal = ZERO) -> None:
        """Take shares on, and pay for them."""
        self.shares[symbol] = self.shares.get(symbol, ZERO) + amount
        self.cash -= amount * price
        if not self.shares[symbol]:
            del self.shares[symbol]

    def value(self, prices: Prices) -> Decimal:
        """At these prices; a symbol without one is worth nothing."""
        return self.cash + sum((n * prices.get(s, ZERO) for s, n in self.shares.items()), ZERO)

    def turn(self, change: Callable[[str, Decimal], tuple[str, Decimal]]) -> None:
        """Other names and numbers of shares: of splits, renames and dividends re-invested."""
        self.shares = {s: n for s, n in (change(s, n) for s, n in self.shares.items()) if n}


@dataclass
class Standing:
    """Where model and account stand after a close.

    Attributes:
        model: what the backtest would hold.
        causes: what each has set the account apart by.
        closes: what both were valued at.
        skipped: names that the account holds otherwise because they were not ordered.
        heard: how many activities of the journal are in it; one may be told of days after its date.
    """

    day: dt.date
    model: Book
    causes: dict[str, Book]
    closes: dict[str, Decimal]
    skipped: tuple[str, ...] = ()
    heard: int = 0

    @classmethod
    def new(cls, day: dt.date, cash: Decimal, shares: Mapping[str, Decimal], heard: int) -> Standing:
        """At the beginning the model is the account."""
        return cls(day, Book(cash, dict(shares)), {name: Book() for name in CAUSES}, {}, (), heard)

    def books(self) -> Iterator[Book]:
        """The model's and every cause's: together the account's."""
        yield self.model
        yield from self.causes.values()

    def cash(self) -> Decimal:
        """Of the account."""
        return sum((book.cash for book in self.books()), ZERO)

    def held(self, symbol: str) -> Decimal:
        """Shares of the account."""
        return sum((book.shares.get(symbol, ZERO) for book in self.books()), ZERO)

    def symbols(self) -> list[str]:
        """Every one of which model or account holds something."""
        return sorted({symbol for book in self.books() for symbol in book.shares})

    def apart(self) -> dict[str, Decimal]:
        """What each cause has come to, in money."""
        return {name: book.value(self.closes) for name, book in self.causes.items()}

    def quantities(self) -> dict[str, dict[str, Decimal]]:
        """By symbol, what the difference in shares is worth, by cause; without causes of less than half a cent."""
        found: dict[str, dict[str, Decimal]] = {}
        for name, book in self.causes.items():
            for symbol, number in book.shares.items():
                worth = number * self.closes.get(symbol, ZERO)
                if abs(worth) >= Decimal("0.005"):
                    found.setdefault(symbol, {})[name] = worth
        return dict(sorted(found.items()))

    def plain(self) -> dict[str, Any]:
        """As ``of`` takes it back."""
        return {
            "day": str(self.day), "model": _plain(self.model), "heard": self.heard, "skipped": list(self.skipped),
            "causes": {name: _plain(book) for name, book in self.causes.items()},
            "closes": {name: str(price) for name, price in self.closes.items()}, "account_cash": str(self.cash()),
        }  # fmt: skip

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Standing:
        """As ``plain`` gave it."""
        causes = {name: _book(book) for name, book in plain["causes"].items()}
        closes = {name: Decimal(text) for name, text in plain["closes"].items()}
        return cls(dt.date.fromisoformat(plain["day"]), _book(plain["model"]), causes, closes,
                   tuple(plain["skipped"]), plain["heard"])  # fmt: skip


def _plain(book: Book) -> dict[str, Any]:
    return {"cash": str(book.cash), "shares": {symbol: str(number) for symbol, number in book.shares.items()}}


def _book(plain: Mapping[str, Any]) -> Book:
    return Book(Decimal(plain["cash"]), {symbol: Decimal(text) for symbol, text in plain["shares"].items()})
