"""A trained agent: what a slot shows in, what to do with it out; stored as safetensors and JSON."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from safetensors import SafetensorError
from safetensors.torch import load_file
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy
from torch import nn

from clusterfolio.models.agents.slot_env import WIDTH
from clusterfolio.models.device import seeded
from clusterfolio.models.tensors import save_tensors

#: Files of a stored agent.
WEIGHTS, DESCRIPTION = "agent.safetensors", "agent.json"


@dataclass
class Agent:
    """A network that all slots share.

    Attributes:
        kind: "ppo" or "dqn".
        policy: stable-baselines3's.
        shape: ``n_features``, ``hidden``, ``n_actions``, ``bound``: what ``make_policy`` takes.
        facts: plain values of its training.
    """

    kind: str
    policy: BasePolicy
    shape: dict[str, Any]
    facts: dict[str, Any]

    def act(self, shown: np.ndarray) -> np.ndarray:
        """What to do in each slot, without chance.

        Args:
            shown: float32 ``(..., n_features)``.

        Returns:
            ``(...)``: a float64 within the bound (ppo), or the number of a choice (dqn).
        """
        rows = np.ascontiguousarray(shown, dtype=np.float32).reshape(-1, shown.shape[-1])
        with torch.no_grad():
            found = self.policy._predict(torch.from_numpy(rows), deterministic=True).numpy()
        found = found.reshape(shown.shape[:-1]).astype(np.int64 if self.shape["n_actions"] else np.float64)
        return found if self.shape["n_actions"] else np.clip(found, -self.shape["bound"], self.shape["bound"])

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The network's weights."""
        return self.policy.state_dict()

    def fingerprint(self) -> str:
        """SHA-256 of all that decides an action."""
        digest = hashlib.sha256(json.dumps([self.kind, self.shape], sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write it into a folder that is there."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_tensors(_untied(tensors), folder / WEIGHTS)
        described = {"kind": self.kind, "shape": self.shape, "facts": self.facts}
        (folder / DESCRIPTION).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Agent:
        """The agent that ``save`` wrote; nothing in the files is run.

        Raises:
            FileNotFoundError, ValueError: there is none that can be read.
        """
        for name in (WEIGHTS, DESCRIPTION):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder} holds no trained agent: {name} is missing")
        try:
            said = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            policy = make_policy(said["kind"], **said["shape"])
            policy.load_state_dict(load_file(folder / WEIGHTS))
            return cls(said["kind"], policy.eval(), said["shape"], said["facts"])
        except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise ValueError(f"{folder}: not an agent that this version can read ({error})") from error


def make_policy(kind: str, n_features: int, hidden: int, n_actions: int, bound: float) -> BasePolicy:
    """An untrained network of stable-baselines3's, as its algorithms make it."""
    seen = spaces.Box(-np.inf, np.inf, (n_features,), np.float32)
    with seeded(0, torch.device("cpu")):
        if kind == "dqn":
            return DQNPolicy(seen, spaces.Discrete(n_actions), lambda left: 0.0, **architecture(kind, hidden))
        acts = spaces.Box(-bound, bound, (1,), np.float32)
        return ActorCriticPolicy(seen, acts, lambda left: 0.0, **architecture(kind, hidden))


def architecture(kind: str, hidden: int) -> dict[str, Any]:
    """What stable-baselines3 calls ``policy_kwargs``."""
    if kind == "dqn":
        return {"net_arch": [hidden, hidden]}
    return {"net_arch": [hidden, hidden], "activation_fn": nn.Tanh, "log_std_init": float(np.log(WIDTH))}


def _untied(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each with memory of its own, which the format asks for."""
    return {name: tensor.clone() for name, tensor in tensors.items()}
