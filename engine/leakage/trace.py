"""What a policy knew and did at the close of a day, stage by stage, in a form that two histories can be compared in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from clusterfolio.feeds.features import FEATURES
from clusterfolio.feeds.panel import FIELDS, MARKET, Panel
from clusterfolio.strategies.cluster_policy import ClusterPolicy
from clusterfolio.strategies.policy import PortfolioState, ask, guard_of, guarded

#: In the order of the pipeline: what differs first is where the difference comes from.
STAGES = (
    "universe", "prices", "exogenous", "features", "scaler", "training", "embedding", "eligibility", "clusters",
    "sharpe", "selection", "weights", "fills",
)  # fmt: skip

#: Fields of a ``Decision`` by the stage that made them.
OF_DECISION = {
    "embedding": "embeddings", "clusters": "labels", "sharpe": "sharpe", "selection": "selected", "weights": "weights",
}  # fmt: skip

#: Sessions for which an account that a guard is shown has held what was decided.
HELD_FOR = 63

#: Sessions after a decision at which it is shown again, about: a look of weekly rules.
LOOKED_AFTER = 5

#: What an account holds of other names than those picked.
HELD_OF_OTHERS = 0.9

#: Names of learned values that scale what goes in.
SCALING = ("center_", "scale_")

#: Item of a stage -> its values; rows are days, assets, or places in a list.
Items = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Difference:
    """Where two tables that should be equal are not.

    Attributes:
        item: the table's name.
        day: the first row that differs, where rows are days.
        name: the column, or the row where rows are no days, that differs first.
        before, after: the two values there.
        size: the largest absolute difference between two numbers; NaN where none is between numbers.
        count, total: values that differ, and values compared.
    """

    item: str
    day: pd.Timestamp | None
    name: str
    before: Any
    after: Any
    size: float
    count: int
    total: int


def of_panel(panel: Panel, day: pd.Timestamp) -> dict[str, Items]:
    """Universe, prices and features as they stand in the panel's rows up to ``day``; symbols without a bar left out."""
    known = panel.until(day)
    begun = known.close.notna().to_numpy().any(axis=0)
    symbols = known.symbols[begun]
    facts = known.assets.loc[symbols].drop(columns="name")
    items: dict[str, Items] = {
        "universe": {
            "presence": pd.DataFrame({"value": True}, index=symbols),
            "facts": facts,
            "benchmark": table(known.benchmark),
        }
        | ({} if known.member is None else {"members": known.member.loc[:, symbols]}),
        "prices": {field: getattr(known, field).loc[:, symbols] for field in FIELDS},
    }
    for name in MARKET:
        if getattr(known, name) is not None:
            items["prices"][name] = getattr(known, name).loc[:, symbols]
    # Sessions are those of a calendar that the data's end cuts off.
    items["prices"]["sessions"] = pd.DataFrame({"session": True}, index=known.sessions)
    if known.features is not None:
        values, observed = known.features.values[:, begun], known.features.observed[:, begun]
        items["features"] = {}
        for channel, name in enumerate(channels(known.features, values.shape[-1])):
            items["features"][name] = pd.DataFrame(values[..., channel], known.dates, symbols, copy=False)
            items["features"][f"{name} observed"] = pd.DataFrame(observed[..., channel], known.dates, symbols)
    return items


def channels(features: Any, n_features: int) -> list[str]:
    """Names of the channels, numbers where they have none."""
    return list(FEATURES) if len(FEATURES) == n_features else [f"feature {i}" for i in range(n_features)]


def of_series(series: Mapping[str, pd.Series | pd.DataFrame], day: pd.Timestamp) -> dict[str, Items]:
    """Exogenous series, each indexed by the day its values became known, up to ``day``."""
    return {"exogenous": {name: table(values).loc[:day] for name, values in series.items()}}


def of_fit(policy: Any) -> dict[str, Items]:
    """What a fitted policy has learned: values in names that end in ``_``, its own and those of estimators in it."""
    items: dict[str, Items] = {"scaler": {}, "training": {}}
    for path, value in learned(policy, set()):
        scaling = "scaler" in path.lower() or path.endswith(SCALING)
        items["scaler" if scaling else "training"][path] = table(value)
    return items


def of_decision(decision: Any, panel: Panel) -> dict[str, Items]:
    """A decision's fields, as far as it has them; why symbols are excluded only for those with a bar in ``panel``."""
    items: dict[str, Items] = {}
    for stage in STAGES:
        if stage in OF_DECISION and getattr(decision, OF_DECISION[stage], None) is not None:
            items[stage] = {OF_DECISION[stage]: table(getattr(decision, OF_DECISION[stage]))}
    excluded = getattr(decision, "excluded", None)
    if excluded is not None:
        begun = panel.symbols[panel.close.notna().to_numpy().any(axis=0)]
        items["eligibility"] = {"excluded": table({name: excluded.get(name, "no") for name in begun})}
    return items


def of_encoder(policy: Any, decision: Any, panel: Panel) -> Items:
    """The encoder's own embeddings of the names clustered, where the clusters are drawn from others."""
    if not isinstance(policy, ClusterPolicy) or not len(decision.labels):
        return {}
    rows = policy.encoded(panel, list(decision.labels.index))
    return {} if rows is None else {"encoded": table(rows)}


def of_guard(policy: Any, decision: Any, panel: Panel) -> Items | None:
    """What the policy's guard makes of a decision's weights in an account that has held them for a quarter, at the
    decision and at a look after it; None without a guard.
    """
    guard = guard_of(policy)
    if guard is None or not len(decision.weights):
        return None
    names = list(decision.weights.index)
    closes = panel.session_closes()[names].iloc[-HELD_FOR:]
    values = (1.0 + closes.pct_change(fill_method=None).fillna(0.0) @ decision.weights.to_numpy()).cumprod()
    entries = dict.fromkeys(names, closes.index[0])
    cash = 1.0 - float(decision.weights.sum())
    state = PortfolioState(decision.weights, cash, entries, panel.dates[-1], values)
    first = guarded(guard, decision.weights, panel, state)
    passed = guard.guard_every * max(1, LOOKED_AFTER // guard.guard_every)  # a look of the slower rules too
    earlier = panel.sessions[max(0, len(panel.sessions) - 1 - passed)]
    later = guarded(guard, decision.weights, panel, replace(state, decided=earlier, memory=first.memory))
    return {"weights under the guard": table(first.weights), "weights under the guard, later": table(later.weights)}


def of_holder(policy: Any, decision: Any, panel: Panel) -> Items:
    """What the policy decides for an account that holds other names than those it picked without one: of the names it
    knows the last ones, as many, equally; nothing where it knows no other.
    """
    labels = getattr(decision, "labels", None)
    known = [] if labels is None else [name for name in labels.index if name not in set(decision.weights.index)]
    held = sorted(known)[-max(1, len(decision.weights)) :]
    if not held:
        return {}
    weights = pd.Series(HELD_OF_OTHERS / len(held), held)
    entries = dict.fromkeys(held, panel.sessions[-HELD_FOR:][0])
    state = PortfolioState(weights, 1.0 - HELD_OF_OTHERS, entries, panel.dates[-1])
    return {"weights of an account that holds others": table(ask(policy, panel, state).weights)}


def learned(thing: Any, seen: set[int], path: str = "", depth: int = 4) -> Iterator[tuple[str, Any]]:
    """``(path, value)`` of every comparable learned value; torch modules by their ``state_dict``.

    Args:
        seen: identities of the objects looked into already.
        depth: how many objects inside one another are looked into.
    """
    seen.add(id(thing))
    for name, value in vars(thing).items():
        where = f"{path}.{name}" if path else name
        if name.startswith("_") or id(value) in seen:
            continue
        if hasattr(value, "state_dict"):
            for key, tensor in value.state_dict().items():
                yield f"{where}.{key}", tensor.detach().cpu().numpy()
        elif comparable(value):
            if name.endswith("_"):
                yield where, value
        elif depth and hasattr(value, "__dict__") and not callable(value):
            yield from learned(value, seen, where, depth - 1)


def comparable(value: Any) -> bool:
    """Whether ``table`` can make a table of it."""
    if isinstance(value, np.ndarray):
        return value.dtype != object and value.ndim <= 3
    if isinstance(value, list | tuple | set | frozenset):
        return all(comparable(item) for item in value)
    if isinstance(value, dict):
        return comparable(list(value.values()))
    return isinstance(value, pd.DataFrame | pd.Series | pd.Timestamp) or value is None or np.isscalar(value)


def table(value: Any) -> pd.DataFrame:
    """Any comparable value as a table."""
    if isinstance(value, pd.DataFrame):
        return value
    if isinstance(value, pd.Series):
        return value.to_frame("value")
    if isinstance(value, dict):
        return pd.Series(value, dtype=object).to_frame("value")
    if isinstance(value, np.ndarray) and value.ndim:
        return pd.DataFrame(value.reshape(len(value), -1) if value.ndim > 1 else value.reshape(-1, 1))
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    items = list(value) if isinstance(value, list | tuple) else [value]
    return pd.DataFrame(
        {"value": pd.Series([item if np.isscalar(item) else str(item) for item in items], dtype=object)}
    )


def compare(before: pd.DataFrame, after: pd.DataFrame, item: str, tolerance: float = 0.0) -> Difference | None:
    """The first difference between two tables, None where there is none.

    Args:
        tolerance: numbers differ if they are further apart than this share of the larger one; 0 = bit for bit.
            NaN equals NaN; a row or column that only one of the tables has differs.
    """
    rows = before.index if before.index.equals(after.index) else before.index.union(after.index, sort=False)
    columns = (
        before.columns if before.columns.equals(after.columns) else before.columns.union(after.columns, sort=False)
    )
    if isinstance(rows, pd.DatetimeIndex):
        rows = rows.sort_values()
    differs = np.zeros((len(rows), len(columns)), dtype=bool)
    size = np.nan
    for place, column in enumerate(columns):
        if column not in before.columns or column not in after.columns:
            differs[:, place] = True
            continue
        one, two = (_column(frame, column, rows) for frame in (before, after))
        differs[:, place], gap = _unequal(one, two, tolerance)
        size = np.fmax(size, gap)
    for frame in (before, after):
        if len(frame.index) != len(rows):
            differs[~rows.isin(frame.index)] = True
    if not differs.any():
        return None
    row, place = np.argwhere(differs)[0]
    column, label = columns[place], rows[row]
    of_days = isinstance(rows, pd.DatetimeIndex)
    return Difference(
        item=item,
        day=label if of_days else None,
        name=str(column if of_days else label),
        before=_cell(before, label, column),
        after=_cell(after, label, column),
        size=float(size),
        count=int(differs.sum()),
        total=int(differs.size),
    )


def _column(frame: pd.DataFrame, column: Any, rows: pd.Index) -> np.ndarray:
    values = frame[column]
    return (values if values.index is rows or values.index.equals(rows) else values.reindex(rows)).to_numpy()


def _unequal(one: np.ndarray, two: np.ndarray, tolerance: float) -> tuple[np.ndarray, float]:
    """Where two columns differ, and the largest difference between numbers."""
    if one.dtype.kind in "fiub" and two.dtype.kind in "fiub":
        same = (one == two) | ((one != one) & (two != two))
        if same.all():
            return ~same, np.nan
        one, two = one.astype(float), two.astype(float)
        gap = np.abs(one - two)
        if tolerance:
            same |= gap <= tolerance * np.fmax(np.abs(one), np.abs(two))
        gaps = gap[~same & np.isfinite(gap)]
        return ~same, float(gaps.max()) if len(gaps) else np.nan
    empty = pd.isna(one) & pd.isna(two)
    return ~((one == two) | empty), np.nan


def _cell(frame: pd.DataFrame, row: Any, column: Any) -> Any:
    if row not in frame.index or column not in frame.columns:
        return None
    value = frame[column].loc[row]
    return value.item() if hasattr(value, "item") else value
