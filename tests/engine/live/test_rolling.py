"""A rolling policy on paper: where its span has ended it is trained before planning, as the run itself would have."""

import json

import pandas as pd
import pytest

from clusterfolio.engine.folds.stored_policies import CARD
from clusterfolio.engine.folds.walk_forward import Fold
from clusterfolio.engine.live.market import current_fold
from clusterfolio.engine.live.terms import Halted
from tests.test_commands import invoke
from tests.walk_forward_files import read_facts, rolling_options


@pytest.mark.acceptance
def test_a_rolling_policy_whose_span_has_ended_decides_as_a_run_that_goes_on(market, tmp_path):
    short, whole = tmp_path / "short", tmp_path / "whole"
    invoke(*rolling_options(market, short, "--end", "2024-09-27"))
    invoke(*rolling_options(market, whole))
    assert len(read_facts(short)["folds"]) < len(read_facts(whole)["folds"])
    weights = pd.read_csv(whole / "weights.csv", index_col="date")
    day = next(day for day in weights.index if day > "2024-10-01")
    home = ("--home", tmp_path / "account")
    said = invoke("paper", "plan", short, "--start", day, "--json", "-q", "--limit", "max_untradable=1", *home)
    plan = json.loads(said.stdout)
    chosen = set(weights.columns[weights.loc[day] > 0]) - {"CASH"}
    assert set(plan["plan"]["targets"]) | set(plan["plan"]["skipped"]) == chosen
    (trained,) = [fold for fold in (tmp_path / "account" / "folds").iterdir() if fold.is_dir()]
    span = json.loads((trained / CARD).read_text())
    theirs = [fold for fold in read_facts(whole)["folds"] if fold["decides_from"] <= day][-1]
    assert (span["train_start"], span["train_end"]) == (theirs["train_start"], theirs["train_end"])


def test_a_policy_whose_span_has_ended_is_not_asked():
    days = [pd.Timestamp(day) for day in ("2024-01-02", "2024-03-28", "2024-03-28", "2024-04-01", "2024-06-28")]
    last = Fold(0, *days)
    assert current_fold([last], pd.Timestamp("2024-06-28")) is last
    with pytest.raises(Halted, match="2024-04-01 to 2024-06-28 is stale on 2024-07-01"):
        current_fold([last], pd.Timestamp("2024-07-01"))
