"""Where paper trading's prices come from: a finished run's own source, brought up to date.

The venue serves quotes, assets and the account; what a decision is made on is read as the run read it, by the same
checks. The local venue is fed from here too: market prices, with the splits and payouts that lie between them and the
total-return levels of the panel.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.assembly.market import panel_of, read_source, universe_symbols
from clusterfolio.engine.assembly.plan import on_days_of
from clusterfolio.engine.assembly.policy import make_fold_policy, make_policy
from clusterfolio.engine.assembly.prepare import prepare
from clusterfolio.engine.config.run import RunConfig, make_config
from clusterfolio.engine.config.settings import merge, read_toml
from clusterfolio.engine.config.trust import check_trust
from clusterfolio.engine.folds.fitting import align_folds, fit_fold
from clusterfolio.engine.folds.walk_forward import Fold, fold_for, folds
from clusterfolio.engine.live.planner import Day
from clusterfolio.engine.live.quotes import Quote
from clusterfolio.engine.live.terms import Halted
from clusterfolio.engine.live.venue import Asset, Session
from clusterfolio.engine.progress import Reporter
from clusterfolio.engine.run_dir import artifacts
from clusterfolio.engine.run_dir.stored import use_model
from clusterfolio.feeds.calendar import decision_dates, session_closes, session_opens
from clusterfolio.feeds.calendar import sessions as exchange_sessions
from clusterfolio.feeds.panel import FIELDS, STOPPED_AFTER, Panel
from clusterfolio.strategies.order_list import quotes_of
from clusterfolio.strategies.policy import Policy, learns

#: Rows that the Strategy may need: it looks back to the last decision, a quarter at most, and a little before.
LOOK_BACK = 90

#: What an adjusted and a stated close differ by in a day is a payout from so much on, where the source states none.
NOISE = 2e-4


class RunMarket:
    """Prices, decision dates and policy for the runner.

    Prices are read again when a session beyond the last one read is asked for; what is shown of a day is cut there.

    Args:
        folder: where policies that are trained here are kept.
        paths: newer prices for source "files"; empty = where the run found its own.
        trust: import the classes that the run directory names.

    Attributes:
        start: the session on whose close the account began; set before the first decision.
        panel: everything the source has.
        bars: what a share costs on the market in the account's currency, by field, on the panel's days.
        splits, payouts: ``actions_of`` the panel.
    """

    def __init__(self, run_dir: Path, folder: Path, paths: Sequence[str], trust: bool, reporter: Reporter):
        self._run_dir, self._folder, self._reporter = run_dir, folder, reporter
        self.facts = artifacts.read_own_run(run_dir, "trade with")
        settings = read_toml(run_dir / "config.toml")
        check_trust(run_dir, settings, trust)
        if paths:
            settings = merge(settings, {"data": {"path": list(paths)}})
        config = make_config(settings)
        # A run ends its test on a day; paper trading goes on with what the source has.
        self.config: RunConfig = replace(config, dates=replace(config.dates, end=""))
        self.calendar = config.data.calendar
        self.start: dt.date | None = None
        self._policies: dict[object, Policy] = {}
        self._cash: pd.Series | None = None
        self._read()

    def _read(self) -> None:
        self._reporter.stage("load")
        raw = read_source(self.config, universe_symbols(self.config))
        whole, _ = panel_of(self.config, raw)
        self.panel, self._cash, _ = prepare(self.config, whole)
        self._policies.clear()
        self.splits, self.payouts = actions_of(self.panel, {name: bars.frame for name, bars in raw.bars.items()})
        self.bars = market_bars(self.panel)
        earned = self._cash if self._cash is not None and self.config.trading.cash_interest else pd.Series(dtype=float)
        self._interest = earned.reindex(self.panel.dates).fillna(0.0)

    # What the runner asks

    def day(self, session: dt.date) -> Day | None:
        """What is known at a session's close."""
        now = pd.Timestamp(session)
        if now > self.panel.dates[-1] and not self.panel.simulated:
            self._read()
        if now not in self.panel.dates:
            return None
        panel = self.panel.until(now)
        if not np.isfinite(panel.close[panel.benchmark].iloc[-1]):
            return None
        at = len(panel.dates)
        rows = slice(max(0, at - LOOK_BACK), at)
        bars = {name: frame.iloc[rows] for name, frame in self.bars.items()}
        factor = self.splits.iloc[rows].iloc[::-1].cumprod().iloc[::-1].shift(-1).fillna(1.0)
        bars = {name: frame / factor if name != "volume" else frame * factor for name, frame in bars.items()}
        silent = panel.bars_since_last()[panel.tradable]
        stale = tuple(silent.index[(silent > 0) & (silent < STOPPED_AFTER)])
        quotes = quotes_of(panel)
        why_not = quotes["why_not"].where(quotes["unit"] == "shares", "a currency pair")
        dividends = self.payouts.iloc[rows] / (self.splits.iloc[rows] * factor)
        lots = panel.assets["lot"] if not self.config.trading.fractional else None
        return Day(panel, bars, stale, why_not[why_not != ""].to_dict(), dividends, self._interest.iloc[rows], lots)

    def due(self, after: dt.date | None, session: dt.date) -> bool:
        """Whether a decision falls on a session, or on one since the last decision that was missed."""
        if after is None:
            return True
        first = pd.Timestamp(self.start or session)
        dates = decision_dates(self.calendar, first, pd.Timestamp(session), self.config.trading.rebalance)
        return bool(((dates > pd.Timestamp(after)) & (dates <= pd.Timestamp(session))).any())

    def policy_for(self, now: pd.Timestamp) -> Policy:
        """The run's policy; of a rolling run the one whose span a day falls in, trained now if the run has it not."""
        config = self.config
        if not config.walk_forward.on:
            return self._once("one", lambda: self._stored(make_policy(config, self._cash), now))
        known = self.panel.until(now)
        days = known.sessions.intersection(known.dates)
        coming = exchange_sessions(self.calendar, now + pd.Timedelta(days=1), now + pd.Timedelta(days=14))
        planned = folds(
            days.union(coming), pd.Timestamp(config.dates.start), config.walk_forward,
            pd.Timestamp(config.dates.train_start),
        )  # fmt: skip
        fold = current_fold(planned, now)
        return self._once(fold.number, lambda: self._of_fold(planned, fold, known))

    def interest(self, session: dt.date) -> float:
        """What cash held at the close before earns by a session, as a fraction."""
        return float(self._interest.get(pd.Timestamp(session), 0.0))

    def names(self) -> list[str]:
        """Every symbol that may be held."""
        return list(self.panel.tradable)

    def _once(self, key: object, make: Callable[[], Policy]) -> Policy:
        if key not in self._policies:
            self._policies[key] = make()
        return self._policies[key]

    def _stored(self, policy: Policy, now: pd.Timestamp) -> Policy:
        use_model(policy, self._run_dir, now)
        return policy

    def _of_fold(self, planned: Sequence[Fold], fold: Fold, known: Panel) -> Policy:
        """The policy of a fold: the run's own, or one trained here on what was known, from the one before it."""
        stored = {row["number"] for row in self.facts.get("folds", [])}
        warm = self.config.walk_forward.warm_start
        policy = make_fold_policy(self.config, self._cash, fold, warm and fold.number not in stored)
        if fold.number in stored or not learns(policy):
            return self._stored(policy, fold.decides_from)
        earlier = [f for f in planned if f.number < fold.number]
        before = self._once(earlier[-1].number, lambda: self._of_fold(planned, earlier[-1], known)) if earlier else None
        self._reporter.stage(f"train for {fold.start.date()}")
        fitted = fit_fold(on_days_of(known, fold), known, policy, self._folder / "folds", before if warm else None)
        if before is not None:
            align_folds(
                [on_days_of(known, earlier[-1]), fold], known, {earlier[-1].number: before, fold.number: fitted}
            )
        return fitted


def current_fold(planned: Sequence[Fold], now: pd.Timestamp) -> Fold:
    """The fold whose span a day falls in.

    Raises:
        Halted: the last span has ended: its policy is stale, and is not asked.
    """
    fold = fold_for(planned, now)
    if now > fold.end:
        raise Halted(
            f"the policy for {fold.start.date()} to {fold.end.date()} is stale on {now.date()}, and there is none for "
            "later: the run's prices end too early"
        )
    return fold


def market_bars(panel: Panel) -> dict[str, pd.DataFrame]:
    """What a share cost on the market in the account's currency, by field; the panel's levels where it is not known."""
    if panel.market is None or panel.rate is None:
        return {name: getattr(panel, name) for name in FIELDS}
    close = panel.market * panel.rate
    ratio = close / panel.close
    prices = {name: getattr(panel, name) * ratio for name in ("open", "high", "low")}
    return {**prices, "close": close, "volume": panel.volume}


def actions_of(panel: Panel, stated: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Splits that are not in the market prices (new shares per old one, 1 = none), and payouts per share held before.

    Told from what the panel's total-return levels and its market prices differ by, so that both agree with it: what
    the levels gain beyond the prices is a split where the source states one of that size, else a payout.

    Args:
        stated: a source's frames by symbol, with its columns split and dividend where it has them.
    """
    splits = pd.DataFrame(1.0, panel.dates, panel.symbols)
    payouts = pd.DataFrame(0.0, panel.dates, panel.symbols)
    if panel.market is None or panel.rate is None:
        return splits, payouts
    for symbol in panel.symbols:
        level, price = panel.close[symbol].dropna(), (panel.market[symbol] * panel.rate[symbol]).dropna()
        both = level.index.intersection(price.index)
        gain = (level[both].pct_change(fill_method=None) + 1) / (price[both].pct_change(fill_method=None) + 1)
        frame = stated.get(symbol, pd.DataFrame())
        split = _column(frame, "split", both, 1.0).where(lambda s: s > 0, 1.0)
        told = split.where((np.log(gain / split).abs() < np.log(gain).abs()) & (split != 1), 1.0)
        paid = (gain - told) * price[both]
        noted = _column(frame, "dividend", both, 0.0) != 0 if "dividend" in frame else gain.notna()
        paid = paid.where(noted & ((gain / told - 1).abs() > (1e-9 if "dividend" in frame else NOISE)), 0.0)
        splits.loc[both, symbol], payouts.loc[both, symbol] = told, paid.clip(lower=0.0).fillna(0.0)
    return splits, payouts


def _column(frame: pd.DataFrame, name: str, days: pd.DatetimeIndex, usual: float) -> pd.Series:
    if name not in frame:
        return pd.Series(usual, days)
    found = frame[name].groupby(frame.index).last()
    return found.reindex(days).fillna(usual)


class RunQuotes:
    """A local venue's bars, out of a run's source."""

    def __init__(self, market: RunMarket):
        self._market = market
        self._days: dict[dt.date, Mapping[str, Quote]] = {}

    def day(self, session: dt.date) -> Mapping[str, Quote] | None:
        """The day's bars; None = the source has none of it yet."""
        if session in self._days:
            return self._days[session]
        market, now = self._market, pd.Timestamp(session)
        if now > market.panel.dates[-1] and market.day(session) is None:
            return None
        if now not in market.panel.dates:
            return {}
        opens, closes = market.bars["open"].loc[now], market.bars["close"].loc[now]
        split, paid = market.splits.loc[now], market.payouts.loc[now]
        priced = closes.index[closes.notna() & opens.notna()]
        self._days[session] = {
            str(name): Quote(*(decimal(row[name]) for row in (opens, closes, paid, split))) for name in priced
        }
        return self._days[session]

    def sessions(self, first: dt.date, last: dt.date) -> list[Session]:
        """The exchange's sessions."""
        return calendar_sessions(self._market.calendar, first, last)

    def interest(self, session: dt.date) -> Decimal:
        """As the run's section [cash] says."""
        return decimal(self._market.interest(session))

    def assets(self) -> Mapping[str, Asset]:
        """Everything with prices."""
        return self._assets

    @cached_property
    def _assets(self) -> dict[str, Asset]:
        config, panel = self._market.config, self._market.panel
        found = {}
        for name in map(str, panel.tradable):
            kind, lot = str(panel.assets.loc[name, "asset_class"]), decimal(panel.assets.loc[name, "lot"])
            found[name] = Asset(name, True, config.trading.fractional, lot=lot, asset_class=kind)
        return found


def decimal(number: float) -> Decimal:
    """The shortest decimal that reads as this float."""
    return Decimal(repr(float(number)))


def calendar_sessions(calendar: str, first: dt.date, last: dt.date) -> list[Session]:
    """The sessions of an exchange, with their opens and closes."""
    opens, closes = (
        known(calendar, pd.Timestamp(first), pd.Timestamp(last)) for known in (session_opens, session_closes)
    )
    return [
        Session(day.date(), *(moment.tz_localize("UTC").to_pydatetime() for moment in (opens[day], closes[day])))
        for day in closes.index
    ]
