"""Many accounts traded side by side, each on a day of its own, by the rules of ``strategies.rebalance``, in NumPy.

What a backtest does order by order is done here for every account at once: sized on the close, interest before the next
fills, fills at each asset's next open, sells before buys, the cash checked at the closes and again at each fill, a
refused buy sent again for what the cash allows, positions in what stopped trading sold. Shares are divisible.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clusterfolio.feeds.bt_feed import terminal_bars
from clusterfolio.feeds.panel import STOPPED_AFTER, Panel
from clusterfolio.strategies.agents.terms import Terms
from clusterfolio.strategies.orders import SETTLED, affordable_shares, missing_shares, target_shares
from clusterfolio.strategies.rebalance import DUST, GIVE_UP_AFTER, REACHED

#: Why an order is there; see ``strategies.rebalance``.
REBALANCE, STOPPED, AGAIN = 0, 1, 2


@dataclass(frozen=True)
class Bars:
    """Bars as accounts meet them; assets sorted by name, shapes ``(n_days, n_assets)`` unless stated.

    Attributes:
        names: of the assets, ``(n_assets,)``.
        days: every day on which one of them has a bar, or that is a session.
        open: where there is a bar to fill at; ``close``: the last one known, 1 before the first.
        bar: whether there is one.
        silent: sessions since the last one.
        stops: the first day from this one on by which an asset has stopped trading; the number of days where none is.
        rate: cost per unit of value traded, ``(n_assets,)``.
        interest: what each day pays on the cash of the close before, ``(n_days,)``; ``growth``: its running product.
        count: sessions up to each day, ``(n_days,)``.
    """

    names: pd.Index
    days: pd.DatetimeIndex
    open: np.ndarray
    close: np.ndarray
    bar: np.ndarray
    silent: np.ndarray
    stops: np.ndarray
    rate: np.ndarray
    interest: np.ndarray
    growth: np.ndarray
    count: np.ndarray


def read_bars(panel: Panel, names: pd.Index, terms: Terms, cash: pd.Series | None = None) -> Bars:
    """The bars of these assets.

    Args:
        cash: simple return of cash per session, each known at the close of the session before; None = 0.
    """
    names = names.sort_values()
    stops = terminal_bars(panel)
    stops = stops[stops["symbol"].isin(names)]
    traded = panel.dates[panel.close[names].notna().any(axis=1)]
    days = traded.union(pd.DatetimeIndex(stops["date"].unique())).union(panel.sessions.intersection(panel.dates))
    close, opens = (_array(getattr(panel, field)[names].reindex(days)) for field in ("close", "open"))
    at = days.get_indexer(stops["date"]), names.get_indexer(stops["symbol"])
    close[at] = opens[at] = stops["price"].to_numpy()
    bar = np.isfinite(close)
    last = np.maximum.accumulate(np.where(bar, np.arange(len(days))[:, None], -1), axis=0)
    count = panel.sessions.searchsorted(days, side="right")
    silent = np.where(last >= 0, count[:, None] - count[np.maximum(last, 0)], 0)
    close = np.where(last >= 0, np.take_along_axis(close, np.maximum(last, 0), axis=0), 1.0)
    stopped = np.where(silent >= STOPPED_AFTER, np.arange(len(days))[:, None], len(days))
    known = pd.Series(0.0, days) if cash is None or not terms.interest else cash.reindex(days)
    interest = known.where(days.isin(panel.sessions), 0.0).fillna(0.0).to_numpy(dtype=float)
    charged = panel.assets.loc[names, ["commission_bps", "half_spread_bps"]].sum(axis=1).to_numpy(dtype=float)
    return Bars(
        names=names,
        days=days,
        open=opens,
        close=close,
        bar=bar & np.isfinite(opens),
        silent=silent,
        stops=np.minimum.accumulate(stopped[::-1], axis=0)[::-1],
        rate=charged * terms.cost_multiplier / 1e4,
        interest=interest,
        growth=np.cumprod(1.0 + interest),
        count=count,
    )


def _array(frame: pd.DataFrame) -> np.ndarray:
    return frame.to_numpy(dtype=float, copy=True)


class Accounts:
    """Cash and shares of many accounts; arrays are ``(n_accounts, n_assets)`` unless stated.

    Args:
        bars: what they trade on.
        rows: the day each account is on, after its close, int ``(n_accounts,)``.
        terms: capital and cash buffer.

    Attributes:
        cash: ``(n_accounts,)``; ``shares``: held.
        target: shares wanted, NaN where nothing is being worked on.
        live, sent, reason: the order under way in signed shares (0 = none), the day it was sent, and why it is there.
        entered: the day on which what is held was bought.
        costs: paid so far, ``(n_accounts,)``; ``traded``: value bought and sold so far.
    """

    #: What a day changes of an account.
    OF_A_DAY = ("cash", "shares", "target", "live", "sent", "reason", "entered", "costs", "traded", "rows")

    def __init__(self, bars: Bars, rows: np.ndarray, terms: Terms):
        shape = len(rows), len(bars.names)
        self.bars, self.terms = bars, terms
        self.rows = np.array(rows, dtype=np.int64)
        self.cash = np.full(len(rows), float(terms.capital))
        self.shares, self.live = np.zeros(shape), np.zeros(shape)
        self.target = np.full(shape, np.nan)
        self.sent, self.entered = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        self.reason = np.zeros(shape, dtype=np.int8)
        self.since = self.rows.copy()
        self.costs, self.traded = np.zeros(len(rows)), np.zeros(len(rows))

    def value(self) -> np.ndarray:
        """Of each account at its day's close, ``(n_accounts,)``."""
        return self.cash + (self.shares * self.bars.close[self.rows]).sum(axis=1)

    def weights(self) -> np.ndarray:
        """What is held, as fractions of the account's value."""
        return self.shares * self.bars.close[self.rows] / self.value()[:, None]

    def hold(self, weights: np.ndarray) -> None:
        """Hold these fractions of the value at once, bought at the close for nothing: where an episode begins."""
        value = self.value()
        self.shares = value[:, None] * weights / self.bars.close[self.rows]
        self.cash = value * (1.0 - weights.sum(axis=1))
        self.entered[:] = self.rows[:, None]

    def order(self, weights: np.ndarray) -> None:
        """Decide on the close of each account's day: new targets for all that is held or wanted."""
        row, close = self.rows, self.bars.close[self.rows]
        wanted = target_shares(
            weights, close, self.value()[:, None], cash_buffer=self.terms.cash_buffer, fractional=True
        )
        self.target = np.where((self.shares != 0) | (weights != 0), wanted, np.nan)
        self.live[:] = 0.0
        self.sent[:] = row[:, None]
        silent = self.bars.silent[row] >= STOPPED_AFTER
        self.reason = np.where((self.shares != 0) & silent, STOPPED, REBALANCE).astype(np.int8)
        self.since = row.copy()
        self._work(np.arange(len(row)))

    def advance(self, until: np.ndarray) -> None:
        """To the close of another day of each account's, int ``(n_accounts,)``, before anything is decided there."""
        while len(at := np.flatnonzero(self.rows < until)):
            busy = self._busy(at, until[at])
            quiet = at[~busy]
            self.cash[quiet] *= self.bars.growth[until[quiet]] / self.bars.growth[self.rows[quiet]]
            self.rows[quiet] = until[quiet]
            if busy.any():
                self._day(at[busy], until[at[busy]])

    def _busy(self, at: np.ndarray, until: np.ndarray) -> np.ndarray:
        working = (self.live[at] != 0).any(axis=1) | ~np.isnan(self.target[at]).all(axis=1)
        stops = self.bars.stops[self.rows[at] + 1] <= until[:, None]
        return working | (stops & (self.shares[at] != 0)).any(axis=1)

    def _day(self, at: np.ndarray, until: np.ndarray) -> None:
        """One day on for these accounts."""
        self.rows[at] += 1
        self.cash[at] += self.cash[at] * self.bars.interest[self.rows[at]]
        self._check(at)
        fills = (self.live[at] != 0) & self.bars.bar[self.rows[at]]
        for sent in np.unique(self.sent[at][fills] - self.rows[at][:, None].repeat(fills.shape[1], 1)[fills]):
            self._execute(at, fills & (self.sent[at] - self.rows[at][:, None] == sent))
        goes_on = at[self.rows[at] < until]
        if len(goes_on):
            self._sell_stopped(goes_on)
            self._work(goes_on)

    def _check(self, at: np.ndarray) -> None:
        """Refuse the new buys for which the cash would not last at the closes they were sized by."""
        live = self.live[at]
        amount = np.where(self.sent[at] == self.rows[at][:, None] - 1, live, 0.0)
        worth = amount * self.bars.close[self.rows[at] - 1]
        cost = worth + np.abs(worth) * self.bars.rate
        sold = np.where(amount < 0, cost, 0.0).sum(axis=1)
        left = (self.cash[at] - sold)[:, None] - np.cumsum(np.where(amount > 0, cost, 0.0), axis=1)
        self._refuse(at, (amount > 0) & (left < 0))

    def _refuse(self, at: np.ndarray, orders: np.ndarray) -> None:
        live, reason = self.live[at], self.reason[at]
        live[orders], reason[orders] = 0.0, AGAIN
        self.live[at], self.reason[at] = live, reason

    def _execute(self, at: np.ndarray, fills: np.ndarray) -> None:
        """Fill orders sent together: sells, then buys one after the other as long as the cash lasts."""
        rate = self.bars.rate
        amount = np.where(fills, self.live[at], 0.0)
        worth = np.where(fills, amount * self.bars.open[self.rows[at]], 0.0)
        fee = np.abs(worth) * rate
        cash = self.cash[at] - np.where(amount < 0, worth + fee, 0.0).sum(axis=1)
        buys, cost = amount > 0, np.where(amount > 0, worth + fee, 0.0)
        paid = buys & (cash - cost.sum(axis=1) >= 0)[:, None]
        cash -= np.where(paid, cost, 0.0).sum(axis=1)
        short = np.flatnonzero((buys & ~paid).any(axis=1))
        for slot in np.flatnonzero(buys[short].any(axis=0)):
            pays = buys[short, slot] & (cash[short] - cost[short, slot] >= 0)
            cash[short] -= np.where(pays, cost[short, slot], 0.0)
            paid[short, slot] = pays
        done = fills & ((amount < 0) | paid)
        self._book(at, done, amount, worth, fee)
        self.cash[at] = cash
        self._refuse(at, buys & ~paid)

    def _book(self, at: np.ndarray, done: np.ndarray, amount: np.ndarray, worth: np.ndarray, fee: np.ndarray) -> None:
        before = self.shares[at]
        self.shares[at] = before + np.where(done, amount, 0.0)
        self.entered[at] = np.where(done & (before == 0), self.rows[at][:, None], self.entered[at])
        self.costs[at] += np.where(done, fee, 0.0).sum(axis=1)
        self.traded[at] += np.where(done, np.abs(worth), 0.0).sum(axis=1)
        self.live[at] = np.where(done, 0.0, self.live[at])
        self.target[at] = np.where(done & (self.reason[at] != AGAIN), np.nan, self.target[at])

    def _sell_stopped(self, at: np.ndarray) -> None:
        silent = self.bars.silent[self.rows[at]] >= STOPPED_AFTER
        due = (self.shares[at] != 0) & silent & (self.reason[at] != STOPPED)
        if due.any():
            self.live[at] = np.where(due, -self.shares[at], self.live[at])
            self.sent[at] = np.where(due, self.rows[at][:, None], self.sent[at])
            self.target[at] = np.where(due, np.nan, self.target[at])
            self.reason[at] = np.where(due, STOPPED, self.reason[at])

    def _work(self, at: np.ndarray) -> None:
        """Send an order for every target that has none under way."""
        if np.isnan(self.target[at]).all():
            return
        self._give_up(at)
        again = self.reason[at] == AGAIN
        target, live = self.target[at], self.live[at]
        missing = missing_shares(target, self.shares[at], np.where(again, REACHED, SETTLED))
        missing[live != 0] = np.nan
        target[missing == 0] = np.nan
        missing[missing == 0] = np.nan
        again &= missing > 0
        send = np.isfinite(missing) & ~again
        self.target[at] = target
        self._send(at, send, missing)
        if again.any():
            self._buy_again(at, again, missing)

    def _send(self, at: np.ndarray, send: np.ndarray, amount: np.ndarray) -> None:
        self.live[at] = np.where(send, amount, self.live[at])
        self.sent[at] = np.where(send, self.rows[at][:, None], self.sent[at])

    def _give_up(self, at: np.ndarray) -> None:
        """Drop what could not be filled in time, and buys of assets that fell silent."""
        row, live, target = self.rows[at], self.live[at], self.target[at]
        waited = (self.bars.count[row] - self.bars.count[self.since[at]] >= GIVE_UP_AFTER)[:, None]
        silent = self.bars.silent[row] >= STOPPED_AFTER // 2
        drop = np.isfinite(target) & (waited | ((target > self.shares[at]) & silent & (live != 0)))
        self.live[at] = np.where(drop, 0.0, live)
        self.target[at] = np.where(drop, np.nan, target)

    def _buy_again(self, at: np.ndarray, again: np.ndarray, missing: np.ndarray) -> None:
        """Buys refused for margin, one after the other, cut to the cash no other waits for, less 1 %."""
        price, live = self.bars.close[self.rows[at]], self.live[at]
        promised = np.where(live > 0, live * price, 0.0).sum(axis=1)
        selling, dust, cash = (live < 0).any(axis=1), DUST * self.value()[at], self.cash[at]
        amount, send = np.zeros_like(missing), np.zeros_like(again)
        for slot in np.flatnonzero(again.any(axis=0)):
            most = affordable_shares(cash - promised, price[:, slot], self.bars.rate[slot], fractional=True)
            amount[:, slot] = np.minimum(missing[:, slot], most)
            send[:, slot] = again[:, slot] & (amount[:, slot] * price[:, slot] > dust)
            promised += np.where(send[:, slot], amount[:, slot] * price[:, slot], 0.0)
        self._send(at, send, amount)
        self.target[at] = np.where(again & ~send & ~selling[:, None], np.nan, self.target[at])
