"""What pyfolio's sheets count with: trades in whole lots, and figures that it finds window by window, at once."""

from __future__ import annotations

import empyrical
import numpy as np
import pandas as pd

#: Round trips are matched share by share: positions are counted in at most so many lots.
LOTS = 500
#: Trades closer than this belong together.
SESSION = pd.Timedelta("8h")


def in_lots(transactions: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """The same trades counted in whole lots, as pyfolio needs to match purchases with sales.

    pyfolio cuts fractions of a share off and keeps one list entry per share. Here a symbol's shares are counted in
    lots such that its largest holding is ``LOTS`` of them, and the price is that of a lot, so profit and return stay
    what they were. Holdings are rounded, not trades: what is closed completely is closed in lots as well. Whole
    shares below that size are left as they are.

    Returns:
        The trades, and by symbol the fraction of the final holding that its whole lots make up.
    """
    parts, worth = [], {}
    for symbol, trades in transactions.groupby("symbol", sort=False):
        holding = trades["amount"].to_numpy(dtype=float).cumsum()
        largest = np.abs(holding).max()
        whole = largest <= LOTS and (holding % 1 == 0).all()
        scale = 1.0 if whole else LOTS / largest
        held = np.round(holding * scale)
        lots = np.diff(held, prepend=0.0)
        worth[symbol] = held[-1] / (holding[-1] * scale) if held[-1] else 0.0
        parts.append(trades.assign(amount=lots, price=trades["price"] / scale)[lots != 0])
    return pd.concat(parts).sort_index(kind="stable"), pd.Series(worth)


def merge_consecutive(trades: pd.DataFrame) -> pd.DataFrame:
    """A symbol's trades of a session in one direction as one trade, at the price of all: indexed by its time.

    What pyfolio's ``_groupby_consecutive`` does symbol by symbol.

    Args:
        trades: columns ``symbol, amount, price``, a symbol's in order of time.
    """
    sorted_ = trades.rename_axis("dt").reset_index().sort_values("symbol", kind="stable")
    bought, apart = sorted_["amount"] > 0, sorted_["dt"].diff() > SESSION
    block = ((sorted_["symbol"] != sorted_["symbol"].shift()) | (bought != bought.shift()) | apart).cumsum()
    spent = (sorted_["amount"] * sorted_["price"]).groupby(block).sum()
    merged = sorted_.groupby(block).agg({"amount": "sum", "symbol": "first", "dt": "first"})
    return merged.assign(price=spent / merged["amount"]).set_index("dt")


def rolling_beta(returns: pd.Series, factor_returns: pd.Series, rolling_window: int) -> pd.Series:
    """pyfolio's function of that name, from empyrical's over all windows.

    Args:
        factor_returns: known on each day of ``returns``.
        rolling_window: a window is so many days and the one before.
    """
    beta = pd.Series(np.nan, returns.index)
    if len(returns) > rolling_window:
        factor = factor_returns.reindex(returns.index).to_numpy()
        beta.iloc[rolling_window:] = empyrical.roll_beta(returns.to_numpy(), factor, window=rolling_window + 1)
    return beta
