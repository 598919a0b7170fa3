from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.feeds.features import with_features
from clusterfolio.models.blas import one_blas_thread
from clusterfolio.models.clustering import Ward
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.strategies.cluster_policy import ClusterPolicy
from clusterfolio.strategies.diversification import log_returns
from clusterfolio.strategies.embedding import EmbeddingConfig
from clusterfolio.strategies.policy import PortfolioState
from clusterfolio.strategies.returns_embedding import EmbeddedReturns
from clusterfolio.strategies.selection import SelectionConfig, top_sharpe_per_cluster
from clusterfolio.strategies.sharpe import sharpe_ratios
from clusterfolio.strategies.windows import panel_windows
from tests.conftest import three_clusters

SELECTION = SelectionConfig(sharpe_sessions=120, min_sessions=120, volatility_sessions=120)


def make_policy(**kwargs):
    encoder = Encoder(train=TrainConfig(epochs=1, windows_per_epoch=640), lookback=10)
    kwargs = {"embedding": EmbeddingConfig(span=150, step=5), "selection": SELECTION} | kwargs
    return ClusterPolicy(encoder, kwargs.pop("clusterer", Ward(3)), **kwargs)


@pytest.fixture(scope="module")
def panel():
    return with_features(three_clusters())


@pytest.fixture(scope="module")
def decided(panel):
    policy = make_policy().fit(panel.until(panel.dates[300]))
    return policy, policy.decide(panel, PortfolioState())


def test_the_planted_groups_become_the_clusters(decided):
    _, decision = decided
    groups = decision.labels.groupby(decision.labels.index.str[0]).nunique()
    assert groups.tolist() == [1, 1, 1] and decision.labels.nunique() == 3


def test_each_clusters_best_sharpe_ratio_is_held_with_equal_weight(panel, decided):
    _, decision = decided
    expected = sharpe_ratios(panel.session_returns()[panel.tradable].iloc[-120:])
    pd.testing.assert_series_equal(decision.sharpe, expected, check_names=False, check_index_type=False)
    for name in decision.selected:
        rivals = decision.labels.index[decision.labels == decision.labels[name]]
        assert expected[rivals].idxmax() == name
    assert decision.weights.tolist() == pytest.approx([1 / 3] * 3)
    assert list(decision.weights.index) == decision.selected


def test_what_is_not_tradable_is_never_clustered(panel, decided):
    assert "MKT" not in decided[1].labels.index


def test_a_decision_does_not_depend_on_what_was_decided_before(panel, decided):
    policy, before = decided
    policy.decide(panel.until(panel.dates[350]), PortfolioState())
    again = policy.decide(panel, PortfolioState())
    pd.testing.assert_frame_equal(again.embeddings, before.embeddings, check_exact=True)
    assert again.selected == before.selected


def test_a_decision_before_the_training_ends_is_refused(panel, decided):
    with pytest.raises(ValueError, match="before the encoder's training span does"):
        decided[0].decide(panel.until(panel.dates[299]), PortfolioState())


def test_what_is_cash_like_stopped_or_new_is_left_out_with_the_reason(panel):
    closes = panel.close.copy()
    closes["A0"] = 100 * np.exp(0.00002 * np.arange(len(closes)))  # volatility 0
    closes.iloc[-8:, closes.columns.get_loc("B0")] = np.nan
    closes.iloc[:-100, closes.columns.get_loc("C0")] = np.nan
    frames = {f: getattr(panel, f).where(closes.notna()) for f in ("open", "high", "low", "volume")}
    changed = with_features(replace(panel, close=closes, features=None, **frames))
    policy = make_policy().fit(changed.until(changed.dates[300]))
    decision = policy.decide(changed, PortfolioState())
    assert decision.excluded == {
        "A0": "cash-like: volatility 0.0 % a year is under 3.0 %",
        "B0": "no bar for 8 sessions",
        "C0": "history of 99 sessions, 120 needed",
    }


def test_fewer_assets_than_clusters_are_each_their_own_cluster_and_said(panel):
    policy = make_policy(clusterer=Ward(40)).fit(panel.until(panel.dates[300]))
    decision = policy.decide(panel, PortfolioState())
    assert len(decision.selected) == 18
    assert "18 eligible assets are fewer than the 40 clusters" in decision.notes[0]


def test_nothing_eligible_means_cash(panel):
    policy = make_policy(selection=replace(SELECTION, volatility_floor=10.0)).fit(panel.until(panel.dates[300]))
    decision = policy.decide(panel, PortfolioState())
    assert decision.weights.empty and decision.notes == ("no asset is eligible: all in cash",)


def test_sharpe_over_the_training_span_and_over_cash(panel):
    cash = pd.Series(0.0002, panel.sessions)
    policy = make_policy(selection=replace(SELECTION, sharpe_span="training"), cash=cash)
    policy.fit(panel.until(panel.dates[300]), start=panel.dates[60])
    decision = policy.decide(panel, PortfolioState())
    span = panel.session_returns()[panel.tradable].loc[panel.dates[60] : panel.dates[300]]
    expected = (span - 0.0002).mean() / span.std() * np.sqrt(252)
    assert decision.sharpe.to_numpy() == pytest.approx(expected.to_numpy())


def test_a_training_span_too_short_for_a_window_is_refused(panel):
    with pytest.raises(ValueError, match="no asset has 10 consecutive bars of indicators"):
        make_policy().fit(panel.until(panel.dates[20]))


def test_ties_go_to_the_first_name_and_nan_is_never_selected():
    sharpe = pd.Series({"B": 1.0, "A": 1.0, "C": np.nan})
    assert top_sharpe_per_cluster(sharpe, pd.Series({"B": 0, "A": 0, "C": 1})) == ["A"]


def test_the_uncertainty_of_an_embedding_reaches_the_decision(panel, decided):
    _, without = decided
    assert without.uncertainty is None
    encoder = Encoder("vae", train=TrainConfig(epochs=1, windows_per_epoch=640), lookback=10)
    policy = ClusterPolicy(encoder, Ward(3), EmbeddingConfig(kind="last"), SELECTION)
    decision = policy.fit(panel.until(panel.dates[300])).decide(panel, PortfolioState())
    windows = panel_windows(panel, 10, first=len(panel.dates) - 1)
    variance = pd.Series(
        encoder.transform_with_variance(windows)[1].mean(axis=1), index=np.array(panel.symbols)[windows.asset_idx]
    )
    uncertainty = decision.uncertainty
    assert list(uncertainty.index) == list(decision.labels.index) and uncertainty.between(0, 1).all()
    np.testing.assert_allclose(uncertainty, variance[uncertainty.index], rtol=1e-6)


def test_a_policy_neither_learns_from_nor_holds_what_is_no_member(panel):
    member = pd.DataFrame(True, panel.dates, panel.symbols)
    member.loc[: panel.dates[250], "A0"] = False  # joins while the encoder is trained
    member.loc[panel.dates[350] :, "B0"] = False  # has left
    changed = replace(panel, member=member)
    policy = make_policy()
    before, inside = (policy.training_windows(p.until(panel.dates[300])) for p in (panel, changed))
    at = {name: changed.tradable.get_loc(name) for name in ("A0", "B0")}
    assert inside.date_idx[inside.asset_idx == at["A0"]].min() == 251
    assert (inside.asset_idx == at["B0"]).sum() == (before.asset_idx == at["B0"]).sum()
    policy.fit(changed.until(panel.dates[300]))
    early, late = (policy.decide(changed.until(day), PortfolioState()) for day in panel.dates[[349, 351]])
    assert "A0" in early.labels and "B0" in early.labels
    assert "B0" not in late.labels
    assert late.excluded["B0"] == "no member of the universe on this day"


@pytest.mark.parametrize("kind", ["search", "svd"])
def test_clusters_of_returns_stand_beside_the_encoders_own_embedding(panel, decided, kind):
    policy, _ = decided

    def drawn_from(kind):
        other = make_policy(embedding=EmbeddingConfig(kind=kind, span=150, step=5))
        other.encoder = policy.encoder
        return other.trained_on(*policy.train_span_)

    of_encoder = drawn_from("trajectory").decide(panel, PortfolioState())
    other = drawn_from(kind)
    decision = other.decide(panel, PortfolioState())
    assert not other.embedder_._known  # nothing is encoded that no decision hangs on
    groups = decision.labels.groupby(decision.labels.index.str[0]).nunique()
    assert groups.tolist() == [1, 1, 1] and decision.labels.nunique() == 3
    names = list(decision.labels.index)
    pd.testing.assert_frame_equal(other.encoded(panel, names), of_encoder.embeddings, check_exact=True)
    assert drawn_from("trajectory").encoded(panel, names) is None
    again = other.decide(panel.until(panel.dates[380]), PortfolioState())
    known = EmbeddedReturns(log_returns(panel)[: panel.dates[380]].iloc[-150:], other.embedding, 3)
    rows = one_blas_thread(known.rows)(list(again.labels.index))  # as in a decision: a sum's last bit hangs on it
    pd.testing.assert_frame_equal(again.embeddings, rows, check_exact=True)
