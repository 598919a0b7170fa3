"""What each name earned in money, session by session, and sums of it: by name, by group, over a fall.

Every unit of money that an account gained is in one place: with the name it was earned on, costs of its trades taken
off, or with ``cash`` (interest, financing, money paid in).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clusterfolio.engine.evidence.statistics import deepest_drawdowns
from clusterfolio.engine.trading.costs import OF_TRADES

#: What a name that no decision had put in a cluster is counted under.
NO_CLUSTER = "no cluster"


def earned(positions: pd.DataFrame, transactions: pd.DataFrame) -> pd.DataFrame:
    """Money earned by name, and by ``cash``, on each session after the first.

    What a name earned is what its value changed by, less what was bought and its costs, plus what was sold. The rows
    sum to the change of the account's value.

    Args:
        positions: value by session and symbol, with a column ``cash``.
        transactions: columns ``date, symbol, value`` (bought > 0) and the kinds of cost of trades; a day between two
            sessions counts to the later one.
    """
    sessions, names = positions.index, positions.columns.drop("cash")
    trades = transactions[transactions["symbol"].isin(names)]
    rows = sessions.searchsorted(trades["date"])
    inside = rows < len(sessions)
    costs = trades[list(OF_TRADES)].sum(axis=1)
    flows = {"bought": trades["value"], "costs": costs}
    table = {name: np.zeros((len(sessions), len(names))) for name in flows}
    at = rows[inside], names.get_indexer(trades["symbol"])[inside]
    for name, amounts in flows.items():
        np.add.at(table[name], at, amounts.to_numpy(dtype=float)[inside])
    change = positions[names].diff().to_numpy()
    of_names = pd.DataFrame(change - table["bought"] - table["costs"], sessions, names)
    spent = (table["bought"] + table["costs"]).sum(axis=1)
    return of_names.assign(cash=positions["cash"].diff() + spent).iloc[1:]


def by_group(money: pd.DataFrame, groups: pd.Series) -> pd.Series:
    """Sums over a table of ``earned``, by the group of each name; ``cash`` is one of its own.

    >>> money = pd.DataFrame({"A": [1.0, 2.0], "B": [-1.0, 0.0], "cash": [0.5, 0.0]})
    >>> by_group(money, pd.Series({"A": "bond", "B": "equity"})).to_dict()
    {'bond': 3.0, 'equity': -1.0, 'cash': 0.5}
    """
    total = money.sum()
    known = groups.reindex(total.index.drop("cash")).replace("", np.nan).fillna("not stated")
    found = total.drop("cash").groupby(known).sum().sort_values(ascending=False, kind="stable").astype(float)
    return pd.concat([found, pd.Series({"cash": total["cash"]})])


def by_cluster(money: pd.DataFrame, clusters: pd.DataFrame) -> pd.Series:
    """Sums over a table of ``earned`` by cluster: for each session the one that the decision before had a name in.

    Args:
        clusters: columns ``date, symbol, cluster``, lasting numbers, for every decision.
    """
    if clusters.empty:
        return pd.Series({"cash": float(money["cash"].sum())})
    decisions = pd.DatetimeIndex(np.sort(clusters["date"].unique()))
    names = money.columns.drop("cash")
    number = np.maximum(decisions.searchsorted(money.index, side="left") - 1, 0)
    total: dict = {}
    for row, day in enumerate(decisions):
        of_names = money.loc[number == row, names].sum()
        labels = clusters[clusters["date"] == day].drop_duplicates("symbol").set_index("symbol")["cluster"]
        for name, amount in of_names[of_names != 0].items():
            label = labels.get(name, NO_CLUSTER)
            total[label] = total.get(label, 0.0) + float(amount)
    found = pd.Series(total, dtype=float).sort_values(ascending=False, kind="stable")
    return pd.concat([found, pd.Series({"cash": float(money["cash"].sum())})])


@dataclass(frozen=True)
class Fall:
    """A deep fall of the account or of the benchmark, and what was held meanwhile.

    Attributes:
        first, last: sessions of the first and the last loss of the one that fell.
        strategy, benchmark: their total returns from ``first`` to ``last``.
        held: part of the account by name at the close before, largest first.
        earned: money by name over the fall, the largest loss first.
    """

    first: pd.Timestamp
    last: pd.Timestamp
    strategy: float
    benchmark: float
    held: pd.Series
    earned: pd.Series


def falls(
    returns: pd.DataFrame, positions: pd.DataFrame, money: pd.DataFrame, of: str = "strategy", n: int = 3
) -> list[Fall]:
    """The ``n`` deepest falls of the strategy, or of the benchmark, the deepest first.

    Args:
        of: the column of ``returns`` whose falls they are.
        returns: columns ``strategy`` and ``benchmark``, daily.
        positions, money: as for and of ``earned``.
    """
    found = []
    shares = positions.div(positions.sum(axis=1), axis=0).drop(columns="cash")
    for first, last, _ in deepest_drawdowns(returns[of], n):
        span = (1 + returns.loc[first:last]).prod() - 1
        before = shares.iloc[max(shares.index.searchsorted(first) - 1, 0)]
        lost = money.loc[first:last].sum()
        found.append(
            Fall(
                first,
                last,
                float(span["strategy"]),
                float(span["benchmark"]),
                before[before != 0].sort_values(ascending=False, kind="stable"),
                lost[lost != 0].sort_values(kind="stable"),
            )
        )
    return found
