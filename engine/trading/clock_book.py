"""The positions of an account on the shared clock: who holds what, and which positions count in the broker's sums."""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache

from backtrader import CommInfoBase, Position

_VALUATION = (
    "get_leverage",
    "get_margin",
    "getvalue",
    "getvaluesize",
    "profitandloss",
    "cashadjust",
    "get_credit_interest",
    "_get_credit_interest",
)


@cache
def values_like_stock(scheme: type) -> bool:
    """Whether a commission scheme leaves all valuation methods as backtrader has them."""
    return all(getattr(scheme, name) is getattr(CommInfoBase, name) for name in _VALUATION)


def _plain_position(state: dict) -> Position:
    position = Position.__new__(Position)
    position.__dict__.update(state)
    return position


class BookedPosition(Position):
    """A position that tells its book when it opens and when it becomes flat. Copies are plain positions."""

    price: float

    @classmethod
    def adopt(cls, position: Position, book: Book, data) -> BookedPosition:
        """Make a plain position a booked one; who holds it goes on holding the same object."""
        state = position.__dict__
        position.__class__ = cls
        position._size, position._dated = state.pop("size"), 0
        if "datetime" in state:
            position._datetime = state.pop("datetime")
        position._book, position.data, position.closes, position.rank = book, data, data.close, len(book)
        return position

    @property
    def size(self):
        """Signed shares held."""
        return self._size

    @size.setter
    def size(self, size):
        turned = (size != 0) != (self._size != 0)
        if turned and not size and self._book.credited > self._dated:
            self.datetime = self.datetime  # what it was while open
        self._size = size
        if turned:
            self._book.turned(self)

    @property
    def datetime(self):
        """Moment of the last trade or, while open, of the bar at which credit was last charged."""
        credited = self._book.credited
        if self._size and credited > self._dated:
            line = self.data.datetime
            return line.datetime(line._reached[credited] - line.idx)
        return self._datetime

    @datetime.setter
    def datetime(self, moment):
        self._datetime, self._dated = moment, self._book.credited

    def filled(self, size, price, opened, closed, moment) -> None:
        """What ``update`` leaves behind, once that is known."""
        turned = (size != 0) != (self._size != 0)
        self._datetime, self._dated = moment, self._book.credited
        self.price_orig, self.price = self.price, price
        self._size, self.upopened, self.upclosed = size, opened, closed
        if turned:
            self._book.turned(self)

    def __reduce_ex__(self, protocol):
        hidden = ("_size", "_dated", "_datetime", "_book", "data", "closes", "rank", "counts")
        state = {name: value for name, value in self.__dict__.items() if name not in hidden}
        state["size"] = self._size
        if hasattr(self, "datetime"):
            state["datetime"] = self.datetime
        return _plain_position, (state,)


class Book(defaultdict):
    """Positions by data feed, as the broker keeps them, and the list of those that count.

    Args:
        positions: pairs of data feed and position known so far.
        counts_flat: whether a flat position in a data feed has a part in the broker's sums.

    Attributes:
        held: positions that are open or count when flat, in the order in which the book first heard of them, which is
            the order of the stock broker's sums.
        credited: the clock's row at which credit was last charged.
    """

    def __init__(self, positions: Iterable, counts_flat: Callable):
        super().__init__(Position)
        self.held: list[BookedPosition] = []
        self.credited = 0
        self._counts_flat = counts_flat
        for data, position in positions:
            self._add(data, position)

    def __missing__(self, data):
        return self._add(data, Position())

    def _add(self, data, position: Position) -> BookedPosition:
        booked = self[data] = BookedPosition.adopt(position, self, data)
        booked.counts = bool(booked._size) or self._counts_flat(data)
        if booked.counts:
            self.held.append(booked)
        return booked

    def turned(self, position: BookedPosition) -> None:
        """``position`` has opened or become flat."""
        counts = bool(position._size) or self._counts_flat(position.data)
        if counts and not position.counts:
            insort(self.held, position, key=lambda other: other.rank)
        elif position.counts and not counts:
            self.held.remove(position)
        position.counts = counts

    def recount(self) -> None:
        """Which flat positions count has changed."""
        for position in self.values():
            self.turned(position)


class Schemes(dict):
    """Commission schemes by name, calling ``changed`` after each change."""

    def __init__(self, schemes: dict, changed: Callable):
        super().__init__(schemes)
        self._changed = changed

    def __setitem__(self, name, scheme):
        super().__setitem__(name, scheme)
        self._changed()
