"""How many independent bets do the picks make out of sample, and what does changing them cost?

    python -m tests.benchmarks.picks --path ../shared/data --years 2014-2025
    python -m tests.benchmarks.picks --path ../shared/data --years 2014-2019 --clusters 20 --kind returns --json

Every month clusters are drawn on two years of returns (``embedding.kind``, "search" unless told) and names are picked
of them by each rule, with the product's own code; nothing is trained. Bets and correlation are those of the picks of
each December's decision over the next 252 sessions; expected: the bets that the two years before let expect, and shown:
what so many days would show of them (``engine.evidence.promises``). Sharpe ratio (with its standard error) and
volatility: equal weights each day, from the day after a decision on, before costs; turnover: half the sum of the
changes of target weights, a year. Settings are chosen on the years to 2019.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.evidence.promises import BEFORE, bets_shown
from clusterfolio.feeds.panel import SESSIONS_PER_YEAR, Panel
from clusterfolio.models.clustering import Ward
from clusterfolio.models.promise import expected_correlation
from clusterfolio.strategies.allocation import Allocator
from clusterfolio.strategies.diversification import (
    correlations,
    effective_bets,
    label_stability,
    log_returns,
    mean_correlation,
    measurable,
)
from clusterfolio.strategies.embedding import EmbeddingConfig
from clusterfolio.strategies.holding import Holding, Outlook
from clusterfolio.strategies.returns_embedding import EmbeddedReturns
from clusterfolio.strategies.selection import SelectionConfig, annual_volatility
from tests.benchmarks.embedding import EXCLUDED, load, parse_years, periods

#: Names held by every rule that may hold fewer than there are clusters.
NAMES = 20


def rules(n_clusters: int) -> dict[str, SelectionConfig]:
    """Ways to pick of so many clusters."""
    names = NAMES if n_clusters > NAMES else 0
    joint = {
        f"joint, {apart:g}": SelectionConfig(by="joint", apart=apart, names=names) for apart in (1.0, 4.0, 16.0, 1e6)
    }
    held = {
        f"joint, 4, held ahead by {head:g}": SelectionConfig(by="joint", head_start=head, names=names)
        for head in (0.25, 0.5, 1.0)
    }
    return {"best Sharpe ratio": SelectionConfig()} | joint | held


def decision_days(panel: Panel, years: list[int]) -> pd.DatetimeIndex:
    """The last session of every month from the December before these years to their last November."""
    sessions = panel.sessions.intersection(panel.dates)
    last = pd.Series(sessions, sessions).groupby([sessions.year, sessions.month]).last()
    first, end = pd.Timestamp(years[0] - 1, 12, 1), pd.Timestamp(years[-1], 12, 1)
    return pd.DatetimeIndex([day for day in last if first <= day < end])


def outlooks(known: Panel, kinds: list[int], kind: str) -> dict[int, Outlook]:
    """What is known at the close of the panel's last day, by number of clusters."""
    config, selection = EmbeddingConfig(kind=kind), SelectionConfig(by="joint")
    returns, past = log_returns(known).iloc[-config.span :], known.session_returns()[list(known.tradable)]
    lively = annual_volatility(past.iloc[-SESSIONS_PER_YEAR:]) >= selection.volatility_floor
    names = list(known.tradable[(measurable(returns)[known.tradable] & lively[known.tradable]).to_numpy()])
    rule = Holding(selection, Allocator())
    found = {}
    for n_clusters in kinds:
        rows = EmbeddedReturns(returns, config, n_clusters).rows(names)
        labels = pd.Series(Ward(n_clusters).fit(rows.to_numpy()).labels_, index=names)
        found[n_clusters] = rule.outlook(past, known.assets, rule.rank(past[names]), labels, None)
    return found


def run(panel: Panel, years: list[int], kinds: list[int], kind: str) -> tuple[dict, dict]:
    """By (clusters, rule): the picks by day; and by number of clusters the labels by day."""
    picks: dict[tuple[int, str], dict] = {(k, rule): {} for k in kinds for rule in rules(k)}
    labels: dict[int, dict] = {k: {} for k in kinds}
    for day in decision_days(panel, years):
        for k, known in outlooks(panel.until(day), kinds, kind).items():
            labels[k][day] = pd.Series(known.labels, known.names)
            for rule, config in rules(k).items():
                before = next(reversed(picks[k, rule].values()), [])
                held = np.isin(known.names, before).astype(float)[None]
                found = Holding(config, Allocator()).choose(known, known.groups(), held)
                picks[k, rule][day] = [known.names[at] for at in found.picks[0]]
        print(f"{day.date()}: {len(known.names)} assets", file=sys.stderr, flush=True)
    return picks, labels


def figures(picks: dict[pd.Timestamp, list[str]], returns: pd.DataFrame, years: list[int]) -> dict[str, float]:
    """What a rule's picks came to in these years."""
    days = [day for day in picks if (day + pd.DateOffset(months=1)).year in years]
    bets, shared, promised, shown = [], [], [], []
    for day in [day for day in days if day.month == 12]:
        expected = expected_correlation(returns.loc[:day].iloc[-BEFORE:][picks[day]].fillna(0.0).to_numpy())
        promised.append(effective_bets(expected))
        shown.append(bets_shown(expected, SESSIONS_PER_YEAR))
        after = returns.loc[day:].iloc[1 : SESSIONS_PER_YEAR + 1][picks[day]].fillna(0.0).to_numpy()
        found = correlations(after)
        bets.append(effective_bets(found))
        shared.append(mean_correlation(found))
    weights = pd.DataFrame({day: pd.Series(1 / len(picks[day]), picks[day]) for day in days}).T.fillna(0.0)
    traded = weights.diff().abs().sum(axis=1).iloc[1:].sum() / 2
    until = [*days[1:], returns.index[returns.index.searchsorted(days[-1]) + 21]]
    earned = pd.concat([
        np.expm1(returns.loc[first:last, picks[first]].iloc[1:].fillna(0.0)).mean(axis=1)
        for first, last in zip(days, until, strict=True)
    ])  # fmt: skip
    sharpe = earned.mean() / earned.std() * math.sqrt(SESSIONS_PER_YEAR)
    span = len(earned) / SESSIONS_PER_YEAR
    return {
        "names": float(np.mean([len(picks[day]) for day in days])),
        "bets": float(np.mean(bets)),
        "expected": float(np.mean(promised)),
        "shown": float(np.mean(shown)),
        "correlation": float(np.mean(shared)),
        "turnover": traded / span,
        "sharpe": float(sharpe),
        "error": math.sqrt((1 + sharpe**2 / 2) / span),
        "volatility": float(earned.std() * math.sqrt(SESSIONS_PER_YEAR)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", type=Path, nargs="+", required=True, help="price files and folders")
    parser.add_argument("--years", type=parse_years, default=parse_years("2014-2025"), help="test years: 2014-2025")
    parser.add_argument("--clusters", type=int, nargs="+", default=[20, 30], help="numbers of clusters")
    parser.add_argument("--kind", default="search", help="embedding.kind: search, learned, returns, svd, pca")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    panel = load(args.path, None, "all", EXCLUDED, "SPY")
    picks, labels = run(panel, args.years, args.clusters, args.kind)
    returns = log_returns(panel)
    tables = {
        period: {f"{k}, {rule}": figures(chosen, returns, years) for (k, rule), chosen in picks.items()}
        for period, years in periods(args.years).items()
    }
    lasting = {
        k: float(np.mean([label_stability(one, other) for one, other in pairwise(of.values())]))
        for k, of in labels.items()
    }
    if args.json:
        print(json.dumps({"periods": tables, "stability": lasting}, indent=2))
        return
    for period, table in tables.items():
        print(f"\n**{period}** (clusters, rule)\n")
        print(pd.DataFrame(table).T.round(3).to_string())
    for k, value in lasting.items():
        print(f"\n{k} clusters: adjusted Rand index from month to month {value:.3f}")


if __name__ == "__main__":
    main()
