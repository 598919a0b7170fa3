"""Multi-asset portfolios from a self-supervised Transformer's embeddings, traded bar by bar in backtrader.

The names below are the public ones. Each is imported when it is first asked for: importing the package loads nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clusterfolio.engine.assembly.policy import make_policy
    from clusterfolio.engine.config.run import make_config
    from clusterfolio.engine.jobs.judge import judge
    from clusterfolio.engine.jobs.run import run
    from clusterfolio.engine.leakage.check import check_policy
    from clusterfolio.engine.trading.account import Account
    from clusterfolio.engine.trading.clock import ClockCerebro
    from clusterfolio.engine.trading.recorder import RunRecorder
    from clusterfolio.feeds.bt_feed import PanelFeed, frame_feed, panel_feeds
    from clusterfolio.feeds.calendar import decision_dates
    from clusterfolio.feeds.ingest import build_panel
    from clusterfolio.feeds.panel import Panel
    from clusterfolio.feeds.raw import RawBars, RawData
    from clusterfolio.feeds.sources.simulated import SimulatedConfig, simulate
    from clusterfolio.models.batch import Encoding
    from clusterfolio.strategies.policy import Decision, Policy, PortfolioState
    from clusterfolio.strategies.rebalance import RebalanceStrategy

__all__ = [
    "Account",
    "ClockCerebro",
    "ClusterfolioError",
    "Decision",
    "Encoding",
    "Panel",
    "PanelFeed",
    "Policy",
    "PortfolioState",
    "RawBars",
    "RawData",
    "RebalanceStrategy",
    "RunRecorder",
    "SimulatedConfig",
    "build_panel",
    "check_policy",
    "decision_dates",
    "frame_feed",
    "judge",
    "make_config",
    "make_policy",
    "panel_feeds",
    "run",
    "simulate",
]

#: The module of each public name; type checkers read the imports above instead.
_MODULES = {
    "Account": "engine.trading.account",
    "ClockCerebro": "engine.trading.clock",
    "Decision": "strategies.policy",
    "Encoding": "models.batch",
    "Panel": "feeds.panel",
    "PanelFeed": "feeds.bt_feed",
    "Policy": "strategies.policy",
    "PortfolioState": "strategies.policy",
    "RawBars": "feeds.raw",
    "RawData": "feeds.raw",
    "RebalanceStrategy": "strategies.rebalance",
    "RunRecorder": "engine.trading.recorder",
    "SimulatedConfig": "feeds.sources.simulated",
    "build_panel": "feeds.ingest",
    "check_policy": "engine.leakage.check",
    "decision_dates": "feeds.calendar",
    "frame_feed": "feeds.bt_feed",
    "judge": "engine.jobs.judge",
    "make_config": "engine.config.run",
    "make_policy": "engine.assembly.policy",
    "panel_feeds": "feeds.bt_feed",
    "run": "engine.jobs.run",
    "simulate": "feeds.sources.simulated",
}


class ClusterfolioError(Exception):
    """What every error of this package's own is, besides the ``ValueError`` or ``OSError`` that some are too."""

    # It stands here because ``feeds`` and ``models`` know nothing of each other.


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
