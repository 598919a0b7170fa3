"""The passport of every cluster at every decision: its members, what it moves with, how firm it is, who was picked.

What was known is noted at the moment of the decision, from the panel that the policy was given, which holds nothing
later. What only later days showed is added when the run is over, in columns that begin with ``later_``; no decision
sees a passport.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR, Panel
from clusterfolio.models.blas import one_blas_thread
from clusterfolio.strategies.cluster_policy import ClusterPolicy
from clusterfolio.strategies.cluster_stability import cluster_stability
from clusterfolio.strategies.diversification import correlations, log_returns
from clusterfolio.strategies.passports.beside import BESIDE, beside_the_others
from clusterfolio.strategies.passports.likeness import NEAREST, distances, nearest, past_days
from clusterfolio.strategies.policy import (
    Decision,
    Guard,
    Policy,
    PortfolioState,
    Resting,
    ask,
    largest_exposure,
    named_failures,
    rests,
)

#: Fewest sessions a correlation is taken over.
LEAST_SESSIONS = 5

#: Between the symbols in a cell.
SEPARATOR = ";"

#: Columns that every passport has; ``share_CLASS`` and ``beta_CLASS`` follow for the asset classes of the panel.
COLUMNS = (
    "date", "cluster", "n_members", "members", "n_assets",
    "picks", "pick_sharpe", "pick_rank", "pick_rank_of_all", "runner_up", "runner_up_sharpe", "lead", *BESIDE,
    "stability", "pairs_together", "within", "between",
    "later_until", "later_sessions", "later_within", "later_between",
    *(f"{whose}alike_{n}{what}"
      for whose in ("", "market_") for n in range(1, NEAREST + 1) for what in ("", "_distance")),
    "closest_class", "closest_correlation", "beta_benchmark",
)  # fmt: skip


def in_a_cell(names: Iterable[str]) -> str:
    r"""Symbols in one cell; a separator that is part of a symbol has a backslash before it.

    >>> print(in_a_cell(["SPY", "A;B", "C\\D"]))
    SPY;A\;B;C\\D
    """
    return SEPARATOR.join(re.sub(r"([;\\])", r"\\\1", name) for name in names)


def names_in(cell: str) -> list[str]:
    r"""The symbols in a cell.

    >>> names_in("SPY;A\\;B")
    ['SPY', 'A;B']
    """
    return [re.sub(r"\\(.)", r"\1", name, flags=re.DOTALL) for name in re.findall(r"(?:\\.|[^;\\])+", cell, re.DOTALL)]


class PassportNotes:
    """A ``policy_for`` that hands on another's policies and notes a passport at every decision they take.

    Attributes:
        known: by decision date, what ``known_facts`` found.
    """

    def __init__(self, policy_for: Callable[[pd.Timestamp], Policy], random_state: int = 0):
        self.policy_for = policy_for
        self.random_state = random_state
        self.known: dict[pd.Timestamp, pd.DataFrame] = {}

    def __call__(self, now: pd.Timestamp) -> NotedPolicy:
        """The policy of a day, whose decisions are noted."""
        return NotedPolicy(self.policy_for(now), self)


class NotedPolicy:
    """A fitted policy whose decisions are noted and handed on as they are; only those of clusters have a passport."""

    def __init__(self, policy: Policy, notes: PassportNotes):
        self.policy = policy
        self.notes = notes

    @property
    def guard_every(self) -> int:
        """The policy's own."""
        return getattr(self.policy, "guard_every", 0)

    @property
    def max_exposure(self) -> float:
        """The policy's own."""
        return largest_exposure(self.policy)

    def guard(self, weights: pd.Series, panel: Panel, state: PortfolioState) -> tuple[pd.Series, dict[str, str]]:
        """The policy's own."""
        with named_failures(self.policy, f"guard() on {panel.dates[-1].date()}"):
            return cast(Guard, self.policy).guard(weights, panel, state)

    @property
    def rests(self) -> bool:
        """The policy's own."""
        return rests(self.policy)

    def resting(self, panel: Panel, state: PortfolioState) -> dict[str, Resting]:
        """The policy's own."""
        return cast(Any, self.policy).resting(panel, state)

    def decide(self, panel: Panel, state: PortfolioState) -> Decision:
        """The policy's own decision."""
        decision = ask(self.policy, panel, state)
        if isinstance(self.policy, ClusterPolicy) and len(decision.labels):
            facts = known_facts(decision, panel, self.policy, state, self.notes.random_state)
            self.notes.known[decision.asof] = facts
        return decision


def passports(decisions: Sequence[Decision], known: dict[pd.Timestamp, pd.DataFrame], panel: Panel) -> pd.DataFrame:
    """A row per decision and cluster, clusters under the names the decisions give them; columns begin as ``COLUMNS``.

    Args:
        decisions: in order of date, under lasting names.
        known: as ``PassportNotes`` noted it, for every decision with clusters.
        panel: up to the run's last day.
    """
    returns = log_returns(panel)
    ends = [*(later.asof for _, later in pairwise(decisions)), panel.dates[-1]]
    parts = []
    for decision, until in zip(decisions, ends, strict=True):
        if not len(decision.labels):
            continue
        facts = known[decision.asof]
        named = decision.labels[[names_in(cell)[0] for cell in facts["members"]]].to_numpy()
        facts = facts.set_axis(pd.Index(named, name="cluster")).sort_index()
        days = returns.loc[decision.asof : until].iloc[1:]  # the session of the decision itself was known
        later = pair_correlations(days, decision.labels).add_prefix("later_")
        later.insert(0, "later_until", days.index[-1] if len(days) else pd.NaT)
        later.insert(1, "later_sessions", len(days))
        parts.append(facts.join(later).reset_index().assign(date=decision.asof))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    shares = [name for name in table.columns if name.startswith("share_")]
    table[shares] = table[shares].fillna(0.0)  # a class that nothing was clustered of at that decision
    return table[[*COLUMNS, *(name for name in table.columns if name not in COLUMNS)]]


@one_blas_thread
def known_facts(
    decision: Decision, panel: Panel, policy: ClusterPolicy, state: PortfolioState, random_state: int = 0
) -> pd.DataFrame:
    """What is known of each cluster at the decision; index cluster as the decision numbers it.

    Args:
        panel: as the policy was given it, with features; it ends with the day of the decision.
        policy: the one that decided.
        state: what it was told is held.
        random_state: of the resamples behind the stability.
    """
    labels = decision.labels
    year = panel.session_returns().iloc[-SESSIONS_PER_YEAR:]
    firm = cluster_stability(policy.drawn_from(panel), labels, policy.clusterer, random_state=random_state)
    return pd.concat(
        [
            roll(decision),
            beside_the_others(decision, choice(decision), panel, policy.holding, state.weights),
            firm,
            pair_correlations(log_returns(panel).iloc[-SESSIONS_PER_YEAR:], labels),
            exposures(year, labels, panel.assets, panel.benchmark),
            alike(panel, policy, labels),
            class_shares(labels, panel.assets),
        ],
        axis=1,
    ).rename_axis("cluster")


def roll(decision: Decision) -> pd.DataFrame:
    """``n_members``, ``members`` (the nearest to the cluster's mean embedding first) and ``n_assets`` clustered."""
    labels, rows = decision.labels, decision.embeddings.to_numpy(dtype=np.float64)
    numbers, group = np.unique(labels, return_inverse=True)
    members = np.equal.outer(np.arange(len(numbers)), group)
    means = members.astype(np.float64) @ rows / members.sum(axis=1, keepdims=True)
    inward = np.argsort(np.linalg.norm(rows - means[group], axis=1), kind="stable")
    names = labels.index.astype(str).to_numpy()
    ordered = [in_a_cell(names[inward[group[inward] == at]]) for at in range(len(numbers))]
    return pd.DataFrame({"n_members": members.sum(axis=1), "members": ordered, "n_assets": len(labels)}, numbers)


def choice(decision: Decision) -> pd.DataFrame:
    """Who was picked from each cluster and who came next.

    ``picks``; of the first of them ``pick_sharpe``, ``pick_rank`` in the cluster and ``pick_rank_of_all`` clustered
    assets (1 = the highest Sharpe ratio); ``runner_up``: the highest ratio not picked, ``runner_up_sharpe``; ``lead``:
    how far the last of the picks lies above it.
    """
    table = pd.DataFrame({"cluster": decision.labels, "sharpe": decision.sharpe})
    ratios = table["sharpe"].fillna(-np.inf)  # no ratio ranks last
    table["rank"] = ratios.groupby(table["cluster"]).rank(ascending=False, method="min")
    table["rank_of_all"] = ratios.rank(ascending=False, method="min")
    table["name"] = table.index.astype(str)
    picked = table.loc[decision.selected].groupby("cluster")
    others = table.drop(decision.selected).dropna().sort_values(["sharpe", "name"], ascending=[False, True])
    first, last, best = picked.first(), picked.last(), others.groupby("cluster").first()
    found = pd.DataFrame(index=np.unique(decision.labels))
    found["picks"] = picked["name"].agg(in_a_cell)
    found[["pick_sharpe", "pick_rank", "pick_rank_of_all"]] = first[["sharpe", "rank", "rank_of_all"]]
    found[["runner_up", "runner_up_sharpe"]] = best[["name", "sharpe"]]
    found["lead"] = last["sharpe"] - best["sharpe"]
    return found.fillna({"picks": "", "runner_up": ""})


def pair_correlations(returns: pd.DataFrame, labels: pd.Series) -> pd.DataFrame:
    """``within``: mean correlation over a cluster's pairs; ``between``: with other clusters, each counting the same.

    The mean of ``between`` over the clusters is ``diversification.between_clusters``. NaN where there is no pair, or
    fewer than ``LEAST_SESSIONS`` rows.

    Args:
        returns: ``(n_days, n_assets)``, columns at least those of ``labels``; NaN is taken as 0.
        labels: cluster by symbol.
    """
    numbers = np.unique(labels)
    if len(returns) < LEAST_SESSIONS:
        return pd.DataFrame(np.nan, numbers, ["within", "between"])
    found = correlations(returns[labels.index].fillna(0.0).to_numpy())
    np.fill_diagonal(found, np.nan)
    known = np.isfinite(found)
    members = np.equal.outer(numbers, labels.to_numpy()).astype(np.float64)
    counts = members @ known @ members.T
    means = members @ np.where(known, found, 0.0) @ members.T / np.where(counts > 0, counts, np.nan)
    others = ~np.eye(len(numbers), dtype=bool) & np.isfinite(means)
    n_others = others.sum(axis=1)
    between = np.where(others, means, 0.0).sum(axis=1) / np.where(n_others > 0, n_others, np.nan)
    return pd.DataFrame({"within": np.diag(means), "between": between}, numbers)


def exposures(returns: pd.DataFrame, labels: pd.Series, assets: pd.DataFrame, benchmark: str) -> pd.DataFrame:
    """What each cluster, equally weighted, moves with.

    ``beta_benchmark`` and ``beta_CLASS``: slope on the benchmark, and on the equally weighted tradable assets of a
    class, each in a regression of its own; NaN where that does not move. ``closest_class`` and
    ``closest_correlation``: the class with the largest correlation in size.

    Args:
        returns: simple returns ``(n_days, n_assets)`` of all assets; NaN is left out of the means.
        labels: cluster by symbol.
        assets: as ``Panel.assets``.
    """
    tradable = assets.index[assets["tradable"].to_numpy(dtype=bool)]
    clusters = returns[labels.index].T.groupby(labels).mean().T.fillna(0.0)
    classes = returns[tradable].T.groupby(assets.loc[tradable, "asset_class"]).mean().T.fillna(0.0)
    names = list(classes.columns)
    values = np.column_stack([returns[benchmark].fillna(0.0), classes])
    factors, own = values - values.mean(axis=0), clusters.to_numpy() - clusters.to_numpy().mean(axis=0)
    length, size = np.linalg.norm(factors, axis=0), np.linalg.norm(own, axis=0)
    length, size = np.where(length > 1e-9, length, np.nan), np.where(size > 1e-9, size, np.nan)
    slopes = own.T @ factors / length**2
    found = pd.DataFrame(slopes, clusters.columns, [f"beta_{name}" for name in ("benchmark", *names)])
    similar = slopes[:, 1:] * length[1:] / size[:, None]
    closest = np.argmax(np.nan_to_num(np.abs(similar), nan=-1.0), axis=1)
    strength = similar[np.arange(len(similar)), closest]
    known = np.isfinite(strength)
    found["closest_class"] = [names[at] if there else "" for at, there in zip(closest, known, strict=True)]
    found["closest_correlation"] = strength
    return found


def alike(panel: Panel, policy: ClusterPolicy, labels: pd.Series) -> pd.DataFrame:
    """The past days each cluster, and the market of all clustered assets, looks most like, and how far they are.

    ``alike_1`` and ``alike_1_distance`` to ``alike_3`` ...; the market's with ``market_`` before them, the same for
    every cluster. Distances are over the median past day's: 0 = the same, 1 = as unlike as a past day usually is.
    Days are looked at every 30 business days of the known history, up to a quarter before now
    (``strategies.passports.likeness``).
    """
    asof, numbers = panel.dates[-1], np.unique(labels)
    days = past_days(panel.dates[0], asof)
    groups = np.zeros((len(numbers) + 1, len(panel.symbols)), dtype=bool)
    groups[:, panel.symbols.get_indexer(labels.index)] = np.vstack(
        [np.equal.outer(numbers, labels.to_numpy()), np.ones(len(labels), dtype=bool)]
    )
    columns = []
    for found in distances(policy.embedder_, panel, days, groups):
        usual = np.nanmedian(found) if np.isfinite(found).any() else np.nan
        chosen = nearest(found / usual, days) if usual > 0 else []
        chosen += [(pd.NaT, np.nan)] * (NEAREST - len(chosen))
        columns.append({f"alike_{n}{what}": value for n, pair in enumerate(chosen, 1)
                        for what, value in zip(("", "_distance"), pair, strict=True)})  # fmt: skip
    market = {f"market_{name}": value for name, value in columns.pop().items()}
    return pd.DataFrame([own | market for own in columns], numbers)


def class_shares(labels: pd.Series, assets: pd.DataFrame) -> pd.DataFrame:
    """``share_CLASS``: the share of each cluster's members that are of an asset class, for every class clustered."""
    return pd.crosstab(labels, assets.loc[labels.index, "asset_class"], normalize="index").add_prefix("share_")
