"""What a run would have earned at other costs, and in accounts of other sizes: its own decisions, traded again.

Both curves come from the vectorised path, rules and interest included. How much room there is depends on impact and on
a cap by volume; a run that charged none is shown what it would have met with ``Y = 1`` and a tenth of a day's volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import empyrical as ep
import numpy as np
import pandas as pd

from clusterfolio.engine.evidence.records import narrowed, trade
from clusterfolio.engine.run_dir.finished import FinishedRun
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.feeds.panel import SESSIONS_PER_YEAR
from clusterfolio.feeds.writing import finite
from clusterfolio.strategies.sharpe import sharpe_ratio

#: Costs as multiples of the stated ones, and accounts as multiples of the run's capital.
MULTIPLES, SIZES = (0.0, 1.0, 2.0, 4.0, 8.0), (1, 10, 100, 1_000, 10_000)

#: What is taken for ``trading.impact`` and ``trading.volume_cap`` where a run has none, for accounts of other sizes.
IMPACT, VOLUME_CAP = 1.0, 0.1


def cost_curves(run: FinishedRun, cash: pd.Series) -> dict | None:
    """Net of costs, at other costs and in other sizes; None where the decisions cannot be traded again.

    Returns:
        ``costs`` and ``sizes``: rows of ``multiple`` or ``capital``, ``cagr``, ``sharpe`` (in excess of cash),
        ``cost_bps`` (of the account a year) and ``invested`` (part of the account, in the mean); ``impact`` and
        ``volume_cap`` that the sizes met, and ``assumed``, whether the run itself had none; ``break_even``: the
        multiple at which the mean return is that of ``cash`` and of the ``benchmark``, None = beyond the last one.
    """
    known = run.guard is not None or not run.tables.run.get("guard_every")
    if run.tables.run.get("judged") or not known or not any(len(decision.weights) for decision in run.decisions):
        return None
    weights = {decision.asof: decision.weights for decision in run.decisions}
    run = narrowed(run, weights)  # impact looks at the volumes of all columns

    def traded(trading: TradingConfig) -> dict[str, float]:
        found = trade(run, weights, trading, run.guard)
        net = pd.Series(found.net[0], found.sessions)
        per_session = cash.reindex(net.index, method="ffill").fillna(0.0)
        return {
            "cagr": float(ep.cagr(net, annualization=SESSIONS_PER_YEAR)),
            "sharpe": float(sharpe_ratio(net, per_session)),
            "cost_bps": float((found.gross - found.net).mean() * SESSIONS_PER_YEAR * 1e4),
            "invested": float(found.invested[0]),
            "mean": float(net.mean()),
        }

    trading = replace(run.config.trading, costs=True)
    at_costs = [{"multiple": n} | traded(replace(trading, cost_multiplier=n)) for n in MULTIPLES]
    sized = replace(trading, impact=trading.impact or IMPACT, volume_cap=trading.volume_cap or VOLUME_CAP)
    capitals = [trading.capital * n for n in SIZES]
    in_sizes = [{"capital": capital} | traded(replace(sized, capital=capital)) for capital in capitals]
    benchmark = run.tables.returns["benchmark"]
    least = {"cash": float(cash.reindex(benchmark.index).fillna(0.0).mean()), "benchmark": float(benchmark.mean())}
    means = [row.pop("mean") for row in at_costs]
    for row in in_sizes:
        del row["mean"]
    found = {
        "costs": at_costs,
        "sizes": in_sizes,
        "impact": sized.impact,
        "volume_cap": sized.volume_cap,
        "assumed": sized != trading,
        "break_even": {name: break_even(MULTIPLES, means, mean) for name, mean in least.items()},
    }
    return finite(found)


def break_even(multiples: Sequence[float], means: Sequence[float], least: float) -> float | None:
    """The multiple of costs at which a mean return has come down to another one; 0 = it never was above.

    >>> break_even((0, 1, 2), (0.04, 0.03, 0.01), 0.02), break_even((0, 1), (0.04, 0.03), 0.05)
    (1.5, 0.0)
    """
    lead = np.array(means) - least
    if lead[0] <= 0:
        return 0.0
    gone = np.flatnonzero(lead <= 0)
    if not len(gone):
        return None
    after = int(gone[0])
    part = lead[after - 1] / (lead[after - 1] - lead[after])
    return float(multiples[after - 1] + part * (multiples[after] - multiples[after - 1]))
