import math
from dataclasses import replace

import numpy as np
import pytest

from clusterfolio.engine.ledger.explain import common_sessions, compare, conclusion, differences, find_trial, records
from clusterfolio.engine.ledger.ledger import Ledger
from tests.engine.ledger.made_trials import make_trial

FACTS = {
    "device": "cpu", "threads": 1, "cash": "constant 3 %", "universe": {"tradable": 10},
    "panel": ["2020-01-02", "2024-12-31"], "model": "a" * 64, "versions": {"torch": "2.6.0", "numpy": "2.4.0"},
}  # fmt: skip


def trial(seed=0, **changes):
    return make_trial(seed, facts={**FACTS, **changes.pop("facts", {})}, **changes)


def causes(first, second) -> dict[str, str]:
    return {one.what: one.cause for one in differences(first, second)}


def test_the_same_trial_differs_in_nothing():
    assert differences(trial(), trial()) == []
    assert conclusion(trial(), trial(), []).startswith("One trial")


@pytest.mark.parametrize(
    ("other", "what", "cause"),
    [
        (trial(data="e" * 64), "data", "data"),
        (trial(code="b" * 16), "code", "code"),
        (trial(facts={"device": "cuda"}), "device", "device"),
        (trial(facts={"threads": 2}), "threads", "threads"),
        (trial(facts={"cash": "DFF"}), "cash rate", "cash rate"),
        (trial(facts={"versions": {"torch": "2.7.0", "numpy": "2.4.0"}}), "version of torch", "package versions"),
        (trial(facts={"versions": {"torch": "2.6.0"}}), "version of numpy", "package versions"),
        (trial(facts={"model": "b" * 64}), "model", ""),
        (trial(benchmark="QQQ"), "benchmark", ""),
        (trial(days=31), "test", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_thing_that_may_differ_is_named_with_what_it_is_a_matter_of(other, what, cause):
    assert causes(trial(), other) == {what: cause}


def test_a_seed_is_named_once_and_settings_one_by_one():
    first, second = trial(0), trial(1)
    config = {**second.config, "trading": {**second.config["trading"], "rebalance": "week"}, "risk": {"target": 0.1}}
    config["data"] = {**config["data"], "path": ["elsewhere/"]}
    second = replace(second, config=config)
    assert causes(first, second) == {
        "seed": "seed",
        "trading.rebalance": "settings",
        "risk.target": "settings",
        "data.path": "",
    }
    by_name = {one.what: (one.first, one.second) for one in differences(first, second)}
    assert by_name["trading.rebalance"] == ("'month'", "'week'") and by_name["risk.target"] == ("-", "0.1")
    assert [one.what for one in differences(first, second)][-1] == "data.path"  # what decides nothing comes last
    said = conclusion(first, second, differences(first, second))
    assert said == "Other daily returns, and what decides them differs: seed, settings."


def test_what_the_differences_come_to():
    newer = trial(code="b" * 16)
    assert conclusion(trial(), newer, differences(trial(), newer)) == (
        "The same daily returns to the last bit, although these differ: code."
    )
    unexplained = trial(returns=trial().returns * 2)
    assert "code of your own" in conclusion(trial(), unexplained, differences(trial(), unexplained))


def test_figures_side_by_side():
    table = compare(trial(headline={"sharpe": 0.5, "sortino": None}), trial(headline={"sharpe": 0.75, "sortino": 1.0}))
    assert table.loc["sharpe"].tolist() == [0.5, 0.75, 0.25]
    assert math.isnan(table.loc["sortino", "first"]) and math.isnan(table.loc["sortino", "difference"])


def test_common_sessions_and_their_correlation():
    first, later = trial(0), trial(1, start="2024-01-08")  # a week later: 25 of 30 weekdays in common
    sessions, correlation = common_sessions(first, later)
    assert sessions == 25
    columns = [first.returns["strategy"].to_numpy()[5:], later.returns["strategy"].to_numpy()[:25]]
    assert correlation == pytest.approx(np.corrcoef(columns)[0, 1])
    assert common_sessions(first, first) == (30, pytest.approx(1.0))
    nothing = common_sessions(first, trial(1, start="2025-01-01"))
    assert nothing[0] == 0 and math.isnan(nothing[1])


def test_a_trial_is_found_by_the_beginning_of_its_key(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    keys = [ledger.append(trial(seed)).trial for seed in range(20)]
    assert find_trial(keys[3][:10].upper(), ledger).key == keys[3]
    with pytest.raises(ValueError, match="neither a run directory nor"):
        find_trial(keys[0][:3], ledger)


def test_a_beginning_that_several_share_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("clusterfolio.engine.ledger.explain.FEWEST_DIGITS", 1)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    first = [ledger.append(trial(seed)).trial[0] for seed in range(17)]  # 17 keys, 16 digits: two begin alike
    shared = next(digit for digit in first if first.count(digit) > 1)
    with pytest.raises(ValueError, match=f"{shared}: the keys .* begin with it; give more digits"):
        find_trial(shared, ledger)


def test_records_are_plain_values(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    key = ledger.append(trial()).trial
    (row,) = records(ledger.trials())
    assert row["trial"] == key and row["start"] == "2024-01-01" and row["sortino"] is None and row["sharpe"] == 0.5
    assert row["at"].endswith("Z") and row["simulated"] is False
