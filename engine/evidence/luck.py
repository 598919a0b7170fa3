"""What luck alone would have earned: portfolios drawn by lot within, and without, the strategy's clusters.

Two nulls. *Random picks* keep the clusters and draw the names: where the strategy is no better, its way of picking
within clusters adds nothing. *Random partitions* keep the way of picking and draw the clusters: where the strategy is
no better, its clusters add nothing to "the best Sharpe ratio of some twenty groups". All are traded by the engine's
rules (``engine.trading.vectorised``). Names are drawn anew at every decision, so they trade more than a strategy whose
picks last; compare before costs where luck is the question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from clusterfolio.engine.evidence.draws import Deal, Decided, partitions_by_lot, picks_by_lot
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.metrics import cash_per_session
from clusterfolio.engine.trading.vectorised import Simulated, Targets, simulate
from clusterfolio.feeds.panel import SESSIONS_PER_YEAR, Panel
from clusterfolio.strategies.allocation import AllocationConfig, Allocator, Picks
from clusterfolio.strategies.baselines.policies import recent_returns
from clusterfolio.strategies.holding import Holding
from clusterfolio.strategies.many import weights_of
from clusterfolio.strategies.policy import Decision, Guard
from clusterfolio.strategies.risk.config import RiskConfig
from clusterfolio.strategies.selection import top_sharpe_per_cluster
from clusterfolio.strategies.sharpe import sharpe_ratios

#: Shares of a day's traded value at which capacity is stated.
PARTICIPATION = (0.01, 0.05, 0.10)


@dataclass(frozen=True)
class Luck:
    """Portfolios drawn by lot.

    Attributes:
        sessions: shape ``(n_sessions,)``.
        returns, gross: simple daily returns after and before costs, float64 ``(n, n_sessions)``.
        sharpe, gross_sharpe: annualised, in excess of cash, ``(n,)``.
        total, gross_total: total return, ``(n,)``.
        cost_bps: costs in basis points of the account a year, mean over the portfolios.
    """

    sessions: pd.DatetimeIndex
    returns: np.ndarray
    gross: np.ndarray
    sharpe: np.ndarray
    gross_sharpe: np.ndarray
    total: np.ndarray
    gross_total: np.ndarray
    cost_bps: float


@dataclass(frozen=True)
class Rules:
    """A strategy's own rules, for portfolios that are decided on as they go (``engine.evidence.draws``).

    Attributes:
        holding_on: how clusters become weights on a day.
        risk: what its guard goes by.
    """

    holding_on: Callable[[pd.Timestamp], Holding]
    risk: RiskConfig


def random_picks(
    panel: Panel,
    decisions: Sequence[Decision],
    trading: TradingConfig,
    cash: pd.Series | float = 0.0,
    n: int = 1000,
    random_state: int = 0,
    per_cluster: int = 1,
    guard: Guard | None = None,
    allocation: AllocationConfig | None = None,
    rules: Rules | None = None,
) -> Luck:
    """What ``n`` portfolios earn that hold, of each cluster of each decision, names drawn by lot.

    A name that the strategy could not have picked (its Sharpe ratio is not known) is not drawn.

    Args:
        decisions: with ``labels`` and ``sharpe`` of every eligible asset.
        cash: simple return of cash per session, or one annual rate; their own cash earns it where
            ``trading.cash_interest`` is on.
        guard: the strategy's, which looks at these portfolios too.
        allocation: how its names are weighed; None = the defaults.
        rules: the strategy's rules of picking and weighing that look at more than that; None = it has none.
    """
    if rules is not None:
        return _decided(picks_by_lot, panel, decisions, trading, cash, n, random_state, guard, rules)
    drawn = draw(by_lot, panel, decisions, trading, n, random_state, per_cluster, allocation)
    return measured(simulate(panel, drawn, _days(decisions), trading, guard, cash), cash)


def random_partitions(
    panel: Panel,
    decisions: Sequence[Decision],
    trading: TradingConfig,
    cash: pd.Series | float = 0.0,
    n: int = 1000,
    random_state: int = 0,
    per_cluster: int = 1,
    guard: Guard | None = None,
    allocation: AllocationConfig | None = None,
    rules: Rules | None = None,
) -> Luck:
    """What ``n`` portfolios earn that hold the best Sharpe ratios of each of as many groups, of the same sizes, by lot.

    Args: see ``random_picks``.
    """
    if rules is not None:
        return _decided(partitions_by_lot, panel, decisions, trading, cash, n, random_state, guard, rules)
    drawn = draw(best_of_random_groups, panel, decisions, trading, n, random_state, per_cluster, allocation)
    return measured(simulate(panel, drawn, _days(decisions), trading, guard, cash), cash)


def _decided(
    deal: Deal, panel: Panel, decisions: Sequence[Decision], trading: TradingConfig, cash: pd.Series | float, n: int,
    random_state: int, guard: Guard | None, rules: Rules,
) -> Luck:  # fmt: skip
    drawn = Decided(deal, panel, decisions, rules.holding_on, n, random_state, rules.risk)
    return measured(simulate(panel, drawn, _days(decisions), trading, guard, cash), cash)


def by_lot(groups: list[np.ndarray], n: int, per_group: int, rng: np.random.Generator) -> np.ndarray:
    """``per_group`` members of each group (all, where it has fewer), ``(n, n_names)``."""
    drawn = []
    for members in groups:
        if per_group == 1:
            drawn.append(members[rng.integers(len(members), size=(n, 1))])
        else:
            drawn.append(members[rng.random((n, len(members))).argsort(axis=1)[:, :per_group]])
    return np.concatenate(drawn, axis=1)


def best_of_random_groups(groups: list[np.ndarray], n: int, per_group: int, rng: np.random.Generator) -> np.ndarray:
    """The highest members of groups of these sizes that everything is dealt into anew, ``(n, n_names)``."""
    dealt = rng.permuted(np.tile(np.sort(np.concatenate(groups)), (n, 1)), axis=1)
    best = []
    for first, last in pairwise(np.cumsum([0, *map(len, groups)])):
        group = dealt[:, first:last]
        best.append(group.max(axis=1)[:, None] if per_group == 1 else np.sort(group, axis=1)[:, -per_group:])
    return np.concatenate(best, axis=1)


def draw(
    how: Callable[[list[np.ndarray], int, int, np.random.Generator], np.ndarray],
    panel: Panel,
    decisions: Sequence[Decision],
    trading: TradingConfig,
    n: int,
    random_state: int = 0,
    per_cluster: int = 1,
    allocation: AllocationConfig | None = None,
) -> Targets:
    """Targets of ``n`` portfolios drawn by lot, anew at each decision.

    Args:
        how: ``by_lot`` or ``best_of_random_groups``; it is given the clusters as ranks by Sharpe ratio, 0 = the worst.
        allocation: see ``random_picks``.
    """
    if n < 1:
        raise ValueError(f"n: got {n}, expected at least 1")
    allocate = Allocator(trading.allocate, allocation or AllocationConfig())
    found = []
    for decision in decisions:
        names = _ranked(decision.sharpe.dropna())
        labels = decision.labels[names].to_numpy()
        groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        if groups:
            rng = np.random.default_rng([random_state, decision.asof.toordinal(), how is by_lot])
            ranks = how(groups, n, per_cluster, rng)
            returns = pd.DataFrame(columns=names)  # equal parts look at none
            if allocate.name != "equal":
                returns = recent_returns(panel.until(decision.asof), list(names), allocate.config.sessions)
            about = Picks(returns, [], decision.sharpe, panel.assets["asset_class"], decision.labels)
            found.append((panel.symbols.get_indexer(names)[ranks], weights_of(ranks, list(names), about, allocate)))
        else:
            found.append((np.empty((n, 0), dtype=np.int64), np.empty((n, 0))))
    width = max(columns.shape[1] for columns, _ in found)
    picks = np.full((n, len(found), width), -1, dtype=np.int32)
    weights = np.zeros(picks.shape)
    for number, (columns, shares) in enumerate(found):
        picks[:, number, : columns.shape[1]] = columns
        weights[:, number, : columns.shape[1]] = shares
    return Targets(picks, weights)


def _days(decisions: Sequence[Decision]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex([decision.asof for decision in decisions])


def _ranked(sharpe: pd.Series) -> pd.Index:
    """Worst first: what the strategy would pick of one cluster, all of it, the other way round."""
    return pd.Index(top_sharpe_per_cluster(sharpe, pd.Series(0, sharpe.index), len(sharpe))[::-1], dtype=object)


def measured(traded: Simulated, cash: pd.Series | float) -> Luck:
    """Sharpe ratios and total returns of what was traded."""
    per_session = cash_per_session(cash, traded.sessions).to_numpy()
    years = len(traded.sessions) / SESSIONS_PER_YEAR
    per_year = (traded.gross - traded.net).sum(axis=1).mean() / years
    return Luck(
        sessions=traded.sessions,
        returns=traded.net,
        gross=traded.gross,
        sharpe=sharpe_ratios(traded.net.T, per_session).to_numpy(),
        gross_sharpe=sharpe_ratios(traded.gross.T, per_session).to_numpy(),
        total=np.expm1(np.log1p(traded.net).sum(axis=1)),
        gross_total=np.expm1(np.log1p(traded.gross).sum(axis=1)),
        cost_bps=float(per_year * 1e4),
    )


def place(value: float, drawn: np.ndarray) -> dict[str, float]:
    """Where a figure lies among those drawn by lot.

    Returns:
        ``percentile``: share of the draws below, equal ones by half, 0 to 1; ``p_value``: ``(1 + draws at or above) /
        (1 + draws)``, the chance that luck does as well (Davison and Hinkley 1997, eq. 4.11); and the draws' ``mean``,
        ``low`` and ``high`` (5th and 95th percentile).

    >>> place(3.0, np.array([1.0, 2.0, 3.0, 4.0]))["percentile"]
    0.625
    """
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        raise ValueError("drawn: holds no finite number")
    return {
        "percentile": float(((drawn < value).sum() + 0.5 * (drawn == value).sum()) / len(drawn)),
        "p_value": float((1 + (drawn >= value).sum()) / (1 + len(drawn))),
        "mean": float(drawn.mean()),
        "low": float(np.quantile(drawn, 0.05)),
        "high": float(np.quantile(drawn, 0.95)),
    }


def decompose(
    net: pd.Series, gross: pd.Series, benchmark: pd.Series, everything: pd.Series, picks: Luck
) -> dict[str, float]:
    """The strategy's total return in parts that add up to it exactly, as sums of daily log returns.

    ``market`` is the benchmark's. ``universe`` is what 1/N of the eligible assets earned beyond it: the choice of
    assets to choose from, survivorship and equal weights included, and the cash buffer; it is no merit of the
    clusters and would otherwise be counted as such. ``clustering`` is what the mean random pick of each cluster earned
    beyond 1/N. ``selection`` is what the strategy earned beyond that, before costs. ``cost`` is what trading cost it.

    The mean random pick is the mean over portfolios of their log returns. Each of them holds as few names as the
    strategy, so what that costs in compounding falls to ``clustering`` and not to ``selection``.

    Args:
        net, gross: the strategy's simple daily returns after and before costs.
        benchmark: the benchmark's.
        everything: those of 1/N, before costs.
        picks: ``random_picks``, over the same sessions.

    Returns:
        ``market``, ``universe``, ``clustering``, ``selection``, ``cost`` and ``total``.
    """
    for name, series in (("gross", gross), ("benchmark", benchmark), ("everything", everything)):
        if not series.index.equals(net.index):
            raise ValueError(f"{name}: its sessions differ from net's")
    if not picks.sessions.equals(pd.DatetimeIndex(net.index)):
        raise ValueError("picks: their sessions differ from net's")
    market, equal, before, after = (float(np.log1p(series).sum()) for series in (benchmark, everything, gross, net))
    by_lot = float(np.log1p(picks.gross).sum(axis=1).mean())
    return {
        "market": market,
        "universe": equal - market,
        "clustering": by_lot - equal,
        "selection": before - by_lot,
        "cost": after - before,
        "total": after,
    }


def capacity(transactions: pd.DataFrame, panel: Panel, capital: float) -> dict:
    """The starting capital at which the run's orders reach a share of the value traded on the day they filled.

    Orders grow in proportion to the capital. A day's value traded is its close times its volume, at the prices of the
    market; where none are stated, at levels, which re-invested dividends have raised.

    Args:
        transactions: columns ``date``, ``symbol`` and ``value`` (signed or not), as in ``BacktestResult``.
        capital: what the run started with.

    Returns:
        ``shares``: a row per share of ``PARTICIPATION``: ``share``, ``largest`` and ``p95`` (capital at which the
        largest order, and the 95th percentile, reach it; None where no order's volume is known); ``orders`` counted;
        ``unknown``: symbols with a fill on a day without volume, and how many.
    """
    day = panel.dates.get_indexer(pd.DatetimeIndex(transactions["date"]))
    column = panel.symbols.get_indexer(transactions["symbol"])
    known = (day >= 0) & (column >= 0)  # a terminal bar may stand on a day without any other
    traded = np.full(len(transactions), np.nan)
    at = day[known], column[known]
    traded[known] = panel.traded_value().to_numpy(dtype=float)[at]
    measurable = traded > 0
    part = transactions["value"].abs().to_numpy(dtype=float)[measurable] / traded[measurable]
    without = transactions.loc[~measurable, "symbol"].value_counts().sort_index()
    largest, p95 = (part.max(), np.quantile(part, 0.95)) if len(part) else (np.nan, np.nan)

    def money(share: float, reached: float) -> float | None:
        return float(capital * share / reached) if reached > 0 else None

    return {
        "shares": [
            {"share": share, "largest": money(share, largest), "p95": money(share, p95)} for share in PARTICIPATION
        ],
        "orders": len(part),
        "unknown": {str(name): int(count) for name, count in without.items()},
    }
