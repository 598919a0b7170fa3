"""Price files as people have them, from folders and single files to one series per symbol."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from clusterfolio.feeds.raw import ABSENT, DROPPED, GUESSED, NOTED, PASSED_OVER, DataError, RawBars, RawData, Remark
from clusterfolio.feeds.sources.files.columns import NotPrices
from clusterfolio.feeds.sources.files.containers import Sheet, sheets
from clusterfolio.feeds.sources.files.days import DAY_FIRST
from clusterfolio.feeds.sources.files.names import Names
from clusterfolio.feeds.sources.files.parts import Part, Table
from clusterfolio.feeds.sources.files.settle import Refused, settle
from clusterfolio.feeds.sources.files.tables import read_table

log = logging.getLogger(__name__)


def read_files(paths: Sequence[Path], symbols: Sequence[str] | None = None, names: Sequence[str] = ()) -> RawData:
    """Bars of ``symbols`` (None = all) from files and folders; exchange-rate pairs (``EURUSD=X``) always come along.

    A folder is read with everything below it, hidden files apart. What is no price table is passed over, with a
    verdict under its name. Neither the order of files nor that of their rows matters; symbols come in alphabetical
    order. A symbol that stands in several files is joined day by day (``settle``): files of different days follow each
    other, and where days are common the file that begins first counts and the others add columns; files that disagree
    are refused. Symbols are matched by their exact text, else by their text in capitals, whatever sign stands before a
    class (``BRK.B``, ``BRK-B``). Where a file's dates do not tell whether the day or the month comes first, those of
    the other files do; where none tells, it is a guess and said.

    Args:
        names: symbols as others call them, where everything is taken: a benchmark that files call ``spy.us``.

    Raises:
        DataError: a path does not exist, or no path is given.
    """
    if not paths:
        raise DataError("path: no file or folder given")
    wanted = None if symbols is None else list(dict.fromkeys(symbols))
    found: dict[str, list[tuple[str, Part]]] = {}
    refused: dict[str, list[str]] = {}
    readings: dict[str, list[str]] = {}
    verdicts: dict[str, tuple[str, str]] = {}
    for name, table in _tables(_files(paths), Names(wanted, names), verdicts):
        for symbol, part in table.parts.items():
            found.setdefault(symbol, []).append((name, part))
            readings.setdefault(symbol, []).append(f"{name} ({table.reading})")
        for symbol, why in table.refused.items():
            refused.setdefault(symbol, []).append(f"{name}: {why}")
    bars: dict[str, RawBars] = {}
    remarks: list[Remark] = []
    for symbol in sorted(found):
        try:
            settled = settle(symbol, found[symbol])
        except Refused as why:
            refused.setdefault(symbol, []).append(str(why))
            continue
        bars[symbol] = settled.bars
        remarks += [Remark(symbol, kind, text=text, nature=nature) for kind, text, nature in settled.notes]
    for symbol in sorted(refused):
        if symbol in bars:
            remarks += [Remark(symbol, "not taken from a file", text=why, nature=NOTED) for why in refused[symbol]]
        else:
            verdicts[symbol] = (DROPPED, "; ".join(refused[symbol]))
    for symbol in wanted or ():
        if symbol not in bars:
            verdicts.setdefault(symbol, (ABSENT, "in none of the files"))
    told = {symbol: _told(readings[symbol]) for symbol in bars}
    return RawData(bars, None, verdicts, remarks=remarks, readings=told)


def _told(readings: list[str], shown: int = 3) -> str:
    return ", ".join(readings[:shown]) + (f" and {len(readings) - shown} more files" if len(readings) > shown else "")


def _files(paths: Iterable[Path]) -> list[tuple[str, Path]]:
    """Every file with the name it goes by, relative to the folder that was given; in the order of these names."""
    files: dict[Path, str] = {}
    inside: list[tuple[str, Path]]
    for path in map(Path, paths):
        if path.is_dir():
            below = [(p.relative_to(path), p) for p in path.rglob("*") if p.is_file()]
            inside = [(str(name), p) for name, p in below if not any(part.startswith(".") for part in name.parts)]
        elif path.exists():
            inside = [(path.name, path)]
        else:
            raise DataError(f"path: {path} does not exist")
        for name, file in inside:
            files.setdefault(file.resolve(), name)
    counts: dict[str, int] = {}
    named = []
    for file, name in sorted(files.items(), key=lambda item: (item[1], str(item[0]))):
        counts[name] = counts.get(name, 0) + 1
        named.append((name if counts[name] == 1 else f"{file.parent.name}/{name}", file))
    return named


def _tables(
    files: Sequence[tuple[str, Path]], names: Names, verdicts: dict[str, tuple[str, str]]
) -> list[tuple[str, Table]]:
    """Every file's table; ``verdicts`` takes in the files that are none."""
    tables: list[tuple[Sheet, Table]] = []
    for name, file in files:
        try:
            for sheet in sheets(name, file):
                try:
                    tables.append((sheet, read_table(sheet, names)))
                except NotPrices as reason:
                    _pass_over(sheet.path, reason, verdicts)
        except NotPrices as reason:
            _pass_over(name, reason, verdicts)
    proofs = {(sign, told) for _, table in tables for sign, told in table.day_first.items() if told is not None}
    orders = {sign: told for sign, told in proofs if (sign, not told) not in proofs}
    read = []
    for sheet, table in tables:
        undecided = [sign for sign, told in table.day_first.items() if told is None]
        if any(orders.get(sign, DAY_FIRST[sign]) != DAY_FIRST[sign] for sign in undecided):
            table = read_table(sheet, names, orders)
        if any(sign not in orders and not DAY_FIRST[sign] for sign in undecided):
            guess = ("order of day and month guessed", "no date tells day from month: read month first", GUESSED)
            for part in table.parts.values():
                part.notes.append(guess)
        if table.nameless:
            _pass_over(sheet.path, f"in part: {table.nameless} rows without a symbol", verdicts)
        elif names.wanted is None and not table.parts and not table.refused:
            _pass_over(sheet.path, "no row with a date and a price", verdicts)
        read.append((sheet.path, table))
    return read


def _pass_over(name: str, reason: object, verdicts: dict[str, tuple[str, str]]) -> None:
    verdicts[name] = (PASSED_OVER, str(reason))
    log.info("%s passed over: %s", name, reason)
