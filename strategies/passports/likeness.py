"""Which past days a market or a cluster looks most like now, as the encoder sees it."""

from __future__ import annotations

import numpy as np
import pandas as pd

#: Business days between the past days looked at: the default window's length, so that every bar lies in one of their
#: windows (each costs a pass of the encoder over all assets after every training), and a multiple of the default step.
EVERY = 30

#: Business days that must lie between now and a past day, and between two past days named together: a quarter, which
#: is more than a window and what its indicators remember.
APART = 63

#: Past days named.
NEAREST = 3

#: Share of a group's members of today that must have a window on a past day for the day to be looked at.
COMMON = 0.5


def past_days(first: pd.Timestamp, asof: pd.Timestamp, apart: int = APART) -> pd.DatetimeIndex:
    """Every so many business days from ``first`` until ``apart`` of them before ``asof``, ascending.

    Counted from a fixed day, so that later decisions look at the same days and their windows are known already.

    >>> past_days(pd.Timestamp("2024-01-01"), pd.Timestamp("2024-05-31")).strftime("%Y-%m-%d").tolist()
    ['2024-01-18', '2024-02-29']
    """
    begin, end = (int(np.busday_count("1970-01-01", day.date())) for day in (first, asof))
    ordinals = np.arange(-(-begin // EVERY) * EVERY, end - apart + 1, EVERY)
    return pd.DatetimeIndex(np.busday_offset("1970-01-01", ordinals, roll="forward"))


def distances(embeddings: np.ndarray, present: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """How far each group's mean embedding now lies from its own on earlier days, ``(n_groups, n_days - 1)``.

    The mean is taken over the members that have a window on both days, so that a changed composition is no distance.
    NaN where these are fewer than ``COMMON`` of the members there now.

    Args:
        embeddings: ``(n_assets, n_days, embed_dim)``, the last day being now; anything where not ``present``.
        present: bool ``(n_assets, n_days)``.
        groups: bool ``(n_groups, n_assets)``, the members of each.

    >>> level = np.array([[[3.0], [1.0], [0.0]], [[4.0], [9.0], [0.0]]])
    >>> there = np.array([[True, True, True], [True, False, True]])
    >>> distances(level, there, np.array([[True, True], [False, True]]))
    array([[3.5, 1. ],
           [4. , nan]])
    """
    both = present[:, :-1] & present[:, -1:]
    change = embeddings[:, :-1] - embeddings[:, -1:]
    change[~both] = 0.0
    n_assets, n_days, dim = change.shape
    members = groups.astype(change.dtype)
    total = (members @ change.reshape(n_assets, -1)).reshape(len(groups), n_days, dim)
    counted, now = members @ both, members @ present[:, -1]
    length = np.linalg.norm(total, axis=2) / np.maximum(counted, 1)
    return np.where((counted > 0) & (counted >= COMMON * now[:, None]), length, np.nan)


def nearest(found: np.ndarray, days: pd.DatetimeIndex, count: int = NEAREST, apart: int = APART) -> list[tuple]:
    """The nearest days, nearest first, no two closer than ``apart`` business days: ``(day, distance)``.

    Args:
        found: distance of each day, ``(n_days,)``; NaN is never named.

    >>> days = pd.DatetimeIndex(["2020-01-06", "2020-02-03", "2020-06-01"])
    >>> [(f"{day:%Y-%m}", far) for day, far in nearest(np.array([0.2, 0.1, 0.4]), days)]
    [('2020-02', 0.1), ('2020-06', 0.4)]
    """
    chosen: list[tuple] = []
    for at in np.argsort(found, kind="stable"):
        gaps = [abs(int(np.busday_count(days[at].date(), day.date()))) for day, _ in chosen]
        if np.isfinite(found[at]) and all(gap >= apart for gap in gaps):
            chosen.append((days[at], float(found[at])))
        if len(chosen) == count:
            break
    return chosen
