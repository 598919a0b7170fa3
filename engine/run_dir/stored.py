"""What a run has learned, in another run: whether it fits, and which fold it serves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from clusterfolio.engine.assembly.policy import learns_from
from clusterfolio.engine.config.run import RunConfig, make_config, to_dict
from clusterfolio.engine.folds.fitting import PolicyFactory
from clusterfolio.engine.folds.stored_policies import load_policy
from clusterfolio.engine.folds.walk_forward import Fold
from clusterfolio.engine.run_dir import artifacts
from clusterfolio.strategies.policy import Policy, learns


def check_model(config: RunConfig, run_dir: Path) -> None:
    """Refuse what was learned for other inputs, or by another policy, than this run would ask."""
    theirs = artifacts.read_own_run(run_dir, "run again")["config"]
    ours = to_dict(config)
    usual = to_dict(
        replace(make_config({}), model=type(config.model)(), policy=config.policy)
    )  # before there was a key
    usual["policy"] = {"name": "cluster"}
    for section in ("policy", *learns_from(config)):
        for key, value in ours[section].items():
            made = theirs.get(section, {}).get(key, usual[section].get(key))
            if key == "macro_path" or (key == "sentiment" and made and value):
                continue  # the same series from another place
            if made != value:
                raise ValueError(
                    f"--model {run_dir}: it was made with {section}.{key} = {made!r}, this run asks for {value!r}"
                )


def use_model(policy: Policy, run_dir: Path, first_decision: pd.Timestamp) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """Give the policy what the one that decides on a day in another run has learned, if from nothing after that day.

    Returns:
        First and last day of that training; None for a policy that does not learn.
    """
    if not learns(policy):
        return None
    folder, start, end = artifacts.stored_policy(run_dir, first_decision)
    if end > first_decision:
        raise ValueError(
            f"--model {run_dir}: it was trained up to {end.date()}, after the first decision on {first_decision.date()}"
        )
    load_policy(policy, folder, (start, end))
    return start, end


def stored_folds(planned: list[Fold], make: PolicyFactory, run_dir: Path) -> tuple[list[Fold], dict[int, Policy]]:
    """The folds with another run's policies, by number, and the spans those were trained on."""
    served, policies = [], {}
    for fold in planned:
        policy = make(fold, False)
        span = use_model(policy, run_dir, fold.decides_from)
        served.append(fold if span is None else replace(fold, train_start=span[0], train_end=span[1]))
        policies[fold.number] = policy
    return served, policies
