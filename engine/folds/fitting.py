"""The trainings of a run: each fold's policy fitted outside the bar loop, stored, found again, and aligned."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pandas as pd

from clusterfolio.engine.folds.stored_policies import load_policy, save_policy
from clusterfolio.engine.folds.walk_forward import Fold, fold_for
from clusterfolio.engine.parallel import run_all
from clusterfolio.feeds.panel import Panel
from clusterfolio.models.distributed import current_team, join, leave, started_by_torchrun
from clusterfolio.models.training import Progress, serve
from clusterfolio.strategies.policy import (
    Guard,
    Policy,
    PortfolioState,
    Resting,
    largest_exposure,
    learns,
    named_failures,
    rests,
)

#: ``(fold, warm) -> the policy to train for it``.
PolicyFactory = Callable[[Fold, bool], Policy]


@contextmanager
def training_team() -> Iterator[bool]:
    """Where torchrun started several processes, they train together inside; yields whether this one leads.

    The leading one runs the program; the others have taken their part in its trainings when they come to the block,
    and have nothing left to do. A process started alone leads.
    """
    if not started_by_torchrun():
        yield True
        return
    team = join()
    try:
        if team.rank:
            serve(team)
        yield team.rank == 0
    finally:
        dismiss_team()


def dismiss_team() -> None:
    """Let the other processes go: nothing will be trained any more. Nothing happens where there are none."""
    team = current_team()
    if team.rank == 0 and team.size > 1:
        team.send(None)
    leave()


def fit_fold(
    fold: Fold,
    panel: Panel,
    policy: Policy,
    work: Path,
    previous: Policy | None = None,
    progress: Progress | None = None,
) -> Policy:
    """The fold's policy, fitted: what is stored in ``work``, else learned from the fold's span and stored, whole or not
    at all.

    Args:
        panel: as policies see it; nothing after the fold's last training day is passed on.
        policy: unfitted; it learns in place. One that does not learn comes back as it is.
        previous: the policy to start from; None = from scratch.
    """
    if not learns(policy):
        return policy
    stored = fold_folder(work, fold)
    if stored.is_dir():
        return load_policy(policy, stored)
    more = {"progress": progress, "init": previous, "checkpoint": stored.with_suffix(".checkpoint")}
    wanted = inspect.signature(policy.fit).parameters
    more = {name: value for name, value in more.items() if name in wanted}
    with named_failures(policy, f"fit() up to {fold.train_end.date()}"):
        policy.fit(panel.until(fold.train_end), fold.train_start, **more)
    save_policy(policy, stored, (fold.train_start, fold.train_end))
    return policy


def fit_folds(
    planned: Sequence[Fold],
    panel: Panel,
    make: PolicyFactory,
    work: Path,
    warm_start: bool,
    advance: Callable[[int, int, str], None],
    workers: int = 1,
) -> dict[int, Policy]:
    """Every fold's fitted policy by number, each as it was trained (see ``align_folds``).

    Args:
        warm_start: start each training but the first from the one before it, which ties them to their order; else
            they are independent, and ``workers`` processes share them (not where torchrun's processes share each
            training: then they follow one another too).
        advance: told ``(done, total, text)``: trainings, or the passes of a single one.
    """
    watch = FitProgress(len(planned), advance)
    if workers > 1 and len(planned) > 1 and not warm_start and current_team().size == 1:
        calls = [(fold, panel, make(fold, False), work) for fold in planned]
        return dict(zip([fold.number for fold in planned], run_all(fit_fold, calls, workers, watch.one), strict=True))
    fitted: dict[int, Policy] = {}
    previous = None
    for fold in planned:
        known = fold_folder(work, fold).is_dir()
        policy = fit_fold(fold, panel, make(fold, previous is not None), work, previous, watch.passes)
        watch.fitted(known)
        fitted[fold.number] = policy
        previous = policy if warm_start else None
    return fitted


def align_folds(planned: Sequence[Fold], panel: Panel, policies: dict[int, Policy]) -> dict[int, float]:
    """Turn what each policy but the first has learned onto what the one before it has; in place, where they can.

    Each is shown the panel up to the end of the earlier fold's training, so nothing is used that the later one was not
    trained on.

    Args:
        policies: by fold number.

    Returns:
        By fold number, how far they stay apart, as ``align`` measures it.
    """
    apart: dict[int, float] = {}
    for earlier, later in pairwise(planned):
        if callable(getattr(policies[later.number], "align", None)):
            known = panel.until(earlier.train_end)
            apart[later.number] = policies[later.number].align(policies[earlier.number], known)
    return apart


def fold_folder(work: Path, fold: Fold) -> Path:
    """Where a fold's policy is stored."""
    return work / f"fold-{fold.number:03d}"


class FoldPolicies:
    """``policy_for(now)``: the policy fitted for a day."""

    def __init__(self, planned: Sequence[Fold], policies: dict[int, Policy]):
        self.planned = planned
        self.policies = policies
        self.fold: Fold | None = None

    def __call__(self, now: pd.Timestamp) -> Policy:
        """The policy of the fold that decides on a day; days come in order."""
        fold = fold_for(self.planned, now)
        if self.fold is not None and fold is not self.fold:
            # Decisions come in order: the fold before is not asked again, and what it remembers would add up.
            release = getattr(self.policies[self.fold.number], "release", None)
            if callable(release):
                release()
        self.fold = fold
        return self.policies[fold.number]


class FoldGuard:
    """The guards of a walk-forward as one: a day is looked at by the policy of the fold that decides on it."""

    def __init__(self, planned: Sequence[Fold], policies: dict[int, Policy]):
        self.planned = planned
        self.policies = policies

    @property
    def guard_every(self) -> int:
        """The policies' own."""
        return getattr(self.policies[self.planned[-1].number], "guard_every", 0)

    @property
    def max_exposure(self) -> float:
        """The policies' own."""
        return largest_exposure(self.policies[self.planned[-1].number])

    def guard(self, weights: pd.Series, panel: Panel, state: PortfolioState) -> tuple:
        """What the policy of the panel's last day makes of the weights."""
        policy = self.policies[fold_for(self.planned, panel.dates[-1]).number]
        return cast(Guard, policy).guard(weights, panel, state)

    @property
    def rests(self) -> bool:
        """The policies' own."""
        return rests(self.policies[self.planned[-1].number])

    def resting(self, panel: Panel, state: PortfolioState) -> dict[str, Resting]:
        """The orders of that policy's guard that rest with the broker."""
        return cast(Any, self.policies[fold_for(self.planned, panel.dates[-1]).number]).resting(panel, state)


class FitProgress:
    """Tells how the trainings go: how many are done, the loss of the current one and the time left."""

    def __init__(self, total: int, advance: Callable[[int, int, str], None]):
        self.total = total
        self.advance = advance
        self.done = self.trained = 0
        self.began = time.monotonic()

    def passes(self, done: int, total: int, loss: float, held_out: float | None) -> None:
        """A pass of the current training is done (``models.training.Progress``)."""
        text = f"loss {loss:.4f}" + ("" if held_out is None else f", held out {held_out:.4f}")
        if self.total == 1:
            self.advance(done, total, text)
        else:
            self.advance(self.done, self.total, f"pass {done} of {total}, {text}{self._left()}")

    def one(self, number: int) -> None:
        """A training done elsewhere is finished."""
        self.fitted(known=False)

    def fitted(self, known: bool) -> None:
        """A training is done, or was found done."""
        self.done += 1
        self.trained += not known
        if self.total > 1:
            self.advance(self.done, self.total, self._left().removeprefix(", "))

    def _left(self) -> str:
        if not self.trained or self.done == self.total:
            return ""
        seconds = (time.monotonic() - self.began) / self.trained * (self.total - self.done)
        return f", about {seconds:.0f} s left" if seconds < 120 else f", about {seconds / 60:.0f} min left"
