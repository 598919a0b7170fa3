import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import cut_tree, is_valid_linkage, linkage
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from clusterfolio.models.clustering import (
    ClusteringConfig,
    Ward,
    coordinates,
    cut,
    first_appearance,
    leading_components,
    leading_rows,
    trajectory,
    unit_sphere,
)
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.windows import make_windows


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n_assets=st.integers(2, 40), n_clusters=st.integers(1, 45))
def test_partition_is_scikit_learns(seed, n_assets, n_clusters):
    rows = unit_sphere(np.random.default_rng(seed).normal(size=(n_assets, 4)))
    ward = Ward(n_clusters).fit(rows)
    formed = min(n_clusters, n_assets)
    reference = AgglomerativeClustering(formed, linkage="ward").fit_predict(rows)
    assert adjusted_rand_score(reference, ward.labels_) == 1
    assert ward.n_clusters_ == formed == len(set(ward.labels_))
    assert is_valid_linkage(ward.linkage_) and len(ward.linkage_) == n_assets - 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n_assets=st.integers(2, 40), n_clusters=st.integers(1, 40))
def test_a_tree_is_cut_as_scipy_cuts_it(seed, n_assets, n_clusters):
    tree = linkage(np.random.default_rng(seed).normal(size=(n_assets, 4)), method="ward")
    formed = min(n_clusters, n_assets)
    expected = first_appearance(cut_tree(tree, formed)[:, 0])
    assert first_appearance(cut(tree, formed)).tolist() == expected.tolist()


def test_clusters_are_numbered_by_first_appearance():
    rows = np.array([[9.0], [0.0], [9.1], [5.0], [0.1]])
    assert Ward(3).fit(rows).labels_.tolist() == [0, 1, 0, 2, 1]


def test_fewer_assets_than_clusters_stand_alone():
    ward = Ward(20).fit(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    assert ward.labels_.tolist() == [0, 1, 2]
    assert ward.n_clusters_ == 3
    lone = Ward(20).fit(np.ones((1, 2)))
    assert lone.labels_.tolist() == [0] and lone.n_clusters_ == 1 and lone.linkage_.shape == (0, 4)


def test_equal_rows_still_give_the_clusters_asked_for():
    assert Ward(3).fit(np.ones((6, 2))).n_clusters_ == len(set(Ward(3).fit(np.ones((6, 2))).labels_)) == 3


def test_what_cannot_be_clustered_is_refused():
    with pytest.raises(ValueError, match="2 rows are not finite"):
        Ward(2).fit(np.array([[np.nan, 1], [1, 1], [np.inf, 1]]))
    with pytest.raises(ValueError, match=r"got \(0, 3\)"):
        Ward(2).fit(np.empty((0, 3)))
    with pytest.raises(ValueError, match="n_clusters must be at least 1, got 0"):
        ClusteringConfig(n_clusters=0)


def test_unit_sphere_keeps_direction_and_zero():
    rows = np.array([[3.0, 4.0], [0.0, 0.0], [-2.0, 0.0]])
    np.testing.assert_allclose(unit_sphere(rows), [[0.6, 0.8], [0, 0], [-1, 0]])


def test_trajectory_takes_each_assets_own_level_off_and_ignores_missing_steps():
    embeddings = np.array([[[1.0, 10.0], [3.0, 10.0]], [[5.0, 0.0], [np.nan, np.nan]]], dtype=np.float32)
    present = np.array([[True, True], [True, False]])
    np.testing.assert_array_equal(trajectory(embeddings, present), [[-1, 0, 1, 0], [0, 0, 0, 0]])
    with pytest.raises(ValueError, match=r"got \(2, 2, 2\) and \(2, 3\)"):
        trajectory(embeddings, np.ones((2, 3), dtype=bool))


@pytest.mark.parametrize(("n", "n_components"), [(1, 1), (30, 4), (30, 30), (30, 99)])
def test_coordinates_are_those_of_the_whole_decomposition(n, n_components):
    rows = np.random.default_rng(n_components).normal(size=(n, 40))
    products = rows @ rows.T
    strengths, vectors = np.linalg.eigh(products)
    whole = (vectors * np.sqrt(np.maximum(strengths, 0)))[:, ::-1][:, :n_components]
    found = coordinates(products, n_components)
    assert found.shape == whole.shape
    np.testing.assert_allclose(np.abs(found), np.abs(whole), atol=1e-9)
    assert (found[np.abs(found).argmax(axis=0), range(found.shape[1])] > 0).all()
    single = coordinates(products.astype(np.float32), n_components)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single @ single.T, found @ found.T, atol=1e-3)


def test_leading_components_keep_what_is_strongest():
    rows = np.random.default_rng(0).normal(size=(8, 30))
    whole = leading_components(rows, 100)
    assert whole.shape == (8, 8)
    np.testing.assert_allclose(whole @ whole.T, rows @ rows.T, atol=1e-9)  # lengths and angles stay
    strengths = np.linalg.eigvalsh(rows @ rows.T)[::-1]
    kept = leading_components(rows, 3)
    np.testing.assert_allclose((kept**2).sum(axis=0), strengths[:3])
    np.testing.assert_array_equal(kept, leading_components(-rows, 3))
    with pytest.raises(ValueError, match="n_components must be at least 1, got 0"):
        leading_components(rows, 0)


def planted_market(n_assets=60, n_dates=620, n_clusters=6):
    """Five channels per bar and the truth: returns correlate 0.5 inside and 0.1 between clusters, levels differ."""
    rng = np.random.default_rng(11)
    truth = rng.permutation(np.arange(n_assets) % n_clusters)
    factors = np.sqrt(0.4) * rng.normal(size=(n_dates, n_clusters))[:, truth]
    returns = (
        np.sqrt(0.1) * rng.normal(size=(n_dates, 1)) + factors + np.sqrt(0.5) * rng.normal(size=(n_dates, n_assets))
    )
    returns *= rng.uniform(0.5, 2, size=n_assets)
    summed = np.cumsum(returns, axis=0)
    sums = {days: summed[20:] - summed[20 - days : -days] for days in (5, 10, 20)}
    noise = rng.normal(size=returns[20:].shape)
    return np.stack([returns[20:], noise, *sums.values()], axis=2).astype(np.float32), truth


def test_planted_clusters_come_back_from_the_trajectory_of_a_trained_encoder():
    values, truth = planted_market()
    observed = np.ones(values.shape, dtype=bool)
    windows = make_windows(values, observed, lookback=30)
    quick = TrainConfig(epochs=2, windows_per_epoch=4096, batch_size=64, learning_rate=4e-3)
    encoder = Encoder(train=quick, device="cpu").fit(windows)

    dates = np.arange(len(values) - 1, 28, -5)[::-1]
    picked = windows.take(np.isin(windows.date_idx, dates))
    steps = encoder.transform(picked).reshape(60, len(dates), -1)  # windows come sorted by asset, then date
    joined = trajectory(steps, np.ones(steps.shape[:2], dtype=bool))

    def agreement(rows):
        return adjusted_rand_score(truth, Ward(6).fit(unit_sphere(rows)).labels_)

    assert agreement(joined) >= 0.8
    assert agreement(leading_components(unit_sphere(joined), 20)) >= 0.8
    assert agreement(steps[:, -1]) < 0.5
    assert agreement(np.random.default_rng(0).normal(size=joined.shape)) <= 0.1


@pytest.mark.parametrize("n_components", [5, 40, 70])
def test_leading_rows_have_nearly_the_products_of_the_strongest_directions(n_components):
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(60, 40)) * 0.8 ** np.arange(40)
    products = rows @ rows.T
    found, best = leading_rows(products, n_components), coordinates(products, n_components)
    assert found.shape == (60, min(n_components, 60))
    missed, least = (np.linalg.norm(products - part @ part.T) for part in (found, best))
    assert missed < 1.1 * least + 1e-9
    np.testing.assert_array_equal(found, leading_rows(products, n_components))
