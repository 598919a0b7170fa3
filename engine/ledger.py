"""The ledger: every run a user ever made, in an append-only chain, so that trials are counted and not remembered.

A Sharpe ratio can only be judged by one who knows how many were looked at before it was shown (Bailey and López de
Prado, "The Deflated Sharpe Ratio", 2014). So every run appends a row here as soon as its result is known.

Trials are counted, not runs: ``engine.trials`` says what makes two runs the same trial.

Rows hold each other: the hash of a row is SHA-256 over the hash before it and the row's content (as in Haber and
Stornetta, "How to time-stamp a digital document", 1991), and each run.json holds the hash and the number of the last
row it saw. A changed, deleted or reordered row breaks the chain; a tail that was cut off is missed by the run.json
files that saw it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import platformdirs

from engine.trials import FIGURES, Trial, canonical, config_hash, pack, trial_key, unpack

log = logging.getLogger(__name__)

#: The columns of a row that are hashed as they are, in this order; the returns by their own hash, after them.
COLUMNS = (
    "number", "trial", "at", "run", "simulated", "source", "benchmark", "config_hash", "data", "code", "seed",
    "start", "end", "sessions", "outcome", "headline", "config", "facts",
)  # fmt: skip

#: How long to wait for another process that is writing.
BUSY_SECONDS = 60.0

#: Of the file's layout, in its header.
LAYOUT = 1

GENESIS = "0" * 64

SCHEMA = (
    """CREATE TABLE trials (
        number INTEGER PRIMARY KEY, trial TEXT NOT NULL UNIQUE, at TEXT NOT NULL, run TEXT NOT NULL,
        simulated INTEGER NOT NULL, source TEXT NOT NULL, benchmark TEXT NOT NULL, config_hash TEXT NOT NULL,
        data TEXT NOT NULL, code TEXT NOT NULL, seed INTEGER NOT NULL, start TEXT NOT NULL, "end" TEXT NOT NULL,
        sessions INTEGER NOT NULL, outcome TEXT NOT NULL, headline TEXT NOT NULL, config TEXT NOT NULL,
        facts TEXT NOT NULL, hash TEXT NOT NULL, returns BLOB NOT NULL
    )""",
    "CREATE TRIGGER kept BEFORE UPDATE ON trials BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
    "CREATE TRIGGER whole BEFORE DELETE ON trials BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
    f"PRAGMA user_version = {LAYOUT}",
)


class LedgerError(OSError):
    """The ledger cannot be read or written; the message says where it is and why."""


@dataclass(frozen=True)
class Receipt:
    """What a run knows of its place in the ledger.

    Attributes:
        trial: its key.
        head: hash of the ledger's last row.
        count: number of rows then: distinct trials of this user so far.
    """

    trial: str
    head: str
    count: int


def ledger_path() -> Path:
    """Where the user's ledger is: the file ``$CLUSTERFOLIO_LEDGER``, else one in the user's data directory."""
    moved = os.environ.get("CLUSTERFOLIO_LEDGER")
    return Path(moved) if moved else platformdirs.user_data_path("clusterfolio") / "ledger.sqlite"


class Ledger:
    """A ledger file; made by the first ``append``.

    Every method opens the file anew, so an instance may be used from several threads and processes. The journal is
    SQLite's own (not the write-ahead log, which network disks cannot share): a process killed in the middle of an
    append leaves nothing of it.

    Args:
        path: the file; None = ``ledger_path()``.
    """

    def __init__(self, path: Path | None = None):
        self.path = Path(path) if path is not None else ledger_path()

    def append(self, trial: Trial) -> Receipt:
        """Record a trial; one that is in the ledger already is left as it is.

        Raises:
            LedgerError: the ledger cannot be written (read-only, disk full, no ledger, busy for a minute).
        """
        key, packed = trial.key, pack(trial.returns)
        days = trial.returns.index
        with self._open("rwc") as file:
            file.execute("BEGIN IMMEDIATE")  # one writer at a time; what is read below is the last row until COMMIT
            if _is_new(file):
                for statement in SCHEMA:
                    file.execute(statement)
            count, head = _last(file)
            if not file.execute("SELECT 1 FROM trials WHERE trial = ?", (key,)).fetchone():
                row = {
                    "number": count + 1,
                    "trial": key,
                    "at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "run": trial.run,
                    "simulated": int(trial.simulated),
                    "source": trial.config["data"]["source"],
                    "benchmark": trial.benchmark,
                    "config_hash": config_hash(trial.config),
                    "data": trial.data,
                    "code": trial.code,
                    "seed": trial.seed,
                    "start": str(days[0].date()),
                    "end": str(days[-1].date()),
                    "sessions": len(days),
                    "outcome": trial.outcome,
                    "headline": canonical(trial.headline),
                    "config": canonical(trial.config),
                    "facts": canonical(trial.facts),
                }
                count, head = count + 1, row_hash(head, tuple(row.values()), packed)
                file.execute(f"INSERT INTO trials VALUES ({', '.join('?' * 20)})", (*row.values(), head, packed))
            file.execute("COMMIT")
        return Receipt(key, head, count)

    def trials(self) -> pd.DataFrame:
        """A row per trial in the order they were made, index = key; empty where there is no ledger yet.

        Columns: number, at (UTC), run (directory), simulated, source, benchmark, config_hash, data, code, seed,
        start, end (first and last session of the test), sessions, outcome (hash of the returns), and the headline's
        figures: ``FIGURES``, benchmark_total_return, benchmark_sharpe; NaN where not defined.
        """
        names = COLUMNS[: COLUMNS.index("headline") + 1]
        rows = self._read(f"SELECT {', '.join(map(_quoted, names))} FROM trials ORDER BY number")
        table = pd.DataFrame(rows, columns=list(names)).set_index("trial")
        figures = (*FIGURES, "benchmark_total_return", "benchmark_sharpe")
        stated = [json.loads(text) for text in table.pop("headline")]
        for name in figures:
            table[name] = np.array([one.get(name) for one in stated], dtype=float)
        for name in ("at", "start", "end"):
            table[name] = pd.to_datetime(table[name], utc=True if name == "at" else None)
        return table.astype({"simulated": bool})

    def settings(self, trial: str) -> dict:
        """What a trial was made with: config, data, code, simulated, and its facts.

        Raises:
            KeyError: no such trial.
        """
        rows = self._read("SELECT config, data, code, simulated, outcome, facts FROM trials WHERE trial = ?", trial)
        if not rows:
            raise KeyError(trial)
        config, data, code, simulated, outcome, facts = rows[0]
        return {
            "config": json.loads(config),
            "data": data,
            "code": code,
            "simulated": bool(simulated),
            "outcome": outcome,
            "facts": json.loads(facts),
        }

    def returns(self, trials: Sequence[str], of: str = "strategy") -> pd.DataFrame:
        """Daily returns of these trials, shape ``(n_days, n_trials)``; NaN on days outside a trial's test.

        Args:
            trials: keys.
            of: "strategy" (net of costs) or "benchmark".

        Raises:
            KeyError: a key that is not in the ledger.
        """
        columns = {}
        for key in trials:
            rows = self._read("SELECT returns FROM trials WHERE trial = ?", key)
            if not rows:
                raise KeyError(key)
            columns[key] = unpack(rows[0][0])[of]
        return pd.DataFrame(columns, index=None if columns else pd.DatetimeIndex([])).sort_index().rename_axis("date")

    def family(self, trial: str) -> pd.DataFrame:
        """The rows of ``trials()`` that a trial has to be judged among, itself included.

        Whoever looks at many results and shows one has chosen it from all that the same history could have given. So
        these are the trials of the same kind of data (real, or made up) whose tests share a session with this one's,
        whatever their settings, seed, universe or benchmark, made before or after: a user may prefer an old result
        after seeing new ones. Two exceptions: a made-up market is a world of its own, so there only trials on the
        same market count (those whose benchmark moved alike on the common days); and trials with the very same daily
        returns count once (another spelling of the same settings, or a change of the code that changed nothing).

        Raises:
            KeyError: no such trial.
        """
        table = self.trials()
        own = table.loc[trial]
        alike = table[
            (table["simulated"] == own["simulated"]) & (table["start"] <= own["end"]) & (table["end"] >= own["start"])
        ]
        same = alike["outcome"].duplicated() | (alike["outcome"] == own["outcome"])
        alike = alike[~same | (alike.index == trial)]
        if not own["simulated"]:
            return alike
        markets = self.returns(list(alike.index), of="benchmark")
        apart = markets.sub(markets[trial], axis=0).abs().max()
        return alike[(apart < 1e-9).reindex(alike.index)]

    def verify(self, run: dict | None = None) -> list[str]:
        """What is wrong with the ledger, empty where it is sound.

        Args:
            run: the content of a run.json: the ledger must hold what that run saw, and the run be what the ledger says.
        """
        problems: list[str] = []
        hashes: dict[int, str] = {}
        numbers: dict[str, int] = {}
        head, expected = GENESIS, 1
        names = ", ".join(map(_quoted, COLUMNS))
        try:
            for *row, stated, packed in self._read(f"SELECT {names}, hash, returns FROM trials ORDER BY number"):
                number, trial = row[:2]
                if number != expected:
                    problems.append(f"row {expected} is missing or has been moved: the next one is row {number}")
                elif not _sound(head, row, packed, stated):
                    problems.append(f"row {number} (trial {trial}), or the hash of the row before it, has been changed")
                hashes[number], numbers[trial] = stated, number
                head, expected = stated, number + 1
        except LedgerError as error:
            problems.append(str(error))
        return problems + (_verify_run(run, hashes, numbers) if run is not None else [])

    def __len__(self) -> int:
        """Number of trials."""
        return sum(count for (count,) in self._read("SELECT count(*) FROM trials"))

    def _read(self, query: str, *values: str) -> list[tuple]:
        if not self.path.exists():
            return []
        with self._open("rw") as file:  # not "ro": what a killed process left half-written is put right here
            return [] if _is_new(file) else file.execute(query, values).fetchall()

    @contextmanager
    def _open(self, mode: str) -> Iterator[sqlite3.Connection]:
        try:
            if mode == "rwc":
                self.path.parent.mkdir(parents=True, exist_ok=True)
            address = f"{self.path.resolve().as_uri()}?mode={mode}"
            file = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                yield file
            finally:
                file.close()  # rolls back what was not committed
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(f"ledger {self.path}: {error}") from error


def enter(trial: Trial, ledger: Ledger | None = None) -> dict:
    """Append a run's trial; what run.json says of it.

    A ledger that cannot be written costs no one a finished run: the reason is logged as a warning and returned.

    Returns:
        ``trial``, ``head`` and ``count`` of the receipt; or ``error``.
    """
    try:
        return vars((ledger or Ledger()).append(trial))
    except LedgerError as error:
        log.warning("the run is not counted among your trials: %s", error)
        return {"error": str(error)}


def row_hash(previous: str, row: Sequence, packed: bytes) -> str:
    """Hash of a row: SHA-256 over the hash before it, its values as JSON and the hash of its returns."""
    content = canonical([previous, *row, hashlib.sha256(packed).hexdigest()])
    return hashlib.sha256(content.encode()).hexdigest()


def _sound(previous: str, row: Sequence, packed: bytes, stated: str) -> bool:
    """Whether a row is what its hash says; a value of another type than was written is not."""
    typed = isinstance(packed, bytes) and all(isinstance(value, int | str) for value in row)
    return typed and stated == row_hash(previous, row, packed)


def _verify_run(run: dict, hashes: dict[int, str], numbers: dict[str, int]) -> list[str]:
    """What a run.json and the rows' hashes (by number) and numbers (by trial) disagree on."""
    entry = run.get("ledger") or {"error": "it was made before there was a ledger"}
    if "error" in entry:
        return [f"the run is not in the ledger: {entry['error']}"]
    problems = []
    trial, head, count = entry["trial"], entry["head"], entry["count"]
    prints = run["fingerprint"]
    states = trial_key(run["config"], prints["data"], prints["code"], prints["returns"])
    if states != trial:
        problems.append(f"run.json has been changed: its settings and fingerprints make trial {states}, not {trial}")
    if count not in hashes:
        problems.append(f"rows are missing: the run saw {count}, the ledger holds {len(hashes)}")
    elif hashes[count] != head:
        problems.append(f"row {count} is not the one that the run saw last")
    if trial not in numbers:
        problems.append(f"trial {trial} is not in the ledger")
    elif numbers[trial] > count:
        problems.append(f"trial {trial} is row {numbers[trial]}, after the {count} rows that the run saw")
    return problems


def _is_new(file: sqlite3.Connection) -> bool:
    """Whether nothing has been written yet; a layout of another version is an error."""
    (layout,) = file.execute("PRAGMA user_version").fetchone()
    (things,) = file.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if layout == LAYOUT or not (layout or things):
        return not layout
    raise sqlite3.DatabaseError(f"not a ledger that this version can read (layout {layout}, expected {LAYOUT})")


def _last(file: sqlite3.Connection) -> tuple[int, str]:
    """Number and hash of the last row."""
    return file.execute("SELECT number, hash FROM trials ORDER BY number DESC LIMIT 1").fetchone() or (0, GENESIS)


def _quoted(name: str) -> str:
    return f'"{name}"'
