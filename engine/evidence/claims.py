"""What a record of returns proves: one claim decided by one test declared beforehand, and further ones behind it.

The claim is that the picks are better than chance would pick. The comparator is the average member of the same
clusters, at the cluster weights the strategy held: what random picks from the same clusters earn in the mean, without
the luck of any one draw. Both sides are taken before costs, that is, charged alike: random picks trade more, and a
saving on costs is no skill at picking. The test is the alpha of the strategy against the comparator, one-sided, with
HAC errors: a strategy that only takes more of the same risk has none. The p-value is that of the best of the trials on
record (Sidak, with their effective number), so it is the test's own where there was one trial only.

Where a strategy states no clusters, the comparator is the mean of all portfolios of as many names of its universe, at
the strategy's own exposure on every day (``engine.evidence.exposure``); where there is one name only, holding it at the
strategy's average exposure. The test is the same.

Skill is claimed only where the plain difference of the mean returns passes the same test too: picks of a low beta have
alpha wherever betas differ and mean returns do not, while they earn no more. The p-value is the larger of the two,
which keeps its level whichever of the two is null (an intersection-union test, Berger 1982).

That clusters diversify, that the whole beats 1/N, the benchmark or the best classical clustering net of costs: those
are further claims, tested by their Sharpe ratios and adjusted for being several (Holm). They never make the headline.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from clusterfolio.engine.evidence import statistics as st
from clusterfolio.engine.evidence.resampling import overfitting, sharpe_difference, superior_ability
from clusterfolio.feeds.panel import SESSIONS_PER_YEAR
from clusterfolio.feeds.writing import finite
from clusterfolio.strategies.sharpe import sharpe_ratio, sharpe_ratios

LEVEL = 0.05
#: What comparing a portfolio with itself gives.
NO_DIFFERENCE = {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0, "block": 1}
#: Sessions under which nothing is judged: a quarter of a year.
FEWEST_SESSIONS = 63


@dataclass(frozen=True)
class Record:
    """The daily returns a verdict is made of, all at the same sessions.

    Attributes:
        net: of the strategy, after costs.
        gross: of the strategy, before costs.
        comparator: of what random picks earn in the mean, before costs: the average member of the same clusters at
            the same cluster weights, or the average name at the same exposure; None where nothing was held.
        cash: of cash.
        rivals: a column per baseline, after costs.
        claims: who must be beaten in a further claim: name of the claim to the columns of ``rivals`` of which the best
            Sharpe ratio is taken.
        trials: net returns of the other trials on record, a column each; NaN where one has none at a session.
        trials_known: whether there was a ledger to count them.
    """

    net: pd.Series
    gross: pd.Series
    comparator: pd.Series | None
    cash: pd.Series
    rivals: pd.DataFrame = field(default_factory=pd.DataFrame)
    claims: dict[str, list[str]] = field(default_factory=dict)
    trials: pd.DataFrame = field(default_factory=pd.DataFrame)
    trials_known: bool = True


def weigh(record: Record, repetitions: int = 2000, random_state: int = 0) -> dict:
    """The statistics of a record: plain numbers by name, None where one cannot be computed.

    Args:
        repetitions: of each bootstrap.
        random_state: of the bootstraps.

    Returns:
        ``sessions``, ``years``, ``level``, ``trials`` (count, effective), ``primary``, ``claims``, ``sharpe``,
        ``overfitting`` and ``snooping``. Figures named ``..._year`` are per year.
    """
    n = len(record.net)
    found = {"sessions": n, "years": n / SESSIONS_PER_YEAR, "level": LEVEL, "missing": {}}
    if n < FEWEST_SESSIONS:
        found["missing"]["all tests"] = f"{n} sessions are too few; at least {FEWEST_SESSIONS} are needed"
        return found | {"primary": None, "trials": count_trials(record), "claims": [], "sharpe": None,
                        "overfitting": None, "snooping": None}  # fmt: skip
    trials = count_trials(record)
    effective = trials["effective"]
    return found | {
        "trials": trials,
        "primary": primary(record, effective),
        "claims": further_claims(record, effective, repetitions, random_state),
        "sharpe": sharpe_facts(record, effective),
        "overfitting": overfit(record),
        "snooping": snooping(record, repetitions, random_state),
    }


def count_trials(record: Record) -> dict:
    """How many trials stand behind this run, itself included, and how many independent ones they are worth.

    What all trials share, the comparator's return, is taken off before they are correlated.
    """
    shared = record.cash if record.comparator is None else record.comparator
    trials = record.trials.reindex(record.net.index).sub(shared, axis=0)
    together = pd.concat([(record.net - shared).rename("this run"), trials], axis=1)
    seen = int((together.count() >= 30).sum())
    effective = st.effective_trials(together) if len(record.net) > 1 else 1.0
    unseen = together.shape[1] - max(seen, 1)
    return {"count": together.shape[1], "effective": effective + unseen, "known": record.trials_known}


def primary(record: Record, effective: float = 1.0) -> dict | None:
    """The one test that decides: alpha of the picks against what random ones earn in the mean, before costs."""
    if record.comparator is None:
        return None
    test = st.alpha_test(record.gross - record.cash, (record.comparator - record.cash).to_frame("comparator"))
    plain = st.alpha_test(record.gross - record.comparator, pd.DataFrame(index=record.gross.index))
    p = max(test.p, plain.p)
    adjusted = st.sidak(p, effective)
    year, width = SESSIONS_PER_YEAR, 1.96 * test.error
    needed = {power: st.sessions_needed(test.appraisal, effective, LEVEL, power) / year for power in (0.5, 0.8)}
    return {
        "alpha_year": test.alpha * year,
        "low_year": (test.alpha - width) * year,
        "high_year": (test.alpha + width) * year,
        "net_alpha_year": test.alpha * year - float((record.gross - record.net).mean()) * year,
        "difference_year": plain.alpha * year,
        "information_ratio": test.appraisal,
        "beta": test.betas.get("comparator", 0.0),
        "t": test.t,
        "p": p,
        "p_alpha": test.p,
        "p_difference": plain.p,
        "p_adjusted": adjusted,
        "found": bool(adjusted <= LEVEL),
        "trials_borne": finite(st.trials_borne(p, LEVEL)),
        "years_needed": finite(needed[0.5]),
        "years_needed_80": finite(needed[0.8]),
    }


def further_claims(record: Record, effective: float, repetitions: int, random_state: int) -> list[dict]:
    """Net of costs, against each rival: difference of the Sharpe ratios, its interval and adjusted p-value."""
    own, rows = record.net - record.cash, []
    if own.std() < 1e-14:
        return rows
    for claim, names in record.claims.items():
        excess = record.rivals[[name for name in names if name in record.rivals]].sub(record.cash, axis=0)
        excess = excess.loc[:, excess.std() > 1e-14]
        known = list(excess)
        if not known:
            continue
        best = sharpe_ratios(record.rivals[known], record.cash).idxmax()
        if np.allclose(excess[best], own, atol=1e-12):  # the very same portfolio
            rows.append({"claim": claim, "rival": best, "among": len(known)} | NO_DIFFERENCE)
            continue
        test = sharpe_difference(own, excess[best], repetitions=repetitions, random_state=random_state)
        rows.append(
            {"claim": claim, "rival": best, "among": len(known), "difference": test.difference, "low": test.low,
             "high": test.high, "p": test.p, "block": test.block}
        )  # fmt: skip
    adjusted = st.holm({row["claim"]: st.sidak(row["p"], effective) for row in rows})
    return [row | {"p_adjusted": adjusted[row["claim"]], "found": adjusted[row["claim"]] <= LEVEL} for row in rows]


def sharpe_facts(record: Record, effective: float) -> dict | None:
    """The Sharpe ratio over cash, and what is left of it: PSR, DSR, minimum track record; None where there is none."""
    if not math.isfinite(sharpe_ratio(record.net, record.cash)):  # an account that does not move, or as cash does
        return None
    known, year = st.moments(record.net - record.cash), math.sqrt(SESSIONS_PER_YEAR)
    together = pd.concat([record.net, record.trials.reindex(record.net.index)], axis=1)
    ratios = sharpe_ratios(together, record.cash, per_year=1)[(together.count() >= 30).to_numpy()].dropna()
    variance = float(ratios.var()) if len(ratios) > 1 else 0.0
    return {
        "sharpe_year": known.sharpe * year,
        "error_year": math.sqrt(st.sharpe_variance(known)) * year,
        "skew": known.skew,
        "kurtosis": known.kurtosis,
        "probabilistic": st.probabilistic_sharpe(known),
        "expected_maximum_year": st.expected_maximum_sharpe(variance, effective) * year,
        "deflated": st.deflated_sharpe(known, variance, effective),
        "years_needed": finite(st.minimum_track_record(known) / SESSIONS_PER_YEAR),
    }


def overfit(record: Record) -> dict | None:
    """PBO over everything on record at these sessions: this run, other trials and baselines."""
    whole = record.trials.reindex(record.net.index).dropna(axis=1)
    table = pd.concat([record.net, whole, record.rivals], axis=1).sub(record.cash, axis=0).to_numpy()
    if table.shape[1] < 3:
        return None
    blocks = 16 if len(table) >= 320 else 8
    test = overfitting(table, blocks)
    return {"probability": test.probability, "candidates": test.candidates, "splits": test.splits, "blocks": blocks}


def snooping(record: Record, repetitions: int, random_state: int) -> dict | None:
    """Hansen's SPA both ways: is the best of all trials better than 1/N, is any baseline better than the strategy?"""
    found = {}
    whole = record.trials.reindex(record.net.index).dropna(axis=1)
    for claim, names in record.claims.items():
        if len(names) == 1 and names[0] in record.rivals:
            models = pd.concat([record.net, whole], axis=1)
            found[f"best trial beats {claim}"] = _spa(record.rivals[names[0]], models, repetitions, random_state)
    if record.rivals.shape[1]:
        found["a baseline beats the strategy"] = _spa(record.net, record.rivals, repetitions, random_state)
    return {name: p for name, p in found.items() if p is not None} or None


def _spa(reference: pd.Series, models: pd.DataFrame, repetitions: int, random_state: int) -> dict | None:
    moving = models.sub(reference, axis=0).std() > 1e-12
    if not moving.any():
        return None
    return superior_ability(reference, models.loc[:, moving], min(repetitions, 1000), random_state)
