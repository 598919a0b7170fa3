import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist
from sklearn.cluster import AgglomerativeClustering
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

from clusterfolio.models.clustering import Ward, unit_sphere
from clusterfolio.strategies import classical


@pytest.fixture(scope="module")
def returns():
    """Forty assets in four groups beside a market, 300 days."""
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((300, 4))
    mixed = rng.uniform(0.5, 1.5, 40) * rng.standard_normal((300, 1)) + factors.repeat(10, axis=1)
    return 0.01 * (mixed + rng.standard_normal((300, 40))) + 0.0005


EMBEDDINGS = (classical.correlation_rows, classical.principal_components, classical.singular_components)


def test_standardised_is_scikit_learns(returns):
    np.testing.assert_allclose(classical.standardised(returns), StandardScaler().fit_transform(returns), atol=1e-12)


def test_correlation_rows_are_numpys_and_zero_beside_an_asset_that_stays_still(returns):
    np.testing.assert_allclose(classical.correlation_rows(returns), np.corrcoef(returns.T), atol=1e-12)
    still = returns.copy()
    still[:, 3] = 0.0
    assert not classical.correlation_rows(still)[3].any()


def test_principal_components_are_scikit_learns_exact_ones(returns):
    expected = PCA(7, svd_solver="full").fit_transform(classical.standardised(returns).T)
    found = classical.principal_components(returns, 7)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-8)
    np.testing.assert_allclose(pdist(found), pdist(expected), atol=1e-8)


def test_singular_components_are_scikit_learns_truncated_svd(returns):
    expected = TruncatedSVD(7, algorithm="arpack", random_state=0).fit_transform(classical.standardised(returns).T)
    np.testing.assert_allclose(np.abs(classical.singular_components(returns, 7)), np.abs(expected), atol=1e-8)


def test_centring_takes_the_market_off(returns):
    market = classical.standardised(returns).mean(axis=1)
    part = classical.standardised(returns).T @ market  # how much of the market each asset takes part in
    kept = np.linalg.lstsq(classical.singular_components(returns, 5), part, rcond=None)[0]
    assert np.linalg.norm(classical.singular_components(returns, 5) @ kept - part) < 0.1 * np.linalg.norm(part)
    assert abs(classical.principal_components(returns, 5).mean(axis=0)).max() < 1e-8


@pytest.mark.parametrize("embed", EMBEDDINGS, ids=lambda f: f.__name__)
def test_ward_finds_the_planted_groups(embed, returns):
    embeddings = embed(returns) if embed is classical.correlation_rows else embed(returns, 5)
    labels = Ward(4).fit(unit_sphere(embeddings)).labels_
    assert adjusted_rand_score(labels, np.arange(40) // 10) == 1.0


@pytest.mark.parametrize("embed", EMBEDDINGS, ids=lambda f: f.__name__)
def test_an_asset_that_stays_still_has_a_finite_row_and_the_scale_of_an_asset_does_not_matter(embed, returns):
    still = returns.copy()
    still[:, 3] = 0.001
    assert np.isfinite(embed(still)).all()
    scaled = returns * np.linspace(0.1, 10, 40)
    np.testing.assert_allclose(pdist(embed(scaled)), pdist(embed(returns)), atol=1e-7)


def test_average_linkage_is_scikit_learns(returns):
    distance = 1 - np.corrcoef(returns.T)
    expected = AgglomerativeClustering(6, metric="precomputed", linkage="average").fit_predict(distance)
    assert adjusted_rand_score(classical.average_linkage(returns, 6), expected) == 1.0


def test_random_labels_repeat_with_their_seed():
    labels = classical.random_labels(1000, 20, random_state=1)
    np.testing.assert_array_equal(labels, classical.random_labels(1000, 20, random_state=1))
    assert (labels != classical.random_labels(1000, 20, random_state=2)).any()
    assert set(labels) == set(range(20))


def test_assets_of_unknown_class_have_no_class_label():
    known = {"asset_class": ["etf", "equity", "equity", "unknown"], "sector": ["", "Energy", "Utilities", ""]}
    labels = classical.class_labels(pd.DataFrame(known, index=list("ABCD")))
    assert labels.to_dict() == {"A": 0, "B": 1, "C": 2}
    assert classical.class_labels(pd.DataFrame(known, index=list("ABCD")).iloc[3:]).empty
