"""What a window may carry beside its own bars: market-wide series and what is known of the asset, ready for a network.

Both are learned on the training windows alone: the scale of a series from the days those windows cover, the codes of a
static column from the assets they belong to.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.preprocessing import RobustScaler

from clusterfolio.models.scaling import covered_bars
from clusterfolio.models.windows import Windows

log = logging.getLogger(__name__)

#: Texts of a static column that say nothing.
UNKNOWN = {"", "unknown"}


class Covariates(BaseEstimator):
    """Scales exogenous series and codes static columns.

    Args:
        exog: names of the series, in the order a network sees them.
        statics: names of the columns of ``Windows.static``, in the order a network sees them.
        clip: bound of the scaled series, in interquartile ranges from the median.

    Attributes:
        center_, scale_: median and interquartile range of each series over the training days; NaN and 1 where it was
            never known: such a series stays at 0.
        categories_: the texts of each static column among the training assets, sorted; code 0 = none of them.
    """

    def __init__(self, exog: tuple[str, ...] = (), statics: tuple[str, ...] = (), clip: float = 10.0):
        self.exog = exog
        self.statics = statics
        self.clip = clip

    def fit(self, windows: Windows, init: Covariates | None = None) -> Covariates:
        """Learns from unscaled training windows.

        Args:
            init: fitted ones whose codes are kept, so that a network that learned them can go on; None = new codes.
        """
        self.center_, self.scale_ = np.empty(0), np.empty(0)
        if self.exog:
            series = self._exog(windows)
            known = series[np.unique(windows.bar_date[covered_bars(windows)])]
            never = np.isnan(known).all(axis=0)
            for name in np.array(self.exog)[never]:
                log.warning("%s is not known on any training day: the encoder learns nothing from it", name)
            fitted = RobustScaler().fit(np.where(never, 0.0, known))
            self.center_ = np.where(never, np.nan, fitted.center_)
            self.scale_ = np.where(never, 1.0, fitted.scale_)
        self.categories_: list[list[str]] = []
        if self.statics and init is not None:
            self.categories_ = [list(known) for known in init.categories_]
        elif self.statics:
            told = self._static(windows)[np.unique(windows.asset_idx)]
            self.categories_ = [sorted(set(column) - UNKNOWN) for column in told.T]
        return self

    def sizes(self) -> dict[str, Any]:
        """What a network's constructor is told, only what there is: ``n_exog`` and ``static_sizes``, the number of
        codes of each static column (its categories and the unknown).
        """
        series = {"n_exog": len(self.exog)} if self.exog else {}
        return series | ({"static_sizes": tuple(len(known) + 1 for known in self.categories_)} if self.statics else {})

    def transform(self, windows: Windows) -> Windows:
        """The windows with these series scaled (float32, finite) and these columns coded (int64), and no others."""
        exog, static = None, None
        if self.exog:
            exog = pd.DataFrame(self._scaled(self._exog(windows)), windows.exog.index, list(self.exog))
        if self.statics:
            static = pd.DataFrame(self._coded(self._static(windows)), windows.static.index, list(self.statics))
        return windows.beside(exog, static)

    def tensors(self, windows: Windows, chosen: np.ndarray) -> dict[str, torch.Tensor]:
        """``Batch.exog`` and ``Batch.static``, as far as there are any, of the unscaled windows at ``chosen``."""
        found = {}
        if self.exog:
            rows = self._exog(windows)[windows.bar_date[windows.rows(chosen)]]
            found["exog"] = torch.from_numpy(self._scaled(rows))
        if self.statics:
            found["static"] = torch.from_numpy(self._coded(self._static(windows)[windows.asset_idx[chosen]]))
        return found

    def content(self, windows: Windows, chosen: np.ndarray) -> bytes:
        """What of the windows at ``chosen`` an embedding depends on beside their bars, as bytes."""
        return b"".join(tensor.numpy().tobytes() for tensor in self.tensors(windows, chosen).values())

    def neutral(self, lookback: int) -> dict[str, torch.Tensor]:
        """The tensors of one window of which nothing is known."""
        series = {"exog": torch.zeros(1, lookback, len(self.exog))} if self.exog else {}
        told = {"static": torch.zeros(1, len(self.statics), dtype=torch.int64)} if self.statics else {}
        return series | told

    def to_dict(self) -> dict[str, Any]:
        """Everything learned, as plain values for JSON."""
        center = [None if np.isnan(value) else float(value) for value in self.center_]
        return {
            "exog": list(self.exog),
            "statics": list(self.statics),
            "center": center,
            "scale": self.scale_.tolist(),
            "categories": self.categories_,
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any], clip: float) -> Covariates:
        """The fitted object that ``to_dict`` described."""
        made = cls(tuple(saved["exog"]), tuple(saved["statics"]), clip)
        made.center_ = np.array([np.nan if value is None else value for value in saved["center"]], dtype=float)
        made.scale_ = np.array(saved["scale"], dtype=float)
        made.categories_ = [list(known) for known in saved["categories"]]
        return made

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        scaled = np.clip((values - self.center_) / self.scale_, -self.clip, self.clip)
        return np.nan_to_num(scaled, nan=0.0).astype(np.float32)

    def _coded(self, told: np.ndarray) -> np.ndarray:
        codes = np.zeros(told.shape, dtype=np.int64)
        for column, known in enumerate(self.categories_):
            code = {text: number for number, text in enumerate(known, 1)}
            codes[:, column] = [code.get(text, 0) for text in told[:, column]]
        return codes

    def _exog(self, windows: Windows) -> np.ndarray:
        """This object's series ``(n_dates, n_exog)``."""
        return _columns("exogenous series", windows.exog, self.exog).astype(float, copy=False)

    def _static(self, windows: Windows) -> np.ndarray:
        """This object's columns ``(n_assets, n_statics)``, texts."""
        return _columns("static columns", windows.static, self.statics)


def _columns(what: str, table: pd.DataFrame | None, wanted: tuple[str, ...]) -> np.ndarray:
    here = [] if table is None else list(table.columns)
    missing = [name for name in wanted if name not in here]
    if missing:
        have = ", ".join(map(str, here)) or "none"
        raise ValueError(f"windows: the encoder needs the {what} {', '.join(missing)}; these have {have}")
    # Arrays and not a selection of the frame: this is asked for with every batch.
    return np.stack([table[name].to_numpy() for name in wanted], axis=1)
