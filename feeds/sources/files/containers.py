"""Files as tables of cells: text in any encoding and separator, packed or not, with or without lines above; Parquet."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clusterfolio.feeds.sources.files.columns import SPELLINGS, SYMBOLS_TOO, NotPrices, date_columns, plain, role_of
from clusterfolio.feeds.sources.files.days import Unreadable, to_days

TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".asc", ".prn")
PACKED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
PARQUET_ENDINGS = (".parquet", ".pq")
BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
HEAD_BYTES = 1 << 16
HEAD_ROWS = 100

#: A cell that is a date: 2022-06-01, 1.6.22, 20220601, or seconds and less since 1970.
DATED = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}|(19|20|21)\d{6}$|\d{10}(\d{3}){0,3}$")

#: Position of the column of symbols, and which of its texts to keep; None = all rows.
Symbols = tuple[int, Callable[[str], bool]] | None

#: Lines above a header that may hold other things (a vendor's address, the name of a security).
PREAMBLE = 30


@dataclass
class Sheet:
    """One table, its cells not yet read.

    Attributes:
        path: the file it stands in, as a relative name; one in an archive below the archive's name.
        names: of the columns.
        second: the row below the header, where it may be a second header; empty = it is not.
        rows: the first rows below the header.
        separator: between cells; empty = the cells have types.
        above: what the lines above the header say, by name in small letters.
        kinds: whether each column's type is one of dates, where the cells have types.
    """

    path: str
    names: list[str]
    second: list[str]
    rows: list[list[str]]
    separator: str
    load: Callable[[Sequence[int] | None, int, Symbols], pd.DataFrame]
    above: Mapping[str, str] = field(default_factory=dict)
    kinds: Sequence[bool] = ()

    @cached_property
    def date_at(self) -> int | None:
        """Where the dates stand: of the columns that may be called so, the first one that holds some; None = none."""
        at = date_columns(self.names)
        return next((place for place in at if self._dated(place)), next(iter(at), None))

    def _dated(self, at: int) -> bool:
        if self.kinds:
            return self.kinds[at]
        cells = [row[at].strip() for row in self.rows if at < len(row) and row[at].strip()][:5]
        try:
            return bool(cells) and not to_days(pd.Series(cells)).stamps.isna().any()
        except Unreadable:
            return False

    def read(self, columns: Sequence[int] | None = None, skip: int = 0, symbols: Symbols = None) -> pd.DataFrame:
        """The cells, with positions as column labels, below the header and ``skip`` more rows.

        Args:
            columns: positions; None = all.
            symbols: position of the symbols and which of them to keep, where rows may be left out.
        """
        return self.load(columns, skip, symbols)


def sheets(name: str, path: Path) -> Iterator[Sheet]:
    """The tables in a file.

    Raises:
        NotPrices: the file holds none.
    """
    low = path.name.lower()
    try:
        if low.endswith(PARQUET_ENDINGS):
            yield _parquet(name, path)
        elif low.endswith(".zip"):
            yield from _zipped(name, path)
        elif low.endswith(TEXT_ENDINGS):
            yield _text(name, lambda: path.open("rb"))
        elif low.endswith(tuple(a + b for a in TEXT_ENDINGS for b in PACKED)):
            opener = PACKED[Path(low).suffix]
            yield _text(name, lambda: opener(path, "rb"))
        else:
            known = ", ".join((*TEXT_ENDINGS, *PARQUET_ENDINGS))
            raise NotPrices(f"not a table: endings read are {known}; text also in {', '.join((*PACKED, '.zip'))}")
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise NotPrices("no complete gzip file") from error
        raise NotPrices(f"cannot be read ({error.strerror or error})") from error


def _zipped(name: str, path: Path) -> Iterator[Sheet]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(m for m in archive.namelist() if not m.endswith("/") and not _hidden(m))
            contents = {member: archive.read(member) for member in members if member.lower().endswith(TEXT_ENDINGS)}
    except (zipfile.BadZipFile, RuntimeError, zlib.error, NotImplementedError) as error:
        raise NotPrices(f"no readable zip file ({error})") from error
    if not contents:
        raise NotPrices("a zip file without a text table")
    for member, content in contents.items():
        yield _text(f"{name}/{member}", lambda content=content: io.BytesIO(content))


def _hidden(member: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in member.split("/"))


def _parquet(name: str, path: Path) -> Sheet:
    try:
        schema = pq.read_schema(path)
    except pa.ArrowException as error:
        raise NotPrices(f"not a readable Parquet file ({str(error).splitlines()[0]})") from error
    wide = any(column.startswith("('") for column in schema.names)

    def load(columns, skip, symbols):
        if wide:
            frame = pd.read_parquet(path)
            table = pd.DataFrame({0: frame.index.to_series().to_numpy()})
            return pd.concat(
                [table, frame.set_axis(range(1, len(frame.columns) + 1), axis=1).reset_index(drop=True)], axis=1
            )
        try:
            return _typed(path, schema, columns, symbols)
        except pa.ArrowException as error:
            raise NotPrices(f"not a readable Parquet file ({str(error).splitlines()[0]})") from error

    if wide:
        pairs = list(pd.read_parquet(path).columns)
        return Sheet(name, ["", *(str(a) for a, _ in pairs)], ["", *(str(b) for _, b in pairs)], [], "", load)
    if not pq.read_metadata(path).num_rows:
        raise NotPrices("a header and no rows")
    names = [re.sub(r"^__index_level_\d+__$", "", column) for column in schema.names]
    kinds = [pa.types.is_temporal(column.type) for column in schema]
    return Sheet(name, names, [], [], "", load, kinds=kinds if any(kinds) else ())


def _typed(path: Path, schema: pa.Schema, columns: Sequence[int] | None, symbols) -> pd.DataFrame:
    columns = list(range(len(schema.names))) if columns is None else list(columns)
    filters = None
    if symbols is not None and _is_text(schema.field(symbols[0]).type):
        position, keep = symbols
        distinct = pq.read_table(path, columns=[schema.names[position]])[0].unique().to_pylist()
        filters = pc.field(schema.names[position]).isin([text for text in distinct if text is None or keep(text)])
    table = pq.read_table(path, columns=[schema.names[at] for at in columns], filters=filters)
    for at, column in enumerate(table.schema):
        if _is_text(column.type):  # as codes: a symbol's text stands in every one of its rows
            table = table.set_column(at, column.name, table[at].dictionary_encode())
    return table.to_pandas(ignore_metadata=True).set_axis(columns, axis=1)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _text(name: str, opener: Callable[[], BinaryIO]) -> Sheet:
    encoding, head = _head(opener)
    lines = head.splitlines()
    if not any(line.strip() for line in lines):
        raise NotPrices("empty file")
    if re.match(r"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        raise NotPrices("a web page, not a table")
    at, separator = _header(lines)
    rows = _rows([line for line in lines[at:] if line.strip()], separator)
    names, below = headless(rows), 0
    if not names:
        names, rows, below = rows[0], rows[1:], 1

    def load(columns: Sequence[int] | None, skip: int, symbols: object) -> pd.DataFrame:
        return _cells(opener, encoding, separator, at + below + skip, columns)

    return Sheet(name, names, rows[0] if rows and below else [], rows, separator, load, _above(lines[:at]))


def _head(opener: Callable[[], BinaryIO]) -> tuple[str, str]:
    """The file's encoding and the text it begins with."""
    try:
        with opener() as file:
            start = file.read(HEAD_BYTES)
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise NotPrices("compressed file that is cut short") from error
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if start.startswith(mark)), "utf-8")
    if encoding != "utf-16" and b"\0" in start:
        raise NotPrices("binary content, not a text table")
    return encoding, start.decode(encoding, errors="replace")


def _header(lines: Sequence[str]) -> tuple[int, str]:
    """Where the header stands, and the sign between cells: the first line that names dates, else the first one."""
    first = next(at for at, line in enumerate(lines) if line.strip())
    begin = first + 1 if re.fullmatch(r"\ufeff?sep=(.)\s*", lines[first], re.IGNORECASE) else first
    for at, line in enumerate(lines[begin : begin + PREAMBLE], start=begin):
        cells = [cell.strip().strip('"') for cell in line.split(_separator(line))]
        fields = sum(role_of(cell) is not None for cell in cells)
        named = any(
            plain(cell) in SPELLINGS["date"] and (not n or cell not in SYMBOLS_TOO) for n, cell in enumerate(cells)
        )
        stated = sum(map(bool, cells)) > 1 and not any(DATED.match(cell) for cell in cells)
        if stated and (named or (at == begin and fields > 1)):
            return at, _separator(line)
    begin = next((at for at in range(begin, len(lines)) if lines[at].strip()), None)
    if begin is None:
        raise NotPrices("no table below its first line")
    return begin, _separator(lines[begin])


def _separator(line: str) -> str:
    return max(",;\t|", key=line.count)


def _rows(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Header and first rows as cells; a row must not have more of them than the header."""
    try:
        rows = list(csv.reader(lines[:HEAD_ROWS], delimiter=separator, skipinitialspace=True))
    except csv.Error as error:
        raise NotPrices(f"no table ({error})") from error
    if len(rows[0]) < 2:
        raise NotPrices(f"no table: its first line is {lines[0][:40]!r}")
    for number, row in enumerate(rows[1:], start=2):
        if any(cell.strip() for cell in row[len(rows[0]) :]):
            raise NotPrices(f"line {number} has {len(row)} cells, the header {len(rows[0])}")
    return rows


def _above(lines: Sequence[str]) -> dict[str, str]:
    """What lines above a header say: ``Security,ABC US Equity`` or ``Currency: USD``."""
    told = {}
    for line in lines:
        name, _, value = re.sub(r"[,;\t|]+", ":", line, count=1).partition(":")
        if value.strip(" ,;\t|"):
            told[plain(name)] = value.strip(' ,;\t|"')
    return told


def headless(rows: Sequence[Sequence[str]]) -> list[str]:
    """Names for the columns of a table that has no header: what the values themselves prove; empty = it has one.

    A date, maybe a time, then open, high, low and close, of which the values tell the highest and the lowest.

    >>> headless([["20220601", "0:00", "9", "11", "8", "10", "500"], ["20220602", "0:00", "9", "12", "9", "9", "7"]])
    ['date', 'time', 'open', 'high', 'low', 'close', 'volume']
    """
    width = len(rows[0])
    at = next((at for at in (0, 1) if at < width and DATED.match(rows[0][at].strip())), None)
    if at is None or any(plain(cell) for cell in rows[0][at + 1 :]):
        return []
    names = ["symbol"] * at + ["date"]
    if len(names) < width and re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?", rows[0][len(names)].strip()):
        names.append("time")
    first = len(names)
    block = pd.DataFrame([row[first : first + 4] for row in rows if len(row) == width]).apply(
        pd.to_numeric, errors="coerce"
    )
    for order in (("open", "high", "low", "close"), ("open", "close", "high", "low")):
        if block.shape[1] == 4:
            prices = block.set_axis(order, axis=1)
            inside = (prices["high"] >= prices.max(axis=1)) & (prices["low"] <= prices.min(axis=1))
            if inside.mean() > 0.95 and (prices["high"] > prices["low"]).any():
                beside = [f"beside{i}" for i in range(width - first - 5)]
                return [*names, *order, *(["volume"] if width > first + 4 else []), *beside]
    raise NotPrices("no header, and the values do not tell which column is the close")


def _cells(
    opener: Callable[[], BinaryIO], encoding: str, separator: str, skip: int, columns: Sequence[int] | None
) -> pd.DataFrame:
    """The table's cells as text, below ``skip`` lines; column labels are positions."""
    for attempt in (encoding, "latin-1"):
        try:
            with opener() as file:
                return pd.read_csv(
                    file, sep=separator, header=None, skiprows=skip, usecols=columns, dtype=str, encoding=attempt,
                    keep_default_na=False, skipinitialspace=True, low_memory=False,
                )  # fmt: skip
        except UnicodeDecodeError:
            continue  # every byte is a letter in latin-1
        except pd.errors.EmptyDataError as error:
            raise NotPrices("a header and no rows") from error
        except (EOFError, zlib.error, lzma.LZMAError) as error:
            raise NotPrices("compressed file that is cut short") from error
        except (pd.errors.ParserError, ValueError) as error:
            raise NotPrices(f"lines do not fit the header ({str(error).strip()})") from error
    raise NotPrices("text in an unknown encoding")
