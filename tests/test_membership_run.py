"""The whole command under a list of members: nobody is held, clustered or learned from outside its spells."""

import json

import pandas as pd
import pytest

from clusterfolio.engine.leakage.of_run import spells_after
from clusterfolio.engine.trading.market_units import trades_of
from tests.test_look_ahead import decision_days, differences, run

JOINS, LEAVES = "2024-06-10", "2024-08-15"


@pytest.fixture(scope="module")
def symbols(market):
    return sorted(path.stem for path in market.glob("*.parquet") if "=X" not in path.stem)


def listed(path, symbols):
    """Every third symbol joins in the test, every third leaves in it, and one only after its end."""
    rows = [f"{name},{JOINS},2025-01-01" for name in symbols[::3]] + [f"{name},,{LEAVES}" for name in symbols[1::3]]
    path.write_text("\n".join(["symbol,from,to", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def members_run(market, symbols, tmp_path_factory):
    folder = tmp_path_factory.mktemp("members")
    file = listed(folder / "list.csv", symbols)
    return file, run(market, folder / "run", "--set", f"data.membership={file}")


def test_nobody_is_held_or_clustered_outside_its_spells(members_run, symbols):
    _, out = members_run
    clusters = pd.read_csv(out / "clusters.csv", parse_dates=["date"], dtype={"symbol": str})
    early, late = clusters[clusters["date"] < JOINS], clusters[clusters["date"] >= LEAVES]
    assert not set(symbols[::3]) & set(early["symbol"]) and set(symbols[::3]) & set(late["symbol"])
    assert not set(symbols[1::3]) & set(late["symbol"]) and set(symbols[1::3]) & set(early["symbol"])
    assert set(symbols[2::3]) & set(early["symbol"]) and set(symbols[2::3]) & set(late["symbol"])


def test_who_has_left_is_sold_at_the_next_decision(members_run, symbols):
    _, out = members_run
    weights = pd.read_csv(out / "weights.csv", parse_dates=["date"], index_col="date")
    gone = weights.columns.intersection(symbols[1::3])
    held_before = gone[(weights.loc[weights.index < LEAVES, gone] > 0).iloc[-1]]
    assert len(held_before)
    sold = trades_of(pd.read_csv(out / "transactions.csv", parse_dates=["date"]))
    first_after = weights.index[weights.index >= LEAVES][0]
    for name in held_before:
        sales = sold[(sold["symbol"] == name) & (sold["amount"] < 0)]
        assert sales["date"].iloc[-1] == sold.loc[sold["date"] > first_after, "date"].iloc[0]


def test_training_and_run_json_know_the_members(market, members_run, tmp_path):
    file, out = members_run
    facts = json.loads((out / "run.json").read_text())
    everybody = json.loads((run(market, tmp_path / "all") / "run.json").read_text())
    assert facts["training"]["windows"] < everybody["training"]["windows"]
    assert facts["fingerprint"]["data"] != everybody["fingerprint"]["data"] and everybody["membership"] is None
    told = facts["membership"]
    assert told["list"] == file.name and len(told["decisions"]) == len(decision_days(out))
    counted = [row["members"] for row in told["decisions"]]
    assert counted[0] < max(counted) and told["decisions"][0]["priced"] == told["decisions"][0]["members"]


def test_what_the_list_says_of_later_days_changes_nothing_up_to_a_decision_day(market, members_run, tmp_path):
    file, out = members_run
    day = decision_days(out).iloc[1]  # before anyone joins
    poisoned = tmp_path / "poisoned.csv"
    changed = spells_after(pd.read_csv(file, dtype=str, keep_default_na=False), day)
    changed.to_csv(poisoned, index=False)
    other = run(market, tmp_path / "other", "--set", f"data.membership={poisoned}")
    assert differences(out, other, day) == []
    assert "clusters" in differences(out, other, decision_days(out).iloc[-1])  # and the change is a change
