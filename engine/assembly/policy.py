"""The policy that a configuration describes."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from clusterfolio.engine.config.policies import BUILT_IN, CLUSTER, policy_class, sections_read
from clusterfolio.engine.config.run import RunConfig
from clusterfolio.engine.folds.stored_policies import check_storable
from clusterfolio.engine.folds.walk_forward import Fold, fold_seed, warm_training
from clusterfolio.models.clustering import Ward
from clusterfolio.models.encoder import Encoder
from clusterfolio.strategies.agents.terms import Terms
from clusterfolio.strategies.cluster_policy import ClusterPolicy
from clusterfolio.strategies.policy import Policy, PolicyError


def make_policy(config: RunConfig, cash: pd.Series | None = None) -> Policy:
    """The unfitted policy that a configuration describes.

    Args:
        cash: simple return of cash by day, each known on its day.

    Raises:
        PolicyError: it is no policy: it cannot be made, has no ``decide``, or learns and cannot be stored.
    """
    if config.policy.name in BUILT_IN:
        return _built_in(config, cash)
    found = policy_class(config.policy.name)
    offered = {name: getattr(config, name) for name in sections_read(config.policy.name)}
    offered |= {"cash": cash, "random_state": config.engine.seed, "device": config.engine.device}
    taken = inspect.signature(found).parameters
    own = config.policy.settings
    try:
        policy = found(**{name: value for name, value in offered.items() if name in taken and name not in own}, **own)
    except TypeError as error:
        raise PolicyError(f"policy {config.policy.name}: it cannot be made from [policy]: {error}") from error
    if not callable(getattr(policy, "decide", None)):
        raise PolicyError(f"policy {config.policy.name}: it has no decide(panel, state)")
    check_storable(policy)
    return policy


def learns_from(config: RunConfig) -> Sequence[str]:
    """The sections of a configuration that decide what its policy learns."""
    found = policy_class(config.policy.name)
    return getattr(found, "learns_from", sections_read(config.policy.name))


def _built_in(config: RunConfig, cash: pd.Series | None) -> ClusterPolicy:
    """The published policy, or an agent in its place."""
    encoder = Encoder(
        encoder=config.encoder.name,
        config=config.model,
        train=config.train,
        lookback=config.encoder.lookback,
        clip=config.encoder.clip,
        random_state=config.engine.seed,
        device=config.engine.device,
        exog=config.inputs.exog,
        statics=config.inputs.static_columns,
    )
    parts: dict[str, Any] = {
        "encoder": encoder,
        "clusterer": Ward(config.clustering.n_clusters),
        "embedding": config.embedding,
        "selection": config.selection,
        "risk": config.risk,
        "features": config.features,
        "cash": cash,
        "stride": config.encoder.stride,
        "frictions": config.frictions,
    }
    if config.policy.name == CLUSTER:
        return ClusterPolicy(**parts, allocate=config.allocator)
    return policy_class(config.policy.name)(**parts, agent=config.agent, terms=Terms.of(config.trading))


def make_fold_policy(config: RunConfig, cash: pd.Series, fold: Fold, warm: bool) -> Policy:
    """The unfitted policy of a fold.

    Args:
        warm: its training starts from another's.
    """
    seed = fold_seed(config.engine.seed, fold.number) if config.walk_forward.on else config.engine.seed
    if warm and "train" in sections_read(config.policy.name):
        config = replace(config, train=warm_training(config.train, config.walk_forward))
    return make_policy(config.with_seed(seed), cash)
