"""The ledger's proof: rows that hold each other, and run.json files that hold the rows.

The hash of a row is SHA-256 over the hash before it and the row's own content (as in Haber and Stornetta, "How to
time-stamp a digital document", 1991), and each run.json holds the number and the hash of the last row it saw. So a
changed, deleted or reordered row breaks the chain; a tail that was cut off, or a chain made anew, is found out by the
run.json files that saw the old one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clusterfolio.engine.ledger.trials import canonical, config_hash

#: What stands before the first row.
GENESIS = "0" * 64


@dataclass(frozen=True)
class Chain:
    """The rows of a ledger, checked against one another.

    Attributes:
        problems: what is wrong, in words; empty where it is sound.
        hashes: by number of the row.
        rows: by trial: what its row states, by column.
    """

    problems: list[str]
    hashes: dict[int, str]
    rows: dict[str, dict]

    def disagreements(self, run: dict) -> list[str]:
        """What a run.json's content and the ledger disagree on."""
        entry = run.get("ledger") or {"error": "it was made before there was a ledger"}
        if "error" in entry:
            return [f"the run is not in the ledger: {entry['error']}"]
        problems = []
        trial, head, count = entry["trial"], entry["head"], entry["count"]
        if count not in self.hashes:
            problems.append(f"rows are missing: the run saw {count}, the ledger holds {len(self.hashes)}")
        elif self.hashes[count] != head:
            problems.append(f"row {count} is not the one that the run saw last")
        row = self.rows.get(trial)
        if row is None:
            return [*problems, f"trial {trial} is not in the ledger"]
        if row["number"] > count:
            problems.append(f"trial {trial} is row {row['number']}, after the {count} rows that the run saw")
        if self.problems:
            return problems  # what its rows state is worth nothing then
        if config_hash(json.loads(row["config"])) != config_hash(run["config"]):
            problems.append("run.json states other settings than the ledger")
        prints = run["fingerprint"]
        stated = {"data": prints["data"], "code": prints["code"], "outcome": prints["returns"]}
        stated["seed"] = run["config"]["engine"]["seed"]
        wrong = [name for name, value in stated.items() if row[name] != value]
        return problems + [f"run.json states another {name} than the ledger" for name in wrong]


def check_chain(columns: Sequence[str], rows: Iterable[Sequence]) -> Chain:
    """Check rows against their hashes.

    Args:
        columns: names of a row's values, among them number and trial.
        rows: by number: the row's values, the hash it states, and its packed returns.
    """
    problems: list[str] = []
    hashes: dict[int, str] = {}
    known: dict[str, dict] = {}
    head, expected = GENESIS, 1
    for *values, stated, packed in rows:
        row = dict(zip(columns, values, strict=True))
        number, trial = row["number"], row["trial"]
        if number != expected:
            problems.append(f"row {expected} is missing or has been moved: the next one is row {number}")
        elif not _sound(head, values, packed, stated):
            problems.append(f"row {number} (trial {trial}), or the hash of the row before it, has been changed")
        hashes[number], known[trial] = stated, row
        head, expected = stated, number + 1
    return Chain(problems, hashes, known)


def row_hash(previous: str, row: Sequence, packed: bytes) -> str:
    """Hash of a row: SHA-256 over the hash before it, its values as JSON and the hash of its returns."""
    content = canonical([previous, *row, hashlib.sha256(packed).hexdigest()])
    return hashlib.sha256(content.encode()).hexdigest()


def _sound(previous: str, row: Sequence, packed: bytes, stated: str) -> bool:
    """Whether a row is what its hash says; a value of another type than was written is not."""
    typed = isinstance(packed, bytes) and all(isinstance(value, int | str) for value in (previous, *row))
    return typed and stated == row_hash(previous, row, packed)
