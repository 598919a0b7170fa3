"""Attention across assets: every asset's embedding becomes a mean of those that look most like it.

The self-attention of a Transformer (Vaswani et al., 2017) with the assets of one date as its tokens, whose queries,
keys and values are the embeddings themselves: nothing is learned here. Iterated, it is Cheng's blurring mean shift
(IEEE TPAMI 17, 1995) on the sphere. What a group of assets shares is kept and what each of them shows alone averages
out, which is noise to next year's clusters.

How sharply an asset looks at its neighbours is set by how many it should see: the temperature is the one at which the
attention weights have a given perplexity (van der Maaten and Hinton, JMLR 9, 2008, there per point, here on average
over the assets, so that an asset with no neighbours keeps to itself). It is found anew in every layer; without that a
stack of layers draws all assets into one point.
"""

from __future__ import annotations

import math

import numpy as np

from clusterfolio.models.clustering import unit_sphere

#: Bounds of the inverse temperature, and the step of its logarithm at which the search ends.
COLDEST, HOTTEST, TOLERANCE = 1e4, 1e-2, 1e-3


def cross_attention(products: np.ndarray, n_layers: int, spread: float) -> np.ndarray:
    """Inner products of embeddings after ``n_layers`` of attention across assets.

    Args:
        products: inner products of rows of unit length, ``(n_assets, n_assets)``; the answer has their precision.
        spread: share of the assets that attention spreads over: its perplexity is ``spread * n_assets``. Where that is
            one asset or less, every asset sees itself only and nothing changes.

    Returns:
        Inner products of the new rows, of unit length again, ``(n_assets, n_assets)``.

    Two pairs of assets, seen two at a time: each pair becomes one.

    >>> pairs = np.array([[1.0, 0.8, 0.0, 0.0], [0.8, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.8], [0.0, 0.0, 0.8, 1.0]])
    >>> cross_attention(pairs, n_layers=2, spread=0.49).round(1)
    array([[1., 1., 0., 0.],
           [1., 1., 0., 0.],
           [0., 0., 1., 1.],
           [0., 0., 1., 1.]])
    """
    for _ in range(n_layers):
        weights = attention_weights(products, spread * len(products))
        products = weights @ products @ weights.T
        length = np.sqrt(np.maximum(np.diag(products), 0))
        length = np.where(length > 0, length, 1)
        products = products / length / length[:, None]
    return products


def attended_rows(rows: np.ndarray, n_layers: int, spread: float) -> np.ndarray:
    """``cross_attention`` of rows of unit length, ``(n_assets, n_dims)``; the faster where there are few dimensions."""
    for _ in range(n_layers):
        rows = unit_sphere(attention_weights(rows @ rows.T, spread * len(rows)) @ rows)
    return rows


def attention_weights(products: np.ndarray, perplexity: float) -> np.ndarray:
    """Softmax over each asset's inner products, ``(n_assets, n_assets)``; rows sum to 1.

    Args:
        perplexity: effective number of assets a row spreads over, ``exp`` of the weights' mean entropy. What cannot be
            reached (more than there are, fewer than look the same) is come as near to as the bounds allow.
    """
    if perplexity <= 1:
        return np.eye(len(products))
    distance = products.max(axis=1, keepdims=True) - products
    weights = np.exp(-sharpness(distance, math.log(perplexity)) * distance)
    return weights / weights.sum(axis=1, keepdims=True)


def sharpness(distance: np.ndarray, entropy: float) -> float:
    """The inverse temperature at which weights ``exp(-beta * distance)`` have this mean entropy, within the bounds.

    Newton's method on the logarithm of ``beta``, in which the entropy falls, with a bisection wherever a step would
    leave what is left of the bounds. In single precision, whose exponentials cost a third; the last step is in that of
    ``distance``. Newton's steps end squared: after one of a thousandth a millionth is missing.
    """
    low, high = math.log(HOTTEST), math.log(COLDEST)
    least, most = low, high
    single = distance.astype(np.float32)
    at, step = math.log(10.0), math.inf
    while abs(step) > TOLERANCE:
        over, slope = excess(at, single, entropy)
        low, high = (at, high) if over > 0 else (low, at)
        step = -over / slope if slope < 0 else math.inf
        if not low <= at + step <= high:
            step = (low + high) / 2 - at
        at += step
    if min(at - least, most - at) < 2 * TOLERANCE:  # out of reach
        return math.exp(least if at - least < most - at else most)
    if distance.dtype != np.float32:
        over, slope = excess(at, distance, entropy)
        at -= max(-TOLERANCE, min(over / slope, TOLERANCE)) if slope < 0 else 0.0
    return math.exp(at)


def excess(log_beta: float, distance: np.ndarray, entropy: float) -> tuple[float, float]:
    """How far the mean entropy at this inverse temperature lies above the one that is sought, and how it changes with
    the temperature's logarithm.

    Of weights proportional to ``exp(-beta * d)`` the entropy is ``log z + beta * mean d``; it falls by ``beta**2``
    times the variance of ``d`` for each unit of ``log beta``.

    >>> over, slope = excess(0.0, np.zeros((4, 4)), 0.0)
    >>> round(math.exp(over), 6), slope
    (4.0, 0.0)
    """
    beta = math.exp(log_beta)
    weights = np.exp(-beta * distance)
    total = weights.sum(axis=1)
    parts = weights * distance
    mean = parts.sum(axis=1) / total
    square = np.einsum("ij,ij->i", parts, distance) / total
    variance = np.maximum(square - mean**2, 0)
    return float(np.mean(np.log(total) + beta * mean)) - entropy, 0.0 - beta**2 * float(np.mean(variance))
