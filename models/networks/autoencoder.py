"""What the autoencoders share: rebuild the whole window from the embedding alone, and count what was observed."""

from __future__ import annotations

import torch
from torch import nn

from clusterfolio.models.batch import Batch


def masked_mse(rebuilt: torch.Tensor, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean squared difference where ``mask`` is True, a scalar; 0 where nothing was observed."""
    error = (rebuilt - x).float().square() * mask
    return error.sum() / mask.sum().clamp(min=1)


def window_decoder(embed_dim: int, hidden: int, lookback: int, n_features: int) -> nn.Sequential:
    """Embeddings ``(B, embed_dim)`` to windows ``(B, lookback, n_features)`` through one hidden layer.

    It is the same for every encoder, so that encoders are compared by what they put into the embedding.
    """
    return nn.Sequential(
        nn.Linear(embed_dim, hidden),
        nn.ReLU(),
        nn.Linear(hidden, lookback * n_features),
        nn.Unflatten(1, (lookback, n_features)),
    )


class Autoencoder(nn.Module):
    """An encoder trained to rebuild its window through the embedding; subclasses have ``encode`` and ``decoder``."""

    def rebuild(self, batch: Batch) -> torch.Tensor:
        """The windows' own channels as the embedding tells them, ``(B, T, F)``."""
        return self.decoder(self.encode(batch).mean)

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean squared error of the rebuilt window over its observed entries."""
        return masked_mse(self.rebuild(batch), batch.x, batch.mask)
