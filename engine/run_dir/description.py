"""What run.json says of a run: enough to tell why two differ."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from importlib import metadata

import pandas as pd

from clusterfolio.engine.assembly.market import membership_of
from clusterfolio.engine.config.run import RunConfig, to_dict
from clusterfolio.engine.folds.walk_forward import Fold
from clusterfolio.engine.trading.backtest import BacktestResult
from clusterfolio.feeds.exogenous.inputs import describe_inputs
from clusterfolio.feeds.membership import Membership
from clusterfolio.feeds.panel import Panel
from clusterfolio.models.encoder import Encoder
from clusterfolio.strategies.cluster_policy import ClusterPolicy

PACKAGES = ("backtrader", "torch", "numpy", "pandas", "scikit-learn", "scipy", "ta", "pyfolio-reloaded", "yfinance")


def describe_run(
    config: RunConfig,
    panel: Panel,
    policy: ClusterPolicy,
    result: BacktestResult,
    cash_source: str,
    fingerprint: str,
) -> dict:
    """What run.json says beside folds and seconds: enough to tell why two runs differ.

    Args:
        policy: the one that decided last.
        fingerprint: of the panel.
    """
    encoder = policy.encoder
    history = encoder.history_
    return {
        "config": to_dict(config),
        "simulated": panel.simulated,
        "benchmark": panel.benchmark,
        "currency": panel.currency,
        "capital": config.trading.capital,
        "seed": config.engine.seed,
        "device": history.device,
        "threads": history.threads,
        "processes": history.processes,
        "cash": cash_source,
        "inputs": describe_inputs(config.inputs, panel),
        "universe": {"tradable": len(panel.tradable), "rows": len(panel.dates), "sessions": len(panel.sessions)},
        "membership": describe_membership(
            membership_of(config), panel, [decision.asof for decision in result.decisions]
        ),
        "dates": {
            "panel": [str(panel.dates[0].date()), str(panel.dates[-1].date())],
            "decisions": [str(decision.asof.date()) for decision in result.decisions],
        },
        "training": {
            "span": [str(day.date()) for day in policy.train_span_],
            "windows": history.n_windows,
            "best_epoch": history.best_epoch,
            "train_loss": history.train_loss,
            "holdout_loss": history.holdout_loss,
        },
        "fingerprint": {"data": fingerprint, "model": encoder.fingerprint()},
        "clock": result.clock,
        "excluded": result.decisions[-1].diagnostics["excluded"],
        "unfilled": [[str(day.date()), name, why] for day, name, why in result.unfilled],
        "notes": [note for decision in result.decisions for note in decision.diagnostics["notes"]],
        "versions": versions(),
    }


def describe_membership(membership: Membership | None, panel: Panel, days: Sequence[pd.Timestamp]) -> dict | None:
    """What a list of members covers: at each decision how many members, and how many of them with prices.

    ``unnamed``: symbols that may be held and that the list never names, so that they are eligible throughout.
    """
    if membership is None:
        return None
    table = membership.coverage(panel, days)
    named = membership.tickers_of(panel.tradable)
    unnamed = [str(symbol) for symbol in panel.tradable if symbol not in named]
    return {
        "list": membership.name,
        "named": len(named),
        "unnamed": unnamed,
        "decisions": [
            {"date": str(day.date()), "members": int(row["members"]), "priced": int(row["priced"])}
            for day, row in table.iterrows()
        ],
    }


def describe_folds(planned: list[Fold], encoders: dict[int, Encoder], apart: dict[int, float]) -> list[dict]:
    """What run.json says of each training: its spans, how long it took and how it went.

    Args:
        apart: by number, how far the embeddings lie from the fold's before after alignment, as a share of their length.
    """
    rows = []
    for fold in planned:
        encoder, history = encoders[fold.number], encoders[fold.number].history_
        days = {key: str(day.date()) for key, day in vars(fold).items() if key != "number"}
        rows.append(
            {"number": fold.number, **days}
            | {
                "seconds": round(history.seconds, 3),
                "windows": history.n_windows,
                "passes": len(history.train_loss),
                "train_loss": history.train_loss[-1],
                "holdout_loss": history.holdout_loss[history.best_epoch - 1] if history.holdout_loss else None,
                "apart": apart.get(fold.number),
                "fingerprint": encoder.fingerprint(),
            }
        )
    return rows


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    found = {"python": sys.version.split()[0], "platform": platform.platform(), "machine": platform.machine()}
    return found | {name: metadata.version(name) for name in PACKAGES}
