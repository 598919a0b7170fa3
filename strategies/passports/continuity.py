"""Clusters through time: which of today's is which of last time's, and how much has changed between the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

from clusterfolio.strategies.policy import Decision

#: Columns of ``stability``.
STABILITY_COLUMNS = ("date", "common", "joined", "left", "moved", "adjusted_rand")


def match_labels(previous: pd.Series, current: pd.Series) -> pd.Series:
    """``current`` under the names that its clusters had before; the partition stays as it is.

    Clusters are paired so that as many members as possible keep their cluster's name. One without a member in common
    with its pair is new: it gets the lowest name that neither the previous clusters nor the current ones bear.

    Args:
        previous: cluster by symbol at the decision before.
        current: cluster by symbol now.

    >>> before = pd.Series({"A": 0, "B": 0, "C": 1, "D": 1})
    >>> now = pd.Series({"A": 1, "B": 1, "C": 0, "D": 2, "E": 2})
    >>> match_labels(before, now).to_dict()
    {'A': 0, 'B': 0, 'C': 1, 'D': 2, 'E': 2}
    """
    common = current.index.intersection(previous.index)
    overlap = pd.crosstab(current[common].to_numpy(), previous[common].to_numpy())
    rows, columns = linear_sum_assignment(overlap.to_numpy(), maximize=True)
    paired = overlap.to_numpy()[rows, columns] > 0
    names = dict(zip(overlap.index[rows[paired]], overlap.columns[columns[paired]], strict=True))
    taken = {*previous.unique(), *names.values()}
    for cluster in np.unique(current.to_numpy()):
        if cluster not in names:
            names[cluster] = next(name for name in range(len(taken) + 1) if name not in taken)
            taken.add(names[cluster])
    return current.map(names).astype(np.int64)


def with_lasting_names(decisions: Sequence[Decision]) -> list[Decision]:
    """The same decisions, each cluster under the name it had at the decision before; dates ascend."""
    named: list[Decision] = []
    before = None
    for decision in decisions:
        if len(decision.labels):
            labels = decision.labels if before is None else match_labels(before, decision.labels)
            decision = replace(decision, labels=labels)
            before = labels
        named.append(decision)
    return named


def stability(decisions: Sequence[Decision]) -> pd.DataFrame:
    """How far each decision's clusters are those of the one before; columns ``STABILITY_COLUMNS``.

    ``common``: assets clustered both times; ``joined`` and ``left``: those clustered only now or only before;
    ``moved``: common assets whose cluster has another name now; ``adjusted_rand``: Rand index of the two partitions of
    the common assets, adjusted for chance (1 = the same partition, 0 = as alike as random ones). Decisions without
    clusters are passed over, and so is the first with some.

    Args:
        decisions: in order of date, under lasting names.
    """
    rows = []
    clustered = [decision for decision in decisions if len(decision.labels)]
    for before, now in pairwise(clustered):
        common = now.labels.index.intersection(before.labels.index)
        old, new = before.labels[common].to_numpy(), now.labels[common].to_numpy()
        rows.append(
            {
                "date": now.asof,
                "common": len(common),
                "joined": len(now.labels) - len(common),
                "left": len(before.labels) - len(common),
                "moved": int((old != new).sum()),
                "adjusted_rand": float(adjusted_rand_score(old, new)) if len(common) else np.nan,
            }
        )
    return pd.DataFrame(rows, columns=list(STABILITY_COLUMNS))
