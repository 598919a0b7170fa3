"""What an embedding looks at: the share of each channel on each bar, by gradients and as the network itself says."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from clusterfolio.models.batch import Batch
from clusterfolio.models.device import torch_threads
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.windows import Windows

#: Windows that are looked into at most, evenly spaced among those given, and how many at a time.
MOST_WINDOWS, AT_A_TIME = 128, 64

#: Points of the straight line from the median window to the window at which gradients are taken.
STEPS = 8


@dataclass(frozen=True)
class Importance:
    """Means over windows; bars from the oldest to the last, channels the features and then the exogenous series.

    Attributes:
        gradients: ``(lookback, n_channels)``, sums to 1: shares of integrated gradients, whatever the encoder.
        selection: the same by the encoder's own weights, for one that selects variables (TFT); else None.
        attention: ``(lookback,)``, sums to 1: attention on each bar, for an encoder that attends; else None.
    """

    gradients: np.ndarray
    selection: np.ndarray | None = None
    attention: np.ndarray | None = None


def importance(encoder: Encoder, windows: Windows) -> Importance:
    """What the embeddings of these unscaled windows look at; learns nothing.

    Every window counts the same. An encoder may have ``importance(batch) -> (B, T, channels)`` and
    ``attention_by_bar(batch) -> (B, T)``, both summing to 1 for each window.
    """
    if not len(windows):
        raise ValueError("windows: none to look into")
    if len(windows) > MOST_WINDOWS:
        windows = windows.take(np.linspace(0, len(windows) - 1, MOST_WINDOWS).astype(np.int64))
    source, module = encoder.source(windows), encoder.module_
    parts: dict[str, list[torch.Tensor]] = {}
    with torch_threads((encoder.train or TrainConfig()).threads):
        for at in range(0, len(windows), AT_A_TIME):
            batch = source.batch(np.arange(at, min(at + AT_A_TIME, len(windows))))
            found = {"gradients": shares(integrated_gradients(module, batch))}
            with torch.no_grad():
                if hasattr(module, "importance"):
                    found["selection"] = module.importance(batch)
                if hasattr(module, "attention_by_bar"):
                    found["attention"] = module.attention_by_bar(batch)
            for name, values in found.items():
                parts.setdefault(name, []).append(values.double().cpu())
    return Importance(**{name: torch.cat(values).mean(dim=0).numpy() for name, values in parts.items()})


def integrated_gradients(module: nn.Module, batch: Batch, steps: int = STEPS) -> torch.Tensor:
    """How far each entry carries the embedding from that of the median window, ``(B, T, F + E)``, signed.

    Sundararajan, Taly and Yan (2017), "Axiomatic attribution for deep networks", of the squared distance between the
    window's embedding and that of a window of zeros, the training median: the entries of a window sum to that
    distance, the more exactly the more ``steps`` the integral is taken in.
    """
    parts = [batch.x] if batch.exog is None else [batch.x, batch.exog]
    with torch.no_grad():
        nothing = module.encode(_moved(batch, [torch.zeros_like(part) for part in parts])).mean
    total = [torch.zeros_like(part) for part in parts]
    for step in range(steps):
        scaled = [((step + 0.5) / steps * part).requires_grad_() for part in parts]
        with _trainable_recurrence(batch.x.device):
            squared = (module.encode(_moved(batch, scaled)).mean - nothing).square().sum()
            slopes = torch.autograd.grad(squared, scaled, allow_unused=True)
        total = [sum_ if slope is None else sum_ + slope for sum_, slope in zip(total, slopes, strict=True)]
    return torch.cat([part * slope / steps for part, slope in zip(parts, total, strict=True)], dim=2)


def shares(attributions: torch.Tensor) -> torch.Tensor:
    """Absolute values, divided by their sum over each window; equal where a window has none."""
    size = attributions.abs()
    total = size.sum(dim=(1, 2), keepdim=True)
    return torch.where(total > 0, size / total.clamp(min=1e-30), 1 / (size.shape[1] * size.shape[2]))


def _moved(batch: Batch, parts: list[torch.Tensor]) -> Batch:
    return replace(batch, x=parts[0], exog=parts[1] if len(parts) > 1 else None)


def _trainable_recurrence(device: torch.device):
    """cuDNN takes no gradient through a recurrent layer in evaluation mode; torch's own implementation does."""
    return torch.backends.cudnn.flags(enabled=False) if device.type == "cuda" else nullcontext()
