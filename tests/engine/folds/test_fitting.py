from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.folds.fitting import (
    FitProgress,
    FoldPolicies,
    align_folds,
    fit_fold,
    fit_folds,
)
from clusterfolio.engine.folds.stored_policies import load_policy, save_policy
from clusterfolio.engine.folds.walk_forward import Fold
from clusterfolio.feeds.features import with_features
from clusterfolio.models.clustering import Ward
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.strategies.cluster_policy import ClusterPolicy, anchor_windows
from clusterfolio.strategies.embedding import EmbeddingConfig
from clusterfolio.strategies.policy import PortfolioState
from clusterfolio.strategies.selection import SelectionConfig
from tests.conftest import three_clusters

SELECTION = SelectionConfig(sharpe_sessions=120, min_sessions=120, volatility_sessions=120)


@pytest.fixture(scope="module")
def panel():
    return with_features(three_clusters())


@pytest.fixture(scope="module")
def planned(panel):
    days = panel.dates
    return [
        Fold(n, days[0], days[300 + 50 * n], days[300 + 50 * n], days[301 + 50 * n], days[349 + 50 * n]) for n in (0, 1)
    ]


def make(fold, warm, kind="trajectory"):
    train = TrainConfig(epochs=1, windows_per_epoch=640, learning_rate=1e-9 if warm else 4e-3)
    encoder = Encoder(train=train, lookback=10, random_state=fold.number, device="cpu")
    return ClusterPolicy(encoder, Ward(3), embedding=EmbeddingConfig(kind=kind, span=150, step=5), selection=SELECTION)


def told():
    lines = []
    return lines, lambda done, total, text: lines.append((done, total, text))


@pytest.fixture(scope="module")
def cold(panel, planned, tmp_path_factory):
    return fit_folds(planned, panel, make, tmp_path_factory.mktemp("work"), warm_start=False, advance=told()[1])


def test_a_stored_training_is_found_and_is_the_same_to_the_bit(panel, planned, tmp_path, monkeypatch):
    fitted = fit_fold(planned[0], panel, make(planned[0], False), tmp_path)
    monkeypatch.setattr(Encoder, "fit", None)
    assert (
        fit_fold(planned[0], panel, make(planned[0], False), tmp_path).encoder.fingerprint()
        == fitted.encoder.fingerprint()
    )


def test_a_training_sees_nothing_after_its_span(panel, planned, tmp_path, cold):
    cut = fit_fold(planned[0], panel.until(planned[0].train_end), make(planned[0], False), tmp_path)
    assert cut.encoder.fingerprint() == cold[0].encoder.fingerprint()


def windows_trained_on(panel, fold, folder):
    """How many windows a fold has, with nothing held out."""
    policy = make(fold, False)
    policy.encoder.set_params(train=TrainConfig(epochs=1, windows_per_epoch=64, holdout=0.0))
    return fit_fold(fold, panel, policy, folder).encoder.history_.n_windows


def test_the_first_windows_of_a_short_span_reach_back_before_it(panel, planned, tmp_path):
    quarter = replace(planned[0], train_start=panel.dates[238])  # 63 days; MACD alone takes 33, a window 10 more
    assert windows_trained_on(panel, quarter, tmp_path) == 63 * len(panel.tradable)


def test_an_asset_is_in_a_fold_once_it_was_listed_by_then(planned, tmp_path):
    late = three_clusters()
    unlisted = late.dates[:301]  # up to the day after the first training ends
    names = ("open", "high", "low", "close", "volume")
    bars = {name: getattr(late, name).copy() for name in names}
    for frame in bars.values():
        frame.loc[unlisted, "A0"] = np.nan
    late = replace(late, **bars)
    others = len(late.tradable) - 1
    late = with_features(late)
    counts = [windows_trained_on(late, replace(fold, train_start=late.dates[200]), tmp_path) for fold in planned]
    complete = np.isfinite(late.features.values[:351, list(late.symbols).index("A0")]).all(axis=1).sum()
    assert 10 < complete < 50  # with every indicator, by the end of the second training
    assert counts == [101 * others, 151 * others + complete - 9]
    policy = load_policy(make(planned[0], False), tmp_path / "fold-000")
    known = late.until(late.dates[320])
    decision = FoldPolicies(planned, {0: policy})(late.dates[320]).decide(known, PortfolioState())
    assert "A0" in decision.excluded and "A0" not in decision.labels.index


def test_a_warm_start_begins_with_the_weights_before(panel, planned, tmp_path):
    lines, advance = told()
    warm = fit_folds(planned, panel, make, tmp_path, warm_start=True, advance=advance)
    for before, after in zip(*(policy.encoder.module_.parameters() for policy in warm.values()), strict=True):
        np.testing.assert_allclose(before.detach(), after.detach(), atol=1e-5)  # the second learns at rate 1e-9
    assert [line[:2] for line in lines] == [(0, 2), (1, 2), (1, 2), (2, 2)]
    assert lines[0][2].startswith("pass 1 of 1, loss 0.") and "left" in lines[1][2]


@pytest.mark.parametrize("kind", ["trajectory", "last"])
def test_alignment_brings_embeddings_together_and_changes_no_cluster(panel, planned, cold, kind, tmp_path):
    span = (planned[1].train_start, planned[1].train_end)
    save_policy(cold[1], tmp_path / "copy", span)
    policies = {0: cold[0], 1: load_policy(make(planned[1], False, kind), tmp_path / "copy")}
    encoders = {number: policy.encoder for number, policy in policies.items()}
    anchors = anchor_windows(panel.until(planned[0].train_end), 10)
    reference = cold[0].encoder.transform(anchors)

    def decided():
        policies[1].release()
        return FoldPolicies(planned, policies)(panel.dates[-1]).decide(panel, PortfolioState())

    before, unaligned = decided(), np.linalg.norm(encoders[1].transform(anchors) - reference)
    apart = align_folds(planned, panel, policies)
    after = decided()
    assert np.linalg.norm(encoders[1].transform(anchors) - reference) < 0.8 * unaligned
    assert apart[1] == pytest.approx(
        np.linalg.norm(encoders[1].transform(anchors) - reference) / np.linalg.norm(reference), rel=1e-4
    )
    pd.testing.assert_series_equal(before.labels, after.labels)
    pd.testing.assert_series_equal(before.weights, after.weights)


def test_anchors_end_in_the_last_rows_of_the_span_and_belong_to_what_may_be_held(panel, planned):
    assets = panel.assets.assign(tradable=panel.assets["tradable"].to_numpy() & (np.arange(len(panel.assets)) > 2))
    anchors = anchor_windows(replace(panel, assets=assets).until(planned[0].train_end), 10)
    last = 300
    assert anchors.date_idx.max() == last and anchors.date_idx.min() > last - 63
    assert len(np.unique(anchors.asset_idx)) == assets["tradable"].sum()


def test_each_day_gets_its_folds_policy_and_the_one_before_forgets(panel, planned, cold):
    policies = FoldPolicies(planned, cold)
    first = policies(planned[0].decides_from)
    assert first is cold[0] and policies(planned[0].end) is first
    first.decide(panel.until(planned[0].end), PortfolioState())
    assert first.embedder_._known
    second = policies(planned[1].decides_from)
    assert not first.embedder_._known  # what it remembers is let go when the next takes over
    assert second is cold[1] and second.train_span_ == (planned[1].train_start, planned[1].train_end)


def test_progress_of_a_single_training_is_its_passes():
    lines, advance = told()
    watch = FitProgress(1, advance)
    watch.passes(2, 5, 0.5, None)
    watch.fitted(known=False)
    assert lines == [(2, 5, "loss 0.5000")]
