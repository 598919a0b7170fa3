import numpy as np
import pytest
import torch
from torch import nn

from clusterfolio.models.batch import Encoding
from clusterfolio.models.encoder import ENCODERS, Encoder, make_encoder
from clusterfolio.models.importance import MOST_WINDOWS, importance, integrated_gradients, shares
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.windows import make_windows
from tests.models.batches import batch_of

LOOKBACK = 12
QUICK = TrainConfig(epochs=1, batch_size=64, windows_per_epoch=256)


class Linear(nn.Module):
    """An embedding whose attributions are known: the weighted sum of one channel, and of one bar."""

    def encode(self, batch):
        return Encoding(torch.stack([2 * batch.x[:, :, 0].sum(dim=1), batch.x[:, 3].sum(dim=1)], dim=1))


def test_attributions_of_a_linear_embedding_are_its_terms():
    x = torch.randn(4, 6, 3)
    channel, bar = 2 * x[:, :, 0].sum(dim=1), x[:, 3].sum(dim=1)
    expected = torch.zeros_like(x)
    expected[:, :, 0] = channel[:, None] * 2 * x[:, :, 0]
    expected[:, 3] += bar[:, None] * x[:, 3]
    torch.testing.assert_close(integrated_gradients(Linear(), batch_of(x), steps=1), expected)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_attributions_sum_to_the_squared_distance_from_the_median_window(name):
    torch.manual_seed(0)
    module = make_encoder(name, 3, LOOKBACK, n_exog=2, static_sizes=(3,)).eval()
    beside = {"exog": torch.randn(5, LOOKBACK, 2), "static": torch.ones(5, 1, dtype=torch.int64)}
    batch = batch_of(torch.randn(5, LOOKBACK, 3), **beside)
    found = integrated_gradients(module, batch, steps=200)
    assert found.shape == (5, LOOKBACK, 5)
    median = batch_of(torch.zeros(5, LOOKBACK, 3), exog=torch.zeros(5, LOOKBACK, 2), static=beside["static"])
    with torch.no_grad():
        distance = (module.encode(batch).mean - module.encode(median).mean).square().sum(dim=1)
    torch.testing.assert_close(found.sum(dim=(1, 2)), distance, rtol=0.02, atol=1e-4)


def windows_of(n_assets=4, n_days=60):
    values = np.random.default_rng(0).normal(size=(n_days, n_assets, 3)).cumsum(axis=0).astype(np.float32)
    return make_windows(values, np.ones(values.shape, dtype=bool), LOOKBACK)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_every_encoder_has_shares_that_sum_to_one(name):
    windows = windows_of()
    fitted = Encoder(name, train=QUICK, lookback=LOOKBACK, device="cpu").fit(windows)
    before = fitted.fingerprint()
    found = importance(fitted, windows)
    assert fitted.fingerprint() == before and all(
        p.grad is None or p.grad.isfinite().all() for p in fitted.module_.parameters()
    )
    assert found.gradients.shape == (LOOKBACK, 3) and found.gradients.sum() == pytest.approx(1)
    assert (found.selection is not None) == (name == "tft")
    assert (found.attention is not None) == (name in ("tft", "transformer", "lstm_attention"))
    for own, shape in ((found.selection, (LOOKBACK, 3)), (found.attention, (LOOKBACK,))):
        assert own is None or (own.shape == shape and (own >= 0).all() and own.sum() == pytest.approx(1))
    np.testing.assert_array_equal(importance(fitted, windows).gradients, found.gradients)


def test_the_bars_and_channels_an_embedding_reads_have_the_importance():
    class LastBar(nn.Module):
        def __init__(self, n_features, lookback, config):
            super().__init__()
            self.linear = nn.Linear(1, 2)

        def encode(self, batch):
            return Encoding(self.linear(batch.x[:, -1, 1:2]))

        def loss(self, batch):
            return self.encode(batch).mean.square().mean()

    windows = windows_of(n_assets=8)
    assert len(windows) > MOST_WINDOWS
    found = importance(Encoder(LastBar, train=QUICK, lookback=LOOKBACK, device="cpu").fit(windows), windows)
    assert found.gradients[-1, 1] == pytest.approx(1) and found.selection is None and found.attention is None


def test_a_window_without_attributions_has_equal_shares():
    torch.testing.assert_close(shares(torch.zeros(1, 2, 2)), torch.full((1, 2, 2), 0.25))
    torch.testing.assert_close(shares(torch.tensor([[[1.0, -3.0]]])), torch.tensor([[[0.25, 0.75]]]))


def test_a_patchs_attention_is_shared_among_its_bars():
    torch.manual_seed(0)
    module = make_encoder("transformer", 3, LOOKBACK, {"patch": 4, "n_layers": 2}).eval()
    attention = module.attention_by_bar(batch_of(torch.randn(5, LOOKBACK, 3))).reshape(5, 3, 4)
    torch.testing.assert_close(attention, attention[:, :, :1].expand(5, 3, 4))
    torch.testing.assert_close(attention.sum(dim=(1, 2)), torch.ones(5))


def test_no_windows_are_refused():
    fitted = Encoder(train=QUICK, lookback=LOOKBACK, device="cpu").fit(windows_of())
    with pytest.raises(ValueError, match="windows: none to look into"):
        importance(fitted, windows_of().take(np.arange(0)))
