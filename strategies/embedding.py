"""One embedding per asset from the encoder's windows: the last one, or the joined ones of a span at common dates.

Those drawn from returns alone, the default among them, are in ``strategies.returns_embedding``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.base import ClusterMixin, clone

from clusterfolio.feeds.of_panel import OfPanel
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

#: Panel rows for which an asset's last window is its newest: after that it has stopped trading.
MAX_AGE = 10

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
        config: how ``rows`` are made from ``joined``.
    """

    joined: pd.DataFrame
    config: EmbeddingConfig

    def rows(self, symbols: list[str]) -> pd.DataFrame:
        """The embeddings of these symbols, in this order, of unit length.

        Only these attend to one another and decide the common directions. They depend on the inner products of
        ``joined`` only.
        """
        chosen = self.joined.loc[symbols]
        if not self._reduced:
            return chosen
        joined = chosen.to_numpy()
        return pd.DataFrame(self._reduce(joined @ joined.T), index=chosen.index)

    def regrouped(
        self, symbols: list[str], clusterer: ClusterMixin, n_resamples: int, random_state: int
    ) -> Iterator[np.ndarray]:
        """Labels drawn again from ``resampled`` rows."""
        for rows in self.resampled(symbols, n_resamples, random_state):
            yield clone(clusterer).fit(rows).labels_

    def resampled(self, symbols: list[str], n_resamples: int, random_state: int) -> Iterator[np.ndarray]:
        """``rows`` again, of stretches of neighbouring dimensions drawn with replacement, the same for all assets."""
        joined = self.joined.loc[symbols].to_numpy(dtype=np.float64)
        for products in resampled_products(joined, n_resamples, random_state):
            if self._reduced:
                yield self._reduce(products)
            else:  # by rounding, products of near rows may be those of none, and have no Cholesky factor
                yield unit_sphere(coordinates(products.astype(np.float64), len(products)))

    @property
    def _reduced(self) -> bool:
        """Whether ``rows`` are made from inner products."""
        config = self.config
        return config.kind != "last" and bool(config.attention_layers or config.components)

    def _reduce(self, products: np.ndarray) -> np.ndarray:
        """Rows of unit length from inner products, in their precision: attention, then the strongest directions."""
        config, n = self.config, len(products)
        products = cross_attention(products, config.attention_layers, config.spread(n))
        return unit_sphere(coordinates(products, config.components or n))


class PanelEmbedder:
    """Embeds a panel's assets with a fitted encoder; a window already embedded is not embedded again.

    Embeddings of a date are remembered by the hash of what went in, so a monthly decision encodes only the dates that
    are new since the last, all at once, and a changed panel can never meet a stale answer. The windows of the panel
    asked about last, and its embeddings, are kept as long as that panel lives: it is asked about several times.
    """

    def __init__(self, encoder: Encoder | WindowPCA, config: EmbeddingConfig):
        self.encoder = encoder
        self.config = config
        self._known: dict[bytes, tuple[np.ndarray, np.ndarray | None]] = {}
        self._variance: bool | None = None
        self._windows, self._picked, self._embedded = OfPanel(), OfPanel(), OfPanel()

    def embed(self, panel: Panel) -> Embedded:
        """Embeddings at the close of the panel's last day; the panel has features."""
        return self._embedded.get(panel, self._embed)

    def windows(self, panel: Panel) -> Windows:
        """Every window of the panel."""
        return self._windows.get(panel, lambda panel: panel_windows(panel, self.encoder.lookback))

    def complete(self, panel: Panel) -> pd.Series:
        """By symbol, whether the asset has enough windows to be embedded; nothing is embedded for it."""
        present = self.picked(panel) >= 0
        if not present.shape[1]:
            return pd.Series(False, index=panel.symbols)
        enough = self.config.kind == "last" or present.mean(axis=1) >= 1 - self.config.max_gap
        return pd.Series(present[:, -1] & enough, index=panel.symbols)

    def uncertainty(self, panel: Panel) -> pd.Series | None:
        """By symbol, the mean variance of the newest window's embedding, NaN where there is none; None where the
        encoder states no variance.
        """
        picked = self.picked(panel)
        if not picked.shape[1] or not self._states_variance(self.windows(panel)):
            return None
        ((_, variance),) = self._encode(self.windows(panel), picked[:, -1:])
        return pd.Series(variance, index=panel.symbols)

    def picked(self, panel: Panel) -> np.ndarray:
        """Windows that an embedding is made of, ``(n_assets, n_dates)``, oldest date first, -1 where an asset has none.

        Dates without any are left out; none is left where nothing has a window at the newest.
        """
        return self._picked.get(panel, self._pick)

    def _pick(self, panel: Panel) -> np.ndarray:
        found = latest_windows(self.windows(panel), len(panel.symbols), self._dates(panel))
        some = np.any(found >= 0, axis=0)
        return found[:, some] if some[-1] else found[:, :0]

    def _states_variance(self, windows: Windows) -> bool:
        if self._variance is None:
            self._variance = self._transform(windows.take(np.arange(1)))[1] is not None
        return self._variance

    def _embed(self, panel: Panel) -> Embedded:
        picked = self.picked(panel)
        if not picked.shape[1]:
            return Embedded(pd.DataFrame(np.zeros((len(panel.symbols), 1)), index=panel.symbols), self.config)
        steps = self._encode(self.windows(panel), picked)
        embeddings = np.stack([embedded for embedded, _ in steps], axis=1)  # assets, steps, dims
        joined = embeddings[:, -1] if self.config.kind == "last" else trajectory(embeddings, picked >= 0)
        return Embedded(pd.DataFrame(unit_sphere(joined), index=panel.symbols), self.config)

    def at(self, panel: Panel, days: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
        """Each asset's window that ends at or shortly before each day: ``(n_assets, n_days, embed_dim)`` and presence.

        Args:
            days: not before the panel's first; the panel has features.

        Returns:
            The embeddings, zero where the asset has no window, and bool ``(n_assets, n_days)``: it has one.
        """
        windows = self.windows(panel)
        rows = panel.dates.searchsorted(days, side="right") - 1
        picked = latest_windows(windows, len(panel.symbols), rows)
        return np.stack([embedded for embedded, _ in self._encode(windows, picked)], axis=1), picked >= 0

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

    def _encode(self, windows: Windows, picked: np.ndarray) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Each date's windows: embeddings ``(n_assets, embed_dim)``, zero where ``picked`` is -1, and the mean of each
        one's variances ``(n_assets,)``, NaN there; None where the encoder states no variance.

        Args:
            picked: windows of the assets at the dates, ``(n_assets, n_dates)``.
        """
        keys = [self._key(windows, chosen) for chosen in picked.T]
        new = {key: chosen for key, chosen in zip(keys, picked.T, strict=True) if key not in self._known}
        if new:
            taken = windows.take(np.concatenate([chosen[chosen >= 0] for chosen in new.values()]))
            mean, var = self._transform(taken)
            at = 0
            for key, chosen in new.items():
                present = chosen >= 0
                own = slice(at, at + int(present.sum()))
                at = own.stop
                embedded, uncertainty = np.zeros((len(chosen), mean.shape[1]), dtype=np.float32), None
                embedded[present] = mean[own]
                if var is not None:
                    uncertainty = np.full(len(chosen), np.nan)
                    uncertainty[present] = var[own].mean(axis=1)
                self._known[key] = embedded, uncertainty
        return [self._known[key] for key in keys]

    def _key(self, windows: Windows, chosen: np.ndarray) -> bytes:
        """Hash of all that a date's embeddings follow from."""
        present = chosen >= 0
        values, observed = windows.gather(chosen[present])
        content = values.tobytes() + np.packbits(observed).tobytes() + present.tobytes()
        if hasattr(self.encoder, "covariates_"):
            content += self.encoder.covariates_.content(windows, chosen[present])
        return hashlib.blake2b(content).digest()

    def _transform(self, windows: Windows) -> tuple[np.ndarray, np.ndarray | None]:
        if hasattr(self.encoder, "transform_with_variance"):
            return self.encoder.transform_with_variance(windows)
        return self.encoder.transform(windows), None


def latest_windows(windows: Windows, n_assets: int, rows: np.ndarray, max_age: int = MAX_AGE) -> np.ndarray:
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


def resampled_products(rows: np.ndarray, n_resamples: int, random_state: int) -> Iterator[np.ndarray]:
    """Inner products of rows made of stretches drawn with replacement, of unit length, ``n_resamples`` times.

    A stretch drawn twice weighs twice. In float32, which is faster.

    Args:
        rows: ``(n_assets, n_dims)``, finite.
    """
    parts = np.array_split(rows.astype(np.float32), min(STRETCHES, rows.shape[1]), axis=1)
    products = np.stack([(part @ part.T).ravel() for part in parts])
    rng = np.random.default_rng(random_state)
    counts = rng.multinomial(len(parts), np.full(len(parts), 1 / len(parts)), size=n_resamples)
    for drawn in counts.astype(np.float32) @ products:
        product = drawn.reshape(len(rows), len(rows))
        length = np.sqrt(np.maximum(np.diag(product), 0))
        length = np.where(length > 0, length, 1)
        yield product / length / length[:, None]
