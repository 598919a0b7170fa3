"""One layer of attention across assets whose values are learned for the promise (``models/promise.py``).

The weights are those of ``cross_attention`` on the expected correlations; the values, a row of K numbers for each
asset, are learned: what an asset and its neighbours say together is its share in each of K clusters. The loss is the
promise with shares instead of labels, and three small terms: no cluster above 30 % of the assets, none below 0.7 of an
asset, and shares that are near 0 or 1.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import one_hot, relu

from clusterfolio.models.cross_attention import attention_weights
from clusterfolio.models.promise import BETWEEN, REPRESENTATION

#: Sharpness of the shares, and the least share of each cluster in every asset.
SHARPNESS, FLOOR = 8.0, 0.002

#: Steps of Adam, its first rate (a half cosine takes it to 0), and the deviation of what is added to the start.
STEPS, RATE, NOISE = 300, 0.02, 0.1


def learned_shares(
    expected: np.ndarray, labels: np.ndarray, spread: float, random_state: int = 0, steps: int = STEPS
) -> np.ndarray:
    """Each asset's shares in the clusters, float32 ``(n_assets, K)``; rows sum to 1.

    Args:
        expected: correlations ``(n_assets, n_assets)``, ones on the diagonal.
        labels: the start, 0 to K - 1, each at least once; K is 2 or more, and less than the assets.
        spread: share of the assets that one attends to.
    """
    own = torch.Generator().manual_seed(random_state)
    weights = torch.tensor(attention_weights(expected, spread * len(expected)), dtype=torch.float32)
    pairs = torch.tensor(expected, dtype=torch.float32)
    start = one_hot(torch.tensor(labels, dtype=torch.int64)).to(torch.float32)
    values = (start + NOISE * torch.randn(start.shape, generator=own)).requires_grad_()
    optimiser = torch.optim.Adam([values], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(shares(weights, values), pairs).backward()
        optimiser.step()
        schedule.step()
    return shares(weights, values.detach()).numpy()


def shares(weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """What attention with these weights makes of the values: ``(n_assets, K)``, each at least the floor's part."""
    return torch.softmax(SHARPNESS * (weights @ values), dim=1) * (1 - FLOOR) + FLOOR / values.shape[1]


def loss(of_clusters: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Less the promise, and what keeps clusters from growing, dying and blurring; with shares 0 and 1 the promise is
    ``promise.promise``.
    """
    n, k = of_clusters.shape
    size = of_clusters.sum(dim=0)
    sums, squares = of_clusters.T @ (pairs @ of_clusters), of_clusters.T @ (pairs**2 @ of_clusters)
    itself, own, together = of_clusters.square().sum(), sums.trace(), size.square().sum()
    gap = (own - itself) / (together - itself) - (sums.sum() - own - (n - itself)) / (n * n - together - (n - itself))
    representation = (sums.diagonal() / size).sum() / n
    means = squares / torch.outer(size, size)
    between = (means.sum() - means.trace()) / (k * (k - 1))
    grown = 5.0 * relu(size.max() / n - 0.30)
    dying = 0.1 * relu(0.7 - size).sum() / 0.7
    blurred = -0.02 * (of_clusters * of_clusters.log()).sum(dim=1).mean()
    return -(gap + REPRESENTATION * representation - BETWEEN * between) + grown + dying + blurred
