"""What a run would use on this machine."""

from __future__ import annotations

import os

from clusterfolio.engine.assembly.market import benchmark_of, universe_symbols
from clusterfolio.engine.config.run import RunConfig
from clusterfolio.engine.ledger import audit
from clusterfolio.engine.ledger.ledger import Ledger
from clusterfolio.engine.run_dir.description import versions
from clusterfolio.feeds.exogenous.inputs import describe_inputs
from clusterfolio.feeds.sources.yahoo import cache_folder
from clusterfolio.models.device import resolve_device


def examine(config: RunConfig) -> list[tuple[str, str]]:
    """What a run with this configuration would use, as ``(name, value)``."""
    rows = list(versions().items())
    rows.append(("device", f"{resolve_device(config.engine.device)} (engine.device = {config.engine.device})"))
    rows.append(("CPU cores", str(os.cpu_count())))
    folder = cache_folder()
    cached = len(list(folder.glob("*.parquet"))) if folder.is_dir() else 0
    rows.append(("Yahoo cache", f"{folder} ({cached} symbols)"))
    rows.append(("ledger", audit.describe(Ledger())))
    rows.append(("source", f"{config.data.source} {' '.join(config.data.path)}".strip()))
    symbols = universe_symbols(config)
    rows.append(("universe", "everything the source has" if symbols is None else f"{len(symbols)} symbols"))
    rows.append(("benchmark", benchmark_of(config)))
    for each in describe_inputs(config.inputs):
        rows.append((f"input {each['name']}", f"{each['meaning']}; known after: {each['lag']}"))
    rows.append(("training", f"{config.dates.train_start} to {config.dates.train_end}"))
    rows.append(("test", f"{config.dates.start} to {config.dates.end or 'the end of the data'}"))
    return rows
