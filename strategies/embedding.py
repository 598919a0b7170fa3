"""One embedding per asset from the encoder's windows: the last one, or the joined ones of a span at common dates.

Those drawn from returns alone, the default among them, are in ``strategies.returns_embedding``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import Panel
from clusterfolio.models.clustering import coordinates, trajectory, unit_sphere
from clusterfolio.models.cross_attention import cross_attention
from clusterfolio.models.windows import Windows
from clusterfolio.strategies.windows import panel_windows

if TYPE_CHECKING:
    from clusterfolio.models.encoder import Encoder
    from clusterfolio.models.reference import WindowPCA


#: Kinds of embedding that are the encoder's, and those of returns that need no training.
ENCODED = ("last", "trajectory")
OF_RETURNS = ("returns", "svd", "pca", "search", "learned")

#: Stretches that rows are cut into to be resampled: months of a two-year trajectory.
STRETCHES = 25


@dataclass(frozen=True)
class EmbeddingConfig:
    """What makes up an asset's embedding at a decision, from which the clusters are drawn.

    Attributes:
        kind: of the returns of `span` sessions: "search" = clusters searched for what is promised of them
            (`models/promise.py`); "learned" = one layer of attention with values learned for the same
            (`models/promise_layer.py`); "returns" = standardised and passed through attention; "svd", "pca" = their
            strongest directions, without and with the market's mean taken off; beside these the encoder's own is shown.
            Of the encoder: "last" = the window that ends now; "trajectory" = the windows of `span` business days, one
            every `step` at dates common to all assets, joined: what moves together lies together.
        span: days the embedding reaches back.
        step: business days between a trajectory's windows.
        attention_layers: layers of attention across assets that trajectories and returns pass through
            (`models/cross_attention.py`); 0 = none.
        attention_spread: share of the assets that one of them attends to.
        attention_least: assets that it attends to at least, in a market too small for that share.
        components: length of the embedding: strongest common directions that are kept; 0 = all.
        max_gap: share of a trajectory's windows an asset may lack (late listing, halts).
    """

    kind: str = "search"
    span: int = 504
    step: int = 5
    attention_layers: int = 3
    attention_spread: float = 0.0125
    attention_least: int = 4
    components: int = 64
    max_gap: float = 0.25

    def __post_init__(self):
        if self.kind not in ENCODED + OF_RETURNS:
            raise ValueError(f"embedding.kind: got {self.kind!r}, expected one of {', '.join(ENCODED + OF_RETURNS)}")
        if not 1 <= self.step <= self.span:
            raise ValueError(f"embedding.step: got {self.step}, expected 1..{self.span} (embedding.span)")
        for name in ("attention_layers", "attention_least", "components"):
            if getattr(self, name) < 0:
                raise ValueError(f"embedding.{name}: got {getattr(self, name)}, expected 0 or more")
        if not 0 < self.attention_spread <= 1:
            raise ValueError(f"embedding.attention_spread: got {self.attention_spread}, expected a share of 1")

    def spread(self, n_assets: int) -> float:
        """The share of so many assets that one of them attends to."""
        return max(self.attention_spread, min(self.attention_least / n_assets, 1.0))


@dataclass(frozen=True)
class Embedded:
    """Embeddings of all assets at one date.

    Attributes:
        joined: ``(n_assets, n_dims)``, indexed by symbol, of unit length.
        complete: by symbol, True where the asset had enough windows to be embedded.
        config: how ``rows`` are made from ``joined``.
        uncertainty: by symbol, the mean variance of the newest window's embedding, NaN where there is none; None where
            the encoder states no variance.
    """

    joined: pd.DataFrame
    complete: pd.Series
    config: EmbeddingConfig
    uncertainty: pd.Series | None = None

    def rows(self, symbols: list[str]) -> pd.DataFrame:
        """The embeddings of these symbols, in this order, of unit length.

        Only these attend to one another and decide the common directions. They depend on the inner products of
        ``joined`` only.
        """
        chosen = self.joined.loc[symbols]
        config = self.config
        if config.kind == "last" or not (config.attention_layers or config.components):
            return chosen
        joined = chosen.to_numpy()
        products = cross_attention(joined @ joined.T, config.attention_layers, config.spread(len(chosen)))
        return pd.DataFrame(unit_sphere(coordinates(products, config.components or len(chosen))), index=chosen.index)

    def resampled(self, symbols: list[str], n_resamples: int, random_state: int) -> Iterator[np.ndarray]:
        """``rows`` again, of stretches of neighbouring dimensions drawn with replacement, the same for all assets."""
        joined = self.joined.loc[symbols].to_numpy(dtype=np.float64)
        for again in resampled_rows(joined, n_resamples, random_state):
            yield replace(self, joined=pd.DataFrame(again, index=symbols)).rows(symbols).to_numpy()


class PanelEmbedder:
    """Embeds a panel's assets with a fitted encoder; a window already embedded is not embedded again.

    Windows at one date are encoded together and remembered by the hash of what went in, so a monthly decision
    encodes only the dates that are new since the last, and a changed panel can never meet a stale answer.
    """

    def __init__(self, encoder: Encoder | WindowPCA, config: EmbeddingConfig):
        self.encoder = encoder
        self.config = config
        self._known: dict[bytes, tuple[np.ndarray, np.ndarray | None]] = {}

    def embed(self, panel: Panel) -> Embedded:
        """Embeddings at the close of the panel's last day; the panel has features."""
        windows = panel_windows(panel, self.encoder.lookback)
        rows = self._dates(panel)
        picked = latest_windows(windows, len(panel.symbols), rows)
        some = (picked >= 0).any(axis=0)
        if not some[-1]:
            nothing = pd.DataFrame(np.zeros((len(panel.symbols), 1)), index=panel.symbols)
            return Embedded(nothing, pd.Series(False, index=panel.symbols), self.config)
        picked = picked[:, some]
        steps = [self._encode(windows, chosen) for chosen in picked.T]
        embeddings = np.stack([embedded for embedded, _ in steps], axis=1)  # assets, steps, dims
        _, uncertainty = steps[-1]
        present = picked >= 0
        if self.config.kind == "last":
            joined, complete = embeddings[:, -1], present[:, -1]
        else:
            joined = trajectory(embeddings, present)
            complete = present[:, -1] & (present.mean(axis=1) >= 1 - self.config.max_gap)
        return Embedded(
            pd.DataFrame(unit_sphere(joined), index=panel.symbols),
            pd.Series(complete, index=panel.symbols),
            self.config,
            uncertainty=None if uncertainty is None else pd.Series(uncertainty, index=panel.symbols),
        )

    def at(self, panel: Panel, days: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
        """Each asset's window that ends at or shortly before each day: ``(n_assets, n_days, embed_dim)`` and presence.

        Args:
            days: not before the panel's first; the panel has features.

        Returns:
            The embeddings, zero where the asset has no window, and bool ``(n_assets, n_days)``: it has one.
        """
        windows = panel_windows(panel, self.encoder.lookback)
        rows = panel.dates.searchsorted(days, side="right") - 1
        picked = latest_windows(windows, len(panel.symbols), rows)
        return np.stack([self._encode(windows, chosen)[0] for chosen in picked.T], axis=1), picked >= 0

    def _dates(self, panel: Panel) -> np.ndarray:
        """Panel rows the windows end at (the last row at or before each date), oldest first."""
        asof = panel.dates[-1]
        if self.config.kind == "last":
            return np.array([len(panel.dates) - 1])
        # Counted from a fixed day, not from `asof`: consecutive decisions share dates, whatever the panel's start.
        today = np.busday_count("1970-01-01", asof.date(), weekmask="1111100") + (asof.weekday() < 5)
        newest = (today - 1) - (today - 1) % self.config.step
        ordinals = np.arange(newest, today - self.config.span, -self.config.step)[::-1]
        days = np.busday_offset("1970-01-01", ordinals, roll="forward")
        rows = panel.dates.searchsorted(pd.DatetimeIndex(days), side="right") - 1
        return rows[rows >= 0] if (rows >= 0).any() else np.array([len(panel.dates) - 1])

    def _encode(self, windows: Windows, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """One date's windows: embeddings ``(n_assets, embed_dim)``, zero where ``chosen`` is -1, and the mean of each
        one's variances ``(n_assets,)``, NaN there; None where the encoder states no variance.
        """
        present = chosen >= 0
        values, observed = windows.gather(chosen[present])
        content = values.tobytes() + np.packbits(observed).tobytes() + present.tobytes()
        trained = hasattr(self.encoder, "transform_with_variance")  # which may see more than bars, and be uncertain
        if trained:
            content += self.encoder.covariates_.content(windows, chosen[present])
        key = hashlib.blake2b(content).digest()
        if key not in self._known:
            taken = windows.take(chosen[present])
            if trained:
                mean, var = self.encoder.transform_with_variance(taken)
            else:
                mean, var = self.encoder.transform(taken), None
            embedded, uncertainty = np.zeros((len(chosen), mean.shape[1]), dtype=np.float32), None
            embedded[present] = mean
            if var is not None:
                uncertainty = np.full(len(chosen), np.nan)
                uncertainty[present] = var.mean(axis=1)
            self._known[key] = embedded, uncertainty
        return self._known[key]


def latest_windows(windows: Windows, n_assets: int, rows: np.ndarray, max_age: int = 10) -> np.ndarray:
    """Each asset's most recent window at each panel row, int64 ``(n_assets, n_rows)``; -1 where there is none.

    A window older than ``max_age`` panel rows does not count: the asset had stopped trading by then.
    """
    found = np.full((n_assets, len(rows)), -1, dtype=np.int64)
    bounds = np.searchsorted(windows.asset_idx, np.arange(n_assets + 1))
    for asset in range(n_assets):
        ends = windows.date_idx[bounds[asset] : bounds[asset + 1]]
        at = np.searchsorted(ends, rows, side="right") - 1
        fresh = (at >= 0) & (rows - ends[np.maximum(at, 0)] <= max_age) if len(ends) else np.zeros(len(rows), bool)
        found[asset, fresh] = bounds[asset] + at[fresh]
    return found


def resampled_rows(rows: np.ndarray, n_resamples: int, random_state: int) -> Iterator[np.ndarray]:
    """Rows of unit length made of stretches drawn with replacement, ``n_resamples`` times; float32, which is faster.

    Only their inner products are those of the drawn dimensions: a stretch drawn twice weighs twice, and the sum of the
    stretches' inner products is split up again (Cholesky), which is far cheaper than thousands of dimensions.

    Args:
        rows: ``(n_assets, n_dims)``, finite.
    """
    stretches = np.array_split(rows, min(STRETCHES, rows.shape[1]), axis=1)
    products = np.stack([part @ part.T for part in stretches])
    rng = np.random.default_rng(random_state)
    for counts in rng.multinomial(len(stretches), np.full(len(stretches), 1 / len(stretches)), size=n_resamples):
        product = np.tensordot(counts.astype(np.float64), products, axes=1)
        # A product of fewer dimensions than assets has no Cholesky factor but for a hair more on its diagonal.
        hair = max(1e-9 * np.trace(product) / len(product), 1e-300)
        yield unit_sphere(np.linalg.cholesky(product + hair * np.eye(len(product)))).astype(np.float32)
