"""The one training loop, in one process or several. It knows windows, batches and a loss, and no architecture."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TrainConfig:
    """How an encoder is trained (AdamW).

    The defaults train in some ten seconds on a laptop's core: the held-out loss still falls a little after that, the
    clusters drawn from the embeddings get no better.

    Attributes:
        epochs: passes at most.
        windows_per_epoch: windows drawn anew, without replacement, for each pass; 0 = all of them.
        batch_size: windows per step.
        learning_rate, weight_decay: of AdamW.
        clip_norm: the gradient's norm is cut to this.
        holdout: share of the training span's dates, the last ones, whose windows are held out to decide when to
            stop; windows that share a bar with them are left out of training. 0 = train on everything, all epochs.
        holdout_windows: at most this many held-out windows, evenly spaced, are evaluated after each pass; 0 = all.
        patience: stop after this many passes without a better held-out loss; the best pass's weights are kept.
        threads: CPU threads; 0 = as torch is set. A different number gives slightly different weights.
    """

    epochs: int = 5
    windows_per_epoch: int = 8192
    batch_size: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    holdout: float = 0.1
    holdout_windows: int = 4096
    patience: int = 2
    threads: int = 1

    def __post_init__(self):
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("windows_per_epoch", "holdout_windows", "threads", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.holdout < 1:
            raise ValueError(f"holdout must be at least 0 and less than 1, got {self.holdout}")


@dataclass
class TrainingHistory:
    """What a training did.

    Attributes:
        train_loss: mean loss over the windows of each pass, as they were trained on (with dropout).
        holdout_loss: mean held-out loss after each pass; empty where nothing was held out.
        best_epoch: number of passes, from 1, after which the kept weights stood.
        seconds: time spent in the loop.
        n_windows, n_holdout: windows to train on and held out.
        device, threads: what it ran on.
        processes: how many shared each batch.
    """

    train_loss: list[float] = field(default_factory=list)
    holdout_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0
    n_windows: int = 0
    n_holdout: int = 0
    device: str = "cpu"
    threads: int = 1
    processes: int = 1
