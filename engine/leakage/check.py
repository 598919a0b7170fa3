"""Does the future reach the past? Truncate and recompute, and poison the future, stage by stage, for any policy.

On a few days the whole chain from the data to a decision is computed twice: on the history as it is, and on histories
that are the same up to that day and different after it (``CHANGES``). Whatever was known at the close of the day must
be equal; the first stage that is not names the leak. Fills are checked in a short backtest of each decision.

Numbers must be equal bit for bit where the product's own code made them (its promise); what a foreign policy computes
may differ by ``ROUNDING`` of the larger value, as a library may sum in another order when the table has other columns.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from clusterfolio.engine.leakage.findings import Failure, Finding, Hit, LeakageReport, findings_of, told_once
from clusterfolio.engine.leakage.poison import exchanged, listed, poison_panel, spoilt
from clusterfolio.engine.leakage.trace import (
    OF_DECISION,
    STAGES,
    Difference,
    Items,
    compare,
    of_decision,
    of_encoder,
    of_fit,
    of_guard,
    of_holder,
    of_panel,
    of_series,
)
from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.whole_shares import Traded, in_whole_shares
from clusterfolio.feeds.features import with_features
from clusterfolio.feeds.panel import Panel
from clusterfolio.strategies.orders import target_shares
from clusterfolio.strategies.policy import Policy, PortfolioState, ask, learns

log = logging.getLogger(__name__)

#: What changes a future's bars, by the name of the change.
WAYS = {"truncated": None, "exchanged": exchanged, "spoilt": spoilt, "listed": listed}

#: Share of the larger of two numbers by which what a foreign policy computes may differ.
ROUNDING = 1e-9

#: Sessions of the backtest that shows when and at what price a decision's orders fill.
FILL_SESSIONS = 5

#: ``(step, steps, text)``: how far the check has come.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Inputs:
    """One history, prepared as a run prepares it.

    Attributes:
        panel: all of it, with what is computed once on all of it (features).
        make: an unfitted policy for it.
        series: exogenous series by name, each indexed by the day its values became known.
    """

    panel: Panel
    make: Callable[[], Policy]
    series: dict[str, pd.Series] = field(default_factory=dict)


#: ``(change, day, number) -> Inputs``; change None = the history as it is.
Build = Callable[[str | None, pd.Timestamp | None, int], Inputs]


def check_policy(
    panel: Panel,
    make_policy: Callable[..., Policy],
    dates: int | Sequence[pd.Timestamp | str] = 3,
    *,
    train_start: pd.Timestamp | str | None = None,
    train_end: pd.Timestamp | str | None = None,
    prepare: Callable[[Panel], Panel] = with_features,
    trading: TradingConfig | None = None,
    seed: int = 0,
    tolerance: float = ROUNDING,
    progress: Progress | None = None,
) -> LeakageReport:
    """Check a policy of any kind on a panel: is anything it learns or decides different if the future is?

    Args:
        panel: prices; nothing in it is changed.
        make_policy: returns an unfitted policy: any object with ``decide(panel, state)``, and ``fit(panel, start)`` if
            it learns. If it needs an argument ``panel`` it is given the whole panel of each history: what a policy is
            built around must come in there, or a change of it cannot be seen.
        dates: days to decide on, or how many to draw from the sessions after ``train_end``.
        train_end: last day of training; default: the first of ``dates``, or the middle of the panel.
        prepare: what is computed once on the whole panel before a policy sees a part of it; default: the indicators.
        tolerance: numbers of the policy's own differ if further apart than this share of the larger.
        progress: called with ``(step, steps, text)``.

    >>> from clusterfolio.feeds.ingest import build_panel
    >>> from clusterfolio.feeds.sources.simulated import SimulatedConfig, simulate
    >>> from clusterfolio.strategies.policy import Decision
    >>> class Everything:
    ...     def fit(self, panel, start=None):
    ...         return self
    ...
    ...     def decide(self, panel, state):  # every listed symbol, also those that only will be
    ...         weights = pd.Series(1 / len(panel.symbols), panel.tradable)
    ...         return Decision(panel.dates[-1], weights)
    >>> panel, _ = build_panel(simulate(SimulatedConfig(n_assets=20, start="2024-06-03")), benchmark="SIM.MKT")
    >>> [finding.stage for finding in check_policy(panel, Everything, dates=1).findings]
    ['universe']
    """
    days = _days(panel, dates, train_end, seed)
    end = pd.Timestamp(train_end) if train_end is not None else days[0]

    def build(change: str | None, day: pd.Timestamp | None, number: int) -> Inputs:
        other = replace(panel, features=None)
        if change is not None:
            rng = np.random.default_rng([seed, number])
            other = poison_panel(panel, day, WAYS[change], rng)
        other = prepare(other)
        return Inputs(other, lambda: called(make_policy, panel=other))

    span = (None if train_start is None else pd.Timestamp(train_start), end)
    return examine(build, days, lambda day: span, list(WAYS), trading or TradingConfig(), tolerance, progress)


def examine(
    build: Build,
    days: Sequence[pd.Timestamp],
    span_for: Callable[[pd.Timestamp], tuple[pd.Timestamp | None, pd.Timestamp]],
    changes: Sequence[str],
    trading: TradingConfig,
    tolerance: float,
    progress: Progress | None = None,
) -> LeakageReport:
    """The check itself, over histories that ``build`` makes.

    Args:
        days: to decide on.
        span_for: first and last day of the training that serves a day.
        changes: keys of ``CHANGES``.
        trading: how orders are sized and charged.
    """
    began = time.monotonic()
    steps, step = len(days) * (len(changes) + 1) + 1, 0

    def tell(text: str) -> None:
        nonlocal step
        step += 1
        if progress is not None:
            progress(step, steps, text)

    truth = build(None, None, 0)
    rows: list[dict] = []
    hits: list[Hit] = []
    early: list[Finding] = []
    fills: list[Finding] = []
    unstable: dict[str, Difference] | None = None
    for number, day in enumerate(days):
        known, decision = _trace(truth, day, span_for(day))
        if isinstance(decision, Failure):
            raise ValueError(
                f"policy: {'fit' if decision.stage == 'training' else 'decide'} failed for {day.date()} on the data as "
                f"they are: {decision}"
            ) from decision.error
        tell(f"{day.date()} as it was")
        if unstable is None:
            again, _ = _trace(truth, day, span_for(day))
            unstable = _differences(known, again, tolerance, rows=[])
            _refuse_random(unstable)
            tell(f"{day.date()} once more, to see that it repeats")
        early += _not_yet_listed(truth.panel, decision, day)
        fills += _fills(truth.panel, decision, day, trading, rows)
        for place, change in enumerate(changes):
            other, outcome = _trace(build(change, day, number * len(changes) + place + 1), day, span_for(day))
            told: list[dict] = []
            found = _differences(known, other, tolerance, told)
            found = {stage: difference for stage, difference in found.items() if stage not in unstable}
            rows += [{"day": day, "change": change} | row for row in told if row["stage"] not in unstable]
            if isinstance(outcome, Failure):
                found.setdefault(outcome.stage, outcome.difference())
            if found:
                hits.append(Hit(day, change, found, outcome if isinstance(outcome, Failure) else None))
            tell(f"{day.date()} {change}")
    notes = [f"{stage}: not the same twice on the same data, so not compared" for stage in unstable or ()]
    checked = pd.DataFrame(rows, columns=["day", "change", "stage", "values", "differ"])
    findings = told_once(early[:1], findings_of(hits))
    return LeakageReport([*findings, *fills[:1]], checked, notes, time.monotonic() - began)


def called(factory: Callable[..., Policy], **offered: Any) -> Policy:
    """The factory's policy; of what is offered it is given the arguments that it requires by name."""
    wanted = inspect.signature(factory).parameters.values()
    required = [p.name for p in wanted if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    unknown = [name for name in required if name not in offered]
    if unknown:
        raise ValueError(
            f"policy factory {getattr(factory, '__name__', factory)!r}: needs {', '.join(unknown)}; "
            f"it may ask for {', '.join(offered) or 'nothing'}"
        )
    return factory(**{name: offered[name] for name in required})


def draw_days(sessions: pd.DatetimeIndex, n: int, seed: int) -> list[pd.Timestamp]:
    """The first of these sessions and ``n - 1`` random others, in order."""
    if n < 1:
        raise ValueError(f"dates: got {n}, expected at least 1")
    if not len(sessions):
        raise ValueError("dates: no session to decide on with another after it; use more data or an earlier train_end")
    rest = np.random.default_rng(seed).permutation(len(sessions) - 1)[: n - 1] + 1
    return list(sessions[np.sort(np.concatenate([[0], rest])).astype(int)])


def _days(panel: Panel, dates: int | Sequence, train_end, seed: int) -> list[pd.Timestamp]:
    traded = panel.sessions.intersection(panel.dates)
    if not isinstance(dates, int):
        days = sorted(pd.Timestamp(day) for day in dates)
        wrong = [day for day in days if day not in traded[:-1]]
        if wrong or not days:
            raise ValueError(f"dates: {wrong[0].date() if wrong else 'none given'}: expected sessions before the last")
        return days
    first = traded[len(traded) // 2] if train_end is None else pd.Timestamp(train_end)
    return draw_days(traded[(traded >= first) & (traded < traded[-FILL_SESSIONS])], dates, seed)


def _trace(inputs: Inputs, day: pd.Timestamp, span: tuple) -> tuple[dict[str, Items], Any]:
    """Everything known and decided by the close of ``day``; the decision, or how it failed."""
    start, end = span
    items = of_panel(inputs.panel, day) | of_series(inputs.series, day)
    stage = "training"
    try:
        policy = inputs.make()
        if learns(policy):
            policy.fit(inputs.panel.until(end), start)
            items |= of_fit(policy)
        stage = "weights"
        decision = ask(policy, inputs.panel.until(day), PortfolioState())
    except Exception as error:  # an answer in itself: on another future it fails (on the true one it is raised)
        return items, Failure(stage, error)
    known = inputs.panel.until(day)
    items |= of_decision(decision, known)
    try:
        more = of_holder(policy, decision, known) | (of_guard(policy, decision, known) or {})
    except Exception as error:
        return items, Failure("weights", error)
    items["weights"] = items.get("weights", {}) | more
    items["embedding"] = items.get("embedding", {}) | of_encoder(policy, decision, known)
    return items, decision


def _differences(
    known: dict[str, Items], other: dict[str, Items], tolerance: float, rows: list[dict]
) -> dict[str, Difference]:
    """First difference by stage; ``rows`` takes in how much was compared."""
    found: dict[str, Difference] = {}
    for stage in STAGES:
        if stage not in known:
            continue
        values = differ = 0
        for item, before in known[stage].items():
            after = other.get(stage, {}).get(item)
            if after is None:
                continue
            exact = stage in ("universe", "prices", "exogenous", "features")
            difference = compare(before, after, item, 0.0 if exact else tolerance)
            values += before.size
            if difference is not None:
                differ += difference.count
                if stage not in found or _earlier(difference, found[stage]):
                    found[stage] = difference
        if values:
            rows.append({"stage": stage, "values": values, "differ": differ})
    return found


def _earlier(one: Difference, two: Difference) -> bool:
    return one.day is not None and two.day is not None and one.day < two.day


def _refuse_random(unstable: dict[str, Difference]) -> None:
    if "weights" in unstable:
        raise ValueError(
            "policy: it decides differently when asked twice on the same data, so that no change can be told from "
            f"chance (first in {next(stage for stage in STAGES if stage in unstable)}); give it a fixed seed"
        )


def _not_yet_listed(panel: Panel, decision: Any, day: pd.Timestamp) -> list[Finding]:
    """A decision that clusters or weighs symbols without a bar so far."""
    known = panel.until(day)
    begun = set(known.symbols[known.close.notna().to_numpy().any(axis=0)])
    for stage in ("clusters", "weights"):
        values = getattr(decision, OF_DECISION[stage], None)
        early = [symbol for symbol in getattr(values, "index", ()) if symbol not in begun]
        if early:
            first = Difference(OF_DECISION[stage], None, str(early[0]), None, None, np.nan, len(early), len(values))
            said = (
                f"{early[0]} is in the {OF_DECISION[stage]} decided on the close of {day.date()}, before its first bar"
            )
            return [Finding("universe", stage, first, day, (), (), said)]
    return []


class _Told:
    """A policy that holds what it was told to."""

    def __init__(self, weights: pd.Series):
        self.weights = weights

    def fit(self, panel, start=None):
        return self

    def decide(self, panel, state):
        return SimpleNamespace(asof=panel.dates[-1], weights=self.weights)


def _fills(panel: Panel, decision: Any, day: pd.Timestamp, trading: TradingConfig, rows: list[dict]) -> list[Finding]:
    """Orders decided on the close of ``day``: filled later, at that bar's open, in sizes known by then."""
    weights = getattr(decision, "weights", None)
    after = panel.sessions[panel.sessions > day]
    if weights is None or not len(after):
        return []
    lately = panel.sessions[: panel.sessions.searchsorted(day) + 1][-FILL_SESSIONS:][0]
    traded = Traded(panel) if trading.fractional else in_whole_shares(panel)
    closes = traded.panel.close.loc[lately:day].ffill().iloc[-1]
    weights = weights[[name for name in weights.index if np.isfinite(closes.get(name, np.nan))]]
    if not len(weights):
        return []
    cut = panel.until(after[min(FILL_SESSIONS, len(after)) - 1])
    whole = replace(trading, volume_cap=0.0)  # a cap fills an order in parts
    result = run_backtest(cut, lambda now: _Told(weights), pd.DatetimeIndex([day]), whole)
    fills = result.transactions[result.transactions["reason"] == "rebalance"]
    shares = target_shares(
        weights, closes[weights.index], trading.capital, cash_buffer=trading.cash_buffer, fractional=trading.fractional,
        lots=1.0 if traded.lots is None else traded.lots.loc[day, weights.index],
    )  # fmt: skip
    sized = pd.Series(shares, weights.index)
    found = []
    for fill in fills.itertuples():
        opened = traded.panel.open[fill.symbol].get(fill.date, np.nan)
        order = f"an order of {fill.symbol} decided on the close of {day.date()}"
        if fill.date <= day:
            found.append((fill, "day", day, fill.date, f"{order} filled on {fill.date.date()}, not on a later bar"))
        elif not np.isclose(fill.price, opened, rtol=ROUNDING):
            said = f"filled on {fill.date.date()} at {fill.price:.6g}, not at that bar's open, {opened:.6g}"
            found.append((fill, "price", opened, fill.price, f"{order} {said}"))
        elif not np.isclose(fill.amount, sized[fill.symbol], rtol=ROUNDING / 10):
            said = f"is for {fill.amount:.6g} shares; by that day's close it would be {sized[fill.symbol]:.6g}"
            found.append((fill, "amount", sized[fill.symbol], fill.amount, f"{order} {said}"))
    rows.append({"day": day, "change": "", "stage": "fills", "values": len(fills), "differ": len(found)})
    if not found:
        return []
    fill, item, before, after, said = min(found, key=lambda one: one[0].date)
    size = np.nan if item == "day" else abs(after - before)
    first = Difference(item, fill.date, fill.symbol, before, after, size, len(found), len(fills))
    said += f"; {len(found)} of {len(fills)} fills are wrong"
    return [Finding("fills", "fills", first, day, (), (), said)]
