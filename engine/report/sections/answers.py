"""What a reader asks first, in a sentence each: did it beat the benchmark, what does it hold, what made and lost the
money, what did that cost, how bad was it at worst.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from clusterfolio.engine.evidence.assessment import STRATEGY
from clusterfolio.engine.evidence.contributions import earned
from clusterfolio.engine.evidence.phrases import p_value
from clusterfolio.engine.evidence.statistics import deepest_drawdowns
from clusterfolio.engine.report.layout.text import money, number, percent
from clusterfolio.engine.report.sections.holdings import groups_held, shares
from clusterfolio.engine.run_dir.tables import ReportInputs

#: Names on each side of an answer, and groups at most.
NAMED, GROUPS = 3, 8
#: The fall that everyone asks about.
MARCH_2020 = pd.Timestamp("2020-02-20"), pd.Timestamp("2020-03-23")


@dataclass(frozen=True)
class Answer:
    """A question, its answer, and the section that says more.

    Attributes:
        section: its anchor.
        more: what the link to it says.
    """

    question: str
    said: str
    section: str
    more: str


def answers(inputs: ReportInputs) -> list[Answer]:
    """All that a run has an answer to, in the order one asks."""
    found = [against_the_benchmark(inputs), held_now(inputs), made_and_lost(inputs), cost(inputs), worst(inputs)]
    return [one for one in found if one.said]


def against_the_benchmark(inputs: ReportInputs) -> Answer:
    """Both total returns, and what the evidence says of the lead in Sharpe ratio."""
    own, other, name = inputs.metrics["strategy"], inputs.metrics["benchmark"], inputs.run["benchmark"]
    ahead = own["total_return"] - other["total_return"]
    said = f"{'Yes' if ahead > 0 else 'No'}: {percent(own['total_return'])} against {percent(other['total_return'])}."
    evidence = inputs.evidence or {}
    judged = evidence.get("verdict", {})
    if judged and not judged.get("claim"):
        said += " That its picks show skill is not found."
    claim = next((row for row in evidence.get("claims", []) if row["claim"] == "the benchmark"), None)
    if claim and claim["difference"] <= 0:
        said += f" Its Sharpe ratio was no higher ({number(claim['difference'])})."
    elif claim:
        lead = (
            f"{number(claim['difference'])}, p = {p_value(claim['p_adjusted'])} among {len(evidence['claims'])} claims"
        )
        said += f" Its Sharpe ratio alone led by {'more' if claim['found'] else 'no more'} than luck may give ({lead})."
    said += _ahead(inputs)
    return Answer(
        f"Did it beat {name}?", said, "verdict" if evidence else "headline", "Evidence" if evidence else "Results"
    )


def _ahead(inputs: ReportInputs) -> str:
    """Which simpler policies earned more; "" where none was tried."""
    if inputs.baselines is None:
        return ""
    made = inputs.baselines["total_return"].drop([STRATEGY, f"benchmark {inputs.run['benchmark']}"], errors="ignore")
    more = made[made > inputs.metrics["strategy"]["total_return"]].sort_values(ascending=False, kind="stable")
    if made.empty or more.empty:
        return f" None of {len(made)} simpler rules earned more." if len(made) else ""
    return f" {len(more)} of {len(made)} simpler rules earned more: {_listed(more.iloc[:NAMED])}."


def held_now(inputs: ReportInputs) -> Answer:
    """The account at the last session: shares of its groups, and its largest names."""
    last, day = inputs.positions.iloc[-1], f"{inputs.positions.index[-1]:%Y-%m-%d}"
    names = (last / last.sum()).drop("cash")
    names = names[names.abs() > 0].sort_values(ascending=False, kind="stable")
    if names.empty:
        return Answer("What does it hold?", f"Cash alone, on {day}.", "holdings", "Holdings")
    groups = shares(inputs.positions, groups_held(inputs)[0]).iloc[-1].sort_values(ascending=False, kind="stable")
    shown = _listed(groups[groups.abs() >= 0.005].iloc[:GROUPS])
    largest = _listed(names.iloc[:NAMED])
    said = f"{len(names)} names on {day}, the largest {largest}. In all: {shown}."
    return Answer("What does it hold?", said, "holdings", "All names")


def made_and_lost(inputs: ReportInputs) -> Answer:
    """The names that earned most and least, in money."""
    made = earned(inputs.positions, inputs.transactions).sum().drop("cash")
    made = made[(inputs.positions[made.index] != 0).any()].sort_values(ascending=False, kind="stable")
    gained, lost = made[made > 0].iloc[:NAMED], made[made < 0].iloc[::-1].iloc[:NAMED]
    parts = [
        f"{word} {', '.join(f'{name} {money(amount)}' for name, amount in side.items())}"
        for word, side in (("Most made:", gained), ("Most lost:", lost))
        if len(side)
    ]
    said = f"{'. '.join(parts)} ({inputs.run['currency']}, after costs)." if parts else ""
    return Answer("What made and lost the money?", said, "attribution", "Every name")


def cost(inputs: ReportInputs) -> Answer:
    """Costs in money and per year, which the figures above bear already."""
    own, currency = inputs.metrics["strategy"], inputs.run["currency"]
    paid = own["costs"]
    said = f"{currency} {money(paid['total'])} in {len(inputs.transactions):,} trades"
    if paid.get("bps_per_year") is not None:
        said += f", {number(paid['bps_per_year'], 0)} basis points of the account a year"
    said += f", at a turnover of {percent(own.get('turnover'), 0)} a year; the account's figures are after it."
    return Answer("What did it cost?", said, "trading", "Costs and trades")


def worst(inputs: ReportInputs) -> Answer:
    """The deepest fall of each of the two, the other beside it, and March 2020 where the run has it."""
    returns, name = inputs.returns, inputs.run["benchmark"]
    falls: dict[tuple, list[str]] = {}
    for column, whose in (("strategy", "its own deepest fall"), ("benchmark", f"{name}'s deepest fall")):
        for first, last, _ in deepest_drawdowns(returns[column], n=1, floor=0.0):
            falls.setdefault((first, last), []).append(whose)
    if not inputs.run["simulated"] and returns.index[0] <= MARCH_2020[0] and returns.index[-1] >= MARCH_2020[1]:
        falls.setdefault(MARCH_2020, []).append("the fall of March 2020")
    said = [_fall(returns.loc[first:last], name, " and ".join(whose)) for (first, last), whose in falls.items()]
    if MARCH_2020 not in falls:
        said.append(
            "A made-up market has no March 2020." if inputs.run["simulated"] else "March 2020 is not in the run."
        )
    return Answer("How bad was it at worst?", " ".join(said), "attribution", "Falls")


def _fall(returns: pd.DataFrame, name: str, whose: str) -> str:
    made, (first, last) = (1 + returns).prod() - 1, returns.index[[0, -1]]
    return (
        f"{whose[0].upper()}{whose[1:]}, {first:%Y-%m-%d} to {last:%Y-%m-%d}: strategy {percent(made['strategy'])}, "
        f"{name} {percent(made['benchmark'])}."
    )


def _listed(parts: pd.Series) -> str:
    return ", ".join(f"{name} {percent(share)}" for name, share in parts.items())
