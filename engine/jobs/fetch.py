"""Prices of a configuration's universe into the cache that runs read."""

from __future__ import annotations

import pandas as pd

from clusterfolio.engine.assembly.market import benchmark_of, universe_symbols
from clusterfolio.engine.config.run import RunConfig
from clusterfolio.engine.progress import Reporter
from clusterfolio.feeds.sources.yahoo import fetch


def fetch_prices(config: RunConfig, reporter: Reporter) -> pd.DataFrame:
    """Fill or update the Yahoo cache for a configuration's universe; outcome per symbol."""
    symbols = list(dict.fromkeys([*(universe_symbols(config) or []), benchmark_of(config)]))
    first = pd.Timestamp(config.dates.train_start) - pd.Timedelta(days=config.dates.history_days)
    reporter.stage("fetch")
    return fetch(
        symbols,
        start=first,
        end=pd.Timestamp(config.dates.end) if config.dates.end else None,
        progress=reporter.advance,
    )
