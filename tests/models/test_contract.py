"""An encoder of a user's that returns the wrong thing is told so in one sentence, before it is trained."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from clusterfolio.engine.cli.main import main
from clusterfolio.models.batch import Encoding
from clusterfolio.models.contract import check_network
from clusterfolio.models.encoder import Encoder, encoder_class, make_encoder
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.windows import make_windows
from tests.market_files import run_options
from tests.models.batches import batch_of

WINDOWS, BARS, FEATURES = 3, 8, 5


class Right(nn.Module):
    """Linear, with dropout, so that a check which drew from the generators or left it in evaluation would show."""

    def __init__(self, n_features, lookback, config):
        super().__init__()
        self.linear = nn.Sequential(nn.Linear(n_features * lookback, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))

    def encode(self, batch):
        return Encoding(self.linear(batch.x.flatten(1)))

    def loss(self, batch):
        return self.encode(batch).mean.square().mean()


def returning(encoding=None, loss=None) -> nn.Module:
    """``Right``, but for what ``encode`` makes of its own mean and ``loss`` of its own scalar."""

    class Net(Right):
        def encode(self, batch):
            right = super().encode(batch)
            return right if encoding is None else encoding(right.mean)

        def loss(self, batch):
            right = Right.encode(self, batch).mean.square().mean()
            return right if loss is None else loss(right)

    return Net(FEATURES, BARS, None)


def batch():
    return batch_of(torch.randn(WINDOWS, BARS, FEATURES, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(
    ("method", "wrong", "message"),
    [
        ("encoding", lambda mean: mean, r"encode\(batch\) returned a tensor of shape \(3, 4\) .*; expected .*Encoding"),
        ("encoding", lambda mean: (mean, None), "returned an object of type tuple; expected .*Encoding"),
        ("encoding", lambda mean: None, "returned None; expected .*Encoding"),
        ("encoding", lambda mean: Encoding(mean.unsqueeze(1)), r"shape \(3, 1, 4\) .*for 3 windows; expected .*\(3, "),
        ("encoding", lambda mean: Encoding(mean.mean(0)), r"shape \(4,\) .* for 3 windows"),
        ("encoding", lambda mean: Encoding(mean[:1]), r"shape \(1, 4\) .* for 3 windows"),
        ("encoding", lambda mean: Encoding(mean.argmax(1, keepdim=True)), "type int64 for 3 windows; expected a float"),
        ("encoding", lambda mean: Encoding(mean.detach().numpy()), "an object of type ndarray for 3 windows"),
        ("encoding", lambda mean: Encoding(mean / 0), "not finite, untrained"),
        ("encoding", lambda mean: Encoding(mean, mean.square()[:, :1]), r"var a tensor of shape \(3, 1\) .*3, 4"),
        ("encoding", lambda mean: Encoding(mean, -mean.abs() - 1), "nowhere negative"),
        ("encoding", lambda mean: mean @ mean, r"encode\(batch\) fails on 3 windows of 8 bars and 5 features: Run"),
        ("loss", lambda loss: loss.item(), r"loss\(batch\) returned an object of type float; expected a scalar tensor"),
        ("loss", lambda loss: loss.reshape(1), r"loss\(batch\) returned a tensor of shape \(1,\)"),
        ("loss", lambda loss: loss.detach(), "without a gradient; expected a scalar tensor to minimise"),
        ("loss", lambda loss: {}["lost"], r"loss\(batch\) fails on 3 windows .*: KeyError: 'lost'"),
    ],
)  # fmt: skip
def test_what_an_encoder_returns_is_named_with_what_is_expected(method, wrong, message):
    with pytest.raises(ValueError, match=rf"^encoder 'my_enc:Net': .*{message}"):
        check_network(returning(**{method: wrong}), batch(), "my_enc:Net")


def test_the_check_leaves_weights_statistics_mode_and_generators_alone():
    net = returning()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = torch.get_rng_state()
    check_network(net, batch(), "x")
    assert net.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


class Bare(Right):
    """Returns the tensor alone, and counts how often it was asked."""

    asked = 0

    def encode(self, batch):
        type(self).asked += 1
        return self.linear(batch.x.flatten(1))

    def loss(self, batch):
        return self.encode(batch).square().mean()


def test_it_is_told_before_the_first_step_of_the_training():
    values = np.random.default_rng(0).normal(size=(40, 3, FEATURES)).astype(np.float32)
    windows = make_windows(values, np.ones(values.shape, dtype=bool), lookback=BARS)
    encoder = Encoder(Bare, train=TrainConfig(epochs=50), lookback=BARS, device="cpu")
    with pytest.raises(ValueError, match=f"encoder '{__name__}:Bare': encode.* returned a tensor of shape"):
        encoder.fit(windows)
    assert Bare.asked == 1 and not hasattr(encoder, "module_")


def test_a_run_ends_with_the_sentence_and_leaves_nothing(tmp_path, market):
    options = run_options(market, tmp_path / "out", "--set", f"encoder.name={__name__}:Bare")
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 2 and "Encoding(mean, var)" in result.output
    assert len(result.output.strip().splitlines()) == 1 and not (tmp_path / "out").exists()


class Unmakeable(Right):
    def __init__(self, n_features):
        super().__init__(n_features, BARS, None)


def test_a_constructor_that_does_not_fit_is_told_what_it_is_called_with():
    with pytest.raises(ValueError, match=r"Unmakeable\(n_features, lookback, config\) fails: TypeError: .* positional"):
        make_encoder(Unmakeable, FEATURES, BARS)


@dataclass(frozen=True)
class Needy:
    width: int


@pytest.mark.parametrize(
    ("config_class", "message"), [(dict, "must be a dataclass, got <class 'dict'>"), (Needy, "Needy.width must have")]
)  # fmt: skip
def test_a_configuration_class_is_a_dataclass_with_defaults(config_class, message):
    with pytest.raises(TypeError, match=message):
        encoder_class(type("Net", (Right,), {"config_class": config_class}))
