"""The strategy beside what it has to beat: the same dates, assets, costs and engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from clusterfolio.engine.config.run import RunConfig
from clusterfolio.engine.trading.backtest import BacktestResult, run_backtest
from clusterfolio.engine.trading.metrics import annual_turnover, cash_per_session, performance
from clusterfolio.engine.trading.tape import Bars, read_bars
from clusterfolio.engine.trading.vectorised import Targets, simulate
from clusterfolio.feeds.panel import SESSIONS_PER_YEAR, Panel
from clusterfolio.strategies.baselines.policies import Baseline, Listed, Recorded
from clusterfolio.strategies.baselines.rules import RULES, SLOW, unavailable
from clusterfolio.strategies.policy import Decision, Guard, PortfolioState, largest_exposure, rests

#: Told ``(done, total, text)``.
Advance = Callable[[int, int, str], None]

#: What a table of policies says of each, and how.
FIGURES = ("total_return", "cagr", "volatility", "sharpe", "max_drawdown", "turnover", "cost_bps", "names")

#: Names held above which the vectorised path trades a policy.
WIDE = 60

#: Decisions above which the vectorised path trades a policy too, and only 1/N is put beside one without clusters.
MANY = 120

#: What a strategy that states no clusters is put beside; all other rules are ways of clustering.
WITHOUT_CLUSTERS = ("1/N", "inverse volatility", "best Sharpe of all", "momentum 12-1")


@dataclass(frozen=True)
class Traded:
    """What a comparison needs to know of one policy.

    Attributes:
        net, gross: simple daily returns after and before costs.
        costs: money paid per session.
        turnover: one-way, per year.
        weights: targets, index decision day, a column per symbol ever held.
    """

    net: pd.Series
    gross: pd.Series
    costs: pd.Series
    turnover: float
    weights: pd.DataFrame


@dataclass(frozen=True)
class Comparison:
    """Policies that traded the same dates through the same engine.

    Attributes:
        returns: simple daily returns net of costs, index as ``returns.csv``, a column per policy.
        gross: the same before costs.
        costs: money paid per session, commission and spread, same shape.
        turnover: one-way turnover per year, by policy.
        metrics: by policy, see ``figures``.
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
        rows = {name: {key: found[key] for key in FIGURES} for name, found in self.metrics.items()}
        table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("policy")
        return table.sort_values("sharpe", ascending=False, kind="stable")


class Replay:
    """A policy that repeats decisions already made, under the guard that looked at them."""

    def __init__(self, decisions: Iterable[Decision], guard: Guard | None = None):
        self.by_day = {decision.asof: decision for decision in decisions}
        self.guard_every = guard.guard_every if guard else 0
        self.guard = guard.guard if guard else None
        self.max_exposure = largest_exposure(guard)
        self.rests = rests(guard)
        self.resting = getattr(guard, "resting", None)

    def fit(self, panel: Panel, start: pd.Timestamp | None = None) -> Replay:
        """Nothing to learn."""
        return self

    def decide(self, panel: Panel, state: PortfolioState) -> Decision:
        """What was decided on the panel's last day."""
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
        decisions: the strategy's, in order; each date's eligible assets, Sharpe ratios and clusters are theirs. Where
            they state none, everything that trades is eligible, and rules of clusters are left out.
        names: of ``strategies.baselines.rules.RULES``; None = those that take less than a second per decision.

    Raises:
        ValueError: an unknown name.
    """
    wanted = [name for name in RULES if name not in SLOW] if names is None else list(names)
    unknown = [name for name in wanted if name not in RULES]
    if unknown:
        raise ValueError(f"names: unknown baseline {unknown[0]!r}; available: {', '.join(RULES)}")
    cannot = {name: why for name, why in cannot_be_compared(panel, decisions).items() if name in wanted}
    chosen = [name for name in wanted if name not in cannot]
    made = decide_all(panel, config, decisions, chosen, progress, cash)
    return trade_all(panel, config, cash, made, progress, cannot)


def states_clusters(decisions: Sequence[Decision]) -> bool:
    """Whether a strategy says what it picked from."""
    return any(len(decision.labels) for decision in decisions)


def cannot_be_compared(panel: Panel, decisions: Sequence[Decision]) -> dict[str, str]:
    """Rules that cannot be put beside these decisions, and why."""
    found = unavailable(panel)
    if not states_clusters(decisions):
        found |= dict.fromkeys(set(RULES) - set(WITHOUT_CLUSTERS), "the strategy states no clusters")
        if len(panel.tradable) == 1:
            found |= dict.fromkeys(WITHOUT_CLUSTERS[1:], "there is one name only")
        elif len(decisions) > MANY:
            found |= dict.fromkeys(WITHOUT_CLUSTERS[1:], f"{len(decisions):,} decisions take it too long")
    return found


def decide_all(
    panel: Panel,
    config: RunConfig,
    decisions: Sequence[Decision],
    names: Sequence[str],
    progress: Advance | None = None,
    cash: pd.Series | None = None,
) -> dict[str, list[Decision]]:
    """What each of these rules decides on the strategy's dates; see ``compare``.

    A rule that holds some of the names holds one of each cluster; without clusters, as many as the strategy on average.
    """
    if states_clusters(decisions):
        policies = {name: make_baseline(name, config, Recorded(decisions)) for name in names}
    else:
        held = [len(decision.weights) for decision in decisions if len(decision.weights)]
        alone = {"n_clusters": max(1, round(float(np.mean(held)))) if held else 1, "per_cluster": 1, "names_in_all": 0}
        listed = Listed(config.selection, cash)
        policies = {name: make_baseline(name, config, listed, **alone) for name in names}
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


def make_baseline(name: str, config: RunConfig, candidates: Callable, **others) -> Baseline:
    """The rule of this name with the settings of a run, apart from ``others``."""
    settings = {
        "span": config.embedding.span,
        "n_clusters": config.clustering.n_clusters,
        "per_cluster": config.selection.per_cluster,
        "names_in_all": config.selection.names,
        "allocate": config.allocator,
        "random_state": config.engine.seed,
    }
    return Baseline(RULES[name], candidates, **(settings | others))


def trade_all(
    panel: Panel,
    config: RunConfig,
    cash: pd.Series,
    made: dict[str, list[Decision]],
    progress: Advance | None = None,
    left_out: dict[str, str] | None = None,
) -> Comparison:
    """Trade each policy's decisions; all have the same dates.

    Those of few names go through ``engine.trading.backtest``. Where hundreds are held, or hundreds of times is decided,
    the vectorised path, which gives the same, is some twenty times as fast.
    """
    traded, bars = {}, None
    for number, (name, decisions) in enumerate(made.items(), start=1):
        if len(decisions) > MANY or np.mean([len(decision.weights) for decision in decisions]) > WIDE:
            bars = bars or read_bars(panel, decisions[0].asof, config.trading.fractional)
            traded[name] = trade_wide(panel, config, decisions, cash, bars)
        else:
            traded[name] = trade(panel, config, decisions, cash)
        if progress is not None:
            progress(number, len(made), name)
    return comparison_of(traded, cash, left_out or {})


def trade(panel: Panel, config: RunConfig, decisions: Sequence[Decision], cash: pd.Series) -> Traded:
    """Trade decisions through the engine."""
    dates = pd.DatetimeIndex([decision.asof for decision in decisions])
    replay = Replay(decisions)
    clock = config.engine.clock
    return of_backtest(run_backtest(panel, lambda now: replay, dates, config.trading, clock, cash=cash))


def of_backtest(result: BacktestResult) -> Traded:
    """What a comparison needs of a backtest."""
    net = result.returns["strategy"]
    value = result.value.reindex(net.index)
    costs = (result.gross - net) * result.value.shift(1).reindex(net.index)
    return Traded(
        net, result.gross, costs, annual_turnover(result.transactions, value), result.weights.drop(columns="CASH")
    )


def trade_wide(
    panel: Panel, config: RunConfig, decisions: Sequence[Decision], cash: pd.Series, bars: Bars | None = None
) -> Traded:
    """Trade decisions of many names through the vectorised path."""
    weights = pd.DataFrame({d.asof: d.weights for d in decisions}).T.sort_index(axis=1).fillna(0.0).astype(float)
    picks = np.broadcast_to(panel.symbols.get_indexer(weights.columns), (1, *weights.shape))
    held = weights.to_numpy()[None]
    targets = Targets(np.where(held > 0, picks, -1), held)
    found = simulate(panel, targets, pd.DatetimeIndex(weights.index), config.trading, cash=cash, bars=bars)
    net, gross = (pd.Series(series[0], found.sessions) for series in (found.net, found.gross))
    value = config.trading.capital * (1 + net).cumprod()
    before = value.shift(1, fill_value=config.trading.capital)
    per_year = SESSIONS_PER_YEAR / len(net)
    turnover = float(found.traded[0]) / 2 / float(value.mean()) * per_year
    return Traded(net, gross, (gross - net) * before, turnover, weights.rename_axis("date"))


def comparison_of(traded: dict[str, Traded], cash: pd.Series | float, left_out: dict[str, str]) -> Comparison:
    """Policies side by side."""
    return Comparison(
        returns=pd.DataFrame({name: found.net for name, found in traded.items()}).rename_axis("date"),
        gross=pd.DataFrame({name: found.gross for name, found in traded.items()}).rename_axis("date"),
        costs=pd.DataFrame({name: found.costs for name, found in traded.items()}).rename_axis("date"),
        turnover=pd.Series({name: found.turnover for name, found in traded.items()}, dtype=float),
        metrics={name: figures(found, cash) for name, found in traded.items()},
        picks={name: found.weights for name, found in traded.items()},
        left_out=left_out,
    )


def figures(found: Traded, cash: pd.Series | float) -> dict[str, float]:
    """Performance net of costs, turnover and costs (basis points of the account) per year, names held."""
    account = (1 + found.net).cumprod()
    capital = account / (1 + found.net)  # before each session, as a multiple of the first
    spent = float(((found.gross - found.net) * capital).sum()) / float(account.mean())
    return performance(found.net, cash_per_session(cash, found.net.index)) | {
        "turnover": found.turnover,
        "cost_bps": spent * SESSIONS_PER_YEAR / len(found.net) * 1e4,
        "names": float((found.weights > 0).sum(axis=1).mean()),
    }
