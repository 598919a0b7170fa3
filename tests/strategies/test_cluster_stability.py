import numpy as np
import pandas as pd
import pytest

from clusterfolio.models.clustering import Ward, unit_sphere
from clusterfolio.strategies.cluster_stability import cluster_stability, recurrence
from clusterfolio.strategies.embedding import STRETCHES, Embedded, EmbeddingConfig, resampled_products
from clusterfolio.strategies.returns_embedding import EmbeddedReturns


def embedded(rows, components=0):
    joined = pd.DataFrame(unit_sphere(rows), [f"S{i:02d}" for i in range(len(rows))])
    config = EmbeddingConfig(attention_layers=0, components=components)
    return Embedded(joined, config)


def drawn(found, n_clusters):
    rows = found.rows(list(found.joined.index))
    return pd.Series(Ward(n_clusters).fit(rows.to_numpy()).labels_, rows.index)


def planted(n_each=8, n_dims=300, seed=0):
    rng = np.random.default_rng(seed)
    return np.repeat(rng.normal(size=(3, n_dims)), n_each, axis=0) + 0.5 * rng.normal(size=(3 * n_each, n_dims))


@pytest.mark.parametrize("components", [0, 5])
def test_planted_clusters_come_back_and_noise_does_not(components):
    firm = embedded(planted(), components)
    labels = drawn(firm, 3)
    table = cluster_stability(firm, labels, Ward(3))
    assert table.index.tolist() == [0, 1, 2] and (table == 1.0).all(axis=None)
    noise = embedded(np.random.default_rng(1).normal(size=(60, 300)), components)
    table = cluster_stability(noise, drawn(noise, 10), Ward(10))
    assert table["stability"].max() < 0.6 and table["pairs_together"].max() < 0.6


def test_an_arbitrary_split_is_told_from_planted_clusters():
    found = embedded(planted())
    labels = pd.Series(np.repeat([4, 7, 9, 11], [8, 8, 4, 4]), found.joined.index)  # 9 and 11 are one
    table = cluster_stability(found, labels, Ward(4))
    assert table.loc[[4, 7], "stability"].min() > table.loc[[9, 11], "stability"].max() + 0.2


def test_the_same_seed_gives_the_same_figures_and_the_clusterer_keeps_what_it_learned():
    found, clusterer = embedded(planted(seed=3)), Ward(5)
    labels = drawn(found, 5)
    clusterer.fit(np.eye(4))
    first, second = (cluster_stability(found, labels, clusterer, random_state=7) for _ in range(2))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert len(clusterer.labels_) == 4
    assert not first.equals(cluster_stability(found, labels, clusterer, random_state=8))


@pytest.mark.parametrize("n_dims", [3, 40, 500])  # fewer than stretches, more than assets, many
def test_resampled_products_are_those_of_the_stretches_joined(n_dims):
    rows = unit_sphere(np.random.default_rng(0).normal(size=(12, n_dims)))
    stretches = np.array_split(rows, min(STRETCHES, n_dims), axis=1)
    share = np.full(len(stretches), 1 / len(stretches))
    counts = np.random.default_rng(5).multinomial(len(stretches), share, size=3)
    for times, found in zip(counts, resampled_products(rows, 3, random_state=5), strict=True):
        joined = unit_sphere(
            np.concatenate([part for part, n in zip(stretches, times, strict=True) for _ in range(n)], 1)
        )
        np.testing.assert_allclose(found, joined @ joined.T, atol=1e-6)


@pytest.mark.parametrize("apart", [1e-5, 1e-3, 1.0])
def test_rows_resampled_have_the_products_of_the_stretches_however_near_they_lie(apart):
    rng = np.random.default_rng(2)
    rows = unit_sphere(rng.normal(size=64) + apart * rng.normal(size=(150, 64)))  # more assets than dimensions
    again = next(embedded(rows).resampled([f"S{i:02d}" for i in range(150)], 1, 5))
    counts = np.random.default_rng(5).multinomial(STRETCHES, np.full(STRETCHES, 1 / STRETCHES), size=1)[0]
    stretches = np.array_split(rows, STRETCHES, axis=1)
    joined = unit_sphere(np.hstack([part for part, n in zip(stretches, counts, strict=True) for _ in range(n)]))
    np.testing.assert_allclose(again @ again.T, joined @ joined.T, atol=3e-6)


def test_recurrence_against_sets():
    rng = np.random.default_rng(0)
    labels, again = rng.integers(4, size=30), rng.integers(6, size=30)
    groups = [{i for i in range(30) if again[i] == b} for b in range(6)]
    for cluster, (jaccard, together) in zip(range(4), recurrence(labels, again), strict=True):
        own = {i for i in range(30) if labels[i] == cluster}
        assert jaccard == pytest.approx(max(len(own & group) / len(own | group) for group in groups))
        pairs = [(i, j) for i in own for j in own if i < j]
        assert together == pytest.approx(np.mean([again[i] == again[j] for i, j in pairs]))


def test_a_cluster_of_one_has_no_pairs():
    table = cluster_stability(embedded(np.eye(3)), pd.Series([0, 1, 2], ["S00", "S01", "S02"]), Ward(3))
    assert (table["stability"] > 0).all() and table["pairs_together"].isna().all()


class Halves(Ward):
    """A clusterer of the user's, made from Ward: the first half and the second, whatever the rows are."""

    def fit(self, embeddings, y=None):
        super().fit(embeddings)
        self.labels_ = (np.arange(len(embeddings)) >= len(embeddings) // 2).astype(int)
        return self


def test_stability_is_that_of_the_clusterer_it_is_given():
    returns = pd.DataFrame(0.01 * np.random.default_rng(0).normal(size=(200, 24))).rename(columns=str)
    found = EmbeddedReturns(returns, EmbeddingConfig(kind="search"), 4)
    labels = pd.Series(np.arange(24) >= 12, returns.columns).astype(int)
    assert (cluster_stability(found, labels, Halves(4))["stability"] == 1.0).all()
