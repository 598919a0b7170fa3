"""Thousands of days of paper trading in one process: venue, network, clock and crashes from one seed.

    python -m tests.engine.live.simulation --days 2000 --seed 1

Two lists: after the faults of the first the target is reached; those of the second halt, and a person who comes the
next morning puts them right. A crash drops everything the runner holds in memory, before or after any commit of the
journal and any call of the venue; the journal's file and the venue go on. Counts by fault are printed; the same seed
replays the same days. It exits with 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from clusterfolio.engine.live.journal import Journal
from clusterfolio.engine.live.records import IntentState
from clusterfolio.engine.live.runner import Runner
from clusterfolio.engine.live.terms import Halted
from clusterfolio.engine.live.venue import (
    NotAccepted,
    OrderState,
    Session,
    Side,
    Unanswered,
    Unavailable,
    Unreadable,
    VenueOrder,
    VenuePosition,
)
from tests.engine.live.worlds import VenueTime, World, local_venue, settings

#: Chance of each fault where it can happen. After all of them the target must be reached.
RECOVERABLE = {
    "crash": 0.004,
    "read fails": 0.01,
    "too many requests": 0.01,
    "refused for now": 0.02,
    "not answered, not taken": 0.02,
    "not answered, taken": 0.04,
    "arrives late": 0.02,
    "stream is away": 0.01,
    "positions lag": 0.02,
    "venue is down": 0.001,
    "fills in parts": 0.10,
    "fills withheld": 0.05,
    "cancelled in part": 0.04,
    "updates repeated, mixed or lost": 0.2,
    "venue ids used twice": 1.0,
}


#: Chance of each at a connection. Each of them must halt, by name, and nothing else may.
UNRECOVERABLE = {
    "a foreign position": "are not ours",
    "a position that is gone": "no activity of the venue says why",
    "a foreign order": "a foreign order",
    "an order stated otherwise": "the venue has",
    "a blocked account": "has blocked account",
    "a session of the venue alone": "calendar: the venue is open on",
    "an answer that is not understood": "not understood",
}
STRIKES = 0.002


class Crash(BaseException):
    """The process dies here."""


class Fate:
    """What goes wrong when, from one seed; counts it."""

    def __init__(self, seed: int, chances=None):
        self.random = random.Random(seed)
        self.chances = {**RECOVERABLE, **dict.fromkeys(UNRECOVERABLE, STRIKES)} if chances is None else dict(chances)
        self.counts: Counter = Counter()
        self.on = True

    def strikes(self, fault: str) -> bool:
        chance = self.chances.get(fault, 0.0)
        if not self.on or not chance or self.random.random() >= chance:
            return False
        self.counts[fault] += 1
        return True

    def boundary(self) -> None:
        if self.strikes("crash"):
            raise Crash


class CrashingJournal(Journal):
    """A journal whose process may die before and after every commit."""

    fate: Fate

    @contextmanager
    def _write(self, what):
        self.fate.boundary()
        with super()._write(what) as db:
            yield db
        self.fate.boundary()


class FaultyVenue:
    """A local venue behind a bad network, whose own behaviour is bad too."""

    name = "local"

    def __init__(self, inner, fate: Fate):
        self.inner, self.fate = inner, fate
        self.on_the_way: list[tuple[dt.datetime, object]] = []
        self.down_until = self.away_until = inner.now
        self.old_positions: tuple[dt.datetime, list] | None = None
        self.trouble = ""  # of the second list
        self.submitted: Counter = Counter()  # by client id: how often the venue was given an order it had already

    def _asked(self) -> None:
        self.fate.boundary()
        self.arrive()
        if self.fate.strikes("venue is down"):
            self.down_until = self.inner.now + dt.timedelta(minutes=self.fate.random.choice([5, 30, 120]))
        if self.inner.now < self.down_until:
            raise Unavailable("connection refused")

    def _read(self, answer):
        self._asked()
        if self.fate.strikes("read fails"):
            raise Unavailable("timed out")
        if self.fate.strikes("too many requests"):
            raise Unavailable("429", retry_after=10.0)
        found = answer()
        self.fate.boundary()
        return found

    def arrive(self) -> None:
        """Orders that were on their way arrive."""
        due = [item for item in self.on_the_way if item[0] <= self.inner.now]
        self.on_the_way = [item for item in self.on_the_way if item[0] > self.inner.now]
        for _, request in due:
            self._give(request)

    def _give(self, request):
        if self.inner.order_by_client_id(request.client_id) is not None:
            self.submitted[request.client_id] += 1
        try:
            return self.inner.submit(request)
        except NotAccepted as error:
            return error

    def connect(self, timeout):
        self._asked()
        if not self.trouble:
            self.trouble = next((fault for fault in UNRECOVERABLE if self.fate.strikes(fault)), "")
        self.inner.connect(timeout)

    def close(self):
        pass

    def stream_ready(self):
        self.fate.boundary()
        if self.fate.strikes("stream is away"):
            self.away_until = self.inner.now + dt.timedelta(seconds=self.fate.random.choice([5, 20, 300]))
        return self.inner.now >= self.away_until and self.inner.stream_ready()

    def clock(self):
        if self.trouble == "an answer that is not understood":
            raise Unreadable("clock: got 'noon', not understood")
        return self._read(self.inner.clock)

    def calendar(self, first, last):
        found = self._read(lambda: self.inner.calendar(first, last))
        sunday = next(d for d in (self.inner.now.date() + dt.timedelta(days=n) for n in range(7)) if d.weekday() == 6)
        if self.trouble == "a session of the venue alone" and first <= sunday <= last:
            noon = dt.datetime.combine(sunday, dt.time(12), dt.UTC)
            found = sorted([*found, Session(sunday, noon, noon + dt.timedelta(hours=4))], key=lambda s: s.day)
        return found

    def account(self):
        blocked = "for a reason" if self.trouble == "a blocked account" else ""
        return replace(self._read(self.inner.account), blocked=blocked)

    def positions(self):
        found = self._stated_positions()
        if self.trouble == "a position that is gone":
            return found[1:]
        others = [VenuePosition("S5", Decimal(1_000_000))] if self.trouble == "a foreign position" else []
        return [p for p in found if p.symbol not in {other.symbol for other in others}] + others

    def _stated_positions(self):
        if self.old_positions is not None and self.inner.now < self.old_positions[0]:
            return self._read(lambda: self.old_positions[1])
        if self.fate.strikes("positions lag"):
            self.old_positions = self.inner.now + dt.timedelta(seconds=700), self.inner.positions()
        return self._read(self.inner.positions)

    def _ids(self, order):
        """Of a venue that gives every order the same: ids are of no use to know one by."""
        self.fate.counts["venue ids used twice"] += order is not None
        if order is None:
            return None
        more = 1 if self.trouble == "an order stated otherwise" else 0
        return replace(order, venue_id="1", quantity=order.quantity + more)

    def open_orders(self):
        foreign = VenueOrder("theirs", "2", "S0", Side.BUY, Decimal(3), Decimal(0), OrderState.OPEN)
        others = [foreign] if self.trouble == "a foreign order" else []
        return others + self._read(lambda: [self._ids(o) for o in self.inner.open_orders()])

    def orders(self, since):
        return self._read(lambda: [self._ids(o) for o in self.inner.orders(since)])

    def order_by_client_id(self, client_id):
        return self._read(lambda: self._ids(self.inner.order_by_client_id(client_id)))

    def executions(self, since):
        found = self._read(lambda: self.inner.executions(since))
        return [*found, *found[-1:]]  # repeated

    def activities(self, since):
        return self._read(lambda: self.inner.activities(since))

    def assets(self, symbols):
        return self._read(lambda: self.inner.assets(symbols))

    def prices(self, symbols):
        return self._read(lambda: self.inner.prices(symbols))

    def updates(self, wait):
        found = self.inner.updates(wait)
        if self.fate.strikes("updates repeated, mixed or lost"):
            found = [*found, *found][self.fate.random.randint(0, 3) :]
            self.fate.random.shuffle(found)
        return found

    def cancel(self, order):
        self._asked()
        if self.fate.strikes("read fails"):
            raise Unavailable("timed out")
        self.inner.cancel(order)

    def submit(self, request):
        self._asked()
        if self.fate.strikes("refused for now"):
            raise NotAccepted("try again", final=False, retry_after=5.0)
        if self.fate.strikes("too many requests"):
            raise NotAccepted("429", final=False, retry_after=10.0)
        if self.fate.strikes("not answered, not taken"):
            raise Unanswered("504")
        if self.fate.strikes("arrives late"):
            late = dt.timedelta(seconds=self.fate.random.choice([30, 300, 1200, 3600 * 7]))
            self.on_the_way.append((self.inner.now + late, request))
            raise Unanswered("timed out")
        found = self._give(request)
        self.fate.boundary()
        if isinstance(found, NotAccepted):
            raise found
        if self.fate.strikes("not answered, taken"):
            raise Unanswered("504 after accept")
        return self._ids(found)

    # How it fills

    def fill(self, order, at):
        fate = self.fate
        if not fate.on:
            return Decimal(1)
        if fate.strikes("fills withheld"):
            return Decimal(0)
        if fate.strikes("cancelled in part"):
            return Decimal(-1)
        if fate.strikes("fills in parts"):
            return Decimal(fate.random.choice(["0.1", "0.3", "0.7"]))
        return Decimal(1)


class BadTime(VenueTime):
    """Time at the bad venue: what was withheld is tried again, and what was on its way arrives."""

    def __init__(self, faulty: FaultyVenue, stop: dt.datetime):
        super().__init__(faulty.inner)
        self.faulty, self.stop = faulty, stop

    def wait(self, until):
        self.faulty.fate.boundary()
        if self.venue.now >= self.stop:
            raise Stop
        for moment in sorted({*(m for m, _ in self.faulty.on_the_way if m < until), until}):
            self.venue.advance(max(moment, self.venue.now))
            self.faulty.arrive()
        clock = self.venue.clock()
        if clock.is_open:
            self.venue.pulse(clock.next_close.date())


class Stop(BaseException):
    """The simulation ends here."""


@dataclass
class Told:
    """What a simulation came to."""

    days: int
    orders: int = 0
    crashes: int = 0
    faults: Counter = field(default_factory=Counter)
    reached: int = 0
    named: int = 0
    dropped: int = 0
    halts: list[str] = field(default_factory=list)  # without a fault of the second list
    stopped: Counter = field(default_factory=Counter)  # by a fault of the second list, each by its reason
    doubled: int = 0
    refused_twins: int = 0
    seconds: float = 0.0
    digest: str = ""
    problems: list[str] = field(default_factory=list)


def simulate(days: int, seed: int, folder: Path, chances=None, **more) -> Told:
    """So many sessions with faults; the runner is started anew after every crash, and resumed after every halt."""
    began = time.process_time()
    fate = Fate(seed, chances)
    world = World(n_days=days, seed=seed, start="2015-01-02", every=1)
    inner = local_venue(world, folder / "venue.sqlite")
    faulty = FaultyVenue(inner, fate)
    inner._filler = faulty.fill
    told = Told(days)
    stop = world.days[world.start + days]
    clock = BadTime(faulty, stop.to_pydatetime().replace(tzinfo=dt.UTC) + dt.timedelta(hours=1))
    CrashingJournal.fate = fate
    while True:
        try:
            fate.on = False
            journal = CrashingJournal(folder / "journal.sqlite", durable=False)
            if (halt := journal.state("halt")) is not None:
                if faulty.trouble and UNRECOVERABLE[faulty.trouble] in halt["why"]:
                    told.stopped[faulty.trouble] += 1
                else:
                    told.halts.append(halt["why"])
                faulty.trouble = ""
                journal.set_state("halt", None)
            fate.on = True
            runner = Runner(faulty, journal, world, clock, settings(**more), kill_file=folder / "KILL")
            runner.run()
        except Crash:
            told.crashes += 1
        except Halted:
            # A person comes on the next morning.
            fate.on = False
            inner.advance(inner.now + dt.timedelta(hours=1))
            faulty.arrive()
        except Stop:
            break
        finally:
            journal.close()
    fate.on = False
    _judge(told, journal_of(folder), inner, faulty)
    told.faults, told.seconds = fate.counts, time.process_time() - began
    return told


def journal_of(folder: Path) -> Journal:
    return Journal(folder / "journal.sqlite", durable=False)


def _judge(told: Told, journal: Journal, inner, faulty: FaultyVenue) -> None:
    """Hold the journal against the venue, order by order and day by day; the venue's own file is the reference."""
    orders = inner.orders(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
    told.orders = len(orders)
    intents = {intent.client_id: intent for intent in journal.intents()}
    for order in orders:
        intent = intents.get(order.client_id)
        if intent is None:
            told.doubled += 1
            told.problems.append(f"the venue has {order.client_id}, the journal has not")
        elif order.session != intent.session and order.filled:
            told.problems.append(f"{order.client_id} filled on {order.session}, planned for {intent.session}")
    # One order per intent, and of one leg of one decision there is one intent.
    legs = Counter((i.plan, i.symbol, i.leg) for i in intents.values())
    told.doubled += sum(count - 1 for count in legs.values())
    told.refused_twins = sum(faulty.submitted.values())
    filled: dict[str, Decimal] = {}
    for order in orders:
        filled[order.symbol] = filled.get(order.symbol, Decimal(0)) + order.filled * order.side.sign
    at_venue = {p.symbol: p.quantity for p in inner.positions()}
    if {s: q for s, q in filled.items() if q} != at_venue:
        told.problems.append("the venue's positions are not its fills")
    alive = [i for i in intents.values() if i.state in (IntentState.SENT, IntentState.SENDING)]
    if not alive and journal.holdings() != at_venue:
        told.problems.append(f"journal {journal.holdings()}, venue {at_venue}")
    # The target of every plan, from the venue's own fills alone.
    held: dict[str, Decimal] = {}
    by_session: dict[dt.date, list] = {}
    for order in orders:
        by_session.setdefault(order.session, []).append(order)
    done = [plan for plan in journal.plans() if plan.status != "open"]
    for plan in done:
        for order in by_session.get(plan.session, ()):
            held[order.symbol] = held.get(order.symbol, Decimal(0)) + order.filled * order.side.sign
        off = {s for s, target in plan.targets.items() if held.get(s, Decimal(0)) != target}
        if off - set(plan.residue):
            told.problems.append(f"{plan.key}: {off - set(plan.residue)} off its target, not named")
        told.dropped += plan.status == "dropped"
        told.named += plan.status == "done" and bool(off)
        told.reached += not off
    told.digest = str(hash(tuple((o.client_id, str(o.filled), o.state.value) for o in orders)))
    if any(o.state is OrderState.OPEN and o.session is None for o in orders):
        told.problems.append("an order without a session")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        told = simulate(given.days, given.seed, Path(folder))
    print(
        f"{told.days} days, seed {given.seed}: {told.orders} orders at the venue, {told.doubled} doubled, "
        f"{told.refused_twins} twins refused by the venue, {told.crashes} crashes, {told.seconds:.0f} s of CPU"
    )
    print(f"plans: {told.reached} reached their target, {told.named} short of it by name, {told.dropped} dropped")
    print(f"halts without a reason of the second list: {len(told.halts)}", *told.halts[:20], sep="\n   ")
    for fault in RECOVERABLE:
        print(f"  {told.faults[fault]:6}  {fault}")
    print(
        f"faults after which it halts, by name: {told.stopped.total()} of {sum(told.faults[f] for f in UNRECOVERABLE)}"
    )
    for fault in UNRECOVERABLE:
        print(f"  {told.stopped[fault]:6} of {told.faults[fault]}  {fault}")
    print("problems:", told.problems[:10] or "none")
    sys.exit(bool(told.problems or told.doubled or len(told.halts) > 0.01 * told.days))


if __name__ == "__main__":
    main()
