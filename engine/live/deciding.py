"""What is decided at a close: the day's bars, its line, the Strategy run to it, and a plan within the limits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from clusterfolio.engine.live.drift import Sizing, day_line
from clusterfolio.engine.live.execution import Execution
from clusterfolio.engine.live.limits import broken, too_stale
from clusterfolio.engine.live.planner import (
    Asked,
    Day,
    ask_strategy,
    from_plain,
    plain,
    record_of,
)
from clusterfolio.engine.live.records import Plan
from clusterfolio.engine.live.shaping import Shaped, assets_of, make_intents, shape, why_untradable, within_means
from clusterfolio.engine.live.terms import Halted, State
from clusterfolio.engine.live.venue import ZERO, Account, Clock, Session, Unavailable


class Deciding(Execution):
    """The states warm up, armed and plan."""

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
