"""Why a pick was picked: what of its Sharpe ratio is believed, what it shares with the other picks, who came next.

The figures are those that ``strategies.joint`` picks by, worked out again from the decision's own panel; where each
cluster's best Sharpe ratio is picked they show what that rule does not look at.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import Panel
from clusterfolio.models.promise import expected_correlation
from clusterfolio.strategies.holding import Holding
from clusterfolio.strategies.policy import Decision
from clusterfolio.strategies.selection import ranking_span
from clusterfolio.strategies.shrinkage import mean_correlation, shrunk

#: Columns, of the pick and of the runner-up.
FIGURES = ("believed", "correlation", "shared", "head_start")
BESIDE = tuple(f"{whose}_{name}" for whose in ("pick", "runner_up") for name in FIGURES)


def beside_the_others(
    decision: Decision, table: pd.DataFrame, panel: Panel, holding: Holding, held: pd.Series
) -> pd.DataFrame:
    """``table`` with ``BESIDE``; under the joint rule ``runner_up`` and ``lead`` are those of its objective.

    ``believed``: the Sharpe ratio as James and Stein shrink it. ``correlation`` and ``shared``: mean, and sum of the
    squares, of the correlations expected with the picks of the other clusters. ``head_start``: points for being held.
    ``lead``: in points, ``believed + head_start - selection.apart * shared``.

    Args:
        table: as ``passport.choice`` makes it, index cluster.
        panel: as the policy was given it.
        held: weights of what was held, by symbol.
    """
    config = holding.selection
    joint = config.by == "joint"
    sharpe = decision.sharpe.dropna()
    picks = [name for name in decision.selected or () if name in sharpe.index]
    runners = [name for name in table["runner_up"] if name]
    names = list(sharpe.index) if joint else [*picks, *runners]
    returns = panel.session_returns()[list(sharpe.index)]
    span = ranking_span(returns, config, holding.train_span)
    belief = shrunk(sharpe.to_numpy(dtype=float), float(span.count().mean()), mean_correlation(span))
    known = np.log1p(returns[names].iloc[-config.apart_sessions :].fillna(0.0).to_numpy())
    expected = pd.DataFrame(expected_correlation(known), names, names)
    labels = decision.labels
    figures = pd.DataFrame(np.nan, names, list(FIGURES))
    figures["believed"] = belief.of(sharpe[names])
    figures["head_start"] = np.where(held.reindex(names).fillna(0.0) > 0, config.head_start, 0.0)
    for cluster, members in labels[names].groupby(labels[names]):
        others = [name for name in picks if labels[name] != cluster]
        if others:
            apart = expected.loc[members.index, others]
            figures.loc[members.index, "correlation"] = apart.mean(axis=1)
            figures.loc[members.index, "shared"] = np.square(apart).sum(axis=1)
    found = table.copy()
    if joint:
        points = figures["believed"] + figures["head_start"] - config.apart * figures["shared"].fillna(0.0)
        found = _by_points(found, points, labels[names], picks, sharpe)
    first = {labels[name]: name for name in reversed(picks)}
    for whose, of in (("pick", pd.Series(first)), ("runner_up", found["runner_up"].replace("", np.nan))):
        chosen = figures.reindex(of.reindex(found.index).to_numpy()).set_axis(found.index)
        found[[f"{whose}_{name}" for name in FIGURES]] = chosen
    return found


def _by_points(
    table: pd.DataFrame, points: pd.Series, labels: pd.Series, picks: list[str], sharpe: pd.Series
) -> pd.DataFrame:
    """The runner-up of each cluster is who has the most points beside the others' picks."""
    others = points.drop(picks)
    ordered = others.iloc[np.lexsort((others.index.astype(str), -others.to_numpy()))]
    best = pd.Series(ordered.index, labels[ordered.index]).groupby(level=0).first().reindex(table.index)
    ahead = pd.Series(points[picks].to_numpy(), labels[picks].to_numpy()).reindex(table.index)
    return table.assign(
        runner_up=best.fillna(""),
        runner_up_sharpe=sharpe.reindex(best.to_numpy()).to_numpy(),
        lead=ahead - points.reindex(best.to_numpy()).to_numpy(),
    )
