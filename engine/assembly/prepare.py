"""From a panel of prices to what a policy is shown of it; a run, an order list and the leakage check all come here."""

from __future__ import annotations

import pandas as pd

from clusterfolio.engine.config.run import RunConfig
from clusterfolio.feeds.exogenous.macro import cash_returns
from clusterfolio.feeds.features import with_features
from clusterfolio.feeds.panel import Panel


def prepare(config: RunConfig, panel: Panel) -> tuple[Panel, pd.Series, str]:
    """The panel with its indicators, the simple return of cash by day, and where that comes from, in words."""
    cash, source = cash_returns(panel, config.cash, config.data.path)
    return with_features(panel, config.features), cash, source
