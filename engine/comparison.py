"""The strategy beside what it has to beat: the same dates, assets, costs and engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from engine.backtest import BacktestResult, run_backtest
from engine.config import RunConfig
from engine.metrics import annual_turnover, cash_per_session, performance, trading_costs
from feeds.panel import Panel
from strategies.allocation import ALLOCATORS
from strategies.baselines import RULES, SLOW, Baseline, Recorded, unavailable
from strategies.policy import Decision, PortfolioState

#: Told ``(done, total, text)``.
Advance = Callable[[int, int, str], None]

#: What a table of policies says of each, and how.
FIGURES = ("total_return", "cagr", "volatility", "sharpe", "max_drawdown")


@dataclass(frozen=True)
class Comparison:
    """Policies that traded the same dates through the same engine.

    Attributes:
        returns: simple daily returns net of costs, index as ``returns.csv``, a column per policy.
        gross: the same before costs.
        costs: money paid per session, commission and spread, same shape.
        turnover: one-way turnover per year, by policy.
        metrics: by policy, what ``metrics.json`` says of the strategy.
        picks: target weights by policy: index decision day, a column per symbol ever held.
        left_out: baselines that could not be carried out, and why.
    """

    returns: pd.DataFrame
    gross: pd.DataFrame
    costs: pd.DataFrame
    turnover: pd.Series
    metrics: dict[str, dict]
    picks: dict[str, pd.DataFrame] = field(repr=False)
    left_out: dict[str, str] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """A row per policy, best Sharpe ratio first: figures as fractions, turnover and costs (bps) per year, names."""
        rows = {
            name: {key: found[key] for key in FIGURES}
            | {
                "turnover": found["turnover"],
                "cost_bps": found["costs"]["bps_per_year"],
                "names": float((self.picks[name] > 0).sum(axis=1).mean()),
            }
            for name, found in self.metrics.items()
        }
        table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("policy")
        return table.sort_values("sharpe", ascending=False, kind="stable")

    def joined(self, other: Comparison) -> Comparison:
        """Both together; they must be over the same sessions."""
        if not self.returns.index.equals(other.returns.index):
            raise ValueError("other: its sessions differ")
        return Comparison(
            returns=self.returns.join(other.returns),
            gross=self.gross.join(other.gross),
            costs=self.costs.join(other.costs),
            turnover=pd.concat([self.turnover, other.turnover]),
            metrics=self.metrics | other.metrics,
            picks=self.picks | other.picks,
            left_out=self.left_out | other.left_out,
        )


class Replay:
    """A policy that repeats decisions already made."""

    def __init__(self, decisions: Iterable[Decision]):
        self.by_day = {decision.asof: decision for decision in decisions}

    def fit(self, panel: Panel, start: pd.Timestamp | None = None) -> Replay:
        return self

    def decide(self, panel: Panel, state: PortfolioState) -> Decision:
        return self.by_day[panel.dates[-1]]


def compare(
    panel: Panel,
    config: RunConfig,
    cash: pd.Series,
    decisions: Sequence[Decision],
    names: Iterable[str] | None = None,
    progress: Advance | None = None,
) -> Comparison:
    """Run baselines on the dates and assets that a strategy decided on.

    Args:
        panel: of the strategy's run, to its last session.
        config: of the strategy's run.
        cash: simple return of cash per session.
        decisions: the strategy's, in order; each date's eligible assets, Sharpe ratios and clusters are theirs.
        names: of ``strategies.baselines.RULES``; None = those that take less than a second per decision.

    Raises:
        ValueError: an unknown name.
    """
    wanted = [name for name in RULES if name not in SLOW] if names is None else list(names)
    unknown = [name for name in wanted if name not in RULES]
    if unknown:
        raise ValueError(f"names: unknown baseline {unknown[0]!r}; available: {', '.join(RULES)}")
    cannot = {name: why for name, why in unavailable(panel).items() if name in wanted}
    chosen = [name for name in wanted if name not in cannot]
    made = decide_all(panel, config, decisions, chosen, progress)
    return trade_all(panel, config, cash, made, progress, cannot)


def decide_all(
    panel: Panel,
    config: RunConfig,
    decisions: Sequence[Decision],
    names: Sequence[str],
    progress: Advance | None = None,
) -> dict[str, list[Decision]]:
    """What each of these rules decides on the strategy's dates; see ``compare``."""
    candidates = Recorded(decisions)
    policies = {name: make_baseline(name, config, candidates) for name in names}
    made: dict[str, list[Decision]] = {name: [] for name in names}
    for number, decision in enumerate(decisions, start=1):
        known = panel.until(decision.asof)
        seen = None
        for name, policy in policies.items():
            seen = seen or policy.view(known)
            made[name].append(policy.on(seen))
        if progress is not None:
            progress(number, len(decisions), f"{decision.asof.date()}")
    return made


def make_baseline(name: str, config: RunConfig, candidates: Callable) -> Baseline:
    """The rule of this name with the settings of a run."""
    return Baseline(
        RULES[name],
        candidates,
        span=config.embedding.span,
        n_clusters=config.clustering.n_clusters,
        per_cluster=config.selection.per_cluster,
        allocate=ALLOCATORS[config.trading.allocate],
        random_state=config.engine.seed,
    )


def trade_all(
    panel: Panel,
    config: RunConfig,
    cash: pd.Series,
    made: dict[str, list[Decision]],
    progress: Advance | None = None,
    left_out: dict[str, str] | None = None,
) -> Comparison:
    """Trade each policy's decisions through the engine; all have the same dates."""
    results = {}
    for number, (name, decisions) in enumerate(made.items(), start=1):
        dates = pd.DatetimeIndex([decision.asof for decision in decisions])
        replay = Replay(decisions)
        results[name] = run_backtest(panel, lambda now, p=replay: p, dates, config.trading, clock=config.engine.clock)
        if progress is not None:
            progress(number, len(made), name)
    return comparison_of(results, cash, left_out or {})


def comparison_of(results: dict[str, BacktestResult], cash: pd.Series | float, left_out: dict[str, str]) -> Comparison:
    """Backtests side by side."""
    metrics = {name: figures(result, cash) for name, result in results.items()}
    return Comparison(
        returns=pd.DataFrame({name: result.returns["strategy"] for name, result in results.items()}),
        gross=pd.DataFrame({name: result.gross for name, result in results.items()}),
        costs=pd.DataFrame({name: costs_per_session(result) for name, result in results.items()}),
        turnover=pd.Series({name: found["turnover"] for name, found in metrics.items()}, dtype=float),
        metrics=metrics,
        picks={name: result.weights.drop(columns="CASH") for name, result in results.items()},
        left_out=left_out,
    )


def costs_per_session(result: BacktestResult) -> pd.Series:
    """Commission and spread paid, in the account's currency, at the sessions of ``result.returns``."""
    before = result.value.shift(1).reindex(result.gross.index)
    return (result.gross - result.returns["strategy"]) * before


def figures(result: BacktestResult, cash: pd.Series | float) -> dict:
    """Performance, turnover and costs of one backtest."""
    returns = result.returns["strategy"]
    value = result.value.reindex(returns.index)
    return performance(returns, cash_per_session(cash, returns.index)) | {
        "turnover": annual_turnover(result.transactions, value),
        "costs": trading_costs(result.transactions, value),
    }
