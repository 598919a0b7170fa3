import pytest
import torch

from clusterfolio.models.networks.recurrent import (
    AttentionLSTMAutoencoder,
    GRUAutoencoder,
    HybridConfig,
    LSTMAutoencoder,
    RecurrentConfig,
)
from tests.models.batches import batch_of

ALL = (LSTMAutoencoder, GRUAutoencoder, AttentionLSTMAutoencoder)


def make(found, **settings):
    torch.manual_seed(0)
    return found(3, 10, found.config_class(**settings)).eval()


@pytest.mark.parametrize("found", ALL)
def test_the_window_is_rebuilt_from_the_embedding_alone(found):
    module, batch = make(found, embed_dim=2), batch_of(torch.randn(4, 10, 3))
    seen = []
    module.decoder[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    module.loss(batch)
    assert seen[0].shape == (4, 2)
    torch.testing.assert_close(seen[0], module.encode(batch).mean)


@pytest.mark.parametrize("found", ALL)
def test_a_state_knows_the_bars_before_it_and_none_after(found):
    module, x = make(found, n_layers=2), torch.randn(2, 10, 3)
    later = x.clone()
    later[:, 6:] = 9
    torch.testing.assert_close(module.states(batch_of(later))[:, :6], module.states(batch_of(x))[:, :6])
    earlier = x.clone()
    earlier[:, 0] = 9
    assert not torch.allclose(module.encode(batch_of(earlier)).mean, module.encode(batch_of(x)).mean, atol=1e-5)


def test_one_step_of_the_gru_is_its_equations():
    module, x = make(GRUAutoencoder, hidden=4), torch.randn(1, 10, 3)
    layer, bar = module.recurrent, module.embed(x[:, 0])
    reset_in, update_in, new_in = (bar @ layer.weight_ih_l0.T + layer.bias_ih_l0).chunk(3, dim=1)
    reset_b, update_b, new_b = layer.bias_hh_l0.chunk(3)  # the state before the first bar is 0
    update = torch.sigmoid(update_in + update_b)
    new = torch.tanh(new_in + torch.sigmoid(reset_in + reset_b) * new_b)
    torch.testing.assert_close(module.states(batch_of(x))[:, 0], (1 - update) * new)


def test_attention_of_the_hybrid_is_a_share_of_each_bar():
    module = make(AttentionLSTMAutoencoder)
    attention = module.attention_by_bar(batch_of(torch.randn(5, 10, 3)))
    assert attention.shape == (5, 10) and (attention >= 0).all()
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(5))


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match=r"n_layers must be at least 1, got 0"):
        RecurrentConfig(n_layers=0)
    with pytest.raises(ValueError, match=r"dropout must be at least 0 and less than 1, got 1\.5"):
        RecurrentConfig(dropout=1.5)
    with pytest.raises(ValueError, match=r"hidden must be a multiple of n_heads, got 10 and 4"):
        HybridConfig(hidden=10)
