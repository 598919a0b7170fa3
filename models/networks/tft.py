"""A Temporal Fusion Transformer as an encoder: it says which variables and which days its embedding looks at.

Lim, Arik, Loeff and Pfister (2021), "Temporal Fusion Transformers for interpretable multi-horizon time series
forecasting", International Journal of Forecasting 37(4); the names of the parts below are the paper's. Where the paper
forecasts from the last observed position, that position becomes the embedding here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn.functional import elu, glu

from clusterfolio.models.batch import Batch, Encoding
from clusterfolio.models.networks.autoencoder import Autoencoder, window_decoder
from clusterfolio.models.networks.inputs import StaticEmbedding, joined_bars


@dataclass(frozen=True)
class TFTConfig:
    """Shape of the network.

    Attributes:
        embed_dim: length of the embedding.
        hidden: width of every part of the network.
        n_heads: of the interpretable attention.
        dropout: in every gate and in the attention.
        feed_forward: units of the decoder's hidden layer.
    """

    embed_dim: int = 64
    hidden: int = 32
    n_heads: int = 4
    dropout: float = 0.1
    feed_forward: int = 128

    def __post_init__(self):
        for name in ("embed_dim", "hidden", "n_heads", "feed_forward"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.hidden % self.n_heads:
            raise ValueError(f"hidden must be a multiple of n_heads, got {self.hidden} and {self.n_heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and less than 1, got {self.dropout}")


class GroupedLinear(nn.Module):
    """A linear map of its own for each of ``groups`` variables: ``(..., groups, n_in)`` to ``(..., groups, n_out)``."""

    def __init__(self, n_in: int, n_out: int, groups: int):
        super().__init__()
        bound = n_in**-0.5
        self.weight = nn.Parameter(torch.empty(groups, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(groups, n_out).uniform_(-bound, bound))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Each variable through its own linear map, ``(..., G, O)``."""
        return torch.einsum("...gi,gio->...go", x, self.weight) + self.bias


class GatedSkip(nn.Module):
    """``LayerNorm(skip + GLU(x))``: a part of the network that can be closed."""

    def __init__(self, width: int, dropout: float, linear: type[nn.Module] | partial = nn.Linear):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.gate = linear(width, 2 * width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` through the gate, added to ``skip`` and normalised."""
        return self.norm(skip + glu(self.gate(self.dropout(x)), dim=-1))


class GatedResidual(nn.Module):
    """The paper's gated residual network, equations 2 to 5.

    Args:
        n_in, n_out: width of what comes in and goes out.
        context: width of a context vector that may be handed to ``forward``; 0 = none.
        linear: ``nn.Linear``, or one for each of several variables.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        dropout: float,
        context: int = 0,
        linear: type[nn.Module] | partial = nn.Linear,
    ):
        super().__init__()
        self.enter = linear(n_in, n_out)
        self.context = nn.Linear(context, n_out, bias=False) if context else None
        self.inner = linear(n_out, n_out)
        self.leave = GatedSkip(n_out, dropout, linear)
        self.skip = nn.Identity() if n_in == n_out else linear(n_in, n_out)

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """``x`` through the network, in the light of ``context``; same leading axes."""
        inner = self.enter(x)
        if context is not None:
            inner = inner + self.context(context)
        return self.leave(self.inner(elu(inner)), self.skip(x))


class VariableSelection(nn.Module):
    """Weights that sum to 1 over the variables, and the variables' mean under them: equations 6 to 8."""

    def __init__(self, n_variables: int, width: int, dropout: float, context: int = 0):
        super().__init__()
        self.weigh = GatedResidual(n_variables * width, n_variables, dropout, context)
        # Its last norm would begin by spreading the weights at random; so they begin nearly equal.
        nn.init.constant_(self.weigh.leave.norm.weight, 0.1)
        self.each = GatedResidual(width, width, dropout, linear=partial(GroupedLinear, groups=n_variables))

    def forward(
        self, variables: torch.Tensor, context: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``variables (..., V, width)`` to their mean ``(..., width)`` and the weights ``(..., V)``."""
        weights = self.weigh(variables.flatten(-2), context).softmax(dim=-1)
        return (self.each(variables) * weights.unsqueeze(-1)).sum(dim=-2), weights


class InterpretableAttention(nn.Module):
    """Multi-head attention whose heads share their values, so that their mean is one attention: equations 13 to 16."""

    def __init__(self, width: int, n_heads: int, dropout: float):
        super().__init__()
        self.n_heads = n_heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.leave = nn.Linear(width, width // n_heads), nn.Linear(width // n_heads, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: torch.Tensor, bars: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``query (B, width)`` over ``bars (B, T, width)``: what is found ``(B, width)``, where ``(B, T)``."""
        B, T, width = bars.shape
        heads, depth = self.n_heads, width // self.n_heads
        asked = self.query(query).reshape(B, heads, 1, depth)
        keys = self.key(bars).reshape(B, T, heads, depth).transpose(1, 2)  # (B, heads, T, depth)
        attention = (asked @ keys.transpose(2, 3) / depth**0.5).softmax(dim=-1).mean(dim=1)  # (B, 1, T)
        return self.leave(self.dropout(attention) @ self.value(bars))[:, 0], attention[:, 0]


class TemporalFusionTransformer(Autoencoder):
    """Variables selected bar by bar -> LSTM -> attention of the last bar to all -> embedding -> the window again.

    Static covariates, where there are some, steer the selection, start the LSTM and enrich its states.
    """

    config_class = TFTConfig

    def __init__(
        self, n_features: int, lookback: int, config: TFTConfig, n_exog: int = 0, static_sizes: tuple[int, ...] = ()
    ):
        super().__init__()
        self.config, self.n_features, self.n_exog = config, n_features, n_exog
        width, dropout, n_variables = config.hidden, config.dropout, n_features + n_exog
        context = width if static_sizes else 0
        self.embed = GroupedLinear(1, width, n_variables)
        self.select = VariableSelection(n_variables, width, dropout, context)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.after_lstm = GatedSkip(width, dropout)
        self.enrich = GatedResidual(width, width, dropout, context)
        self.attention = InterpretableAttention(width, config.n_heads, dropout)
        self.after_attention = GatedSkip(width, dropout)
        self.feed_forward = GatedResidual(width, width, dropout)
        self.after_all = GatedSkip(width, dropout)
        self.project = nn.Linear(width, config.embed_dim)
        self.decoder = window_decoder(config.embed_dim, config.feed_forward, lookback, n_features)
        self.statics = self.select_static = None
        if static_sizes:
            self.statics = StaticEmbedding(static_sizes, width)
            self.select_static = VariableSelection(len(static_sizes), width, dropout)
            self.contexts = nn.ModuleList(GatedResidual(width, width, dropout) for _ in range(4))

    def encode(self, batch: Batch) -> Encoding:
        """Embeddings of the windows, ``mean`` of shape ``(B, embed_dim)``."""
        return Encoding(self.read(batch)[0])

    def importance(self, batch: Batch) -> torch.Tensor:
        """How much of the embedding comes from each channel on each bar, ``(B, T, F + n_exog)``; sums to 1 a window.

        A bar's share is its attention, a channel's share of the bar its selection weight.
        """
        _, weights, attention = self.read(batch)
        return attention.unsqueeze(2) * weights

    def attention_by_bar(self, batch: Batch) -> torch.Tensor:
        """How much the embedding attends to each bar, ``(B, T)``; rows sum to 1."""
        return self.read(batch)[2]

    def variable_weights(self, batch: Batch) -> torch.Tensor:
        """Selection weight of each channel, mean of the bars, ``(B, F + n_exog)``; rows sum to 1."""
        return self.read(batch)[1].mean(dim=1)

    def read(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Embeddings ``(B, embed_dim)``, selection weights ``(B, T, F + n_exog)`` and attention ``(B, T)``."""
        variables = self.embed(joined_bars(batch, self.n_exog).unsqueeze(3))  # (B, T, F + n_exog, width)
        for_selection = for_states = start = None
        if self.statics is not None:
            known, _ = self.select_static(self.statics(batch))
            for_selection, for_states, hidden, cell = (each(known) for each in self.contexts)
            for_selection, for_states = for_selection.unsqueeze(1), for_states.unsqueeze(1)  # the same on every bar
            start = (hidden.unsqueeze(0).contiguous(), cell.unsqueeze(0).contiguous())
        selected, weights = self.select(variables, for_selection)
        states = self.after_lstm(self.lstm(selected, start)[0], selected)
        enriched = self.enrich(states, for_states)
        found, attention = self.attention(enriched[:, -1], enriched)
        fused = self.feed_forward(self.after_attention(found, enriched[:, -1]))
        return self.project(self.after_all(fused, states[:, -1])), weights, attention
