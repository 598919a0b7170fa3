import numpy as np
import pytest
import torch

from clusterfolio.models.networks.autoencoder import masked_mse
from clusterfolio.models.networks.transformer import DECODERS, POOLINGS, TransformerAutoencoder, TransformerConfig
from tests.models.batches import batch_of


def make(**settings):
    torch.manual_seed(0)
    return TransformerAutoencoder(5, 30, TransformerConfig(**settings)).eval()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_form_encodes_and_rebuilds(pooling, decoder):
    module, x = make(pooling=pooling, decoder=decoder, n_layers=2), torch.randn(3, 30, 5)
    encoding = module.encode(batch_of(x))
    assert encoding.mean.shape == (3, 64) and encoding.var is None
    assert module.loss(batch_of(x)).shape == ()


def test_default_is_the_published_shape():
    shapes = {name: tuple(p.shape) for name, p in make(decoder="tokens").named_parameters()}
    assert shapes["embed.0.weight"] == (64, 5)
    assert shapes["embed.1.weight"] == (64,)  # LayerNorm
    assert shapes["positions"] == (30, 64)
    assert shapes["attention.layers.0.linear1.weight"] == (128, 64)
    assert (shapes["decoder.0.weight"], shapes["decoder.2.weight"]) == ((32, 64), (5, 32))
    assert "attention.layers.1.linear1.weight" not in shapes


def test_pooled_decoder_sees_the_embedding_alone():
    module, x = make(), torch.randn(4, 30, 5)
    seen = []
    module.decoder[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    module.loss(batch_of(x))
    torch.testing.assert_close(seen[0], module.encode(batch_of(x)).mean, atol=1e-5, rtol=0)


def test_position_matters():
    module, x = make(), torch.randn(2, 30, 5)
    assert not torch.allclose(module.encode(batch_of(x)).mean, module.encode(batch_of(x.flip(1))).mean, atol=1e-4)


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_patch_is_a_run_of_bars_and_all_are_rebuilt(decoder):
    torch.manual_seed(0)
    module = TransformerAutoencoder(5, 252, TransformerConfig(patch=21, n_layers=2, decoder=decoder)).eval()
    x = torch.randn(2, 252, 5)
    assert module.tokens(batch_of(x)).shape == (2, 12, 64)
    assert module.rebuild(batch_of(x)).shape == x.shape
    changed = x.clone()
    changed[:, 42:63] += 1  # the third patch, and no other's input
    moved = (module.inputs(batch_of(changed)) - module.inputs(batch_of(x))).abs().amax(dim=(0, 2)) > 0
    assert moved.tolist() == [token == 2 for token in range(12)]
    with pytest.raises(ValueError, match=r"patch: the lookback of 30 bars must be a multiple of it, got 21"):
        TransformerAutoencoder(5, 30, TransformerConfig(patch=21))


def test_masking_hides_the_stated_share_of_tokens_in_training_only():
    module, x = make(masked=0.4), torch.randn(200, 30, 5)
    with torch.no_grad():
        module.hidden_token.fill_(100.0)
        whole = module.inputs(batch_of(x))
        hidden = (module.train().inputs(batch_of(x)) - module.positions == 100).all(dim=2)
        torch.testing.assert_close(module.eval().inputs(batch_of(x)), whole)
    assert hidden.float().mean().item() == pytest.approx(0.4, abs=0.02)
    assert "hidden_token" not in make().state_dict()


def test_loss_averages_over_observed_entries_only():
    x = torch.zeros(1, 2, 2)
    rebuilt = torch.tensor([[[1.0, 100.0], [3.0, 0.0]]])
    mask = torch.tensor([[[True, False], [True, True]]])
    assert masked_mse(rebuilt, x, mask).item() == pytest.approx((1 + 9 + 0) / 3)
    assert masked_mse(rebuilt, x, torch.zeros_like(mask)).item() == 0


def test_impossible_shapes_are_named():
    with pytest.raises(ValueError, match="multiple of n_heads, got 64 and 5"):
        TransformerConfig(n_heads=5)
    with pytest.raises(ValueError, match="unknown decoder 'token'; available: pooled, tokens"):
        TransformerConfig(decoder="token")
    with pytest.raises(ValueError, match="unknown pooling 'max'; available: mean, last"):
        TransformerConfig(pooling="max")


def test_batches_move_as_a_whole():
    batch = batch_of(torch.randn(2, 30, 5)).to(torch.device("meta"))
    assert {tensor.device.type for tensor in (batch.x, batch.mask, batch.date_idx, batch.asset_idx)} == {"meta"}
    assert batch.static is None and len(batch) == 2 and np.prod(batch.x.shape) == 300
