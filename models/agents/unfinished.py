"""The state of an unfinished training of an agent in one safetensors file, so that it can go on."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from clusterfolio.models.agents.config import AgentConfig
from clusterfolio.models.tensors import save_tensors

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
        tensors = {f"policy.{name}": tensor for name, tensor in model.policy.state_dict().items()}
        for number, state in model.policy.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
        memory = getattr(model, "replay_buffer", None)
        if memory is not None:
            tensors |= {f"memory.{name}": torch.from_numpy(getattr(memory, name)) for name in MEMORY}
        facts = {"earned": earned, "updates": model._n_updates, "memory": memory and [memory.pos, memory.full]}
        part = self.path.with_name(self.path.name + ".part")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
        save_tensors(tensors, part, {"identity": self.identity, "facts": json.dumps(facts)})
        os.replace(part, self.path)

    def resume(self) -> list[float]:
        """Put what is stored into the model; the mean reward by pass done, none where nothing is stored."""
        if not self.path.exists():
            return []
        groups: dict[str, dict[str, torch.Tensor]] = {"policy": {}, "optimizer": {}, "memory": {}}
        with safe_open(self.path, "pt", device="cpu") as file:
            said = file.metadata() or {}
            if said.get("identity") != self.identity:
                raise ValueError(f"checkpoint {self.path} is from another training (other data or settings)")
            for key in file.keys():  # noqa: SIM118 - not a dictionary
                group, name = key.split(".", 1)
                groups[group][name] = file.get_tensor(key)
        facts = json.loads(said["facts"])
        model = self.model
        model.policy.load_state_dict(groups["policy"])
        state: dict[int, dict] = {}
        for key, value in groups["optimizer"].items():
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = value
        optimizer = model.policy.optimizer
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
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
