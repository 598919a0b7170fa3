from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.models.promise import expected_correlation
from clusterfolio.strategies.allocation import Allocator
from clusterfolio.strategies.diversification import effective_bets, log_returns
from clusterfolio.strategies.holding import Holding
from clusterfolio.strategies.joint import joint_picks
from clusterfolio.strategies.policy import Clusters, PortfolioState
from clusterfolio.strategies.selection import SelectionConfig
from clusterfolio.strategies.shrinkage import mean_correlation, shrunk
from tests.conftest import three_clusters


def worth_of(picks, score, load):
    """Scores less what each pair costs, once."""
    chosen = [at for at in picks if at >= 0]
    return score[chosen].sum() - np.triu(load[np.ix_(chosen, chosen)], 1).sum()


def drawn(seed, n_groups=4, n_accounts=3):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, n_groups)
    n = sizes.sum()
    groups = np.split(rng.permutation(n), sizes.cumsum()[:-1])
    scores = rng.normal(size=(n_accounts, n))
    load = np.abs(rng.normal(size=(n, n)))
    return [(np.tile(at, (n_accounts, 1)), scores[:, at]) for at in groups], scores, load + load.T


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), most=st.integers(0, 4))
def test_no_single_exchange_is_better_and_accounts_do_not_look_at_each_other(seed, most):
    groups, scores, load = drawn(seed)
    found = joint_picks(groups, load, most)
    assert ((found >= 0).sum(axis=1) == (most or 4)).all()
    for account, picks in enumerate(found):
        alone = [(members[[account]], given_for[[account]]) for members, given_for in groups]
        np.testing.assert_array_equal(joint_picks(alone, load, most)[0], picks)
        own = worth_of(picks, scores[account], load)
        for number, (members, _) in enumerate(groups):
            if picks[number] >= 0:
                assert picks[number] in members[account]
                others = [worth_of([*picks[:number], at, *picks[number + 1 :]], scores[account], load)
                          for at in members[account]]  # fmt: skip
                assert own >= max(others) - 1e-9


def test_most_often_nothing_at_all_is_better():
    missed = 0.0
    for seed in range(40):
        groups, scores, load = drawn(seed, n_accounts=1)
        found = worth_of(joint_picks(groups, load, 0)[0], scores[0], load)
        best = max(worth_of(picks, scores[0], load) for picks in product(*(members[0] for members, _ in groups)))
        missed += best - found > 1e-9
    assert missed <= 8


def test_without_a_cost_of_pairs_the_best_of_each_group_is_picked():
    groups, _, load = drawn(1)
    found = joint_picks(groups, 0 * load, 0)
    np.testing.assert_array_equal(found[0], [members[0][values[0].argmax()] for members, values in groups])


@pytest.fixture(scope="module")
def market():
    panel = three_clusters(per_cluster=12)
    names = list(panel.tradable)
    rng = np.random.default_rng(0)
    labels = pd.Series(rng.permutation(len(names)) % 9, names)  # clusters that know nothing of the groups
    return panel, Clusters(labels=labels, classes=panel.assets.loc[names, "asset_class"])


def held(market, state=None, **kwargs):
    panel, clusters = market
    config = SelectionConfig(sharpe_sessions=120, apart_sessions=252, **kwargs)
    return Holding(config, Allocator()).hold(clusters, panel, state or PortfolioState())


def test_picks_have_less_in_common_than_the_best_sharpe_ratios(market):
    returns = log_returns(market[0])
    bets = {by: effective_bets(returns[held(market, by=by).selected].corr().to_numpy()) for by in ("sharpe", "joint")}
    assert bets["joint"] > bets["sharpe"]


def test_the_score_is_the_shrunk_ratio_and_the_load_the_squared_expected_correlation(market):
    panel, clusters = market
    found = held(market, by="joint", apart=2.0)
    names = sorted(found.sharpe.index)
    returns = panel.session_returns()[names]
    span = returns.iloc[-120:]
    score = shrunk(found.sharpe[names].to_numpy(), 120, mean_correlation(span)).of(found.sharpe[names]).to_numpy()
    load = 2.0 * expected_correlation(np.log1p(returns.iloc[-252:].fillna(0.0).to_numpy())) ** 2
    places = [np.flatnonzero(clusters.labels[names] == label) for label in range(9)]
    expected = joint_picks([(at[None], score[at][None]) for at in places], load, 0)[0]
    assert found.selected == [names[at] for at in expected]


def test_fewer_names_than_clusters_and_why_one_is_sold(market):
    every = held(market, by="joint")
    some = held(market, PortfolioState(pd.Series(1 / 9, every.selected), 0.0), by="joint", names=5)
    assert len(some.selected) == 5 and some.weights.tolist() == pytest.approx([0.2] * 5)
    gone = set(every.selected) - set(some.selected)
    assert gone and all(some.reasons[name].startswith("joint: ") for name in gone)


def test_a_head_start_keeps_what_is_held(market):
    _, clusters = market
    first = {label: names.index[-1] for label, names in clusters.labels.groupby(clusters.labels)}
    state = PortfolioState(pd.Series(1 / 9, list(first.values())), 0.0)
    assert held(market, state, by="joint", head_start=1e6).selected == list(first.values())
    assert held(market, state, by="joint").selected != list(first.values())


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"by": "luck"}, "selection.by: got 'luck', expected 'sharpe' or 'joint'"),
        ({"names": 5}, "selection.names: got 5, which needs selection.by = 'joint'"),
        ({"by": "joint", "per_cluster": 2}, "selection.per_cluster: got 2, expected 1 with by = 'joint'"),
        ({"by": "joint", "apart": -1.0}, "selection.apart: got -1.0, expected 0 or more"),
    ],
)
def test_what_does_not_go_together_is_refused(kwargs, said):
    with pytest.raises(ValueError, match=said):
        SelectionConfig(**kwargs)
