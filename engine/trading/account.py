"""What an account did, whoever traded it: the plain tables by which a run of one's own is judged."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import PurePath

import numpy as np
import pandas as pd

from clusterfolio import ClusterfolioError

#: Columns of ``Account.transactions``; those after ``price`` may be left out where an account is stated by hand.
TRANSACTION_COLUMNS = ("date", "symbol", "amount", "price", "commission", "spread", "impact")

#: Columns of a frame of bars.
BAR_COLUMNS = ("open", "high", "low", "close", "volume")

#: How far the account's value may be from what its returns state before it counts as money paid in or out.
UNEXPLAINED = 1e-6
#: Share of days with such a difference from which on the tables do not belong together.
TOO_OFTEN = 0.2


class AccountError(ClusterfolioError, ValueError):
    """An account, or a run, that cannot be judged; the message says which table or argument, and why."""


@dataclass(frozen=True)
class Account:
    """What an account did, day by day; a recorder makes one, and so may you.

    Only the first four are needed. Index and dates are days; a time of day or a time zone is dropped.

    Attributes:
        returns: simple daily returns net of costs, ``(n_days,)``.
        positions: value of each position at the day's close by symbol (short ones negative) and ``cash`` (borrowed
            money negative), at the days of ``returns``; the sum of a row is the account's value. NaN = not held.
        transactions: a row per fill: ``date`` (a column or the index), ``symbol``, ``amount`` (signed), ``price``; and
            where known ``commission``, ``spread`` (what slippage cost) and ``impact``, in money.
        prices: closes by symbol, ``(n_days, n_symbols)``, or a frame of bars (columns ``open, high, low, close,
            volume``) for each symbol: every name that could have been held, and longer than ``returns`` if you like.
        name: of the strategy; with ``source`` and ``parameters`` it tells one trial from another.
        source: hash of the strategy's source, or a version.
        parameters: of the strategy, plain values.
        cheat_on_close: orders filled at the very close that they were decided on, and were booked the day after.
        notes: what a reader should know, in sentences.

    Raises:
        AccountError: tables that do not fit together; the message names the table and what is wrong.

    >>> days = pd.bdate_range("2024-01-01", periods=3)
    >>> prices = pd.DataFrame({"A": [10.0, 11.0, 12.1], "B": [10.0, 10.0, 10.0]}, days)
    >>> positions = pd.DataFrame({"A": [50.0, 55.0, 60.5], "cash": 50.0}, days)
    >>> bought = pd.DataFrame({"date": days[:1], "symbol": "A", "amount": 5.0, "price": 10.0})
    >>> Account(positions.sum(axis=1).pct_change().fillna(0.0), positions, bought, prices, name="mine").held
    ['A']
    """

    returns: pd.Series
    positions: pd.DataFrame
    transactions: pd.DataFrame
    prices: pd.DataFrame | Mapping[str, pd.DataFrame]
    name: str = "strategy"
    source: str = ""
    parameters: dict = field(default_factory=dict)
    cheat_on_close: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        _set(self, "returns", _by_day("returns", self.returns).astype(float))
        _set(self, "positions", _by_day("positions", self.positions).astype(float).fillna(0.0))
        _set(self, "transactions", _fills(self.transactions))
        _set(self, "prices", _bars(self.prices))
        self._check()

    @property
    def value(self) -> pd.Series:
        """The account's value at each close."""
        return self.positions.sum(axis=1)

    @property
    def held(self) -> list[str]:
        """Every symbol ever held or traded, sorted."""
        names = self.positions.columns[(self.positions != 0).any()]
        return sorted({*names, *self.transactions["symbol"]} - {"cash"})

    @property
    def paid_in(self) -> pd.Series:
        """Money paid in (or out, negative) on each day, as far as value and returns tell; 0 on the first."""
        value = self.value
        paid = value - value.shift(1) * (1 + self.returns)
        return paid.where(paid.abs() > UNEXPLAINED * value.shift(1).abs(), 0.0).fillna(0.0)

    def _check(self) -> None:
        if "cash" not in self.positions:
            raise AccountError(f"positions: got columns {list(self.positions.columns)[:5]}, expected one named 'cash'")
        if not self.positions.index.equals(self.returns.index):
            raise AccountError(
                f"positions: {len(self.positions)} days, returns: {len(self.returns)} days; expected the same days"
            )
        if len(self.returns) < 2 or not np.isfinite(self.returns).all() or (self.returns <= -1).any():
            raise AccountError("returns: expected at least two, all finite and above -1 (the loss of everything)")
        if (self.value <= 0).any():
            day = self.value.index[(self.value <= 0).argmax()]
            raise AccountError(f"positions: the account is worth {self.value[day]:,.2f} on {day.date()}; it was lost")
        unknown = [name for name in self.held if name not in self.prices]
        if unknown:
            raise AccountError(f"prices: none of {', '.join(unknown[:5])}, which the account held")
        often = float((self.paid_in != 0).mean())
        if often > TOO_OFTEN:
            raise AccountError(
                f"positions: on {often:.0%} of the days their sum moves by something else than returns state; are the "
                "returns net of costs, and the positions values (not shares) with the cash beside them?"
            )


#: A list of parameters longer than this is told by its hash.
LONGEST = 50


def plain(value) -> object:
    """A parameter as a plain value that is the same in every process.

    >>> plain({"fast": 10, "average": dict, "days": (1, None)})
    {'fast': 10, 'average': 'builtins.dict', 'days': [1, 'None']}
    """
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return plain(sorted(value, key=str))
    if isinstance(value, list | tuple | pd.Series | pd.Index | np.ndarray):
        items = [plain(item) for item in list(value)]
        return items if len(items) <= LONGEST else f"{len(items)} values, {hash_of(str(items))}"
    if value is None or isinstance(value, dt.date | dt.time | dt.timedelta | PurePath | Decimal | Enum):
        return str(value)
    kind = value if hasattr(value, "__qualname__") else type(value)  # the text of an object tells where it lies
    return f"{kind.__module__}.{kind.__qualname__}"


def hash_of(text: str) -> str:
    """SHA-256 of a text, sixteen hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def days_of(index: pd.Index, what: str) -> pd.DatetimeIndex:
    """An index as naive days; an error names ``what`` it is of."""
    try:
        days = pd.DatetimeIndex(index)
    except (TypeError, ValueError) as error:
        raise AccountError(f"{what}: its dates are no days: {error}") from error
    return (days.tz_localize(None) if days.tz is not None else days).normalize()


def _by_day(what: str, table):
    if not isinstance(table, pd.Series | pd.DataFrame):
        raise AccountError(f"{what}: got {type(table).__name__}, expected a pandas Series or DataFrame indexed by day")
    days = days_of(table.index, what)
    if not (days.is_monotonic_increasing and days.is_unique):
        twice = days[days.duplicated()]
        why = f"{twice[0].date()} is there twice" if len(twice) else "they do not increase"
        raise AccountError(f"{what}: expected one row a day, in order, but {why}")
    return table.set_axis(days.rename("date"))


def _fills(table: pd.DataFrame) -> pd.DataFrame:
    table = table if "date" in table else table.rename_axis("date").reset_index()
    missing = [name for name in TRANSACTION_COLUMNS[:4] if name not in table]
    if missing:
        raise AccountError(f"transactions: no column {missing[0]!r}; expected {', '.join(TRANSACTION_COLUMNS)}")
    known = {name: table.get(name, 0.0) for name in TRANSACTION_COLUMNS}
    fills = pd.DataFrame(known, index=table.index).reset_index(drop=True)
    fills["date"] = days_of(fills["date"], "transactions")
    numbers = [name for name in TRANSACTION_COLUMNS if name not in ("date", "symbol")]
    fills[numbers] = fills[numbers].astype(float)
    fills["symbol"] = fills["symbol"].astype(str)
    if not np.isfinite(fills[numbers].to_numpy()).all():
        raise AccountError("transactions: an amount, price or cost is not a finite number")
    return fills.sort_values("date", kind="stable", ignore_index=True)


def _bars(prices) -> dict[str, pd.DataFrame]:
    if isinstance(prices, pd.DataFrame):
        closes = _by_day("prices", prices).astype(float)
        prices = {str(name): pd.DataFrame({"close": closes[name]}) for name in closes}
    return {str(name): _with_all_columns(str(name), frame) for name, frame in prices.items()}


def _with_all_columns(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Bars of one name with a close, in order; an open, high or low that is not known is the close."""
    frame = _by_day(f"prices of {name}", frame.rename(columns=str.lower))
    if "close" not in frame:
        raise AccountError(f"prices of {name}: no column 'close'")
    bars = frame.reindex(columns=list(BAR_COLUMNS)).astype(float)
    bars = bars[np.isfinite(bars["close"])]
    if (bars["close"] <= 0).any():
        day = bars.index[(bars["close"] <= 0).argmax()]
        raise AccountError(f"prices of {name}: {bars['close'][day]} on {day.date()}; a return needs prices above 0")
    for column in ("open", "high", "low"):
        bars[column] = bars[column].where(bars[column] > 0, bars["close"])
    return bars


def _set(account: Account, name: str, value) -> None:
    object.__setattr__(account, name, value)
