import numpy as np
import pytest
import torch

from clusterfolio.models.batch import BatchSource
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.networks.tft import (
    GatedResidual,
    GroupedLinear,
    InterpretableAttention,
    TemporalFusionTransformer,
    TFTConfig,
    VariableSelection,
)
from clusterfolio.models.scaling import scale
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.windows import make_windows
from tests.models.batches import batch_of

CPU = torch.device("cpu")


def make(n_exog=0, static_sizes=(), **settings):
    torch.manual_seed(0)
    return TemporalFusionTransformer(5, 12, TFTConfig(**settings), n_exog, static_sizes).eval()


@pytest.mark.parametrize("planted", [1, 4])
def test_a_planted_informative_variable_is_ranked_first(planted):
    """Four channels of noise and a wave, high on some assets: the embedding has room for that, not for the noise."""
    rng = np.random.default_rng(planted)
    values = rng.normal(size=(200, 6, 5))
    days, phase = np.arange(200)[:, None] / 20, rng.uniform(0, 1, 6)
    values[:, :, planted] = np.linspace(1, 6, 6) * np.sin(2 * np.pi * (days + phase)) ** 3
    windows = make_windows(values.astype(np.float32), np.ones(values.shape, dtype=bool), lookback=12)
    config = {"embed_dim": 2, "hidden": 8, "feed_forward": 32}
    train = TrainConfig(epochs=4, batch_size=32, learning_rate=1e-2, holdout=0)
    fitted = Encoder("tft", config, train, lookback=12, device="cpu").fit(windows)
    with torch.no_grad():
        batch = BatchSource(scale(windows, fitted.scaler_, fitted.clip), CPU).batch(np.arange(len(windows)))
        weights = fitted.module_.variable_weights(batch).mean(dim=0)
        shares = fitted.module_.importance(batch).sum(dim=1).mean(dim=0)
    assert weights.argmax() == shares.argmax() == planted
    assert weights[planted] > 0.4


def test_importance_is_a_share_of_each_channel_on_each_bar():
    module, batch = make(n_exog=2), batch_of(torch.randn(3, 12, 5), exog=torch.randn(3, 12, 2))
    importance = module.importance(batch)
    assert importance.shape == (3, 12, 7) and (importance >= 0).all()
    torch.testing.assert_close(importance.sum(dim=(1, 2)), torch.ones(3))
    weights = module.variable_weights(batch)
    assert weights.shape == (3, 7)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))


def test_each_variable_has_a_linear_map_of_its_own():
    torch.manual_seed(0)
    grouped, x = GroupedLinear(3, 4, groups=2), torch.randn(5, 2, 3)
    apart = torch.stack([x[:, at] @ grouped.weight[at] + grouped.bias[at] for at in range(2)], dim=1)
    torch.testing.assert_close(grouped(x), apart)


def test_a_gated_residual_network_is_its_equations():
    torch.manual_seed(0)
    network = GatedResidual(3, 4, dropout=0.1, context=2).eval()
    x, context = torch.randn(5, 3), torch.randn(5, 2)
    inner = network.inner(torch.nn.functional.elu(network.enter(x) + context @ network.context.weight.T))
    value, gate = network.leave.gate(inner).chunk(2, dim=1)
    expected = torch.nn.functional.layer_norm(network.skip(x) + torch.sigmoid(gate) * value, (4,))
    torch.testing.assert_close(network(x, context), expected)


def test_a_closed_gate_leaves_the_skip_alone():
    network = GatedResidual(4, 4, dropout=0.0)
    with torch.no_grad():
        network.leave.gate.bias[4:] = -100  # the half that passes through the sigmoid
        network.leave.gate.weight[4:] = 0
    x = torch.randn(5, 4)
    torch.testing.assert_close(network(x), torch.nn.functional.layer_norm(x, (4,)))


def test_selected_variables_are_their_mean_under_weights_that_sum_to_one():
    torch.manual_seed(0)
    selection, variables = VariableSelection(3, 4, dropout=0.0), torch.randn(5, 3, 4)
    mean, weights = selection(variables)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(5))
    torch.testing.assert_close(mean, (selection.each(variables) * weights[:, :, None]).sum(dim=1))


def test_one_head_of_the_interpretable_attention_is_plain_attention():
    torch.manual_seed(0)
    attention, bars, query = InterpretableAttention(4, 1, 0.0), torch.randn(3, 6, 4), torch.randn(3, 4)
    found, where = attention(query, bars)
    plain = torch.nn.functional.scaled_dot_product_attention(
        attention.query(query)[:, None], attention.key(bars), attention.value(bars)
    )
    torch.testing.assert_close(found, attention.leave(plain)[:, 0])
    torch.testing.assert_close(where.sum(dim=1), torch.ones(3))


def test_untrained_the_weights_are_nearly_equal():
    weights = make().variable_weights(batch_of(torch.randn(20, 12, 5)))
    torch.testing.assert_close(weights, torch.full((20, 5), 0.2), atol=0.05, rtol=0)


def test_static_covariates_change_which_variables_are_selected():
    module, x = make(static_sizes=(3,)), torch.randn(4, 12, 5)
    of_one, of_other = (
        module.variable_weights(batch_of(x, static=torch.full((4, 1), code, dtype=torch.int64))) for code in (1, 2)
    )
    assert not torch.allclose(of_one, of_other, atol=1e-4)


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match=r"hidden must be a multiple of n_heads, got 10 and 4"):
        TFTConfig(hidden=10)
