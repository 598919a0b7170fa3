"""From what an account did to what a run is made of: a panel of the names it could have held, and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clusterfolio.engine.trading.account import Account, AccountError, days_of
from clusterfolio.engine.trading.backtest import TRANSACTION_COLUMNS, BacktestResult, costs_by_session
from clusterfolio.engine.trading.cash_flows import payments_table
from clusterfolio.feeds.panel import FIELDS, STOPPED_AFTER, Panel, make_assets
from clusterfolio.strategies.policy import Decision

#: Days between two bars, in the middle, from which on a name has no daily bars.
NOT_DAILY = 4
#: How long before the account's end the last session may lie.
STALE = pd.Timedelta(days=7)
#: Share of the names with a bar from which on a day is a session.
HALF = 0.5
#: Sessions a year from which on weekends are among them; figures per year count 252.
WITH_WEEKENDS = 300


@dataclass(frozen=True)
class Market:
    """What an account is judged in.

    Attributes:
        panel: every name that could have been held, and the benchmark.
        stands_in: no benchmark was named; all names held equally stand in.
        symbols: of everything recorded: ``verdict`` and ``why``.
        notes: what was done with the bars, in sentences.
    """

    panel: Panel
    stands_in: bool
    symbols: pd.DataFrame
    notes: list[str]


def market_of(
    account: Account,
    benchmark: str | pd.Series | None = None,
    universe: Sequence[str] | None = None,
    currency: str = "USD",
    simulated: bool = False,
) -> Market:
    """The market that an account traded in, from its own prices.

    Args:
        benchmark: a name, or a Series of prices or of simple returns (any of them at or below 0); None = all names
            held equally.
        universe: names that could have been held; None = all with daily bars, but for a benchmark that never was.

    Raises:
        AccountError: an argument names what is not there, or the bars are not daily.
    """
    bars, aside = _daily(account)
    last = account.returns.index[-1]
    closes = pd.DataFrame({name: frame["close"] for name, frame in bars.items()}).sort_index().loc[:last]
    names, notes = _universe(account, closes, benchmark, universe), []
    sessions = _sessions(account, closes, benchmark if isinstance(benchmark, str) else None, names, notes)
    frames = {
        field: pd.DataFrame({name: bars[name][field] for name in closes}).reindex(closes.index) for field in FIELDS
    }
    stands_in = benchmark is None and len(names) > 1
    own = benchmark if isinstance(benchmark, str) else names[0]
    if stands_in or isinstance(benchmark, pd.Series):
        own, level = _level(benchmark, closes[names], sessions)
        frames = {
            field: frame.assign(**{own: level if field != "volume" else np.nan}) for field, frame in frames.items()
        }
    symbols = pd.Index(list(frames["close"]), dtype=object)
    assets = make_assets(symbols, _rates(account))
    assets["tradable"] = symbols.isin(names)
    panel = Panel(**frames, assets=assets, sessions=sessions, benchmark=own, currency=currency, simulated=simulated)
    return Market(panel, stands_in, _verdicts(panel, names, aside), notes)


def _daily(account: Account) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Bars of the names that have them day by day, and why the others were left aside."""
    bars, aside = {}, {}
    for name, frame in account.prices.items():
        gaps = np.diff(frame.index.to_numpy()) / np.timedelta64(1, "D")
        if len(gaps) and np.median(gaps) > NOT_DAILY:
            aside[name] = f"a bar every {np.median(gaps):.0f} days"
        elif not len(frame):
            aside[name] = "no bar"
        else:
            bars[name] = frame
    wrong = [name for name in account.held if name in aside]
    if wrong:
        raise AccountError(
            f"prices of {wrong[0]}: {aside[wrong[0]]}, and it was traded; judged are accounts of daily bars"
        )
    if not bars:
        raise AccountError("prices: no name has daily bars")
    return bars, aside


def _universe(account: Account, closes: pd.DataFrame, benchmark, universe: Sequence[str] | None) -> list[str]:
    if isinstance(benchmark, str) and benchmark not in closes:
        raise AccountError(f"benchmark: {benchmark!r} is none of the names with daily bars: {', '.join(closes)[:200]}")
    if universe is not None:
        unknown = [name for name in universe if name not in closes]
        if unknown:
            raise AccountError(f"universe: no daily bars of {', '.join(unknown[:5])}")
    wanted = list(closes) if universe is None else list(dict.fromkeys(universe))
    outside = [name for name in account.held if name not in wanted]
    if outside:
        raise AccountError(f"universe: {', '.join(outside[:5])} was held, but is not among the names that could be")
    named = benchmark if isinstance(benchmark, str) else ""
    only_compared = universe is None and named and named not in account.held
    kept = [name for name in wanted if not (only_compared and name == benchmark)]
    return kept or wanted


def _sessions(
    account: Account, closes: pd.DataFrame, benchmark: str | None, names: list[str], notes: list[str]
) -> pd.DatetimeIndex:
    """The days figures are made of: those of the benchmark, else those on which half of the names have a bar."""
    if benchmark is not None:
        days = closes.index[closes[benchmark].notna()]
    else:
        known = closes[names].notna()
        listed = known.cummax() & known[::-1].cummax()[::-1]
        days = closes.index[known.sum(axis=1) >= HALF * listed.sum(axis=1).clip(lower=1)]
    years = max((days[-1] - days[0]).days / 365.25, 1e-9)
    if len(days) > 60 and len(days) / years > WITH_WEEKENDS:
        days = days[days.day_of_week < 5]
        notes.append(
            "The names trade at weekends too; a session here is a weekday, and what a weekend did is Monday's."
        )
    traded = account.returns.index[0]
    if not len(days.intersection(account.returns.index)):
        raise AccountError(f"prices: no bar on any day of the account, from {traded.date()} on")
    # Between the account's first and last day nothing but its own days; before it, the names' history.
    return days[(days < traded) | days.isin(account.returns.index)]


def _level(benchmark: pd.Series | None, closes: pd.DataFrame, sessions: pd.DatetimeIndex) -> tuple[str, pd.Series]:
    """Name and level of a benchmark that is no feed, at every day of ``closes``."""
    if benchmark is None:
        at = closes.ffill().reindex(sessions, method="ffill")
        level = (1 + at.pct_change(fill_method=None).mean(axis=1).fillna(0.0)).cumprod()
        name = f"1/N of {closes.shape[1]} names"
    else:
        given = benchmark.dropna().astype(float).set_axis(days_of(benchmark.dropna().index, "benchmark")).sort_index()
        level = given if (given > 0).all() else (1 + given).cumprod()
        if not (len(level) > 1 and np.isfinite(level).all() and (level > 0).all()):
            raise AccountError("benchmark: expected prices above 0, or simple returns above -1, at least two")
        name = str(benchmark.name or "benchmark")
        missing = sessions[(sessions >= level.index[0]) & ~sessions.isin(level.index)]
        if level.index[-1] < sessions[-1] or len(missing) > len(sessions) / 10:
            raise AccountError(
                f"benchmark: {len(missing)} of {len(sessions)} sessions are missing and it ends on "
                f"{level.index[-1].date()}; the account ends on {sessions[-1].date()}"
            )
    while name in closes:
        name += " (benchmark)"
    return name, level[~level.index.duplicated(keep="last")].reindex(closes.index, method="ffill").where(
        closes.index.isin(sessions)
    )


def _rates(account: Account) -> pd.DataFrame:
    """Commission and slippage of each name in basis points of what was traded; of one never traded, the account's."""
    fills = account.transactions.assign(value=(account.transactions["amount"] * account.transactions["price"]).abs())
    columns = {"commission": "commission_bps", "spread": "half_spread_bps"}
    total = fills[["value", *columns]].sum()
    by_name = fills.groupby("symbol")[["value", *columns]].sum().reindex(list(account.prices))
    rates = by_name[list(columns)].div(by_name["value"], axis=0).where(by_name["value"] > 0)
    usual = total[list(columns)] / total["value"] if total["value"] > 0 else 0.0 * total[list(columns)]
    return (rates.fillna(usual) * 1e4).rename(columns=columns)


def _verdicts(panel: Panel, names: list[str], aside: dict[str, str]) -> pd.DataFrame:
    """A row per name, as in a run's symbols.csv: what it is used for, and why not."""
    count, silent = panel.close.notna().sum(), panel.bars_since_last()
    rows = {}
    for name in panel.symbols:
        why = f"{count[name]} bars"
        if silent[name] > STOPPED_AFTER:
            why += f"; stopped trading {silent[name]:.0f} sessions before the last one"
        rows[name] = ("used" if name in names else "not held", why if name in names else f"{why}; to compare with")
    rows |= {name: ("not held", why) for name, why in aside.items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["verdict", "why"])
    known = make_assets(table.index, panel.assets).drop(columns="tradable")
    return known.join(table).assign(tradable=table["verdict"] == "used").rename_axis("symbol")


# What it did -------------------------------------------------------------------------------------------------------


def result_of(account: Account, panel: Panel) -> BacktestResult:
    """What the account did, session by session, from the one before its first trade on.

    What it held after each session with a fill counts as decided at the session before.

    Raises:
        AccountError: it never held anything.
    """
    sessions = panel.sessions[(panel.sessions >= account.returns.index[0])]
    _covered(account, panel.benchmark, sessions)
    fills = account.transactions.assign(value=account.transactions["amount"] * account.transactions["price"])
    booked = sessions[np.minimum(sessions.searchsorted(fills["date"]), len(sessions) - 1)]
    at = np.unique(sessions.get_indexer(booked))
    positions = account.positions.reindex(sessions)
    held_at_first = bool((positions.drop(columns="cash").iloc[0] != 0).any())
    if not len(at) and not held_at_first:
        raise AccountError("transactions: none, and nothing was held; there is nothing to judge")
    base = 0 if held_at_first else max(int(at[0]) - 1, 0)
    if base >= len(sessions) - 1:
        raise AccountError(f"transactions: the first is on {fills['date'].iloc[0].date()}, the account's last session")
    wealth = (1 + account.returns).cumprod().reindex(sessions)
    net = wealth.pct_change(fill_method=None).iloc[base + 1 :]
    value = positions.sum(axis=1)
    before = value.reindex(net.index) / (1 + net)  # with what was paid in
    costs = costs_by_session(fills, payments_table([]), net.index)
    held = positions.loc[:, (positions != 0).any() | (positions.columns == "cash")].iloc[base:]
    benchmark = panel.session_returns()[panel.benchmark].reindex(net.index)
    if benchmark.isna().any():
        raise AccountError(
            f"benchmark: {panel.benchmark} has no return on {benchmark.index[benchmark.isna()][0].date()}; it must "
            f"cover the time from the first trade on, {net.index[0].date()}"
        )
    return BacktestResult(
        returns=pd.DataFrame({"strategy": net, "benchmark": benchmark}).rename_axis("date"),
        gross=(net + costs.sum(axis=1) / before).rename("gross"),
        costs=costs,
        value=value.iloc[base:].rename("value"),
        positions=held.rename_axis("date"),
        transactions=fills.assign(reason="fill")[list(TRANSACTION_COLUMNS)],
        payments=payments_table([]),
        decisions=_decisions(positions, at, base),
        unfilled=[],
        capital=float(value.iloc[base]),
        clock="",
    )


def _covered(account: Account, benchmark: str, sessions: pd.DatetimeIndex) -> None:
    """Refuse a benchmark whose days leave a part of the account out."""
    active = (account.positions.drop(columns="cash") != 0).any(axis=1)
    days = account.returns.index[active.to_numpy()].union(account.transactions["date"])
    if not len(days):
        return  # nothing was held: said elsewhere
    late, early = sessions[0] - days[0], account.returns.index[-1] - sessions[-1]
    if late.days > 0 or early > STALE:
        raise AccountError(
            f"benchmark: {benchmark} has bars from {sessions[0].date()} to {sessions[-1].date()}, the account held "
            f"something from {days[0].date()} on and ends on {account.returns.index[-1].date()}"
        )


def _decisions(positions: pd.DataFrame, at: np.ndarray, base: int) -> list[Decision]:
    """What was held after each session with a fill, as decided at the session before it."""
    weights = positions.drop(columns="cash").div(positions.sum(axis=1), axis=0)
    made = {base: weights.iloc[base]} | {row - 1: weights.iloc[row] for row in at if row > base}
    return [Decision(asof=positions.index[row], weights=held[held != 0.0]) for row, held in sorted(made.items())]
