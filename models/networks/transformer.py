"""A Transformer that reads a window of bars and is trained to rebuild it from one embedding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from clusterfolio.models.batch import Batch, Encoding
from clusterfolio.models.networks.attention import EncoderLayer
from clusterfolio.models.networks.autoencoder import Autoencoder, window_decoder
from clusterfolio.models.networks.inputs import StaticEmbedding, joined_bars

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
        patch: bars per token; the lookback must be a multiple of it. Attention costs the square of the tokens, so
            a lookback of 252 wants patches of 12 or more (Nie et al. 2023, PatchTST).
        masked: share of the tokens hidden at random while training, whose bars must be rebuilt like the others.
    """

    embed_dim: int = 64
    n_layers: int = 1
    n_heads: int = 4
    feed_forward: int = 128
    dropout: float = 0.1
    pooling: str = "mean"
    decoder: str = "pooled"
    patch: int = 1
    masked: float = 0.0

    def __post_init__(self):
        for name in ("embed_dim", "n_layers", "n_heads", "feed_forward", "patch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("dropout", "masked"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and less than 1, got {getattr(self, name)}")
        if self.embed_dim % self.n_heads:
            raise ValueError(f"embed_dim must be a multiple of n_heads, got {self.embed_dim} and {self.n_heads}")
        if self.pooling not in POOLINGS:
            raise ValueError(f"unknown pooling {self.pooling!r}; available: {', '.join(POOLINGS)}")
        if self.decoder not in DECODERS:
            raise ValueError(f"unknown decoder {self.decoder!r}; available: {', '.join(DECODERS)}")


class TransformerAutoencoder(Autoencoder):
    """Bars -> patches -> tokens -> self-attention -> pooled embedding -> the window again."""

    config_class = TransformerConfig

    def __init__(
        self,
        n_features: int,
        lookback: int,
        config: TransformerConfig,
        n_exog: int = 0,
        static_sizes: tuple[int, ...] = (),
    ):
        super().__init__()
        if lookback % config.patch:
            raise ValueError(f"patch: the lookback of {lookback} bars must be a multiple of it, got {config.patch}")
        self.config, self.n_exog = config, n_exog
        width, patch = config.embed_dim, config.patch
        self.embed = nn.Sequential(nn.Linear(patch * (n_features + n_exog), width), nn.LayerNorm(width), nn.ReLU())
        self.positions = nn.Parameter(0.02 * torch.randn(lookback // patch, width))
        layer = EncoderLayer(width, config.n_heads, config.feed_forward, config.dropout)
        self.attention = nn.TransformerEncoder(layer, config.n_layers, enable_nested_tensor=False)
        if config.decoder == "pooled":
            self.decoder = window_decoder(width, config.feed_forward, lookback, n_features)
        else:
            self.decoder = nn.Sequential(
                nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, patch * n_features)
            )
        self.statics = StaticEmbedding(static_sizes, width) if static_sizes else None
        self.hidden_token = nn.Parameter(0.02 * torch.randn(width)) if config.masked else None

    def encode(self, batch: Batch) -> Encoding:
        """Embeddings of the windows, ``mean`` of shape ``(B, embed_dim)``."""
        return Encoding(self.pool(self.tokens(batch)))

    def rebuild(self, batch: Batch) -> torch.Tensor:
        """The windows' own channels as the embedding (``decoder="tokens"``: their own tokens) tells them."""
        tokens = self.tokens(batch)
        return self.decoder(self.pool(tokens) if self.config.decoder == "pooled" else tokens).reshape(batch.x.shape)

    def tokens(self, batch: Batch) -> torch.Tensor:
        """One vector per patch, ``(B, T / patch, embed_dim)``."""
        return self.attention(self.inputs(batch))

    def inputs(self, batch: Batch) -> torch.Tensor:
        """What the attention reads, ``(B, T / patch, embed_dim)``."""
        bars = joined_bars(batch, self.n_exog)
        tokens = self.embed(bars.reshape(len(batch), len(self.positions), -1))  # a patch: its bars one after the other
        if self.hidden_token is not None and self.training:
            hidden = torch.rand(tokens.shape[:2], device=tokens.device) < self.config.masked
            tokens = torch.where(hidden.unsqueeze(2), self.hidden_token.to(tokens.dtype), tokens)
        if self.statics is not None:
            tokens = tokens + self.statics(batch).sum(dim=1, keepdim=True)
        return tokens + self.positions

    def attention_by_bar(self, batch: Batch) -> torch.Tensor:
        """How much the embedding attends to each bar in the last layer, mean of the heads, ``(B, T)``; rows sum to 1.

        A patch's attention is shared evenly among its bars.
        """
        tokens = self.inputs(batch)
        *before, last = self.attention.layers
        for layer in before:
            tokens = layer(tokens)
        by_token = last.self_attn(tokens, tokens, tokens, need_weights=True)[1]  # (B, from, to)
        by_token = by_token.mean(dim=1) if self.config.pooling == "mean" else by_token[:, -1]
        return by_token.repeat_interleave(self.config.patch, dim=1) / self.config.patch

    def pool(self, tokens: torch.Tensor) -> torch.Tensor:
        """``(B, tokens, embed_dim)`` to ``(B, embed_dim)``."""
        return tokens.mean(dim=1) if self.config.pooling == "mean" else tokens[:, -1]
