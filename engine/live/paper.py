"""Paper trading of a finished run's policy: its prices, a venue, a journal, and the runner on them."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from filelock import FileLock, Timeout

from clusterfolio.engine.live.journal import Journal
from clusterfolio.engine.live.local import EndOfBars
from clusterfolio.engine.live.market import RunMarket
from clusterfolio.engine.live.paper_options import PaperOptions
from clusterfolio.engine.live.planner import check_cash_only, check_market_orders
from clusterfolio.engine.live.records import Intent, Plan
from clusterfolio.engine.live.runner import Runner
from clusterfolio.engine.live.status import intent_facts, status_of, write_days
from clusterfolio.engine.live.terms import Settings
from clusterfolio.engine.live.venue import Unavailable, Venue
from clusterfolio.engine.live.venues import VENUES, LocalTime
from clusterfolio.engine.progress import Reporter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Paper:
    """A paper account, open."""

    options: PaperOptions
    runner: Runner
    journal: Journal
    venue: Venue
    market: RunMarket

    def once(self) -> dict[str, Any]:
        """What can be done now; on the local venue one session: send, fill, settle, account, and plan for the next."""
        before = self.journal.looked_at()
        if not isinstance(self.runner.time, LocalTime):
            self.runner.run(wait=False)
        else:
            self.runner.run(sessions=1 if before is not None else 2)
        return status_of(self.journal, self.options, before)

    def run(self, sessions: int | None) -> dict[str, Any]:
        """On and on; on the local venue until its bars end."""
        before = self.journal.looked_at()
        with contextlib.suppress(EndOfBars):
            self.runner.run(sessions=sessions)
        return status_of(self.journal, self.options, before)

    def plan(self) -> tuple[Plan | None, list[Intent]]:
        """The plan that waits to be sent, or the one that the last close leads to; of an account opened ``dry``."""
        plan = self.journal.open_plan()
        if plan is not None:
            return plan, self.journal.intents(plan.key)
        last = self.journal.looked_at()
        if last is not None and isinstance(self.runner.time, LocalTime):  # what comes after the last close is not asked
            self.runner.run(sessions=1, wait=False)
            return self.runner.planned or (None, [])
        return self.rehearse()

    def rehearse(self) -> tuple[Plan | None, list[Intent]]:
        """What ``once`` does, up to the first order: the plan that it would send or make; opened ``dry``."""
        local = isinstance(self.runner.time, LocalTime)
        self.runner.run(sessions=(1 if self.journal.looked_at() is not None else 2) if local else None, wait=local)
        return self.runner.planned or (None, [])

    def next_decision(self, plan: Plan | None = None) -> dt.date | None:
        """The session on whose close a decision falls next, after that of a plan; None = none in half a year."""
        found, looked = self.journal.last_decision(), self.journal.looked_at()
        decided = None if found is None else found[0]
        if plan is not None:
            decided = looked = max(plan.decided, looked or plan.decided)
        first = self.market.start if looked is None else looked + dt.timedelta(days=1)
        sessions = self.venue.calendar(first, first + dt.timedelta(days=200))
        return next((session.day for session in sessions if self.market.due(decided, session.day)), None)

    def reconcile(self) -> dict[str, Any]:
        """Journal and venue side by side; halts where they disagree."""
        self.runner.reconcile()
        return status_of(self.journal, self.options)

    def flatten(self) -> dict[str, Any]:
        """Sell everything that is ours; on the local venue the session is played too."""
        before = {plan.key for plan in self.journal.plans()}
        self.runner.flatten()
        status = self.once()
        plans = [plan for plan in self.journal.plans() if plan.key not in before and plan.key.endswith("-flatten")]
        sold = [intent_facts(intent) for plan in plans for intent in self.journal.intents(plan.key)]
        left = {name: why for plan in plans for name, why in {**plan.skipped, **plan.residue}.items()}
        following = self.next_decision()
        return status | {"sold": sold, "not_sold": left, "next_decision": None if following is None else str(following)}


@contextlib.contextmanager
def open_paper(
    options: PaperOptions,
    reporter: Reporter,
    dry: bool = False,
    tell: Callable[[str, Mapping[str, Any]], None] | None = None,
) -> Iterator[Paper]:
    """The account of a run at a venue; one process at a time.

    Args:
        dry: the same path up to the socket: what would be written is written to a copy in memory.
        tell: called with the kind and the facts of each event, beside ``options.notify``.

    Raises:
        Unavailable: another process has it.
        JournalError: it belongs to another run.
    """
    if options.venue not in VENUES:
        raise ValueError(f"--venue: got {options.venue!r}, available: {', '.join(VENUES)}")
    market = RunMarket(options.run_dir, options.folder, options.paths, options.trust, reporter)
    check_cash_only(market.config.risk.largest)
    check_market_orders(market.config.risk.rests)
    options.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(options.folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Unavailable(f"{options.folder}: another process trades this account") from None
    journal = Journal(":memory:" if dry and not options.journal_file.is_file() else options.journal_file)
    try:
        journal.identify(run=str(options.run_dir.resolve()))
        venue, clock, waits = VENUES[options.venue](options, market, journal, dry)
        market.start = dt.date.fromisoformat(journal.meta("start"))
        config = market.config.trading
        settings = Settings(
            strategy=options.run_dir.resolve().name, cash_buffer=config.cash_buffer, fractional=config.fractional,
            limits=options.limits, when=options.when, adopt=options.adopt,
            **waits,
        )  # fmt: skip
        notify = notifier(options.notify)

        def told(kind: str, facts: Mapping[str, Any]) -> None:
            if kind == "day" and not dry:
                write_days(journal, options)
            if tell is not None:
                tell(kind, facts)
            notify(kind, facts)

        runner = Runner(
            venue, journal, market, clock, settings, kill_file=options.kill_file,
            notify=told, dry=dry,
        )  # fmt: skip
        try:
            yield Paper(options, runner, runner.journal, venue, market)
        finally:
            venue.close()
            if not dry:
                write_days(journal, options)
    finally:
        journal.close()
        lock.release()


def notifier(command: str) -> Callable[[str, Mapping[str, Any]], None]:
    """A function that gives each event to a command, as JSON on its standard input; its failing stops nothing."""
    words = shlex.split(command)

    def tell(kind: str, facts: Mapping[str, Any]) -> None:
        if not words:
            return
        event = json.dumps({"event": kind, **facts}, default=str)
        try:
            subprocess.run(words, input=event, text=True, timeout=10, check=True, capture_output=True)
        except (OSError, subprocess.SubprocessError) as error:
            log.warning("--notify %s: %s", command, error)

    return tell
