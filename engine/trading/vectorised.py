"""Thousands of portfolios of target weights traded at once, by the rules of ``strategies.rebalance``, in NumPy.

What the engine does order by order is done here for a block of portfolios at a time: decisions on the close, interest
paid before the next fills, fills at each asset's next open, sells before buys, the check of the cash at the last closes
and again at each fill, a refused buy sent again for what the cash allows, exits of assets that stopped trading at their
terminal bar. Only what a portfolio holds or wants is looked at: a few dozen slots each, sorted by name as the engine's
orders are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import pandas as pd

from clusterfolio.engine.trading.cash_flows import credit, financing, interest
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.costs import KINDS, OF_TRADES
from clusterfolio.engine.trading.tape import Bars, Tape, read_tape
from clusterfolio.feeds.panel import STOPPED_AFTER, Panel
from clusterfolio.strategies.orders import SETTLED, affordable_shares, missing_shares, target_shares, whole_lots
from clusterfolio.strategies.policy import Guard, PortfolioState, changed_names, guarded, largest_exposure, rests
from clusterfolio.strategies.rebalance import DUST, GIVE_UP_AFTER, REACHED

#: Portfolios in memory at a time.
BLOCK = 500

#: The return of an account that is lost: nothing less is left, and its logarithm still is a number.
GONE = -1.0 + 1e-12

#: Why an order is there; see ``strategies.rebalance``.
REBALANCE, STOPPED, AGAIN = 0, 1, 2


class Accounts(Protocol):
    """Some portfolios at the close on which they are decided on.

    Attributes:
        memory: what a guard noted at its last look; empty where none looks.
    """

    memory: Mapping[str, Any]

    def held(self) -> np.ndarray:
        """Fraction of each portfolio's value by column of the panel, ``(n_portfolios, n_panel_columns)``."""


class Chooser(Protocol):
    """Says what portfolios are to hold; it may look at what they hold. ``Targets`` knows it beforehand."""

    def __len__(self) -> int:
        """Of the portfolios."""

    def choose(self, number: int, rows: slice, accounts: Accounts) -> tuple[np.ndarray, np.ndarray]:
        """Picks and weights, as in ``Targets``, of the portfolios ``rows`` at a decision, ``(n_rows, n_slots)``."""


@dataclass(frozen=True)
class Targets:
    """What each portfolio is to hold from each decision on.

    Attributes:
        picks: int ``(n_portfolios, n_decisions, n_slots)``, columns of the panel; -1 = none. No name twice.
        weights: float64, same shape: fraction of the portfolio's value; sums to at most 1 over the slots, or to what
            the account may hold on credit (``simulate``).
    """

    picks: np.ndarray
    weights: np.ndarray

    def __post_init__(self):
        if self.picks.ndim != 3 or self.picks.shape != self.weights.shape:
            raise ValueError(
                f"picks and weights: got shapes {self.picks.shape} and {self.weights.shape}, expected the same "
                "(n_portfolios, n_decisions, n_slots)"
            )

    def __len__(self) -> int:
        return len(self.picks)

    def choose(self, number: int, rows: slice, accounts: Accounts) -> tuple[np.ndarray, np.ndarray]:
        """Picks and weights of the portfolios ``rows`` at a decision, whatever they hold."""
        return self.picks[rows, number], self.weights[rows, number]


@dataclass(frozen=True)
class Simulated:
    """What the portfolios earned, on the sessions of ``BacktestResult.returns``.

    Attributes:
        sessions: shape ``(n_sessions,)``.
        net, gross: simple daily returns after and before costs, ``(n_portfolios, n_sessions)``.
        value: of the account at the last session, ``(n_portfolios,)``.
        costs: money paid by kind, ``(n_portfolios, n_kinds)``, in the order of ``engine.trading.costs.KINDS``.
        traded: value of all fills, bought and sold, ``(n_portfolios,)``.
        invested: part of the account that was not in cash, its mean over the sessions, ``(n_portfolios,)``.
    """

    sessions: pd.DatetimeIndex
    net: np.ndarray
    gross: np.ndarray
    value: np.ndarray
    costs: np.ndarray
    traded: np.ndarray
    invested: np.ndarray


def simulate(
    panel: Panel,
    targets: Targets | Chooser,
    dates: pd.DatetimeIndex,
    trading: TradingConfig,
    guard: Guard | None = None,
    cash: pd.Series | float | None = None,
    max_exposure: float | None = None,
    bars: Bars | None = None,
) -> Simulated:
    """Trade every portfolio's targets, each alone with ``trading.capital``, to the panel's last session.

    Agrees with ``backtest.run_backtest`` to rounding; where shares are whole, rounding can move one share.

    Args:
        panel: prices in the account's currency.
        targets: picks and weights, ``n_decisions`` the number of dates; or what says them as they are needed.
        dates: sessions to decide on, increasing, the last one before the panel's end.
        guard: looks at every portfolio as it does at a strategy's. It is asked one by one, which takes as long as it
            takes: give it few.
        cash: what idle cash earns; see ``run_backtest``.
        max_exposure: how many times its value an account may hold, on credit beyond 1; None = what the guard may ask
            for, 1 without one. An account that loses all it has is sold out, and stays at 0.
        bars: the panel's, where they were read before: it takes longer than to trade a portfolio on them.

    Raises:
        ValueError: shapes or dates do not fit, or a weight of an asset without a bar by then.
    """
    if isinstance(targets, Targets) and targets.picks.shape[1] != len(dates):
        raise ValueError(f"dates: got {len(dates)}, targets have {targets.picks.shape[1]} decisions")
    tape = read_tape(panel, dates[0], trading, cash, bars, rests(guard))
    rows = tape.days.get_indexer(dates)
    if (rows < 0).any() or not tape.session[rows].all() or dates[-1] >= panel.sessions[-1]:
        raise ValueError("dates: expected sessions with a bar, the last one before the panel's last session")
    most = largest_exposure(guard) if max_exposure is None else max_exposure
    if guard is not None:
        cuts: dict[int, Panel] = {}
        parts = [
            _Guarded(tape, trading, rows, most, panel, targets, slice(at, at + 1), guard, cuts).run()
            for at in range(len(targets))
        ]
    else:
        parts = [
            _Block(tape, trading, rows, most, panel, targets, slice(at, min(at + BLOCK, len(targets)))).run()
            for at in range(0, len(targets), BLOCK)
        ]
    net, gross, value, costs, traded, invested = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Simulated(tape.days[tape.session][1:], net, gross, value, costs, traded, invested)


class _Block:
    """Some portfolios under way. Arrays have shape ``(n_portfolios, n_slots)`` unless stated.

    Attributes:
        ids: columns of the tape, increasing along a row; the spare column last.
        shares: held.
        target: shares wanted, NaN where nothing is being worked on.
        live: shares of the order under way, signed; 0 = none.
        sent: row of the day on which it was sent.
        reason: REBALANCE, STOPPED or AGAIN.
        cash: ``(n_portfolios,)``.
        at: row of the close that is decided on.
    """

    def __init__(
        self,
        tape: Tape,
        trading: TradingConfig,
        decisions: np.ndarray,
        max_exposure: float,
        panel: Panel,
        targets: Targets | Chooser,
        rows: slice,
    ):
        self.tape = tape
        self.trading = trading
        self.decisions = decisions
        self.max_exposure = max_exposure
        self.panel = panel
        self.targets = targets
        self.rows = rows
        self.spare = tape.close.shape[1] - 1
        self.memory: Mapping[str, Any] = {}

    def run(self) -> tuple[np.ndarray, ...]:
        """Net and gross returns, last value, costs, value traded and part invested."""
        n, n_days = self.rows.stop - self.rows.start, len(self.tape.days)
        self.cash = np.full(n, float(self.trading.capital))
        self.ids = np.full((n, 1), self.spare)
        self.shares = np.zeros((n, 1))
        self.target, self.live = np.full((n, 1), np.nan), np.zeros((n, 1))
        self.sent, self.reason = np.zeros((n, 1), dtype=np.int64), np.zeros((n, 1), dtype=np.int8)
        self.values, self.money = np.empty((n, n_days)), np.empty((n, n_days))
        self.costs, self.by_kind = np.zeros((n, n_days)), np.zeros((n, len(KINDS)))
        self.traded = np.zeros(n)
        decided = {row: number for number, row in enumerate(self.decisions)}
        row = 0
        while row < n_days:
            self._pay(row)
            self._fill(row)
            self.values[:, row], self.money[:, row] = self._value(row), self.cash
            if row in decided:
                self.at = row
                picks, weights = self.targets.choose(decided[row], self.rows, self)
                self._decide(row, self._columns(row, picks, weights), weights)
            else:
                self._look(row)
                self._sell_stopped(row)
                self._work(row)
            self._rest(row)
            row = self._pass_quiet_days(row + 1)
        return self._results()

    def held(self) -> np.ndarray:
        """See ``Accounts``."""
        worth = np.zeros((len(self.ids), self.spare + 1))
        np.put_along_axis(worth, self.ids, self.shares * self.tape.close[self.at][self.ids], axis=1)
        return np.where(self.tape.column[:-1] >= 0, worth[:, self.tape.column[:-1]], 0.0) / self.values[:, [self.at]]

    def _columns(self, row: int, picks: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Picks as columns of the tape; what was gone before the run has no feed there, and its part stays cash."""
        columns = self.tape.column[picks]
        columns = np.where(columns < 0, self.spare, columns)
        early = (weights != 0) & (self.tape.listed[columns] > row)
        if early.any():
            name, day = self.panel.symbols[picks[early][0]], self.tape.days[row]
            raise ValueError(f"targets: {name} has a weight on {day.date()} and no bar by then")
        return columns

    def _decide(self, row: int, picks: np.ndarray, weights: np.ndarray) -> None:
        self._rebalance(row, picks, weights)

    def _look(self, row: int) -> None:
        """Ask what is wanted between decisions: nothing, where no guard looks."""

    def _rest(self, row: int) -> None:
        """Let orders rest until the next close: none, where no guard has any."""

    def _results(self) -> tuple[np.ndarray, ...]:
        session = self.tape.session
        value = self.values[:, session]
        # A fill on a day that is no session shows in the next session's value.
        rows = np.flatnonzero(session)[1:]
        booked = np.minimum(np.searchsorted(rows, np.arange(len(session))), len(rows) - 1)
        costs = np.zeros((len(value), len(rows)))
        for row in np.flatnonzero(self.costs.any(axis=0)):
            costs[:, booked[row]] += self.costs[:, row]
        net = value[:, 1:] / value[:, :-1] - 1.0
        costs /= value[:, :-1]
        lost = np.maximum.accumulate(value[:, :-1] <= 0, axis=1)
        np.maximum(net, GONE, out=net)
        net[lost] = costs[lost] = 0.0
        idle = np.divide(self.money[:, session], value, out=np.ones_like(value), where=value > 0)
        return net, net + costs, value[:, -1], self.by_kind, self.traded, 1.0 - idle[:, 1:].mean(axis=1)

    def _value(self, row: int) -> np.ndarray:
        return self.cash + (self.shares * self.tape.close[row][self.ids]).sum(axis=1)

    def _pass_quiet_days(self, row: int) -> int:
        """Value the days from ``row`` on as long as nothing happens; the first on which something may."""
        busy = self.live.any() or not np.isnan(self.target).all()
        until = self._next_turn(row)
        if busy or until <= row:
            return row
        self._keep(self.shares != 0)
        stops = (self.tape.silent[row:until] >= STOPPED_AFTER)[:, self.ids] if self._may_stop(row, until) else None
        if stops is not None:
            due = (stops & (self.shares != 0) & (self.reason != STOPPED)).any(axis=(1, 2))
            until = row + int(due.argmax()) if due.any() else until
        if until > row:
            for day in range(row, until):
                self._pay(day)
                self.money[:, day] = self.cash
            held = self.tape.close[row:until][:, self.ids]
            self.values[:, row:until] = (held * self.shares).sum(axis=2).T + self.money[:, row:until]
        return until

    def _next_turn(self, row: int) -> int:
        """The first row from this one on at which something is decided."""
        after = self.decisions[self.decisions >= row]
        return int(after[0]) if len(after) else len(self.tape.days)

    def _may_stop(self, row: int, until: int) -> bool:
        stopped = np.any(self.tape.silent[row:until] >= STOPPED_AFTER, axis=0)
        return bool((stopped[self.ids] & (self.shares != 0)).any())

    def _keep(self, wanted: np.ndarray) -> None:
        """Forget the slots that are not wanted, and those that are empty in all portfolios."""
        self.ids = np.where(wanted, self.ids, self.spare)
        width = max(1, int((self.ids != self.spare).sum(axis=1).max()))
        order = np.argsort(self.ids, axis=1, kind="stable")[:, :width]
        rows = np.arange(len(order))[:, None]
        for name in ("ids", "shares", "target", "live", "sent", "reason"):
            setattr(self, name, getattr(self, name)[rows, order])

    # What the broker does before the strategy's turn -----------------------------------------------------------------

    def _pay(self, row: int) -> None:
        """What the day pays by what was held at the close before; see ``engine.trading.cash_flows``."""
        owed = financing(self.cash, self.tape.financing[row]) if self.cash.min() < 0 else None
        self.cash += interest(self.cash, self.tape.interest[row])
        if owed is not None:
            self.cash += owed
            self.costs[:, row] -= owed
            self.by_kind[:, KINDS.index("financing")] -= owed
        if self.tape.dividends is not None and self.tape.dividends[row].any():
            self.cash += (self.shares * self.tape.dividends[row][self.ids]).sum(axis=1)

    def _credit(self, row: int) -> np.ndarray:
        """What may be owed by the value at a close."""
        return credit(self.cash, self.values[:, row], self.max_exposure)

    def _rates(self, row: int, ids: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, ...]:
        """Commission, half the spread and impact as parts of the value traded, as known at a close."""
        impact = self.tape.impact[row][ids]
        if impact.any():
            impact = impact * np.sqrt(np.abs(np.nan_to_num(units)))
        return self.tape.commission[ids], self.tape.spread[row][ids], impact

    def _rate(self, row: int, ids: np.ndarray, units: np.ndarray) -> np.ndarray:
        commission, spread, impact = self._rates(row, ids, units)
        return commission + spread + impact

    def _lots(self, row: int, ids: np.ndarray) -> np.ndarray | float:
        """Units of which whole multiples are traded."""
        return 1.0 if self.tape.lots is None else self.tape.lots[row][ids]

    def _fill(self, row: int) -> None:
        """Check the orders sent on the day before, then fill what has a bar."""
        if not self.live.any():
            return
        new = (self.live != 0) & (self.sent == row - 1)
        self._check(new, row - 1)
        fills = (self.live != 0) & self.tape.bar[row][self.ids]
        sent = self.sent[fills]
        for day in [sent[0]] if len(sent) and (sent == sent[0]).all() else np.unique(sent):
            self._execute(fills & (self.sent == day), row)

    def _check(self, new: np.ndarray, sent: int) -> None:
        """Refuse the new buys for which the cash would not last at the closes they were sized by."""
        amount = np.where(new, self.live, 0.0)
        worth = amount * self.tape.close[sent][self.ids]
        cost = worth + np.abs(worth) * self._rate(sent, self.ids, amount)
        sold = np.where(amount < 0, cost, 0.0).sum(axis=1)
        left = (self.cash + self._credit(sent) - sold)[:, None] - np.cumsum(np.where(amount > 0, cost, 0.0), axis=1)
        self._refuse(new & (amount > 0) & (left < 0))

    def _refuse(self, orders: np.ndarray) -> None:
        self.live[orders] = 0.0
        self.reason[orders] = AGAIN

    def _execute(self, fills: np.ndarray, row: int) -> None:
        """Fill orders sent together: sells, then buys one after the other as long as the cash lasts."""
        price = self.tape.open[row][self.ids]
        amount = np.where(fills, self.live, 0.0)
        worth = np.where(fills, amount * price, 0.0)
        rates = self._rates(row - 1, self.ids, amount)
        kinds = [np.abs(worth) * rate for rate in rates]
        fee = np.abs(worth) * sum(rates)
        self.cash -= np.where(amount < 0, worth + fee, 0.0).sum(axis=1)
        buys = fills & (amount > 0)
        done = fills & (amount < 0) | self._pay_for(buys, np.where(buys, worth + fee, 0.0), row)
        self.shares += np.where(done, amount, 0.0)
        self.costs[:, row] += np.where(done, fee, 0.0).sum(axis=1)
        for kind, paid in zip(OF_TRADES, kinds, strict=True):
            self.by_kind[:, KINDS.index(kind)] += np.where(done, paid, 0.0).sum(axis=1)
        self.traded += np.where(done, np.abs(worth), 0.0).sum(axis=1)
        self.live[done] = 0.0
        reached = missing_shares(self.target, self.shares) == 0  # it is not where only a part was sent
        self.target[done & reached & (self.reason != AGAIN)] = np.nan
        self._refuse(buys & ~done)

    def _pay_for(self, buys: np.ndarray, cost: np.ndarray, row: int) -> np.ndarray:
        """Take what buys cost out of the cash, one after the other as long as it lasts; those that were paid."""
        value = self.values[:, [row - 1]]
        left = np.cumsum(np.column_stack([self.cash, -cost]), axis=1)
        lasts = left[:, :-1] + credit(left[:, :-1], value, self.max_exposure) - cost >= 0.0
        paid, short = buys & lasts, (buys & ~lasts).any(axis=1)
        self.cash = np.where(short, self.cash, left[:, -1])
        for slot in np.flatnonzero(buys[short].any(axis=0)):  # where one was refused, others may be paid after it
            cash = self.cash[short]
            paid[short, slot] = buys[short, slot] & (
                cash + credit(cash, value[short, 0], self.max_exposure) - cost[short, slot] >= 0.0
            )
            self.cash[short] -= np.where(paid[short, slot], cost[short, slot], 0.0)
        return paid

    # What the strategy does on the close -----------------------------------------------------------------------------

    def _rebalance(self, row: int, picks: np.ndarray, weights: np.ndarray) -> None:
        """New targets for everything held or picked; orders under way are taken back."""
        self._keep(self.shares != 0)
        ids = np.concatenate([self.ids, picks], axis=1)
        shares = np.concatenate([self.shares, np.zeros(picks.shape)], axis=1)
        weight = np.concatenate([np.zeros(self.ids.shape), np.where(picks == self.spare, 0.0, weights)], axis=1)
        order = np.argsort(ids, axis=1, kind="stable")
        ids, shares, weight = (np.take_along_axis(table, order, axis=1) for table in (ids, shares, weight))
        twice = (ids[:, 1:] == ids[:, :-1]) & (ids[:, 1:] != self.spare)  # held, and picked again
        weight[:, :-1] += np.where(twice, weight[:, 1:], 0.0)
        ids[:, 1:][twice] = self.spare
        self.ids, self.shares = ids, shares
        wanted = target_shares(
            weight, self.tape.close[row][ids], np.maximum(self.values[:, [row]], 0.0),
            cash_buffer=self.trading.cash_buffer, fractional=self.trading.fractional, lots=self._lots(row, ids),
        )  # fmt: skip
        self.target = np.where(ids != self.spare, wanted, np.nan)
        self.live = np.zeros(ids.shape)
        self.sent = np.full(ids.shape, row)
        stopped = (shares != 0) & (self.tape.silent[row][ids] >= STOPPED_AFTER)
        self.reason = np.where(stopped, STOPPED, REBALANCE).astype(np.int8)
        self.since = row
        self._keep(ids != self.spare)
        self._work(row)

    def _sell_stopped(self, row: int) -> None:
        silent = self.tape.silent[row][self.ids] >= STOPPED_AFTER
        due = (self.shares != 0) & silent & (self.reason != STOPPED)
        if due.any():
            self.live[due] = -self.shares[due]
            self.sent[due] = row
            self.target[due] = np.nan
            self.reason[due] = STOPPED

    def _work(self, row: int) -> None:
        """Send an order for every target that has none under way."""
        if np.isnan(self.target).all():
            return
        self._give_up(row)
        again = self.reason == AGAIN
        missing = missing_shares(self.target, self.shares, np.where(again, REACHED, SETTLED))
        missing[self.live != 0] = np.nan
        reached = missing == 0
        self.target[reached] = np.nan
        missing[reached] = np.nan
        again &= missing > 0
        send = np.isfinite(missing) & ~again
        self.live[send] = np.where(self.reason == STOPPED, missing, self._part(row, missing))[send]
        self.sent[send] = row
        if again.any():
            self._buy_again(row, again, missing)

    def _part(self, row: int, missing: np.ndarray) -> np.ndarray:
        """As much of what is missing as one day's order may be for."""
        if self.tape.most is None:
            return missing
        most = self.tape.most[row][self.ids]
        part = np.clip(missing, -most, most)
        if self.trading.fractional:
            return part
        return np.where(np.abs(part) < np.abs(missing), whole_lots(part, self._lots(row, self.ids)), part)

    def _give_up(self, row: int) -> None:
        """Drop what could not be filled in time, and buys of assets that fell silent."""
        working = np.isfinite(self.target)
        waited = self.tape.count[row] - self.tape.count[self.since] >= GIVE_UP_AFTER
        silent = self.tape.silent[row][self.ids] >= STOPPED_AFTER // 2
        drop = working & (waited | ((self.target > self.shares) & silent & (self.live != 0)))
        self.live[drop] = 0.0
        self.target[drop] = np.nan

    def _buy_again(self, row: int, again: np.ndarray, missing: np.ndarray) -> None:
        """Buys refused for margin, one after the other, cut to the cash no other waits for, less 1 %."""
        price = self.tape.close[row][self.ids]
        promised = np.where(self.live > 0, self.live * price, 0.0).sum(axis=1)
        selling = (self.live < 0).any(axis=1)
        dust, lent = DUST * self.values[:, row], self._credit(row)
        rate, parts = self._rate(row, self.ids, missing), self._part(row, missing)
        for slot in np.flatnonzero(again.any(axis=0)):
            affordable = affordable_shares(
                self.cash + lent - promised, price[:, slot], rate[:, slot],
                fractional=self.trading.fractional, lots=self._lots(row, self.ids[:, slot]),
            )  # fmt: skip
            amount = np.minimum(missing[:, slot], affordable)
            send = again[:, slot] & (amount * price[:, slot] > dust)
            amount = np.minimum(amount, parts[:, slot])
            self.live[send, slot] = amount[send]
            self.sent[send, slot] = row
            promised += np.where(send, amount * price[:, slot], 0.0)
            self.target[again[:, slot] & ~send & ~selling, slot] = np.nan


class _Guarded(_Block):
    """One portfolio that a guard looks at, by the rule of ``strategies.rebalance``."""

    def __init__(
        self,
        tape: Tape,
        trading: TradingConfig,
        decisions: np.ndarray,
        max_exposure: float,
        panel: Panel,
        targets: Targets | Chooser,
        rows: slice,
        guard: Guard,
        cuts: dict[int, Panel],
    ):
        super().__init__(tape, trading, decisions, max_exposure, panel, targets, rows)
        self.cuts = cuts  # the panel cut at a row, for all portfolios
        self.guard = guard
        traded = tape.column[:-1] >= 0
        names = np.arange(self.spare).astype(object)  # what was gone before the run has a number for a name
        names[tape.column[:-1][traded]] = panel.symbols[traded]
        self.names = pd.Index(names)  # as the tape's columns
        self.entries: dict[str, pd.Timestamp] = {}
        self.wanted = pd.Series(dtype=float)
        self.decided = -1
        self.resting: dict[int, tuple[float, float, float]] = {}  # by column: shares, stop and limit price
        self.left: dict[str, pd.Timestamp] = {}

    def _fill(self, row: int) -> None:
        waiting = self.live.any() or self.resting
        super()._fill(row)
        if not waiting:
            return
        for column, order in self.resting.items():
            self._carry_out(row, column, *order)
        self.resting = {}
        held = {self.names[at] for at in self.ids[0][self.shares[0] != 0]}
        self.entries = {name: self.entries.get(name, self.tape.days[row]) for name in held}

    def _rest(self, row: int) -> None:
        """The guard's orders for what no other is about to sell."""
        if not rests(self.guard) or not self.shares.any():
            return
        for name, order in cast(Any, self.guard).resting(self._cut(row), self._state(row)).items():
            column = int(self.names.get_loc(name))
            slot = int(np.searchsorted(self.ids[0], column))
            held, close = self.shares[0, slot], self.tape.close[row, column]
            shares = held + min(self.live[0, slot], 0.0)
            if shares > SETTLED * held:
                free = np.zeros(self.ids.shape)
                free[0, slot] = shares
                shares = float(self._part(row, free)[0, slot])
            if shares > 0:
                self.resting[column] = shares, order.stop * close, order.limit * close

    def _carry_out(self, row: int, column: int, shares: float, stop: float, limit: float) -> None:
        """Sell where the day's bar reaches the stop or, if not that, the limit; what is left goes at the next open."""
        assert self.tape.high is not None and self.tape.low is not None  # they are read where an order may rest
        opened, high, low = self.tape.open[row, column], self.tape.high[row, column], self.tape.low[row, column]
        if opened <= stop or low <= stop:
            price = opened if opened <= stop else stop
        elif opened >= limit or high >= limit:
            price = opened if opened >= limit else limit
        else:
            return
        slot = int(np.searchsorted(self.ids[0], column))
        worth = shares * price
        kinds = [worth * float(rate[0]) for rate in self._rates(row - 1, np.array([column]), np.array([shares]))]
        self.cash[0] += worth - sum(kinds)
        self.costs[0, row] += sum(kinds)
        for kind, paid in zip(OF_TRADES, kinds, strict=True):
            self.by_kind[0, KINDS.index(kind)] += paid
        self.traded[0] += worth
        self.shares[0, slot] -= shares
        self.live[0, slot], self.reason[0, slot] = 0.0, REBALANCE
        self.target[0, slot] = 0.0 if self.shares[0, slot] else np.nan
        self.left[self.names[column]], self.since = self.tape.days[row], row

    def _decide(self, row: int, picks: np.ndarray, weights: np.ndarray) -> None:
        chosen = picks[0] != self.spare
        self.wanted, self.decided = pd.Series(weights[0][chosen], self.names[picks[0][chosen]]), row
        self._ask(row)
        self._want(row)

    def _look(self, row: int) -> None:
        if row not in self._looks(row, row + 1):
            return
        before = self.wanted
        self._ask(row)
        changed = changed_names(before, self.wanted)
        if changed:
            self._aim(row, changed)

    def _aim(self, row: int, names: list[str]) -> None:
        """New target shares for these names; what is under way for others goes on."""
        self._keep((self.shares != 0) | (self.live != 0) | np.isfinite(self.target))
        names = [name for name in names if name in self.names]  # of what was gone before the run the part stays cash
        aimed = self.names.get_indexer(names)
        for column in np.setdiff1d(aimed, self.ids[0]):
            self._add_slot(int(column))
        weights = self.wanted.reindex(names, fill_value=0.0)
        order = np.searchsorted(self.ids[0], aimed)
        self.target[0, order] = target_shares(
            weights.to_numpy(), self.tape.close[row][aimed], max(self.values[0, row], 0.0),
            cash_buffer=self.trading.cash_buffer, fractional=self.trading.fractional, lots=self._lots(row, aimed),
        )  # fmt: skip
        self.live[0, order], self.sent[0, order] = 0.0, row
        stopped = (self.shares[0, order] != 0) & (self.tape.silent[row][aimed] >= STOPPED_AFTER)
        self.reason[0, order] = np.where(stopped, STOPPED, REBALANCE)
        self.since = row

    def _add_slot(self, column: int) -> None:
        """An empty slot for a column of the tape, in its place."""
        at = int(np.searchsorted(self.ids[0], column))
        empty = {"ids": column, "shares": 0, "target": np.nan, "live": 0, "sent": 0, "reason": REBALANCE}
        for name, value in empty.items():
            setattr(self, name, np.insert(getattr(self, name), at, value, axis=1))

    def _next_turn(self, row: int) -> int:
        if self.resting:
            return row
        looks = self._looks(row, len(self.tape.days))
        return min(super()._next_turn(row), int(looks[0]) if len(looks) else len(self.tape.days))

    def _looks(self, first: int, last: int) -> np.ndarray:
        """Rows of this span at which the guard looks: every so many sessions after the last decision."""
        if self.decided < 0:
            return np.empty(0, dtype=np.int64)
        since = self.tape.count[first:last] - self.tape.count[self.decided]
        rows = np.arange(first, last)
        return rows[self.tape.session[first:last] & (since % self.guard.guard_every == 0) & (rows > self.decided)]

    def _ask(self, row: int) -> None:
        if self.values[0, row] <= 0:  # lost: there is nothing to look at, and what is held is sold
            self.wanted = pd.Series(dtype=float)
            return
        self.wanted, _, self.memory = guarded(self.guard, self.wanted, self._cut(row), self._state(row))
        self.left = {}

    def _cut(self, row: int) -> Panel:
        if row not in self.cuts:
            self.cuts[row] = self.panel.until(self.tape.days[row])
        return self.cuts[row]

    def _state(self, row: int) -> PortfolioState:
        value = float(self.values[0, row])
        held = self.shares[0] != 0
        worth = (self.shares[0] * self.tape.close[row][self.ids[0]])[held]
        first = self.decisions[0]
        sessions = np.flatnonzero(self.tape.session[first : row + 1]) + first
        return PortfolioState(
            weights=pd.Series(worth / value, self.names[self.ids[0][held]]),
            cash=float(self.cash[0]) / value,
            entries=dict(self.entries),
            decided=self.tape.days[self.decided],
            values=pd.Series(self.values[0, sessions], self.tape.days[sessions]),
            memory=self.memory,
            left=self.left,
        )

    def _want(self, row: int) -> None:
        picks, weights = self.names.get_indexer(self.wanted.index)[None], self.wanted.to_numpy(dtype=float)[None]
        self._rebalance(row, picks, weights)
