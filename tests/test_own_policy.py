"""A policy of one's own goes the whole way: run, walk-forward, resume, decide, verdict, comparison, leakage check."""

import json
import tomllib
from dataclasses import replace

import pandas as pd
import pytest
from click.testing import CliRunner

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.config.run import dump, make_config
from clusterfolio.engine.config.settings import merge
from clusterfolio.strategies.cluster_policy import ClusterPolicy
from clusterfolio.strategies.policy import Learner, Policy, PolicyError, PortfolioState, ask
from tests.conftest import FixedPolicy, three_clusters
from tests.kill_run import kill_in_stage
from tests.market_files import DATES, source_options
from tests.own_policies import Calm, Failing, Momentum, Wrong
from tests.walk_forward_files import ROLLING

KEPT = ("returns.csv", "weights.csv", "transactions.csv", "positions.csv")
SHORT = ("--set", "dates.history_days=200", "--quiet")


def invoke(*args):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.output


def options(market, policy, *more):
    return [*source_options(market), "--policy", f"tests.own_policies:{policy}", *SHORT, *more]


@pytest.fixture(scope="module")
def momentum(market, tmp_path_factory):
    out = tmp_path_factory.mktemp("momentum") / "run"
    invoke("run", *options(market, "Momentum"), *DATES, "--set", "policy.n_assets=3", "--out", out,
           "--set", "significance.portfolios=100")  # fmt: skip
    return out


@pytest.fixture(scope="module")
def calm(market, tmp_path_factory):
    out = tmp_path_factory.mktemp("calm") / "run"
    invoke("run", *options(market, "Calm"), *ROLLING, "--no-report", "--set", "significance.on=false",
           "--set", "selection.min_sessions=60", "--out", out)  # fmt: skip
    return out


def test_a_policy_without_clusters_is_run_judged_and_reported(momentum):
    weights = pd.read_csv(momentum / "weights.csv", index_col="date")
    assert ((weights.drop(columns="CASH") > 0).sum(axis=1) == 3).all()
    assert (momentum / "report.html").is_file() and not (momentum / "passports.csv").exists()
    evidence = json.loads((momentum / "significance.json").read_text())
    assert "partitions" not in evidence["luck"] and "clusters" not in evidence["verdict"]["headline"]
    facts = json.loads((momentum / "run.json").read_text())
    assert facts["config"]["policy"] == {"name": "tests.own_policies:Momentum", "n_assets": 3}
    assert not (momentum / "model").exists()  # nothing was learned
    words = json.dumps(evidence["verdict"])
    assert "One training seed" not in words and "training seeds" not in words and "encoder" not in words


@pytest.mark.acceptance
def test_its_later_commands_know_it(momentum, market):
    invoke("significance", momentum, "--quiet")
    assert "left out: window PCA clusters" in invoke("compare", momentum, "--seeds", 0, "--offsets", 2, "--trust")
    day = pd.read_csv(momentum / "weights.csv")["date"].iloc[-1]
    orders = invoke("decide", momentum, "--asof", day, "--quiet", "--trust")
    names = pd.read_csv(momentum / "weights.csv", index_col="date").loc[day].drop("CASH")
    assert all(name in orders for name in names[names > 0].index)
    invoke("report", momentum)


def test_the_check_for_leakage_takes_it_from_the_configuration(market):
    named = ["--set", "policy.name=tests.own_policies:Calm", "--set", "selection.min_sessions=60"]
    text = invoke("check", "leakage", *source_options(market), *named, *SHORT, *DATES, "--dates", 1)
    assert "No leak found" in text


def test_what_is_learned_per_fold_is_stored_and_described(calm):
    facts = json.loads((calm / "run.json").read_text())
    assert len(facts["folds"]) == 3
    stored = [json.loads((calm / "folds" / f"{n:03d}" / "names.json").read_text()) for n in range(3)]
    assert facts["learned"] == {"names": stored[-1][0], "span": stored[-1][1]}
    for fold, (_, span) in zip(facts["folds"], stored, strict=True):
        assert fold["train_start"] <= span[0] and span[1] <= fold["train_end"]


def test_a_killed_run_of_it_goes_on_with_the_same_result(calm, market, tmp_path):
    out = tmp_path / "run"
    args = ["run", *options(market, "Calm"), *ROLLING, "--no-report", "--set", "significance.on=false",
            "--set", "selection.min_sessions=60", "--out", str(out)]  # fmt: skip
    assert kill_in_stage(args, "backtest", 0.0) == "backtest"
    invoke(*args)
    for name in KEPT:
        assert (out / name).read_bytes() == (calm / name).read_bytes(), name


def test_a_stored_policy_serves_another_run(calm, market, tmp_path):
    out = tmp_path / "again"
    invoke("run", "--model", calm, "--no-report", "--quiet", "--trust", "--out", out)
    assert (out / "weights.csv").read_bytes() == (calm / "weights.csv").read_bytes()


def test_the_configuration_is_read_back_and_refuses_what_the_policy_does_not_read():
    settings = {"policy": {"name": "tests.own_policies:Calm", "n_assets": 2}, "selection": {"min_sessions": 10}}
    config = make_config(settings)
    assert config.policy.settings == {"n_assets": 2}
    assert make_config(tomllib.loads(dump(config))) == config
    with pytest.raises(ValueError, match=r"clustering.n_clusters = 5: policy .* does not read \[clustering\]"):
        make_config(merge(settings, {"clustering": {"n_clusters": 5}}))
    with pytest.raises(ValueError, match=r"unknown key policy.n_names .*available: n_assets"):
        make_config({"policy": {"name": "tests.own_policies:Calm", "n_names": 2}})
    with pytest.raises(ValueError, match="has its keys in sections"):
        make_config({"policy": {"name": "cluster", "n_names": 2}})
    with pytest.raises(ValueError, match="no method decide"):
        make_config({"policy": {"name": "tests.own_policies:Undecided"}})
    with pytest.raises(ValueError, match="expected 'cluster'"):
        make_config({"policy": {"name": "clusters"}})


def test_a_policy_that_learns_and_cannot_be_stored_is_refused_before_anything_is_done(market, tmp_path):
    result = CliRunner().invoke(main, ["run", *options(market, "Forgetful"), *DATES, "--out", str(tmp_path / "run")])
    assert result.exit_code == 2 and "it has fit() but no save() and no load()" in result.output


@pytest.mark.parametrize(
    "what, words",
    [
        ("series", "returned Series; expected a Decision"),
        ("tensor", "returned NoneType; expected a Decision"),
        ("dictionary", "weights of type dict; expected a Decision"),
        ("yesterday", "expected the panel's last day"),
        ("unknown", "'NOPE', not a symbol of the panel"),
        ("nan", "the weight nan for"),
        ("short", "the weight -0.5 for"),
        ("too much", "sum to 1.8; expected at most 1"),
        ("twice", "twice"),
        ("words", "expected numbers"),
        ("text", "a decision as of '2024-08-09', no pandas Timestamp; expected the panel's last day, panel.dates[-1]"),
        ("benchmark", "'MKT', which is the benchmark and not in the universe (panel.tradable)"),
    ],
)
def test_what_cannot_be_traded_is_refused_in_one_sentence(what, words):
    with pytest.raises(PolicyError, match=r"policy Wrong: decide\(\) on .*") as raised:
        ask(Wrong(what), three_clusters(), PortfolioState())
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_what_a_policy_raises_names_it_the_day_and_the_line(market, tmp_path):
    with pytest.raises(PolicyError, match=r"policy Failing: decide\(\) on 2024-08-09 raised ZeroDivision") as raised:
        ask(Failing(), three_clusters(), PortfolioState())
    assert "(own_policies.py, line " in str(raised.value) and isinstance(raised.value.__cause__, ZeroDivisionError)
    args = ["run", *options(market, "Failing"), *DATES, "--set", "policy.late=true", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 2 and "policy Failing: decide() on 2024-04-30 raised ZeroDivisionError" in result.output


def test_a_fault_of_our_own_policy_stays_one(monkeypatch):
    def fail(*args):
        raise KeyError("sharpe")

    monkeypatch.setattr(ClusterPolicy, "decide", fail)
    with pytest.raises(KeyError):
        ask(object.__new__(ClusterPolicy), three_clusters(), PortfolioState())


def test_a_name_that_is_no_member_on_the_day_is_not_held():
    panel = three_clusters()
    member = pd.DataFrame(True, panel.dates, panel.symbols)
    member.loc[panel.dates[-5:], "A1"] = False
    panel = replace(panel, member=member)
    with pytest.raises(PolicyError, match="'A1', which is no member of the universe on that day"):
        ask(FixedPolicy({panel.dates[-1]: {"A0": 0.5, "A1": 0.5}}), panel, PortfolioState())
    ask(FixedPolicy({panel.dates[-1]: {"A0": 0.5, "A1": 0.0}}), panel, PortfolioState())


def test_the_command_says_it_in_one_line(market, tmp_path):
    args = ["run", *options(market, "Wrong"), *DATES, "--set", "policy.what=too much", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 2
    assert "policy Wrong: decide() on 2024-03-28 returned weights that sum to 1.8; expected at most 1" in result.output
    assert "Traceback" not in result.output


def test_the_contracts():
    assert isinstance(Momentum(), Policy) and not isinstance(Momentum(), Learner)
    assert isinstance(Calm(None), Learner)
