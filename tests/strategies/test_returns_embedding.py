import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from clusterfolio.models.clustering import Ward
from clusterfolio.models.promise import expected_correlation, promise
from clusterfolio.strategies.diversification import log_returns
from clusterfolio.strategies.embedding import OF_RETURNS, EmbeddingConfig
from clusterfolio.strategies.returns_embedding import KINDS, EmbeddedReturns
from tests.conftest import three_clusters


@pytest.fixture(scope="module")
def returns():
    return log_returns(three_clusters(per_cluster=20)).drop(columns="MKT").iloc[1:]


def embedded(returns, kind, n_clusters=3, **kwargs):
    return EmbeddedReturns(returns, EmbeddingConfig(kind=kind, **kwargs), n_clusters)


def clusters(rows, n_clusters=3):
    return Ward(n_clusters).fit(np.asarray(rows)).labels_


@pytest.mark.parametrize("kind", OF_RETURNS)
def test_planted_groups_are_found_and_the_order_of_the_assets_does_not_matter(returns, kind):
    names = list(returns.columns)
    rows = embedded(returns, kind).rows(names)
    assert list(rows.index) == names
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)
    assert adjusted_rand_score(returns.columns.str[0], clusters(rows)) == 1.0
    other = embedded(returns, kind).rows(names[::-1])
    assert adjusted_rand_score(clusters(rows), clusters(other)[::-1]) == 1.0


def test_every_kind_is_made():
    assert set(KINDS) == set(OF_RETURNS)


@pytest.mark.parametrize("n_clusters", [2, 5, 12, 59, 60, 70])
def test_wards_clusters_of_a_searched_embedding_are_the_searched_ones(returns, n_clusters):
    names = list(returns.columns)
    rows = embedded(returns, "search", n_clusters).rows(names).to_numpy()
    n_labels = min(n_clusters, len(names))
    labels = rows[:, :n_labels].argmax(axis=1)
    assert adjusted_rand_score(labels, clusters(rows, n_clusters)) == 1.0


def test_a_search_promises_more_than_what_it_begins_with(returns):
    names, expected = list(returns.columns), expected_correlation(returns.to_numpy())
    of = {kind: promise(expected, clusters(embedded(returns, kind, 12).rows(names), 12)).value
          for kind in ("returns", "search", "learned")}  # fmt: skip
    assert of["search"] > of["returns"] and of["learned"] > of["returns"]


@pytest.mark.parametrize("kind", ["search", "learned", "returns"])
def test_two_assets_and_one_are_embedded_too(returns, kind):
    for names in (["A0"], ["A0", "B0"]):
        assert embedded(returns, kind, 20).rows(names).shape[0] == len(names)


def test_resampled_days_draw_the_planted_groups_again(returns):
    names = list(returns.columns)
    for kind in ("search", "returns"):
        drawn = list(embedded(returns, kind).regrouped(names, Ward(3), 3, random_state=1))
        assert len(drawn) == 3
        assert all(adjusted_rand_score(returns.columns.str[0], labels) == 1.0 for labels in drawn)
