"""What passes between the training loop and an encoder."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from clusterfolio.models.windows import Windows


@dataclass(frozen=True)
class Batch:
    """Windows of several assets, every tensor on one device; axes: B batch, T lookback, F features.

    Attributes:
        x: scaled features, float ``(B, T, F)``; finite, 0 where not observed.
        date_idx: row of the window's last bar in the panel, int64 ``(B,)``.
        asset_idx: column of the asset in the panel, int64 ``(B,)``.
        mask: True where ``x`` was observed, bool ``(B, T, F)``.
        static: codes of what is known of the asset, int64 ``(B, S)``, 0 = unknown; or None.
        exog: scaled market-wide series, float ``(B, T, E)``, each as known by the close of its bar's day; finite, 0
            where not known; or None.
        target: what a predictive objective should hit, or None.
    """

    x: torch.Tensor
    date_idx: torch.Tensor
    asset_idx: torch.Tensor
    mask: torch.Tensor
    static: torch.Tensor | None = None
    exog: torch.Tensor | None = None
    target: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> Batch:
        """The same batch with every tensor on ``device``."""
        present = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return replace(self, **{name: tensor.to(device) for name, tensor in present.items()})


@dataclass(frozen=True)
class Encoding:
    """What an encoder makes of ``B`` windows.

    Attributes:
        mean: the embedding, a row per window, finite floats ``(B, embed_dim)``.
        var: how uncertain it is: variances of the same shape, nowhere negative; None = not stated.
    """

    mean: torch.Tensor
    var: torch.Tensor | None = None


class BatchSource:
    """Batches gathered on the device from one table of bars, which is all that is ever moved there.

    Args:
        windows: scaled windows: ``values`` finite, 0 where not observed; ``exog`` and ``static``, where they have
            them, scaled and coded (``models.covariates``).
    """

    def __init__(self, windows: Windows, device: torch.device):
        self.lookback = windows.lookback
        self.values = torch.from_numpy(windows.values).to(device)
        self.observed = torch.from_numpy(windows.observed).to(device)
        self.start, self.date_idx, self.asset_idx = (
            torch.from_numpy(index).to(device) for index in (windows.start, windows.date_idx, windows.asset_idx)
        )
        self.steps = torch.arange(windows.lookback, device=device)
        self.exog = self.static = None
        if windows.exog is not None:
            self.exog = torch.from_numpy(windows.exog.to_numpy(np.float32, copy=True)).to(device)
            self.bar_date = torch.from_numpy(windows.bar_date).to(device)
        if windows.static is not None:
            self.static = torch.from_numpy(windows.static.to_numpy(np.int64, copy=True)).to(device)

    def __len__(self) -> int:
        return len(self.start)

    def batch(self, chosen: np.ndarray) -> Batch:
        """The windows at positions ``chosen``, copied out of the table."""
        at = torch.from_numpy(chosen).to(self.start.device)
        first = self.start[at]
        return Batch(
            x=self.runs(self.values, first),
            date_idx=self.date_idx[at],
            asset_idx=self.asset_idx[at],
            mask=self.runs(self.observed, first),
            static=None if self.static is None else self.static[self.asset_idx[at]],
            exog=None if self.exog is None else self.exog[self.bar_date[first.unsqueeze(1) + self.steps]],
        )

    def runs(self, table: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        """Rows ``first ... first + lookback - 1`` of a table ``(n_bars, F)``, copied, ``(B, T, F)``."""
        n_bars, width = table.shape
        # A window is one run of memory; asking for its rows one by one takes eight times as long.
        whole = table.as_strided((n_bars - self.lookback + 1, self.lookback * width), (width, 1))
        return whole.index_select(0, first).view(-1, self.lookback, width)
