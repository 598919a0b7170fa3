"""A Transformer that reads a window of bars and is trained to rebuild it from one embedding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from models.batch import Batch, Encoding

POOLINGS = ("mean", "last")
DECODERS = ("pooled", "tokens")


@dataclass(frozen=True)
class TransformerConfig:
    """Shape of the network.

    Attributes:
        embed_dim: length of the embedding and width of every token.
        n_layers, n_heads, feed_forward, dropout: of the Transformer encoder.
        pooling: how the tokens become the embedding: ``"mean"`` of all, or the ``"last"`` bar's.
        decoder: ``"pooled"`` rebuilds the whole window from the embedding alone, so everything the loss asks for has
            to pass through it. ``"tokens"`` rebuilds each bar from that bar's own token, as the published program
            does: the embedding is then a by-product that the loss never sees; for comparison.
    """

    embed_dim: int = 64
    n_layers: int = 1
    n_heads: int = 4
    feed_forward: int = 128
    dropout: float = 0.1
    pooling: str = "mean"
    decoder: str = "pooled"

    def __post_init__(self):
        if self.embed_dim % self.n_heads:
            raise ValueError(f"embed_dim must be a multiple of n_heads, got {self.embed_dim} and {self.n_heads}")
        if self.pooling not in POOLINGS:
            raise ValueError(f"unknown pooling {self.pooling!r}; available: {', '.join(POOLINGS)}")
        if self.decoder not in DECODERS:
            raise ValueError(f"unknown decoder {self.decoder!r}; available: {', '.join(DECODERS)}")


class TransformerAutoencoder(nn.Module):
    """Bars -> tokens -> self-attention -> pooled embedding -> the window again."""

    config_class = TransformerConfig

    def __init__(self, n_features: int, lookback: int, config: TransformerConfig):
        super().__init__()
        self.config = config
        width = config.embed_dim
        self.embed = nn.Sequential(nn.Linear(n_features, width), nn.LayerNorm(width), nn.ReLU())
        self.positions = nn.Parameter(0.02 * torch.randn(lookback, width))
        layer = nn.TransformerEncoderLayer(width, config.n_heads, config.feed_forward, config.dropout, batch_first=True)
        self.attention = nn.TransformerEncoder(layer, config.n_layers, enable_nested_tensor=False)
        if config.decoder == "pooled":
            self.decoder = nn.Sequential(
                nn.Linear(width, config.feed_forward),
                nn.ReLU(),
                nn.Linear(config.feed_forward, lookback * n_features),
                nn.Unflatten(1, (lookback, n_features)),
            )
        else:
            self.decoder = nn.Sequential(nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, n_features))

    def encode(self, batch: Batch) -> Encoding:
        """Embeddings of the windows, ``mean`` of shape ``(B, embed_dim)``."""
        return Encoding(self.pool(self.tokens(batch)))

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean squared error of the rebuilt window over its observed entries."""
        tokens = self.tokens(batch)
        rebuilt = self.decoder(self.pool(tokens) if self.config.decoder == "pooled" else tokens)
        return masked_mse(rebuilt, batch.x, batch.mask)

    def tokens(self, batch: Batch) -> torch.Tensor:
        """One vector per bar, ``(B, T, embed_dim)``."""
        return self.attention(self.embed(batch.x) + self.positions)

    def pool(self, tokens: torch.Tensor) -> torch.Tensor:
        """``(B, T, embed_dim)`` to ``(B, embed_dim)``."""
        return tokens.mean(dim=1) if self.config.pooling == "mean" else tokens[:, -1]


def masked_mse(rebuilt: torch.Tensor, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean squared difference where ``mask`` is True, a scalar; 0 where nothing was observed."""
    error = (rebuilt - x).float().square() * mask
    return error.sum() / mask.sum().clamp(min=1)
