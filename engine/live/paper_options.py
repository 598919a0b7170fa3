"""What is traded on paper, where and how; and the kill file, which anyone may put there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clusterfolio.engine.live.limits import Limits


@dataclass(frozen=True)
class PaperOptions:
    """What is traded, where, and how.

    Attributes:
        home: folder of journal, local venue and kill file; None = beside the run directory.
        paths: newer prices for source "files"; empty = where the run found its own.
        start: of a new local account: the session on whose close it begins; None = a month before the bars end.
        dividends, interest: whether the local venue pays them.
        venue_prices: hold prices against the venue's own, asked in batches (at Alpaca: of its data host).
        notify: a command that is given each event as JSON on its standard input; empty = none.
    """

    run_dir: Path
    venue: str = "local"
    home: Path | None = None
    paths: Sequence[str] = ()
    start: str | None = None
    when: str = "queue"
    dividends: bool = True
    interest: bool = True
    adopt: bool = False
    trust: bool = False
    venue_prices: bool = False
    notify: str = ""
    limits: Limits = field(default_factory=Limits)

    @property
    def folder(self) -> Path:
        """Where everything of this account lies."""
        return self.home or Path(f"{self.run_dir}.paper") / self.venue

    @property
    def kill_file(self) -> Path:
        """While it is there, no order is sent."""
        return self.folder / "KILL"

    @property
    def journal_file(self) -> Path:
        """The journal."""
        return self.folder / "journal.sqlite"
