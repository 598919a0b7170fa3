"""The state of an unfinished training of an agent in one safetensors file, so that it can go on."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clusterfolio.models.agents.config import AgentConfig
from clusterfolio.models.checkpoint import read_groups, set_state, state_of, write_groups

log = logging.getLogger(__name__)

#: Arrays of DQN's memory.
MEMORY = ("observations", "next_observations", "actions", "rewards", "dones")


class Unfinished:
    """A training's state after its last written pass; the file replaces itself atomically.

    Args:
        model: stable-baselines3's.

    Attributes:
        identity: hash of what is trained, on what and how; another training's file is refused.
    """

    def __init__(self, path: Path, model: Any, kind: str, config: AgentConfig, random_state: int):
        self.path = path
        self.model = model
        env = model.get_env()
        digest = hashlib.sha256(json.dumps([kind, asdict(config), random_state, env.scale]).encode())
        digest.update(np.ascontiguousarray(env.world.reset(np.random.default_rng(0))).tobytes())
        for name, tensor in sorted(model.policy.state_dict().items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        self.identity = digest.hexdigest()

    def save(self, earned: list[float]) -> None:
        """Write the file anew, whole or not at all."""
        model = self.model
        groups = {"policy": model.policy.state_dict(), "optimizer": state_of(model.policy.optimizer)}
        memory = getattr(model, "replay_buffer", None)
        if memory is not None:
            groups["memory"] = {name: torch.from_numpy(getattr(memory, name)) for name in MEMORY}
        facts = {"earned": earned, "updates": model._n_updates, "memory": memory and [memory.pos, memory.full]}
        write_groups(self.path, groups, {"identity": self.identity, "facts": json.dumps(facts)})

    def resume(self) -> list[float]:
        """Put what is stored into the model; the mean reward by pass done, none where nothing is stored."""
        if not self.path.exists():
            return []
        groups, said = read_groups(self.path, self.identity)
        facts = json.loads(said["facts"])
        self.model.policy.load_state_dict(groups["policy"])
        set_state(self.model.policy.optimizer, groups["optimizer"])
        self._count(facts, groups["memory"])
        log.info("training of the agent goes on after pass %d, from %s", len(facts["earned"]), self.path)
        return facts["earned"]

    def _count(self, facts: dict, memory: dict[str, torch.Tensor]) -> None:
        """Counters, and for DQN what follows from them."""
        model, world = self.model, self.model.get_env().world
        done = len(facts["earned"])
        model.num_timesteps = done * world.n_envs * world.n_slots * world.horizon
        model._n_updates = facts["updates"]
        if not memory:
            return
        buffer = model.replay_buffer
        for name in MEMORY:
            getattr(buffer, name)[:] = memory[name].numpy()
        buffer.pos, buffer.full = facts["memory"]
        model._n_calls = done * world.horizon
