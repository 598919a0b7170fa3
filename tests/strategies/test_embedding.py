import gc
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from clusterfolio.feeds.features import with_features
from clusterfolio.feeds.ingest import build_panel
from clusterfolio.feeds.sources.simulated import BENCHMARK, SimulatedConfig, simulate, truth
from clusterfolio.models.clustering import Ward, unit_sphere
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.windows import make_windows
from clusterfolio.strategies.embedding import EmbeddingConfig, PanelEmbedder, latest_windows
from tests.conftest import three_clusters


def fitted(panel, **train):
    windows = make_windows(panel.features.values, panel.features.observed, lookback=30)
    return Encoder(train=TrainConfig(**train)).fit(windows)


@pytest.mark.acceptance
def test_planted_clusters_are_found_in_a_simulated_market(capsys):
    config = SimulatedConfig(n_assets=300, structure="blocks", regimes=False, flaws=False, foreign=0, turnover=0,
                             n_bills=0, seed=3, start="2022-01-03", end="2024-12-31")  # fmt: skip
    raw = simulate(config)
    panel, _ = build_panel(raw, benchmark=BENCHMARK, known=raw.assets)
    panel = with_features(panel)
    planted = truth(config)["planted_cluster"]
    names = list(planted.index)
    encoder = fitted(panel)
    untrained = fitted(panel, epochs=1, windows_per_epoch=64, batch_size=64, learning_rate=1e-9, holdout=0.0)
    returns = panel.session_returns()[names].iloc[-504:]
    standardised = ((returns - returns.mean()) / returns.std()).to_numpy().T
    components = np.linalg.svd(standardised - standardised.mean(axis=0), full_matrices=False)
    rng = np.random.default_rng(0)
    rows = {
        "random": rng.standard_normal((len(names), 20)),
        "untrained encoder, trajectory": PanelEmbedder(untrained, EmbeddingConfig(kind="trajectory"))
        .embed(panel)
        .rows(names),
        "trained encoder, last window": PanelEmbedder(encoder, EmbeddingConfig(kind="last")).embed(panel).rows(names),
        "trained encoder, trajectory": PanelEmbedder(encoder, EmbeddingConfig(kind="trajectory"))
        .embed(panel)
        .rows(names),
        "PCA-20 of returns": components[0][:, :20] * components[1][:20],
    }
    found = {}
    for name, embedding in rows.items():
        labels = Ward(config.n_clusters).fit(unit_sphere(np.asarray(embedding))).labels_
        found[name] = adjusted_rand_score(planted, labels)
    with capsys.disabled():
        print("\nadjusted Rand index: " + ", ".join(f"{name} {score:.3f}" for name, score in found.items()))
    assert found["trained encoder, trajectory"] >= 0.8
    assert found["random"] <= 0.05


@pytest.fixture(scope="module")
def small():
    panel = with_features(three_clusters())
    return panel, fitted(panel, epochs=1, windows_per_epoch=640)


@pytest.mark.parametrize("kind", ["last", "trajectory"])
def test_an_embedding_depends_on_the_past_only(small, kind):
    panel, encoder = small
    asof = panel.dates[350]
    config = EmbeddingConfig(kind=kind, span=200, step=5)
    known = PanelEmbedder(encoder, config)
    known.embed(panel)  # whatever it remembers of the whole panel
    again = known.embed(panel.until(asof))
    fresh = PanelEmbedder(encoder, config).embed(panel.until(asof))
    pd.testing.assert_frame_equal(again.joined, fresh.joined, check_exact=True)


def test_dates_encoded_together_are_those_encoded_one_by_one_and_a_panel_is_embedded_once(small):
    panel, encoder = small
    known = panel.until(panel.dates[350])
    embedder = PanelEmbedder(encoder, EmbeddingConfig(span=200, step=5))
    found = embedder.embed(known)
    assert embedder.embed(known) is found
    windows = embedder.windows(known)
    picked = latest_windows(windows, len(known.symbols), embedder._dates(known))
    for chosen, (embedded, _) in zip(picked.T, embedder._encode(windows, picked), strict=True):
        np.testing.assert_array_equal(embedded[chosen >= 0], encoder.transform(windows.take(chosen[chosen >= 0])))
    del known
    gc.collect()
    assert embedder.windows(panel) is not windows
    assert pickle.loads(pickle.dumps(embedder)).embed(panel).joined.equals(embedder.embed(panel).joined)


def test_a_panel_that_begins_earlier_gives_the_same_dates(small):
    panel, encoder = small
    embedder = PanelEmbedder(encoder, EmbeddingConfig(span=100, step=7))
    late = panel.dates[150:]
    days = panel.dates[embedder._dates(panel)]
    cut = pd.Index(late)[[late.get_loc(day) for day in days]]
    assert list(days) == list(cut)
    assert (days[-1] <= panel.dates[-1]) and len(days) == pytest.approx(100 / 7, abs=1)


def test_an_asset_listed_late_is_not_complete(small):
    panel, encoder = small
    features = panel.features
    values = features.values.copy()
    values[:300, 3] = np.nan
    late = replace(panel, features=replace(features, values=values))
    complete = PanelEmbedder(encoder, EmbeddingConfig(span=200, step=5, max_gap=0.25)).complete(late)
    assert not complete.iloc[3] and complete.drop(panel.symbols[3]).all()


def test_latest_windows_against_a_search_by_hand():
    values = np.ones((12, 2, 1), dtype=np.float32)
    values[[3, 4], 0] = np.nan
    values[6:, 1] = np.nan
    windows = make_windows(values, np.ones_like(values, bool), lookback=2)
    found = latest_windows(windows, 2, np.array([0, 4, 11]), max_age=4)
    ends = np.where(found >= 0, windows.date_idx[np.maximum(found, 0)], -1)
    assert ends.tolist() == [[-1, 2, 11], [-1, 4, -1]]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"kind": "mean"},
            "embedding.kind: got 'mean', expected one of last, trajectory, returns, svd, pca, search, learned",
        ),
        ({"step": 600}, "embedding.step: got 600, expected 1..504"),
        ({"components": -1}, "embedding.components: got -1"),
        ({"attention_layers": -1}, "embedding.attention_layers: got -1, expected 0 or more"),
        ({"attention_spread": 0}, "embedding.attention_spread: got 0, expected a share of 1"),
    ],
)
def test_wrong_settings_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        EmbeddingConfig(**kwargs)
