"""Paper trading as a state machine; what it knows is in the journal, so it may die at any moment and be started again.

    connect -> reconcile -> idle -> warm up -> armed -> plan -> send -> settle -> verify -> idle
                                                                    any state -> halt

Every start begins with ``connect``, and nothing is sent before ``reconcile`` has found journal and venue to agree. What
cannot be explained halts, with the reason in the journal, until a person resumes. A venue that does not answer is no
reason to halt: the machine goes back to ``connect`` and waits.

Time, venue, journal and prices are passed in; a simulation drives them all from one seed.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from clusterfolio import ClusterfolioError
from clusterfolio.engine.live.broker import Wanted
from clusterfolio.engine.live.drift import Model, day_line
from clusterfolio.engine.live.journal import ALIVE, Intent, IntentState, Journal, JournalError, Plan, tag
from clusterfolio.engine.live.limits import Limits, broken, killed, too_stale
from clusterfolio.engine.live.planner import (
    STEP,
    Asked,
    Day,
    Shaped,
    ask_strategy,
    from_plain,
    make_intents,
    plain,
    record_of,
    rounded,
    shape,
    why_untradable,
)
from clusterfolio.engine.live.reconcile import Findings, Known, Seen, reconcile
from clusterfolio.engine.live.venue import (
    ZERO,
    Account,
    Asset,
    Clock,
    NotAccepted,
    OrderState,
    Session,
    Side,
    Timing,
    Unanswered,
    Unavailable,
    Unreadable,
    Venue,
    VenueOrder,
)
from clusterfolio.feeds.calendar import session_closes
from clusterfolio.strategies.policy import Policy

log = logging.getLogger(__name__)

#: A buy is sent where the money covers it with so much to spare: its price moves until it fills.
TO_SPARE = Decimal("1.01")

#: Seconds that a command that does what can be done now waits for a venue that takes no order yet.
SOON = 60.0

#: Why an order is not at the venue: it was sent, and the venue does not have it.
LOST = "it did not arrive"

#: Seconds before an open at which it is looked for once more.
BEFORE_OPEN = 60.0


class State(StrEnum):
    """Where the machine stands."""

    CONNECT = "connect"
    RECONCILE = "reconcile"
    IDLE = "idle"
    WARM_UP = "warm up"
    ARMED = "armed"
    PLAN = "plan"
    SEND = "send"
    SETTLE = "settle"
    VERIFY = "verify"
    HALT = "halt"


class Halted(ClusterfolioError):
    """Trading stops until a person has looked; the message says why."""


class Time(Protocol):
    """The time, and how it passes."""

    def now(self) -> dt.datetime:
        """Now, in UTC."""

    def wait(self, until: dt.datetime) -> None:
        """Come back at this moment or a little before."""


class Market(Protocol):
    """Where a day's prices and decisions come from: the run's own source, brought up to date."""

    calendar: str

    def day(self, session: dt.date) -> Day | None:
        """What is known at a session's close; None = its bars are not there yet."""

    def due(self, after: dt.date | None, session: dt.date) -> bool:
        """Whether a decision falls on a session, or fell after ``after`` and was missed; None = nothing was decided."""

    def policy_for(self, now: pd.Timestamp) -> Policy:
        """The policy that decides on a day."""

    def names(self) -> Sequence[str]:
        """Every symbol that may be held."""


@dataclass(frozen=True)
class Settings:
    """How it trades.

    Attributes:
        strategy: whose orders these are; part of every client id.
        when: "queue" = sent at once for the next open; "after_open" = sent ``open_delay`` seconds after it.
        opening: with "queue", put whole shares into the opening auction.
        close_guard: seconds before a close within which nothing is sent: what hangs must not fill another day.
        poll: seconds from one look at the orders to the next.
        retry: seconds before something that failed is tried again.
        tries: how often an answer that contradicts the journal is asked for again before it halts.
        patience: seconds to wait for a connection and its authenticated stream.
        bars_delay: seconds after the close at which the day's bars are first asked for; ``bars_retry``: and again.
        bars_guard: seconds before the next open at which a day whose bars are not all there is given up.
        rounds: how often what an order left missing is sent again within its session.
        adopt: count what the account holds beside the journal as ours.
    """

    strategy: str
    cash_buffer: float = 0.02
    fractional: bool = True
    limits: Limits = field(default_factory=Limits)
    when: str = "queue"
    opening: bool = True
    open_delay: float = 30.0
    close_guard: float = 300.0
    poll: float = 5.0
    retry: float = 15.0
    tries: int = 4
    patience: float = 30.0
    bars_delay: float = 1800.0
    bars_retry: float = 900.0
    bars_guard: float = 3600.0
    rounds: int = 3
    adopt: bool = False

    def __post_init__(self):
        if self.when not in ("queue", "after_open"):
            raise ValueError(f"when: got {self.when!r}, expected queue or after_open")


def _nobody(kind: str, facts: Mapping[str, Any]) -> None:
    """Nobody asked to be told."""


class Runner:
    """The machine.

    Args:
        notify: called with the kind of an event and its facts: halt, plan, order, day, wait, skipped ...
        kill_file: while it is there, no order is sent.
        dry: everything but writing: the journal is a copy in memory, and it stops where the first order would go.

    Attributes:
        state: where it stands.
        planned: of a dry run, the plan and the orders it would have sent.
    """

    def __init__(
        self,
        venue: Venue,
        journal: Journal,
        market: Market,
        time: Time,
        settings: Settings,
        *,
        kill_file: Path,
        notify: Callable[[str, Mapping[str, Any]], None] = _nobody,
        dry: bool = False,
    ):
        self.venue, self.market, self.time, self.settings = venue, market, time, settings
        self.journal = journal.copied() if dry else journal
        self.state = State.CONNECT
        self.planned: tuple[Plan, list[Intent]] | None = None
        self._kill_file, self._notify, self._dry = kill_file, notify, dry
        self._account = ""
        self._day: Day | None = None
        self._asked: tuple[Asked, Account, Clock] | None = None
        self._waited_for: dt.date | None = None
        self._patient = True
        self._looked_before: dt.datetime | None = None

    # Running

    def run(self, sessions: int | None = None, wait: bool = True) -> State:
        """Go on until something stops it.

        Args:
            sessions: return when so many closes were looked at; None = for ever.
            wait: whether to wait for the next open or close; False = do what can be done now, and return.

        Raises:
            Halted: a person has to look.
        """
        done, self._patient = 0, wait
        steps = {
            State.CONNECT: self._connect,
            State.RECONCILE: self._reconcile,
            State.WARM_UP: self._warm_up,
            State.ARMED: self._arm,
            State.PLAN: self._plan,
            State.SEND: self._send,
            State.SETTLE: self._settle,
            State.VERIFY: self._verify,
        }
        while True:
            try:
                if self.state is State.IDLE:
                    moment = self._idle()
                    if self.state is State.IDLE:
                        if not wait or (sessions is not None and done >= sessions):
                            return self.state
                        self.time.wait(moment)
                    continue
                before, looked = self.state, self.journal.looked_at()
                self.state = steps[before]()
                if self.state is State.SETTLE and not wait and self._before_open():
                    return self.state
                if self.journal.looked_at() != looked:
                    done += 1
                    if sessions is not None and done >= sessions:
                        return self.state
                if self._dry and self.planned is not None:
                    return self.state
            except Unavailable as error:
                self._tell("wait", why=str(error))
                self.state = State.CONNECT
                if not wait:
                    raise
                self._pause(error.retry_after or self.settings.retry)
            except (Halted, Unreadable, JournalError) as error:
                self._halt(str(error))

    def _halt(self, why: str) -> None:
        self.state = State.HALT
        if self.journal.state("halt") is None:
            self.journal.set_state("halt", {"at": self.time.now().isoformat(), "why": why})
            self._tell("halt", why=why)
        raise Halted(why)

    def _tell(self, kind: str, **facts: Any) -> None:
        log.info("%s: %s", kind, facts)
        self.journal.event(self.time.now(), kind, **facts)
        self._notify(kind, facts)

    def _pause(self, seconds: float) -> None:
        self.time.wait(self.time.now() + dt.timedelta(seconds=seconds))

    # Connect

    def _connect(self) -> State:
        halted = self.journal.state("halt")
        if halted is not None:
            raise Halted(halted["why"])
        self._heed_kill_file()
        return self._open()

    def _heed_kill_file(self) -> None:
        if killed(self._kill_file):
            raise Halted(f"kill file: {self._kill_file} is there; `paper resume` takes it away and goes on")

    def _open(self) -> State:
        self.venue.connect(self.settings.patience)
        account = self.venue.account()
        self._account = account.id
        self.journal.identify(venue=self.venue.name, account=account.id, strategy=self.settings.strategy)
        self._check_calendar(self.venue.clock())
        self._await_stream()
        return State.RECONCILE

    def _await_stream(self) -> None:
        """No order goes out while the stream of updates is not there; bounded."""
        deadline = self.time.now() + dt.timedelta(seconds=self.settings.patience)
        while not self.venue.stream_ready():
            if self.time.now() >= deadline:
                raise Unavailable("the stream of updates is not authenticated")
            self._pause(min(1.0, self.settings.patience))

    def _check_calendar(self, clock: Clock) -> None:
        """The venue's sessions beside those of exchange_calendars: one that only the venue has is not traded on."""
        first, last = clock.now.date() - dt.timedelta(days=4), clock.now.date() + dt.timedelta(days=8)
        theirs = {session.day: session.closes for session in self.venue.calendar(first, last)}
        closes = session_closes(self.market.calendar, pd.Timestamp(first), pd.Timestamp(last))
        known = {day.date(): moment.tz_localize("UTC").to_pydatetime() for day, moment in closes.items()}
        extra = sorted(set(theirs) - set(known))
        later = sorted(day for day in set(theirs) & set(known) if theirs[day] > known[day])
        if extra or later:
            day = (extra or later)[0]
            raise Halted(
                f"calendar: the venue is open on {day}, {self.market.calendar} "
                + ("is not" if extra else f"closes at {known[day]:%H:%M} UTC already, the venue at {theirs[day]:%H:%M}")
            )
        fewer = sorted(set(known) - set(theirs))
        if fewer and self.journal.state("closed") != [str(day) for day in fewer]:
            self.journal.set_state("closed", [str(day) for day in fewer])
            self._tell("calendar", why=f"the venue is closed on {fewer[0]}, a session of {self.market.calendar}")

    # Reconcile

    def _reconcile(self) -> State:
        found = self._agree()
        tries = 0
        while found.halt and tries < self.settings.tries:
            # Positions may lag behind fills, and an order may have arrived after it was given up.
            tries += 1
            self._pause(self.settings.poll)
            self._look_for_late_ones()
            found = self._agree()
        if found.halt and self.settings.adopt and len(found.halt) == len(found.adoptable):
            for symbol, quantity in found.adoptable.items():
                self._tell("adopted", symbol=symbol, quantity=str(quantity))
                self.journal.adopt(symbol, quantity, self.venue.clock().now.date())
            found = self._agree()
        if found.halt:
            raise Halted("; ".join(found.halt))
        return State.IDLE

    def _agree(self) -> Findings:
        """One look, and what follows from it carried out; what is a reason to halt is left as it is."""
        known, seen = self._look()
        found = reconcile(known, seen)
        for activity in found.activities:
            if self.journal.apply(activity):
                self._tell("activity", what=activity.kind.value, symbol=activity.symbol, day=str(activity.day),
                           quantity=str(activity.quantity), cash=str(activity.cash), text=activity.text)  # fmt: skip
        for order in found.book:
            self._book(order)
        for client_id in found.absent:
            self.journal.mark(client_id, IntentState.PLANNED, LOST)
        for order in found.cancel:
            self._tell("cancel", client_id=order.client_id, why="it could fill on another session than the planned one")
            self.venue.cancel(order)
        return found

    def _look(self) -> tuple[Known, Seen]:
        """Journal and venue at one moment: read again where an order filled in between."""
        plan = self.journal.open_plan()
        mark = tag(self._account, self.settings.strategy)
        since = self._first_day()
        for _ in range(5):
            account, open_orders = self.venue.account(), self.venue.open_orders()
            known_ids = {intent.client_id for intent in self.journal.alive()}
            late = [o.client_id for o in open_orders if o.client_id.startswith(mark) and o.client_id not in known_ids]
            for client_id in late:
                self._revive(client_id)
            alive = self.journal.alive()
            asked = [i.client_id for i in alive if i.state is not IntentState.PLANNED]
            orders = self._stated(asked)
            positions = self.venue.positions()
            activities = self.venue.activities(since)
            again = self._stated(asked)
            if orders == again:
                break
        names = {*self.market.names(), *self.journal.holdings()}
        known = Known(
            self.journal.holdings(), alive, {a.id for a in self.journal.activities(since - dt.timedelta(days=30))},
            None if plan is None else plan.session, names, mark,
        )  # fmt: skip
        return known, Seen(account, positions, open_orders, again, activities)

    def _stated(self, client_ids: Sequence[str]) -> dict[str, VenueOrder | None]:
        """What the venue says of these orders: most in one request, the others one by one."""
        if not client_ids:
            return {}
        since = min(self.journal.intent(client_id).session for client_id in client_ids) - dt.timedelta(days=7)
        moment = dt.datetime.combine(since, dt.time(), dt.UTC)
        found = {order.client_id: order for order in self.venue.orders(moment)}
        return {c: found[c] if c in found else self.venue.order_by_client_id(c) for c in client_ids}

    def _first_day(self) -> dt.date:
        """From when on activities are ours: the day of the first look, later a month back."""
        begun = self.journal.state("begun")
        if begun is None:
            begun = self.venue.clock().now.date().isoformat()
            self.journal.set_state("begun", begun)
        looked = self.journal.looked_at() or dt.date.fromisoformat(begun)
        return max(dt.date.fromisoformat(begun), looked - dt.timedelta(days=30))

    def _revive(self, client_id: str) -> None:
        """An order that was given up is open at the venue after all: it counts again, and is then cancelled in time."""
        intent = self.journal.intent(client_id)
        if intent is not None and intent.state not in ALIVE:
            self.journal.mark(client_id, IntentState.SENDING, "it arrived late")

    def _look_for_late_ones(self) -> None:
        since = self._first_day()
        for intent in self.journal.intents(since=max(since, self.venue.clock().now.date() - dt.timedelta(days=7))):
            if intent.state in (IntentState.DROPPED, IntentState.REFUSED, IntentState.PLANNED):
                order = self.venue.order_by_client_id(intent.client_id)
                if order is not None:
                    self.journal.mark(intent.client_id, IntentState.SENDING, "it arrived late")

    def _book(self, order: VenueOrder) -> None:
        day = order.session or self.venue.clock().now.date()
        more = self.journal.book(order, day)
        if more:
            self._tell("fill", symbol=order.symbol, side=order.side.value, quantity=str(more), of=str(order.quantity),
                       price=str(order.average_price))  # fmt: skip

    # Idle: what comes next

    def _idle(self) -> dt.datetime:
        """Set the next state, or stay and say until when."""
        clock = self.venue.clock()
        plan = self.journal.open_plan()
        if plan is not None:
            self.state = State.SEND
            return clock.now
        closed = self._last_closed(clock)
        looked = self.journal.looked_at()
        if closed is not None and (looked is None or looked < closed.day):
            ready = closed.closes + dt.timedelta(seconds=self.settings.bars_delay)
            if clock.now >= ready:
                self._waited_for = closed.day
                self.state = State.WARM_UP
            return ready
        if not clock.is_open and self._look_before_open(clock):
            self.state = State.RECONCILE
        return clock.next_close

    def _look_before_open(self, clock: Clock) -> bool:
        """Wait until just before the open, once, where an order of the last days was given up.

        It may have been on its way for hours and be queued by now: it is found and cancelled before it fills.
        """
        since = clock.now.date() - dt.timedelta(days=5)
        given_up = (IntentState.DROPPED, IntentState.REFUSED)  # whatever was said of it last
        lost = [
            i for i in self.journal.intents(since=since)
            if i.state in given_up or (i.state is IntentState.PLANNED and i.why)
        ]  # fmt: skip
        if not lost or self._looked_before == clock.next_open or not self._patient:
            return False
        self._looked_before = clock.next_open
        self.time.wait(clock.next_open - dt.timedelta(seconds=BEFORE_OPEN))
        return True

    def _last_closed(self, clock: Clock) -> Session | None:
        past = self.venue.calendar(clock.now.date() - dt.timedelta(days=10), clock.now.date())
        return next((session for session in reversed(past) if session.closes <= clock.now), None)

    # Warm up, armed, plan

    def _warm_up(self) -> State:
        """The day's bars; waits for them until shortly before the next open."""
        session = self._waited_for
        day = self.market.day(session)
        clock = self.venue.clock()
        limits = self.settings.limits
        incomplete = day is None or too_stale(len(day.stale), len(day.panel.tradable), limits)
        if incomplete:
            if clock.is_open or clock.now >= clock.next_open - dt.timedelta(seconds=self.settings.bars_guard):
                missing = (
                    "its bars are not there" if day is None else f"{len(day.stale)} symbols have no bar of the day"
                )
                names = () if day is None else day.stale[:20]
                self._tell("no rebalance", session=str(session), why=missing, missing=list(names))
                self.journal.decide(session, {}, None, ())
                return State.IDLE
            if not self._patient:
                raise Unavailable(f"{session}: not all of its bars are there yet")
            self._pause(self.settings.bars_retry)
            return State.CONNECT
        if day.stale:
            self._tell("stale", session=str(session), missing=list(day.stale))
        self._day = day
        self._reconcile()  # what was paid or split since is part of the day
        self._account_for(day)
        return State.ARMED

    def _arm(self) -> State:
        """Run the Strategy to the day's bar; the broker is armed on it only."""
        day = self._day
        unpriced = [s for s in self.journal.holdings() if s not in day.bars["close"] or day.closes[s] != day.closes[s]]
        if unpriced:
            raise Halted(f"{', '.join(sorted(unpriced))}: held, and the run's source has no prices of it")
        account, clock = self.venue.account(), self.venue.clock()
        found = self.journal.last_decision()
        decides = self.market.due(None if found is None else found[0], day.date)
        held = {s: (float(q), e) for s, q, e in self._held_now()}
        since, cash = None, float(account.cash)
        record = record_of(held, cash, (), (), {}, cash, day.date, {})
        decided = None
        if found is not None:
            since, facts = found
            decided = since, facts["weights"]
            fees = {client_id: float(fee) for client_id, fee in self.journal.fees(since).items()}
            then = self._as_of(facts, since)
            record = record_of(
                then, facts["cash"], self.journal.plans(since), self.journal.intents(since=since), fees,
                float(account.cash), day.date, from_plain(facts.get("carried", {})),
            )  # fmt: skip
        asked = ask_strategy(
            day, record, self.market.policy_for, decided, decides,
            cash_buffer=self.settings.cash_buffer, fractional=self.settings.fractional,
        )  # fmt: skip
        self._asked = asked, account, clock
        return State.PLAN

    def _held_now(self) -> list[tuple[str, Decimal, dt.date]]:
        entries = self.journal.entries()
        return [(symbol, quantity, entries[symbol]) for symbol, quantity in self.journal.holdings().items()]

    def _as_of(self, facts: Mapping[str, Any], since: dt.date) -> dict[str, tuple[float, dt.date]]:
        """What was held at the last decision, such that what filled since leads to what is held now.

        It is counted back from now: splits, renames and adoptions since then are so on today's share basis.
        """
        filled: dict[str, Decimal] = {}
        for intent in self.journal.intents(since=since):
            filled[intent.symbol] = filled.get(intent.symbol, ZERO) + intent.filled * intent.side.sign
        now, entries = self.journal.holdings(), self.journal.entries()
        then = {s: now.get(s, ZERO) - filled.get(s, ZERO) for s in {*now, *filled}}
        earlier = {s: dt.date.fromisoformat(e) for s, e in facts["entries"].items()}
        return {s: (float(q), earlier.get(s) or entries.get(s) or since) for s, q in sorted(then.items()) if q}

    def _plan(self) -> State:
        """Shape what the Strategy wants into orders, hold them against the limits, and journal decision and plan."""
        asked, account, clock = self._asked
        day, holdings = self._day, self.journal.holdings()
        session = self._next_session(clock)
        assets = self.venue.assets(sorted({*(w.symbol for w in asked.wanted), *asked.reasons, *holdings}))
        value = asked.value
        shaped = shape(asked.wanted, holdings, assets, value, day.stale, day.why_not)
        reasons = {s: why_untradable(s, assets, day.why_not) or why for s, why in asked.reasons.items()}
        skipped = {**reasons, **shaped.skipped}
        key = session.day.isoformat()
        intents = make_intents(
            shaped.legs, key, session.day, day.date, self._account, self.settings.strategy, 1,
            self.settings.opening and self.settings.when == "queue",
        )  # fmt: skip
        targets = {w.symbol: holdings.get(w.symbol, ZERO) + amount for w, amount in shaped.legs}
        self._hold_against_limits(intents, targets, holdings, day, Decimal(repr(value)), shaped)
        plan = None
        if intents or (skipped and asked.decision is not None):
            facts = {"value": value, "cash": float(account.cash), "wanted": {w.symbol: w.amount for w in asked.wanted},
                     "prices": {w.symbol: w.price for w in asked.wanted},
                     "held": {w.symbol: str(holdings.get(w.symbol, ZERO)) for w in asked.wanted}}  # fmt: skip
            plan = Plan(key, session.day, day.date, "open", targets, skipped, {}, facts)
        decision = self._decision(asked, account)
        if self._dry:
            self.planned = plan or Plan(key, session.day, day.date), intents
            return State.SEND
        if plan is not None and any(p.key == key for p in self.journal.plans(session.day - dt.timedelta(days=1))):
            raise Halted(f"there is a plan for {session.day} already")
        self.journal.decide(day.date, decision, plan, intents)
        self._tell("plan", session=key, decided=str(day.date), orders=len(intents), skipped=skipped)
        return State.SEND if plan is not None else State.IDLE

    def _decision(self, asked: Asked, account: Account) -> dict:
        if asked.decision is None:
            return {}
        entries = {symbol: str(day) for symbol, day in self.journal.entries().items()}
        weights = {str(name): float(weight) for name, weight in asked.target.items()}
        return {"weights": weights, "cash": float(account.cash), "value": asked.value, "entries": entries,
                "notes": list(asked.decision.notes), "carried": plain(asked.carried)}  # fmt: skip

    def _hold_against_limits(self, intents, targets, holdings, day: Day, value: Decimal, shaped: Shaped) -> None:
        closes = day.closes
        known = {s: Decimal(repr(float(closes[s]))) for s in {*targets, *holdings} if s in closes.index}
        stated = {p.symbol: p.price for p in self.venue.positions() if p.price is not None}
        found = broken(intents, targets, holdings, known, stated, value, shaped.untradable, self.settings.limits)
        if found:
            skipped = "; ".join(f"{name}: {why}" for name, why in shaped.skipped.items())
            raise Halted("limits: " + "; ".join(found) + (f" (skipped: {skipped})" if skipped else ""))

    def _next_session(self, clock: Clock) -> Session:
        sessions = self.venue.calendar(clock.now.date(), clock.now.date() + dt.timedelta(days=14))
        return next(s for s in sessions if s.closes - dt.timedelta(seconds=self.settings.close_guard) > clock.now)

    # Send, settle

    def _send(self) -> State:
        """Send what may go now, sales first; what has to wait stays planned."""
        plan = self.journal.open_plan()
        if self._dry:
            self.planned = plan, self.journal.intents(plan.key)
            return State.SEND
        waiting = [i for i in self.journal.intents(plan.key) if i.state is IntentState.PLANNED]
        money: Decimal | None = None
        again = False
        for intent in sorted(waiting, key=lambda i: i.side is Side.BUY):
            session = self._session(plan)
            now = self.venue.clock()
            if session is None or self._over(session, now):
                return State.VERIFY
            if not self._in_time(session, now):
                return State.SETTLE
            if intent.side is Side.BUY:
                money = self._money(plan) if money is None else money
                needed = intent.quantity * intent.price * TO_SPARE
                if needed > money and self._selling(plan):
                    continue
                if intent.quantity * intent.price > money:
                    self.journal.mark(intent.client_id, IntentState.REFUSED, "short of buying power")
                    continue
                money -= needed
            elif intent.quantity > self.journal.holdings().get(intent.symbol, ZERO):
                self.journal.mark(intent.client_id, IntentState.REFUSED, "more than is held: never sold short")
                continue
            self._send_one(intent, now)
            again |= self.journal.intent(intent.client_id).state is IntentState.PLANNED
        return State.SEND if again else State.SETTLE

    def _send_one(self, intent: Intent, clock: Clock) -> None:
        """Journal, then the socket; whatever is answered, the journal says where the order stands."""
        self._heed_kill_file()
        self._await_stream()
        request = intent.request
        if clock.is_open and request.timing is Timing.OPENING:
            request = replace(request, timing=Timing.DAY)
        self.journal.mark(intent.client_id, IntentState.SENDING)
        try:
            order = self.venue.submit(request)
        except NotAccepted as refusal:
            order = self.venue.order_by_client_id(intent.client_id)  # an earlier try may have arrived
            if order is None:
                self._refused(intent, refusal)
                return
        except Unanswered:
            order = self._look_up(intent)
            if order is None:
                self.journal.mark(intent.client_id, IntentState.PLANNED, LOST)
                return
        self._book(order)
        self._tell("order", symbol=intent.symbol, side=intent.side.value, quantity=str(intent.quantity),
                   client_id=intent.client_id)  # fmt: skip

    def _refused(self, intent: Intent, refusal: NotAccepted) -> None:
        if refusal.final:
            self.journal.mark(intent.client_id, IntentState.REFUSED, str(refusal))
            self._tell("refused", symbol=intent.symbol, why=str(refusal))
            return
        self.journal.mark(intent.client_id, IntentState.PLANNED, str(refusal))
        seconds = refusal.retry_after or self.settings.retry
        if seconds > SOON and not self._patient:
            raise Unavailable(str(refusal), retry_after=seconds)
        self._pause(seconds)

    def _look_up(self, intent: Intent) -> VenueOrder | None:
        """Whether an order that was not answered is there; asked several times, as it may be on its way."""
        for _ in range(self.settings.tries):
            order = self.venue.order_by_client_id(intent.client_id)
            if order is not None:
                return order
            self._pause(self.settings.poll)
        return None

    def _money(self, plan: Plan) -> Decimal:
        """What may be spent now: cash that no open buy waits for; what the venue would lend is left alone."""
        account = self.venue.account()
        buys = [i for i in self.journal.intents(plan.key) if i.side is Side.BUY and i.state is IntentState.SENT]
        promised = sum((i.remaining * i.price for i in buys), ZERO)
        return min(account.buying_power, account.cash - promised)

    def _selling(self, plan: Plan) -> bool:
        """Whether a sale of the plan may still bring money."""
        return any(i.side is Side.SELL and i.state in ALIVE for i in self.journal.intents(plan.key))

    def _session(self, plan: Plan) -> Session | None:
        found = self.venue.calendar(plan.session, plan.session)
        return found[0] if found else None

    def _over(self, session: Session, clock: Clock) -> bool:
        return clock.now >= session.closes - dt.timedelta(seconds=self.settings.close_guard)

    def _in_time(self, session: Session, clock: Clock) -> bool:
        """Whether an order sent now fills on this session and no other."""
        if clock.is_open:
            delay = self.settings.open_delay if self.settings.when == "after_open" else 0.0
            return session.opens + dt.timedelta(seconds=delay) <= clock.now < session.closes
        # Closed, and no session comes before ours: what is queued now waits for its open.
        return self.settings.when == "queue" and clock.next_open == session.opens

    def _before_open(self) -> bool:
        """Whether everything that can be sent now is sent, and waits for its session."""
        plan = self.journal.open_plan()
        session = None if plan is None else self._session(plan)
        return session is not None and self.venue.clock().now < session.opens

    def _settle(self) -> State:
        """Follow the orders until nothing can fill any more, or something more can be sent."""
        plan = self.journal.open_plan()
        session, clock = self._session(plan), self.venue.clock()
        asked = [i for i in self.journal.intents(plan.key) if i.state in (IntentState.SENT, IntentState.SENDING)]
        for order in self._stated([intent.client_id for intent in asked]).values():
            if order is None:
                return State.RECONCILE
            self._book(order)
        intents = self.journal.intents(plan.key)
        waiting = any(i.state is IntentState.PLANNED for i in intents)
        if session is None or clock.now >= session.closes or not any(i.state in ALIVE for i in intents):
            return State.VERIFY
        if waiting and self._over(session, clock) and not any(i.state is IntentState.SENT for i in intents):
            return State.VERIFY
        if not clock.is_open and clock.now < session.opens and self._look_before_open(clock):
            return State.RECONCILE
        if not clock.is_open and clock.now < session.opens:
            delay = self.settings.open_delay if self.settings.when == "after_open" else 0.0
            self.time.wait(session.opens + dt.timedelta(seconds=delay))
            return State.RECONCILE  # overnight there may have been a split
        self.venue.updates(0.0)
        self._pause(self.settings.poll)
        return State.SEND if waiting else State.SETTLE

    # Verify

    def _verify(self) -> State:
        """Take the difference again: send what is missing while the session runs, else name it."""
        self._reconcile()
        self.journal.execute(self._named(self.venue.executions(self._executions_since())))
        plan = self.journal.open_plan()
        session, clock = self._session(plan), self.venue.clock()
        late = [i for i in self.journal.intents(plan.key) if i.state in (IntentState.SENDING, IntentState.SENT)]
        if late:
            if session is not None and clock.now < session.closes + dt.timedelta(seconds=self.settings.retry):
                self._pause(self.settings.poll)
                return State.SETTLE
            for intent in late:
                order = self.venue.order_by_client_id(intent.client_id)
                if order is None:
                    self.journal.mark(intent.client_id, IntentState.DROPPED, LOST)
                elif order.state is OrderState.OPEN:
                    self.venue.cancel(order)
            self._pause(self.settings.poll)
            return State.VERIFY
        missing = self._missing(plan)
        if missing and session is not None and clock.is_open and not self._over(session, clock):
            legs = self._once_more(plan, missing)
            if legs:
                self.journal.add(legs)
                return State.SEND
        residue = {symbol: self._why(plan, symbol, amount) for symbol, amount in missing.items()}
        never = not any(i.state is IntentState.DONE for i in self.journal.intents(plan.key)) and bool(plan.targets)
        self.journal.finish(plan, "dropped" if never and residue else "done", residue)
        self._tell("settled", session=plan.key, residue=residue, skipped=dict(plan.skipped))
        return State.IDLE

    def _executions_since(self) -> dt.datetime:
        last = self.journal.last_execution()
        return last - dt.timedelta(days=1) if last else dt.datetime.combine(self._first_day(), dt.time(), dt.UTC)

    def _named(self, executions):
        """Ours, with the client id where the venue names an order by its own id only."""
        ours = {i.venue_id: i.client_id for i in self.journal.intents(since=self._first_day() - dt.timedelta(days=1))}
        mark = tag(self._account, self.settings.strategy)
        for execution in executions:
            client_id = execution.client_id or ours.get(execution.venue_id, "")
            if client_id.startswith(mark):
                yield replace(execution, client_id=client_id)

    def _missing(self, plan: Plan) -> dict[str, Decimal]:
        """Signed shares that targets and holdings differ by."""
        holdings = self.journal.holdings()
        found = {symbol: target - holdings.get(symbol, ZERO) for symbol, target in plan.targets.items()}
        return {symbol: amount for symbol, amount in found.items() if abs(amount) >= STEP}

    def _once_more(self, plan: Plan, missing: Mapping[str, Decimal]) -> list[Intent]:
        intents = self.journal.intents(plan.key)
        round_ = 1 + max((int(i.leg[1]) for i in intents), default=0)
        if round_ > self.settings.rounds:
            return []
        assets = self.venue.assets(sorted(missing))
        prices = {i.symbol: i.average or i.price for i in intents}
        money, legs = self._money(plan), []
        selling = any(amount < 0 for amount in missing.values())
        for symbol, amount in sorted(missing.items(), key=lambda item: item[1] > 0):
            asset: Asset | None = assets.get(symbol)
            if asset is None or not asset.tradable or symbol not in prices:
                continue
            price = prices[symbol] / Decimal(plan.facts.get("splits", {}).get(symbol, "1"))
            if amount > 0 and not selling:
                amount = min(amount, money / (price * TO_SPARE))
            amount = rounded(amount, self.journal.holdings().get(symbol, ZERO), asset)
            if amount and abs(amount) * price >= asset.min_notional:
                money -= max(amount, ZERO) * price * TO_SPARE
                legs.append((Wanted(symbol, float(amount), float(price), "what was left missing"), amount))
        return make_intents(
            legs, plan.key, plan.session, plan.decided, self._account, self.settings.strategy, round_, False
        )

    def _why(self, plan: Plan, symbol: str, amount: Decimal) -> str:
        said = [i.why for i in self.journal.intents(plan.key) if i.symbol == symbol and i.why]
        return f"{amount} shares short of the target: {said[-1] if said else 'its session is over'}"

    # The daily line

    def _account_for(self, day: Day) -> None:
        """The day's line of model against account, for every session since the last."""
        account = self.venue.account()
        self.journal.execute(self._named(self.venue.executions(self._executions_since())))
        model = Model.of(self.journal, day.date, account)
        line, model = day_line(self.journal, model, day, account)
        self.journal.add_day(day.date, line, model.plain())
        self._tell("day", **line)

    # By hand

    def reconcile(self) -> None:
        """Journal and venue side by side, also while it is halted.

        Raises:
            Halted: they do not agree.
        """
        self._open()
        self._reconcile()

    def flatten(self) -> None:
        """Give up what is planned, cancel what is open, and plan to sell everything that is ours; ``run`` sells it."""
        self.state = self._connect()
        self.state = self._reconcile()
        plan = self.journal.open_plan()
        if plan is not None:
            for intent in self.journal.intents(plan.key):
                if intent.state is IntentState.SENT:
                    order = self.venue.order_by_client_id(intent.client_id)
                    if order is not None and order.state is OrderState.OPEN:
                        self.venue.cancel(order)
            self._reconcile()
            self.journal.finish(plan, "dropped", {symbol: "flattened" for symbol in self._missing(plan)})
        holdings = self.journal.holdings()
        clock = self.venue.clock()
        session = self._next_session(clock)
        prices = {p.symbol: p.price or ZERO for p in self.venue.positions()}
        assets = self.venue.assets(sorted(holdings))
        wanted = [Wanted(s, -float(q), float(prices.get(s, ZERO)), "flatten") for s, q in sorted(holdings.items())]
        legs = [(w, -holdings[w.symbol]) for w in wanted if w.symbol in assets and assets[w.symbol].tradable]
        skipped = {
            w.symbol: "the venue does not trade it now" for w in wanted if w.symbol not in {x.symbol for x, _ in legs}
        }
        if not legs:
            self.state = State.IDLE
            return
        number = sum(plan.key.startswith(session.day.isoformat()) for plan in self.journal.plans())
        key = f"{session.day.isoformat()}-{number}-flatten"
        decided = clock.now.date()
        intents = make_intents(legs, key, session.day, decided, self._account, self.settings.strategy, 1, False)
        targets = {w.symbol: ZERO for w, _ in legs}
        facts = {"cash": float(self.venue.account().cash)}
        self.journal.open_anew(Plan(key, session.day, decided, "open", targets, skipped, {}, facts), intents)
        self._tell("plan", session=key, orders=len(intents), skipped=skipped)
        self.state = State.IDLE
