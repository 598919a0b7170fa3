"""The section [policy]: which policy decides, with that class's own keys, and which other sections it reads."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from clusterfolio.models.named import find_named

#: The published policy: the best Sharpe ratio of each cluster of embeddings.
CLUSTER = "cluster"

#: Learning agents in its place, by name.
AGENTS = {"ppo": "PPOPolicy", "dqn": "DQNPolicy"}

#: Policies that come with the program; they are made of built parts, and each trains an encoder.
BUILT_IN = (CLUSTER, *AGENTS)

#: Sections that belong to a policy; one that does not read a section must not be given keys of it.
OF_POLICIES = (
    "features", "inputs", "encoder", "model", "train", "embedding", "clustering", "selection", "allocation",
    "risk", "agent",
)  # fmt: skip

#: Arguments of a constructor that a run fills in by itself.
OFFERED = ("cash", "random_state", "device")


@dataclass(frozen=True)
class PolicyConfig:
    """What decides, and what it is made with.

    Attributes:
        name: "cluster" = the best Sharpe ratio of each cluster of embeddings; "ppo" or "dqn" = a learning agent in
            place of that choice (the extra `rl`; section [agent]); or "package.module:ClassName" for your own: a class
            with decide(panel, state), whose constructor's arguments are further keys of this section.
    """

    name: str = CLUSTER
    settings: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As the section of a file."""
        return {"name": self.name, **self.settings}


def policy_class(name: str) -> type:
    """The class that a policy's name stands for.

    Raises:
        ValueError: there is none.
    """
    if name == CLUSTER:
        from clusterfolio.strategies.cluster_policy import ClusterPolicy

        return ClusterPolicy
    if name in AGENTS:
        from clusterfolio.strategies.agents import policy

        return getattr(policy, AGENTS[name])
    if ":" not in name:
        names = ", ".join(repr(one) for one in BUILT_IN)
        raise ValueError(f"policy.name: got {name!r}, expected {names} or 'package.module:ClassName'")
    found = find_named(name, "policy.name")
    if not callable(found):
        raise ValueError(f"policy.name: {name!r} is {type(found).__name__}, expected a class")
    if inspect.isclass(found) and not callable(getattr(found, "decide", None)):
        raise ValueError(f"policy.name: {name!r} has no method decide(panel, state)")
    return found


def sections_read(name: str) -> Sequence[str]:
    """The sections of the configuration that a policy is made from beside [policy].

    A class states them in ``reads``; each is handed to the constructor's argument of its name.
    """
    stated = tuple(getattr(policy_class(name), "reads", ()))
    unknown = [section for section in stated if section not in OF_POLICIES]
    if unknown:
        raise ValueError(f"policy {name}: it reads {unknown[0]!r}; available: {', '.join(OF_POLICIES)}")
    return stated


def make_policy_config(values: Mapping[str, Any]) -> PolicyConfig:
    """The section from its keys; a key that the class's constructor does not take is refused."""
    own = dict(values)
    name = own.pop("name", CLUSTER)
    if not isinstance(name, str):
        raise ValueError(f"policy.name: got {name!r}, expected a text")
    if name in BUILT_IN:
        if own:
            raise ValueError(f"unknown key policy.{next(iter(own))}; policy '{name}' has its keys in sections")
        return PolicyConfig(name)
    taken = inspect.signature(policy_class(name)).parameters.values()
    known = [p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in OF_POLICIES]
    if not any(p.kind is p.VAR_KEYWORD for p in taken):
        for key in own:
            if key not in known:
                raise ValueError(f"unknown key policy.{key} of {name}; available: {', '.join(known) or 'none'}")
    missing = [p.name for p in taken if p.default is p.empty and p.name in known and p.name not in (*own, *OFFERED)]
    if missing:
        raise ValueError(f"policy.{missing[0]}: missing; {name} needs it")
    return PolicyConfig(name, own)


def refuse_unread(name: str, sections: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """Refuse a key of a section that the policy does not read; a default written out is no such key.

    Args:
        sections: by name, as configured; ``usual``: as they are by default.
    """
    read = sections_read(name)
    for section in OF_POLICIES:
        if section in read:
            continue
        found, default = _plain(sections[section]), _plain(usual[section])
        for key, value in found.items():
            if value != default.get(key):
                raise ValueError(
                    f"{section}.{key} = {value!r}: policy {name} does not read [{section}]; it reads "
                    f"{', '.join(f'[{one}]' for one in ('policy', *read))}"
                )


def _plain(section: Any) -> dict[str, Any]:
    if is_dataclass(section):
        return {item.name: getattr(section, item.name) for item in fields(section)}
    return dict(section)
