"""From a session's close to what is wanted: the Strategy of the backtest is run to that bar, and its orders are kept.

Nothing is sent here. Prices are the market's, as ``decide`` uses them: the feeds' closes are what the source states, in
the account's currency and on today's share basis, while the policy is shown the panel it was trained on.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import backtrader as bt
import pandas as pd

from clusterfolio.engine.live.broker import CARRIED, LiveBroker, Outcome, Record, Wanted
from clusterfolio.engine.live.records import Intent, IntentState, Plan
from clusterfolio.engine.live.venue import ZERO
from clusterfolio.feeds.live import Hub, live_feeds
from clusterfolio.feeds.panel import FIELDS, STOPPED_AFTER, Panel
from clusterfolio.strategies.policy import (
    Decision,
    Policy,
    PortfolioState,
    changed_names,
    guard_of,
    largest_exposure,
    rests,
)
from clusterfolio.strategies.rebalance import STOPPED, RebalanceStrategy


@dataclass(frozen=True)
class Day:
    """What is known at a session's close.

    Attributes:
        panel: what the policy is shown; its last row is the day's.
        bars: by field, what a share costs on the market in the account's currency, ``(n_days, n_assets)``; the last
            rows of the panel.
        stale: symbols that trade and have no bar of the day.
        why_not: symbols for which there is no order whatever the venue, and why.
        dividends: by day and symbol, per share held the session before, as the source states them, in the account's
            currency and on the last day's share basis; rows and columns of ``bars``. None = it states none.
        interest: what cash held at the close before earns by each of these days, as a fraction; None = nothing.
        lots: shares of which whole multiples are traded, by symbol, where parts of a share are not; None = 1.
    """

    panel: Panel
    bars: Mapping[str, pd.DataFrame]
    stale: tuple[str, ...] = ()
    why_not: Mapping[str, str] | None = None
    dividends: pd.DataFrame | None = None
    interest: pd.Series | None = None
    lots: pd.Series | None = None

    @property
    def date(self) -> dt.date:
        """The session."""
        return self.panel.dates[-1].date()

    @property
    def closes(self) -> pd.Series:
        """The last closes, by symbol."""
        return self.bars["close"].ffill().iloc[-1]


@dataclass(frozen=True)
class Asked:
    """What the Strategy did on the last bar, and what it noted for its guard.

    Attributes:
        target: weights of a decision.
        aimed: weights that were asked for anew without a decision, by a guard or as a name stopped trading.
    """

    decision: Decision | None
    target: pd.Series | None
    wanted: list[Wanted]
    value: float
    reasons: Mapping[str, str]
    carried: Mapping[str, Any]
    aimed: Mapping[str, float] = field(default_factory=dict)


class Recorded:
    """A policy that repeats what was decided."""

    def __init__(self, weights: Mapping[str, float]):
        self.weights = pd.Series(dict(weights), dtype=float)

    def decide(self, panel: Panel, state: PortfolioState) -> Decision:
        """The decision of that day."""
        return Decision(panel.dates[-1], self.weights)


def ask_strategy(
    day: Day,
    record: Record,
    policy_for: Callable[[pd.Timestamp], Policy],
    decided: tuple[dt.date, Mapping[str, float]] | None,
    decides: bool,
    *,
    cash_buffer: float,
    fractional: bool,
    strategy: type[bt.Strategy] = RebalanceStrategy,
) -> Asked:
    """Run the Strategy over the bars since the last decision, disarmed, and over the last bar, armed.

    Args:
        record: what the journal says of that time.
        policy_for: as the Strategy takes it.
        decided: day and weights of the last decision.
        decides: whether the last bar's day is one to decide on.
    """
    now = day.panel.dates[-1]
    first = now if decided is None else pd.Timestamp(decided[0])
    rows = _rows_from(day, first)
    hub = _filled_hub(day, rows)
    cerebro = bt.Cerebro(stdstats=False)
    for feed in live_feeds(hub):
        cerebro.adddata(feed)
    broker = LiveBroker(record)
    cerebro.setbroker(broker)
    dates = ([first] if decided is not None and first < now else []) + ([now] if decides else [])

    def policy_on(moment: pd.Timestamp) -> Policy:
        if decided is not None and moment == first and moment < now:
            return Recorded(decided[1])
        policy = policy_for(moment)
        check_cash_only(largest_exposure(guard_of(policy)))
        check_market_orders(rests(policy))
        return policy

    cerebro.addstrategy(
        strategy, policy_for=policy_on, decision_dates=tuple(dates), panel=day.panel, sessions=day.panel.sessions,
        cash_buffer=cash_buffer, fractional=fractional, lots=None if fractional else _lots(day, rows),
    )  # fmt: skip
    with _without_word_of_targets():
        (ran,) = cerebro.run()
    last = ran.decisions[-1] if ran.decisions and ran.decisions[-1].asof == now else None
    missed = {name: why for when, name, why in ran.unfilled if when == now and not why.startswith("still waiting")}
    carried = {name: getattr(ran, name) for name in CARRIED if hasattr(ran, name)}
    if last is not None:
        return Asked(last, ran._wanted, broker.wanted, broker.getvalue(), missed, carried)
    aimed = dict.fromkeys((w.symbol for w in broker.wanted if w.reason == STOPPED), 0.0)
    looks = [pd.Series(decided[1] if decided else {}, dtype=float), *(weights for _, weights, _ in ran.guarded)]
    if ran.guarded and ran.guarded[-1][0] == now:
        aimed |= {name: float(looks[-1].get(name, 0.0)) for name in changed_names(*looks[-2:])}
    return Asked(None, None, broker.wanted, broker.getvalue(), missed, carried, aimed)


def _lots(day: Day, rows: slice) -> pd.DataFrame | None:
    """As the Strategy takes them."""
    if day.lots is None:
        return None
    index = day.bars["close"].index[rows]
    return pd.DataFrame([day.lots] * len(index), index)


def check_cash_only(exposure: float) -> None:
    """Refuse a policy that may hold more than the account is worth: no venue here is asked to lend.

    Raises:
        ValueError: exposure above 1.
    """
    if exposure > 1:
        raise ValueError(
            f"risk.max_exposure: the run holds up to {exposure:g} times the account's value on borrowed money, and "
            "paper trading spends cash only; make a run with --set risk.max_exposure=1 for it"
        )


def check_market_orders(resting: bool) -> None:
    """Refuse a policy whose guard has orders that rest with the broker: no venue here is sent any.

    Raises:
        ValueError: it has.
    """
    if resting:
        raise ValueError(
            "risk.stop_orders: the run lets stop orders rest with the broker, and paper trading sends orders for the "
            "next open only; make a run with --set risk.stop_orders=close for it"
        )


def _rows_from(day: Day, first: pd.Timestamp) -> slice:
    """Rows of the bars from a little before a day on: what fell silent must be told from what only begins."""
    sessions = day.panel.sessions
    at = max(0, sessions.searchsorted(first) - STOPPED_AFTER)
    index = day.bars["close"].index
    return slice(index.searchsorted(sessions[at]), None)


def _filled_hub(day: Day, rows: slice) -> Hub:
    bars = {name: day.bars[name].iloc[rows] for name in FIELDS}
    alive = bars["close"].columns[bars["close"].notna().any()]
    hub = Hub([str(name) for name in alive], patience=0.0)
    table = {name: bars[name][alive].to_numpy(dtype=float) for name in FIELDS}
    for row, stamp in enumerate(bars["close"].index):
        for column, symbol in enumerate(hub.symbols):
            if table["close"][row, column] == table["close"][row, column]:
                hub.push(symbol, stamp.to_pydatetime(), {name: table[name][row, column] for name in FIELDS})
    hub.close()
    return hub


@contextmanager
def _without_word_of_targets() -> Iterator[None]:
    """The Strategy warns of targets not reached: anew on every day that is played again, and of orders that wait at the
    end, which is what they are for here. What it says on the last bar is in ``Asked.reasons``.
    """
    log = logging.getLogger(RebalanceStrategy.__module__)

    def wanted(record: logging.LogRecord) -> bool:
        return "target of %s not reached" not in str(record.msg)

    log.addFilter(wanted)
    try:
        yield
    finally:
        log.removeFilter(wanted)


def record_of(
    held: Mapping[str, tuple[float, dt.date]], cash: float, plans: Sequence[Plan], intents: Sequence[Intent],
    fees: Mapping[str, float], cash_now: float, last: dt.date, carried: Mapping[str, Any],
) -> Record:  # fmt: skip
    """What the journal says of the time since the last decision, as the broker takes it.

    Args:
        held, cash, carried: when that decision was made.
        plans, intents: since then.
        fees: by client id.
    """
    outcomes = []
    for plan in plans:
        own = [intent for intent in intents if intent.plan == plan.key]
        for symbol in dict.fromkeys(intent.symbol for intent in own):
            legs = [intent for intent in own if intent.symbol == symbol]
            filled = sum((leg.filled * leg.side.sign for leg in legs), ZERO)
            paid = sum((leg.filled * leg.side.sign * (leg.average or leg.price) for leg in legs), ZERO)
            outcomes.append(
                Outcome(
                    plan.session, symbol, float(filled), float(paid / filled) if filled else 0.0,
                    sum(fees.get(leg.client_id, 0.0) for leg in legs), symbol not in plan.residue,
                    any(leg.state is IntentState.REFUSED and "buying power" in leg.why for leg in legs),
                )
            )  # fmt: skip
    return Record(held, cash, outcomes, cash_now, last, carried)


def plain(carried: Mapping[str, Any]) -> dict[str, Any]:
    """What the Strategy noted, as JSON has it: days become text, one level deep."""
    return {
        name: {str(key.date()) if isinstance(key, pd.Timestamp) else key: value for key, value in dict(noted).items()}
        for name, noted in carried.items()
    }


def from_plain(stored: Mapping[str, Any]) -> dict[str, Any]:
    """As ``plain`` was given it."""
    values = {pd.Timestamp(day): value for day, value in stored.get("_values", {}).items()}
    return {**stored, "_values": values} if "_values" in stored else dict(stored)
