"""What a check for leaks found: one finding per cause, with the stage, the day and the symbol where it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from clusterfolio.engine.leakage.trace import STAGES, Difference

#: How the future is changed, and what to call it.
CHANGES = {
    "truncated": "nothing after the day exists yet",
    "exchanged": "after the day each symbol goes on as another one",
    "spoilt": "after the day bars are wrong, missing, doubled, split or at an end",
    "listed": "symbols are added that begin after the day",
    "published": "figures published after the day are changed",
}

#: Changes that touch one thing only: a difference they make comes from there, wherever it shows.
TELLS = {"listed": "universe", "published": "exogenous"}


@dataclass(frozen=True)
class Finding:
    """One leak.

    Attributes:
        stage: where the difference comes from; one of ``engine.leakage.trace.STAGES``.
        shows_in: the first stage whose values differ (the same, unless the change made tells more).
        first: where it shows first.
        asof: the day whose knowledge it changed.
        changes: of the future, that show it; keys of ``CHANGES``.
        reaches: later stages that differ too; a decision is touched if ``weights`` is among them.
        said: why, where ``first`` does not tell.
    """

    stage: str
    shows_in: str
    first: Difference
    asof: pd.Timestamp
    changes: tuple[str, ...]
    reaches: tuple[str, ...] = ()
    said: str = ""

    def __str__(self) -> str:
        d = self.first
        where = f"{d.item}[{d.name}]" if d.name.isdigit() else f"{d.item} of {d.name}"
        where = d.item if d.name == "value" else where
        on = f" on {d.day.date()}" if d.day is not None else ""
        text = f"{self.stage}: "
        if self.said:
            return text + self.said
        text += f"{where}{on} is {_number(d.before)} at the close of {self.asof.date()}, and {_number(d.after)}"
        text += f" had the future been another; {d.count:,} of {d.total:,} values differ"
        if np.isfinite(d.size):
            text += f", by up to {d.size:.3g}"
        if self.shows_in != self.stage:
            text += f" (it shows in: {self.shows_in})"
        if self.reaches:
            text += f"; carried on to {', '.join(self.reaches)}"
        return text


@dataclass(frozen=True)
class LeakageReport:
    """What a check found.

    Attributes:
        findings: a leak each, in the order of the pipeline; empty = none found.
        checked: a row per day, change and stage: ``values`` compared, and how many ``differ``.
        notes: what could not be checked, and why.
        seconds: that the check took.
    """

    findings: list[Finding]
    checked: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """No leak was found."""
        return not self.findings

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return {
            "clean": self.clean,
            "findings": [_plain(finding) for finding in self.findings],
            "days": sorted({str(day.date()) for day in self.checked["day"]}),
            "changes": {name: CHANGES[name] for name in self.checked["change"].unique() if name in CHANGES},
            "stages": self.stages().reset_index().to_dict("records"),
            "notes": self.notes,
            "seconds": round(self.seconds, 1),
        }

    def stages(self) -> pd.DataFrame:
        """By stage: ``values`` compared and how many ``differ``, over all days and changes."""
        return (
            self.checked.groupby("stage", sort=False)[["values", "differ"]].sum().reindex(STAGES).dropna().astype(int)
        )


@dataclass(frozen=True)
class Failure:
    """An error that another future caused, though the past was the same."""

    stage: str
    error: Exception

    def __str__(self) -> str:
        return f"{type(self.error).__name__}: {self.error}"

    def difference(self) -> Difference:
        """That it failed, as a difference from what it does on the true history."""
        return Difference("outcome", None, "value", "an answer", str(self), np.nan, 1, 1)


@dataclass(frozen=True)
class Hit:
    """A day and a change that made a difference, by stage in order."""

    day: pd.Timestamp
    change: str
    found: dict[str, Difference]
    failure: Failure | None = None

    @property
    def shows_in(self) -> str:
        """The first stage, in their order, in which something differs."""
        return next(stage for stage in STAGES if stage in self.found)


def findings_of(hits: Sequence[Hit]) -> list[Finding]:
    """One finding per cause: hits that show first in the same stage belong together.

    New listings tell a cause of their own only where other futures of the same symbols make no such difference: what
    looks at all of the future sees those too. A cut-off history lacks later listings and publications: what it alone
    shows beside one of these is theirs.
    """
    groups: dict[tuple[str, str], list[Hit]] = {}
    general = {hit.shows_in for hit in hits if hit.change in ("exchanged", "spoilt")}
    told = {hit.shows_in: TELLS[hit.change] for hit in hits if hit.change in TELLS}
    for hit in hits:
        cause = TELLS.get(hit.change, hit.shows_in)
        if hit.change == "listed" and hit.shows_in in general:
            cause = hit.shows_in
        elif hit.change == "truncated" and hit.shows_in not in general:
            cause = told.get(hit.shows_in, cause)
        groups.setdefault((cause, hit.shows_in), []).append(hit)
    found = []
    for (cause, shows_in), group in groups.items():
        earliest = min(group, key=lambda hit: (hit.found[shows_in].day or hit.day, hit.day))
        later = {stage for hit in group for stage in hit.found} - {shows_in}
        found.append(
            Finding(
                stage=cause,
                shows_in=shows_in,
                first=earliest.found[shows_in],
                asof=earliest.day,
                changes=tuple(dict.fromkeys(hit.change for hit in group)),
                reaches=tuple(stage for stage in STAGES if stage in later),
            )
        )
    return sorted(found, key=lambda finding: (STAGES.index(finding.stage), STAGES.index(finding.shows_in)))


def told_once(said: Sequence[Finding], found: Sequence[Finding]) -> list[Finding]:
    """Both, where the same cause shows in the same place the one that is said in words, with the other's changes.

    What differs shows in the first place it reaches; what is said in words may look at one further on.
    """
    told, known = [], set()
    for finding in said:
        same = [n for n, other in enumerate(found) if _is_same(finding, other)]
        known |= set(same)
        told.append(
            replace(finding, changes=found[same[0]].changes, reaches=found[same[0]].reaches) if same else finding
        )
    return [*told, *(finding for n, finding in enumerate(found) if n not in known)]


def _is_same(said: Finding, found: Finding) -> bool:
    return said.stage == found.stage and said.shows_in in (found.shows_in, *found.reaches)


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "not there" if value is None else str(value)


def _plain(finding: Finding) -> dict:
    first = finding.first
    return {
        "stage": finding.stage,
        "shows_in": finding.shows_in,
        "asof": str(finding.asof.date()),
        "item": first.item,
        "name": first.name,
        "first_date": None if first.day is None else str(first.day.date()),
        "before": _number(first.before),
        "after": _number(first.after),
        "largest": first.size if np.isfinite(first.size) else None,
        "differ": first.count,
        "of": first.total,
        "changes": list(finding.changes),
        "reaches": list(finding.reaches),
        "text": str(finding),
    }
