"""Which past days a market or a cluster looks most like now, as the encoder sees it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import Panel
from clusterfolio.models.windows import Windows
from clusterfolio.strategies.embedding import PanelEmbedder, latest_windows

#: Business days between the past days looked at: the default window's length, so that every bar lies in one of theirs.
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


def distances(embedder: PanelEmbedder, panel: Panel, days: pd.DatetimeIndex, groups: np.ndarray) -> np.ndarray:
    """How far each group's embedding at the close of the panel's last day lies from its own on earlier days.

    A group is seen as one asset: the encoder embeds the mean window of its members, each bar and channel over those it
    was observed of. Both means are taken over the members that have a window on both days, so that a changed
    composition is no distance. Embedding every member instead ranks days the same (rank correlation 0.97 on real
    prices) and costs some thirty times the windows, all of them anew after every training.

    Args:
        panel: with features.
        days: ascending, before the panel's last.
        groups: bool ``(n_groups, n_assets)``, the members of each among the panel's assets.

    Returns:
        ``(n_groups, n_days)``; NaN where the members with both windows are fewer than ``COMMON`` of those with one now.
    """
    windows = embedder.windows(panel)
    rows = panel.dates.searchsorted(days.append(panel.dates[-1:]), side="right") - 1
    picked = latest_windows(windows, len(panel.symbols), rows)
    there = picked >= 0
    now = groups & there[:, -1]
    found = np.full((len(groups), len(days)), np.nan)
    then, kept = [], []
    for day in range(len(days)):
        both = now & there[:, day]
        counted = both.sum(axis=1)
        looked = np.flatnonzero((counted > 0) & (counted >= COMMON * now.sum(axis=1)))
        if len(looked):
            then.append(mean_windows(windows, picked[:, day], both[looked]))
            kept.append((looked, day, both[looked]))
    if not kept:
        return found
    # Of most days the same members are there: their mean window of now is made once.
    again, alone = pd.factorize(np.array([row.tobytes() for *_, both in kept for row in both], dtype=object))
    today = np.frombuffer(b"".join(alone), dtype=bool).reshape(len(alone), -1)
    embedded = embedder.encoder.transform(joined([*then, mean_windows(windows, picked[:, -1], today)]))
    apart = np.linalg.norm(embedded[: len(again)] - embedded[len(again) :][again], axis=1)
    for (looked, day, _), far in zip(kept, np.split(apart, np.cumsum([len(part) for part in then])[:-1]), strict=True):
        found[looked, day] = far
    return found


def mean_windows(windows: Windows, chosen: np.ndarray, members: np.ndarray) -> Windows:
    """A window for each row of ``members``: the mean of its members'; dates and statics are its first member's.

    Args:
        chosen: a window of each asset, ``(n_assets,)``; anything where it is nobody's member.
        members: bool ``(n_means, n_assets)``, in each row one or more.
    """
    used, first = members.any(axis=0), chosen[members.argmax(axis=1)]
    values, observed = windows.gather(chosen[used])
    share = members[:, used].astype(np.float32)
    seen = share @ observed.reshape(len(values), -1).astype(np.float32)
    total = share @ np.where(observed, values, 0).reshape(len(values), -1)
    shape = len(members) * windows.lookback, values.shape[2]
    return replace(
        windows,
        values=(total / np.maximum(seen, 1)).reshape(shape),
        observed=(seen > 0).reshape(shape),
        start=np.arange(len(members)) * windows.lookback,
        date_idx=windows.date_idx[first],
        asset_idx=windows.asset_idx[first],
        bar_date=None if windows.bar_date is None else windows.bar_date[windows.rows(first)].ravel(),
    )


def joined(parts: list[Windows]) -> Windows:
    """The windows of several, each over bars of its own, one part after the other."""
    before = np.cumsum([0, *(len(part.values) for part in parts[:-1])])
    dated = [part.bar_date for part in parts if part.bar_date is not None]
    return replace(
        parts[0],
        values=np.concatenate([part.values for part in parts]),
        observed=np.concatenate([part.observed for part in parts]),
        start=np.concatenate([part.start + n for part, n in zip(parts, before, strict=True)]),
        date_idx=np.concatenate([part.date_idx for part in parts]),
        asset_idx=np.concatenate([part.asset_idx for part in parts]),
        bar_date=np.concatenate(dated) if dated else None,
    )


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
