"""The journal's file: opened, copied, written in whole transactions; whose it is, and small values kept by name."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from clusterfolio import ClusterfolioError
from clusterfolio.engine.live.database import transaction
from clusterfolio.engine.live.rows import SCHEMA, put_state

#: Of the file's layout; another version is refused rather than read wrongly.
VERSION = 2


class JournalError(ClusterfolioError):
    """The journal cannot be used, or what is to be written contradicts what it holds."""


class JournalFile:
    """One SQLite file; see ``engine.live.journal`` for what is in it.

    Args:
        path: the file; made if it is not there.
        durable: wait for the disk at every commit; False only where a test plays all crashes in one process.
        read_only: for who only looks; the file must be there.

    Raises:
        JournalError: the file is of another version, or is no journal.
    """

    def __init__(self, path: Path | str, *, durable: bool = True, read_only: bool = False):
        path = str(path)
        if read_only:
            self._db = sqlite3.connect(f"file:{Path(path).as_posix()}?mode=ro", uri=True, isolation_level=None)
        else:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        self._db.row_factory = sqlite3.Row
        try:
            if not read_only:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
            self._make(path, read_only)
        except sqlite3.DatabaseError as error:
            raise JournalError(f"{path}: not a journal of paper trading: {error}") from error

    def _make(self, path: str, read_only: bool) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not read_only:
            # One transaction: killed half-way there is no layout, and the next start makes it.
            self._db.executescript(f"BEGIN IMMEDIATE;{SCHEMA}PRAGMA user_version={VERSION};COMMIT;")
        elif version != VERSION:
            raise JournalError(f"{path}: a journal of layout {version}, this program reads {VERSION}")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def copied(self) -> Self:
        """The same journal in memory, for a dry run: what is written to it is forgotten."""
        twin = type(self).__new__(type(self))
        twin._db = sqlite3.connect(":memory:", isolation_level=None)
        self._db.backup(twin._db)
        twin._db.row_factory = sqlite3.Row
        return twin

    @contextmanager
    def _write(self, what: str) -> Iterator[sqlite3.Connection]:
        """One transaction; ``what`` is for who looks on."""
        with transaction(self._db) as db:
            yield db

    # Whose journal it is

    def identify(self, **facts: str) -> None:
        """Note whose journal this is, or refuse another's.

        Raises:
            JournalError: the journal belongs to another account, strategy or venue.
        """
        known = {row["key"]: row["value"] for row in self._db.execute("SELECT key, value FROM meta")}
        for key, value in facts.items():
            if known.get(key, value) != value:
                raise JournalError(
                    f"the journal belongs to {key} {known[key]!r}, this is {value!r}; give each its own folder (--home)"
                )
        new = {key: value for key, value in facts.items() if key not in known}
        if new:
            with self._write("identity") as db:
                db.executemany("INSERT INTO meta VALUES (?, ?)", new.items())

    def meta(self, key: str) -> str | None:
        """A fact of ``identify``."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else row["value"]

    # State: halt, risk rules, anything small that must survive

    def state(self, key: str, default: Any = None) -> Any:
        """A plain value kept under a name (``halt``, ``risk``, ``model``)."""
        row = self._db.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return default if row is None else json.loads(row["value"])

    def set_state(self, key: str, value: Any) -> None:
        """Keep a plain value under a name; None removes it."""
        with self._write(f"state {key}") as db:
            put_state(db, key, value)

    def event(self, at: dt.datetime, kind: str, **facts: Any) -> None:
        """Note that something happened, for people; nothing is read back from here to decide."""
        with self._write(f"event {kind}") as db:
            db.execute("INSERT INTO events VALUES (?, ?, ?)", (at.isoformat(), kind, json.dumps(facts, default=str)))

    def events(self, last: int = 20, kind: str | None = None) -> list[tuple[str, str, dict]]:
        """The last events, oldest first: moment, kind, facts; of one kind only where it is named."""
        rows = self._db.execute(
            "SELECT at, kind, value FROM events WHERE kind = COALESCE(?, kind) ORDER BY rowid DESC LIMIT ?",
            (kind, last),
        ).fetchall()
        return [(row["at"], row["kind"], json.loads(row["value"])) for row in reversed(rows)]
