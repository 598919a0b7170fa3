"""One training of an agent by stable-baselines3: passes of episodes, each followed by updates; resumable, to the bit.

Every random number of a pass follows from the seed and the pass's number, so nothing but weights, the optimizer's state
and, for DQN, the replay memory has to survive an interruption.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback

from clusterfolio.models.agents.agent import Agent, architecture
from clusterfolio.models.agents.config import AgentConfig
from clusterfolio.models.agents.slot_env import SlotEnv, reward_scale
from clusterfolio.models.agents.unfinished import Unfinished
from clusterfolio.models.agents.world import World
from clusterfolio.models.device import seeded, torch_threads
from clusterfolio.models.training import seed_of

#: Called after each pass with (passes done, passes in all, minus the mean reward in units of its scale, None).
Progress = Callable[[int, int, float, float | None], None]

#: Seconds that pass at least between two writings of an unfinished training.
EVERY = 2.0

#: Of PPO: passes over a batch of episodes, rows per step, and how far an advantage looks ahead.
EPOCHS, MINIBATCH, GAE_LAMBDA = 5, 2048, 0.7

#: Of DQN: passes that the memory holds, rows per step, steps per pass, passes between two copies of the target, and the
#: share of the training over which exploration falls from 1 to 5 %.
MEMORY, BATCH, STEPS, COPIES, EXPLORED = 20, 512, 40, 1, 0.5


class SlotDQN(DQN):
    """DQN whose environments explore each for itself: stable-baselines3 tosses one coin for all of them."""

    explorer: np.random.Generator
    n_choices: int

    def _sample_action(self, learning_starts: int, action_noise: Any = None, n_envs: int = 1) -> tuple:
        rate = 1.0 if self.num_timesteps < learning_starts else self.exploration_rate
        shown: Any = self._last_obs
        by_lot = self.explorer.integers(self.n_choices, size=n_envs)
        explored = self.explorer.random(n_envs) < rate
        best, _ = self.policy.predict(shown, deterministic=True)
        actions = np.where(explored, by_lot, best)
        return actions, actions


def learn(
    kind: str,
    world: World,
    config: AgentConfig,
    random_state: int = 0,
    init: Agent | None = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    threads: int = 1,
) -> Agent:
    """An agent trained in a world; on the CPU, the same bits for the same arguments.

    Args:
        kind: "ppo" or "dqn".
        init: an agent whose weights the training starts from.
        checkpoint: a file that makes an interrupted training resumable; it goes away at the end.
        threads: of torch.
    """
    began = time.monotonic()
    rows = world.n_envs * world.n_slots * world.horizon
    with torch_threads(threads), seeded(seed_of(random_state, 0), torch.device("cpu")), _numpy_as_before():
        env = SlotEnv(world, np.random.default_rng(seed_of(random_state, 1)))
        env.scale = reward_scale(world, np.random.default_rng(seed_of(random_state, 2)))
        model: Any = _dqn(env, config) if kind == "dqn" else _ppo(env, config)
        if init is not None:
            model.policy.load_state_dict(init.state_dict())
        kept = None if checkpoint is None else Unfinished(Path(checkpoint), model, kind, config, random_state)
        earned = [] if kept is None else kept.resume()
        passes = Passes(env, random_state, config.passes, earned, progress, kept)
        left = config.passes - len(earned)
        if left > 0:
            model.learn(left * rows, callback=passes, reset_num_timesteps=not earned, log_interval=None)
    if kept is not None:
        kept.path.unlink(missing_ok=True)
    facts = {"seconds": time.monotonic() - began, "passes": config.passes, "reward": passes.earned, "scale": env.scale}
    return Agent(kind, model.policy.eval(), shape_of(world, config), facts)


def shape_of(world: World, config: AgentConfig) -> dict[str, Any]:
    """What ``make_policy`` takes."""
    return {
        "n_features": world.n_features, "hidden": config.hidden, "n_actions": world.n_actions, "bound": world.bound,
    }  # fmt: skip


class Passes(BaseCallback):
    """What happens between passes: seeds, new episodes, progress, and the state for an interruption.

    Attributes:
        earned: by pass, the mean reward of a slot and decision, in units of the scale.
    """

    def __init__(
        self,
        env: SlotEnv,
        random_state: int,
        total: int,
        earned: list[float],
        progress: Progress | None,
        kept: Unfinished | None,
    ):
        super().__init__()
        self.env = env
        self.random_state = random_state
        self.total = total
        self.earned = earned
        self.progress = progress
        self.kept = kept
        self.written = -np.inf
        self.rewards: list[float] = []

    def _on_rollout_start(self) -> None:
        self._finish()
        number = len(self.earned)
        torch.manual_seed(seed_of(self.random_state, 3, number))
        np.random.seed(seed_of(self.random_state, 4, number))  # noqa: NPY002 - what stable-baselines3 draws from
        self.env.rng = np.random.default_rng(seed_of(self.random_state, 5, number))
        if isinstance(self.model, SlotDQN):
            self.model.explorer = np.random.default_rng(seed_of(self.random_state, 6, number))
            # As its last step left it, also where that was in another process.
            done = self.model.num_timesteps / self.model._total_timesteps
            self.model.exploration_rate = self.model.exploration_schedule(1.0 - done)
        self.model._last_obs = self.env.reset()
        self.model._last_episode_starts = np.ones(self.env.num_envs, dtype=bool)

    def _on_step(self) -> bool:
        self.rewards.append(self.env.earned)
        return True

    def _on_training_end(self) -> None:
        self._finish()

    def _finish(self) -> None:
        """The pass before is done, its updates made."""
        if not self.rewards:
            return
        self.earned.append(float(np.mean(self.rewards)))
        self.rewards = []
        if self.kept is not None and time.monotonic() - self.written >= EVERY:
            self.kept.save(self.earned)
            self.written = time.monotonic()
        if self.progress is not None:
            self.progress(len(self.earned), self.total, -self.earned[-1], None)


def _ppo(env: SlotEnv, config: AgentConfig) -> PPO:
    return PPO(
        "MlpPolicy",
        env,
        learning_rate=_falling(config),
        n_steps=env.world.horizon,
        batch_size=env.num_envs * _steps_per_batch(env),
        n_epochs=EPOCHS,
        gamma=config.discount,
        gae_lambda=GAE_LAMBDA,
        policy_kwargs=architecture("ppo", config.hidden),
        device="cpu",
    )


def _falling(config: AgentConfig) -> Callable[[float], float]:
    """The learning rate of a pass, by the part of the training that is left after it: the last one's is above 0."""
    return lambda left: config.learning_rate * (left + 1.0 / config.passes)


def _steps_per_batch(env: SlotEnv) -> int:
    """How many decisions of all environments make a batch: of those that divide the horizon the nearest in size."""
    horizon = env.world.horizon
    divisors = [steps for steps in range(1, horizon + 1) if horizon % steps == 0]
    return min(divisors, key=lambda steps: abs(steps * env.num_envs - MINIBATCH))


def _dqn(env: SlotEnv, config: AgentConfig) -> SlotDQN:
    rows = env.num_envs * env.world.horizon
    model = SlotDQN(
        "MlpPolicy",
        env,
        learning_rate=_falling(config),
        buffer_size=MEMORY * rows,
        learning_starts=rows,
        batch_size=BATCH,
        gamma=config.discount,
        train_freq=(env.world.horizon, "step"),
        gradient_steps=STEPS,
        target_update_interval=COPIES * rows,
        exploration_fraction=EXPLORED,
        policy_kwargs=architecture("dqn", config.hidden),
        device="cpu",
    )
    model.n_choices = env.world.n_actions
    return model


@contextmanager
def _numpy_as_before() -> Iterator[None]:
    """Gives the state of NumPy's global generator back, which stable-baselines3 draws its batches from."""
    before = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
