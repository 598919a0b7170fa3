"""An account worked out anew, by nothing of ours: from its transactions, its payments, and the closes of the files."""

from __future__ import annotations

import pandas as pd


def replay(
    transactions: pd.DataFrame,
    payments: pd.DataFrame,
    closes: pd.DataFrame,
    rates: pd.DataFrame,
    capital: float,
    days: pd.DatetimeIndex,
) -> pd.Series:
    """Value of the account at the close of each day.

    Args:
        transactions: ``date, symbol, amount, price, rate`` and the costs of every row; those that are no trades
            bear no money.
        payments: ``date, amount`` of what was paid into the cash.
        closes: as the files state them, by symbol, in the currency of the file; ``rates``: what one of it is worth.
    """
    no_trades = ("dividend re-invested", "split", "adjusted close restated")
    traded = ~transactions["reason"].isin(no_trades)
    spent = transactions["amount"] * transactions["price"] * transactions["rate"]
    spent = (spent + transactions[["commission", "spread", "impact"]].sum(axis=1)).where(traded, 0.0)
    moves = pd.concat([-spent.groupby(transactions["date"]).sum(), payments.groupby("date")["amount"].sum()])
    every = days.union(pd.DatetimeIndex(transactions["date"].unique()))
    cash = capital + moves.groupby(level=0).sum().reindex(every.union(moves.index.unique())).fillna(0.0).cumsum()
    held = transactions.pivot_table(index="date", columns="symbol", values="amount", aggfunc="sum")
    held = held.reindex(every).fillna(0.0).cumsum().reindex(days)
    worth = (closes * rates).ffill().reindex(days, method="ffill")[held.columns]
    return (held * worth).sum(axis=1) + cash.reindex(days)
