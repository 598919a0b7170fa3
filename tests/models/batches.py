"""Batches that the encoders' tests share."""

import torch

from clusterfolio.models.batch import Batch


def batch_of(x: torch.Tensor, mask: torch.Tensor | None = None, **beside: torch.Tensor) -> Batch:
    """A batch of these windows, observed throughout unless ``mask`` says otherwise."""
    index = torch.zeros(len(x), dtype=torch.int64)
    observed = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
    return Batch(x=x, date_idx=index, asset_idx=index, mask=observed, **beside)
