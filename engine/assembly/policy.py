"""The main job: prices -> panel -> features -> encoder -> decisions -> backtest -> run directory."""

from __future__ import annotations

import pandas as pd

from clusterfolio.engine.config.run import RunConfig
from clusterfolio.engine.folds.walk_forward import Fold, fold_seed, warm_training
from clusterfolio.models.clustering import Ward
from clusterfolio.models.encoder import Encoder
from clusterfolio.strategies.allocation import ALLOCATORS
from clusterfolio.strategies.cluster_policy import ClusterPolicy


def make_policy(config: RunConfig, cash: pd.Series | None = None) -> ClusterPolicy:
    """The unfitted policy that a configuration describes."""
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
    return ClusterPolicy(
        encoder,
        Ward(config.clustering.n_clusters),
        embedding=config.embedding,
        selection=config.selection,
        allocate=ALLOCATORS[config.trading.allocate],
        features=config.features,
        cash=cash,
        stride=config.encoder.stride,
    )


def make_fold_policy(config: RunConfig, cash: pd.Series, fold: Fold, warm: bool) -> ClusterPolicy:
    """The unfitted policy of a fold.

    Args:
        warm: its training starts from another encoder.
    """
    policy = make_policy(config, cash)
    if config.walk_forward.on:
        policy.encoder.set_params(random_state=fold_seed(config.engine.seed, fold.number))
    if warm:
        policy.encoder.set_params(train=warm_training(config.train, config.walk_forward))
    return policy
