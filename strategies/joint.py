"""Picks chosen together: a name of each cluster with a good Sharpe ratio that has little in common with the others.

The best Sharpe ratio of each cluster looks at one cluster at a time, and a ratio of one year is mostly noise, so the
picks have in common what clustering had just kept apart. Here the sum over picks of their (shrunk) ratios less
``lambda`` times the sum over pairs of picks of the squared correlation is made large, by coordinate ascent: cluster by
cluster the best name beside the others' picks, a few rounds. Where fewer names are wanted than there are clusters, the
pick that adds least is left out, one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Rounds over all clusters at most, before names are left out and after.
ROUNDS = 5


def joint_picks(groups: Sequence[tuple[np.ndarray, np.ndarray]], load: np.ndarray, most: int) -> np.ndarray:
    """The names picked for any number of accounts, ``(n_accounts, n_groups)``; -1 where a group is left out.

    Args:
        groups: positions of a cluster's members, and what each account gives for each, ``(n_accounts, n_members)``.
        load: what two names held together cost, ``(n_names, n_names)``, symmetric; its diagonal is not looked at.
        most: names to pick in all; 0 = one of each group.

    >>> twins = np.array([[0.0, 4.0, 0.1], [4.0, 0.0, 0.1], [0.1, 0.1, 0.0]])
    >>> first, second = (np.array([[0]]), np.array([[1.0]])), (np.array([[1, 2]]), np.array([[0.9, 0.5]]))
    >>> joint_picks([first, second], twins, 0)  # 1 is the better name, but moves as 0 does
    array([[0, 2]])
    >>> joint_picks([first, second], twins, 1)
    array([[ 0, -1]])
    """
    if not groups:
        return np.empty((1, 0), dtype=np.int64)
    load = load - np.diag(np.diag(load))
    rows = np.arange(len(groups[0][0]))
    picks = np.stack([members[rows, scores.argmax(axis=1)] for members, scores in groups], axis=1)
    worth = np.stack([scores.max(axis=1) for _, scores in groups], axis=1)
    together = np.zeros((len(picks), len(load)))
    for column in picks.T:  # not at once: accounts x clusters x names are many
        together += load[column]
    _ascend(groups, load, picks, worth, together)
    if 0 < most < len(groups):
        for _ in range(len(groups) - most):
            adds = np.where(picks < 0, np.inf, worth - np.take_along_axis(together, picks, axis=1))
            out = adds.argmin(axis=1)
            together -= load[picks[rows, out]]
            picks[rows, out] = -1
        _ascend(groups, load, picks, worth, together)
    return picks


def _ascend(groups, load: np.ndarray, picks: np.ndarray, worth: np.ndarray, together: np.ndarray) -> None:
    """Exchange picks within their groups until none gains, in place; a group left out stays so.

    Args:
        worth: what each account gives for its picks, shape of ``picks``.
        together: of every name, what it costs beside all picks of an account, ``(n_accounts, n_names)``.
    """
    rows = np.arange(len(picks))
    for _ in range(ROUNDS):
        changed = False
        for number, (members, scores) in enumerate(groups):
            old = picks[:, number]
            beside = np.take_along_axis(together, members, axis=1) - load[old[:, None], members]
            best = (scores - beside).argmax(axis=1)
            new = np.where(old < 0, old, members[rows, best])
            moved = np.flatnonzero(new != old)
            if len(moved):
                changed = True
                together[moved] += load[new[moved]] - load[old[moved]]
                picks[moved, number], worth[moved, number] = new[moved], scores[moved, best[moved]]
        if not changed:
            return
