"""The ledger: every run a user ever made, in an append-only chain, so that trials are counted and not remembered.

A Sharpe ratio can only be judged by one who knows how many were looked at before it was shown (Bailey and López de
Prado, "The Deflated Sharpe Ratio", 2014). So every run appends a row here as soon as its result is known.

Trials are counted, not runs: ``engine.ledger.trials`` says what makes two runs the same trial. And nothing can be taken
out unseen: ``engine.ledger.chain`` says why.
"""

from __future__ import annotations

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

from clusterfolio import ClusterfolioError
from clusterfolio.engine.ledger.chain import GENESIS, Chain, check_chain, row_hash
from clusterfolio.engine.ledger.trials import FIGURES, Trial, canonical, config_hash, pack, unpack

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


class LedgerError(ClusterfolioError, OSError):
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
        with self._as_written():
            stated = [json.loads(text) for text in table.pop("headline")]
            for name in figures:
                table[name] = np.array([one.get(name) for one in stated], dtype=float)
            for name in ("at", "start", "end"):
                table[name] = pd.to_datetime(table[name], utc=True if name == "at" else None)
            return table.astype({"simulated": bool, "seed": int, "sessions": int})

    def trial(self, key: str) -> Trial:
        """One trial, whole.

        Raises:
            KeyError: no such trial.
        """
        names = "config, data, code, simulated, benchmark, returns, headline, facts, run"
        rows = self._read(f"SELECT {names} FROM trials WHERE trial = ?", key)
        if not rows:
            raise KeyError(key)
        config, data, code, simulated, benchmark, packed, headline, facts, run = rows[0]
        with self._as_written():
            return Trial(
                config=json.loads(config),
                data=data,
                code=code,
                simulated=bool(simulated),
                benchmark=benchmark,
                returns=unpack(packed),
                headline=json.loads(headline),
                facts=json.loads(facts),
                run=run,
            )

    def returns(self, trials: Sequence[str], of: str = "strategy") -> pd.DataFrame:
        """Daily returns of these trials, shape ``(n_days, n_trials)``; NaN on days outside a trial's test.

        Args:
            trials: keys.
            of: "strategy" (net of costs) or "benchmark".

        Raises:
            KeyError: a key that is not in the ledger.
        """
        rows = self._read(
            "SELECT trial, returns FROM trials WHERE trial IN (SELECT value FROM json_each(?))",
            json.dumps(list(trials)),
        )
        with self._as_written():
            found = {key: unpack(packed)[of] for key, packed in rows}
        columns = [found[key] for key in trials]  # in the order asked for; KeyError where one is not there
        if not columns:
            return pd.DataFrame(index=pd.DatetimeIndex([], name="date"))
        return pd.concat(columns, axis=1, keys=list(trials), sort=True).rename_axis("date")

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
        chain = self.chain()
        return chain.problems + (chain.disagreements(run) if run is not None else [])

    def chain(self) -> Chain:
        """Every row's hash, checked."""
        names = ", ".join(map(_quoted, COLUMNS))
        try:
            return check_chain(COLUMNS, self._read(f"SELECT {names}, hash, returns FROM trials ORDER BY number"))
        except LedgerError as error:
            return Chain([str(error)], {}, {})

    def count(self) -> int:
        """Number of trials."""
        return sum(count for (count,) in self._read("SELECT count(*) FROM trials"))

    def _read(self, query: str, *values: str) -> list[tuple]:
        if not self.path.exists():
            return []
        with self._open("rw") as file:  # not "ro": what a killed process left half-written is put right here
            return [] if _is_new(file) else file.execute(query, values).fetchall()

    @contextmanager
    def _as_written(self) -> Iterator[None]:
        """What cannot be read as it was written was changed by someone."""
        try:
            yield
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise LedgerError(
                f"ledger {self.path}: it holds what this program never wrote ({error}); `trials verify` names the row"
            ) from error

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
        return vars((Ledger() if ledger is None else ledger).append(trial))
    except LedgerError as error:
        log.warning("the run is not counted among your trials: %s", error)
        return {"error": str(error)}


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
