"""Windows over each asset's own bars, kept as row numbers into one table: nothing is copied until a batch is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Windows:
    """``n_windows`` runs of ``lookback`` consecutive bars.

    Attributes:
        values: float32 ``(n_bars, n_features)``, the bars of all assets, one asset after the other, as far as windows
            can reach; finite.
        observed: bool, same shape.
        start: int64 ``(n_windows,)``, row in ``values`` of each window's first bar.
        date_idx: int64 ``(n_windows,)``, row in the panel of each window's last bar.
        asset_idx: int64 ``(n_windows,)``, column in the panel.
        lookback: bars per window.
        bar_date: int64 ``(n_bars,)``, row in the panel of each bar; None where there is no ``exog``.
        exog: market-wide series, a row per panel row and a column per series, each value known by the close of its
            row's day, NaN = not known; or None.
        static: what is known of each asset, a row per panel column; or None.
    """

    values: np.ndarray
    observed: np.ndarray
    start: np.ndarray
    date_idx: np.ndarray
    asset_idx: np.ndarray
    lookback: int
    bar_date: np.ndarray | None = None
    exog: pd.DataFrame | None = None
    static: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.start)

    def take(self, chosen: np.ndarray) -> Windows:
        """The windows at these positions (or where this boolean is True), over the same bars."""
        return replace(self, start=self.start[chosen], date_idx=self.date_idx[chosen], asset_idx=self.asset_idx[chosen])

    def beside(self, exog: pd.DataFrame | None, static: pd.DataFrame | None) -> Windows:
        """The same windows with these tables beside their bars."""
        return replace(self, exog=exog, static=static)

    def gather(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and observed flags of these windows, each ``(len(chosen), lookback, n_features)``, copied."""
        rows = self.rows(chosen)
        return self.values[rows], self.observed[rows]

    def rows(self, chosen: np.ndarray) -> np.ndarray:
        """Rows in ``values`` of these windows' bars, ``(len(chosen), lookback)``."""
        return self.start[chosen, None] + np.arange(self.lookback)


def make_windows(
    values: np.ndarray,
    observed: np.ndarray,
    lookback: int,
    stride: int = 1,
    first: int = 0,
    last: int | None = None,
    exog: pd.DataFrame | None = None,
    static: pd.DataFrame | None = None,
) -> Windows:
    """Every window whose last bar lies in panel rows ``first..last`` (inclusive; default: all).

    A window is ``lookback`` consecutive bars of one asset, whatever the calendar days between them, so it may begin
    before ``first``; bars that no window can reach are left out. A bar counts where all its channels are finite. With
    ``stride`` s, every s-th window of an asset is taken, counted back from its last one.

    Args:
        values: float32 ``(n_dates, n_assets, n_features)``, NaN where an asset has no complete bar.
        observed: bool, same shape.
        exog: a row for each of the ``n_dates``, or None (see ``Windows``).
        static: a row for each of the ``n_assets``, or None.
    """
    if lookback < 1 or stride < 1:
        raise ValueError(f"lookback and stride must be at least 1, got {lookback} and {stride}")
    n_dates, n_assets, _ = values.shape
    for name, table, wanted in (("exog", exog, n_dates), ("static", static, n_assets)):
        if table is not None and len(table) != wanted:
            raise ValueError(f"{name}: expected {wanted} rows, as values have, got {len(table)}")
    complete = np.isfinite(values if last is None else values[: last + 1]).all(axis=2)
    # Before ``first`` only an asset's last ``lookback - 1`` bars can lie in a window.
    complete[:first] &= np.cumsum(complete[:first][::-1], axis=0, dtype=np.int32)[::-1] < lookback
    asset_of_bar, date_of_bar = np.nonzero(complete.T)  # sorted by asset, then date
    first_bar = np.searchsorted(asset_of_bar, np.arange(n_assets))
    whole = np.arange(len(asset_of_bar)) - first_bar[asset_of_bar] >= lookback - 1
    end = np.nonzero(whole & (date_of_bar >= first))[0]
    after = np.searchsorted(asset_of_bar[end], np.arange(n_assets), side="right")[asset_of_bar[end]]
    end = end[(after - 1 - np.arange(len(end))) % stride == 0]
    return Windows(
        values=np.ascontiguousarray(values[date_of_bar, asset_of_bar], dtype=np.float32),
        observed=np.ascontiguousarray(observed[date_of_bar, asset_of_bar]),
        start=(end - (lookback - 1)).astype(np.int64),
        date_idx=date_of_bar[end].astype(np.int64),
        asset_idx=asset_of_bar[end].astype(np.int64),
        lookback=lookback,
        bar_date=None if exog is None else date_of_bar.astype(np.int64),
        exog=exog,
        static=static,
    )
