"""The kernel by itself against torch's optimizer."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from clusterfolio.models.adamw import FusedAdamW, make_optimizer
from clusterfolio.models.train_config import TrainConfig

SHAPES = ((30, 64), (7,), (), (3, 5))


def tensors(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(torch.Size(shape), generator=generator) for shape in SHAPES]


def stepped(optimizer, parameters, seeds):
    """The parameters after a step for each seed; the last parameter has a gradient in every second step only."""
    for seed in seeds:
        for parameter, gradient in zip(parameters, tensors(seed), strict=True):
            parameter.grad = gradient
        if seed % 2:
            parameters[-1].grad = None
        optimizer.step()
    return [parameter.detach().clone() for parameter in parameters]


def test_steps_and_state_are_those_of_torch_to_the_bit():
    theirs, own = ([nn.Parameter(each) for each in tensors(0)] for _ in range(2))
    reference = torch.optim.AdamW(theirs, lr=0.01, weight_decay=0.1, fused=True)
    optimizer = FusedAdamW(own, 0.01, 0.1)
    pairs = zip(stepped(reference, theirs, range(1, 8)), stepped(optimizer, own, range(1, 8)), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    states = reference.state_dict()["state"], optimizer.state_dict()["state"]
    assert states[0].keys() == states[1].keys()
    for number, state in states[0].items():
        assert state.keys() == states[1][number].keys()
        assert all(torch.equal(value, states[1][number][name]) for name, value in state.items())


def test_a_state_that_is_loaded_goes_on_as_if_never_left():
    whole, first, second = ([nn.Parameter(each) for each in tensors(0)] for _ in range(3))
    expected = stepped(FusedAdamW(whole, 0.01, 0.1), whole, range(1, 8))
    before = FusedAdamW(first, 0.01, 0.1)
    for parameter, value in zip(second, stepped(before, first, range(1, 4)), strict=True):
        parameter.data.copy_(value)
    after = FusedAdamW(second, 0.01, 0.1)
    after.load_state_dict(before.state_dict())
    stepped(before, first, range(1, 4))  # what goes on here changes nothing there
    assert all(torch.equal(a, b) for a, b in zip(expected, stepped(after, second, range(4, 8)), strict=True))


def test_a_network_of_mixed_types_has_torchs_own():
    module = nn.ModuleList([nn.Linear(2, 3), nn.Linear(2, 3).double()])
    assert isinstance(make_optimizer(module, TrainConfig()), torch.optim.AdamW)
    assert isinstance(make_optimizer(module[0], TrainConfig()), FusedAdamW)


TRAINED = """
import sys
import numpy as np
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.windows import make_windows
values = np.random.default_rng(0).normal(size=(60, 2, 3)).astype(np.float32)
windows = make_windows(values, values < 9, lookback=6)
Encoder({!r}, train=TrainConfig(epochs=1), lookback=6, device="cpu").fit(windows).transform(windows)
sys.exit("torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize("encoder", ["transformer", "vae"])
def test_training_does_not_import_torchs_compiler(encoder):
    assert subprocess.run([sys.executable, "-c", TRAINED.format(encoder)]).returncode == 0


def test_a_parameter_that_lies_transposed_goes_on_from_a_checkpoint_as_if_never_left():
    def trained(interrupted):
        parameter = nn.Parameter(torch.arange(12.0).reshape(3, 4).t())
        optimizer = FusedAdamW([parameter], 0.1, 0.0)
        for seed in range(6):
            gradient = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
            optimizer.step()
            if interrupted and seed == 2:  # a file holds tensors row by row
                state = {n: {k: v.contiguous() for k, v in of.items()} for n, of in optimizer.state.items()}
                optimizer = FusedAdamW([parameter], 0.1, 0.0)
                optimizer.load_state_dict({"state": state})
        return parameter.detach()

    assert torch.equal(trained(True), trained(False))
