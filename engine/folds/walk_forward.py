"""Walk-forward: when an encoder is trained anew, on what, and which one decides on a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from clusterfolio.models.train_config import TrainConfig

#: Calendar periods an encoder can serve, in months.
REFITS = {"month": 1, "quarter": 3, "year": 12}

WINDOWS = ("trailing", "expanding")


@dataclass(frozen=True)
class WalkForwardConfig:
    """Training anew as the test goes on; off while ``refit`` is "never".

    When it is on, the training of the first fold ends on the last session before dates.start, so dates.train_end
    follows from dates.start, and with a trailing window dates.train_start too.

    Attributes:
        refit: "never" = one training, on the span in [dates]; "month", "quarter", "year" or a number of months = so
            long does an encoder serve, counted from dates.start, before the next is trained.
        train_months: months of training before each refit, for a trailing window.
        window: "trailing" = the last train_months; "expanding" = everything from dates.train_start on.
        embargo_sessions: sessions left out between the end of a training span and the first decision after it; 0 for
            encoders that rebuild their input, at least the target's horizon for those that predict.
        warm_start: start each training from the encoder before it, and keep it short; False: every fold is trained
            from scratch, as [train] says, and folds may be trained side by side.
        warm_epochs, warm_windows, warm_learning_rate: stand in for train.epochs, train.windows_per_epoch and
            train.learning_rate in a warm start.
    """

    refit: str | int = "never"
    train_months: int = 24
    window: str = "trailing"
    embargo_sessions: int = 0
    warm_start: bool = True
    warm_epochs: int = 1
    warm_windows: int = 4096
    warm_learning_rate: float = 1e-3

    def __post_init__(self):
        number = isinstance(self.refit, int) and not isinstance(self.refit, bool) and self.refit >= 1
        if not number and self.refit not in ("never", *REFITS):
            raise ValueError(
                f"walk_forward.refit: got {self.refit!r}, expected never, {', '.join(REFITS)} or a number of months"
            )
        if self.window not in WINDOWS:
            raise ValueError(f"walk_forward.window: got {self.window!r}, expected one of {', '.join(WINDOWS)}")
        for name, least in (("train_months", 1), ("embargo_sessions", 0), ("warm_epochs", 1), ("warm_windows", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"walk_forward.{name}: got {getattr(self, name)}, expected {least} or more")
        if not self.warm_learning_rate > 0:
            raise ValueError(f"walk_forward.warm_learning_rate: got {self.warm_learning_rate}, expected more than 0")

    @property
    def on(self) -> bool:
        """Whether there is more than one training."""
        return self.refit != "never"

    @property
    def months(self) -> int:
        """Calendar months that one encoder serves."""
        return REFITS[self.refit] if isinstance(self.refit, str) else self.refit


@dataclass(frozen=True)
class Fold:
    """One training and the span it serves; days, all inclusive.

    Attributes:
        number: 0 for the first; a training's random numbers come from it and the run's seed.
        train_start, train_end: first and last day a training window may end on.
        decides_from: the session before ``start``: orders decided on its close fill in this fold.
        start, end: first and last session tested.
    """

    number: int
    train_start: pd.Timestamp
    train_end: pd.Timestamp
    decides_from: pd.Timestamp
    start: pd.Timestamp
    end: pd.Timestamp


def folds(
    sessions: pd.DatetimeIndex,
    start: pd.Timestamp,
    config: WalkForwardConfig,
    train_start: pd.Timestamp | None = None,
) -> list[Fold]:
    """The folds of a test from ``start`` to the last session; each serves ``config.months`` calendar months.

    Args:
        sessions: the exchange's sessions that there are data for.
        train_start: where an expanding window begins.

    Train January to March, test April; train February to April, test May:

    >>> days = pd.bdate_range("2023-01-02", "2023-05-31")
    >>> for f in folds(days, "2023-04-01", WalkForwardConfig(refit="month", train_months=3)):
    ...     print(f.number, *(day.date() for day in (f.train_start, f.train_end, f.start, f.end)))
    0 2023-01-01 2023-03-31 2023-04-03 2023-04-28
    1 2023-02-01 2023-04-28 2023-05-01 2023-05-31
    """
    if config.window == "expanding" and train_start is None:
        raise ValueError("train_start: an expanding window needs a first day")
    found: list[Fold] = []
    number = 0
    while True:
        # Counted from `start` each time: steps from one month's end to the next would shorten for good.
        first, after = (pd.Timestamp(start) + pd.DateOffset(months=n * config.months) for n in (number, number + 1))
        opening, closing = sessions.searchsorted(pd.DatetimeIndex([first, after]))
        if opening == len(sessions):
            return found
        last_seen = opening - 1 - config.embargo_sessions
        if last_seen < 0:
            raise ValueError(
                f"sessions: they begin on {sessions[0].date()}; none is left to train on before {first.date()} "
                f"(walk_forward.embargo_sessions = {config.embargo_sessions})"
            )
        begin = first - pd.DateOffset(months=config.train_months) if config.window == "trailing" else train_start
        if pd.Timestamp(begin) >= sessions[last_seen]:
            raise ValueError(
                f"walk_forward: the training before {first.date()} would begin on {pd.Timestamp(begin).date()} and end "
                f"on {sessions[last_seen].date()}; use a longer training or a shorter embargo"
            )
        if closing > opening:
            days = (begin, sessions[last_seen], sessions[opening - 1], sessions[opening], sessions[closing - 1])
            found.append(Fold(number, *(pd.Timestamp(day) for day in days)))
        number += 1


def fold_for(planned: Sequence[Fold], now: pd.Timestamp) -> Fold:
    """The fold whose encoder decides on the close of ``now``: the last that decides from then on or earlier."""
    known = [fold for fold in planned if fold.decides_from <= now]
    if not known:
        raise ValueError(f"now: {now.date()} lies before the first decision, {planned[0].decides_from.date()}")
    return known[-1]


def that_decide(planned: Sequence[Fold], decisions: pd.DatetimeIndex) -> list[Fold]:
    """The folds that a decision falls to; where refits are more frequent than decisions the others need no encoder."""
    used = {fold_for(planned, day).number for day in decisions}
    return [fold for fold in planned if fold.number in used]


def fold_seed(seed: int, number: int) -> int:
    """The seed of a fold's training: from the run's seed and the fold's number alone, whatever ran before."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def warm_training(train: TrainConfig, config: WalkForwardConfig) -> TrainConfig:
    """How a training that starts from a fitted encoder is done."""
    return replace(
        train,
        epochs=config.warm_epochs,
        windows_per_epoch=config.warm_windows,
        learning_rate=config.warm_learning_rate,
    )
