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
from typing import Any, TypeVar

import numpy as np
import pandas as pd

#: What a cell begins with that a spreadsheet may run, and the mark that says it is text.
BEGINS = "=+-@\t\r\n'"

Texts = TypeVar("Texts", pd.Series, pd.Index)


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


def write_table(path: Path, table: pd.DataFrame | pd.Series, index: bool = True) -> None:
    """CSV: days as YYYY-MM-DD, floats in the shortest form that reads back to the same bits (pandas' own).

    A text that a spreadsheet would take for a formula is written with an apostrophe before it (``defused``).
    """
    safe = table.to_frame() if isinstance(table, pd.Series) else table.copy(deep=False)
    for place in np.flatnonzero([not pd.api.types.is_numeric_dtype(kind) for kind in safe.dtypes]):
        safe.isetitem(place, defused(safe.iloc[:, place]))
    safe.columns = defused(safe.columns)
    safe.index = defused(safe.index) if index else safe.index
    with replacing(path) as part:
        safe.to_csv(part, index=index, date_format="%Y-%m-%d", lineterminator="\n")


def defused(texts: Texts) -> Texts:
    """Cells with an apostrophe before every text that begins as a formula does, or with an apostrophe; others as is.

    ``restored`` gives back what it was, whatever that is.

    >>> list(defused(pd.Index(["SPY", "=HYPERLINK(A1)", "-1", "'quoted", 5, None])))
    ['SPY', "'=HYPERLINK(A1)", "'-1", "''quoted", 5, None]
    """

    def safe(text: Any) -> Any:
        return f"'{text}" if isinstance(text, str) and text and text[0] in BEGINS else text

    return texts if pd.api.types.is_datetime64_any_dtype(texts.dtype) else texts.map(safe)


def restored(texts: Texts) -> Texts:
    """What ``defused`` was given.

    >>> list(restored(pd.Index(["SPY", "'=1+1", "''quoted", "'tis"])))
    ['SPY', '=1+1', "'quoted", "'tis"]
    """

    def plain(text: Any) -> Any:
        marked = isinstance(text, str) and len(text) > 1 and text[0] == "'" and text[1] in BEGINS
        return text[1:] if marked else text

    return texts.map(plain)


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
