"""The ledger's proof: rows that hold each other, and run.json files that hold the rows.

The hash of a row is SHA-256 over the hash before it and the row's own content (as in Haber and Stornetta, "How to
time-stamp a digital document", 1991), and each run.json holds the number and the hash of the last row it saw. So a
changed, deleted or reordered row breaks the chain; a tail that was cut off, or a chain made anew, is found out by the
run.json files that saw the old one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.trials import canonical, trial_key

#: What stands before the first row.
GENESIS = "0" * 64


@dataclass(frozen=True)
class Chain:
    """The rows of a ledger, checked against one another.

    Attributes:
        problems: what is wrong, in words; empty where it is sound.
        hashes: by number of the row.
        numbers: of the row, by trial.
    """

    problems: list[str]
    hashes: dict[int, str]
    numbers: dict[str, int]

    def disagreements(self, run: dict) -> list[str]:
        """What a run.json's content and the ledger disagree on."""
        entry = run.get("ledger") or {"error": "it was made before there was a ledger"}
        if "error" in entry:
            return [f"the run is not in the ledger: {entry['error']}"]
        problems = []
        trial, head, count = entry["trial"], entry["head"], entry["count"]
        prints = run["fingerprint"]
        states = trial_key(run["config"], prints["data"], prints["code"], prints["returns"])
        if states != trial:
            problems.append(f"run.json has been changed: what it states makes trial {states}, not {trial}")
        if count not in self.hashes:
            problems.append(f"rows are missing: the run saw {count}, the ledger holds {len(self.hashes)}")
        elif self.hashes[count] != head:
            problems.append(f"row {count} is not the one that the run saw last")
        if trial not in self.numbers:
            problems.append(f"trial {trial} is not in the ledger")
        elif self.numbers[trial] > count:
            problems.append(f"trial {trial} is row {self.numbers[trial]}, after the {count} rows that the run saw")
        return problems


def check_chain(rows: Iterable[Sequence]) -> Chain:
    """Check rows against their hashes.

    Args:
        rows: by number: the row's values (number and trial first), the hash it states, and its packed returns.
    """
    problems: list[str] = []
    hashes: dict[int, str] = {}
    numbers: dict[str, int] = {}
    head, expected = GENESIS, 1
    for *row, stated, packed in rows:
        number, trial = row[:2]
        if number != expected:
            problems.append(f"row {expected} is missing or has been moved: the next one is row {number}")
        elif not _sound(head, row, packed, stated):
            problems.append(f"row {number} (trial {trial}), or the hash of the row before it, has been changed")
        hashes[number], numbers[trial] = stated, number
        head, expected = stated, number + 1
    return Chain(problems, hashes, numbers)


def row_hash(previous: str, row: Sequence, packed: bytes) -> str:
    """Hash of a row: SHA-256 over the hash before it, its values as JSON and the hash of its returns."""
    content = canonical([previous, *row, hashlib.sha256(packed).hexdigest()])
    return hashlib.sha256(content.encode()).hexdigest()


def _sound(previous: str, row: Sequence, packed: bytes, stated: str) -> bool:
    """Whether a row is what its hash says; a value of another type than was written is not."""
    typed = isinstance(packed, bytes) and all(isinstance(value, int | str) for value in (previous, *row))
    return typed and stated == row_hash(previous, row, packed)
