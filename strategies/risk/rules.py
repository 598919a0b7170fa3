"""The rules of section [risk] together: what an account may hold now, why, and what they remember of it.

They look at a decision's weights and, between decisions, at what became of them. First names are left (stops), then the
rest is scaled (single names, the target volatility, the circuit breaker). Everything is worked out from the panel and
the account's state; what cannot be (how long a name stays out, the peak, the feedback's correction) is remembered in
``PortfolioState.memory`` as plain values, so that one object may look at any number of accounts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import Panel
from clusterfolio.strategies.policy import PortfolioState, Resting, changed_names
from clusterfolio.strategies.risk import recent, volatility
from clusterfolio.strategies.risk.config import RiskConfig
from clusterfolio.strategies.risk.stops import fired, percent, resting, true_range

#: A name's own scale changes between decisions when it would by more than this part.
NAME_BAND = 0.1

#: ``(panel, entries) -> reasons`` by symbol of the names that an embedding stop leaves.
EmbeddingStop = Callable[[Panel, Mapping[str, pd.Timestamp]], dict[str, str]]


class CentreStop(Protocol):
    """See ``strategies.risk.centre_stop``."""

    def peers(self, panel: Panel, names: Sequence[str]) -> dict[str, list[str]]:
        """The others of each name's cluster."""

    def __call__(self, panel: Panel, peers: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Why names are to be left."""


@dataclass
class Noted:
    """What the rules remember of an account, plain values.

    Attributes:
        base: the decision's weights, less the names that were left since.
        out: by symbol, the day on which a stop left it.
        scales: by symbol, what its own volatility scales it to.
        exposure: what the target volatility scales all to.
        correction: of the feedback.
        peak: highest value of the account that counts.
        tripped: the day on which the circuit breaker cut the exposure, "" = it has not.
        peers: by symbol, who else was in its cluster at the decision, where a stop looks at them.
    """

    base: dict[str, float] = field(default_factory=dict)
    out: dict[str, str] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    exposure: float = 1.0
    correction: float = 0.0
    peak: float = 0.0
    tripped: str = ""
    peers: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, memory: Mapping[str, Any]) -> Noted:
        """From a state's memory."""
        plain: dict[str, Any] = {
            name: dict(value) if isinstance(value, Mapping) else value for name, value in memory.items()
        }
        return cls(**plain)


class RiskRules:
    """A guard (``strategies.policy.Guard``) made of the rules of a configuration.

    Args:
        config: which rules, with which values.
        embedding_stop, centre_stop: the stops that look at embeddings, where ``config`` asks for them.
    """

    def __init__(
        self, config: RiskConfig, embedding_stop: EmbeddingStop | None = None, centre_stop: CentreStop | None = None
    ):
        if config.embedding_stop and embedding_stop is None:
            raise ValueError("risk.embedding_stop: it needs a policy with an encoder")
        if config.centre_stop and centre_stop is None:
            raise ValueError("risk.centre_stop: it needs a policy with an encoder and clusters")
        self.config = config
        self.embedding_stop = embedding_stop
        self.centre_stop = centre_stop

    @property
    def guard_every(self) -> int:
        """Sessions from one look to the next."""
        return self.config.every

    @property
    def max_exposure(self) -> float:
        """Largest sum of the weights."""
        return self.config.largest

    @property
    def rests(self) -> bool:
        """Whether stops are orders that rest with the broker."""
        return self.config.rests

    def guard(
        self, weights: pd.Series, panel: Panel, state: PortfolioState
    ) -> tuple[pd.Series, dict[str, str], dict[str, Any]]:
        """What of these weights may be held after the close of the panel's last day; see ``Guard``."""
        noted, now = Noted.of(state.memory), panel.dates[-1]
        fresh = state.decided is None or state.decided == now
        passed = 0 if fresh else _sessions(panel, state.decided)
        reasons: dict[str, str] = {}
        if fresh:
            noted.base = {name: float(weight) for name, weight in weights.items() if weight != 0}
        self._gone(noted, state)
        if passed % self.config.stop_every == 0:
            self._leave(noted, panel, state, reasons, slow=passed % self.config.volatility_every == 0)
        if fresh:
            self._keep_out(noted, panel, reasons)
            if self.centre_stop is not None and self.config.centre_stop:
                noted.peers = self.centre_stop.peers(panel, list(noted.base))
        if passed % self.config.volatility_every == 0:
            self._scale_names(noted, panel, reasons, fresh)
            self._scale_all(noted, panel, state, reasons, fresh)
        part = self._breaker(noted, panel, state, reasons)
        names = list(noted.base)
        scaled = [noted.base[name] * noted.scales.get(name, 1.0) * noted.exposure * part for name in names]
        found = pd.Series(scaled, index=pd.Index(names, dtype=object), dtype=float)
        changed = changed_names(weights, found)
        said = {name: reasons.get(name, reasons.get("", "risk rules")) for name in changed}
        return (found if changed else weights), said, vars(noted)

    def resting(self, panel: Panel, state: PortfolioState) -> dict[str, Resting]:
        """The stop and take-profit orders that rest until the next close; see ``Guard``."""
        known = self._known(panel, state.entries)
        return {name: resting(*found, self.config) for name, found in known.items()}

    def _gone(self, noted: Noted, state: PortfolioState) -> None:
        """Names that a resting order sold since the last look stay out as those that a stop left."""
        for name, day in state.left.items():
            noted.base.pop(name, None)
            noted.out[name] = str(day.date())

    def _leave(self, noted: Noted, panel: Panel, state: PortfolioState, reasons: dict[str, str], slow: bool) -> None:
        """Stops: names leave until a later decision, and until they have cooled down."""
        held = {name: day for name, day in state.entries.items() if noted.base.get(name)}
        leaving: dict[str, str] = {}
        if self.config.stops and not self.config.rests:
            leaving = self._stopped(panel, held)
        if slow and held:
            leaving = self._by_embedding(noted, panel, held) | {name: why for name, why in leaving.items() if why}
        for name, why in leaving.items():
            if why:
                del noted.base[name]
                noted.out[name] = str(panel.dates[-1].date())
                reasons[name] = why

    def _by_embedding(self, noted: Noted, panel: Panel, held: Mapping[str, pd.Timestamp]) -> dict[str, str]:
        """Which names a stop on their embeddings leaves, and why."""
        reasons: dict[str, str] = {}
        if self.centre_stop is not None and self.config.centre_stop:
            reasons = self.centre_stop(panel, {name: noted.peers[name] for name in held if name in noted.peers})
        if self.embedding_stop is not None and self.config.embedding_stop:
            reasons |= self.embedding_stop(panel, held)
        return reasons

    def _stopped(self, panel: Panel, held: Mapping[str, pd.Timestamp]) -> dict[str, str]:
        """Which names a stop on their prices leaves, and why."""
        return {name: fired(*known, self.config) for name, known in self._known(panel, held).items()}

    def _known(self, panel: Panel, held: Mapping[str, pd.Timestamp]) -> dict[str, tuple[float, float, float, float]]:
        """Close, high, entry price and average true range of the names that have a close since they were bought."""
        found: dict[str, tuple[float, float, float, float]] = {}
        names = list(held)
        if not names:
            return found
        for name, close, high, entry in zip(names, *recent.since(panel, names, list(held.values())), strict=True):
            average = self._average_range(panel, name) if self.config.atr_stop else np.nan
            if close == close:
                found[name] = float(close), float(high), float(entry), average
        return found

    def _average_range(self, panel: Panel, name: str) -> float:
        ranges = true_range(*recent.bars(panel, name, self.config.atr_sessions + 1))
        return float(ranges.mean()) if len(ranges) == self.config.atr_sessions else np.nan

    def _keep_out(self, noted: Noted, panel: Panel, reasons: dict[str, str]) -> None:
        """A decision's names that have not cooled down stay in cash."""
        for name, day in list(noted.out.items()):
            if _sessions(panel, pd.Timestamp(day)) >= self.config.cool_down:
                del noted.out[name]
            elif name in noted.base:
                del noted.base[name]
                reasons.setdefault(name, f"cooling down, since its stop of {day}")

    def _scale_names(self, noted: Noted, panel: Panel, reasons: dict[str, str], fresh: bool) -> None:
        limit = self.config.name_volatility
        if not limit:
            return
        names = list(noted.base)
        returns = recent.session_returns(panel, names, volatility.EWMA_SESSIONS)
        before = {} if fresh else noted.scales
        noted.scales = {}
        for at, name in enumerate(names):
            expected, _ = volatility.forecast(returns[:, at], "ewma", self.config.half_life)
            scale = min(1.0, limit / expected) if expected > 0 else 1.0
            old = before.get(name)
            keep = old is not None and abs(scale / old - 1.0) <= NAME_BAND
            noted.scales[name] = old if keep and old is not None else scale
            if not keep and scale < 1.0:
                reasons.setdefault(
                    name, f"name volatility, {percent(expected)} > {percent(limit)}: scaled to {scale:.2f}"
                )

    def _scale_all(
        self, noted: Noted, panel: Panel, state: PortfolioState, reasons: dict[str, str], fresh: bool
    ) -> None:
        config = self.config
        if not config.volatility_target or not noted.base:
            return
        noted.correction = volatility.correction(
            noted.correction, volatility.realised(state.values.to_numpy(dtype=float)), config.volatility_target,
            config.feedback, config.persistence,
        )  # fmt: skip
        names = list(noted.base)
        weights = np.array([noted.base[name] * noted.scales.get(name, 1.0) for name in names])
        sessions = volatility.GARCH_SESSIONS if config.forecast == "garch" else volatility.EWMA_SESSIONS
        returns = recent.session_returns(panel, names, sessions) @ weights
        expected, by = volatility.forecast(returns, config.forecast, config.half_life, config.slow_half_life)
        wanted = volatility.exposure(noted.correction, config.volatility_target, expected, config.max_exposure)
        said = f"volatility target {percent(config.volatility_target)}: {percent(expected)} expected ({by}), exposure "
        if abs(wanted - noted.exposure) > config.exposure_band:
            reasons[""] = f"{said}{wanted:.2f}, was {noted.exposure:.2f}"
            noted.exposure = wanted
        elif fresh:
            reasons[""] = f"{said}stays {noted.exposure:.2f}"

    def _breaker(self, noted: Noted, panel: Panel, state: PortfolioState, reasons: dict[str, str]) -> float:
        """The circuit breaker's part of everything: 1, or the exposure after a fall."""
        limit = self.config.max_drawdown
        if not limit or not len(state.values):
            return 1.0
        value, now = float(state.values.iloc[-1]), panel.dates[-1]
        if noted.tripped and _sessions(panel, pd.Timestamp(noted.tripped)) >= self.config.drawdown_sessions:
            reasons[""] = f"circuit breaker: over after {self.config.drawdown_sessions} sessions"
            noted.tripped, noted.peak = "", value
        noted.peak = max(noted.peak, value)
        if not noted.tripped and value <= noted.peak * (1.0 - limit):
            noted.tripped = str(now.date())
            reasons[""] = (
                f"circuit breaker: {percent(1.0 - value / noted.peak)} > {percent(limit)} under the account's peak, "
                f"exposure cut to {self.config.drawdown_exposure:.2f}"
            )
        return self.config.drawdown_exposure if noted.tripped else 1.0


def unscaled(state: PortfolioState, config: RiskConfig) -> PortfolioState:
    """The state as it would be had no rule scaled the names held: what a decision's weights are compared with.

    >>> held = PortfolioState(pd.Series({"A": 0.3}), 0.7, memory={"exposure": 0.6})
    >>> unscaled(held, RiskConfig(volatility_target=0.1)).weights.to_dict()
    {'A': 0.5}
    """
    noted = Noted.of(state.memory)
    part = noted.exposure * (config.drawdown_exposure if noted.tripped else 1.0)
    scales = [part * noted.scales.get(name, 1.0) for name in state.weights.index]
    if all(scale in (0.0, 1.0) for scale in scales):
        return state
    whole = np.array([1.0 / scale if scale > 0 else 1.0 for scale in scales])
    return replace(state, weights=state.weights * whole)


def _sessions(panel: Panel, day: pd.Timestamp) -> int:
    """Sessions after ``day``, up to the panel's last."""
    return len(panel.sessions) - int(panel.sessions.searchsorted(day, side="right"))
