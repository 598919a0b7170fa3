"""The backtrader Strategy: asks the policy on decision dates and turns its weights into orders."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import backtrader as bt
import pandas as pd

from clusterfolio.feeds.calendar import sessions as exchange_sessions
from clusterfolio.feeds.panel import STOPPED_AFTER
from clusterfolio.strategies.bars import day_of, feed_names, has_bar, panel_from_feeds, since_priced
from clusterfolio.strategies.holdings import Fill, Holdings, PricedOnly
from clusterfolio.strategies.orders import SETTLED, affordable_shares, missing_shares, target_shares, whole_lots
from clusterfolio.strategies.policy import (
    Decision,
    PortfolioState,
    Resting,
    ask,
    changed_names,
    guard_of,
    guarded,
    rests,
)

log = logging.getLogger(__name__)

#: A target not reached after this many sessions is given up, and said so; a sale may need STOPPED_AFTER + 1 to fill.
GIVE_UP_AFTER = STOPPED_AFTER + 5

#: A buy that is sent again is done when this fraction of its target is missing or less ...
REACHED = 0.01
#: ... and waits while the cash allows less than this fraction of the account.
DUST = 1e-3

#: A buy for which the cash ran out is named as unfilled where less than this fraction of its target was reached.
ENOUGH = 0.5

#: Reason of a buy that was refused at first.
SENT_AGAIN = "rebalance, sent again after a margin refusal"

#: Reason of a sale of what has fallen silent.
STOPPED = "stopped trading"

#: Reason of a fill that no rebalance asked for: an order of a subclass's own.
OTHER = "another order of the strategy"


class RebalanceStrategy(bt.Strategy):
    """Asks the policy for a decision on the close of each decision date; orders fill at the next open.

    It never fits and never looks ahead: the policy gets the panel cut at the current bar. Sells go before buys. A buy
    refused for margin (the open was higher than the close that sized it) is sent again on the next bar for what the
    cash allows. A position whose feed has been silent for ``STOPPED_AFTER`` sessions is sold.

    Once a session, with all of its bars: backtrader calls ``next`` for every moment at which a feed has a bar, and
    feeds may stamp the bars of one day differently (00:00, 23:59:59). The session is over when the next bar to come, of
    which only the stamp is read, is of another day; until then nothing is decided or sent. Every feed then fills on its
    own next bar. Where sales are stamped later than buys, a buy that needs their cash is refused and sent again a
    session later, so give all feeds one time of day if you can.

    It trades what it holds itself, in an account that others may share: positions are counted from its own fills, not
    from the broker's, and sized by its own positions and the cash. A bar of NaN is no bar: the position is worth its
    last close, and orders wait (backtrader's own value of the account is NaN on such a day).

    Feeds are daily and named. Intraday feeds need a ``panel`` of daily bars: decisions come with the day's last bar,
    fills with the next day's first. ``exactbars=1`` is refused: with no bars kept backtrader lets a feed show its next
    bar before it is due.

    Params:
        policy_for: ``callable(now) -> policy``, the policy fitted on data before ``now``.
        decision_dates: days to decide on; one on which no feed has a bar is an error.
        panel: what the policy is shown, cut at the current bar; None = built from the strategy's own feeds.
        benchmark: a feed's name; only used to build the panel from the feeds (default: the first feed).
        sessions: the exchange's sessions; None = New York's.
        cash_buffer: fraction of the value kept in cash.
        fractional: allow fractions of a share; else whole ``lots``.
        lots: shares of which whole multiples are traded, a frame by day and symbol; None = 1.
        at_most: ``callable(symbol, day) -> shares`` that an order sent at that day's close may be for; the rest is sent
            when it has filled, a part a day. None = all at once. What has stopped trading leaves at once.
    """

    params = dict(  # noqa: RUF012 - backtrader's form
        policy_for=None,
        decision_dates=(),
        panel=None,
        benchmark=None,
        sessions=None,
        cash_buffer=0.02,
        fractional=True,
        lots=None,
        at_most=None,
    )

    def __init__(self):
        if not callable(self.p.policy_for):
            raise TypeError(f"policy_for: got {self.p.policy_for!r}, expected a callable(now) that returns a policy")
        self.decisions: list[Decision] = []
        self.unfilled: list[tuple[pd.Timestamp, str, str]] = []
        self._due = deque(sorted({pd.Timestamp(day) for day in self.p.decision_dates}))
        self._by_name = feed_names(self.datas)
        self.holdings = Holdings()
        self.guarded: list[tuple[pd.Timestamp, pd.Series, dict[str, str]]] = []
        self._decided: pd.Timestamp | None = None
        self._wanted: pd.Series | None = None  # what the last decision, or a guard after it, asked for
        self._memory: Mapping[str, Any] = {}  # the guard's
        self._values: dict[pd.Timestamp, float] = {}  # of the account: at decisions, for a guard every session
        self._targets: dict[str, float] = {}  # shares wanted, names still being worked on
        self._live: dict[str, bt.Order] = {}
        self._reason: dict[str, str] = {}
        self._parts: set[str] = set()  # names whose last order was for a part of what was missing
        self._resting: dict[int, bt.Order] = {}  # by reference number, until the next close
        self._left: dict[str, pd.Timestamp] = {}  # names that one of them sold, since the guard's last look
        self._since: pd.Timestamp | None = None  # when the current targets were set
        self._sessions = self.p.sessions

    @property
    def fills(self) -> list[Fill]:
        """Every execution of the strategy's own orders, part by part, in order."""
        return self.holdings.fills

    def start(self):
        """Called before the first bar: what cannot be traded is refused."""
        if int(self.cerebro.p.exactbars) > 0:
            raise ValueError(f"exactbars={self.cerebro.p.exactbars}: the feeds' bars are needed; use False, -1 or -2")
        if any(data.buflen() for data in self.datas):  # preloaded: before anything is fitted
            for day in self._due:
                if not any(has_bar(data, day, self.datetime._tz) for data in self.datas):
                    raise self._no_bar(day)
        if isinstance(self.broker, bt.brokers.BackBroker) and not isinstance(self.broker.p.filler, PricedOnly):
            self.broker.set_filler(PricedOnly(self.broker.p.filler))

    def prenext(self):
        """Called until every feed has a bar, and as good as ``next``."""
        # backtrader calls next() only once every feed has a bar; a late listing must not hold up the others.
        self.next()

    def next(self):
        """Decide on a decision's day once its session is complete; else work on what is still wanted."""
        now = self._day(self.datetime[0])
        if not self._complete(now):
            return
        self._take_back()
        if self._due and self._due[0] <= now:
            decision = self._decide(now)
            self.decisions.append(decision)
            weights, ruled = self._look(now, decision.weights)
            self.rebalance(weights, {**getattr(decision, "reasons", {}), **ruled}, now)
            self._rest(now)
            return
        if self._wanted is not None and guard_of(self.p.policy_for(now)) is not None:
            self._note_value(now)
            if self._is_guarded(now):
                before = self._wanted
                weights, reasons = self._look(now, before)
                self._aim(weights, reasons, now, changed_names(before, weights))
        # Not on a decision's day: the rebalance sells such names itself, and backtrader cannot take back an order on
        # the bar it was sent.
        self._sell_stopped(now)
        if self._targets:
            self._work(now)
        self._rest(now)

    def stop(self):
        """Name what still waits."""
        last = self._day(self.datetime[0])
        for name in sorted({*self._live, *self._targets}):
            self._missed(last, name, "still waiting at the end of the run")
        for day in self._due:
            log.warning("decision_dates: %s was not decided, the feeds end on %s", day.date(), last.date())

    def _complete(self, now: pd.Timestamp) -> bool:
        """Whether all bars of the day are here: the next one to come is of another day; only its stamp is read."""
        if now == self._decided:
            late = [data._name for data in self.datas if len(data) and data.datetime[0] == self.datetime[0]]
            raise RuntimeError(
                f"{', '.join(late[:5])}: a bar of {now.date()} came after that day's decision; let Cerebro preload the "
                "feeds (its default), and give it daily bars"
            )
        upcoming = getattr(self.cerebro, "next_moment", None)  # the shared clock knows without asking all feeds
        moments = (data.advance_peek() for data in self.datas) if upcoming is None else (upcoming,)
        return not any(math.isfinite(moment) and self._day(moment) <= now for moment in moments)

    def _decide(self, now: pd.Timestamp) -> Decision:
        if self._due[0] < now:
            raise self._no_bar(self._due[0])
        self._decided = self._due.popleft()
        self._values[now] = self._value()
        decision = ask(self.p.policy_for(now), self._panel(now), self.state())
        self._wanted = decision.weights
        return decision

    def _is_guarded(self, now: pd.Timestamp) -> bool:
        """Whether a guard asks to look on this day: every so many sessions after the last decision."""
        guard = guard_of(self.p.policy_for(now))
        if guard is None or now not in self._known_sessions(self._decided, now):
            return False
        return self._sessions_between(self._decided, now) % guard.guard_every == 0

    def _look(self, now: pd.Timestamp, weights: pd.Series) -> tuple[pd.Series, dict[str, str]]:
        """What the policy's guard makes of these weights; they themselves where it has none."""
        guard = guard_of(self.p.policy_for(now))
        if guard is None:
            return weights, {}
        self._wanted, reasons, self._memory = guarded(guard, weights, self._panel(now), self.state())
        self._left.clear()
        if changed_names(self._wanted, weights):
            self.guarded.append((now, self._wanted, reasons))
        return self._wanted, reasons

    def _note_value(self, now: pd.Timestamp) -> None:
        if guard_of(self.p.policy_for(now)) is not None and now in self._known_sessions(now, now):
            self._values[now] = self._value()

    def _no_bar(self, day: pd.Timestamp) -> ValueError:
        return ValueError(f"decision_dates: no feed has a bar on {day.date()}; decide on sessions only")

    def state(self) -> PortfolioState:
        """What is held now, valued at the last closes."""
        value = self._value()
        weights = pd.Series({name: self._worth(name) / value for name in self.holdings.shares}, dtype=float)
        values = pd.Series(self._values, dtype=float)
        cash, entries = self.broker.getcash() / value, dict(self.holdings.entries)
        return PortfolioState(weights, cash, entries, self._decided, values, self._memory, dict(self._left))

    def rebalance(self, weights: pd.Series, reasons: dict[str, str], now: pd.Timestamp) -> None:
        """Set the target shares from the weights and send the orders, sells first.

        Args:
            reasons: why, by symbol; of the others it is the rebalance.
        """
        weights = self._with_feed(weights, now)
        for order in list(self._live.values()):
            self.cancel(order)
        self._live.clear()
        self._targets, self._reason = {}, {}
        names = [*weights.index, *(name for name in self.holdings.shares if name not in weights.index)]
        self._set_targets(weights.reindex(names, fill_value=0.0), reasons, now)
        self._work(now)

    def _aim(self, weights: pd.Series, reasons: dict[str, str], now: pd.Timestamp, names: list[str]) -> None:
        """New target shares for these names; what is under way for others goes on."""
        if not names:
            return
        for name in names:
            if name in self._live:
                self.cancel(self._live.pop(name))
        self._set_targets(self._with_feed(weights.reindex(names, fill_value=0.0), now), reasons, now)

    def _set_targets(self, weights: pd.Series, reasons: dict[str, str], now: pd.Timestamp) -> None:
        """Turn weights into target shares, beside those of other names."""
        prices = [self._price(name) for name in weights.index]
        lots = [self._lot(name, now) for name in weights.index]
        shares = target_shares(
            weights, prices, self._value(), cash_buffer=self.p.cash_buffer, fractional=self.p.fractional, lots=lots
        )
        self._targets |= dict(zip(weights.index, shares.tolist(), strict=True))
        self._parts -= set(weights.index)
        for name, weight, price, lot in zip(weights.index, weights, prices, lots, strict=True):
            if self._targets[name] == 0.0 and weight > 0:
                self._missed(now, name, f"its part of the value is less than the least order, {price * lot:,.2f}")
        for name in weights.index:
            self._reason[name] = STOPPED if self._stopped(name, now) else reasons.get(name, "rebalance")
        self._since = now

    def _with_feed(self, weights: pd.Series, now: pd.Timestamp) -> pd.Series:
        """The weights without names of the panel that no longer trade and so have no feed: their part stays cash."""
        without = [name for name in weights.index if name not in self._by_name]
        unknown = [name for name in without if self.p.panel is None or name not in self.p.panel.symbols]
        if unknown:
            raise KeyError(f"decision of {now.date()}: no feed for {', '.join(unknown)}")
        for name in without:
            if weights[name] > 0:
                self._missed(now, name, "no bar to trade on; 0 % of its target reached")
        return weights.drop(without)

    def _work(self, now: pd.Timestamp) -> None:
        """Send an order for every target that has none alive: sells first, then the buys."""
        self._give_up(now)
        missing = {name: self._missing(name) for name in self._targets if name not in self._live}
        for name in sorted(missing, key=lambda name: (missing[name] > 0, name)):
            amount = missing[name]
            if amount == 0:
                del self._targets[name]
            elif amount > 0 and self._reason[name] == SENT_AGAIN:
                self._buy_again(name, amount, now)
            else:
                self._send(name, self._part(name, amount, now))

    def _buy_again(self, name: str, amount: float, now: pd.Timestamp) -> None:
        """A buy refused for margin, cut to the cash no other live buy waits for, less 1 % for the next gap.

        Its target stays until it is reached: the cash may be on its way from a sale whose feed has a holiday.
        """
        promised = sum(
            order.executed.remsize * self._price(other) for other, order in self._live.items() if order.isbuy()
        )
        price = self._price(name)
        rate = self.broker.getcommissioninfo(self._by_name[name]).getcommission(amount, price) / (amount * price)
        cash = self.broker.getcash() + getattr(self.broker, "credit", 0.0) - promised
        most = affordable_shares(cash, price, rate, fractional=self.p.fractional, lots=self._lot(name, now))
        amount = min(amount, float(most))
        if amount * price > DUST * self._value():
            self._send(name, self._part(name, amount, now))
        elif not any(order.issell() for order in self._live.values()):  # no more cash will come
            reached = self.holdings[name] / self._targets.pop(name)
            if reached < ENOUGH:
                self._missed(now, name, f"short of cash; {reached:.0%} of its target reached".replace("%", " %"))

    def _missing(self, name: str) -> float:
        tolerance = REACHED if self._reason[name] == SENT_AGAIN else SETTLED
        return float(missing_shares(self._targets[name], self.holdings[name], tolerance))

    def _part(self, name: str, amount: float, now: pd.Timestamp) -> float:
        """As much of what is missing as one day's order may be for."""
        part = amount if self._reason[name] == STOPPED else self._let_through(name, amount, now)
        self._parts.discard(name)
        if part != amount:
            self._parts.add(name)
        return part

    def _let_through(self, name: str, amount: float, now: pd.Timestamp) -> float:
        """As much of an order as the cap on a day's volume lets through."""
        most = math.inf if self.p.at_most is None else self.p.at_most(name, now)
        if abs(amount) <= most:
            return amount
        part = math.copysign(most, amount)
        return part if self.p.fractional else float(whole_lots(part, self._lot(name, now)))

    def _send(self, name: str, amount: float) -> None:
        if amount == 0:
            return  # less than a lot is let through a day
        send = self.buy if amount > 0 else self.sell
        data = self._by_name[name]
        # The broker checks the cash at the close, unless told another price; one check of NaN refuses all orders.
        price = None if math.isfinite(data.close[0]) else self._price(name)
        self._live[name] = send(
            data=data, size=abs(amount), price=price, exectype=bt.Order.Market, reason=self._reason[name]
        )

    def _rest(self, now: pd.Timestamp) -> None:
        """Let the guard's orders rest until the next close, for what no other order is about to sell.

        They are sent last: their fills pay for no buy of the same day, and the broker counts on none of them.
        """
        policy: Any = self.p.policy_for(now) if self._wanted is not None else None
        if not rests(policy):
            return
        for name, order in policy.resting(self._panel(now), self.state()).items():
            live = self._live.get(name)
            shares = self.holdings[name] + (min(live.executed.remsize, 0.0) if live is not None else 0.0)
            if shares > SETTLED * self.holdings[name]:
                self._rest_one(name, self._let_through(name, shares, now), order)

    def _rest_one(self, name: str, shares: float, order: Resting) -> None:
        if shares == 0:
            return  # less than a lot is let through a day
        data, price, stop = self._by_name[name], self._price(name), None
        if order.stop > 0:
            stop = self.sell(data, shares, order.stop * price, exectype=bt.Order.Stop, reason=order.stop_reason)
            self._resting[stop.ref] = stop
        if order.limit > 0:
            limit = self.sell(
                data, shares, order.limit * price, exectype=bt.Order.Limit, oco=stop, reason=order.limit_reason
            )
            self._resting[limit.ref] = limit

    def _take_back(self) -> None:
        """Orders that rested during the session; prices move, and so do they."""
        for order in list(self._resting.values()):
            if order.alive():
                self.cancel(order)
        self._resting.clear()

    def _sold(self, order) -> None:
        """An order that rested was carried out: nothing else is wanted of the name, and what is left of it goes."""
        name = order.data._name
        self._left[name] = self._since = self._day(order.executed.dt)
        if name in self._live:
            self.cancel(self._live.pop(name))
        self._targets.pop(name, None)
        self._parts.discard(name)
        self._reason[name] = dict.get(order.info, "reason", OTHER)
        if self.holdings[name]:
            self._targets[name] = 0.0

    def _sell_stopped(self, now: pd.Timestamp) -> None:
        for name in list(self.holdings.shares):
            if self._stopped(name, now) and self._reason.get(name) != STOPPED:
                if name in self._live:
                    self.cancel(self._live.pop(name))
                self._targets.pop(name, None)
                self._reason[name] = STOPPED
                self._send(name, -self.holdings[name])

    def _give_up(self, now: pd.Timestamp) -> None:
        """Drop what could not be filled in ``GIVE_UP_AFTER`` sessions, and buys of feeds that fell silent."""
        waited = self._sessions_between(self._since, now)
        for name in list(self._targets):
            buying = self._targets[name] > self.holdings[name]
            silent = self._silent(name, now) >= STOPPED_AFTER // 2
            if waited >= GIVE_UP_AFTER or (buying and silent and name in self._live):
                order = self._live.pop(name, None)
                if order is not None:
                    self.cancel(order)
                if silent:
                    why = "no bar to trade on"
                elif name in self._parts:
                    why = f"its volume lets so much through in {waited} sessions"
                elif order is None:
                    why = f"short of cash for {waited} sessions"
                else:  # it had bars to fill on: a filler holds it back
                    part = "a part of the order" if order.executed.size else "nothing of the order"
                    why = f"the broker filled {part} in {waited} sessions"
                reached = self.holdings[name] / self._targets[name] if self._targets[name] else 0.0
                del self._targets[name]
                self._missed(now, name, f"{why}; {reached:.0%} of its target reached".replace("%", " %"))

    def _missed(self, now: pd.Timestamp, name: str, why: str) -> None:
        self.unfilled.append((now, name, why))
        log.warning("%s: target of %s not reached: %s", now.date(), name, why)

    def notify_order(self, order):
        """Note what was filled, and take up what was refused."""
        if order.owner is not self or order.exectype == bt.Order.Historical:
            return  # backtrader books an order history on whichever strategy is first
        name = order.data._name
        for part in order.executed.iterpending():  # what was filled since the last notice
            why = dict.get(order.info, "reason", OTHER)
            self.holdings.add(Fill(self._day(part.dt), name, part.size, part.price, part.comm, why))
        if order.ref in self._resting:
            if order.executed.size:
                self._sold(order)
            return
        if order.status == bt.Order.Completed:
            if self._reason.get(name) != SENT_AGAIN and name not in self._parts:
                self._targets.pop(name, None)
        elif order.status in (bt.Order.Margin, bt.Order.Rejected):
            self._reason[name] = SENT_AGAIN
        # backtrader hands over a copy of the order: only its reference number is the same.
        if not order.alive() and name in self._live and self._live[name].ref == order.ref:
            del self._live[name]

    def _day(self, moment: float) -> pd.Timestamp:
        return day_of(moment, self.datetime._tz)

    def _price(self, name: str) -> float:
        """The last close that is a number."""
        data = self._by_name[name]
        return data.close[-since_priced(data)]

    def _lot(self, name: str, now: pd.Timestamp) -> float:
        return 1.0 if self.p.lots is None else float(self.p.lots.loc[now, name])

    def _worth(self, name: str) -> float:
        scheme = self.broker.getcommissioninfo(self._by_name[name])
        return scheme.getvaluesize(self.holdings[name], self._price(name))

    def _value(self) -> float:
        """Of the account: the broker's, unless others hold positions in it or a price of today is no number."""
        value = self.broker.getvalue()
        positions = list(self.broker.positions.items())
        if math.isfinite(value) and all(held.size == self.holdings[data._name] for data, held in positions):
            return value
        return self.broker.getcash() + sum(map(self._worth, self.holdings.shares))

    def _stopped(self, name: str, now: pd.Timestamp) -> bool:
        return name in self.holdings.shares and self._silent(name, now) >= STOPPED_AFTER

    def _silent(self, name: str, now: pd.Timestamp) -> int:
        """Sessions since the last bar with a price."""
        data = self._by_name[name]
        return self._sessions_between(self._day(data.datetime[-since_priced(data)]), now)

    def _sessions_between(self, earlier: pd.Timestamp, later: pd.Timestamp) -> int:
        """Sessions after ``earlier``, up to and including ``later``."""
        if earlier == later:
            return 0
        days = self._known_sessions(earlier, later)
        return int(days.searchsorted(later, side="right") - days.searchsorted(earlier, side="right"))

    def _known_sessions(self, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
        if self._sessions is None or last > self._sessions[-1] or first < self._sessions[0]:
            if self.p.sessions is not None:
                return self.p.sessions
            year = pd.DateOffset(years=1)
            self._sessions = exchange_sessions("XNYS", first - year, last + year)
        return self._sessions

    def _panel(self, now: pd.Timestamp):
        if self.p.panel is not None:
            return self.p.panel.until(now)
        first = min(self._day(data.datetime[1 - len(data)]) for data in self.datas if len(data))
        sessions = self._known_sessions(first, now)
        return panel_from_feeds(self.datas, self.p.benchmark or self.datas[0]._name, sessions, self.datetime._tz)
