"""A stored model in another run: whether it fits, and which fold it serves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from clusterfolio.engine.config.run import RunConfig, to_dict
from clusterfolio.engine.folds.fitting import PolicyFactory
from clusterfolio.engine.folds.walk_forward import Fold
from clusterfolio.engine.run_dir import artifacts
from clusterfolio.models.encoder import Encoder
from clusterfolio.strategies.cluster_policy import ClusterPolicy


def check_model(config: RunConfig, run_dir: Path) -> None:
    """Refuse a stored model that was made for other inputs than this run would feed it."""
    theirs = artifacts.read_run_json(run_dir)["config"]
    ours = to_dict(config)
    usual = to_dict(RunConfig(model=type(config.model)()))  # what a run older than a key was made with
    for section in ("features", "inputs", "encoder", "model"):
        for key, value in ours[section].items():
            made = theirs.get(section, {}).get(key, usual[section].get(key))
            if key == "macro_path" or (key == "sentiment" and made and value):
                continue  # the same series from another place
            if made != value:
                raise ValueError(
                    f"--model {run_dir}: it was made with {section}.{key} = {made!r}, this run asks for {value!r}"
                )


def use_model(policy: ClusterPolicy, run_dir: Path, first_decision: pd.Timestamp) -> None:
    """Give the policy the encoder that decides on a day in another run, if it was trained on nothing after it."""
    folder, start, end = artifacts.stored_encoder(run_dir, first_decision)
    if end > first_decision:
        raise ValueError(
            f"--model {run_dir}: it was trained up to {end.date()}, after the first decision on {first_decision.date()}"
        )
    policy.encoder = Encoder.load(folder, device=policy.encoder.device)
    policy.trained_on(start, end)


def stored_folds(planned: list[Fold], make: PolicyFactory, run_dir: Path) -> tuple[list[Fold], dict[int, Encoder]]:
    """The folds with another run's encoders, by number, and the spans those were trained on."""
    served, encoders = [], {}
    for fold in planned:
        policy = make(fold, False)
        use_model(policy, run_dir, fold.decides_from)
        start, end = policy.train_span_
        served.append(replace(fold, train_start=start, train_end=end))
        encoders[fold.number] = policy.encoder
    return served, encoders
