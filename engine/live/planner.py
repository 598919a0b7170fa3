"""From a session's close to orders: the Strategy of the backtest is run to that bar, and what it sends is shaped.

Nothing is sent here. Prices are the market's, as ``decide`` uses them: the feeds' closes are what the source states, in
the account's currency and on today's share basis, while the policy is shown the panel it was trained on.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any

import backtrader as bt
import pandas as pd

from clusterfolio.engine.live.broker import CARRIED, LiveBroker, Outcome, Record, Wanted
from clusterfolio.engine.live.records import Intent, IntentState, Plan, client_id
from clusterfolio.engine.live.venue import ZERO, Asset, Side, Timing
from clusterfolio.feeds.live import Hub, live_feeds
from clusterfolio.feeds.panel import FIELDS, STOPPED_AFTER, Panel
from clusterfolio.strategies.policy import Decision, Policy, PortfolioState, guard_of, largest_exposure
from clusterfolio.strategies.rebalance import RebalanceStrategy

#: Less than this is no share: what a reverse split leaves of one.
STEP = Decimal("0.000000001")


@dataclass(frozen=True)
class Day:
    """What is known at a session's close.

    Attributes:
        panel: what the policy is shown; its last row is the day's.
        bars: by field, what a share costs on the market in the account's currency, ``(n_days, n_assets)``; the last
            rows of the panel.
        stale: symbols that trade and have no bar of the day.
        why_not: symbols for which there is no order whatever the venue, and why.
        dividends: paid on the day per share held the session before, in the account's currency, as the source states;
            None = it states none.
    """

    panel: Panel
    bars: Mapping[str, pd.DataFrame]
    stale: tuple[str, ...] = ()
    why_not: Mapping[str, str] | None = None
    dividends: Mapping[str, float] | None = None

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
    """What the Strategy did on the last bar, and what it noted for its guard."""

    decision: Decision | None
    target: pd.Series | None
    wanted: list[Wanted]
    value: float
    reasons: Mapping[str, str]
    carried: Mapping[str, Any]


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
        return policy

    cerebro.addstrategy(
        strategy, policy_for=policy_on, decision_dates=tuple(dates), panel=day.panel, sessions=day.panel.sessions,
        cash_buffer=cash_buffer, fractional=fractional,
    )  # fmt: skip
    with _without_word_of_targets():
        (ran,) = cerebro.run()
    last = ran.decisions[-1] if ran.decisions and ran.decisions[-1].asof == now else None
    missed = {name: why for when, name, why in ran.unfilled if when == now and not why.startswith("still waiting")}
    return Asked(last, ran._wanted if last is not None else None, broker.wanted, broker.getvalue(), missed,
                 {name: getattr(ran, name) for name in CARRIED if hasattr(ran, name)})  # fmt: skip


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


@dataclass(frozen=True)
class Shaped:
    """Orders as the venue takes them: signed amounts by symbol in sending order, and what is left out, and why."""

    legs: list[tuple[Wanted, Decimal]]
    skipped: dict[str, str]
    untradable: float


def shape(
    wanted: Sequence[Wanted], holdings: Mapping[str, Decimal], assets: Mapping[str, Asset], value: float,
    stale: Collection[str] = (), why_not: Mapping[str, str] | None = None,
) -> Shaped:  # fmt: skip
    """Round what the Strategy wants to what the venue takes; sales before buys.

    A sale is of what is held at most. What cannot be traded is left out by name: what is held of it stays,
    its other weight is cash. That buys need no more than the cash is seen to when they are sent.
    """
    legs, skipped, untradable = [], {}, 0.0
    for want in wanted:
        asset, share = assets.get(want.symbol), abs(want.amount) * want.price / value
        held = holdings.get(want.symbol, ZERO)
        why = why_untradable(want.symbol, assets, why_not)
        if why:
            skipped[want.symbol] = why
            untradable += share
            continue
        if want.symbol in stale:
            skipped[want.symbol] = "no bar of the day: its price is of an earlier close"
            continue
        amount = rounded(Decimal(repr(want.amount)), held, asset)
        least = asset.min_notional / Decimal(repr(want.price))
        if not amount or abs(amount) < least:
            if abs(want.amount) > float(STEP):
                skipped[want.symbol] = f"{abs(want.amount):g} shares are less than the venue takes"
            continue
        if Decimal(repr(want.amount)) < -held - step_of(asset):
            skipped[want.symbol] = f"only {held} are held: the rest would be sold short"
        legs.append((want, amount))
    legs.sort(key=lambda leg: leg[1] > 0)
    return Shaped(legs, skipped, untradable)


def why_untradable(symbol: str, assets: Mapping[str, Asset], why_not: Mapping[str, str] | None = None) -> str:
    """Why a symbol is not traded at all, in words; empty = it is."""
    asset = assets.get(symbol)
    unlisted = "the venue does not list it" if asset is None else ""
    halted = "" if asset is None or asset.tradable else asset.why_not or "halted"
    return (why_not or {}).get(symbol, "") or unlisted or halted


def step_of(asset: Asset) -> Decimal:
    """The smallest change of a position."""
    return asset.step if asset.fractionable else asset.lot


def rounded(amount: Decimal, held: Decimal, asset: Asset) -> Decimal:
    """A signed amount in the venue's steps, towards 0; a sale closes what it comes within a step of, and no more.

    >>> share = Asset("A", True, False)
    >>> [str(rounded(Decimal(n), Decimal("10"), share)) for n in ("3.9", "-9.2", "-12")]
    ['3', '-9', '-10']
    """
    step = step_of(asset)
    if amount < 0:
        amount = -held if -amount > held or held + amount < (step if asset.fractionable else ZERO) else amount
    return (amount / step).quantize(Decimal(1), rounding=ROUND_DOWN) * step


def make_intents(
    shaped: Sequence[tuple[Wanted, Decimal]], plan: str, session: dt.date, decided: dt.date, account: str,
    strategy: str, round_: int, opening: bool,
) -> list[Intent]:  # fmt: skip
    """The orders of a plan, each with its client id.

    Args:
        round_: 1 for the plan's own, then what is sent for what was left missing.
        opening: whether orders go into the opening auction where it takes them (whole shares).
    """
    intents = []
    for want, amount in shaped:
        side = Side.BUY if amount > 0 else Side.SELL
        leg = f"{'b' if amount > 0 else 's'}{round_}{plan[len(session.isoformat()) :].replace('-', '')[:3]}"
        whole = amount == amount.to_integral_value()
        intents.append(
            Intent(
                client_id(account, strategy, decided, want.symbol, leg), plan, want.symbol, side, abs(amount), leg,
                Timing.OPENING if opening and whole else Timing.DAY, session, Decimal(repr(want.price)), want.reason,
            )
        )  # fmt: skip
    return intents
