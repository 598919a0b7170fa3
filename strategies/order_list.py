"""From weights to an order list a person or a venue can act on: market prices, shares, pairs as they are quoted.

Returns are total returns, so a panel's prices are levels in which dividends are re-invested; nobody trades at those. An
order is priced and sized by the close that the source states, in the listing's currency and on its share basis.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from clusterfolio.feeds.currency import pair_of
from clusterfolio.feeds.panel import STOPPED_AFTER, Panel
from clusterfolio.strategies.orders import missing_shares, target_shares, whole_lots

#: Halvings of the sizes until orders and their costs fit the money; a double has 53 binary digits.
HALVINGS = 60

#: Columns of an order list.
COLUMNS = (
    "symbol", "side", "shares", "unit", "price", "currency", "rate", "value", "cost", "weight_now", "weight_target",
    "reason",
)  # fmt: skip

#: What orders cost and may be, by symbol: commission and half the spread, a part of the value traded; the impact of one
#: unit of money, which grows with its root; and money in one order at most.
CHARGES = ("rate", "impact", "most")

#: Columns of what cannot be ordered: the weight decided, why there is no order, and what is held of it: in ``unit``, as
#: a fraction of the account by its last close, and the day of that close.
REFUSED = ("symbol", "weight", "why", "held", "unit", "weight_now", "day")


def quotes_of(panel: Panel) -> pd.DataFrame:
    """What one share costs at the close of the panel's last day, by symbol.

    Columns ``price`` (the last close as stated, in the listing's currency) and ``currency``; ``rate``, the account's
    currency for one of it; ``each``, the account's currency for one share; ``day`` of the close; ``lot``, shares of
    which whole multiples are traded; ``unit``: "shares", or the currency of a pair's amounts; ``why_not``: why there
    can be no order, else empty.

    A panel without market prices (made by hand, or from a feed) has only its levels, and they count as such.
    """
    if panel.market is None or panel.rate is None:
        price, rate = panel.close.ffill().iloc[-1], pd.Series(1.0, panel.symbols)
        last = panel.close.notna()
    else:
        price, rate = panel.market.ffill().iloc[-1], panel.rate.ffill().iloc[-1]
        last = panel.market.notna()
    table = pd.DataFrame({"price": price, "currency": panel.assets["currency"].to_numpy(), "rate": rate})
    table["currency"] = table["currency"].where(table["currency"] != "", panel.currency)
    table["each"] = table["price"] * table["rate"]
    table["day"] = _last_days(last)
    table["lot"] = panel.assets["lot"].to_numpy(dtype=float)
    table["unit"], table["why_not"] = "shares", ""
    for symbol in table.index[table["day"] < _last_days(panel.close.notna())]:  # it trades on, and no close is stated
        since = table.loc[symbol, "day"].date()
        table.loc[symbol, "why_not"] = f"no market price is stated since {since}, only adjusted ones"
    for symbol in table.index[(panel.bars_since_last() >= STOPPED_AFTER).to_numpy()]:
        table.loc[symbol, "why_not"] = f"it has not traded since {table.loc[symbol, 'day'].date()}"
    table.loc[~(table["price"] > 0), "why_not"] = "no market price is stated, only an adjusted one"
    for symbol in panel.symbols:
        pair = pair_of(symbol)
        if pair is not None and panel.market is not None:
            _quote_pair(table, symbol, pair, panel.currency)
    return table


def _last_days(known: pd.DataFrame) -> pd.DatetimeIndex:
    """The last day on which each column is known; the first day of all where it never is."""
    return known.index[(len(known) - 1 - known.to_numpy()[::-1].argmax(axis=0)) * known.to_numpy().any(axis=0)]


def _quote_pair(table: pd.DataFrame, symbol: str, pair: tuple[str, str], account: str) -> None:
    """A pair's row: an asset of the account is the currency that is not the account's."""
    base, quote = pair
    price = table.loc[symbol, "price"]
    if quote == account:
        table.loc[symbol, ["currency", "rate", "unit", "each"]] = [quote, 1.0, base, price]
    elif base == account:
        table.loc[symbol, ["currency", "rate", "unit", "each"]] = [quote, 1.0 / price, quote, 1.0 / price]
    else:
        why = f"{base}/{quote} has no leg in {account}: its return is an index, not a holding"
        table.loc[symbol, ["currency", "rate", "why_not"]] = [quote, np.nan, why]


def order_list(
    target: pd.Series,
    held: pd.Series,
    quotes: pd.DataFrame,
    value: float,
    *,
    cash_buffer: float,
    fractional: bool,
    charges: pd.DataFrame | None = None,
    max_exposure: float = 1.0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Orders from what is held to the target weights, sells first; sized as the backtest sizes them.

    A pair is named as it is quoted, with side and amount of its base currency: to hold ringgit in an account in dollars
    is to sell USD/MYR.

    What is held and cannot be ordered stays: the other names share the rest of the value as their weights say. Buys
    never cost more than the cash and the sales bring, costs and what may be borrowed included.

    Args:
        target: fraction of the account's value by symbol.
        held: by symbol, in the units of ``quotes``: shares, or the foreign currency of a pair.
        quotes: ``quotes_of``.
        value: of the account, in its currency; the cash is what the holdings leave of it.
        charges: by symbol, columns ``CHARGES``; None = trading costs nothing, and all is ordered at once.
        max_exposure: how many times its value the account may hold; more than 1 = it borrows.

    Returns:
        The orders, columns ``COLUMNS``, and what cannot be ordered, columns ``REFUSED``.
    """
    names = sorted({*target.index, *held.index})
    rows = quotes.loc[names]
    weights, have = (series.reindex(names).fillna(0.0).to_numpy(dtype=float) for series in (target, held))
    possible = (rows["why_not"] == "").to_numpy()
    each = rows["each"].to_numpy(dtype=float)
    worth = np.where(have == 0, 0.0, have * each)
    charges = pd.DataFrame(columns=list(CHARGES)) if charges is None else charges
    known = charges.reindex(names).astype(float).fillna(dict(zip(CHARGES, (0.0, 0.0, np.inf), strict=True)))
    rate, impact, most = known[list(CHARGES)].to_numpy().T
    if not fractional:
        lots = whole_lots(np.where(np.isfinite(most), most, 0.0) / each, rows["lot"].to_numpy(dtype=float))
        most = np.where(np.isfinite(most), lots * each, most)

    def cost(traded: np.ndarray) -> np.ndarray:
        return traded * (rate + impact * np.sqrt(traded))

    share = share_to_order(weights, worth, value, possible, cash_buffer, cost, most, max_exposure)
    aimed = np.where(possible, weights, 0.0) * share
    wanted = target_shares(aimed, each, value, cash_buffer=cash_buffer, fractional=fractional,
                           lots=rows["lot"].to_numpy(dtype=float))  # fmt: skip
    change = np.where(possible, missing_shares(wanted, have), 0.0)
    change = np.where(possible, np.clip(change, -most / each, most / each), 0.0)
    traded = np.abs(change) * each
    table = pd.DataFrame(
        {
            "symbol": names,
            "side": np.where(change > 0, "buy", "sell"),
            "shares": np.abs(change),
            "unit": rows["unit"].to_numpy(),
            "price": rows["price"].to_numpy(dtype=float),
            "currency": rows["currency"].to_numpy(),
            "rate": rows["rate"].to_numpy(dtype=float),
            "value": traded,
            "cost": cost(traded),
            "weight_now": worth / value,
            "weight_target": aimed,
            "reason": [_reason(now, then) for now, then in zip(have, wanted, strict=True)],
        }
    )
    for at, name in enumerate(names):
        pair = pair_of(name)
        if pair is not None and rows["unit"].iloc[at] == pair[1]:  # held by selling the account's own currency
            table.loc[at, "side"] = "sell" if change[at] > 0 else "buy"
            table.loc[at, ["shares", "unit"]] = [traded[at], pair[0]]
    refused = pd.DataFrame(
        {
            "symbol": names, "weight": weights, "why": rows["why_not"].to_numpy(), "held": have,
            "unit": rows["unit"].to_numpy(), "weight_now": worth / value, "day": rows["day"].to_numpy(),
        },
        columns=list(REFUSED),
    )  # fmt: skip
    refused = refused[~possible & ((weights != 0) | (have != 0))].reset_index(drop=True)
    table = table[(change != 0)]
    first = np.argsort(np.where(change[change != 0] < 0, 0, 1), kind="stable")  # what frees money goes first
    return table.iloc[first].reset_index(drop=True)[list(COLUMNS)], refused


def share_to_order(
    weights: np.ndarray,
    worth: np.ndarray,
    value: float,
    possible: np.ndarray,
    cash_buffer: float,
    cost: Callable[[np.ndarray], np.ndarray] = np.zeros_like,
    most: np.ndarray | float = np.inf,
    max_exposure: float = 1.0,
) -> float:
    """Part of the decided weights for which there is money, at most 1.

    Where weight is held that cannot be ordered, the others keep their proportions, cash among them, in the rest.

    Args:
        weights: decided, fractions of the account's value; ``worth`` what is held now, in money.
        cost: of trading so much money of each name.
        most: money in an order at most.
    """
    held = worth / value
    rest, decided = max_exposure - held[~possible].sum(), max_exposure - weights[~possible].sum()
    share = min(1.0, rest / decided) if decided > 0 else 1.0

    def needed(part: float) -> float:
        after = np.where(possible, weights * part * (1.0 - cash_buffer) * value, worth)
        change = np.clip(after - worth, -most, most)
        return float((worth + change)[possible].sum() + cost(np.abs(change))[possible].sum()) / value

    if needed(share) <= rest:
        return share
    low, high = 0.0, share
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if needed(middle) <= rest else (low, middle)
    return low


def _reason(now: float, then: float) -> str:
    if now == 0:
        return "new"
    return "left" if then == 0 else "rebalance"
