"""The state of an unfinished training in a file, so that it can go on."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import safe_open
from torch import nn

from clusterfolio.models.adamw import Optimizer
from clusterfolio.models.tensors import save_tensors
from clusterfolio.models.windows import Windows

if TYPE_CHECKING:
    from clusterfolio.models.train_config import TrainConfig, TrainingHistory

logger = logging.getLogger(__name__)


class Checkpoint:
    """One training's state after its last complete pass, in one safetensors file that replaces itself atomically.

    Attributes:
        path: the file.
        identity: hash of what was trained, on what and how; another training's file is refused.
    """

    def __init__(self, path: Path, module: nn.Module, windows: Windows, config: TrainConfig, random_state: int):
        digest = hashlib.sha256()
        digest.update(json.dumps([asdict(config), random_state, type(module).__qualname__]).encode())
        for array in (windows.values, windows.observed, windows.start, windows.date_idx):
            digest.update(np.ascontiguousarray(array).data)
        for table in (windows.exog, windows.static):
            if table is not None:
                digest.update(np.ascontiguousarray(table.to_numpy()).data)
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        self.path = path
        self.identity = digest.hexdigest()

    def save(self, module: nn.Module, optimizer: Optimizer, history: TrainingHistory, best: dict) -> None:
        """Writes the file anew, whole or not at all."""
        groups = {"module": module.state_dict(), "best": best, "optimizer": state_of(optimizer)}
        write_groups(self.path, groups, {"identity": self.identity, "history": json.dumps(asdict(history))})

    def load(
        self, module: nn.Module, optimizer: Optimizer, history: TrainingHistory, device: torch.device
    ) -> dict[str, torch.Tensor]:
        """Puts the saved state into the arguments; returns the best weights so far."""
        groups, metadata = read_groups(self.path, self.identity)
        module.load_state_dict(groups["module"])
        set_state(optimizer, groups["optimizer"])
        for name, value in json.loads(metadata["history"]).items():
            if name not in ("device", "threads", "processes"):
                setattr(history, name, value)
        logger.info("training goes on after epoch %d, from %s", len(history.train_loss), self.path)
        return {name: tensor.to(device) for name, tensor in groups["best"].items()}


def write_groups(path: Path, groups: Mapping[str, Mapping[str, torch.Tensor]], metadata: dict[str, str]) -> None:
    """Write named groups of tensors to a safetensors file anew, whole or not at all."""
    tensors = {f"{group}.{name}": tensor for group, found in groups.items() for name, tensor in found.items()}
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_tensors(own, part, metadata)
    os.replace(part, path)


def read_groups(path: Path, identity: str) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, str]]:
    """The groups that ``write_groups`` wrote, and the metadata; a group without tensors is empty.

    Raises:
        ValueError: the metadata's ``identity`` is another one.
    """
    groups: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    with safe_open(path, "pt", device="cpu") as file:
        metadata = file.metadata() or {}
        if metadata.get("identity") != identity:
            raise ValueError(f"checkpoint {path} is from another training (other data, model or settings)")
        for key in file.keys():  # noqa: SIM118 - not a dictionary
            group, name = key.split(".", 1)
            groups[group][name] = file.get_tensor(key)
    return groups, metadata


def state_of(optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """What an optimizer remembers, by number of the parameter and name."""
    states = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, state in states.items() for name, value in state.items()}


def set_state(optimizer: Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give back to an optimizer what ``state_of`` took from it."""
    state: dict[int, dict] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
