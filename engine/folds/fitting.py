"""The trainings of a run: each fold's encoder fitted outside the bar loop, stored, found again, and aligned."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.folds.walk_forward import Fold, fold_for
from clusterfolio.engine.parallel import run_all
from clusterfolio.feeds.panel import Panel
from clusterfolio.models.distributed import current_team, join, leave, started_by_torchrun
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.training import Progress, serve
from clusterfolio.models.windows import Windows
from clusterfolio.strategies.cluster_policy import ClusterPolicy
from clusterfolio.strategies.windows import panel_windows

#: Anchors of an alignment: windows that end in so many last rows of the earlier training span, one every so many bars.
#: More than these many are thinned out evenly.
ANCHOR_ROWS, ANCHOR_STRIDE, MOST_ANCHORS = 63, 5, 2048

#: ``(fold, warm) -> the policy to train for it``.
PolicyFactory = Callable[[Fold, bool], ClusterPolicy]


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
    policy: ClusterPolicy,
    work: Path,
    previous: Encoder | None = None,
    progress: Progress | None = None,
) -> Encoder:
    """The fold's encoder: the one stored in ``work``, else trained on the fold's span and stored, whole or not at all.

    Args:
        panel: with features; nothing after the fold's last training day is passed on.
        policy: unfitted; trained in place.
        previous: the encoder to start from; None = from scratch.
    """
    stored = fold_folder(work, fold)
    if stored.is_dir():
        return Encoder.load(stored, device=policy.encoder.device)
    policy.fit(panel.until(fold.train_end), fold.train_start, progress, previous, stored.with_suffix(".checkpoint"))
    policy.encoder.save(stored)
    return policy.encoder


def fit_folds(
    planned: Sequence[Fold],
    panel: Panel,
    make: PolicyFactory,
    work: Path,
    warm_start: bool,
    advance: Callable[[int, int, str], None],
    workers: int = 1,
) -> dict[int, Encoder]:
    """Every fold's encoder by number, each as it was trained (see ``align_folds``).

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
    fitted: dict[int, Encoder] = {}
    previous = None
    for fold in planned:
        known = fold_folder(work, fold).is_dir()
        encoder = fit_fold(fold, panel, make(fold, previous is not None), work, previous, watch.passes)
        watch.fitted(known)
        fitted[fold.number] = encoder
        previous = encoder if warm_start else None
    return fitted


def align_folds(planned: Sequence[Fold], panel: Panel, encoders: dict[int, Encoder]) -> dict[int, float]:
    """Turn each encoder but the first so that its embeddings lie on those of the one before; in place.

    The anchors end in the earlier fold's training span, so nothing is used that the later one was not trained on.

    Args:
        encoders: by fold number.

    Returns:
        By fold number, the share of the embeddings that the turn could not bring together (``Encoder.align``).
    """
    apart: dict[int, float] = {}
    for earlier, later in pairwise(planned):
        anchors = anchor_windows(panel.until(earlier.train_end), encoders[earlier.number].lookback)
        apart[later.number] = encoders[later.number].align(encoders[earlier.number], anchors)
    return apart


def anchor_windows(panel: Panel, lookback: int) -> Windows:
    """Windows of the tradable assets that end in the panel's last rows; the panel has features."""
    first = max(0, len(panel.dates) - ANCHOR_ROWS)
    anchors = panel_windows(panel, lookback, ANCHOR_STRIDE, first, tradable_only=True)
    if len(anchors) <= MOST_ANCHORS:
        return anchors
    return anchors.take(np.linspace(0, len(anchors) - 1, MOST_ANCHORS).astype(np.int64))


def fold_folder(work: Path, fold: Fold) -> Path:
    """Where a fold's encoder is stored."""
    return work / f"fold-{fold.number:03d}"


class FoldPolicies:
    """``policy_for(now)``: the policy fitted for a day. Decisions come in order, so one fold's is kept at a time."""

    def __init__(self, planned: Sequence[Fold], encoders: dict[int, Encoder], make: PolicyFactory):
        self.planned = planned
        self.encoders = encoders
        self.make = make
        self.fold: Fold | None = None

    def __call__(self, now: pd.Timestamp) -> ClusterPolicy:
        fold = fold_for(self.planned, now)
        if fold is not self.fold:
            policy = self.make(fold, False)
            policy.encoder = self.encoders[fold.number]
            self.fold, self.policy = fold, policy.trained_on(fold.train_start, fold.train_end)
        return self.policy


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
