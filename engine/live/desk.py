"""What every step of paper trading rests on: a connection that is the right one, and a journal that agrees with it."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from clusterfolio.engine.live.journal import Journal
from clusterfolio.engine.live.limits import killed
from clusterfolio.engine.live.planner import Asked, Day
from clusterfolio.engine.live.reconcile import Findings, Known, Seen, reconcile
from clusterfolio.engine.live.records import ALIVE, Intent, IntentState, Plan, tag
from clusterfolio.engine.live.terms import Halted, Market, Settings, State, Time
from clusterfolio.engine.live.venue import Account, Clock, Unavailable, Venue, VenueOrder
from clusterfolio.feeds.calendar import session_closes

log = logging.getLogger(__name__)

#: Why an order is not at the venue: it was sent, and the venue does not have it.
LOST = "it did not arrive"


def _nobody(kind: str, facts: Mapping[str, Any]) -> None:
    """Nobody asked to be told."""


class Desk:
    """Venue, journal, prices and time, and what is asked of them at every start.

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

    def _tell(self, kind: str, **facts: Any) -> None:
        log.info("%s: %s", kind, facts)
        self.journal.event(self.time.now(), kind, **facts)
        self._notify(kind, facts)

    def _pause(self, seconds: float) -> None:
        self.time.wait(self.time.now() + dt.timedelta(seconds=seconds))

    # Connect

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
