import gc
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from clusterfolio.models.clustering import unit_sphere
from clusterfolio.models.cross_attention import (
    COLDEST,
    HOTTEST,
    attended_rows,
    attention_weights,
    cross_attention,
    sharpness,
)


def rows(seed, n_assets=40, n_dims=60):
    return unit_sphere(np.random.default_rng(seed).normal(size=(n_assets, n_dims)))


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_attention_of_rows_is_that_of_their_products(n_layers):
    z = rows(4, n_dims=12)
    found = attended_rows(z, n_layers, 0.1)
    np.testing.assert_allclose(found @ found.T, cross_attention(z @ z.T, n_layers, 0.1), atol=1e-9)


@pytest.mark.parametrize("perplexity", [1.5, 4.0, 20.0])
def test_attention_spreads_over_as_many_assets_as_asked_for(perplexity):
    z = rows(0)
    weights = attention_weights(z @ z.T, perplexity)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    entropy = -(weights * np.log(np.maximum(weights, 1e-300))).sum(axis=1)
    assert np.exp(entropy.mean()) == pytest.approx(perplexity, rel=2e-3)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999), n=st.integers(2, 60), n_dims=st.integers(1, 80), share=st.floats(0.02, 0.98),
    scale=st.floats(1e-3, 1.0), single=st.booleans(),
)  # fmt: skip
def test_the_temperature_is_the_one_that_a_bracketing_search_finds(seed, n, n_dims, share, scale, single):
    z = rows(seed, n, n_dims)
    distance = scale * (1 - z @ z.T)
    entropy = share * np.log(n)

    def over(log_beta):
        weights = np.exp(-np.exp(log_beta) * distance)
        weights /= weights.sum(axis=1, keepdims=True)
        return -np.mean(np.sum(weights * np.log(np.maximum(weights, 1e-300)), axis=1)) - entropy

    low, high = np.log(HOTTEST), np.log(COLDEST)
    expected = low if over(low) <= 0 else high if over(high) >= 0 else brentq(over, low, high, xtol=1e-12)
    found = np.log(sharpness(distance.astype(np.float32) if single else distance, entropy))
    flat = abs(over(expected + 0.01) - over(expected - 0.01)) < 1e-4  # where any of many is as good
    assert abs(over(found) - over(expected)) < 1e-4 if flat else found == pytest.approx(expected, abs=2e-3)


def test_one_layer_is_the_attention_of_torch():
    z = rows(1)
    weights = attention_weights(z @ z.T, 5.0)
    beta = np.log(weights[0, 0] / weights[0, 1]) / (1 - z[0] @ z[1])  # the temperature that was found
    tokens = torch.from_numpy(z)[None]
    mixed = torch.nn.functional.scaled_dot_product_attention(tokens, tokens, tokens, scale=float(beta))[0].numpy()
    expected = unit_sphere(mixed)
    np.testing.assert_allclose(cross_attention(z @ z.T, 1, 5.0 / len(z)), expected @ expected.T, atol=1e-10)


def test_a_group_draws_together_and_away_from_the_others():
    rng = np.random.default_rng(2)
    planted = np.repeat(np.arange(20), 10)
    z = unit_sphere(rng.normal(size=(20, 200))[planted] + rng.normal(size=(200, 200)))
    same = np.equal.outer(planted, planted) & ~np.eye(200, dtype=bool)
    apart = ~np.equal.outer(planted, planted)
    before, after = z @ z.T, cross_attention(z @ z.T, 3, 0.05)
    assert before[same].mean() == pytest.approx(0.5, abs=0.02)  # half of the variance is the group's
    assert after[same].mean() > 0.8
    assert after[apart].mean() < 0.05


def test_many_layers_do_not_draw_all_assets_into_one_point():
    z = rows(3, n_assets=100)
    after = cross_attention(z @ z.T, 20, 0.05)
    assert after.mean() < 0.5


def test_few_assets_keep_their_embeddings():
    z = rows(4, n_assets=30)
    np.testing.assert_allclose(cross_attention(z @ z.T, 3, 0.0125), z @ z.T, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(1, 30), spread=st.floats(0.001, 1), copies=st.integers(1, 3))
def test_any_rows_stay_rows_of_unit_length(seed, n, spread, copies):
    z = np.repeat(rows(seed, n, 5), copies, axis=0)
    z[0] = np.where(seed % 5, z[0], 0)  # an asset that says nothing
    after = cross_attention(z @ z.T, 2, spread)
    assert np.isfinite(after).all()
    length = np.diag(after)
    assert (np.isclose(length, 1) | np.isclose(length, 0, atol=1e-12)).all()


def test_the_order_of_the_assets_does_not_matter():
    z, order = rows(5), np.random.default_rng(0).permutation(40)
    straight, shuffled = (cross_attention(x @ x.T, 3, 0.1) for x in (z, z[order]))
    np.testing.assert_allclose(shuffled, straight[np.ix_(order, order)], atol=1e-9)


def test_nothing_is_kept_from_call_to_call():
    z = rows(6, n_assets=200)
    products = z @ z.T
    gc.disable()  # what only the collector of cycles frees piles up over the decisions of a long run
    tracemalloc.start()
    try:
        for _ in range(4):
            cross_attention(products, 3, 0.05)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert kept < products.nbytes
