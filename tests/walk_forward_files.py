"""A walk-forward over the small made-up market: its options, and what two of them disagree on."""

from __future__ import annotations

import json
from pathlib import Path

from tests.market_files import DATES, run_options

#: Trained on the nine months before each quarter, three folds; decided monthly.
ROLLING = (
    "--preset", "rolling", "--start", "2024-04-01", "--set", "walk_forward.train_months=9", "--set",
    "walk_forward.warm_windows=640",
)  # fmt: skip


def rolling_options(data: Path, out: Path, *more: str) -> list[str]:
    """Arguments of a quick walk-forward ``run``."""
    options = run_options(data, out)
    at = options.index(DATES[0])
    return [*options[:at], *options[at + len(DATES) :], *ROLLING, *more]


def read_facts(out: Path) -> dict:
    """A run's run.json."""
    return json.loads((out / "run.json").read_text())


def trainings(out: Path) -> list[tuple]:
    """Spans and fingerprint of every training of a run."""
    keys = ("number", "train_start", "train_end", "decides_from", "fingerprint")
    return [tuple(fold[key] for key in keys) for fold in read_facts(out)["folds"]]
