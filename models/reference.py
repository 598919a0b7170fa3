"""Encoders to compare a trained one with, on the same windows: a linear one, and one that has learned nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from clusterfolio.models.device import seeded
from clusterfolio.models.encoder import Encoder, make_encoder
from clusterfolio.models.scaling import fit_scaler, scale, scale_bars
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.windows import Windows

#: Windows that are in memory at a time.
CHUNK = 16384


class WindowPCA(BaseEstimator):
    """The best linear autoencoder of the windows: principal components of their scaled, flattened bars.

    Args:
        n_components: length of the embedding.
        lookback: bars per window.
        clip: bound of the scaled features, in interquartile ranges from the median.

    Attributes:
        scaler_: RobustScaler fitted on the bars of the training windows.
        mean_: ``(lookback * n_features,)``, the mean training window.
        components_: ``(lookback * n_features, n_components)``, orthonormal columns, the strongest first.
    """

    def __init__(self, n_components: int = 64, lookback: int = 30, clip: float = 10.0):
        self.n_components = n_components
        self.lookback = lookback
        self.clip = clip

    def fit(self, windows: Windows) -> WindowPCA:
        """Learns scaler and directions from unscaled training windows, exactly, from all of them."""
        n_dims = self.lookback * windows.values.shape[1]
        if len(windows) < 2 or not 1 <= self.n_components <= n_dims:
            raise ValueError(
                f"n_components must be 1 to {n_dims} and windows at least 2, got {self.n_components} and {len(windows)}"
            )
        scaler = fit_scaler(windows)
        scaled = scale(windows, scaler, self.clip)
        total, products = np.zeros(n_dims), np.zeros((n_dims, n_dims))
        for at in range(0, len(scaled), CHUNK):
            rows = scaled.gather(np.arange(at, min(at + CHUNK, len(scaled))))[0].reshape(-1, n_dims).astype(np.float64)
            total += rows.sum(axis=0)
            products += rows.T @ rows
        mean = total / len(scaled)
        _, vectors = np.linalg.eigh(products / len(scaled) - np.outer(mean, mean))
        self.scaler_, self.mean_, self.components_ = scaler, mean, vectors[:, ::-1][:, : self.n_components]
        return self

    def transform(self, windows: Windows) -> np.ndarray:
        """Embeddings of unscaled windows, float32 ``(n_windows, n_components)``."""
        check_is_fitted(self, "components_")
        parts = [np.empty((0, self.n_components), dtype=np.float32)]
        for at in range(0, len(windows), CHUNK):
            values, observed = windows.gather(np.arange(at, min(at + CHUNK, len(windows))))
            rows = scale_bars(values, observed, self.scaler_, self.clip).reshape(len(values), -1)
            parts.append(((rows - self.mean_) @ self.components_).astype(np.float32))
        return np.concatenate(parts)


def untrained(encoder: Encoder, windows: Windows) -> Encoder:
    """``encoder`` with the weights it has before its first step of training; its scaler is fitted on these windows.

    It is fitted on a single window, so that whatever a fitted encoder has is there, and then given its initial weights.
    """
    least = replace(encoder.train or TrainConfig(), epochs=1, windows_per_epoch=1, holdout=0.0)
    fitted = clone(encoder).set_params(train=least).fit(windows)
    with seeded(encoder.random_state, torch.device("cpu")):
        shape = (fitted.n_features_, encoder.lookback, encoder.config)
        initial = make_encoder(encoder.encoder, *shape, **fitted.covariates_.sizes())
    fitted.module_.load_state_dict(initial.state_dict())
    return fitted
