"""What an agent learns in: many accounts side by side, each with as many slots, in NumPy alone."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class World(Protocol):
    """A batch of episodes of equal length that begin together.

    The market goes its way whatever the accounts do, so an episode has no end of its own: it is cut off after
    ``horizon`` decisions, and what would have followed is for the agent to estimate.

    Attributes:
        n_envs, n_slots, n_features: accounts, slots of each, numbers that describe a slot.
        copies: so many accounts, one after the other, begin alike and meet the same market; ``n_envs`` is a multiple.
        n_actions: choices in a slot; 0 = the action is a real number in -``bound`` .. ``bound``.
        horizon: decisions in an episode.
    """

    n_envs: int
    n_slots: int
    n_features: int
    copies: int
    n_actions: int
    bound: float
    horizon: int

    def reset(self, rng: np.random.Generator) -> np.ndarray:
        """Begin anew; what each slot shows, float32 ``(n_envs, n_slots, n_features)``."""

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Act in every slot, ``(n_envs, n_slots)``; what the slots show next, and each one's reward, float64."""
