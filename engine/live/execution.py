"""From a plan to its positions: send what may go now, follow it, take the difference again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from clusterfolio.engine.live.broker import Wanted
from clusterfolio.engine.live.desk import LOST, Desk
from clusterfolio.engine.live.records import ALIVE, Intent, IntentState, Plan, tag
from clusterfolio.engine.live.shaping import STEP, make_intents, rounded
from clusterfolio.engine.live.terms import State
from clusterfolio.engine.live.venue import (
    ZERO,
    Asset,
    Clock,
    NotAccepted,
    OrderState,
    Session,
    Side,
    Timing,
    Unanswered,
    Unavailable,
    VenueOrder,
)

#: A buy is sent where the money covers it with so much to spare: its price moves until it fills.
TO_SPARE = Decimal("1.01")

#: Seconds that a command that does what can be done now waits for a venue that takes no order yet.
SOON = 60.0

#: Seconds before an open at which it is looked for once more.
BEFORE_OPEN = 60.0


class Execution(Desk):
    """The states send, settle and verify."""

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
