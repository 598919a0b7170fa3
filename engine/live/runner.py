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

from clusterfolio.engine.live.broker import Wanted
from clusterfolio.engine.live.deciding import Deciding
from clusterfolio.engine.live.journal_file import JournalError
from clusterfolio.engine.live.records import IntentState, Plan
from clusterfolio.engine.live.shaping import make_intents
from clusterfolio.engine.live.terms import Halted, State
from clusterfolio.engine.live.venue import ZERO, Clock, OrderState, Session, Unavailable, Unreadable


class Runner(Deciding):
    """The machine: which state follows which."""

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

    def _connect(self) -> State:
        halted = self.journal.state("halt")
        if halted is not None:
            raise Halted(halted["why"])
        self._heed_kill_file()
        return self._open()

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

    def _last_closed(self, clock: Clock) -> Session | None:
        past = self.venue.calendar(clock.now.date() - dt.timedelta(days=10), clock.now.date())
        return next((session for session in reversed(past) if session.closes <= clock.now), None)

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
        facts = {"cash": float(self.venue.account().cash), "aimed": dict.fromkeys(targets, 0.0)}
        self.journal.open_anew(Plan(key, session.day, decided, "open", targets, skipped, {}, facts), intents)
        self._tell("plan", session=key, orders=len(intents), skipped=skipped)
        self.state = State.IDLE
