"""The files of the Yahoo cache: one Parquet per symbol with its own metadata, replaced in one step."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import platformdirs
import pyarrow as pa
import pyarrow.parquet as pq

from clusterfolio.feeds.writing import replacing

log = logging.getLogger(__name__)

METADATA_KEY = b"clusterfolio"


@dataclass(frozen=True)
class Cached:
    """One symbol's file: unadjusted bars, quote currency, the first day asked for, the last that was over then."""

    frame: pd.DataFrame
    currency: str
    asked_from: pd.Timestamp
    complete_to: pd.Timestamp


def cache_folder() -> Path:
    """Where prices are cached: ``yahoo`` in ``$CLUSTERFOLIO_CACHE``, else in the user's cache directory."""
    root = os.environ.get("CLUSTERFOLIO_CACHE") or platformdirs.user_cache_path("clusterfolio")
    return Path(root) / "yahoo"


def cache_file(folder: Path, symbol: str) -> Path:
    """A symbol's file; ``=``, ``^`` and the like are escaped."""
    return folder / f"{quote(symbol, safe='')}.parquet"


def read_cached(path: Path) -> Cached | None:
    """What ``path`` holds, or None where it is absent or damaged (it is then fetched anew)."""
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path)
        about = json.loads(table.schema.metadata[METADATA_KEY])
        frame = table.to_pandas()
        dates = [pd.Timestamp(about[name]) for name in ("asked_from", "complete_to")]
        return Cached(frame, about["currency"], *dates)
    except (pa.ArrowException, OSError, KeyError, ValueError) as fault:
        log.warning("%s is damaged and will be fetched anew: %s", path, fault)
        return None


def write_cached(path: Path, cached: Cached) -> None:
    """Replace ``path`` in one step."""
    about = {
        "currency": cached.currency,
        "asked_from": str(cached.asked_from.date()),
        "complete_to": str(cached.complete_to.date()),
        "fetched": pd.Timestamp.now("UTC").isoformat(timespec="seconds"),
        "basis": "unadjusted",
    }
    table = pa.Table.from_pandas(cached.frame)
    table = table.replace_schema_metadata({**table.schema.metadata, METADATA_KEY: json.dumps(about).encode()})
    with replacing(path) as part:
        pq.write_table(table, part)
