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
from clusterfolio.strategies.policy import Policy

#: Keys of ``describe()`` that have their own place in run.json.
OF_TRAINING = (
    "fingerprint", "device", "threads", "processes", "seconds", "windows", "best_epoch", "train_loss", "holdout_loss",
)  # fmt: skip

PACKAGES = ("backtrader", "torch", "numpy", "pandas", "scikit-learn", "scipy", "ta", "pyfolio-reloaded", "yfinance")


def describe_run(
    config: RunConfig,
    panel: Panel,
    fold: Fold,
    policy: Policy,
    result: BacktestResult,
    cash_source: str,
    fingerprint: str,
) -> dict:
    """What run.json says beside folds and seconds: enough to tell why two runs differ.

    Args:
        fold, policy: those that decided last.
        fingerprint: of the panel.
    """
    said = described(policy)
    return {
        "config": to_dict(config),
        "simulated": panel.simulated,
        "benchmark": panel.benchmark,
        "currency": panel.currency,
        "capital": config.trading.capital,
        "seed": config.engine.seed,
        "policy": config.policy.name,
        "guard_every": getattr(policy, "guard_every", 0),
        "device": said.get("device"),
        "threads": said.get("threads"),
        "processes": said.get("processes"),
        "cash": cash_source,
        "inputs": describe_inputs(config.inputs, panel),
        "universe": {
            "tradable": len(panel.tradable),
            "closes_only": closes_only(panel),
            "rows": len(panel.dates),
            "sessions": len(panel.sessions),
        },
        "membership": describe_membership(
            membership_of(config), panel, [decision.asof for decision in result.decisions]
        ),
        "dates": {
            "panel": [str(panel.dates[0].date()), str(panel.dates[-1].date())],
            "decisions": [str(decision.asof.date()) for decision in result.decisions],
        },
        "training": {
            "span": [str(day.date()) for day in (fold.train_start, fold.train_end)],
            **{key: said.get(key) for key in ("windows", "best_epoch", "train_loss", "holdout_loss")},
        },
        "learned": {key: value for key, value in said.items() if key not in OF_TRAINING},
        "fingerprint": {"data": fingerprint} | ({"model": said["fingerprint"]} if "fingerprint" in said else {}),
        "clock": result.clock,
        "excluded": result.decisions[-1].excluded,
        "unfilled": [[str(day.date()), name, why] for day, name, why in result.unfilled],
        "notes": [note for decision in result.decisions for note in decision.notes],
        "versions": versions(),
    }


def closes_only(panel: Panel) -> int:
    """Symbols that may be held and of which no bar states an open of its own: they are filled at a close."""
    close = panel.close[panel.tradable]
    own = (panel.open[panel.tradable] != close) & close.notna()
    return int((~own.any()).sum())


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


def described(policy: Policy) -> dict:
    """What a policy says of itself, plain values; nothing where it has no word."""
    describe = getattr(policy, "describe", None)
    return dict(describe()) if callable(describe) else {}


def describe_folds(planned: list[Fold], policies: dict[int, Policy], apart: dict[int, float]) -> list[dict]:
    """What run.json says of each training: its spans, how long it took and how it went.

    Args:
        apart: by number, how far what was learned lies from the fold's before after alignment.
    """
    rows = []
    for fold in planned:
        said = described(policies[fold.number])
        days = {key: str(day.date()) for key, day in vars(fold).items() if key != "number"}
        losses, held_out = said.get("train_loss") or [], said.get("holdout_loss") or []
        rows.append(
            {"number": fold.number, **days}
            | {
                "seconds": round(said["seconds"], 3) if "seconds" in said else None,
                "windows": said.get("windows"),
                "passes": len(losses),
                "train_loss": losses[-1] if losses else None,
                "holdout_loss": held_out[said["best_epoch"] - 1] if held_out else None,
                "apart": apart.get(fold.number),
                "fingerprint": said.get("fingerprint"),
            }
        )
    return rows


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    found = {"python": sys.version.split()[0], "platform": platform.platform(), "machine": platform.machine()}
    return found | {name: metadata.version(name) for name in PACKAGES}
