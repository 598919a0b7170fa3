"""The layer against torch's own, and the dropout against what dropout is."""

import pytest
import torch
from torch import nn

from clusterfolio.models.networks.attention import Attended, EncoderLayer, FedForward, SlicedDropout


def pair(dropout=0.1):
    """torch's layer and ours with the same weights."""
    torch.manual_seed(0)
    reference = nn.TransformerEncoderLayer(16, 4, 24, dropout, batch_first=True)
    own = EncoderLayer(16, 4, 24, dropout)
    own.load_state_dict(reference.state_dict())  # the same names and shapes
    return reference, own


@pytest.mark.parametrize(("mode", "dropout"), [(False, 0.3), (True, 0.0)])
def test_outputs_and_gradients_are_those_of_torchs_layer(mode, dropout):
    found = []
    for layer in pair(dropout):
        x = torch.randn(5, 7, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
        out = layer.train(mode)(x)
        (out * torch.arange(16.0)).sum().backward()
        found.append([out, x.grad, *(each.grad for each in layer.parameters())])
    for reference, own in zip(*found, strict=True):
        torch.testing.assert_close(own, reference, atol=2e-4, rtol=1e-4)


def doubles(*shape):
    """Random numbers of which gradients are taken."""
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def dropped(p, *shape):
    return torch.empty(*shape, dtype=torch.float64).bernoulli_(1 - p) / (1 - p)


@pytest.mark.parametrize("p", [0.0, 0.4])
def test_written_gradients_are_finite_differences_with_dropout_too(p):
    torch.manual_seed(0)
    B, T, C, heads, hidden = 2, 3, 4, 2, 5
    norm = doubles(C), doubles(C), 1e-5
    masks = (dropped(p, B * heads, T, T), dropped(p, B * T, C)) if p else (None, None)
    assert torch.autograd.gradcheck(
        Attended.apply,
        (doubles(B, T, C), doubles(3 * C, C), doubles(3 * C), doubles(C, C), doubles(C), *norm, heads, *masks),
    )
    masks = (dropped(p, B * T, hidden), dropped(p, B * T, C)) if p else (None, None)
    assert torch.autograd.gradcheck(
        FedForward.apply,
        (doubles(B * T, C), doubles(hidden, C), doubles(hidden), doubles(C, hidden), doubles(C), *norm, *masks, 1 - p),
    )


def test_with_everything_dropped_but_the_residual_only_norms_are_left():
    reference, layer = pair(0.5)
    x = torch.randn(2, 3, 16)
    layer.dropout.mask = lambda shape, like: torch.zeros(shape)
    torch.testing.assert_close(layer(x), reference.norm2(reference.norm1(x)))


def test_masks_are_refused_since_every_token_sees_every_other():
    with pytest.raises(ValueError, match="src_mask"):
        pair()[1](torch.zeros(1, 3, 16), src_mask=torch.zeros(3, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_a_share_and_keeps_the_mean(dtype):
    torch.manual_seed(0)
    out = SlicedDropout(0.2).train()(torch.ones(200, 500, dtype=dtype)).float()
    assert set(out.unique().tolist()) == {0.0, torch.tensor(1 / 0.8, dtype=dtype).item()}
    assert (out == 0).float().mean().item() == pytest.approx(0.2, abs=4 * (0.16 / 100_000) ** 0.5)


def test_dropped_entries_are_independent_within_a_mask_and_differ_between_masks():
    torch.manual_seed(0)
    dropout, x = SlicedDropout(0.5).train(), torch.ones(100_000)
    first, second = (dropout(x) - 1 for _ in range(2))
    for a, b in ((first[1:], first[:-1]), (first[64:], first[:-64]), (first, second)):
        assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1].item()) < 4 / len(a) ** 0.5


def test_a_pass_draws_a_pool_of_its_own_from_the_seeded_generator():
    dropout, x = SlicedDropout(0.5), torch.ones(1000)
    found = []
    for seed in (1, 1, 2):
        dropout.train()
        torch.manual_seed(seed)
        found.append(torch.stack([dropout(x), dropout(x)]))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_nothing_is_dropped_in_evaluation_or_at_probability_0_and_large_inputs_have_a_pool():
    x = torch.ones(1500, 1500)
    assert torch.equal(SlicedDropout(0.5).eval()(x), x) and torch.equal(SlicedDropout(0.0).train()(x), x)
    assert (SlicedDropout(0.5).train()(x) == 0).float().mean().item() == pytest.approx(0.5, abs=0.01)
