"""A made-up market whose next move every slot shows, and what one who trusts it would do."""

from __future__ import annotations

import numpy as np

from clusterfolio.feeds.panel import Panel
from clusterfolio.models.agents.config import AgentConfig
from clusterfolio.strategies.agents.accounts import read_bars
from clusterfolio.strategies.agents.heads import SoftmaxHead, ThreeWayHead
from clusterfolio.strategies.agents.market_world import MarketWorld, Stages
from clusterfolio.strategies.agents.rewards import Moments
from clusterfolio.strategies.agents.terms import Terms
from tests.conftest import make_panel, random_closes

#: How the agents are taught here: what a decision earns is known, so nothing beyond it counts.
TAUGHT = AgentConfig(reward="log", risk_aversion=0.0, cap=1.0, environments=16, horizon=20, passes=60, discount=0.5,
                     learning_rate=3e-3)  # fmt: skip


def market(n_slots: int = 8, n_days: int = 800, seed: int = 0, cost_bps: float = 2.0) -> Panel:
    """Random walks with gaps over night."""
    names = ["MKT", *(f"S{number}" for number in range(n_slots))]
    closes = random_closes(n_days, names, seed, volatility=0.012)
    opens = closes.shift(1).bfill() * np.exp(0.003 * np.random.default_rng(seed).standard_normal(closes.shape))
    panel = make_panel(closes, opens, benchmark="MKT", half_spread_bps=cost_bps)
    panel.assets.loc["MKT", "tradable"] = False
    return panel


def telling_world(kind: str, panel: Panel, config: AgentConfig = TAUGHT, tells: float = 1.0) -> MarketWorld:
    """Decisions a week apart; each slot is an asset, and the first thing it shows is what it will earn.

    Args:
        tells: 0 = it shows noise instead.
    """
    terms = Terms(sessions=5)
    bars = read_bars(panel, panel.tradable, terms)
    rows = np.arange(20, len(bars.days) - 6, 1)
    n_slots = len(bars.names)
    gains = bars.close[np.minimum(rows + 5, len(bars.days) - 1)] / bars.open[rows + 1] - 1.0
    noise = np.random.default_rng(1).standard_normal(gains.shape) * gains.std()
    signal = tells * gains + (1.0 - tells) * noise
    shown = np.stack([signal / gains.std(), np.ones_like(gains)], axis=-1).astype(np.float32)
    every_slot = np.broadcast_to(np.arange(n_slots), gains.shape).copy()
    stages = Stages(rows, every_slot, every_slot, shown)
    head = SoftmaxHead(config.temperature, config.cap) if kind == "ppo" else ThreeWayHead(config.cap)
    world = MarketWorld(bars, stages, terms, head, config, Moments.of(gains.mean(axis=1)), every=5)
    world.tells = gains  # by stage, for the oracle
    return world


def oracle(world: MarketWorld):
    """What to do where the next move is known, as the head understands it; without regard to what comes after."""

    def act(shown: np.ndarray) -> np.ndarray:
        gains, held = world.tells[world.at], world._held()[0]
        invested, rate = 1.0 - world.terms.cash_buffer, world.bars.rate[0]
        if isinstance(world.head, SoftmaxHead):
            # All of it in one slot or in cash: the best of what is left when the costs of getting there are paid.
            there = gains * invested - rate * (invested - held + held.sum(axis=1, keepdims=True) - held)
            best = there.argmax(axis=1)
            wanted = np.full(gains.shape, -1.0)
            better = there.max(axis=1) > -rate * held.sum(axis=1)
            wanted[np.flatnonzero(better), best[better]] = 1.0
            return wanted
        part = world.head.part(np.ones(gains.shape, dtype=bool)) * invested
        gained = np.stack([-rate * held, held * gains, part * gains - rate * np.abs(part - held)], axis=-1)
        return gained.argmax(axis=-1)

    return act


def log_growth(returns: np.ndarray) -> float:
    """Mean log return of a decision."""
    return float(np.log1p(returns).mean())
