"""Is the ledger what the run directories saw, and are they what it recorded: checked both ways."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clusterfolio.engine.ledger.chain import Chain
from clusterfolio.engine.ledger.explain import read_trial
from clusterfolio.engine.ledger.ledger import Ledger, LedgerError
from clusterfolio.engine.run_dir import artifacts


@dataclass(frozen=True)
class Audit:
    """What was checked, and what is wrong.

    Attributes:
        trials: rows of the ledger.
        runs: run directories.
        problems: in words; empty where all is sound.
    """

    trials: int
    runs: int
    problems: list[str]


def audit(ledger: Ledger, folders: Sequence[Path] = ()) -> Audit:
    """Check the ledger against itself and against run directories.

    Args:
        folders: every run directory in and below them is checked, beside those that the ledger knows and still finds.
    """
    chain = ledger.chain()
    problems = [f"ledger {ledger.path}: {problem}" for problem in chain.problems]
    found = {path.parent.resolve() for folder in folders for path in Path(folder).rglob("run.json")}
    if not chain.problems:
        found |= {Path(run) for run in ledger.trials()["run"] if (Path(run) / "run.json").is_file()}
    for run_dir in sorted(found):
        problems += [f"{run_dir}: {problem}" for problem in check_run(run_dir, ledger, chain)]
    return Audit(len(chain.hashes), len(found), problems)


def check_run(run_dir: Path, ledger: Ledger, chain: Chain) -> list[str]:
    """What is wrong between a run directory and the ledger."""
    facts = artifacts.read_run_json(run_dir)
    problems = chain.disagreements(facts)
    key = facts.get("ledger", {}).get("trial")
    if key is None:
        return problems
    trial = read_trial(run_dir)
    if trial.outcome != facts["fingerprint"]["returns"]:
        problems.append("returns.csv is not what the run wrote")
    if not chain.problems and key in chain.rows and ledger.trial(key).headline != trial.headline:
        problems.append("metrics.json states other figures than the ledger")
    return problems


def describe(ledger: Ledger) -> str:
    """Where a ledger is and how many trials it holds, or why it cannot be read or written."""
    try:
        found = f"{ledger.path} ({ledger.count()} trials)"
    except LedgerError as error:
        return f"cannot be read: {error}"
    place = next(path for path in (ledger.path, *ledger.path.absolute().parents) if path.exists())
    writable = os.access(place, os.W_OK) and (place == ledger.path or place.is_dir())
    return found if writable else f"{found}: cannot be written"
