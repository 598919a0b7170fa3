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
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from clusterfolio.engine.live.broker import Wanted
from clusterfolio.engine.live.drift import Sizing, day_line
from clusterfolio.engine.live.execution import Execution
from clusterfolio.engine.live.journal_file import JournalError
from clusterfolio.engine.live.limits import broken, too_stale
from clusterfolio.engine.live.planner import (
    Asked,
    Day,
    ask_strategy,
    from_plain,
    plain,
    record_of,
)
from clusterfolio.engine.live.records import IntentState, Plan
from clusterfolio.engine.live.shaping import Shaped, assets_of, make_intents, shape, why_untradable, within_means
from clusterfolio.engine.live.terms import Halted, State
from clusterfolio.engine.live.venue import ZERO, Account, Clock, OrderState, Session, Unavailable, Unreadable


class Runner(Execution):
    """The machine: which state follows which, and what is decided at a close."""

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
        assets = self.venue.assets(assets_of(asked, holdings))
        value = asked.value
        wanted, cut = within_means(
            asked, holdings, assets, day, float(account.cash),
            cash_buffer=self.settings.cash_buffer, fractional=self.settings.fractional,
        )  # fmt: skip
        shaped = shape(wanted, holdings, assets, value, day.stale, day.why_not)
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
        if intents or asked.aimed or (skipped and asked.decision is not None):
            facts = {"value": value, "cash": float(account.cash), "cut": cut, "untradable": shaped.untradable}
            if asked.aimed:
                facts["aimed"] = dict(asked.aimed)
            plan = Plan(key, session.day, day.date, "open", targets, skipped, {}, facts)
        decision = self._decision(asked, account, session)
        if self._dry:
            self.planned = plan or Plan(key, session.day, day.date), intents
            return State.SEND
        if plan is not None and any(p.key == key for p in self.journal.plans(session.day - dt.timedelta(days=1))):
            raise Halted(f"there is a plan for {session.day} already")
        self.journal.decide(day.date, decision, plan, intents)
        self._tell("plan", session=key, decided=str(day.date), orders=len(intents), skipped=skipped, cut=cut)
        return State.SEND if plan is not None else State.IDLE

    def _decision(self, asked: Asked, account: Account, session: Session) -> dict:
        if asked.decision is None:
            return {}
        entries = {symbol: str(day) for symbol, day in self.journal.entries().items()}
        weights = {str(name): float(weight) for name, weight in asked.target.items()}
        return {"weights": weights, "cash": float(account.cash), "value": asked.value, "entries": entries,
                "notes": list(asked.decision.notes), "carried": plain(asked.carried),
                "session": str(session.day)}  # fmt: skip

    def _hold_against_limits(self, intents, targets, holdings, day: Day, value: Decimal, shaped: Shaped) -> None:
        closes = day.closes
        known = {s: Decimal(repr(float(closes[s]))) for s in {*targets, *holdings} if s in closes.index}
        stated = {p.symbol: p.price for p in self.venue.positions() if p.price is not None}
        stated |= self.venue.prices({i.symbol for i in intents})
        found = broken(intents, targets, holdings, known, stated, value, sum(shaped.untradable.values()),
                       self.settings.limits)  # fmt: skip
        if found:
            skipped = "; ".join(f"{name}: {why}" for name, why in shaped.skipped.items())
            raise Halted("limits: " + "; ".join(found) + (f" (skipped: {skipped})" if skipped else ""))

    def _next_session(self, clock: Clock) -> Session:
        sessions = self.venue.calendar(clock.now.date(), clock.now.date() + dt.timedelta(days=14))
        return next(s for s in sessions if s.closes - dt.timedelta(seconds=self.settings.close_guard) > clock.now)

    # The daily line

    def _account_for(self, day: Day) -> None:
        """The day's line of model against account, for every session since the last."""
        account = self.venue.account()
        self.journal.execute(self._named(self.venue.executions(self._executions_since())))
        if self.journal.accounted_for(day.date):
            return  # the process died after it
        sizing = Sizing(self.settings.cash_buffer, self.settings.fractional)
        line, standing = day_line(self.journal, day, account, sizing)
        self.journal.add_day(day.date, line, standing.plain())
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
        facts = {"cash": float(self.venue.account().cash), "aimed": dict.fromkeys(targets, 0.0)}
        self.journal.open_anew(Plan(key, session.day, decided, "open", targets, skipped, {}, facts), intents)
        self._tell("plan", session=key, orders=len(intents), skipped=skipped)
        self.state = State.IDLE
