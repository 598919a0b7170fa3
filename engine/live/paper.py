"""Paper trading of a finished run's policy: its prices, a venue, a journal, and the runner on them."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from clusterfolio.engine.live.journal import Journal
from clusterfolio.engine.live.limits import Limits
from clusterfolio.engine.live.local import EndOfBars, LocalVenue
from clusterfolio.engine.live.market import RunMarket, RunQuotes, calendar_sessions, decimal
from clusterfolio.engine.live.page import write_page
from clusterfolio.engine.live.records import Intent, Plan
from clusterfolio.engine.live.runner import Runner
from clusterfolio.engine.live.terms import Settings, Time
from clusterfolio.engine.live.venue import ZERO, Unavailable, Venue
from clusterfolio.engine.progress import Reporter
from clusterfolio.feeds.writing import write_table
from clusterfolio.strategies.order_list import quotes_of

log = logging.getLogger(__name__)

#: Seconds before the next open from which on bars that are missing are given up: at once, where none can come as the
#: venue's own time passes.
NEVER = 14 * 86400.0

#: Sessions of bars that a new local account has ahead of it, where no first day is stated.
AHEAD = 21


@dataclass(frozen=True)
class PaperOptions:
    """What is traded, where, and how.

    Attributes:
        home: folder of journal, local venue and kill file; None = beside the run directory.
        paths: newer prices for source "files"; empty = where the run found its own.
        start: of a new local account: the session on whose close it begins; None = a month before the bars end.
        dividends: whether the local venue pays them.
        notify: a command that is given each event as JSON on its standard input; empty = none.
    """

    run_dir: Path
    venue: str = "local"
    home: Path | None = None
    paths: Sequence[str] = ()
    start: str | None = None
    when: str = "queue"
    dividends: bool = True
    adopt: bool = False
    trust: bool = False
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


class WallTime:
    """The time as it passes everywhere."""

    def now(self) -> dt.datetime:
        """Now, in UTC."""
        return dt.datetime.now(dt.UTC)

    def wait(self, until: dt.datetime) -> None:
        """Sleep."""
        time.sleep(max(0.0, (until - self.now()).total_seconds()))


class LocalTime:
    """The local venue's time: it passes by what is waited for."""

    def __init__(self, venue: LocalVenue):
        self._venue = venue

    def now(self) -> dt.datetime:
        """Where the venue's time stands."""
        return self._venue.now

    def wait(self, until: dt.datetime) -> None:
        """Move the venue's time on."""
        self._venue.advance(until)


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


def _local(
    options: PaperOptions, market: RunMarket, journal: Journal, dry: bool
) -> tuple[Venue, Time, dict[str, float]]:
    """The local venue of a run, begun on ``--start`` or some sessions before its bars end."""
    traded = market.panel.sessions.intersection(market.panel.dates)
    if options.start is not None:
        begin = pd.to_datetime(options.start, format="%Y-%m-%d", errors="coerce")
        if pd.isna(begin) or begin not in traded:
            raise ValueError(f"--start: got {options.start!r}, expected a session between {traded[0].date()} and "
                             f"{traded[-1].date()} as YYYY-MM-DD")  # fmt: skip
    else:
        begin = traded[max(0, len(traded) - 1 - AHEAD)]
    known = journal.meta("start")
    if known is not None and options.start is not None and options.start != known:
        raise ValueError(f"--start: this account began on {known}; a new --home begins anew")
    begin = pd.Timestamp(known) if known else begin
    journal.identify(start=str(begin.date()))
    config, assets = market.config.trading, market.panel.assets
    costs = (assets["commission_bps"] + assets["half_spread_bps"]) * config.cost_multiplier / 1e4
    rates = {str(name): decimal(cost) for name, cost in costs.items()} if config.costs else {}
    closes = calendar_sessions(market.calendar, begin.date(), begin.date())[0].closes
    venue = LocalVenue(
        options.folder / "venue.sqlite", RunQuotes(market), start=closes, cash=decimal(config.capital),
        currency=market.panel.currency, rates=rates, dividends=options.dividends, dry=dry,
    )  # fmt: skip
    return venue, LocalTime(venue), {"bars_delay": 0.0, "bars_guard": NEVER, "poll": 600.0}


def _alpaca(
    options: PaperOptions, market: RunMarket, journal: Journal, dry: bool
) -> tuple[Venue, Time, dict[str, float]]:
    """Alpaca's paper account, keys from the environment; a day's bars are asked for half an hour after its close."""
    from clusterfolio.engine.live.alpaca import AlpacaVenue

    if options.start is not None:
        raise ValueError("--start: for the local venue; a broker's account begins on the last close before now")
    if market.panel.currency != "USD":
        raise ValueError(f"--venue alpaca: its account is in USD, the run's in {market.panel.currency} (data.currency)")
    clock = WallTime()
    if journal.meta("start") is None:
        today = clock.now().date()
        past = calendar_sessions(market.calendar, today - dt.timedelta(days=10), today)
        journal.identify(start=str(next(s.day for s in reversed(past) if s.closes <= clock.now())))
    return AlpacaVenue.from_environment(read_only=dry), clock, {"bars_delay": 1800.0}


#: Where one can trade, by the name that ``--venue`` takes: makes the venue (``dry``: for reading only), the time that
#: passes there, and how long is waited there (see ``Settings``). What makes it notes the account's
#: first session in the journal (``start``).
VENUES: dict[str, Callable[[PaperOptions, RunMarket, Journal, bool], tuple[Venue, Time, dict[str, float]]]] = {
    "local": _local,
    "alpaca": _alpaca,
}


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


def status_of(journal: Journal, options: PaperOptions, since: dt.date | None = dt.date.max) -> dict[str, Any]:
    """Target, held, drift, open orders and the last decision, from the journal alone.

    Args:
        since: sessions after it that were skipped are named even where a later one has a line; None = all.
    """
    plan, found, days = journal.open_plan(), journal.last_decision(), journal.days()
    last = plan or next(iter(journal.plans()[-1:]), None)
    names, account = positions_of(journal)
    skipped = journal.events(10, "no rebalance")
    after = min(since or dt.date.min, days[-1][0] if days else dt.date.min)
    halt = journal.state("halt")
    killed = options.kill_file.exists()
    return {
        "halted": halt["why"] if halt else ("the kill file is there" if killed else ""),
        "last_decision": None if found is None else {"day": str(found[0]), "weights": found[1]["weights"]},
        "looked_at": str(journal.looked_at() or ""),
        "targets": {} if last is None else {name: str(amount) for name, amount in last.targets.items()},
        "held": {name: str(quantity) for name, quantity in sorted(journal.holdings().items())},
        "positions": names,
        "account": account,
        "plan": None if plan is None else plan_facts(plan),
        "orders": [intent_facts(intent) for intent in journal.alive()],
        "day": days[-1][1] if days else None,
        "skipped_sessions": [facts for *_, facts in skipped if facts["session"] > str(after)],
    }


def positions_of(journal: Journal) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """A row for each name held or decided on, and the account's money, at the prices and cash of the last line.

    Weights are of the account's value; ``drift`` is what the weight held lies above the one decided on, ``why`` why the
    name was not ordered. None = no line yet, or no price.
    """
    decision, holdings, plain = journal.last_decision(), journal.holdings(), journal.state("model")
    weights = {} if decision is None else decision[1]["weights"]
    skipped = {} if decision is None else {n: why for p in journal.plans(decision[0]) for n, why in p.skipped.items()}
    prices = {} if plain is None else {name: Decimal(text) for name, text in plain["closes"].items()}
    cash = None if plain is None else Decimal(plain["account_cash"])
    known = {name: quantity * prices[name] for name, quantity in holdings.items() if name in prices}
    value = None if cash is None else cash + sum(known.values(), ZERO)
    rows = []
    for name in sorted({*holdings, *(name for name, weight in weights.items() if weight)}):
        worth = known.get(name, None if name in holdings else ZERO)
        held = float(worth / value) if value and worth is not None else None
        target = weights.get(name, 0.0)
        rows.append({
            "symbol": name, "target": target, "held": held, "drift": None if held is None else held - target,
            "shares": str(holdings.get(name, ZERO)), "price": None if name not in prices else float(prices[name]),
            "value": None if worth is None else float(round(worth, 2)), "why": skipped.get(name, ""),
        })  # fmt: skip
    if plain is None:
        return rows, None
    return rows, {"day": plain["day"], "cash": float(round(cash, 2)), "value": float(round(value, 2))}


def plan_facts(plan: Plan) -> dict[str, Any]:
    """A plan as plain values."""
    return {
        "session": str(plan.session), "decided": str(plan.decided), "status": plan.status,
        "targets": {name: str(amount) for name, amount in plan.targets.items()},
        "skipped": dict(plan.skipped), "residue": dict(plan.residue),
    }  # fmt: skip


def intent_facts(intent: Intent) -> dict[str, Any]:
    """An order as plain values."""
    facts = {name: str(getattr(intent, name)) for name in ("client_id", "symbol", "side", "quantity", "price", "state",
                                                           "filled", "session", "reason", "why")}  # fmt: skip
    return facts | {"value": round(float(intent.quantity * intent.price), 2)}


def write_days(journal: Journal, options: PaperOptions) -> None:
    """days.csv and paper.html: a row per session of model against account, what sets them apart by cause."""
    days = journal.days()
    rows = [
        {**{k: v for k, v in line.items() if k not in ("causes", "skipped")}, **line["causes"],
         "not held": " ".join(line.get("skipped", {}))}
        for _, line in days
    ]  # fmt: skip
    if rows:
        write_table(options.folder / "days.csv", pd.DataFrame(rows).set_index("day"))
        halted = status_of(journal, options)["halted"]
        write_page(options.folder / "paper.html", f"Paper trading of {options.run_dir.name}", days, halted)


def read_status(options: PaperOptions) -> dict[str, Any]:
    """``status_of`` without loading anything.

    Raises:
        FileNotFoundError: there is no such account.
    """
    if not options.journal_file.is_file():
        raise FileNotFoundError(f"{options.folder}: no paper account here; `paper once` opens one")
    journal = Journal(options.journal_file, read_only=True)
    try:
        if journal.meta("account") is None:
            raise FileNotFoundError(f"{options.folder}: no paper account here yet: {options.venue} was never reached; "
                                    "`paper once` tries again")  # fmt: skip
        return status_of(journal, options)
    finally:
        journal.close()


def halt(options: PaperOptions) -> None:
    """Put the kill file there: a running process stops before its next order."""
    read_status(options)
    options.kill_file.write_text("no order is sent while this file is here\n", encoding="utf-8")


def resume(options: PaperOptions) -> str:
    """Take the kill file and the halt away; what it halted for is returned."""
    why = read_status(options)["halted"]
    options.kill_file.unlink(missing_ok=True)
    journal = Journal(options.journal_file)
    try:
        journal.set_state("halt", None)
    finally:
        journal.close()
    return why


def doctor(options: PaperOptions, reporter: Reporter) -> list[tuple[str, str, str]]:
    """What would be traded, where and on which prices; nothing is written. Rows of (what, finding, trouble)."""
    market = RunMarket(options.run_dir, options.folder, options.paths, options.trust, reporter)
    last = market.panel.dates[-1]
    new = "" if options.journal_file.is_file() else "no account yet; `paper once` opens it"
    rows = [
        ("run", f"{options.run_dir}, rebalanced every {market.config.trading.rebalance}", ""),
        ("prices", f"{len(market.panel.tradable)} symbols to {last.date()}", ""),
        ("folder", str(options.folder), new),
    ]
    if options.journal_file.is_file():
        found = read_status(options)
        rows.append(("state", f"looked at {found['looked_at'] or 'nothing yet'}", found["halted"]))
    quotes = quotes_of(market.panel.until(last))
    other = quotes.index[(quotes["unit"] != "shares") & quotes.index.isin(market.panel.tradable)]
    if len(other):
        rows.append(("not traded", f"{len(other)} currency pairs", ", ".join(other[:5])))
    return rows + (_at_alpaca(market.names()) if options.venue == "alpaca" else [])


def _at_alpaca(names: Sequence[str]) -> list[tuple[str, str, str]]:
    """What the venue says of account, hours and symbols; asked for reading only."""
    from clusterfolio.engine.live.alpaca import AlpacaVenue

    venue = AlpacaVenue.from_environment(read_only=True)
    try:
        venue.connect(30.0)
        account, clock, known = venue.account(), venue.clock(), venue.assets(names)
    finally:
        venue.close()
    hours = f"open until {clock.next_close:%F %H:%M} UTC" if clock.is_open else f"opens {clock.next_open:%F %H:%M} UTC"
    out = [name for name in names if name not in known or not known[name].tradable]
    return [
        ("account", f"{account.id}, {account.equity:,.2f} {account.currency}, the stream listens", account.blocked),
        ("exchange", hours, ""),
        ("tradable", f"{len(names) - len(out)} of {len(names)} symbols", ", ".join(out[:10])),
    ]
