"""Files that are written whole or not at all, and JSON that every reader takes.

``models`` knows nothing of this room and replaces its own files itself (``models.checkpoint``, ``models.encoder``).
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to instead; what lies there when the block ends takes ``path``'s place in one step.

    Where the block fails, ``path`` is as it was and nothing is left beside it; what the system refuses (a full disk)
    names the file. Missing folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def write_table(path: Path, table: pd.DataFrame, index: bool = True) -> None:
    """CSV: days as YYYY-MM-DD, floats in the shortest form that reads back to the same bits (pandas' own)."""
    with replacing(path) as part:
        table.to_csv(part, index=index, date_format="%Y-%m-%d", lineterminator="\n")


def write_json(path: Path, content: dict) -> None:
    """``to_json`` as a file."""
    with replacing(path) as part:
        part.write_text(to_json(content) + "\n", encoding="utf-8")


def to_json(content: Any) -> str:
    """JSON in the order of ``content``; a number that is not finite becomes null, what JSON does not know its text.

    >>> print(to_json({"sharpe": float("nan")}))
    {
      "sharpe": null
    }
    """
    return json.dumps(finite(content), indent=2, default=str)


def finite(value: Any) -> Any:
    """The same structure in Python's own types, None for numbers that are not finite: JSON has no word for those.

    >>> finite({"sharpe": np.float64("nan"), 2025: (np.int64(1), float("inf"), "text")})
    {'sharpe': None, '2025': [1, None, 'text']}
    """
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
