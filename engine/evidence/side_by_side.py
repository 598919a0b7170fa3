"""Several results on the sessions that they share: curves, figures, what sets their settings apart, how many they are.

Runs, trials of a sweep, other seeds, what ``judge`` wrote, and paper accounts (whose folder gives two: the account, and
the model beside it). What they do not share (days, currency, benchmark, cash) is said, and changes no figure silently.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.evidence import statistics as st
from clusterfolio.engine.ledger.explain import Difference, differences, read_trial
from clusterfolio.engine.run_dir.artifacts import read_run_json
from clusterfolio.engine.trading.metrics import performance
from clusterfolio.feeds.panel import SESSIONS_PER_YEAR

#: Sessions that results must share.
FEWEST_SHARED = 20

#: What a paper account leaves day by day.
PAPER_DAYS = "days.csv"


@dataclass(frozen=True)
class Result:
    """One of the results.

    Attributes:
        name: unique among them.
        folder: where it lies.
        net: daily returns net of costs.
        benchmark: its benchmark's daily returns, named after it; None for a paper account.
        currency: of the account; "" = not stated.
        cash: mean return of cash per session; 0 where it is not stated.
        claim: the verdict's sentence; "" where none was reached.
        simulated: of a made-up market.
    """

    name: str
    folder: Path
    net: pd.Series
    benchmark: pd.Series | None = None
    currency: str = ""
    cash: float = 0.0
    claim: str = ""
    simulated: bool = False


@dataclass(frozen=True)
class SideBySide:
    """Results on the sessions they share.

    Attributes:
        returns: daily, a column per result, then one per benchmark.
        figures: index as the columns of ``returns``; columns of ``performance``.
        correlations: of the results' returns.
        claims: the verdicts' sentences by result.
        differences: by result, what is not as in the first; empty for a paper account.
        best: name, Sharpe ratio and the number of results, ``effective`` of them (correlated ones count for less),
            ``by_luck`` (the best Sharpe ratio a year of so many without skill) and ``deflated`` (the probability that
            its true ratio is above 0, after so many).
        remarks: what they do not share, a sentence each.
        simulated: one of them is of a made-up market.
    """

    returns: pd.DataFrame
    figures: pd.DataFrame
    correlations: pd.DataFrame
    claims: dict[str, str]
    differences: dict[str, list[Difference]]
    best: dict
    remarks: list[str] = field(default_factory=list)
    simulated: bool = False


def read_results(folder: Path, name: str) -> list[Result]:
    """What a folder holds: a run, or a paper account with its model.

    Raises:
        FileNotFoundError: neither.
    """
    folder = Path(folder)
    if (folder / PAPER_DAYS).is_file() and not (folder / "run.json").is_file():
        days = pd.read_csv(folder / PAPER_DAYS, index_col="day", parse_dates=True)
        return [
            Result(f"{name} ({kind})", folder, days[kind].pct_change(fill_method=None).iloc[1:])
            for kind in ("account", "model")
        ]
    facts = read_run_json(folder)
    returns = pd.read_csv(folder / "returns.csv", index_col="date", parse_dates=True)
    period = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["period"]
    cash = (1 + period["cash_return"]) ** (1 / period["sessions"]) - 1 if period.get("cash_return") else 0.0
    claim = ""
    if (folder / "significance.json").is_file():
        found = json.loads((folder / "significance.json").read_text(encoding="utf-8"))
        claim = found["verdict"]["headline"]
    benchmark = returns["benchmark"].rename(facts["benchmark"])
    return [
        Result(name, folder, returns["strategy"], benchmark, facts["currency"], cash, claim, bool(facts["simulated"]))
    ]


def named(folders: Sequence[Path]) -> list[str]:
    """A name per folder: its last parts, as many as it takes to tell them apart.

    >>> named([Path("runs/a/first"), Path("runs/b/first")])
    ['a/first', 'b/first']
    """
    parts = [Path(folder).resolve().parts for folder in folders]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-depth:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f"the same folder twice: {', '.join(map(str, folders))}")


def side_by_side(folders: Sequence[Path]) -> SideBySide:
    """Results put beside each other.

    Args:
        folders: run directories and folders of paper accounts, the one that others are held against first.

    Raises:
        ValueError: fewer than two results, the same folder twice, or too few shared sessions.
        FileNotFoundError: a folder holds neither.
    """
    results = [one for folder, name in zip(folders, named(folders), strict=True) for one in read_results(folder, name)]
    if len(results) < 2:
        raise ValueError(f"run_dirs: got {len(results)} result; two are needed to be put side by side")
    net = pd.concat({one.name: one.net for one in results}, axis=1, join="inner")
    if len(net) < FEWEST_SHARED:
        spans = "; ".join(f"{one.name} {one.net.index[0].date()} to {one.net.index[-1].date()}" for one in results)
        raise ValueError(f"run_dirs: they share {len(net)} sessions, at least {FEWEST_SHARED} are needed ({spans})")
    benchmarks = {one.benchmark.name: one.benchmark.reindex(net.index) for one in results if one.benchmark is not None}
    returns = net.assign(**{f"benchmark {name}": series for name, series in benchmarks.items()})
    cash = pd.Series(float(np.mean([one.cash for one in results])), net.index)
    figures = pd.DataFrame({name: performance(column, cash) for name, column in returns.items()}).T
    return SideBySide(
        returns,
        figures,
        net.corr(),
        {one.name: one.claim for one in results},
        {one.name: apart(results[0], one) for one in results[1:]},
        best_of(net - cash.iloc[0], next(iter(benchmarks.values()), None)),
        remarks(results, net),
        any(one.simulated for one in results),
    )


def apart(first: Result, other: Result) -> list[Difference]:
    """What is not the same in two runs; nothing where one of them keeps no settings."""
    if not all((one.folder / "run.json").is_file() for one in (first, other)):
        return []
    return differences(read_trial(first.folder), read_trial(other.folder))


def best_of(excess: pd.DataFrame, market: pd.Series | None = None) -> dict:
    """What the best of the results is worth, as the best of so many; see ``SideBySide.best``.

    Args:
        market: what all of them share, which is taken off before they are counted; None = nothing.
    """
    known = {name: st.moments(column) for name, column in excess.items()}
    ratios = pd.Series({name: one.sharpe for name, one in known.items()}, dtype=float)
    name = str(ratios.idxmax())
    effective = st.effective_trials(excess if market is None else excess.sub(market, axis=0))
    variance = float(ratios.var())
    year = np.sqrt(SESSIONS_PER_YEAR)
    return {
        "name": name,
        "sharpe": float(ratios[name] * year),
        "results": len(ratios),
        "effective": effective,
        "by_luck": st.expected_maximum_sharpe(variance, effective) * year,
        "deflated": st.deflated_sharpe(known[name], variance, effective),
    }


def remarks(results: Sequence[Result], net: pd.DataFrame) -> list[str]:
    """What the results do not share."""
    first, last = net.index[0].date(), net.index[-1].date()
    found = [f"All figures are over the {len(net):,} sessions that all share, {first} to {last}."]
    longer = [one.name for one in results if len(one.net) > len(net)]
    if longer:
        found.append(f"Left out of {', '.join(longer)}: the sessions that another lacks.")
    stated = [one for one in results if one.currency]
    if len({one.currency for one in stated}) > 1:
        said = ", ".join(f"{one.name} in {one.currency}" for one in stated)
        found.append(f"Each account counts in its own currency ({said}); what exchange rates did lies between them.")
    names = {one.benchmark.name for one in results if one.benchmark is not None}
    if len(names) > 1:
        found.append(f"They have different benchmarks: {', '.join(sorted(map(str, names)))}.")
    if len({round(one.cash * SESSIONS_PER_YEAR, 4) for one in stated}) > 1:
        found.append("Ratios are over the mean of what cash is said to have earned in each.")
    return found
