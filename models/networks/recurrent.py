"""Recurrent autoencoders: LSTM, GRU, and an LSTM whose last state looks back by attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from clusterfolio.models.batch import Batch, Encoding
from clusterfolio.models.networks.autoencoder import Autoencoder, window_decoder
from clusterfolio.models.networks.inputs import StaticEmbedding, joined_bars


@dataclass(frozen=True)
class RecurrentConfig:
    """Shape of the network.

    Attributes:
        embed_dim: length of the embedding.
        hidden: units of each recurrent layer.
        n_layers: recurrent layers, one on the other.
        dropout: between layers.
        feed_forward: units of the decoder's hidden layer.
    """

    embed_dim: int = 64
    hidden: int = 64
    n_layers: int = 1
    dropout: float = 0.0
    feed_forward: int = 128

    def __post_init__(self):
        for name in ("embed_dim", "hidden", "n_layers", "feed_forward"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and less than 1, got {self.dropout}")


@dataclass(frozen=True)
class HybridConfig(RecurrentConfig):
    """Shape of the LSTM with attention.

    Attributes:
        embed_dim: length of the embedding.
        hidden: units of each recurrent layer.
        n_layers: recurrent layers, one on the other.
        dropout: between layers and of the attention.
        feed_forward: units of the decoder's hidden layer.
        n_heads: of the attention.
    """

    n_heads: int = 4

    def __post_init__(self):
        super().__post_init__()
        if self.hidden % self.n_heads:
            raise ValueError(f"hidden must be a multiple of n_heads, got {self.hidden} and {self.n_heads}")


class RecurrentAutoencoder(Autoencoder):
    """Bars -> recurrent layers -> the last bar's state -> embedding -> the window again.

    The embedding is all that the decoder sees (Srivastava, Mansimov and Salakhutdinov 2015, with a decoder that
    writes all bars at once).
    """

    config_class = RecurrentConfig
    cell: type[nn.LSTM] | type[nn.GRU]

    def __init__(
        self,
        n_features: int,
        lookback: int,
        config: RecurrentConfig,
        n_exog: int = 0,
        static_sizes: tuple[int, ...] = (),
    ):
        super().__init__()
        self.config, self.n_exog = config, n_exog
        width = config.hidden
        self.embed = nn.Linear(n_features + n_exog, width)
        self.statics = StaticEmbedding(static_sizes, width) if static_sizes else None
        between = config.dropout if config.n_layers > 1 else 0.0
        self.recurrent = self.cell(width, width, config.n_layers, batch_first=True, dropout=between)
        self.project = nn.Linear(width, config.embed_dim)
        self.decoder = window_decoder(config.embed_dim, config.feed_forward, lookback, n_features)

    def encode(self, batch: Batch) -> Encoding:
        """Embeddings of the windows, ``mean`` of shape ``(B, embed_dim)``."""
        return Encoding(self.project(self.summary(self.states(batch))))

    def states(self, batch: Batch) -> torch.Tensor:
        """The last layer's state after each bar, ``(B, T, hidden)``."""
        bars = self.embed(joined_bars(batch, self.n_exog))
        if self.statics is not None:
            bars = bars + self.statics(batch).sum(dim=1, keepdim=True)
        return self.recurrent(bars)[0]

    def summary(self, states: torch.Tensor) -> torch.Tensor:
        """``(B, T, hidden)`` to ``(B, hidden)``: the state after the last bar."""
        return states[:, -1]


class LSTMAutoencoder(RecurrentAutoencoder):
    """Long short-term memory (Hochreiter and Schmidhuber 1997)."""

    cell = nn.LSTM


class GRUAutoencoder(RecurrentAutoencoder):
    """Gated recurrent units (Cho et al. 2014)."""

    cell = nn.GRU


class AttentionLSTMAutoencoder(RecurrentAutoencoder):
    """An LSTM whose last state asks all states by multi-head attention; both are added and normalised."""

    config_class = HybridConfig
    cell = nn.LSTM

    def __init__(
        self,
        n_features: int,
        lookback: int,
        config: HybridConfig,
        n_exog: int = 0,
        static_sizes: tuple[int, ...] = (),
    ):
        super().__init__(n_features, lookback, config, n_exog, static_sizes)
        self.attention = nn.MultiheadAttention(config.hidden, config.n_heads, config.dropout, batch_first=True)
        self.norm = nn.LayerNorm(config.hidden)

    def summary(self, states: torch.Tensor) -> torch.Tensor:
        """``(B, T, hidden)`` to ``(B, hidden)``: the last state and what it finds among all."""
        last = states[:, -1:]
        found, _ = self.attention(last, states, states, need_weights=False)
        return self.norm(last + found)[:, 0]

    def attention_by_bar(self, batch: Batch) -> torch.Tensor:
        """How much the embedding attends to each bar, mean of the heads, ``(B, T)``; rows sum to 1."""
        states = self.states(batch)
        return self.attention(states[:, -1:], states, states, need_weights=True)[1][:, 0]
