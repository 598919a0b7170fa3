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
from scipy.optimize import brentq

#: Bounds of the inverse temperature, and how closely it is found.
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


def attention_weights(products: np.ndarray, perplexity: float) -> np.ndarray:
    """Softmax over each asset's inner products, ``(n_assets, n_assets)``; rows sum to 1.

    Args:
        perplexity: effective number of assets a row spreads over, ``exp`` of the weights' mean entropy. What cannot be
            reached (more than there are, fewer than look the same) is come as near to as the bounds allow.
    """
    if perplexity <= 1:
        return np.eye(len(products))
    distance = products.max(axis=1, keepdims=True) - products

    low, high = np.log(HOTTEST), np.log(COLDEST)
    sought = (distance, np.log(perplexity))  # as arguments: SciPy's wrapper of a closure keeps its arrays for long
    if excess(low, *sought) <= 0:
        log_beta = low
    elif excess(high, *sought) >= 0:
        log_beta = high
    else:
        log_beta = brentq(excess, low, high, args=sought, xtol=TOLERANCE)
    weights = np.exp(-math.exp(log_beta) * distance)
    return weights / weights.sum(axis=1, keepdims=True)


def excess(log_beta: float, distance: np.ndarray, entropy: float) -> float:
    """How far the mean entropy at this inverse temperature lies above the one that is sought."""
    return mean_entropy(distance, math.exp(log_beta)) - entropy


def mean_entropy(distance: np.ndarray, beta: float) -> float:
    """Mean over rows of the entropy of weights proportional to ``exp(-beta * distance)``.

    With ``p_j = exp(-beta d_j) / z`` it is ``log z + beta * sum_j p_j d_j``.

    >>> float(round(np.exp(mean_entropy(np.zeros((4, 4)), 1.0)), 6))
    4.0
    """
    weights = np.exp(-beta * distance)
    total = weights.sum(axis=1)
    return float(np.mean(np.log(total) + beta * np.einsum("ij,ij->i", weights, distance) / total))
