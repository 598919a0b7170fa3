"""What the embedding looked at when the last decision was made, as a table for importance.csv."""

from __future__ import annotations

import numpy as np
import pandas as pd

from clusterfolio.feeds.features import FEATURES, with_features
from clusterfolio.feeds.panel import Panel
from clusterfolio.models.importance import importance
from clusterfolio.strategies.cluster_policy import ClusterPolicy
from clusterfolio.strategies.embedding import MAX_AGE, latest_windows
from clusterfolio.strategies.policy import Decision
from clusterfolio.strategies.windows import panel_windows

#: Channel of the rows that speak of a bar as a whole.
WHOLE_BAR = "all"

COLUMNS = ["method", "bars_back", "channel", "share"]


def importance_table(policy: ClusterPolicy, panel: Panel, decision: Decision) -> pd.DataFrame:
    """Columns ``method, bars_back, channel, share``: the mean over the assets that were clustered.

    ``method`` is "gradients" for every encoder, "selection" and "attention" where it has them
    (``models.importance``); ``bars_back`` counts from 0, an asset's last bar; the shares of a method sum to 1.

    Args:
        panel: up to the decision's day; nothing later is looked at.
        decision: the policy's own; without clustered assets the table is empty.
    """
    if not len(decision.labels):
        return pd.DataFrame(columns=COLUMNS)
    panel = with_features(panel.until(decision.asof), policy.features)
    last = len(panel.dates) - 1
    windows = panel_windows(panel, policy.encoder.lookback, first=max(0, last - MAX_AGE))
    newest = latest_windows(windows, len(panel.symbols), np.array([last]))[:, 0]
    clustered = newest[panel.symbols.isin(decision.labels.index) & (newest >= 0)]
    found = importance(policy.encoder, windows.take(clustered))
    channels = [*FEATURES, *policy.encoder.exog]
    parts = [_long("gradients", found.gradients, channels)]
    if found.selection is not None:
        parts.append(_long("selection", found.selection, channels))
    if found.attention is not None:
        parts.append(_long("attention", found.attention[:, None], [WHOLE_BAR]))
    return pd.concat(parts, ignore_index=True)


def _long(method: str, shares: np.ndarray, channels: list[str]) -> pd.DataFrame:
    wide = pd.DataFrame(shares, index=pd.RangeIndex(len(shares))[::-1], columns=channels)
    long = wide.rename_axis("bars_back").reset_index().melt("bars_back", var_name="channel", value_name="share")
    return long.assign(method=method)[COLUMNS]
