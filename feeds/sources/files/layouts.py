"""Reading one file of prices, whichever of the usual formats it has.

What a text means (encoding, separator, decimal sign, order of day and month) is told by the whole file, later rows
included; whether a price is believed never is.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clusterfolio.feeds.sources.files.tables import (
    NO_ORDERS,
    NotPrices,
    Orders,
    Table,
    from_long,
    from_wide,
    is_wide,
    roles_of,
)

BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
HEAD_BYTES = 1 << 16
HEAD_ROWS = 100


def read_parquet(path: Path, wanted: Sequence[str] | None, orders: Orders = NO_ORDERS) -> Table:
    """Bars in a Parquet file; only the columns and symbols needed are loaded. ``orders``: as ``texts.to_days``."""
    try:
        schema = pq.read_schema(path)
        if any(name.startswith("('") for name in schema.names):
            frame = pd.read_parquet(path)
            return from_wide(frame.index.to_series(), list(frame.columns), frame.to_numpy(), wanted, orders)
        roles = roles_of(schema.names)
        filters = None
        if wanted is not None and "symbol" in roles and _is_text(schema.field(roles["symbol"]).type):
            of_symbol = pc.field(roles["symbol"])
            capitals = pc.utf8_upper(of_symbol)
            filters = capitals.isin([name.upper() for name in wanted]) | pc.ends_with(of_symbol, "=X")
        table = pq.read_table(path, columns=list(dict.fromkeys(roles.values())), filters=filters)
        for position, column in enumerate(table.schema):
            if _is_text(column.type):  # as codes: a symbol's text stands in every one of its rows
                table = table.set_column(position, column.name, table[position].dictionary_encode())
    except pa.ArrowException as error:
        raise NotPrices(f"not a readable Parquet file ({str(error).splitlines()[0]})") from error
    frame = table.to_pandas(ignore_metadata=True)
    return from_long({role: frame[name] for role, name in roles.items()}, set(roles.values()), path, wanted, orders)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def read_csv(path: Path, wanted: Sequence[str] | None, orders: Orders = NO_ORDERS) -> Table:
    """Bars in a text file, whatever its encoding, separator and decimal sign. ``orders``: as ``texts.to_days``."""
    encoding, head = _head(path)
    lines = [line for line in head.splitlines() if line.strip()]
    if not lines:
        raise NotPrices("empty file")
    if re.match(r"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        raise NotPrices("a web page, not a table")
    separator = max(",;\t|", key=lines[0].count)
    rows = _first_rows(lines, separator)
    if len(rows) > 1 and is_wide(rows[0], rows[1]):
        cells = _cells(path, encoding, separator, skip=2, columns=None)
        stamps, body = cells.iloc[:, 0], cells.iloc[:, 1:]
        names = list(zip(rows[0][1:], rows[1][1:], strict=True))
        return from_wide(stamps, names, body.to_numpy(dtype=object), wanted, orders, separator)
    roles = roles_of(rows[0])
    at = {role: rows[0].index(name) for role, name in roles.items()}
    cells = _cells(path, encoding, separator, skip=1, columns=sorted(set(at.values())))
    columns = {role: cells[position] for role, position in at.items()}
    return from_long(columns, set(roles.values()), path, wanted, orders, separator)


def _first_rows(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Header and first rows as cells; a row must not have more of them than the header."""
    try:
        rows = list(csv.reader(lines[:HEAD_ROWS], delimiter=separator))
    except csv.Error as error:
        raise NotPrices(f"no table ({error})") from error
    if len(rows[0]) < 2:
        raise NotPrices(f"no table: its first line is {lines[0][:40]!r}")
    for number, row in enumerate(rows[1:], start=2):
        if any(cell.strip() for cell in row[len(rows[0]) :]):
            raise NotPrices(f"line {number} has {len(row)} cells, the header {len(rows[0])}")
    return rows


def _head(path: Path) -> tuple[str, str]:
    """The file's encoding and the text it begins with."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            start = file.read(HEAD_BYTES)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise NotPrices("no complete gzip file") from error
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if start.startswith(mark)), "utf-8")
    if encoding != "utf-16" and b"\0" in start:
        raise NotPrices("binary content, not a text table")
    return encoding, start.decode(encoding, errors="replace")


def _cells(path: Path, encoding: str, separator: str, skip: int, columns: list[int] | None) -> pd.DataFrame:
    """The table's cells as text, below ``skip`` header lines; column labels are positions."""
    for attempt in (encoding, "latin-1"):
        try:
            return pd.read_csv(
                path, sep=separator, header=None, skiprows=skip, usecols=columns, dtype=str, encoding=attempt,
                keep_default_na=False, skipinitialspace=True, low_memory=False,
            )  # fmt: skip
        except UnicodeDecodeError:
            continue  # every byte is a letter in latin-1
        except pd.errors.EmptyDataError as error:
            raise NotPrices("a header and no rows") from error
        except (EOFError, zlib.error) as error:
            raise NotPrices("compressed file that is cut short") from error
        except (pd.errors.ParserError, ValueError) as error:
            raise NotPrices(f"lines do not fit the header ({str(error).strip()})") from error
    raise NotPrices("text in an unknown encoding")
