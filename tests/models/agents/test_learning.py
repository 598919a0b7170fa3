"""Agents learn what there is to learn, the same bits each time, also where they are interrupted; no code in a file."""

import ast
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3", reason="needs the extra rl")

from clusterfolio.models.agents.agent import Agent
from clusterfolio.models.agents.learning import learn
from clusterfolio.strategies.agents.market_world import traded
from tests.strategies.agents.oracle import TAUGHT, log_growth, market, oracle, telling_world

ROOT = Path(__file__).resolve().parents[3]
SHORT = replace(TAUGHT, environments=4, horizon=6, passes=4, copies=2, hidden=16)

#: What stable-baselines3 stores and loads with code in it.
OF_CODE = {"load_replay_buffer", "save_replay_buffer", "load_from_zip_file", "load_from_pkl", "set_parameters"}


@pytest.fixture(scope="module")
def panel():
    return market(n_slots=5, n_days=300)


@pytest.fixture(scope="module", params=["ppo", "dqn"])
def kind(request):
    return request.param


def weights_of(agent):
    return {name: tensor.numpy() for name, tensor in agent.state_dict().items()}


def same(one, two):
    return all(np.array_equal(a, two[name]) for name, a in one.items())


@pytest.mark.acceptance
def test_an_agent_that_is_shown_the_next_move_finds_it(kind, panel):
    config = replace(TAUGHT, environments=8, horizon=10, passes={"ppo": 40, "dqn": 25}[kind], learning_rate=3e-3)
    world = telling_world(kind, panel, config)
    agent = learn(kind, world, config)
    known, _ = traded(world, oracle(world), np.arange(5), 50)
    found, _ = traded(world, agent.act, np.arange(5), 50)
    assert log_growth(found) > 0.8 * log_growth(known) > 0.005


def test_the_same_seed_gives_the_same_bits_and_leaves_the_global_generators_alone(kind, panel):
    world = telling_world(kind, panel, SHORT)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one, two, other = (weights_of(learn(kind, world, SHORT, seed)) for seed in (3, 3, 4))
    assert same(one, two) and not same(one, other)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


@pytest.mark.parametrize("stopped_after", [1, 3])
def test_an_interrupted_training_ends_with_the_same_bits(kind, panel, tmp_path, stopped_after, monkeypatch):
    monkeypatch.setattr("clusterfolio.models.agents.learning.EVERY", 0.0)
    world, file = telling_world(kind, panel, SHORT), tmp_path / "agent.unfinished"
    whole = learn(kind, world, SHORT, 5)

    def stop(done, total, loss, held_out):
        if done == stopped_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(kind, world, SHORT, 5, progress=stop, checkpoint=file)
    assert file.is_file()
    passes = []
    again = learn(kind, world, SHORT, 5, progress=lambda done, *_: passes.append(done), checkpoint=file)
    assert passes == list(range(stopped_after + 1, SHORT.passes + 1)) and not file.exists()
    assert same(weights_of(whole), weights_of(again))
    assert whole.facts["reward"] == again.facts["reward"]


def test_another_trainings_state_is_refused(kind, panel, tmp_path):
    world, file = telling_world(kind, panel, SHORT), tmp_path / "agent.unfinished"
    with pytest.raises(KeyboardInterrupt):
        learn(kind, world, SHORT, 5, progress=lambda *_: interrupt(), checkpoint=file)
    with pytest.raises(ValueError, match="from another training"):
        learn(kind, world, SHORT, 6, checkpoint=file)


def interrupt():
    raise KeyboardInterrupt


def test_what_is_stored_is_read_back_and_holds_no_code(kind, panel, tmp_path, monkeypatch):
    from stable_baselines3.common.base_class import BaseAlgorithm

    world = telling_world(kind, panel, SHORT)
    agent = learn(kind, world, SHORT)
    agent.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.json", "agent.safetensors"]
    for owner, name in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (BaseAlgorithm, "load")):
        monkeypatch.setattr(owner, name, lambda *args, **kwargs: pytest.fail("code was loaded"))
    read = Agent.load(tmp_path)
    shown = np.random.default_rng(0).standard_normal((3, 5, world.n_features)).astype(np.float32)
    assert np.array_equal(read.act(shown), agent.act(shown)) and read.act(shown).shape == (3, 5)
    (tmp_path / "agent.json").write_text(json.dumps({"kind": "ppo"}))
    with pytest.raises(ValueError, match="not an agent that this version can read"):
        Agent.load(tmp_path)


def test_stable_baselines3_never_stores_or_loads_anything():
    for path in [path for room in ("engine", "models", "strategies") for path in (ROOT / room).rglob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        theirs = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stable_baselines3")
            for alias in node.names
        } | {"SlotDQN", "model"}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value).split(".")[-1]
                assert not (node.func.attr in ("load", "save") and owner in theirs), f"{path}:{node.lineno}"
                assert node.func.attr not in OF_CODE, f"{path}:{node.lineno}"
