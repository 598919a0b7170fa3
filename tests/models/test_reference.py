import numpy as np
import pytest
from sklearn.decomposition import PCA

from clusterfolio.models.encoder import Encoder, make_encoder
from clusterfolio.models.reference import WindowPCA, untrained
from clusterfolio.models.scaling import scale
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.windows import make_windows

LOOKBACK = 8


@pytest.fixture(scope="module")
def windows():
    """Five assets of 80 random bars, the last one's third channel never observed."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(80, 5, 4)).cumsum(axis=0).astype(np.float32)
    observed = np.ones(values.shape, dtype=bool)
    values[:, 4, 2], observed[:, 4, 2] = 0, False
    return make_windows(values, observed, LOOKBACK)


def test_window_pca_is_scikit_learns_of_the_flattened_scaled_windows(windows):
    linear = WindowPCA(n_components=6, lookback=LOOKBACK).fit(windows)
    flat = scale(windows, linear.scaler_, 10.0).gather(np.arange(len(windows)))[0].reshape(len(windows), -1)
    expected = PCA(6, svd_solver="full").fit_transform(flat.astype(np.float64))
    found = linear.transform(windows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-3)
    np.testing.assert_allclose(linear.components_.T @ linear.components_, np.eye(6), atol=1e-10)


def test_window_pca_embeds_in_parts_as_in_one(windows, monkeypatch):
    whole = WindowPCA(n_components=6, lookback=LOOKBACK).fit(windows)
    embedded = whole.transform(windows)
    monkeypatch.setattr("clusterfolio.models.reference.CHUNK", 17)
    parts = WindowPCA(n_components=6, lookback=LOOKBACK).fit(windows)
    np.testing.assert_allclose(np.abs(parts.components_), np.abs(whole.components_), atol=1e-8)
    np.testing.assert_allclose(whole.transform(windows), embedded, atol=1e-5)
    assert whole.transform(windows.take(np.arange(0))).shape == (0, 6)


def test_window_pca_says_how_many_components_there_can_be(windows):
    with pytest.raises(ValueError, match="n_components must be 1 to 32"):
        WindowPCA(n_components=33, lookback=LOOKBACK).fit(windows)


def test_untrained_has_the_weights_that_training_starts_from(windows):
    encoder = Encoder(train=TrainConfig(epochs=3), lookback=LOOKBACK, random_state=5, device="cpu")
    found = untrained(encoder, windows)
    assert not hasattr(encoder, "module_")
    still = TrainConfig(epochs=1, learning_rate=1e-12, weight_decay=0.0)
    barely = Encoder(train=still, lookback=LOOKBACK, random_state=5, device="cpu").fit(windows)
    np.testing.assert_allclose(found.transform(windows), barely.transform(windows), atol=1e-5)
    other = make_encoder("transformer", 4, LOOKBACK).state_dict()
    assert found.module_.state_dict().keys() == other.keys()
