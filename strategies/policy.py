"""The contracts: what decides, what learns, and what a decision is.

A policy needs one method, ``decide(panel, state)``. One that learns has ``fit(panel, start)`` too, and ``save(folder)``
and ``load(folder)``, so that a run can be resumed and asked again. ``describe()``, plain values for run.json, and
``align(earlier, panel)``, which turns what was learned onto what an earlier training learned, are optional; so is
a guard, ``guard(weights, panel, state)`` with ``guard_every``, which is asked at decisions and between them.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeGuard, runtime_checkable

import numpy as np
import pandas as pd

from clusterfolio import ClusterfolioError
from clusterfolio.feeds.panel import Panel

#: Weights may sum to so much more than 1 by rounding.
ROUNDING = 1e-6


class PolicyError(ClusterfolioError, ValueError):
    """A policy returned what cannot be traded; the message says what, and what would be right."""


@dataclass(frozen=True)
class PortfolioState:
    """What is held when a decision is asked for.

    Attributes:
        weights: fraction of the portfolio's value by symbol, held names only.
        cash: fraction in cash.
        entries: day each held name was bought.
        decided: day of the last decision; None = unknown.
        values: of the account at the close of each decision's session, where a guard looks of each session since the
            first, the last one's now; as far as known.
        memory: what the guard noted at its last look: plain values by name, as JSON has them.
        left: since that look: day on which an order of the guard's that rested with the broker sold a name, by symbol.
    """

    weights: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))
    cash: float = 1.0
    entries: dict[str, pd.Timestamp] = field(default_factory=dict)
    decided: pd.Timestamp | None = None
    values: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))
    memory: Mapping[str, Any] = field(default_factory=dict)
    left: dict[str, pd.Timestamp] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As JSON has it, so that it survives a restart; ``from_plain`` takes it back.

        >>> held = PortfolioState(pd.Series({"SPY": 0.5}), 0.5, {"SPY": pd.Timestamp("2025-01-31")})
        >>> PortfolioState.from_plain(held.plain()).entries
        {'SPY': Timestamp('2025-01-31 00:00:00')}
        """
        return {
            "weights": {name: float(weight) for name, weight in self.weights.items()},
            "cash": self.cash,
            "entries": {name: str(day.date()) for name, day in self.entries.items()},
            "decided": None if self.decided is None else str(self.decided.date()),
            "values": {str(day.date()): float(value) for day, value in self.values.items()},
            "memory": dict(self.memory),
            "left": {name: str(day.date()) for name, day in self.left.items()},
        }

    @classmethod
    def from_plain(cls, stored: Mapping[str, Any]) -> PortfolioState:
        """The state that ``plain`` wrote."""
        days = pd.DatetimeIndex([pd.Timestamp(day) for day in stored["values"]])
        return cls(
            weights=pd.Series(stored["weights"], dtype=float),
            cash=stored["cash"],
            entries={name: pd.Timestamp(day) for name, day in stored["entries"].items()},
            decided=None if stored["decided"] is None else pd.Timestamp(stored["decided"]),
            values=pd.Series(list(stored["values"].values()), days, dtype=float),
            memory=stored["memory"],
            left={name: pd.Timestamp(day) for name, day in stored.get("left", {}).items()},
        )


def _no_labels() -> pd.Series:
    return pd.Series(dtype=np.int64, index=pd.Index([], dtype=object))


def _no_figures() -> pd.Series:
    return pd.Series(dtype=float, index=pd.Index([], dtype=object))


@dataclass(frozen=True)
class Clusters:
    """Who may be held, in groups.

    Attributes:
        labels: cluster by symbol, for every asset that was clustered.
        embeddings: the rows that were clustered, of unit length, ``(n_assets, n_dims)``, same index.
        classes: asset class by symbol, same index.
        uncertainty: mean variance of the newest window's embedding by symbol, same index; None = none is stated.
        stability: of each symbol's cluster, 0 to 1 (``strategies.cluster_stability``), same index; None = not known.
        linkage: scipy's linkage matrix over the rows of ``embeddings``.
        excluded: the other symbols, and why they could not be held.
        notes: sentences for the report.
    """

    labels: pd.Series = field(default_factory=_no_labels)
    embeddings: pd.DataFrame = field(default_factory=pd.DataFrame)
    classes: pd.Series = field(default_factory=lambda: pd.Series(dtype=object))
    uncertainty: pd.Series | None = None
    stability: pd.Series | None = None
    linkage: np.ndarray = field(default_factory=lambda: np.empty((0, 4)))
    excluded: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Held:
    """What clusters come to.

    Attributes:
        weights: target fraction of the portfolio's value by symbol, picked names only; sums to at most 1.
        sharpe: what was ranked by, by symbol, for every asset that was clustered.
        selected: the names picked, in cluster order.
        notes: sentences for the report.
        reasons: why, by symbol, where a rule has a word about it.
        trust: part of its weight that each name keeps where clusters or embeddings are doubtful, by symbol; None = all.
    """

    weights: pd.Series
    sharpe: pd.Series
    selected: list[str]
    notes: tuple[str, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)
    trust: pd.Series | None = None


@dataclass(frozen=True)
class Decision:
    """What to hold from the next open on, decided on the close of ``asof``; day and weights suffice.

    Attributes:
        weights: target fraction of the portfolio's value by symbol, held names only; sums to at most 1.
        labels: cluster by symbol, for every asset that was clustered; empty where a policy knows no clusters.
        sharpe: the Sharpe ratio the selection used, by symbol, same index as ``labels``.
        selected: the names picked, in cluster order; default: those with a weight.
        embeddings: the rows that were clustered, of unit length, ``(n_assets, n_dims)``, same index as ``labels``.
        excluded: symbols that could not be held, and why.
        notes: sentences for the report.
        linkage: scipy's linkage matrix over the rows of ``embeddings``.
        uncertainty: mean variance of the newest window's embedding by symbol, same index as ``labels``; None where
            none is stated.
        reasons: why, by symbol; it stands beside the trades that the decision leads to.
        trust: part of its weight that each name of ``labels`` keeps, as it is doubtful; None = all.

    >>> Decision(pd.Timestamp("2025-01-31"), pd.Series({"SPY": 0.6, "TLT": 0.4})).selected
    ['SPY', 'TLT']
    """

    asof: pd.Timestamp
    weights: pd.Series
    labels: pd.Series = field(default_factory=_no_labels)
    sharpe: pd.Series = field(default_factory=_no_figures)
    selected: list[str] | None = None
    embeddings: pd.DataFrame = field(default_factory=pd.DataFrame)
    excluded: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    linkage: np.ndarray = field(default_factory=lambda: np.empty((0, 4)))
    uncertainty: pd.Series | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    trust: pd.Series | None = None

    def __post_init__(self):
        if self.selected is None and isinstance(self.weights, pd.Series):
            object.__setattr__(self, "selected", list(self.weights.index[self.weights.to_numpy() != 0]))

    @classmethod
    def of(cls, asof: pd.Timestamp, clusters: Clusters, held: Held) -> Decision:
        """The decision that clusters and what they come to make together."""
        return cls(
            asof=asof,
            weights=held.weights,
            labels=clusters.labels,
            sharpe=held.sharpe,
            selected=held.selected,
            embeddings=clusters.embeddings,
            excluded=clusters.excluded,
            notes=clusters.notes + held.notes,
            linkage=clusters.linkage,
            uncertainty=clusters.uncertainty,
            reasons=held.reasons,
            trust=held.trust,
        )


@runtime_checkable
class Policy(Protocol):
    """What decides: anything with this method can be traded by ``RebalanceStrategy``."""

    def decide(self, panel: Panel, state: PortfolioState) -> Decision:
        """What to hold after the close of the panel's last day; orders fill at the next open.

        Args:
            panel: what was known at that close: prices and, where a run has them, ``features`` and ``exog``.
            state: what is held, valued at that close.
        """


@runtime_checkable
class Learner(Policy, Protocol):
    """A policy that learns, outside the bar loop, from a training span; and can be stored and found again.

    ``fit`` may take more by name: ``progress`` (``models.train_config.Progress``), ``init`` (the policy of the fold
    before, to start from), ``checkpoint`` (a file that makes an interrupted training resumable).
    """

    def fit(self, panel: Panel, start: pd.Timestamp | None = None) -> Any:
        """Learn from the panel, whose last row is the last day of the training span, which begins with ``start``."""

    def save(self, folder: Path) -> None:
        """Write what was learned into an empty folder; no pickle."""

    def load(self, folder: Path) -> Any:
        """Take back what ``save`` wrote."""


class Resting(NamedTuple):
    """Orders that rest with the broker until the next close and sell all of a name; the first to be reached takes back
    the other. A price is a part of the name's last close; NaN = no such order.

    Attributes:
        stop: sold when its price falls to this: there, or at the open where that is lower already.
        limit: sold when its price rises to this: there, or at the open where that is higher already.
        stop_reason, limit_reason: why, in a line.
    """

    stop: float = np.nan
    limit: float = np.nan
    stop_reason: str = ""
    limit_reason: str = ""


@runtime_checkable
class Guard(Protocol):
    """A rule that looks at what is wanted when a decision is made, and every so many sessions after it.

    Optional is ``resting(panel, state)``, orders that rest with the broker (``Resting`` by symbol held), which is asked
    on every close where ``rests`` is true. A name that one of them sold stands in ``state.left`` at the next look.

    Attributes:
        guard_every: sessions from one look to the next, counted from the decision; 0 = never.

    It may have a ``max_exposure`` too: the largest sum of the weights that it returns. More than 1 is bought on credit,
    where the account is given some; without it the sum is at most 1.
    """

    guard_every: int

    def guard(self, weights: pd.Series, panel: Panel, state: PortfolioState) -> tuple:
        """What is wanted after the close of the panel's last day, why, by symbol that it changed, and what to remember.

        Args:
            weights: what was wanted so far: the decision's, or what the guard made of them at its last look. Between
                decisions those names are traded whose weight is another one in what is returned.

        Returns:
            ``(weights, reasons)`` or ``(weights, reasons, memory)``: ``memory``, plain values by name, comes back as
            ``state.memory`` at the next look. It belongs to the account and not to the guard, which may look at
            several.
        """


def rests(guard: Any) -> bool:
    """Whether a guard has orders that rest with the broker."""
    return bool(getattr(guard, "rests", False))


def guard_of(policy: Any) -> Guard | None:
    """The policy as a guard, None where it has none or never looks."""
    return policy if getattr(policy, "guard_every", 0) and callable(getattr(policy, "guard", None)) else None


def largest_exposure(guard: Any) -> float:
    """The largest sum of weights that a guard may return: its ``max_exposure``, 1 where it states none."""
    return max(1.0, float(getattr(guard, "max_exposure", 1.0)))


class Guarded(NamedTuple):
    """What a guard made of weights: what is wanted now, why, by symbol that it changed, and what it remembers."""

    weights: pd.Series
    reasons: dict[str, str]
    memory: Mapping[str, Any]


def guarded(guard: Guard, weights: pd.Series, panel: Panel, state: PortfolioState) -> Guarded:
    """What the guard makes of the weights, looked through as a decision's are.

    Raises:
        PolicyError: they cannot be traded, or a guard that is not this program's raised.
    """
    with named_failures(guard, f"guard() on {panel.dates[-1].date()}"):
        found = guard.guard(weights, panel, state)
    said = f"policy {type(guard).__name__}: guard() on {panel.dates[-1].date()}"
    if not (isinstance(found, tuple) and len(found) in (2, 3) and isinstance(found[0], pd.Series)):
        raise PolicyError(f"{said} returned {type(found).__name__}; expected (weights, reasons) or with a memory")
    if found[0] is not weights:
        check_weights(found[0], panel, said, largest_exposure(guard))
    return Guarded(found[0], dict(found[1]), found[2] if len(found) == 3 else state.memory)


def changed_names(one: pd.Series, two: pd.Series) -> list[str]:
    """The names of which two targets ask for different weights, sorted; a weight of 0 is none.

    >>> changed_names(pd.Series({"A": 0.5, "B": 0.5}), pd.Series({"A": 0.5, "C": 0.2, "D": 0.0}))
    ['B', 'C']
    """
    if one is two:
        return []
    before, after = one.to_dict(), two.to_dict()
    return sorted(name for name in {*before, *after} if before.get(name, 0.0) != after.get(name, 0.0))


def learns(policy: Policy) -> TypeGuard[Learner]:
    """Whether there is something to fit."""
    return callable(getattr(policy, "fit", None))


def ask(policy: Policy, panel: Panel, state: PortfolioState) -> Decision:
    """The policy's decision, looked through: what cannot be traded is refused at once.

    Raises:
        PolicyError: it is no ``Decision``, of another day, or its weights are no finite numbers of at least 0 by symbol
            of the panel that may be held, and sum to at most 1; or a policy that is not this program's raised.
    """
    name, day = type(policy).__name__, panel.dates[-1]
    with named_failures(policy, f"decide() on {day.date()}"):
        found = policy.decide(panel, state)
    said = f"policy {name}: decide() on {day.date()}"
    if not isinstance(getattr(found, "weights", None), pd.Series) or not hasattr(found, "asof"):
        raise PolicyError(
            f"{said} returned {_kind(found)}; expected a Decision(asof, weights), weights a pandas Series by symbol"
        )
    if found.asof != day:
        what = f"of {found.asof}" if isinstance(found.asof, pd.Timestamp) else f"of {found.asof!r}, no pandas Timestamp"
        raise PolicyError(f"{said} returned a decision as {what}; expected the panel's last day, panel.dates[-1]")
    check_weights(found.weights, panel, said)
    _check_allowed(found.weights, panel, said)
    return found


@contextmanager
def named_failures(policy: Any, what: str) -> Iterator[None]:
    """Whatever a policy of the user's own raises becomes an error that names it, the call and the line."""
    try:
        yield
    except ClusterfolioError:
        raise
    except Exception as error:
        kind = type(policy)
        if kind.__module__.startswith("clusterfolio."):
            raise  # a fault of this program
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == getattr(sys.modules.get(kind.__module__), "__file__", "")]
        at = (own or frames)[-1]
        raise PolicyError(
            f"policy {kind.__name__}: {what} raised {type(error).__name__}: {error} "
            f"({Path(at.filename).name}, line {at.lineno})"
        ) from error


def _check_allowed(weights: pd.Series, panel: Panel, said: str) -> None:
    """Refuse to hold what is in the panel and not in the universe: a benchmark, a pair that only converts prices."""
    held = weights.index[weights.to_numpy() > 0]
    others = held.difference(panel.tradable)
    if len(others):
        what = "the benchmark" if others[0] == panel.benchmark else "here for other reasons"
        raise PolicyError(
            f"{said} returned a weight for {others[0]!r}, which is {what} and not in the universe (panel.tradable); "
            "--include adds it there"
        )
    strangers = held[~panel.members().loc[held].to_numpy(dtype=bool)]
    if len(strangers):
        raise PolicyError(
            f"{said} returned a weight for {strangers[0]!r}, which is no member of the universe on that day "
            "(panel.members() says who is)"
        )


def check_weights(weights: pd.Series, panel: Panel, said: str, most: float = 1.0) -> None:
    """Refuse weights that cannot be traded; ``said`` begins the sentence, ``most`` is what they may sum to."""
    if len(weights) and not pd.api.types.is_numeric_dtype(weights):
        raise PolicyError(f"{said} returned weights of type {weights.dtype}; expected numbers")
    unknown = [name for name in weights.index if name not in panel.symbols]  # asked thousands of times
    if len(unknown) or not weights.index.is_unique:
        wrong = unknown[0] if len(unknown) else weights.index[weights.index.duplicated()][0]
        raise PolicyError(
            f"{said} returned a weight for {wrong!r}, " + ("not a symbol of the panel" if len(unknown) else "twice")
        )
    wrong = weights[~(weights >= 0) | ~np.isfinite(weights)]
    if len(wrong):
        raise PolicyError(
            f"{said} returned the weight {wrong.iloc[0]} for {wrong.index[0]}; expected a number of at least 0"
        )
    if weights.sum() > most + ROUNDING:
        raise PolicyError(f"{said} returned weights that sum to {weights.sum():.6g}; expected at most {most:g}")


def _kind(value: Any) -> str:
    return f"weights of type {type(value.weights).__name__}" if hasattr(value, "weights") else type(value).__name__
