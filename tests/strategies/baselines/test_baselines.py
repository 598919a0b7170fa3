"""Baselines: what each holds, that it is shown nothing later, and that its assets are the strategy's."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from sklearn.covariance import LedoitWolf

import clusterfolio.strategies.baselines.rules as baselines
from clusterfolio.feeds.features import FeatureConfig, with_features
from clusterfolio.models.clustering import Ward
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.networks.transformer import TransformerConfig
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.strategies.baselines.fitted import FITTED
from clusterfolio.strategies.baselines.holds import HOLDS
from clusterfolio.strategies.baselines.policies import Baseline, Candidates, Recorded, recent_returns
from clusterfolio.strategies.baselines.rules import RULES, SLOW, View
from clusterfolio.strategies.cluster_policy import ClusterPolicy
from clusterfolio.strategies.embedding import EmbeddingConfig
from clusterfolio.strategies.policy import PortfolioState
from clusterfolio.strategies.selection import SelectionConfig
from tests.conftest import make_panel, random_closes, three_clusters
from tests.eligible import Eligible

EMBEDDING = EmbeddingConfig(span=120, step=10)
SELECTION = SelectionConfig(min_sessions=120, sharpe_sessions=120, volatility_sessions=120)
NOBODY = PortfolioState()


@pytest.fixture(scope="module")
def panel():
    found = three_clusters()
    found.assets["asset_class"] = ["index", *["equity"] * 12, *["bond"] * 6]
    found.assets["sector"] = ["", *["Energy"] * 6, *["Health Care"] * 6, *[""] * 6]
    return with_features(found)


def eligible(lookback=10):
    return Eligible(SELECTION, EMBEDDING, FeatureConfig(), lookback)


def policy(encoder_policy=ClusterPolicy, seed=0):
    encoder = Encoder(
        config=TransformerConfig(embed_dim=8, n_heads=2, feed_forward=16),
        train=TrainConfig(epochs=1, windows_per_epoch=128),
        lookback=10,
        random_state=seed,
    )
    return encoder_policy(encoder, Ward(3), EMBEDDING, SELECTION)


@pytest.fixture(scope="module")
def decision(panel):
    return policy().fit(panel.until("2024-01-31"), start="2023-04-01").decide(panel, NOBODY)


def decide(name, panel, candidates, **settings):
    settings = {"n_clusters": 3, "span": 252} | settings
    return Baseline(RULES[name], candidates, **settings).decide(panel, NOBODY)


def view(returns, **known):
    returns = pd.DataFrame(returns, dtype=float)
    names = returns.columns
    known = {"sharpe": pd.Series(range(len(names)), names, dtype=float), "labels": None} | known
    return View(pd.Timestamp("2024-06-28"), returns, assets=pd.DataFrame(index=names), **known)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_holds_eligible_assets_fully_invested(panel, decision, name):
    if name in SLOW:
        pytest.importorskip("skfolio")
    found = decide(name, panel, Recorded([decision]))
    assert set(found.weights.index) <= set(decision.labels.index)
    assert found.weights.sum() == pytest.approx(1.0) and (found.weights > 0).all()
    assert found.asof == panel.dates[-1] and found.weights.index.is_unique


@pytest.mark.parametrize("name", RULES)
def test_what_comes_later_changes_no_rule(panel, name):
    if name in SLOW:
        pytest.importorskip("skfolio")
    day = panel.dates[-60]
    later = panel.dates > day
    rng = np.random.default_rng(0)
    shape = (later.sum(), len(panel.symbols))
    poisoned = panel.close.copy()
    poisoned.loc[later] *= 1000 * rng.random(shape)
    changed = with_features(make_panel(poisoned, poisoned, benchmark="MKT"))
    for column in ("tradable", "asset_class", "sector"):
        changed.assets[column] = panel.assets[column]
    candidates = eligible()

    def labelled(cut):
        found = candidates(cut)
        return Candidates(found.sharpe, pd.Series(np.arange(len(found.sharpe)) % 3, found.sharpe.index), found.excluded)

    closes_only = make_panel(panel.close, panel.close, benchmark="MKT")
    closes_only.assets[:] = changed.assets
    honest = decide(name, with_features(closes_only).until(day), labelled)
    pd.testing.assert_series_equal(honest.weights, decide(name, changed.until(day), labelled).weights)
    assert not honest.weights.equals(decide(name, changed, labelled).weights) or name == "1/N"


@pytest.mark.parametrize("name", FITTED)
def test_a_fitted_baseline_decides_on_the_strategys_assets_and_sees_its_training_only(panel, decision, name):
    end = pd.Timestamp("2024-01-31")
    found = policy(FITTED[name]).fit(panel.until(end), start="2023-04-01")
    made = found.decide(panel, NOBODY)
    assert list(made.labels.index) == list(decision.labels.index) and len(made.selected) == 3
    assert found.train_span_ == (pd.Timestamp("2023-04-03"), end)
    again = policy(FITTED[name]).fit(panel.until(end), start="2023-04-01").decide(panel, NOBODY)
    pd.testing.assert_series_equal(made.weights, again.weights)


def test_an_untrained_encoder_has_its_first_weights_and_a_fitted_scaler(panel):
    spans = [panel.until(day) for day in ("2024-01-31", "2024-05-31")]
    encoders = [policy(FITTED["untrained encoder"]).fit(span).encoder for span in spans]
    weights = [[p.detach().numpy() for p in encoder.module_.parameters()] for encoder in encoders]
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))
    trained = policy().fit(spans[0]).encoder
    assert not np.array_equal(weights[0][0], next(trained.module_.parameters()).detach().numpy())


def test_without_a_strategy_the_same_assets_are_eligible(panel, decision):
    found = eligible()(panel)
    pd.testing.assert_series_equal(found.sharpe, decision.sharpe)
    assert found.excluded == decision.excluded


def test_recorded_candidates_are_those_of_their_day_only(panel, decision):
    assert Recorded([decision])(panel).labels is decision.labels
    with pytest.raises(ValueError, match="on which nothing was decided"):
        Recorded([decision])(panel.until("2024-03-01"))


# What each rule holds --------------------------------------------------------------------------------------------


def test_one_over_n():
    assert RULES["1/N"](view({"A": [0.01], "B": [0.02]})).weights.to_dict() == {"A": 0.5, "B": 0.5}


def test_inverse_volatility():
    found = RULES["inverse volatility"](view({"CALM": [0.01, -0.01, 0.01], "WILD": [0.03, -0.03, 0.03]})).weights
    assert found.to_dict() == pytest.approx({"CALM": 0.75, "WILD": 0.25})


def test_minimum_variance_is_that_of_the_shrunk_covariance():
    pytest.importorskip("skfolio")
    rng = np.random.default_rng(0)
    returns = rng.normal(0, [0.01, 0.02, 0.01, 0.015], (252, 4)) + rng.normal(0, 0.01, (252, 1)) * [1, 1, 0.2, 0.6]
    found = RULES["minimum variance"](view(dict(zip("ABCD", returns.T, strict=True)))).weights
    covariance = LedoitWolf().fit(returns).covariance_ * 1e4
    best = minimize(
        lambda w: w @ covariance @ w,
        np.full(4, 0.25),
        bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        tol=1e-12,
    )
    np.testing.assert_allclose(found.reindex(list("ABCD"), fill_value=0.0), best.x, atol=2e-3)


def test_hierarchical_risk_parity_splits_risk_between_unrelated_assets():
    """Of three uncorrelated assets the weights are those of inverse variance (Lopez de Prado 2016)."""
    pytest.importorskip("skfolio")
    scale = np.array([0.01, 0.02, 0.01])
    q, _ = np.linalg.qr(np.column_stack([np.ones(252), np.random.default_rng(0).normal(size=(252, 3))]))
    returns = q[:, 1:] * scale * np.sqrt(252)  # exactly uncorrelated, of mean 0
    found = RULES["hierarchical risk parity"](view(dict(zip("ABC", returns.T, strict=True)))).weights
    covariance = LedoitWolf().fit(returns).covariance_
    inverse = 1 / np.diag(covariance)
    np.testing.assert_allclose(found, inverse / inverse.sum(), rtol=0.05)


def test_the_best_sharpe_ratios_of_all():
    sharpe = pd.Series({"A": 0.1, "B": 3.0, "C": np.nan, "D": 2.0})
    found = RULES["best Sharpe of all"](view({name: [0.0] for name in "ABCD"}, sharpe=sharpe, n_clusters=2))
    assert found.weights.to_dict() == {"B": 0.5, "D": 0.5}


def test_momentum_leaves_the_last_month_out():
    returns = pd.DataFrame(0.0, index=range(252), columns=["OLD", "NEW", "FLAT"])
    returns.iloc[10, 0] = 0.5
    returns.iloc[-21, 1] = 2.0  # in the last month: does not count
    found = RULES["momentum 12-1"](view(returns, n_clusters=1))
    assert list(found.weights.index) == ["OLD"]
    returns.iloc[-22, 1] = 2.0
    assert list(RULES["momentum 12-1"](view(returns, n_clusters=1)).weights.index) == ["NEW"]


@pytest.mark.parametrize("name", ["correlation clusters", "PCA clusters", "SVD clusters"])
def test_classical_clusters_find_the_planted_ones(panel, decision, name):
    found = decide(name, panel, Recorded([decision]))
    for group in "ABC":
        assert len(set(found.labels[found.labels.index.str.startswith(group)])) == 1
    best = decision.sharpe.groupby(decision.sharpe.index.str[0]).idxmax()
    assert sorted(found.selected) == sorted(best)


def test_classes_and_sectors_instead_of_clusters(panel, decision):
    found = decide("asset classes", panel, Recorded([decision]))
    best = decision.sharpe.groupby(decision.sharpe.index.str[0]).idxmax()  # the classes given are the planted groups
    assert sorted(found.selected) == sorted(best)


def test_a_random_asset_comes_from_each_learned_cluster_and_random_clusters_have_its_sizes(panel, decision):
    found = decide("random asset per cluster", panel, Recorded([decision]))
    assert sorted(decision.labels[found.selected]) == [0, 1, 2]
    drawn = decide("random clusters", panel, Recorded([decision]))
    assert sorted(drawn.labels.value_counts()) == sorted(decision.labels.value_counts())
    other = [decide("random asset per cluster", panel, Recorded([decision]), random_state=n).selected for n in range(5)]
    assert other[0] == found.selected and len({tuple(names) for names in other}) > 1
    with pytest.raises(ValueError, match="needs the strategy's clusters"):
        RULES["random asset per cluster"](view({"A": [0.0]}))


def test_nothing_eligible_is_all_cash(panel):
    found = decide("1/N", panel, lambda cut: Candidates(pd.Series(dtype=float), pd.Series(dtype=int), {"A0": "why"}))
    assert found.weights.empty and found.excluded == {"A0": "why"}


def test_recent_returns_are_the_panels():
    closes = random_closes(300, "ABC", seed=1)
    closes.iloc[:40, 1] = np.nan
    closes.iloc[250:254, 2] = np.nan
    panel = make_panel(closes)
    expected = panel.session_returns()[["B", "C"]]
    for sessions in (20, 252, 1000):
        found = recent_returns(panel, ["B", "C"], sessions)
        pd.testing.assert_frame_equal(found, expected.iloc[1:].iloc[-sessions:])


def test_what_cannot_be_carried_out_is_named(panel, monkeypatch):
    assert baselines.unavailable(panel).keys() <= set(SLOW)
    monkeypatch.setattr(baselines.optimised, "available", lambda: False)
    panel = make_panel(random_closes(3, "AB"))
    found = baselines.unavailable(panel)
    assert set(found) == {*SLOW, "asset classes"} and "clusterfolio[risk]" in found["minimum variance"]


def test_every_policy_to_beat_says_what_it_holds():
    assert list(HOLDS) == [*RULES, *FITTED] and all(HOLDS.values())
