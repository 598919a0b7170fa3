"""Twenty ways of picking looked at one after another in a world where none has any skill, each entered as a trial."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from clusterfolio.engine.evidence.claims import Record, count_trials, primary
from clusterfolio.models.clustering import Ward, unit_sphere
from clusterfolio.strategies.baselines.classical import correlation_rows
from tests.engine.evidence.verdict_worlds import MONTH, QUARTER, YEAR, average_member, best_sharpe, hold, market

#: Months that Sharpe ratios are taken over, and numbers of clusters: twenty variants of one strategy.
LOOKBACKS, CLUSTERS = (3, 6, 9, 12), (5, 8, 10, 12, 15)


def variants(seed: int, years: int) -> list[Record]:
    """The records of all twenty in one world, in an order drawn by lot."""
    rng = np.random.default_rng(seed)
    returns = market(rng, (years + 1) * YEAR, structure=bool(seed % 2))
    starts, targets = list(range(YEAR, len(returns), MONTH)), []
    for start in starts:
        past = returns[start - YEAR : start]
        if (start - YEAR) % QUARTER == 0:
            points = unit_sphere(correlation_rows(past))
            labels = {n: Ward(n).fit(points).labels_ for n in CLUSTERS}
        picks = [best_sharpe(past[-MONTH * months :], labels[n]) for n, months in product(CLUSTERS, LOOKBACKS)]
        targets.append(np.stack([*picks, *[average_member(labels[n]) for n in CLUSTERS]]))
    gross, net = hold(returns, targets, starts)
    days = pd.bdate_range("2010-01-04", periods=len(gross))
    of_variant = np.repeat(np.arange(len(CLUSTERS)), len(LOOKBACKS)) + len(CLUSTERS) * len(LOOKBACKS)
    order = rng.permutation(len(of_variant))
    before, after = pd.DataFrame(gross, days), pd.DataFrame(net, days)
    none = pd.Series(0.0, days)
    return [Record(after[i], before[i], before[of_variant[i]], none) for i in order]


def looked_at_in_turn(seed: int, years: int) -> dict:
    """What the verdict says as trials mount up.

    Returns:
        ``first``: the first look claims skill; ``at_its_time``: any look does when it is made, with those before it on
        the ledger; ``later``: any of all twenty does, with all others on the ledger; ``best``: the one with the lowest
        p-value does then.
    """
    records, then, now, plain = variants(seed, years), [], [], []
    for number, record in enumerate(records):
        table = pd.concat([one.net for one in records], axis=1, keys=range(len(records)))
        before, others = table.iloc[:, :number], table.drop(columns=number)
        then.append(_judged(record, before)["found"])
        test = _judged(record, others)
        now.append(test["found"])
        plain.append(test["p"])
    return {"first": then[0], "at_its_time": any(then), "later": any(now), "best": now[int(np.argmin(plain))]}


def _judged(record: Record, trials: pd.DataFrame) -> dict:
    among = Record(record.net, record.gross, record.comparator, record.cash, trials=trials)
    return primary(among, count_trials(among)["effective"])
