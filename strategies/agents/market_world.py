"""A training span as a world: many accounts that begin on days drawn by lot and are traded by the engine's rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clusterfolio.models.agents.config import AgentConfig
from clusterfolio.strategies.agents.accounts import Accounts, Bars
from clusterfolio.strategies.agents.heads import SoftmaxHead, Span, ThreeWayHead
from clusterfolio.strategies.agents.rewards import Moments, Reward
from clusterfolio.strategies.agents.terms import Terms

#: What an agent is told of its account, after what it is told of the market; see ``account_features``.
ACCOUNT_FEATURES = 6


@dataclass(frozen=True)
class Stages:
    """What there is to decide on, on days of a training span that lie equally far apart.

    Attributes:
        rows: of the bars, int ``(n_stages,)``.
        picks: the asset that each slot would hold, a column of the bars, int ``(n_stages, n_slots)``; -1 = no slot.
        slot_of: the slot that each asset belongs to, int ``(n_stages, n_assets)``; -1 = none.
        shown: of the market, float32 ``(n_stages, n_slots, n_features)``.
    """

    rows: np.ndarray
    picks: np.ndarray
    slot_of: np.ndarray
    shown: np.ndarray


def account_features(
    held: np.ndarray, held_pick: np.ndarray, age: np.ndarray, since: np.ndarray, moments: Moments, start: Moments
) -> np.ndarray:
    """What an agent is told of its account, ``(n_accounts, n_slots, ACCOUNT_FEATURES)``.

    Args:
        held, held_pick: part of the account in each slot's assets, and in the one it would hold, ``(n_accounts,
            n_slots)``.
        age: since that one was bought, in times from one decision to the next; 0 = it is not held.
        since: since the last decision, likewise, ``(n_accounts,)``; 0 = this is the first.
        moments: of the reward now, ``start``: where they began. Shown are ``A / sqrt(B)`` and how much wilder than at
            the start the account has become.
    """
    n_slots = held.shape[1]
    ratio = moments.a / np.sqrt(moments.b)
    wilder = np.clip(np.log(moments.variance / start.variance) / 2, -3.0, 3.0)
    of_account = [np.repeat(each[:, None], n_slots, axis=1) for each in (np.clip(since, 0.0, 3.0), ratio, wilder)]
    of_slot = [n_slots * held, n_slots * held_pick, np.clip(age, 0.0, 6.0)]
    return np.stack([*of_slot, *of_account], axis=-1)


class MarketWorld:
    """Accounts over a training span; see ``models.agents.world.World``.

    An episode begins on a stage drawn by lot, half of them all in cash and half with weights drawn by lot, and with
    moments of the reward that lie about the warm-up's, so that the agent meets more states than one history has.

    Args:
        every: stages from one decision to the next.
        start: moments of the reward that episodes begin about.
    """

    bound = 3.0

    def __init__(
        self,
        bars: Bars,
        stages: Stages,
        terms: Terms,
        head: SoftmaxHead | ThreeWayHead,
        config: AgentConfig,
        start: Moments,
        every: int,
    ):
        self.bars, self.stages, self.terms, self.head, self.start, self.every = bars, stages, terms, head, start, every
        self.reward = Reward(config.reward, config.risk_aversion, config.adaptation)
        self.horizon = min(config.horizon, (len(stages.rows) - 1) // every)
        if self.horizon < 1:
            raise ValueError(
                f"stages: {len(stages.rows)} days to decide on are too few for decisions {every} of them apart"
            )
        self.n_envs, self.n_slots, self.copies = config.environments, stages.picks.shape[1], config.copies
        self.n_features = stages.shown.shape[2] + ACCOUNT_FEATURES
        self.n_actions = head.n_actions

    def reset(self, rng: np.random.Generator) -> np.ndarray:
        """Begin all episodes anew."""
        drawn = self.n_envs // self.copies
        begins = rng.integers(len(self.stages.rows) - self.horizon * self.every, size=drawn)
        mean = self.start.a + 0.3 * np.sqrt(self.start.variance) * rng.standard_normal(drawn)
        wild = self.start.variance * np.exp(0.5 * rng.standard_normal(drawn))
        lots = rng.exponential(size=(drawn, self.n_slots)) * (self.stages.picks[begins] >= 0)
        lots *= rng.random((drawn, 1)) / np.maximum(lots.sum(axis=1, keepdims=True), 1e-12)
        lots[rng.random(drawn) < 0.5] = 0.0
        begins, mean, wild, lots = (np.repeat(each, self.copies, axis=0) for each in (begins, mean, wild, lots))
        shown = self.begin(begins, Moments(mean, mean**2 + wild))
        if lots.any():
            self.accounts.hold(self._of_assets(lots))
            self.since[lots.any(axis=1)] = 1.0
            shown = self.seen()
        return shown

    def begin(self, begins: np.ndarray, moments: Moments) -> np.ndarray:
        """Accounts in cash on these stages, int ``(n_accounts,)``."""
        self.at = np.array(begins)
        self.accounts = Accounts(self.bars, self.stages.rows[self.at], self.terms)
        self.moments = moments
        self.since = np.zeros(len(self.at))
        return self.seen()

    def seen(self) -> np.ndarray:
        """What the slots show now, float32."""
        held, held_pick = self._held()
        age = self._age(held_pick)
        own = account_features(held, held_pick, age, self.since, self.moments, self.start)
        return np.concatenate([self.stages.shown[self.at], own], axis=-1).astype(np.float32)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Trade to the next decision; each slot's reward is what the account's would lack without it."""
        actions = np.asarray(actions)
        then = self.at + self.every
        span = self._span(then)
        before = self.accounts.value()
        self.accounts.order(self.targets(actions))
        self.accounts.advance(self.stages.rows[then])
        earned = self.accounts.value() / before - 1.0 - self._cash(then)
        brought = self.head.brought(actions, span, 1.0 - self.terms.cash_buffer)
        rewards = self.reward(earned, self.moments)[:, None] - self.reward(
            earned[:, None] - brought, Moments(self.moments.a[:, None], self.moments.b[:, None])
        )
        self.earned = earned
        self.moments = self.moments.after(earned, self.reward.adaptation)
        self.at, self.since = then, np.ones(len(then))
        return self.seen(), np.where(span.present, rewards, 0.0)

    def targets(self, actions: np.ndarray) -> np.ndarray:
        """Weights of the assets, ``(n_accounts, n_assets)``."""
        present = self.stages.picks[self.at] >= 0
        wanted = self._of_assets(self.head.weights(actions, present))
        keeps = self.head.keeps(actions) & present
        if keeps.any():
            slot = self.stages.slot_of[self.at]
            kept = np.take_along_axis(keeps, np.maximum(slot, 0), axis=1) & (slot >= 0)
            wanted += np.where(kept, self.accounts.weights() / (1.0 - self.terms.cash_buffer), 0.0)
        return wanted / np.maximum(wanted.sum(axis=1, keepdims=True), 1.0)

    def _of_assets(self, weights: np.ndarray) -> np.ndarray:
        picks = self.stages.picks[self.at]
        found = np.zeros((len(self.at), len(self.bars.names) + 1))
        np.put_along_axis(found, picks, weights, axis=1)
        return found[:, :-1]

    def _by_slot(self, values: np.ndarray) -> np.ndarray:
        """Sums over the assets of each slot."""
        slot, n_slots = self.stages.slot_of[self.at], self.n_slots
        flat = np.where(slot >= 0, slot, n_slots) + (n_slots + 1) * np.arange(len(slot))[:, None]
        summed = np.bincount(flat.ravel(), values.ravel(), len(slot) * (n_slots + 1))
        return summed.reshape(len(slot), -1)[:, :-1]

    def _of_picks(self, values: np.ndarray) -> np.ndarray:
        picks = self.stages.picks[self.at]
        return np.where(picks >= 0, np.take_along_axis(values, np.maximum(picks, 0), axis=1), 0.0)

    def _held(self) -> tuple[np.ndarray, np.ndarray]:
        weights = self.accounts.weights()
        return self._by_slot(weights), self._of_picks(weights)

    def _age(self, held_pick: np.ndarray) -> np.ndarray:
        count = self.bars.count
        bought = count[self._of_picks(self.accounts.entered).astype(np.int64)]
        passed = count[self.stages.rows[self.at]][:, None] - bought
        return np.where(held_pick > 0, passed / self.terms.sessions, 0.0)

    def _cash(self, then: np.ndarray) -> np.ndarray:
        growth = self.bars.growth
        return growth[self.stages.rows[then]] / growth[self.stages.rows[self.at]] - 1.0

    def _span(self, then: np.ndarray) -> Span:
        row, later = self.stages.rows[self.at], self.stages.rows[then]
        opened = np.where(self.bars.bar[row + 1], self.bars.open[row + 1], self.bars.close[row])
        gains = self.bars.close[later] / opened - 1.0 - self._cash(then)[:, None]
        weights = self.accounts.weights()
        held, held_pick = self._held()
        rates = np.broadcast_to(self.bars.rate, weights.shape)
        return Span(
            present=self.stages.picks[self.at] >= 0,
            gain=self._of_picks(gains),
            gain_held=self._by_slot(weights * gains),
            rate=self._of_picks(rates),
            held=held,
            held_pick=held_pick,
        )


def traded(
    world: MarketWorld, act: Callable[[np.ndarray], np.ndarray], begins: np.ndarray, decisions: int
) -> tuple[np.ndarray, float]:
    """Returns of accounts in excess of cash, ``(n_accounts, decisions)``, and what they traded in a decision.

    Args:
        act: what each slot shows -> actions.
        begins: stages to begin on, in cash.

    Returns:
        Turnover is one-way, a fraction of the account per decision.
    """
    moments = Moments(*(np.full(len(begins), float(each)) for each in (world.start.a, world.start.b)))
    shown, earned, moved = world.begin(begins, moments), [], 0.0
    for _ in range(decisions):
        before, value = world.accounts.traded.copy(), world.accounts.value()
        shown, _ = world.step(act(shown))
        earned.append(world.earned)
        moved += float(((world.accounts.traded - before) / 2 / value).mean())
    return np.stack(earned, axis=1), moved / decisions
