"""Learning agents go the whole way as any policy: run, resume, decide, compare, leakage check, paper; nothing leaks."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("stable_baselines3", reason="needs the extra rl")

from clusterfolio.engine.config.run import make_config, to_dict
from clusterfolio.engine.leakage.poison import exchanged
from clusterfolio.feeds.features import with_features
from clusterfolio.models.agents.config import AgentConfig
from clusterfolio.models.clustering import Ward
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.strategies.agents.policy import DQNPolicy, PPOPolicy
from clusterfolio.strategies.agents.rewards import Moments
from clusterfolio.strategies.agents.terms import Terms
from clusterfolio.strategies.embedding import EmbeddingConfig
from clusterfolio.strategies.policy import Learner, PortfolioState, ask
from clusterfolio.strategies.selection import SelectionConfig
from tests.conftest import three_clusters
from tests.kill_run import kill_in_stage
from tests.market_files import run_options, write_market
from tests.test_commands import invoke
from tests.test_look_ahead import decision_days, differences, poison
from tests.walk_forward_files import rolling_options

KINDS = {"ppo": PPOPolicy, "dqn": DQNPolicy}
TINY = AgentConfig(days_apart=21, passes=3, environments=4, copies=2, horizon=2, hidden=8, components=3)
QUICK = ("--set", "agent.passes=4", "--set", "agent.environments=4", "--set", "agent.copies=2", "--set",
         "agent.horizon=3", "--set", "agent.hidden=8")  # fmt: skip


def policy_of(kind, **more):
    encoder = Encoder("transformer", train=TrainConfig(epochs=1, windows_per_epoch=256), lookback=8, device="cpu")
    settings = {"embedding": EmbeddingConfig(span=60, step=10), "selection": SelectionConfig(min_sessions=60)}
    return KINDS[kind](encoder, Ward(4), agent=TINY, terms=Terms(sessions=21), **(settings | more))


@pytest.fixture(scope="module")
def panel():
    return three_clusters(n_days=330, per_cluster=3)


@pytest.fixture(scope="module", params=sorted(KINDS))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(kind, panel):
    return policy_of(kind).fit(panel.until(panel.dates[299]), panel.dates[100])


def held_since(panel, day):
    return PortfolioState(
        pd.Series({"A0": 0.3, "B1": 0.2}), 0.5, {"A0": panel.dates[250], "B1": panel.dates[270]},
        values=pd.Series([100_000.0, 98_000.0], [panel.dates[280], day]),
    )  # fmt: skip


def test_it_decides_within_its_cap_and_is_stored_without_loss(kind, fitted, panel, tmp_path):
    known = panel.until(panel.dates[320])
    state = held_since(panel, known.dates[-1])
    decision = ask(fitted, known, state)
    assert (isinstance(fitted, Learner) and (decision.weights <= TINY.cap + 1e-12).all()) or kind == "dqn"
    fitted.save(tmp_path)
    again = policy_of(kind)
    again.load(tmp_path)
    again.trained_on(*fitted.train_span_)
    pd.testing.assert_series_equal(ask(again, known, state).weights, decision.weights)
    assert again.describe()["fingerprint"] == fitted.describe()["fingerprint"]


def test_what_it_is_shown_at_a_decision_is_what_it_was_shown_in_training(fitted, panel):
    known = panel.until(panel.dates[299])
    world = fitted.world(known, fitted.eyes_)
    seen = []
    honest = fitted.agent_.act
    fitted.agent_.act = lambda shown: seen.append(shown) or honest(shown)
    fitted.decide(known, PortfolioState())
    del fitted.agent_.act
    shown = world.begin(
        np.array([len(world.stages.rows) - 1]), Moments(*np.array([[fitted.start_.a], [fitted.start_.b]]))
    )
    np.testing.assert_allclose(seen[0], shown[:, : seen[0].shape[1]], atol=1e-6)


def test_a_turned_encoder_is_read_as_it_was_before(kind, fitted, panel):
    known = with_features(panel.until(panel.dates[320]))
    before = ask(fitted, known, PortfolioState()).weights
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((fitted.encoder.embed_dim,) * 2))
    fitted.encoder.rotation_ = turn
    fitted.release()
    rows = fitted._unturned(fitted.embedder_.at(known, known.dates[-1:])[0])
    fitted.encoder.rotation_ = None
    fitted.release()
    plain = fitted.embedder_.at(known, known.dates[-1:])[0]
    np.testing.assert_allclose(rows, plain, atol=1e-5)
    pd.testing.assert_series_equal(ask(fitted, known, PortfolioState()).weights, before)


def test_the_future_reaches_neither_what_it_learns_nor_what_it_decides(kind, fitted, panel):
    later = panel.dates[300:]
    changed = {field: getattr(panel, field).copy() for field in ("open", "high", "low", "close")}
    for frame in changed.values():
        frame.loc[later] *= 3.0
    other = replace(panel, **changed)
    again = policy_of(kind).fit(other.until(panel.dates[299]), panel.dates[100])
    assert again.describe()["fingerprint"] == fitted.describe()["fingerprint"]


def test_it_sees_the_encoders_embedding_whatever_the_clusters_are_drawn_from(panel):
    policy = policy_of("ppo", embedding=EmbeddingConfig(kind="pca", span=60))
    policy.encoder.fit(policy.training_windows(panel.until(panel.dates[199]), panel.dates[150]))
    policy.trained_on(panel.dates[150], panel.dates[199])
    world = policy.world(panel.until(panel.dates[199]))
    assert policy.eyes_.directions.shape == (policy.encoder.embed_dim, TINY.components)
    newest = policy.embedder_.at(with_features(panel.until(panel.dates[199])), panel.dates[199:200])[0][:, 0]
    slots = world.stages.picks[-1]
    assert (slots >= 0).sum() == 4
    member = world.stages.slot_of[-1] == 0
    rows = newest[panel.symbols.get_indexer(world.bars.names[member])]
    np.testing.assert_allclose(world.stages.shown[-1, 0, :3], policy.eyes_.embeddings(rows.mean(axis=0)[None])[0],
                               atol=1e-5)  # fmt: skip


def test_its_keys_are_checked_and_said_where_they_do_not_count():
    config = make_config({"policy": {"name": "ppo"}, "agent": {"passes": 3}})
    assert make_config(to_dict(config)) == config and config.agent.passes == 3
    with pytest.raises(ValueError, match=r"agent.passes = 3: policy cluster does not read \[agent\]"):
        make_config({"agent": {"passes": 3}})
    with pytest.raises(ValueError, match=r"policy dqn does not read \[allocation\]"):
        make_config({"policy": {"name": "dqn"}, "allocation": {"temperature": 2.0}})
    with pytest.raises(ValueError, match=r"agent\.copies: got 3, expected a number that divides agent.environments"):
        make_config({"policy": {"name": "ppo"}, "agent": {"copies": 3}})
    with pytest.raises(ValueError, match=r"selection.hysteresis: got .*an agent decides by itself"):
        policy_of("ppo", selection=SelectionConfig(hysteresis=1.0))
    costly = Terms.of(make_config({"trading": {"impact": 1.0}}).trading)
    assert costly.notes == ("the agent learned without trading.impact",)


def test_a_span_that_is_too_short_is_refused_with_what_would_be_right(kind, panel):
    with pytest.raises(ValueError, match="use a longer training span or more history"):
        policy_of(kind).fit(panel.until(panel.dates[75]), panel.dates[60])


# The commands ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agents-market")
    return folder, write_market(folder)


@pytest.fixture(scope="module")
def rolling(kind, files, tmp_path_factory):
    out = tmp_path_factory.mktemp(f"rolling-{kind}") / "run"
    invoke(*rolling_options(files[0], out, "--set", f"policy.name={kind}", *QUICK))
    return out


KEPT = ("returns.csv", "weights.csv", "transactions.csv", "positions.csv")


@pytest.mark.acceptance
def test_a_walk_forward_of_it_killed_while_the_agent_learns_goes_on_to_the_same_bytes(kind, files, rolling, tmp_path):
    options = rolling_options(files[0], tmp_path / "run", "--set", f"policy.name={kind}", *QUICK)
    under_way = tmp_path / ".unfinished-*" / "fold-000.agent"
    assert kill_in_stage(options, "fit", 0.0, until=under_way) in ("fit", "backtest")
    assert not (tmp_path / "run").exists()
    invoke(*options)
    for name in KEPT:
        assert (tmp_path / "run" / name).read_bytes() == (rolling / name).read_bytes(), name
    facts = [json.loads((out / "run.json").read_text()) for out in (tmp_path / "run", rolling)]
    assert len({fold["fingerprint"] for fold in facts[0]["folds"]}) == 3
    assert [fold["fingerprint"] for fold in facts[0]["folds"]] == [fold["fingerprint"] for fold in facts[1]["folds"]]


@pytest.mark.acceptance
def test_its_later_commands_know_it(kind, rolling):
    text = invoke("compare", rolling, "--only", "1/N", "--only", "best of each cluster", "--seeds", 3, "--offsets", 0,
                  "--workers", 1).output  # fmt: skip
    assert "best of each cluster" in text and "turnover of 3 seeds: mean" in text
    assert {"turnover", "sharpe"} <= set(pd.read_csv(rolling / "seeds.csv").columns)
    day = str(decision_days(rolling).iloc[-1].date())
    asked = json.loads(invoke("decide", rolling, "--asof", day, "--json", "-q").stdout)
    assert asked["orders"]


@pytest.mark.acceptance
def test_it_trades_on_paper(kind, files, tmp_path):
    out, home = tmp_path / "run", ("--home", tmp_path / "account")
    invoke(*run_options(files[0], out, "--set", f"policy.name={kind}", *QUICK))
    first, second = (json.loads(invoke("paper", "once", out, "-q", *home, "--json").stdout) for _ in range(2))
    assert first["halted"] == "" and second["looked_at"] > first["looked_at"]
    assert abs(first["day"]["causes"]["unexplained"]) < 0.01


@pytest.mark.acceptance
def test_the_poisoned_future_changes_nothing_of_it_up_to_a_decision_day(kind, files, tmp_path):
    more = ("--set", f"policy.name={kind}", *QUICK)
    clean, out = tmp_path / "clean", tmp_path / "run"
    invoke(*run_options(files[0], clean, *more))
    day = decision_days(clean).iloc[3]
    poison(files[1], exchanged, day, tmp_path / "data")
    invoke(*run_options(tmp_path / "data", out, *more))
    assert not differences(clean, out, day)
    assert differences(clean, out, decision_days(clean).iloc[-1])


@pytest.mark.acceptance
def test_the_check_for_leakage_clears_it(kind, files):
    options = run_options(files[0], "unused", "--set", f"policy.name={kind}", *QUICK)
    options = [part for part in options[1:] if part not in ("--out", "unused", "--quiet", "--no-report")]
    assert "No leak found" in invoke("check", "leakage", *options, "--dates", 1, "-q").output
