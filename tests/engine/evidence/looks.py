"""Twenty ways of picking looked at one after another in a world where none has any skill, each entered as a trial."""

from __future__ import annotations

import numpy as np
import pandas as pd

from clusterfolio.engine.evidence.claims import LEVEL, Record, count_trials, primary
from clusterfolio.models.clustering import Ward, unit_sphere
from clusterfolio.strategies.classical import correlation_rows
from tests.engine.evidence.resampled_worlds import best_of_each
from tests.engine.evidence.verdict_worlds import MONTH, QUARTER, YEAR, average_member, hold, market

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
        spans = [past[-MONTH * months :] for months in LOOKBACKS]
        ratios = np.stack([span.mean(axis=0) / span.std(axis=0) for span in spans])
        picks = [row for n in CLUSTERS for row in best_of_each(ratios, labels[n])]
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
    records = variants(seed, years)
    plain = [primary(record)["p"] for record in records]
    table = pd.concat([record.net for record in records], axis=1, keys=range(len(records)))
    then = [_found(records[n], plain[n], table.iloc[:, :n]) for n in range(len(records))]
    now = [_found(records[n], plain[n], table.drop(columns=n)) for n in range(len(records))]
    return {"first": then[0], "at_its_time": any(then), "later": any(now), "best": now[int(np.argmin(plain))]}


def _found(record: Record, p: float, trials: pd.DataFrame) -> bool:
    """Whether skill is claimed with these other trials on the ledger; they can only make a p-value larger."""
    if p > LEVEL:
        return False
    among = Record(record.net, record.gross, record.comparator, record.cash, trials=trials)
    return primary(among, count_trials(among)["effective"])["found"]
