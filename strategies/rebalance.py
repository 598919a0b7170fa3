"""The backtrader Strategy: asks the policy on decision dates and turns its weights into orders."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import backtrader as bt
import numpy as np
import pandas as pd

from clusterfolio.feeds.calendar import sessions as exchange_sessions
from clusterfolio.feeds.panel import FIELDS, STOPPED_AFTER, Panel, make_assets
from clusterfolio.strategies.orders import SETTLED, affordable_shares, missing_shares, target_shares
from clusterfolio.strategies.policy import Decision, PortfolioState, ask

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

#: backtrader counts days as ``datetime.date.toordinal`` does; this is 1970-01-01.
UNIX_EPOCH = 719163


@dataclass(frozen=True)
class Fill:
    """One execution: the day, signed shares, price and commission in the account's currency, and why."""

    date: pd.Timestamp
    symbol: str
    amount: float
    price: float
    commission: float
    reason: str


class RebalanceStrategy(bt.Strategy):
    """Asks the policy for a decision on the close of each decision date; orders fill at the next open.

    It never fits and never looks ahead: the policy gets the panel cut at the current bar. Sells go before buys. A buy
    refused for margin (the open was higher than the close that sized it) is sent again on the next bar for what the
    cash allows. A position whose feed has been silent for ``STOPPED_AFTER`` sessions is sold.

    Params:
        policy_for: ``callable(now) -> policy``, the policy fitted on data before ``now``.
        decision_dates: days to decide on, each a session.
        panel: what the policy is shown, cut at the current bar; None = built from the strategy's own feeds.
        benchmark: a feed's name; only used to build the panel from the feeds (default: the first feed).
        sessions: the exchange's sessions; None = New York's.
        cash_buffer: fraction of the value kept in cash.
        fractional: allow fractions of a share.
    """

    params = dict(  # noqa: RUF012 - backtrader's form
        policy_for=None,
        decision_dates=(),
        panel=None,
        benchmark=None,
        sessions=None,
        cash_buffer=0.02,
        fractional=True,
    )

    def __init__(self):
        if not callable(self.p.policy_for):
            raise TypeError(f"policy_for: got {self.p.policy_for!r}, expected a callable(now) that returns a policy")
        self.decisions: list[Decision] = []
        self.fills: list[Fill] = []
        self.unfilled: list[tuple[pd.Timestamp, str, str]] = []
        self._dates = {pd.Timestamp(day) for day in self.p.decision_dates}
        self._by_name = {data._name: data for data in self.datas}
        self._targets: dict[str, float] = {}  # shares wanted, names still being worked on
        self._live: dict[str, bt.Order] = {}
        self._reason: dict[str, str] = {}
        self._since: pd.Timestamp | None = None  # when the current targets were set
        self._entries: dict[str, pd.Timestamp] = {}
        self._sessions = self.p.sessions

    def prenext(self):
        # backtrader calls next() only once every feed has a bar; a late listing must not hold up the others.
        self.next()

    def next(self):
        now = pd.Timestamp(self.datetime.date(0))
        if now in self._dates:
            panel = self._panel(now)
            decision = ask(self.p.policy_for(now), panel, self.state())
            self.decisions.append(decision)
            self.rebalance(decision, now)
            return
        # Not on a decision's day: the rebalance sells such names itself, and backtrader cannot take back an order on
        # the bar it was sent.
        self._sell_stopped(now)
        if self._targets:
            self._work(now)

    def stop(self):
        last = pd.Timestamp(self.datetime.date(0))
        for name in sorted({*self._live, *self._targets}):
            self._missed(last, name, "still waiting at the end of the run")

    def state(self) -> PortfolioState:
        """What is held now, valued at the last closes."""
        value = self.broker.getvalue()
        held = self._held()
        weights = pd.Series({data._name: self.broker.get_value([data]) / value for data in held}, dtype=float)
        return PortfolioState(weights, self.broker.getcash() / value, dict(self._entries))

    def rebalance(self, decision: Decision, now: pd.Timestamp) -> None:
        """Set the target shares from the decision's weights and send the orders, sells first."""
        unknown = [name for name in decision.weights.index if name not in self._by_name]
        if unknown:
            raise KeyError(f"decision of {now.date()}: no feed for {', '.join(unknown)}")
        for order in list(self._live.values()):
            self.cancel(order)
        self._live.clear()
        weights = decision.weights
        prices = [self._by_name[name].close[0] for name in weights.index]
        shares = target_shares(
            weights, prices, self.broker.getvalue(), cash_buffer=self.p.cash_buffer, fractional=self.p.fractional
        )
        self._targets = {data._name: 0.0 for data in self._held()} | dict(
            zip(weights.index, shares.tolist(), strict=True)
        )
        for name, weight, price in zip(weights.index, weights, prices, strict=True):
            if self._targets[name] == 0.0 and weight > 0:
                self._missed(now, name, f"its share of the value is less than one share at {price:,.2f}")
        self._reason = {name: "stopped trading" if self._stopped(name, now) else "rebalance" for name in self._targets}
        self._since = now
        self._work(now)

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
                self._send(name, amount)

    def _buy_again(self, name: str, amount: float, now: pd.Timestamp) -> None:
        """A buy refused for margin, cut to the cash no other live buy waits for, less 1 % for the next gap.

        Its target stays until it is reached: the cash may be on its way from a sale whose feed has a holiday.
        """
        promised = sum(order.executed.remsize * order.data.close[0] for order in self._live.values() if order.isbuy())
        data = self._by_name[name]
        rate = self.broker.getcommissioninfo(data).getcommission(1.0, 1.0)
        cash = self.broker.getcash() - promised
        amount = min(amount, float(affordable_shares(cash, data.close[0], rate, fractional=self.p.fractional)))
        if amount * data.close[0] > DUST * self.broker.getvalue():
            self._send(name, amount)
        elif not any(order.issell() for order in self._live.values()):  # no more cash will come
            reached = self._shares(name) / self._targets.pop(name)
            if reached < ENOUGH:
                self._missed(now, name, f"short of cash; {reached:.0%} of its target reached".replace("%", " %"))

    def _missing(self, name: str) -> float:
        tolerance = REACHED if self._reason[name] == SENT_AGAIN else SETTLED
        return float(missing_shares(self._targets[name], self._shares(name), tolerance))

    def _send(self, name: str, amount: float) -> None:
        send = self.buy if amount > 0 else self.sell
        self._live[name] = send(
            data=self._by_name[name], size=abs(amount), exectype=bt.Order.Market, reason=self._reason[name]
        )

    def _sell_stopped(self, now: pd.Timestamp) -> None:
        for data in self._held():
            name = data._name
            if self._stopped(name, now) and self._reason.get(name) != "stopped trading":
                if name in self._live:
                    self.cancel(self._live.pop(name))
                self._targets.pop(name, None)
                self._reason[name] = "stopped trading"
                self._send(name, -self._shares(name))

    def _give_up(self, now: pd.Timestamp) -> None:
        """Drop what could not be filled in ``GIVE_UP_AFTER`` sessions, and buys of feeds that fell silent."""
        waited = self._sessions_between(self._since, now)
        for name in list(self._targets):
            data = self._by_name[name]
            buying = self._targets[name] > self._shares(name)
            silent = self._silent(data, now) >= STOPPED_AFTER // 2
            if waited >= GIVE_UP_AFTER or (buying and silent and name in self._live):
                if name in self._live:
                    self.cancel(self._live.pop(name))
                reached = self._shares(name) / self._targets[name] if self._targets[name] else 0.0
                del self._targets[name]
                why = "no bar to trade on" if silent else f"short of cash for {waited} sessions"
                self._missed(now, name, f"{why}; {reached:.0%} of its target reached".replace("%", " %"))

    def _missed(self, now: pd.Timestamp, name: str, why: str) -> None:
        self.unfilled.append((now, name, why))
        log.warning("%s: target of %s not reached: %s", now.date(), name, why)

    def notify_order(self, order):
        name = order.data._name
        if order.status == bt.Order.Completed:
            self._record(order)
            if self._reason.get(name) != SENT_AGAIN:
                self._targets.pop(name, None)
        elif order.status in (bt.Order.Margin, bt.Order.Rejected):
            self._reason[name] = SENT_AGAIN
        # backtrader hands over a copy of the order: only its reference number is the same.
        if not order.alive() and name in self._live and self._live[name].ref == order.ref:
            del self._live[name]

    def _record(self, order) -> None:
        name = order.data._name
        day = pd.Timestamp(bt.num2date(order.executed.dt)).normalize()
        done = order.executed
        self.fills.append(Fill(day, name, done.size, done.price, done.comm, order.info.reason))
        if not self.getposition(order.data).size:
            self._entries.pop(name, None)
        else:
            self._entries.setdefault(name, day)

    def _held(self) -> list:
        # Over the broker's positions, not over all feeds: the cost of a bar grows with what is held.
        return [data for data, position in list(self.broker.positions.items()) if position.size]

    def _shares(self, name: str) -> float:
        return self.getposition(self._by_name[name]).size

    def _stopped(self, name: str, now: pd.Timestamp) -> bool:
        return self._shares(name) != 0 and self._silent(self._by_name[name], now) >= STOPPED_AFTER

    def _silent(self, data, now: pd.Timestamp) -> int:
        return self._sessions_between(pd.Timestamp(data.datetime.date(0)), now)

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
        first = pd.Timestamp(min(data.datetime.date(1 - len(data)) for data in self.datas if len(data)))
        return panel_from_feeds(self.datas, self.p.benchmark or self.datas[0]._name, self._known_sessions(first, now))


def panel_from_feeds(datas, benchmark: str, sessions: pd.DatetimeIndex) -> Panel:
    """The bars backtrader has delivered so far, as a panel: no later row exists in it.

    Args:
        datas: backtrader's data feeds with daily bars, prices in the account's currency.
        benchmark: the name of one of them.
        sessions: exchange sessions up to the current bar.
    """
    bars = {}
    for data in datas:
        n_bars = len(data)
        if not n_bars:
            continue
        frame = pd.DataFrame({name: getattr(data, name).get(size=n_bars) for name in FIELDS}, dtype=float)
        ordinals = np.floor(np.asarray(data.datetime.get(size=n_bars), dtype=float)).astype(np.int64)
        frame.index = pd.DatetimeIndex((ordinals - UNIX_EPOCH).astype("datetime64[D]").astype("datetime64[ns]"))
        terminal = np.asarray(data.terminal.get(size=n_bars)) > 0 if hasattr(data.lines, "terminal") else False
        bars[data._name] = frame[~np.broadcast_to(terminal, n_bars)]
    dates = pd.DatetimeIndex(sorted(set().union(*(frame.index for frame in bars.values()))))
    columns = pd.Index(list(bars), dtype=object)
    frames = {
        name: pd.DataFrame({symbol: frame[name] for symbol, frame in bars.items()}, index=dates, columns=columns)
        for name in FIELDS
    }
    known = sessions[(sessions >= dates[0]) & (sessions <= dates[-1])]
    return Panel(**frames, assets=make_assets(columns), sessions=known, benchmark=benchmark)
