import math

import numpy as np
import pytest
import torch
from torch import nn

from clusterfolio.models.encoder import Encoder
from clusterfolio.models.networks.vae import VAEConfig, VariationalAutoencoder
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.windows import make_windows
from tests.models.batches import batch_of

LOOKBACK = 20


def swings(n_days=120, n_assets=30, size=1.0, seed=0):
    """Two channels of slow waves, each asset with its own pace, and a little noise."""
    rng = np.random.default_rng(seed)
    days = np.arange(n_days)[:, None, None]
    pace = rng.uniform(15, 40, (1, n_assets, 2))
    waves = np.sin(2 * np.pi * (days / pace + rng.uniform(0, 1, (1, n_assets, 2))))
    return (size * waves + 0.1 * rng.normal(size=waves.shape)).astype(np.float32)


def windows_of(values, stride=1):
    return make_windows(values, np.ones(values.shape, dtype=bool), LOOKBACK, stride)


@pytest.fixture(scope="module")
def fitted():
    train = TrainConfig(epochs=12, batch_size=32)
    return Encoder("vae", {"embed_dim": 8, "hidden": 32, "anneal_steps": 100}, train, LOOKBACK, device="cpu").fit(
        windows_of(swings())
    )


def uncertainty(encoder, values):
    return encoder.transform_with_variance(windows_of(values, stride=5))[1].mean(axis=1)


def jumps(values):
    """Every tenth bar torn away."""
    torn = values.copy()
    torn[::10] += 4
    return torn


UNLIKE = {
    "three times as volatile": lambda values: 3 * values,
    "without order in time": lambda values: np.random.default_rng(1).permutation(values, axis=0),
    "torn by jumps": jumps,
    "another level": lambda values: values + 3,
}


@pytest.mark.parametrize("how", UNLIKE)
def test_the_variance_rises_on_windows_unlike_the_training(fitted, how):
    usual, unlike = (uncertainty(fitted, change(swings(seed=9))) for change in (lambda values: values, UNLIKE[how]))
    assert np.median(unlike) > np.quantile(usual, 0.9)
    assert (unlike[:, None] > usual).mean() > 0.9  # the area under the ROC curve


def test_variances_lie_between_none_and_the_priors(fitted):
    mean, var = fitted.transform_with_variance(windows_of(100 * swings()))
    assert var.shape == mean.shape and var.dtype == np.float32
    assert (var > 0).all() and (var <= 1).all() and var.mean() > 0.9


def make(**settings):
    torch.manual_seed(0)
    return VariationalAutoencoder(2, 5, VAEConfig(embed_dim=3, hidden=8, feed_forward=8, **settings))


def test_the_divergence_is_that_of_two_normal_distributions():
    module, batch = make(beta=1.0).eval(), batch_of(torch.randn(4, 5, 2))
    mean, log_evidence = module.read(batch)
    posterior = torch.distributions.Normal(mean, (1 / (1 + log_evidence.exp())).sqrt())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum() / (4 * 5 * 2)
    torch.manual_seed(1)
    with_divergence = module.loss(batch)
    module.config = VAEConfig(embed_dim=3, hidden=8, feed_forward=8, beta=0.0)
    torch.manual_seed(1)
    torch.testing.assert_close(with_divergence - module.loss(batch), expected)


def test_the_divergence_grows_to_its_full_weight_and_has_it_in_evaluation():
    module, batch = make(beta=1.0, anneal_steps=4), batch_of(torch.randn(8, 5, 2))

    def loss(training):
        torch.manual_seed(1)
        return module.train(training).loss(batch).item()

    full = loss(False)
    losses = [loss(True) for _ in range(6)]
    assert module.steps == 6
    steps = np.diff(losses)
    np.testing.assert_allclose(steps[:3], steps[0], rtol=1e-3)  # a quarter of the divergence each
    assert steps[0] > 0 and losses[3:] == [pytest.approx(full)] * 3
    assert loss(False) == pytest.approx(full) and module.steps == 6


@pytest.mark.parametrize("n_layers", [1, 2])
def test_the_loss_is_that_of_what_the_network_reads_covariates_too(n_layers):
    torch.manual_seed(0)
    config = VAEConfig(embed_dim=3, hidden=8, n_layers=n_layers, feed_forward=8)
    module = VariationalAutoencoder(2, 5, config, n_exog=1, static_sizes=(4, 3)).eval()
    x, mask = torch.randn(6, 5, 2), torch.rand(6, 5, 2) > 0.2
    batch = batch_of(x, mask, exog=torch.randn(6, 5, 1), static=torch.tensor([[1, 2], [0, 1], [3, 0]] * 2))
    torch.manual_seed(1)
    loss = module.loss(batch)
    found = torch.autograd.grad(loss, list(module.parameters()))
    torch.manual_seed(1)
    mean, log_evidence = module.read(batch)
    var = 1 / (1 + log_evidence.exp())
    error = (module.decoder(mean + var.sqrt() * torch.randn_like(mean)) - x)[mask].square().sum()
    expected = (error + config.beta / 2 * (mean.square() + var - var.log() - 1).sum()) / mask.sum()
    torch.testing.assert_close(loss, expected)
    for own, wanted in zip(found, torch.autograd.grad(expected, list(module.parameters())), strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-6)


def test_the_running_description_is_that_of_every_eighth_batch_since_the_pass_began():
    module, x = make(), torch.randn(50, 5, 2)
    mean = module.read(batch_of(x))[0].detach()
    module.train()
    for batch in (x[:25], *torch.randn(7, 25, 5, 2), x[25:]):  # the first and the ninth weigh the same
        module.loss(batch_of(batch))
    torch.testing.assert_close(module.usual_mean[:-1], mean.mean(dim=0))
    torch.testing.assert_close(module.usual_var[:-1], mean.var(dim=0, unbiased=False))


def test_a_window_at_the_centre_is_usual_and_one_far_off_is_not():
    module = make()
    mean = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [3.0, 3.0, 3.0], [0.0, 0.0, 0.0]])
    misfit = torch.tensor([0.0, 1.0, 0.0, -2.0])
    torch.testing.assert_close(module.typicality(mean, misfit), torch.tensor([1.0, 1.0, 1 / 9, 1 / 4]))


def test_the_misfit_counts_observed_entries_only():
    module, x = make(), torch.randn(3, 5, 2)
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[:, 2] = False
    mean = module.read(batch_of(x))[0]
    error = (module.decoder(mean) - x)[:, [0, 1, 3, 4]].square().mean(dim=(1, 2))
    torch.testing.assert_close(module.misfit(batch_of(x, mask), mean), (error + 1e-4).log())
    assert module.misfit(batch_of(x, mask & False), mean)[0].item() == pytest.approx(math.log(1e-4))


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match=r"beta must be 0 or more, got -1"):
        VAEConfig(beta=-1)
    with pytest.raises(ValueError, match=r"anneal_steps must be at least 1, got 0"):
        VAEConfig(anneal_steps=0)


@pytest.mark.parametrize("change", ["layer", "read"])
def test_a_subclass_that_reads_in_another_way_needs_a_loss_of_its_own(change):
    class Other(VariationalAutoencoder):
        def __init__(self, *args):
            super().__init__(*args)
            if change == "layer":
                self.hidden[0] = nn.Tanh()

        if change == "read":

            def read(self, batch):
                return super().read(batch)

    with pytest.raises(TypeError, match=r"Other has .*: it needs a loss\(\) of its own too"):
        Other(3, 6, VAEConfig()).train()

    class Complete(Other):
        def loss(self, batch):
            return batch.x.sum()

    Complete(3, 6, VAEConfig()).train()
