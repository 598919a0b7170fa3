"""The objective of a variational autoencoder with its gradient written out, for training on a CPU.

A step on a hundred windows is a dozen small matrix products. What autograd does beside them, node by node and each in
memory of its own, takes longer than they do; here two or three passes over a product's result follow it.
"""

from __future__ import annotations

import torch
from torch.autograd.function import once_differentiable
from torch.nn.functional import logsigmoid

aten = torch.ops.aten


class NegativeElbo(torch.autograd.Function):
    """Squared error of windows rebuilt from a draw, plus the weighted divergence from the prior, by observed entry.

    With layers ``a -> W a + b``, the hidden ones each followed by a rectifier and dropout::

        h    = hidden layers of the bars            (B, H)
        m, e = split(posterior layer of h)          (B, D) each: mean, and this window's evidence beside the level
        l    = level + tanh e                       logarithm of the evidence
        v    = 1 / (1 + exp l) = sigmoid(-l)        variance
        z    = m + sqrt(v) noise                    the draw
        r    = outer layer of relu(inner layer of z)    the window rebuilt, (B, N)
        loss = (sum (r - x)^2 + weight / 2 sum(m^2 + v - log v - 1)) / n    over the n observed entries

    ``d v / d l = v (v - 1)`` and ``d log v / d l = v - 1``, so with ``by_z``, the error's gradient by the draw::

        by_m = by_z + weight / n m
        by_l = (v - 1) (by_z sqrt(v) noise + weight / n (v - 1)) / 2
        by_e = by_l (1 - tanh^2 e)
    """

    @staticmethod
    def forward(ctx, bars, drops, share_kept, level, noise, x, observed, half, *layers):
        """The loss, a scalar, and the means ``(B, D)``, which carry no gradient.

        Args:
            bars: what the hidden layers read, ``(B, C)``.
            drops: what each hidden layer's units are multiplied with, ``(B, H)``: 0 or ``1 / share_kept``; or None.
            level, noise: ``(D,)`` and ``(B, D)``.
            x, observed: windows and, 0 or 1, what counts of them, ``(B, N)``.
            half: half the divergence's weight, a number or a scalar tensor.
            layers: W and b of the hidden layers, the posterior's and the decoder's inner and outer one. A hidden
                layer's b may have a row per window.
        """
        *hidden, posterior, inner, outer = zip(layers[::2], layers[1::2], strict=True)
        units = [bars]
        for (weight, bias), drop in zip(hidden, drops, strict=True):
            units.append(affine(units[-1], weight, bias).relu_())
            if drop is not None:
                units[-1].mul_(drop)
        mean, evidence = affine(units[-1], *posterior).chunk(2, dim=1)
        bent = evidence.tanh()
        against = bent.neg().sub_(level)
        var = against.sigmoid()
        away = var.sqrt().mul_(noise)
        drawn = mean + away
        rectified = affine(drawn, *inner).relu_()
        error = affine(rectified, *outer).sub_(x).mul_(observed)
        divergence = mean.square().add_(var).sub_(logsigmoid(against)).sum().sub_(var.numel())
        per_entry = observed.sum().clamp(min=1).reciprocal()
        ctx.save_for_backward(mean, bent, var, away, drawn, rectified, error, per_entry, *units, *layers[::2])
        ctx.half, ctx.share_kept, ctx.by_window = half, share_kept, [bias.dim() == 2 for _, bias in hidden]
        ctx.mark_non_differentiable(mean)
        return (error.square().sum() + half * divergence) * per_entry, mean

    @staticmethod
    @once_differentiable
    def backward(ctx, by_loss, _):
        """By level and layers."""
        mean, bent, var, away, drawn, rectified, error, per_entry, *rest = ctx.saved_tensors
        units, (*weights, inner, outer) = rest[: len(ctx.by_window) + 1], rest[len(ctx.by_window) + 1 :]
        per_entry = by_loss * per_entry
        by_rebuilt = error * (2 * per_entry)
        by_inner = through_relu(by_rebuilt @ outer, rectified)
        by_drawn = by_inner @ inner
        half = per_entry * ctx.half
        by_units = mean.new_empty(len(mean), 2 * mean.shape[1])
        by_mean, by_evidence = by_units.chunk(2, dim=1)
        torch.addcmul(by_drawn, mean, half, value=2, out=by_mean)
        less = var - 1
        by_log_evidence = by_drawn.mul_(away).mul_(0.5).addcmul_(less, half).mul_(less)
        aten.tanh_backward.grad_input(by_log_evidence, bent, grad_input=by_evidence)
        gradients = [*of_layer(by_units, units[-1]), *of_layer(by_inner, drawn), *of_layer(by_rebuilt, rectified)]
        for at in reversed(range(len(ctx.by_window))):
            by_units = through_relu(by_units @ weights[at + 1], units[at + 1])  # what was dropped is 0 there too
            if ctx.share_kept != 1:
                by_units.div_(ctx.share_kept)
            gradients[:0] = of_layer(by_units, units[at], ctx.by_window[at])
        return *[None] * 3, by_log_evidence.sum(0), *[None] * 4, *gradients


def affine(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """A layer of rows, ``x W^T + b``."""
    return torch.addmm(bias, x, weight.t())


def of_layer(by_out: torch.Tensor, x: torch.Tensor, by_window: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients by ``affine``'s W and b; that by b has a row per window where b has."""
    return by_out.t() @ x, by_out if by_window else by_out.sum(0)


def through_relu(by_out: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """The gradient by what a rectifier read, in place of that by its result ``out``."""
    return aten.threshold_backward.grad_input(by_out, out, 0, grad_input=by_out)
