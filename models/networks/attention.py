"""The Transformer's layer and its dropout, written for training on a CPU."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

#: Numbers in a pool of dropout at least, and how far apart its slices may begin.
POOL, STEP = 1 << 21, 16


class SlicedDropout(nn.Dropout):
    """Dropout whose masks on a CPU are slices, at random places, of a pool drawn once per pass over the windows.

    Every entry is dropped with probability ``p``, as by ``nn.Dropout``, and the entries of one mask are independent;
    masks of different steps may overlap in the pool. Drawing each anew took a fifth of a training's time. On an
    accelerator it is ``nn.Dropout``. ``train()``, which begins a pass, forgets the pool: a training that is resumed
    draws as one that was never interrupted.
    """

    def __init__(self, p: float = 0.5):
        super().__init__(p)
        self.pool: torch.Tensor | None = None

    def train(self, mode: bool = True) -> SlicedDropout:
        """Begin a pass with a new pool."""
        self.pool = None
        return super().train(mode)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` with dropped entries 0 and the others divided by ``1 - p``; as it is in evaluation mode."""
        if not self.training or not self.p or x.device.type != "cpu":
            return super().forward(x)
        if self.pool is None or self.pool.dtype != x.dtype or len(self.pool) < 2 * x.numel():
            size = max(POOL, 2 * x.numel())
            self.pool = torch.empty(size, dtype=x.dtype).bernoulli_(1 - self.p).div_(1 - self.p)
        at = STEP * int(torch.randint((len(self.pool) - x.numel()) // STEP + 1, ()))
        return x * self.pool[at : at + x.numel()].view(x.shape)


class EncoderLayer(nn.TransformerEncoderLayer):
    """torch's layer, its parameters and their names, with fewer copies: attention as two batched products."""

    def __init__(self, width: int, n_heads: int, feed_forward: int, dropout: float):
        super().__init__(width, n_heads, feed_forward, dropout, batch_first=True)
        self.dropout = self.dropout1 = self.dropout2 = SlicedDropout(dropout)

    def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
        """Tokens ``(B, T, width)`` to the same; every token sees every other, so the masks must be None."""
        if src_mask is not None or src_key_padding_mask is not None or is_causal:
            raise ValueError("src_mask, src_key_padding_mask, is_causal: this layer has no masks")
        seen = self.norm1(src + self.dropout1(self.attend(src)))
        inner = self.dropout(functional.relu(self.linear1(seen)))
        return self.norm2(seen + self.dropout2(self.linear2(inner)))

    def attend(self, tokens: torch.Tensor) -> torch.Tensor:
        """Self-attention before the residual, ``(B, T, width)`` to the same."""
        B, T, width = tokens.shape  # batch, tokens, features
        own, heads = self.self_attn, self.self_attn.num_heads
        joined = functional.linear(tokens, own.in_proj_weight, own.in_proj_bias).view(B, T, 3, heads, width // heads)
        queries, keys, values = joined.permute(2, 0, 3, 1, 4).reshape(3, B * heads, T, width // heads)
        nothing = queries.new_zeros(1).expand(B * heads, T, T)
        scores = torch.baddbmm(nothing, queries, keys.mT, beta=0, alpha=(width // heads) ** -0.5)
        mixed = self.dropout(scores.softmax(dim=2)) @ values
        return own.out_proj(mixed.view(B, heads, T, -1).transpose(1, 2).reshape(B, T, width))
