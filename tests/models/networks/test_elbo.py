"""The objective against the plain formula and torch's distributions, its gradient against finite differences."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import linear, relu

from clusterfolio.models.networks.elbo import NegativeElbo

B, C, H, D, G, N = 4, 6, 5, 3, 7, 6


def numbers(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def arguments(n_hidden=1, dropout=0.0, by_window=False):
    """Those of ``NegativeElbo``, with something unobserved; gradients are taken of level and layers."""
    torch.manual_seed(0)
    widths = [C] + [H] * n_hidden
    layers = [numbers(*shape) for ins in widths[:-1] for shape in ((H, ins), (H,))]
    layers += [numbers(*shape) for shape in ((2 * D, H), (2 * D,), (G, D), (G,), (N, G), (N,))]
    if by_window:
        layers[1] = numbers(B, H)
    drops = [
        torch.empty(B, H, dtype=torch.float64).bernoulli_(1 - dropout) / (1 - dropout) if dropout else None
        for _ in range(n_hidden)
    ]
    observed = (numbers(B, N) > -1).double()
    learned = [each.requires_grad_() for each in (numbers(D), *layers)]
    return numbers(B, C), drops, 1 - dropout, learned[0], numbers(B, D), numbers(B, N), observed, 0.3, *learned[1:]


def plain(bars, drops, share_kept, level, noise, x, observed, half, *layers):
    *hidden, posterior, inner, outer = zip(layers[::2], layers[1::2], strict=True)
    for (weight, bias), drop in zip(hidden, drops, strict=True):
        bars = relu(bars @ weight.T + bias) * (1 if drop is None else drop)
    mean, evidence = linear(bars, *posterior).chunk(2, dim=1)
    spread = 1 / (1 + (level + evidence.tanh()).exp()).sqrt()
    rebuilt = linear(relu(linear(mean + spread * noise, *inner)), *outer)
    divergence = kl_divergence(Normal(mean, spread), Normal(torch.zeros_like(mean), 1.0)).sum()
    return (((rebuilt - x) * observed).square().sum() + 2 * half * divergence) / observed.sum()


CASES = [{}, {"n_hidden": 2, "dropout": 0.4}, {"n_hidden": 2, "by_window": True}, {"dropout": 0.3, "by_window": True}]


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients_are_those_of_the_plain_formula(case):
    found = []
    for loss_of in (plain, lambda *given: NegativeElbo.apply(*given)[0]):
        given = arguments(**case)
        loss = loss_of(*given)
        (3 * loss).backward()
        found.append([loss, *(each.grad for each in given if isinstance(each, torch.Tensor) and each.requires_grad)])
    for expected, own in zip(*found, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_written_gradients_are_finite_differences(case):
    torch.manual_seed(1)
    assert torch.autograd.gradcheck(NegativeElbo.apply, arguments(**case))


def test_where_nothing_was_observed_the_loss_is_the_divergence_alone():
    *before, observed, half = arguments()[:8]
    layers = arguments()[8:]
    nothing = torch.zeros_like(observed)
    assert NegativeElbo.apply(*before, nothing, 0.0, *layers)[0] == 0
    assert NegativeElbo.apply(*before, nothing, half, *layers)[0] > 0
