"""The main job: prices -> panel -> features -> encoder -> decisions -> backtest -> run directory."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from clusterfolio.engine.config.run import RunConfig
from clusterfolio.engine.folds.walk_forward import Fold, folds, that_decide
from clusterfolio.feeds.calendar import decision_dates
from clusterfolio.feeds.panel import Panel
from clusterfolio.feeds.raw import DataError


def plan_folds(config: RunConfig, panel: Panel, dates: pd.DatetimeIndex) -> list[Fold]:
    """The trainings of a run and the span each serves: one, or those of a walk-forward that a decision falls to."""
    start, train_start, train_end = (
        pd.Timestamp(day) for day in (config.dates.start, config.dates.train_start, config.dates.train_end)
    )
    if config.walk_forward.on:
        # Sessions with prices: what nothing traded on is decided on, and trained to, the one before.
        traded = panel.sessions.intersection(panel.dates)
        planned = that_decide(folds(traded, start, config.walk_forward, train_start), dates)
    else:
        tested = panel.sessions[panel.sessions >= start]
        # The first decision's day may come before train_end where that is no session.
        planned = [Fold(0, train_start, min(train_end, dates[0]), dates[0], tested[0], tested[-1])]
    return [on_days_of(panel, fold) for fold in planned]


def on_days_of(panel: Panel, fold: Fold) -> Fold:
    """The fold with a training span that begins and ends on days of the panel."""
    days = panel.dates[(panel.dates >= fold.train_start) & (panel.dates <= fold.train_end)]
    if not len(days):
        raise DataError(
            f"dates: no prices between {fold.train_start.date()} and {fold.train_end.date()}, a training span; "
            f"they begin on {panel.dates[0].date()}"
        )
    return replace(fold, train_start=days[0], train_end=days[-1])


def test_dates(panel: Panel, config: RunConfig) -> pd.DatetimeIndex:
    """Sessions to decide on: the last one before the test, then at the chosen frequency, short of the last session.

    A session of the calendar on which nothing traded (another exchange's holiday) is decided on the one before.
    """
    traded = panel.sessions.intersection(panel.dates)
    before = traded[traded < pd.Timestamp(config.dates.start)]
    if not len(before):
        raise DataError(f"dates.start: no session with prices lies before {config.dates.start}")
    if before[-1] >= traded[-1]:
        raise DataError(
            f"dates.end: no session with prices lies between {config.dates.start} and {panel.dates[-1].date()}"
        )
    last = traded[-2]  # what is decided on the very last session never fills
    chosen = decision_dates(config.data.calendar, before[-1], last, config.trading.rebalance)
    return traded[traded.searchsorted(chosen, side="right") - 1].union(before[-1:])
