"""Agents as policies: a network that learned on the training span decides how much of each cluster to hold.

The encoder is trained first, as ``ClusterPolicy``'s is. Then an agent trades the training span again and again, from
days drawn by lot, by the engine's rules and at its costs (``market_world``), and learns what to do in a slot from what
the slot shows. A slot is a cluster, with the best Sharpe ratio of it as the asset to hold; where there are no more
assets than clusters every asset is its own.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clusterfolio.feeds.features import FeatureConfig, with_features
from clusterfolio.feeds.panel import SESSIONS_PER_YEAR, Panel
from clusterfolio.models.agents.config import AgentConfig
from clusterfolio.models.clustering import Ward
from clusterfolio.strategies.agents.accounts import Bars, read_bars
from clusterfolio.strategies.agents.heads import SoftmaxHead, ThreeWayHead
from clusterfolio.strategies.agents.market_world import MarketWorld, Stages, account_features, traded
from clusterfolio.strategies.agents.record import moments_of, sessions_since
from clusterfolio.strategies.agents.rewards import Moments
from clusterfolio.strategies.agents.slots import Eyes, Slots, centroids, slots_of
from clusterfolio.strategies.agents.terms import Terms
from clusterfolio.strategies.cluster_policy import ClusterPolicy
from clusterfolio.strategies.embedding import EmbeddingConfig
from clusterfolio.strategies.holding import Frictions
from clusterfolio.strategies.policy import Clusters, Decision, PortfolioState
from clusterfolio.strategies.risk.config import RiskConfig
from clusterfolio.strategies.risk.rules import unscaled
from clusterfolio.strategies.selection import SelectionConfig, top_sharpe_per_cluster

if TYPE_CHECKING:
    from clusterfolio.models.agents.agent import Agent
    from clusterfolio.models.encoder import Encoder
    from clusterfolio.models.training import Progress

#: What an agent needs beside the program.
EXTRA = "pip install 'clusterfolio[rl]'"

#: File in a stored policy's folder that says how what is shown is scaled.
STATE = "agent_state.json"


class AgentPolicy(ClusterPolicy):
    """What the agents have in common; see ``PPOPolicy`` and ``DQNPolicy``.

    Args:
        encoder, clusterer, embedding, selection, features, cash, stride, risk, frictions: as ``ClusterPolicy``'s.
        agent: how it learns.
        terms: what decisions cost, and how far they lie apart.
    """

    reads = (*(name for name in ClusterPolicy.reads if name != "allocation"), "agent")
    #: What the agent has learned depends also on who is eligible, on how clusters are drawn, and on costs and cadence.
    learns_from = (*(name for name in reads if name not in ("train", "risk")), "trading")
    kind = ""

    def __init__(
        self,
        encoder: Encoder,
        clusterer: Ward,
        embedding: EmbeddingConfig | None = None,
        selection: SelectionConfig | None = None,
        features: FeatureConfig | None = None,
        cash: pd.Series | None = None,
        stride: int = 1,
        risk: RiskConfig | None = None,
        frictions: Frictions | None = None,
        agent: AgentConfig | None = None,
        terms: Terms | None = None,
    ):
        super().__init__(encoder, clusterer, embedding, selection, None, features, cash, stride, risk, frictions)
        for name, usual in (("per_cluster", 1), ("hysteresis", 0.0), ("skip_confidence", 0.0)):
            if selection is not None and getattr(selection, name) != usual:
                raise ValueError(
                    f"selection.{name}: got {getattr(selection, name)}, expected {usual}: an agent decides by itself "
                    "how much of a cluster's best asset to hold, and when to change it"
                )
        self.agent = agent or AgentConfig()
        self.terms = terms or Terms()

    @property
    def head(self) -> SoftmaxHead | ThreeWayHead:
        """From what the network says to weights."""
        raise NotImplementedError

    # Learning --------------------------------------------------------------------------------------------------------

    def fit(
        self,
        panel: Panel,
        start: pd.Timestamp | None = None,
        progress: Progress | None = None,
        init: ClusterPolicy | None = None,
        checkpoint: Path | None = None,
    ) -> AgentPolicy:
        """Train the encoder, then the agent; ``ClusterPolicy.fit`` says what the arguments are.

        A training interrupted in either part goes on where it stopped.
        """
        _check_installed()
        epochs = 0 if self.encoder.train is None else self.encoder.train.epochs
        total = epochs + self.agent.passes
        known = None if checkpoint is None else checkpoint.with_name(checkpoint.name + ".encoder")
        if known is not None and known.is_dir():
            super().load(known)
            self.trained_on(self.training_start(panel, start), panel.dates[-1])
        else:
            of_encoder = progress and (lambda done, _, loss, held: progress(done, total, loss, held))
            super().fit(panel, start, progress=of_encoder, init=init, checkpoint=checkpoint)
            if known is not None:
                super().save(known)
        of_agent = progress and (lambda done, _, loss, held: progress(epochs + done, total, loss, held))
        before = init if isinstance(init, AgentPolicy) else None
        self.learn_to_trade(panel, before, of_agent, None if checkpoint is None else checkpoint.with_suffix(".agent"))
        if known is not None:
            shutil.rmtree(known, ignore_errors=True)
        return self

    def learn_to_trade(
        self,
        panel: Panel,
        init: AgentPolicy | None = None,
        progress: Progress | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        """Train the agent on the encoder's training span, with which the panel ends."""
        from clusterfolio.models.agents.learning import learn

        world = self.world(panel, None if init is None else init.eyes_)
        train = self.encoder.train
        self.agent_: Agent = learn(
            self.kind, world, self.agent, self.encoder.random_state, None if init is None else init.agent_,
            progress, checkpoint, 1 if train is None else train.threads,
        )  # fmt: skip
        self.agent_.facts |= self._in_training(world)

    def world(self, panel: Panel, eyes: Eyes | None = None) -> MarketWorld:
        """The training span as a world; learns ``eyes_`` and ``start_``, the moments of the reward to start from.

        Args:
            eyes: another training's, to go on with; None = learned anew.
        """
        panel = with_features(panel, self.features or FeatureConfig())
        apart = min(self.agent.days_apart, self.terms.sessions)
        every = round(self.terms.sessions / apart)
        days = panel.sessions.intersection(panel.dates)
        days = days[days >= self.train_span_[0]][::-1][::apart][::-1]
        embedded, there = self.embedder_.at(panel, days)
        embedded = self._unturned(embedded)
        exog = None if panel.exog is None else panel.exog.loc[self.train_span_[0] :]
        tradable = panel.symbols.isin(panel.tradable)
        self.eyes_ = eyes or Eyes.of(embedded[there & tradable[:, None]], exog, self.agent.components)
        found = []
        for number, day in enumerate(days):
            rows = pd.DataFrame(embedded[:, number], panel.symbols)[there[:, number]]
            known = panel.until(day)
            found.append(self._slots(known, self.clusters_on(known), rows))
        first = next((number for number, slots in enumerate(found) if slots.picks), len(found))
        if len(found) - first <= every:
            raise ValueError(
                f"agent: {len(found) - first} of {len(days)} days of the training span have an asset to hold, and a "
                f"decision reaches {every} days on; use a longer training span or more history (dates.history_days)"
            )
        bars = read_bars(panel, pd.Index(sorted({n for s in found for n in s.members.index}), dtype=object), self.terms,
                         self.cash)  # fmt: skip
        stages = _stages(bars, days[first:], found[first:])
        self.start_ = Moments.of(equal_gains(bars, stages, every))
        return MarketWorld(bars, stages, self.terms, self.head, self.agent, self.start_, every)

    def _in_training(self, world: MarketWorld) -> dict[str, float]:
        """How the agent trades the span it learned on, beside all slots held equally: annual Sharpe ratios."""
        decisions = (len(world.stages.rows) - world.every) // world.every
        earned, turnover = traded(world, self.agent_.act, np.arange(world.every), decisions)
        equal, per_year = equal_gains(world.bars, world.stages, world.every), SESSIONS_PER_YEAR / self.terms.sessions
        return {
            "sharpe_in_training": _ratio(earned) * np.sqrt(per_year),
            "sharpe_of_equal_slots": _ratio(equal) * np.sqrt(per_year),
            "turnover_in_training": turnover * per_year,
        }

    # Deciding --------------------------------------------------------------------------------------------------------

    def decide(self, panel: Panel, state: PortfolioState) -> Decision:
        """What to hold after the close of the panel's last day."""
        panel = with_features(panel, self.features or FeatureConfig())
        clusters = self.cluster(panel)
        asof = panel.dates[-1]
        state = unscaled(state, self.risk or RiskConfig())
        embedded, there = self.embedder_.at(panel, pd.DatetimeIndex([asof]))
        rows = pd.DataFrame(self._unturned(embedded)[:, 0], panel.symbols)[there[:, 0]]
        slots = self._slots(panel, clusters, rows)
        weights = self._weights(slots, panel, state) if slots.picks else pd.Series(dtype=float)
        return Decision(asof, weights, excluded=clusters.excluded, notes=(*clusters.notes, *self.terms.notes))

    def _weights(self, slots: Slots, panel: Panel, state: PortfolioState) -> pd.Series:
        present = np.ones((1, len(slots.picks)), dtype=bool)
        held = state.weights.groupby(slots.members.reindex(state.weights.index)).sum()
        held_pick = state.weights.reindex(slots.picks).fillna(0.0)
        bought = [state.entries.get(name) if held_pick[name] > 0 else None for name in slots.picks]
        age = sessions_since(panel.sessions, bought, panel.dates[-1]) / self.terms.sessions
        before = state.values.index[-2] if len(state.values) > 1 else None
        since = sessions_since(panel.sessions, [before], panel.dates[-1]) / self.terms.sessions
        moments = moments_of(state.values, panel.sessions, self.cash, self.terms, self.start_, self.agent.adaptation)
        own = account_features(
            held.reindex(range(len(slots.picks)), fill_value=0.0).to_numpy()[None], held_pick.to_numpy()[None],
            age[None], since, moments, self.start_,
        )  # fmt: skip
        shown = np.concatenate([slots.shown[None].astype(np.float32), own.astype(np.float32)], axis=-1)
        actions = self.agent_.act(shown)
        wanted = pd.Series(self.head.weights(actions, present)[0].astype(float), slots.picks)
        keeps = np.flatnonzero(self.head.keeps(actions)[0])
        kept = state.weights[slots.members.reindex(state.weights.index).isin(keeps).to_numpy()]
        wanted = wanted.add(kept / (1.0 - self.terms.cash_buffer), fill_value=0.0)
        wanted = wanted[wanted > SMALLEST]
        return wanted / max(wanted.sum(), 1.0)

    def _slots(self, panel: Panel, clusters: Clusters, rows: pd.DataFrame) -> Slots:
        """The slots of the panel's last day.

        Args:
            rows: the encoder's embeddings by symbol.
        """
        names = list(clusters.labels.index)
        if not names:
            return Slots([], clusters.labels, np.empty((0, 0)))
        sharpe = self.holding.rank(panel.session_returns()[names])
        picks = top_sharpe_per_cluster(sharpe, clusters.labels, 1)
        if not picks:
            return Slots([], clusters.labels[:0], np.empty((0, 0)))
        members, statistics = slots_of(panel, clusters.labels, picks, sharpe)
        seen = self.eyes_.embeddings(centroids(rows, members, len(picks)))
        exog = self.eyes_.exog(None if panel.exog is None else panel.exog.iloc[-1])
        shown = np.column_stack([seen, statistics, np.broadcast_to(exog, (len(picks), len(exog)))])
        return Slots(picks, members, shown)

    def _unturned(self, rows: np.ndarray) -> np.ndarray:
        """Embeddings as the encoder made them before ``align`` turned it: as the agent learned to read them."""
        turn = self.encoder.rotation_
        return rows.astype(float) if turn is None else rows.astype(float) @ turn.T

    # Storing ---------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write encoder and agent into a folder: safetensors and JSON."""
        super().save(folder)
        self.agent_.save(folder)
        start = {"a": float(self.start_.a), "b": float(self.start_.b)}
        text = json.dumps({"eyes": self.eyes_.plain(), "start": start})
        (folder / STATE).write_text(text + "\n", encoding="utf-8")

    def load(self, folder: Path) -> AgentPolicy:
        """Take encoder and agent from a folder."""
        _check_installed()
        from clusterfolio.models.agents.agent import Agent

        super().load(folder)
        self.agent_ = Agent.load(folder)
        said = json.loads((folder / STATE).read_text(encoding="utf-8"))
        self.eyes_ = Eyes.from_plain(said["eyes"])
        self.start_ = Moments(*(np.asarray(said["start"][name]) for name in ("a", "b")))
        return self

    def describe(self) -> dict:
        """What run.json says of the trainings."""
        facts = {f"agent_{key}": value for key, value in self.agent_.facts.items() if key != "scale"}
        said = super().describe()
        both = hashlib.sha256(f"{said['fingerprint']} {self.agent_.fingerprint()}".encode()).hexdigest()
        return said | {"fingerprint": both, "agent": self.kind} | facts


class PPOPolicy(AgentPolicy):
    """Weights of the slots from proximal policy optimisation: Schulman et al. (2017), by stable-baselines3."""

    kind = "ppo"

    @property
    def head(self) -> SoftmaxHead:
        """A softmax over slots and cash."""
        return SoftmaxHead(self.agent.temperature, self.agent.cap)


class DQNPolicy(AgentPolicy):
    """Out, keep or in, slot by slot, from deep Q-learning: Mnih et al. (2015), by stable-baselines3."""

    kind = "dqn"

    @property
    def head(self) -> ThreeWayHead:
        """Three choices in each slot."""
        return ThreeWayHead(self.agent.cap)


#: A weight below this is none.
SMALLEST = 1e-4


def equal_gains(bars: Bars, stages: Stages, every: int) -> np.ndarray:
    """What all slots held equally earn from each stage to the decision after it, in excess of cash, before costs."""
    row, later = stages.rows[:-every], stages.rows[every:]
    opened = np.where(bars.bar[row + 1], bars.open[row + 1], bars.close[row])
    gains = bars.close[later] / opened - (bars.growth[later] / bars.growth[row])[:, None]
    picks = stages.picks[:-every]
    chosen = np.where(picks >= 0, np.take_along_axis(gains, np.maximum(picks, 0), axis=1), np.nan)
    return np.nan_to_num(np.nansum(chosen, axis=1) / np.maximum((picks >= 0).sum(axis=1), 1))


def _stages(bars: Bars, days: pd.DatetimeIndex, found: list[Slots]) -> Stages:
    n_slots = max(len(slots.picks) for slots in found)
    n_features = max(slots.shown.shape[1] for slots in found)
    picks = np.full((len(days), n_slots), -1, dtype=np.int64)
    slot_of = np.full((len(days), len(bars.names)), -1, dtype=np.int64)
    shown = np.zeros((len(days), n_slots, n_features), dtype=np.float32)
    for number, slots in enumerate(found):
        picks[number, : len(slots.picks)] = bars.names.get_indexer(slots.picks)
        slot_of[number, bars.names.get_indexer(slots.members.index)] = slots.members.to_numpy()
        if slots.picks:
            shown[number, : len(slots.picks)] = slots.shown
    return Stages(bars.days.get_indexer(days), picks, slot_of, shown)


def _ratio(earned: np.ndarray) -> float:
    spread = float(np.std(earned))
    return float(np.mean(earned)) / spread if spread > 0 else 0.0


def _check_installed() -> None:
    if find_spec("stable_baselines3") is None:
        raise ModuleNotFoundError(f"policies ppo and dqn need stable-baselines3, which is not installed; {EXTRA}")
