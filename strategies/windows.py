"""From a panel to windows: the bars, and beside them the market-wide series and what is known of each asset."""

from __future__ import annotations

from clusterfolio.feeds.panel import Panel
from clusterfolio.models.windows import Windows, make_windows


def panel_windows(panel: Panel, lookback: int, stride: int = 1, first: int = 0, tradable_only: bool = False) -> Windows:
    """Every window that ends on panel row ``first`` or later, unscaled; the panel has features.

    Args:
        tradable_only: leave out what may not be held, and windows that end while the asset was no member of the
            universe; the windows' ``asset_idx`` counts the tradable assets then.
    """
    values, observed, static = panel.features.values, panel.features.observed, panel.assets
    if tradable_only:
        usable = panel.assets["tradable"].to_numpy(dtype=bool)
        values, observed, static = values[:, usable], observed[:, usable], static[usable]
    windows = make_windows(values, observed, lookback, stride, first, exog=panel.exog, static=static)
    if not tradable_only or panel.member is None:
        return windows
    member = panel.member.to_numpy(dtype=bool)[:, usable]
    return windows.take(member[windows.date_idx, windows.asset_idx])
