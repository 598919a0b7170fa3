"""The contract every entry of ENCODERS keeps."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from torch import nn

from clusterfolio.models.batch import BatchSource, Encoding
from clusterfolio.models.encoder import ENCODERS, TRANSFORM_BATCH, Encoder, encoder_class, make_encoder
from clusterfolio.models.scaling import fit_scaler, scale
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.windows import make_windows
from tests.models.batches import batch_of

LOOKBACK = 12
QUICK = TrainConfig(epochs=2, batch_size=32, learning_rate=3e-3)


@pytest.fixture(scope="module")
def windows():
    """Six assets of 120 smooth random bars, the third channel of the last asset never observed."""
    rng = np.random.default_rng(7)
    values = rng.normal(size=(120, 6, 5)).cumsum(axis=0).astype(np.float32)
    observed = np.ones(values.shape, dtype=bool)
    values[:, 5, 2], observed[:, 5, 2] = 0, False
    values[:20, 3] = np.nan
    return make_windows(values, observed & np.isfinite(values), LOOKBACK)


@pytest.fixture(scope="module", params=sorted(ENCODERS))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(name, windows):
    return Encoder(name, train=QUICK, lookback=LOOKBACK, device="cpu").fit(windows)


def test_embeds_every_window_in_finite_float32(fitted, windows):
    embeddings = fitted.transform(windows)
    assert embeddings.shape == (len(windows), embeddings.shape[1])
    assert embeddings.dtype == np.float32
    assert np.isfinite(embeddings).all()
    assert embeddings.std(axis=0).max() > 0


def test_loss_is_a_scalar_with_gradients(name, windows):
    module = make_encoder(name, 5, LOOKBACK)
    loss = module.loss(BatchSource(scale(windows, fit_scaler(windows), 10), torch.device("cpu")).batch(np.arange(8)))
    loss.backward()
    assert loss.shape == ()
    assert sum(p.grad.abs().sum().item() for p in module.parameters() if p.grad is not None) > 0


def test_training_rebuilds_better_than_no_training(name, fitted, windows):
    still = TrainConfig(epochs=1, learning_rate=1e-12, weight_decay=0)
    untrained = Encoder(name, train=still, lookback=LOOKBACK, device="cpu").fit(windows)
    assert fitted.reconstruction_error(windows) < 0.8 * untrained.reconstruction_error(windows)


def test_same_seed_gives_the_same_bits_and_another_seed_others(name, fitted, windows):
    again = Encoder(name, train=QUICK, lookback=LOOKBACK, device="cpu").fit(windows)
    other = Encoder(name, train=QUICK, lookback=LOOKBACK, device="cpu", random_state=1).fit(windows)
    np.testing.assert_array_equal(again.transform(windows), fitted.transform(windows))
    assert again.fingerprint() == fitted.fingerprint() != other.fingerprint()


def test_fitting_again_forgets_the_first_fit(name, fitted, windows):
    twice = Encoder(name, train=QUICK, lookback=LOOKBACK, device="cpu")
    twice.fit(windows.take(windows.asset_idx < 2)).fit(windows)
    assert twice.fingerprint() == fitted.fingerprint()


def test_warm_start_copies_the_weights_and_fits_the_scaler_anew(name, fitted, windows):
    part = windows.take(windows.asset_idx < 2)
    still = TrainConfig(epochs=1, learning_rate=1e-12, weight_decay=0, holdout=0)
    warm = Encoder(name, train=still, lookback=LOOKBACK, device="cpu", random_state=5)
    before = fitted.fingerprint()
    warm.fit(part, init=fitted)
    for new, old in zip(warm.module_.parameters(), fitted.module_.parameters(), strict=True):
        torch.testing.assert_close(new, old, atol=1e-6, rtol=0)
    np.testing.assert_array_equal(warm.scaler_.center_, fit_scaler(part).center_)
    assert fitted.fingerprint() == before


def test_a_start_of_another_shape_is_refused(name, fitted, windows):
    other = Encoder(name, config={"embed_dim": 32}, train=QUICK, lookback=LOOKBACK, device="cpu")
    with pytest.raises(ValueError, match="init"):
        other.fit(windows, init=fitted)


def test_saved_and_loaded_gives_the_same_embeddings(fitted, windows, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = Encoder.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(loaded.transform(windows), fitted.transform(windows))
    assert loaded.fingerprint() == fitted.fingerprint()
    assert loaded.history_ == fitted.history_
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_an_embedding_does_not_depend_on_what_is_embedded_with_it(fitted, windows):
    whole = fitted.transform(windows)
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, TRANSFORM_BATCH - 1, TRANSFORM_BATCH, TRANSFORM_BATCH + 1, len(windows)):
        chosen = rng.permutation(len(windows))[:size]
        np.testing.assert_array_equal(fitted.transform(windows.take(chosen)), whole[chosen])


def test_transform_learns_nothing_and_leaves_global_state_alone(fitted, windows):
    before, threads, state = fitted.fingerprint(), torch.get_num_threads(), torch.get_rng_state()
    fitted.transform(windows.take(np.arange(5)))
    fitted.reconstruction_error(windows)
    assert fitted.fingerprint() == before
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_values_where_nothing_was_observed_change_nothing(name, fitted, windows):
    wild = np.where(windows.observed, windows.values, np.float32(1e6))
    other = Encoder(name, train=QUICK, lookback=LOOKBACK, device="cpu").fit(replace(windows, values=wild))
    assert other.fingerprint() == fitted.fingerprint()


def test_half_precision_gives_finite_embeddings_and_loss(fitted, windows):
    source = BatchSource(scale(windows, fitted.scaler_, 10), torch.device("cpu"))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        half = fitted.module_.encode(source.batch(np.arange(64))).mean.float().numpy()
        assert torch.isfinite(fitted.module_.loss(source.batch(np.arange(64))))
    full = fitted.transform(windows.take(np.arange(64)))
    np.testing.assert_allclose(half, full, atol=0.1 * np.abs(full).max())


def test_a_stated_variance_is_positive_and_has_the_embeddings_shape(fitted, windows):
    mean, var = fitted.transform_with_variance(windows)
    np.testing.assert_array_equal(mean, fitted.transform(windows))
    assert var is None or (var.shape == mean.shape and np.isfinite(var).all() and (var > 0).all())


def test_an_interrupted_training_goes_on_to_the_same_bits(name, fitted, windows, tmp_path):
    def stop(done, *told):
        raise KeyboardInterrupt

    encoder = Encoder(name, train=QUICK, lookback=LOOKBACK, device="cpu")
    with pytest.raises(KeyboardInterrupt):
        encoder.fit(windows, progress=stop, checkpoint=tmp_path / "half")
    passes = []
    encoder.fit(windows, progress=lambda done, *told: passes.append(done), checkpoint=tmp_path / "half")
    assert passes == [2]
    assert encoder.fingerprint() == fitted.fingerprint()


def test_a_configuration_survives_its_way_through_json(name, fitted):
    config = fitted.module_.config
    assert encoder_class(name).config_class(**json.loads(json.dumps(asdict(config)))) == config


def beside(n, seed=0, **changes):
    """Windows of 5 channels with 2 market-wide series and 2 static covariates beside them."""
    draw = torch.Generator().manual_seed(seed)
    found = {"x": torch.randn(n, LOOKBACK, 5, generator=draw), "exog": torch.randn(n, LOOKBACK, 2, generator=draw)}
    found["static"] = torch.stack([torch.randint(0, size, (n,), generator=draw) for size in (3, 4)], dim=1)
    return batch_of(**found | changes)


def test_market_wide_series_and_static_covariates_are_read_and_not_rebuilt(name):
    torch.manual_seed(0)
    module = make_encoder(name, 5, LOOKBACK, n_exog=2, static_sizes=(3, 4))
    batch = beside(16)
    module.loss(batch).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters())
    module.eval()
    with torch.no_grad():
        told = module.encode(batch).mean
        assert module.rebuild(batch).shape == batch.x.shape
        for changed in ({"exog": batch.exog + 1}, {"static": (batch.static + 1) % 3}):
            assert not torch.allclose(module.encode(beside(16, **changed)).mean, told, atol=1e-4)
        unknown = beside(16, static=torch.zeros(16, 2, dtype=torch.int64))
        assert torch.isfinite(module.encode(unknown).mean).all()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = module.encode(batch).mean.float()
    torch.testing.assert_close(half, told, atol=0.1 * told.abs().max().item(), rtol=0)


def test_a_batch_without_what_the_encoder_was_made_for_is_refused(name):
    module = make_encoder(name, 5, LOOKBACK, n_exog=2, static_sizes=(3, 4))
    with pytest.raises(ValueError, match=rf"batch\.exog: expected shape \(4, {LOOKBACK}, 2\), got None"):
        module.encode(beside(4, exog=None))
    with pytest.raises(ValueError, match=r"batch\.static: expected shape \(4, 2\), got \(4, 1\)"):
        module.encode(beside(4, static=torch.zeros(4, 1, dtype=torch.int64)))


def test_scaler_sees_the_observed_bars_of_the_training_windows_only():
    values = np.arange(40, dtype=np.float32).reshape(40, 1, 1)
    observed = np.ones(values.shape, dtype=bool)
    observed[12] = False
    windows = make_windows(values, observed, lookback=4, first=12, last=20)  # bars 9..20
    seen = [*range(9, 12), *range(13, 21)]
    scaler = fit_scaler(windows)
    assert scaler.center_[0] == np.median(seen)
    assert scaler.scale_[0] == np.subtract(*np.percentile(seen, [75, 25]))


def test_a_channel_never_observed_scales_to_zero():
    values = np.ones((10, 1, 2), dtype=np.float32)
    observed = np.zeros(values.shape, dtype=bool)
    observed[:, :, 0] = True
    windows = make_windows(values, observed, lookback=4)
    assert not scale(windows, fit_scaler(windows), clip=10).values.any()


def test_scaled_values_are_clipped():
    values = np.array([0, 1, 2, 3, 1e9, -1e9], dtype=np.float32).reshape(6, 1, 1)
    windows = make_windows(values, np.ones(values.shape, dtype=bool), lookback=3)
    scaled = scale(windows, fit_scaler(windows), clip=5)
    assert scaled.values.min() == -5 and scaled.values.max() == 5


def test_unknown_encoder_is_named_with_what_there_is():
    with pytest.raises(ValueError, match=r"unknown encoder 'tranformer'; available: .*transformer"):
        make_encoder("tranformer", 5, 30)


def test_an_encoder_is_found_by_name_by_path_and_as_a_class():
    found = ENCODERS["transformer"]
    assert (
        encoder_class("transformer")
        is encoder_class("clusterfolio.models.networks.transformer:TransformerAutoencoder")
        is found
    )
    assert encoder_class(found) is found
    with pytest.raises(ValueError, match="has no Nothing; it defines: TransformerConfig, "):
        encoder_class("clusterfolio.models.networks.transformer:Nothing")
    with pytest.raises(TypeError, match=r"nn\.Module"):
        encoder_class("clusterfolio.models.networks.autoencoder:masked_mse")


class Flat(nn.Module):
    """The least an encoder can be: a linear map of the flattened window, with no configuration."""

    def __init__(self, n_features, lookback, config):
        super().__init__()
        self.linear = nn.Linear(n_features * lookback, 3)

    def encode(self, batch):
        return Encoding(self.linear(batch.x.flatten(1)))

    def loss(self, batch):
        return (self.encode(batch).mean - 1).square().mean()


def test_a_users_own_class_trains_saves_and_loads(windows, tmp_path):
    own = Encoder(Flat, train=QUICK, lookback=LOOKBACK, device="cpu").fit(windows)
    own.save(tmp_path / "own")
    assert json.loads((tmp_path / "own" / "encoder.json").read_text())["encoder"] == f"{__name__}:Flat"
    loaded = Encoder.load(tmp_path / "own", device="cpu", encoder=Flat)
    np.testing.assert_array_equal(loaded.transform(windows), own.transform(windows))


def test_files_that_are_missing_or_altered_are_refused(fitted, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"encoder\.json is missing"):
        Encoder.load(tmp_path / "nothing")
    fitted.save(tmp_path / "model")
    path = tmp_path / "model" / "encoder.json"
    saved = json.loads(path.read_text())
    path.write_text(json.dumps(saved | {"center": [9.0] * 5}))
    with pytest.raises(ValueError, match="do not belong together"):
        Encoder.load(tmp_path / "model")
    path.write_text("{}")
    with pytest.raises(ValueError, match="not an encoder"):
        Encoder.load(tmp_path / "model")
    path.write_text(json.dumps(saved))
    weights = tmp_path / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not an encoder"):
        Encoder.load(tmp_path / "model")


def test_loading_leaves_the_global_generator_alone(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    state = torch.get_rng_state()
    Encoder.load(tmp_path / "model", device="cpu")
    assert torch.equal(torch.get_rng_state(), state)


def test_no_windows_give_no_embeddings(fitted, windows):
    assert fitted.transform(windows.take(np.arange(0))).shape == (0, fitted.embed_dim)


def test_saving_replaces_a_saved_encoder_and_spares_other_directories(fitted, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="holds no saved encoder"):
        fitted.save(tmp_path / "mine")
    fitted.save(tmp_path / "model")
    fitted.save(tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "model"]


def test_windows_of_another_shape_are_refused(fitted, windows):
    with pytest.raises(ValueError, match=f"lookback must be {LOOKBACK}"):
        fitted.transform(replace(windows, lookback=LOOKBACK + 1))
    with pytest.raises(ValueError, match="5 features were learned, got 4"):
        fitted.transform(replace(windows, values=windows.values[:, :4], observed=windows.observed[:, :4]))
    with pytest.raises(ValueError, match="none to train on"):
        Encoder(lookback=LOOKBACK).fit(windows.take(np.arange(0)))


def test_aligned_embeddings_lie_on_the_references_and_keep_their_distances(name, fitted, windows, tmp_path):
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(fitted.embed_dim, fitted.embed_dim)))[0]
    fitted.save(tmp_path / "copy")
    reference, turned = (Encoder.load(tmp_path / "copy", device="cpu") for _ in range(2))
    reference.rotation_ = turn
    assert turned.align(reference, windows.take(np.arange(0, len(windows), 3))) < 1e-5
    np.testing.assert_allclose(turned.transform(windows), reference.transform(windows), atol=1e-5)
    before, after = fitted.transform(windows)[:50], turned.transform(windows)[:50]
    np.testing.assert_allclose(pdist(after), pdist(before), atol=1e-5)


def test_an_alignment_survives_saving_and_ends_with_the_next_fit(name, fitted, windows, tmp_path):
    other = Encoder(name, train=QUICK, lookback=LOOKBACK, device="cpu", random_state=1).fit(windows)
    unaligned = other.fingerprint()
    before = other.transform_with_variance(windows)[1]
    assert 0 < other.align(fitted, windows) < 2
    after = other.transform_with_variance(windows)[1]
    if before is not None:  # turned, and as much in all
        np.testing.assert_allclose(after.sum(axis=1), before.sum(axis=1), rtol=1e-5)
    assert other.fingerprint() != unaligned
    other.save(tmp_path / "model")
    loaded = Encoder.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(loaded.transform(windows), other.transform(windows))
    assert other.fit(windows).fingerprint() == unaligned
    with pytest.raises(ValueError, match="anchors: need windows"):
        other.align(fitted, windows.take(np.arange(0)))
