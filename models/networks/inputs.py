"""What encoders read beside an asset's own bars: market-wide series over the window, and what the asset is."""

from __future__ import annotations

import torch
from torch import nn

from clusterfolio.models.batch import Batch


def joined_bars(batch: Batch, n_exog: int) -> torch.Tensor:
    """Each bar's own channels and, after them, the market-wide ones: ``(B, T, F + n_exog)``.

    Args:
        n_exog: market-wide channels the encoder was made for; 0 = it reads none, whatever the batch holds.
    """
    if not n_exog:
        return batch.x
    if batch.exog is None or batch.exog.shape[:2] != batch.x.shape[:2] or batch.exog.shape[2] != n_exog:
        found = None if batch.exog is None else tuple(batch.exog.shape)
        raise ValueError(f"batch.exog: expected shape {(*batch.x.shape[:2], n_exog)}, got {found}")
    return torch.cat([batch.x, batch.exog.to(batch.x.dtype)], dim=2)


class StaticEmbedding(nn.Module):
    """A learned vector for each category of each static covariate; code 0, unknown, is the zero vector and stays it.

    Args:
        sizes: categories by covariate, code 0 among them.
        width: length of a vector.
    """

    def __init__(self, sizes: tuple[int, ...], width: int):
        super().__init__()
        self.columns = nn.ModuleList(nn.Embedding(size, width, padding_idx=0) for size in sizes)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Vectors by covariate, ``(B, S, width)``; their sum over S describes the asset."""
        if batch.static is None or batch.static.shape != (len(batch), len(self.columns)):
            found = None if batch.static is None else tuple(batch.static.shape)
            raise ValueError(f"batch.static: expected shape {(len(batch), len(self.columns))}, got {found}")
        return torch.stack([column(batch.static[:, at]) for at, column in enumerate(self.columns)], dim=1)
