"""Why a pick was picked: the passport's figures against the rule that picked."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.models.promise import expected_correlation
from clusterfolio.strategies.allocation import Allocator
from clusterfolio.strategies.holding import Holding
from clusterfolio.strategies.passports.beside import BESIDE, FIGURES, beside_the_others
from clusterfolio.strategies.passports.passport import choice
from clusterfolio.strategies.policy import Clusters, Decision, PortfolioState
from clusterfolio.strategies.selection import SelectionConfig
from tests.conftest import three_clusters

ASOF = 300


@pytest.fixture(scope="module")
def panel():
    """Six clusters of what three factors move: names of different clusters have much in common."""
    plain = three_clusters()
    return plain.until(plain.dates[ASOF])


def decided(panel, held=(), **config):
    names = list(panel.tradable)
    labels = pd.Series(np.arange(len(names)) // 3, names)
    selection = SelectionConfig(sharpe_sessions=250, **config)
    holding = Holding(selection, Allocator())
    state = PortfolioState(weights=pd.Series(0.1, list(held)))
    clusters = Clusters(labels=labels, classes=pd.Series("equity", names))
    decision = Decision.of(panel.dates[-1], clusters, holding.hold(clusters, panel, state))
    return decision, holding, state


def facts(panel, decision, holding, state):
    return beside_the_others(decision, choice(decision), panel, holding, state.weights)


def test_points_are_those_that_the_joint_rule_picked_by(panel):
    decision, holding, state = decided(panel, by="joint", apart=2.0)
    found = facts(panel, decision, holding, state)
    known = np.log1p(panel.session_returns()[list(panel.tradable)].fillna(0.0).to_numpy())
    alike = pd.DataFrame(expected_correlation(known) ** 2, panel.tradable, panel.tradable)
    outlook = holding.outlook(panel.session_returns(), panel.assets, decision.sharpe, decision.labels, None)
    for cluster, pick in zip(np.unique(decision.labels), decision.selected, strict=True):
        members = decision.labels.index[decision.labels == cluster]
        others = [name for name in decision.selected if name != pick]
        points = outlook.belief.of(decision.sharpe[members]) - 2.0 * alike.loc[members, others].sum(axis=1)
        ordered = points.sort_values(ascending=False)
        assert pick == ordered.index[0] and found.loc[cluster, "runner_up"] == ordered.index[1]
        assert found.loc[cluster, "lead"] == pytest.approx(ordered.iloc[0] - ordered.iloc[1])
        assert found.loc[cluster, "pick_shared"] == pytest.approx(alike.loc[pick, others].sum())
        assert found.loc[cluster, "runner_up_believed"] == pytest.approx(
            outlook.belief.of(decision.sharpe[ordered.index[1]])
        )


def test_a_name_that_is_held_has_its_head_start_and_leads_by_it(panel):
    plain = decided(panel, by="joint", apart=0.0)
    before = facts(panel, *plain)
    stayed = before["runner_up"].iloc[0]
    after = decided(panel, held=[stayed], by="joint", apart=0.0, head_start=10.0)
    found = facts(panel, *after).iloc[0]
    assert found["picks"] == stayed and found["pick_head_start"] == 10.0 and found["runner_up_head_start"] == 0.0
    assert found["runner_up"] == before["picks"].iloc[0]
    assert found["lead"] == pytest.approx(10.0 - before["lead"].iloc[0])


def test_a_cluster_left_out_has_a_runner_up_and_no_figures_of_a_pick(panel):
    decision, holding, state = decided(panel, by="joint", names=4)
    found = facts(panel, decision, holding, state)
    out = found[found["picks"] == ""]
    assert len(out) == 2 and (out["runner_up"] != "").all()
    assert out[["lead", *(f"pick_{name}" for name in FIGURES)]].isna().all(axis=None)


def test_under_the_best_sharpe_ratio_runner_up_and_lead_stay_and_the_rest_is_told(panel):
    decision, holding, state = decided(panel)
    plain, found = choice(decision), facts(panel, decision, holding, state)
    pd.testing.assert_frame_equal(found[plain.columns], plain)
    joint = replace(holding, selection=replace(holding.selection, by="joint"))
    beside = facts(panel, decision, joint, state)
    pick_columns = [name for name in BESIDE if name.startswith("pick_")]
    pd.testing.assert_frame_equal(found[pick_columns], beside[pick_columns])  # of a part of the assets or of all
    assert found["pick_believed"].between(decision.sharpe.min(), decision.sharpe.max()).all()
