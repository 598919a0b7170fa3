"""What a run would use on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement

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
    rows = [("clusterfolio", metadata.version("clusterfolio")), *versions().items(), *extras()]
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


def extras() -> Iterator[tuple[str, str]]:
    """Of each extra that a user may install, whether it is there, and what is missing."""
    of_package = metadata.metadata("clusterfolio")
    requirements = [Requirement(line) for line in metadata.requires("clusterfolio") or []]
    for extra in of_package.get_all("Provides-Extra") or []:
        wanted = [each for each in requirements if each.marker and each.marker.evaluate({"extra": extra})]
        missing = [str(each).split(";")[0].strip() for each in wanted if not installed(each)]
        install = f"missing: {', '.join(missing)} (pip install 'clusterfolio[{extra}]')"
        yield f"extra {extra}", install if missing else "installed"


def installed(wanted: Requirement) -> bool:
    """Whether a version that a requirement allows is installed."""
    try:
        return wanted.specifier.contains(metadata.version(wanted.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False
