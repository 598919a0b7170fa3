"""A policy in a folder: what it learned, by its own hand, and the span it learned from; whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pandas as pd

from clusterfolio.feeds.writing import write_json
from clusterfolio.strategies.policy import Policy, PolicyError, learns

#: Says what lies beside it. A folder that an older version wrote has none, and holds an encoder.
CARD = "policy.json"

Span = tuple[pd.Timestamp, pd.Timestamp]


def check_storable(policy: Policy) -> None:
    """Refuse a policy that learns and could not be found again."""
    if learns(policy):
        missing = [name for name in ("save", "load") if not callable(getattr(policy, name, None))]
        if missing:
            raise PolicyError(
                f"policy {type(policy).__name__}: it has fit() but no {'() and no '.join(missing)}(); "
                "what learns must bring save(folder) and load(folder), so that a run can be resumed and asked again"
            )


def save_policy(policy: Policy, folder: Path, span: Span) -> None:
    """Write what a policy learned into a new folder.

    Args:
        span: first and last day it learned from.
    """
    check_storable(policy)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        inside = part / folder.name
        inside.mkdir()
        policy.save(inside)
        card = {
            "policy": f"{type(policy).__module__}:{type(policy).__qualname__}",
            "train_start": str(span[0].date()),
            "train_end": str(span[1].date()),
        }
        write_json(inside / CARD, card)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(inside, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def load_policy(policy: Policy, folder: Path, span: Span | None = None) -> Policy:
    """The policy with what ``save_policy`` wrote.

    Args:
        policy: made from the same configuration, unfitted.
        span: what it learned from, for a folder of an older version, which does not say so.
    """
    check_storable(policy)
    card = folder / CARD
    if card.is_file():
        said = json.loads(card.read_text(encoding="utf-8"))
        span = pd.Timestamp(said["train_start"]), pd.Timestamp(said["train_end"])
    policy.load(folder)
    if span is not None and callable(getattr(policy, "trained_on", None)):
        policy.trained_on(*span)
    return policy
