"""The benchmark of training compares like with like."""

import numpy as np
import torch

from clusterfolio.models.batch import BatchSource
from clusterfolio.models.windows import make_windows
from tests.benchmarks.training import CPU, PlainAutoencoder, fresh, measure


def made_up(sessions, seed):
    values = np.random.default_rng(seed).normal(size=(sessions, 4, 5)).astype(np.float32)
    return make_windows(values, np.ones(values.shape, dtype=bool), 30)


def test_the_peer_is_the_products_network_with_torchs_own_layers():
    source = BatchSource(made_up(60, 0), CPU)
    product = fresh("transformer", 5).eval()
    plain = PlainAutoencoder(5).eval()
    plain.load_state_dict(product.state_dict())
    batch = source.batch(np.arange(16))
    torch.testing.assert_close(plain(batch.x), product.rebuild(batch), atol=1e-5, rtol=1e-4)


def test_speeds_of_both_and_of_each_encoder_are_measured():
    found = measure(made_up(70, 0), made_up(40, 1), ["vae"], repeat=1, curves=False)
    assert found["windows"] == 4 * 41 and found["encoders"]["vae"] > 0
    assert found["speed"]["ratio"] == found["speed"]["product"] / found["speed"]["plain"] > 0
    assert set(found["speed"]["wall"]) == {"plain, 1", "plain, 2", "product, 1", "product, 2"}
