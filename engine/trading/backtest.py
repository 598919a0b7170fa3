"""One bar-by-bar backtest: Cerebro wired up, run, and turned into tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import backtrader as bt
import numpy as np
import pandas as pd

from clusterfolio.engine.trading.cash_flows import FINANCING, INTEREST, AccountBroker, cash_flows, payments_table
from clusterfolio.engine.trading.clock import ClockCerebro
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.costs import KINDS, OF_TRADES, Charged, Costs, Known, costs_of
from clusterfolio.engine.trading.whole_shares import Traded, in_whole_shares
from clusterfolio.feeds.bt_feed import panel_feeds
from clusterfolio.feeds.panel import FIELDS, STOPPED_AFTER, Panel
from clusterfolio.strategies.policy import Decision, Policy, guard_of, largest_exposure
from clusterfolio.strategies.rebalance import RebalanceStrategy

TRANSACTION_COLUMNS = ("date", "symbol", "amount", "price", "value", *OF_TRADES, "reason")


@dataclass(frozen=True)
class BacktestResult:
    """What a backtest did, on the benchmark's sessions from the first decision on.

    Attributes:
        returns: columns ``strategy`` and ``benchmark``: simple daily returns net of costs, session to session; first
            row = the first session after the first decision.
        gross: the strategy's daily return before costs, same index: net and what ``costs`` are of the value before.
        costs: money paid by session and kind (``engine.trading.costs.KINDS``), same index.
        value: value of the account at each session's close, from the first decision on.
        positions: value by symbol (every symbol ever held) and ``cash``, same index as ``value``.
        transactions: one row per fill, columns ``TRANSACTION_COLUMNS``; ``amount`` in signed shares, money in the
            account's currency.
        payments: what was paid into the account's cash (negative: out of it) before a day's fills: columns
            ``engine.trading.cash_flows.PAYMENT_COLUMNS``; ``symbol`` is empty for interest and financing.
        decisions: in order of date.
        unfilled: ``(date, symbol, why)`` of every target that could not be reached.
        capital: what the account started with.
        clock: which loop served the run, and why.
    """

    returns: pd.DataFrame
    gross: pd.Series
    costs: pd.DataFrame
    value: pd.Series
    positions: pd.DataFrame
    transactions: pd.DataFrame
    payments: pd.DataFrame
    decisions: list[Decision]
    unfilled: list[tuple[pd.Timestamp, str, str]]
    capital: float
    clock: str

    @property
    def interest(self) -> pd.Series:
        """What cash earned on each session of ``returns``, in money; negative where it was borrowed."""
        return _paid(self.payments, INTEREST, self.returns.index).rename("interest")

    @property
    def weights(self) -> pd.DataFrame:
        """Target weights, index = decision date; a column per symbol ever chosen, and ``CASH``."""
        table = pd.DataFrame({d.asof: d.weights for d in self.decisions}).T.sort_index(axis=1).fillna(0.0).astype(float)
        # Of each decision alone: a sum over all columns would round by how many names later decisions add.
        table["CASH"] = [round(1.0 - float(d.weights.sum()), 12) + 0.0 for d in self.decisions]  # neither -2e-16 nor -0
        return table.rename_axis("date")


class AccountBook(bt.Analyzer):
    """Cash and the value of each position held, at every session's close."""

    params = dict(sessions=(), progress=None)  # noqa: RUF012 - backtrader's form

    def start(self):
        """Called before the first bar."""
        self.sessions = set(self.p.sessions)
        self.rows: dict[pd.Timestamp, dict[str, float]] = {}

    def prenext(self):
        """Called on every bar, also before every feed has begun."""
        self.next()

    def next(self):
        """Note cash and positions, where the bar ends a session."""
        now = pd.Timestamp(self.strategy.datetime.date(0))
        if now not in self.sessions:
            return
        broker = self.strategy.broker
        held = {data._name: broker.get_value([data]) for data, held in list(broker.positions.items()) if held.size}
        self.rows[now] = {"cash": broker.getcash(), **held}
        if self.p.progress is not None:
            self.p.progress(now)


def run_backtest(
    panel: Panel,
    policy_for: Callable[[pd.Timestamp], Policy],
    decision_dates: pd.DatetimeIndex,
    trading: TradingConfig,
    clock: str = "shared",
    progress: Callable[[pd.Timestamp], None] | None = None,
    cash: pd.Series | float | None = None,
) -> BacktestResult:
    """Trade a policy's decisions bar by bar, to the panel's last session.

    Args:
        panel: prices in the account's currency; the run ends with it.
        policy_for: the policy fitted on data before a given day. The account lends what the first one's guard may ask
            for (``max_exposure``).
        decision_dates: sessions to decide on; fills come at the next open, so the last must lie before the end.
        clock: "shared" or "stock".
        progress: called with each session once it is done.
        cash: what idle cash earns, where ``trading.cash_interest`` is on: simple return per session, each known at the
            close of the session before, or one annual rate; None = nothing.
    """
    if not len(decision_dates):
        raise ValueError("decision_dates: empty; the test span holds no decision date before its last session")
    missing = decision_dates.difference(panel.sessions.intersection(panel.dates))
    if len(missing):
        raise ValueError(f"decision_dates: {missing[0].date()} is not one of the panel's sessions with a bar")
    if decision_dates[-1] >= panel.sessions[-1]:
        raise ValueError(f"decision_dates: nothing can fill after {decision_dates[-1].date()}, where the panel ends")
    traded = traded_part(panel, decision_dates[0], trading.fractional)
    cerebro = ClockCerebro(stdstats=False) if clock == "shared" else bt.Cerebro(stdstats=False)
    for feed in panel_feeds(traded.panel):
        cerebro.adddata(feed)
    sessions = traded.panel.sessions
    flows = cash_flows(cash, trading, decision_dates[0], sessions, traded.dividends)
    costs = costs_of(panel, traded.panel, trading)
    known = Known(costs)
    cerebro.broker = AccountBroker(flows, largest_exposure(guard_of(policy_for(decision_dates[0]))), known)
    cerebro.broker.setcash(trading.capital)
    for column, symbol in enumerate(costs.symbols):
        cerebro.broker.addcommissioninfo(Charged(known=known, column=column), name=symbol)
    cerebro.addanalyzer(AccountBook, _name="book", sessions=sessions, progress=progress)
    cerebro.addstrategy(
        RebalanceStrategy,
        policy_for=policy_for,
        decision_dates=tuple(decision_dates),
        panel=panel,
        sessions=panel.sessions,
        cash_buffer=trading.cash_buffer,
        fractional=trading.fractional,
        lots=traded.lots,
        at_most=costs.at_most if trading.volume_cap else None,
    )
    (strategy,) = cerebro.run()
    return _result(strategy, panel, costs, trading.capital, decision_dates[0], _clock_used(cerebro))


def traded_from(panel: Panel, first_decision: pd.Timestamp) -> pd.Timestamp:
    """The session from which on a symbol must have a bar to be traded in a run."""
    return panel.sessions[max(0, panel.sessions.get_loc(first_decision) - STOPPED_AFTER)]


def traded_rows(panel: Panel, first_decision: pd.Timestamp, fractional: bool = True) -> tuple[Traded, np.ndarray]:
    """The rows the run needs, from a little before the first decision, and which symbols trade in them, bool
    ``(n_assets,)``.

    Where one of these has been silent for longer, from its last bar on: what is bought of it is sized by that close.

    Args:
        fractional: in units of total-return levels; else in whole lots of the market's shares.
    """
    whole = Traded(panel) if fractional else in_whole_shares(panel)
    panel = whole.panel
    start = traded_from(panel, first_decision)
    alive = panel.close.loc[start:].notna().any()
    bars = panel.close.loc[:first_decision, alive].notna().to_numpy()[::-1]
    silent = bars.argmax(axis=0)[bars.any(axis=0)]  # rows since the last bar, of those that have one
    row = min(panel.dates.searchsorted(start), len(bars) - 1 - int(silent.max(initial=0)))
    start, rows = min(start, panel.dates[row]), slice(row, None)
    cut = replace(
        panel,
        **{name: getattr(panel, name).iloc[rows] for name in FIELDS},
        sessions=panel.sessions[panel.sessions >= start],
        features=None,
        exog=None,
        member=None,  # decided on, not traded on
        market=None,
        rate=None,
        split=None,
        paid=None,
    )
    if whole.lots is None or whole.dividends is None:
        return Traded(cut), alive.to_numpy()
    days = cut.dates.union(cut.sessions)  # a terminal bar may stand on a day without any other
    lots = whole.lots.reindex(days, method="ffill")
    return Traded(cut, lots, whole.dividends.reindex(days, fill_value=0.0)), alive.to_numpy()


def traded_part(panel: Panel, first_decision: pd.Timestamp, fractional: bool = True) -> Traded:
    """The rows the run needs of the symbols that trade in them; see ``traded_rows``."""
    found, alive = traded_rows(panel, first_decision, fractional)
    # The benchmark first: backtrader's own analyzers take their dates from the first feed.
    names = [panel.benchmark, *(name for name in panel.symbols[alive] if name != panel.benchmark)]
    lots, dividends = (None if frame is None else frame[names] for frame in (found.lots, found.dividends))
    return Traded(found.panel.select(names), lots, dividends)


def _clock_used(cerebro) -> str:
    if not isinstance(cerebro, ClockCerebro):
        return "stock, as asked for"
    return "shared" if cerebro.clock_used else f"stock: {cerebro.fallback_reason}"


def _result(strategy, panel: Panel, costs: Costs, capital: float, first: pd.Timestamp, clock: str) -> BacktestResult:
    book = strategy.analyzers.book.rows
    positions = pd.DataFrame.from_dict(book, orient="index").sort_index().loc[first:]
    names = sorted(name for name in positions.columns if name != "cash")
    positions = positions[[*names, "cash"]].fillna(0.0).rename_axis("date")
    value = positions.sum(axis=1)
    net = value.pct_change(fill_method=None).iloc[1:]
    benchmark = panel.session_closes()[panel.benchmark].pct_change(fill_method=None).reindex(net.index)
    transactions = _transactions(strategy, costs)
    payments = payments_table(strategy.broker.payments)
    spent = costs_by_session(transactions, payments, net.index)
    return BacktestResult(
        returns=pd.DataFrame({"strategy": net, "benchmark": benchmark}).rename_axis("date"),
        gross=(net + spent.sum(axis=1) / value.shift(1).reindex(net.index)).rename("gross"),
        costs=spent,
        value=value.rename("value"),
        positions=positions,
        transactions=transactions,
        payments=payments,
        decisions=strategy.decisions,
        unfilled=strategy.unfilled,
        capital=capital,
        clock=clock,
    )


def costs_by_session(transactions: pd.DataFrame, payments: pd.DataFrame, sessions: pd.DatetimeIndex) -> pd.DataFrame:
    """Money paid by session and kind, columns ``engine.trading.costs.KINDS``.

    A fill on a day that is no session (weekend bars) shows in the next session's value, and is counted there.
    """
    booked = sessions[sessions.searchsorted(transactions["date"]).clip(max=len(sessions) - 1)]
    spent = transactions[list(OF_TRADES)].groupby(booked).sum().reindex(sessions).fillna(0.0)
    return spent.assign(financing=0.0 - _paid(payments, FINANCING, sessions))[list(KINDS)].rename_axis("date")


def _paid(payments: pd.DataFrame, reason: str, sessions: pd.Index) -> pd.Series:
    """Money paid for a reason by session."""
    return payments[payments["reason"] == reason].groupby("date")["amount"].sum().reindex(sessions, fill_value=0.0)


def _transactions(strategy, costs: Costs) -> pd.DataFrame:
    rows = []
    for fill in strategy.fills:
        row = int(costs.days.searchsorted(fill.date)) - 1  # the close before
        parts = costs.parts(row, costs.symbols.get_loc(fill.symbol), fill.amount)
        total = sum(parts)
        commission, spread, impact = (fill.commission * part / total if total else 0.0 for part in parts)
        value = fill.amount * fill.price
        rows.append((fill.date, fill.symbol, fill.amount, fill.price, value, commission, spread, impact, fill.reason))
    return pd.DataFrame(rows, columns=list(TRANSACTION_COLUMNS)).astype({"date": "datetime64[ns]"})
