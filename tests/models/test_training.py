from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import nn

from clusterfolio.models.device import resolve_device, seeded, torch_threads
from clusterfolio.models.networks.transformer import TransformerAutoencoder, TransformerConfig
from clusterfolio.models.scaling import fit_scaler, scale
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.training import clip, split_by_time, train
from clusterfolio.models.windows import make_windows

CPU = torch.device("cpu")
SMALL = TransformerConfig(embed_dim=16, feed_forward=32)


@pytest.fixture(scope="module")
def windows():
    """Four assets of 150 smooth random bars, scaled."""
    values = np.random.default_rng(3).normal(size=(150, 4, 5)).cumsum(axis=0).astype(np.float32)
    raw = make_windows(values, np.ones(values.shape, dtype=bool), lookback=10)
    return scale(raw, fit_scaler(raw), clip=10)


def network(seed=0):
    with seeded(seed, CPU):
        return TransformerAutoencoder(5, 10, SMALL)


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


class Level(nn.Module):
    """One number that follows the mean of what it is shown."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))

    def loss(self, batch):
        return (batch.x - self.level).square().mean()


def step_windows(early, late):
    """One asset of 100 bars at ``early``, the last 20 at ``late``; windows of one bar."""
    values = np.full((100, 1, 1), early, dtype=np.float32)
    values[80:] = late
    return make_windows(values, np.ones(values.shape, dtype=bool), lookback=1)


def test_losses_fall(windows):
    history = train(network(), windows, TrainConfig(epochs=6, batch_size=32), 0, CPU)
    assert history.train_loss[-1] < 0.7 * history.train_loss[0]
    assert history.holdout_loss[-1] < 0.9 * history.holdout_loss[0]
    assert (history.device, history.threads) == ("cpu", 1)


def test_stops_early_with_the_weights_of_the_best_epoch():
    module, seen = Level(), []
    config = TrainConfig(epochs=100, batch_size=80, learning_rate=0.05, weight_decay=0, holdout=0.2, patience=4)
    history = train(module, step_windows(1.0, 0.31), config, 0, CPU, lambda *_: seen.append(module.level.item()))
    best = int(np.argmin(np.abs(np.array(seen) - 0.31)))  # the level passes 0.31 on its way to 1
    assert history.best_epoch == best + 1 == int(np.argmin(history.holdout_loss)) + 1
    assert len(history.train_loss) == best + 1 + 4
    assert module.level.item() == seen[best]
    assert not module.training


def test_without_holdout_all_epochs_and_all_windows_count():
    module = Level()
    config = TrainConfig(epochs=7, batch_size=50, holdout=0)
    history = train(module, step_windows(1.0, 0.3), config, 0, CPU)
    assert (history.best_epoch, history.n_windows, history.n_holdout) == (7, 100, 0)
    assert len(history.train_loss) == 7 and history.holdout_loss == []


def test_a_span_too_short_to_hold_out_is_trained_whole(caplog):
    values = np.ones((12, 1, 1), dtype=np.float32)
    short = make_windows(values, values > 0, lookback=10)  # three windows, all overlapping
    history = train(Level(), short, TrainConfig(epochs=2, holdout=0.3), 0, CPU)
    assert (history.n_windows, history.n_holdout) == (3, 0)
    assert "too short" in caplog.text


def test_held_out_windows_come_last_and_share_no_bar_with_the_others():
    values = np.ones((60, 3, 1), dtype=np.float32)
    values[45:, 1] = np.nan  # ends before the held-out dates
    values[:48, 2] = np.nan  # begins just before them
    windows = make_windows(values, np.isfinite(values), lookback=6)
    chosen, held = (windows.take(part) for part in split_by_time(windows, 0.2))
    assert set(held.date_idx) == set(range(49, 60))
    assert chosen.date_idx.max() == 44
    bars = [set(np.concatenate([np.arange(s, s + 6) for s in part.start])) for part in (chosen, held)]
    assert not bars[0] & bars[1]
    assert 1 in chosen.asset_idx and 2 not in chosen.asset_idx


def test_windows_per_epoch_draws_others_each_time():
    drawn = []

    class Spy(Level):
        def loss(self, batch):
            if self.training:
                drawn.append(batch.date_idx.tolist())
            return super().loss(batch)

    train(Spy(), step_windows(1, 1), TrainConfig(epochs=2, windows_per_epoch=30, batch_size=30, holdout=0), 0, CPU)
    assert [len(set(dates)) for dates in drawn] == [30, 30]
    assert set(drawn[0]) != set(drawn[1])


def test_same_seed_gives_the_same_bits_whatever_the_global_generator(windows):
    config = TrainConfig(epochs=2, batch_size=32)
    results = []
    for global_seed, random_state in ((1, 0), (2, 0), (1, 5)):
        torch.manual_seed(global_seed)
        module = network()
        train(module, windows, config, random_state, CPU)
        results.append(weights(module))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_global_state_is_given_back(windows):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    train(network(), windows, TrainConfig(epochs=1, threads=2), 0, CPU)
    with pytest.raises(RuntimeError, match="stop"), torch_threads(threads + 1), seeded(3, CPU):
        raise RuntimeError("stop")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("interrupt_after", [1, 3])
def test_resumed_training_ends_where_an_uninterrupted_one_does(windows, tmp_path, interrupt_after):
    config = TrainConfig(epochs=5, batch_size=32, patience=2)
    whole, resumed = network(), network()
    expected = train(whole, windows, config, 0, CPU)

    def interrupt(epoch, *_):
        if epoch == interrupt_after:
            raise KeyboardInterrupt

    path = tmp_path / "training.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(resumed, windows, config, 0, CPU, interrupt, path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    resumed, epochs = network(), []
    history = train(resumed, windows, config, 0, CPU, lambda epoch, *_: epochs.append(epoch), path)
    assert epochs[0] == interrupt_after + 1
    assert torch.equal(weights(resumed), weights(whole))
    assert asdict(history) | {"seconds": 0} == asdict(expected) | {"seconds": 0}
    assert not path.exists()


def test_a_checkpoint_of_another_training_is_refused(windows, tmp_path):
    config, path = TrainConfig(epochs=3, batch_size=64), tmp_path / "training.safetensors"

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(network(), windows, config, 0, CPU, interrupt, path)
    for other_config, seed, other in (
        (replace(config, learning_rate=0.01), 0, windows),
        (config, 1, windows),
        (config, 0, windows.take(np.arange(100))),
    ):
        with pytest.raises(ValueError, match="from another training"):
            train(network(), other, other_config, seed, CPU, checkpoint=path)


@pytest.mark.parametrize("most", [1.0, 1e3])
def test_gradients_are_clipped_as_torch_does_to_the_bit(most):
    gradients = [torch.randn(*shape, generator=torch.Generator().manual_seed(0)) for shape in ((30, 64), (7,), (1,))]
    tensors = [nn.Parameter(torch.zeros_like(each)) for each in gradients]
    for tensor, gradient in zip(tensors, gradients, strict=True):
        tensor.grad = gradient.clone()
    nn.utils.clip_grad_norm_(tensors, most)
    clip(gradients, most)
    assert all(torch.equal(own, tensor.grad) for own, tensor in zip(gradients, tensors, strict=True))


def test_a_loss_that_explodes_is_an_error(windows):
    broken = replace(windows, values=np.full_like(windows.values, np.inf))
    with pytest.raises(FloatingPointError, match="learning_rate"):
        train(network(), broken, TrainConfig(epochs=1), 0, CPU)


@pytest.mark.parametrize(
    ("name", "value"), [("epochs", 0), ("batch_size", 0), ("holdout", 1.0), ("learning_rate", 0.0), ("threads", -1)]
)
def test_impossible_settings_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name} .*{value}"):
        TrainConfig(**{name: value})


def test_devices():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(ValueError, match="unknown device 'gpu'; available: auto, cpu, cuda, mps"):
        resolve_device("gpu")
    for name in ("cuda", "mps"):
        if resolve_device("auto").type != name:
            with pytest.raises(ValueError, match=f"device '{name}' is not available"):
                resolve_device(name)


@pytest.mark.gpu
def test_an_accelerator_trains_reproducibly(windows):
    device = resolve_device("auto")
    results = []
    for _ in range(2):
        module = network()
        history = train(module, windows, TrainConfig(epochs=2, batch_size=32), 0, device)
        results.append(weights(module).cpu())
    assert device.type != "cpu" and history.device == str(device)
    assert torch.equal(*results)
