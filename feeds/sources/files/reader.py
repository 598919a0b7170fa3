"""Price files as people have them: CSV and Parquet, one symbol per file, long, or Yahoo's wide two-level table."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from clusterfolio.feeds.raw import ABSENT, DROPPED, PASSED_OVER, USED, DataError, RawBars, RawData
from clusterfolio.feeds.sources.files.layouts import read_csv, read_parquet
from clusterfolio.feeds.sources.files.tables import NO_ORDERS, NotPrices, Orders, Table
from clusterfolio.feeds.sources.files.texts import DAY_FIRST

log = logging.getLogger(__name__)

CSV_ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz")
PARQUET_ENDINGS = (".parquet", ".pq")

#: Columns that make one file's bars of a symbol more complete than another's.
COMPLETE = ("open", "high", "low", "close", "volume", "adj_close")


def read_files(paths: Sequence[Path], symbols: Sequence[str] | None = None) -> RawData:
    """Bars of ``symbols`` (None = all) from files and folders; exchange-rate pairs (``EURUSD=X``) always come along.

    A folder is read with everything below it, hidden files apart, in the order of the names. What is no price table
    is passed over, with a verdict under its name. A symbol that stands in several files is taken from the one with
    more of open, high, low, close, volume and adjusted close; then from the one that begins earlier; then from the
    one read first. Symbols are matched by their exact text, else by their text in capitals. Where a file's dates do
    not tell whether the day or the month comes first, those of the other files do; where none tells, it is a guess
    and said.

    Raises:
        DataError: a path does not exist, or no path is given.
    """
    if not paths:
        raise DataError("path: no file or folder given")
    wanted = None if symbols is None else list(dict.fromkeys(symbols))
    found: dict[str, list[tuple[str, RawBars]]] = {}
    remarks: dict[str, str] = {}
    notes: dict[tuple[str, str], str] = {}
    verdicts: dict[str, tuple[str, str]] = {}
    for name, table in _tables(_files(paths), wanted, verdicts):
        remarks[name] = table.remark
        for symbol, bars in table.bars.items():
            found.setdefault(symbol, []).append((name, bars))
            notes[name, symbol] = table.notes.get(symbol, "")
        for symbol, why in table.refused.items():
            verdicts.setdefault(symbol, (DROPPED, f"{name}: {why}"))
    bars = {}
    for symbol in sorted(found):
        name, bars[symbol] = _most_complete(found[symbol])
        others = [other for other, _ in found[symbol] if other != name]
        said = [remarks[name], notes[name, symbol]]
        said += [f"taken from {name}, also in {', '.join(others)}"] if others else []
        if symbol in verdicts:
            said.append(verdicts.pop(symbol)[1])
        if any(said):
            verdicts[symbol] = (USED, "; ".join(filter(None, said)))
    for symbol in wanted or ():
        if symbol not in bars:
            verdicts.setdefault(symbol, (ABSENT, "in none of the files"))
    return RawData(bars, None, verdicts)


def _files(paths: Iterable[Path]) -> list[tuple[str, Path]]:
    """Every file with the name it goes by: relative to the folder that was given."""
    files = []
    for path in map(Path, paths):
        if path.is_dir():
            below = sorted(p for p in path.rglob("*") if p.is_file())
            inside = [(p.relative_to(path), p) for p in below]
            files += [(str(name), p) for name, p in inside if not any(part.startswith(".") for part in name.parts)]
        elif path.exists():
            files.append((path.name, path))
        else:
            raise DataError(f"path: {path} does not exist")
    return files


def _tables(
    files: Sequence[tuple[str, Path]], wanted: Sequence[str] | None, verdicts: dict[str, tuple[str, str]]
) -> list[tuple[str, Table]]:
    """Every file's table; ``verdicts`` takes in the files that are none."""
    tables = []
    for name, file in files:
        try:
            tables.append((name, file, _read(file, wanted, NO_ORDERS)))
        except NotPrices as reason:
            verdicts[name] = (PASSED_OVER, str(reason))
            log.info("%s passed over: %s", name, reason)
    proofs = {(sign, told) for _, _, table in tables for sign, told in table.day_first.items() if told is not None}
    orders = {sign: told for sign, told in proofs if (sign, not told) not in proofs}
    return [(name, _in_order(file, wanted, table, orders)) for name, file, table in tables]


def _in_order(file: Path, wanted: Sequence[str] | None, table: Table, orders: Orders) -> Table:
    """The table with day and month as the other files have them, where its own dates leave that open."""
    undecided = [sign for sign, told in table.day_first.items() if told is None]
    if any(orders.get(sign, DAY_FIRST[sign]) != DAY_FIRST[sign] for sign in undecided):
        table = _read(file, wanted, orders)
    if any(sign not in orders and not DAY_FIRST[sign] for sign in undecided):
        guess = "no date tells day from month: read month first, a guess"
        table = replace(table, remark="; ".join(filter(None, [table.remark, guess])))
    return table


def _read(file: Path, wanted: Sequence[str] | None, orders: Orders) -> Table:
    name = file.name.lower()
    try:
        if name.endswith(PARQUET_ENDINGS):
            return read_parquet(file, wanted, orders)
        if name.endswith(CSV_ENDINGS):
            return read_csv(file, wanted, orders)
    except OSError as error:
        raise NotPrices(f"cannot be read ({error.strerror or error})") from error
    raise NotPrices(f"not a table: endings read are {', '.join((*CSV_ENDINGS, *PARQUET_ENDINGS))}")


def _most_complete(candidates: list[tuple[str, RawBars]]) -> tuple[str, RawBars]:
    """The file and bars to take. Nothing about later rows decides."""

    def rank(order: int) -> tuple[int, pd.Timestamp, int]:
        frame = candidates[order][1].frame
        return -sum(column in frame.columns for column in COMPLETE), frame.index.min(), order

    return candidates[min(range(len(candidates)), key=rank)]
