"""The Transformer's layer and its dropout, written for training on a CPU.

The gradients of the layer's two halves are written out. Autograd keeps every intermediate result and passes over each
once more than is needed: here dropout is one pass with the residual, its mask and that of the rectifier are read from
the result, and the queries' scale is folded into their weights.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.autograd.function import once_differentiable

aten = torch.ops.aten

#: Numbers in a pool of dropout at least, and how far apart its slices may begin.
POOL, STEP = 1 << 21, 16


class SlicedDropout(nn.Dropout):
    """Dropout whose masks on a CPU are slices, at random places, of a pool drawn once per pass over the windows.

    Every entry is dropped with probability ``p``, as by ``nn.Dropout``, and the entries of one mask are independent;
    masks of different steps may overlap in the pool. Drawing each anew took a fifth of a training's time. On an
    accelerator each is drawn anew. ``train()``, which begins a pass, forgets the pool: a training that is resumed
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
        mask = self.mask(x.shape, x)
        return x if mask is None else x * mask

    def mask(self, shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor | None:
        """What to multiply with: 0 or ``1 / (1 - p)``, of this shape and ``like``'s kind; None = drop nothing."""
        if not self.training or not self.p:
            return None
        count = torch.Size(shape).numel()
        if like.device.type != "cpu":
            return self.drawn(count, like).view(shape)
        if self.pool is None or self.pool.dtype != like.dtype or len(self.pool) < 2 * count:
            self.pool = self.drawn(max(POOL, 2 * count), like)
        at = STEP * int(torch.randint((len(self.pool) - count) // STEP + 1, ()))
        return self.pool[at : at + count].view(shape)

    def drawn(self, count: int, like: torch.Tensor) -> torch.Tensor:
        """So many entries of a mask."""
        return like.new_empty(count).bernoulli_(1 - self.p).div_(1 - self.p)


class EncoderLayer(nn.TransformerEncoderLayer):
    """torch's layer, its parameters and their names, with attention as two batched products."""

    def __init__(self, width: int, n_heads: int, feed_forward: int, dropout: float):
        super().__init__(width, n_heads, feed_forward, dropout, batch_first=True)
        self.dropout = self.dropout1 = self.dropout2 = SlicedDropout(dropout)

    def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
        """Tokens ``(B, T, width)`` to the same; every token sees every other, so the masks must be None."""
        if src_mask is not None or src_key_padding_mask is not None or is_causal:
            raise ValueError("src_mask, src_key_padding_mask, is_causal: this layer has no masks")
        B, T, width = src.shape
        own, inner, outer, mask = self.self_attn, self.linear1, self.linear2, self.dropout.mask
        seen = Attended.apply(
            src, own.in_proj_weight, own.in_proj_bias, own.out_proj.weight, own.out_proj.bias,
            self.norm1.weight, self.norm1.bias, self.norm1.eps, own.num_heads,
            mask((B * own.num_heads, T, T), src), mask((B * T, width), src),
        )  # fmt: skip
        return FedForward.apply(
            seen, inner.weight, inner.bias, outer.weight, outer.bias,
            self.norm2.weight, self.norm2.bias, self.norm2.eps,
            mask((B * T, inner.out_features), src), mask((B * T, width), src), 1 - self.dropout.p * self.training,
        ).view(B, T, width)  # fmt: skip


class Attended(torch.autograd.Function):
    """``norm(x + dropout(attention(x)))``, with B windows of T tokens, H heads of depth D, and width C = H D."""

    @staticmethod
    def forward(ctx, x, weight, bias, out_weight, out_bias, gain, shift, eps, heads, drop_scores, drop):
        """Tokens ``(B, T, C)`` to ``(B T, C)``; the masks are ``(B H, T, T)`` and ``(B T, C)``, or None."""
        B, T, C = x.shape
        x = x.reshape(B * T, C)
        weight, bias = scaled_queries(weight, C // heads), scaled_queries(bias, C // heads)
        joined = torch.addmm(bias, x, weight.t()).view(B, T, 3, heads, C // heads)
        parts = joined.permute(2, 0, 3, 1, 4).reshape(3, B * heads, T, C // heads)
        queries, keys, values = parts.unbind(0)
        shares = torch.bmm(queries, keys.mT).softmax(dim=2)
        kept = shares if drop_scores is None else shares * drop_scores
        mixed = torch.bmm(kept, values).view(B, heads, T, -1).transpose(1, 2).reshape(B * T, C)
        added = with_residual(x, torch.addmm(out_bias, mixed, out_weight.t()), drop)
        out, mean, rstd = aten.native_layer_norm(added, [C], gain, shift, eps)
        ctx.save_for_backward(
            x, weight, out_weight, gain, shift, drop_scores, drop, parts, shares, kept, mixed, added, mean, rstd
        )
        ctx.shape = B, heads, T, C
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, by_out):
        """By tokens and parameters."""
        x, weight, out_weight, gain, shift, drop_scores, drop, parts, shares, kept, mixed, *norm = ctx.saved_tensors
        B, heads, T, C = ctx.shape
        queries, keys, values = parts.unbind(0)
        by_added, by_gain, by_shift = norm_backward(by_out, *norm, gain, shift)
        by_attended = by_added if drop is None else by_added * drop
        by_mixed = (by_attended @ out_weight).view(B, T, heads, -1).transpose(1, 2).reshape(B * heads, T, -1)
        by_shares = torch.bmm(by_mixed, values.mT)
        if drop_scores is not None:
            by_shares.mul_(drop_scores)
        by_scores = aten._softmax_backward_data(by_shares, shares, 2, shares.dtype)
        by_parts = torch.empty_like(parts)
        torch.bmm(by_scores, keys, out=by_parts[0])
        torch.bmm(by_scores.mT, queries, out=by_parts[1])
        torch.bmm(kept.mT, by_mixed, out=by_parts[2])
        by_joined = by_parts.view(3, B, heads, T, -1).permute(1, 3, 0, 2, 4).reshape(B * T, 3 * C)
        by_weight = scaled_queries(by_joined.t() @ x, C // heads)
        by_bias = scaled_queries(by_joined.sum(0), C // heads)
        by_out_weight, by_out_bias = by_attended.t() @ mixed, by_attended.sum(0)
        by_x = by_added.addmm_(by_joined, weight).view(B, T, C)
        return by_x, by_weight, by_bias, by_out_weight, by_out_bias, by_gain, by_shift, *[None] * 4


class FedForward(torch.autograd.Function):
    """``norm(x + dropout(outer(dropout(relu(inner(x))))))`` of N tokens, width C, F inner units."""

    @staticmethod
    def forward(ctx, x, weight, bias, out_weight, out_bias, gain, shift, eps, drop_inner, drop, share_kept):
        """Tokens ``(N, C)`` to the same; the masks are ``(N, F)`` and ``(N, C)``, or None."""
        inner = torch.addmm(bias, x, weight.t()).relu_()
        if drop_inner is not None:
            inner.mul_(drop_inner)
        added = with_residual(x, torch.addmm(out_bias, inner, out_weight.t()), drop)
        out, mean, rstd = aten.native_layer_norm(added, [x.shape[1]], gain, shift, eps)
        ctx.save_for_backward(x, weight, out_weight, gain, shift, drop, inner, added, mean, rstd)
        ctx.share_kept = share_kept
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, by_out):
        """By tokens and parameters."""
        x, weight, out_weight, gain, shift, drop, inner, *norm = ctx.saved_tensors
        by_added, by_gain, by_shift = norm_backward(by_out, *norm, gain, shift)
        by_fed = by_added if drop is None else by_added * drop
        by_out_weight, by_out_bias = by_fed.t() @ inner, by_fed.sum(0)
        by_inner = by_fed @ (out_weight / ctx.share_kept)
        aten.threshold_backward.grad_input(by_inner, inner, 0, grad_input=by_inner)  # what was dropped is 0 there too
        by_x = by_added.addmm_(by_inner, weight)
        return by_x, by_inner.t() @ x, by_inner.sum(0), by_out_weight, by_out_bias, by_gain, by_shift, *[None] * 4


def scaled_queries(joined: torch.Tensor, depth: int) -> torch.Tensor:
    """The queries' third of the rows, the first, divided by the root of the heads' depth: a copy."""
    joined = joined.clone()
    joined[: len(joined) // 3] *= depth**-0.5
    return joined


def with_residual(x: torch.Tensor, change: torch.Tensor, drop: torch.Tensor | None) -> torch.Tensor:
    """``x + dropout(change)``, in place of the change where nothing is dropped."""
    return change.add_(x) if drop is None else torch.addcmul(x, change, drop, out=change)


def norm_backward(
    by_out: torch.Tensor,
    x: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
    gain: torch.Tensor,
    shift: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of a layer norm over the last axis: by its input, its gain and its shift."""
    return aten.native_layer_norm_backward(by_out.contiguous(), x, [x.shape[1]], mean, rstd, gain, shift, [True] * 3)
