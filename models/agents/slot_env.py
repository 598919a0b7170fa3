"""A world as stable-baselines3 sees it: every slot of every account is an environment, and one network serves all."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from clusterfolio.models.agents.world import World

#: Standard deviation of an untrained agent's real-valued actions.
WIDTH = float(np.exp(-1.0))


class SlotEnv(VecEnv):
    """``n_envs * n_slots`` environments that never report an end; a pass begins with ``reset``.

    From each reward is taken what the account's copies, which meet the same market and act otherwise, earned in that
    slot on average. What they earn does not depend on what it does, so the best policy stays the best, and the market's
    noise, by far the largest part of a reward, falls away (Mao et al. 2019, "Variance Reduction for Reinforcement
    Learning in Input-Driven Environments"). Rewards come in units of ``scale``, so that losses and gradients have the
    same size in every market.

    Args:
        rng: of the next ``reset``.
        scale: what rewards are divided by.

    Attributes:
        earned: mean reward of the last step as the world stated it, in units of ``scale``.
    """

    def __init__(self, world: World, rng: np.random.Generator, scale: float = 1.0):
        self.world = world
        self.rng = rng
        self.scale = scale
        shape = (world.n_features,)
        acts: spaces.Space = spaces.Box(-world.bound, world.bound, (1,), np.float32)
        if world.n_actions:
            acts = spaces.Discrete(world.n_actions)
        rows = world.n_envs * world.n_slots
        super().__init__(rows, spaces.Box(-np.inf, np.inf, shape, np.float32), acts)
        self._silent: list[dict] = [{} for _ in range(rows)]
        self._going_on = np.zeros(rows, dtype=bool)

    def reset(self) -> np.ndarray:
        """Begin all episodes anew, ``(n_envs * n_slots, n_features)``."""
        return self.world.reset(self.rng).reshape(self.num_envs, -1)

    def step_async(self, actions: np.ndarray) -> None:
        """Take note of the actions."""
        self._actions = actions.reshape(self.world.n_envs, self.world.n_slots)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        """Act; what is seen, the rewards, and that nothing has ended."""
        seen, rewards = self.world.step(self._actions)
        self.earned = float(rewards.mean()) / self.scale
        flat = (beside_copies(rewards, self.world.copies) / self.scale).astype(np.float32).reshape(-1)
        return seen.reshape(self.num_envs, -1), flat, self._going_on.copy(), self._silent

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The same for every environment."""
        return [None if attr_name == "render_mode" else getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Environments have no attributes of their own."""
        raise NotImplementedError(attr_name)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Environments have no methods of their own."""
        raise NotImplementedError(method_name)

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """None is."""
        return [False] * self.num_envs


def beside_copies(rewards: np.ndarray, copies: int) -> np.ndarray:
    """Rewards ``(n_envs, n_slots)`` less the mean of the account's copies, itself left out.

    >>> beside_copies(np.array([[1.0], [4.0], [0.0], [0.0]]), 2)
    array([[-3.],
           [ 3.],
           [ 0.],
           [ 0.]])
    """
    if copies == 1:
        return rewards
    grouped = rewards.reshape(-1, copies, rewards.shape[1])
    others = (grouped.sum(axis=1, keepdims=True) - grouped) / (copies - 1)
    return (grouped - others).reshape(rewards.shape)


def reward_scale(world: World, rng: np.random.Generator) -> float:
    """Standard deviation of the rewards of an episode of actions drawn by lot; 1 where they do not differ."""
    world.reset(rng)
    size = (world.n_envs, world.n_slots)
    earned = []
    for _ in range(world.horizon):
        lots = rng.integers(world.n_actions, size=size) if world.n_actions else WIDTH * rng.standard_normal(size)
        earned.append(beside_copies(world.step(lots)[1], world.copies))
    return float(np.std(earned)) or 1.0
