from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.report.page import render
from clusterfolio.engine.report.sections.importance import charts, grid, importance_page, label
from clusterfolio.engine.run_dir.artifacts import clusters_table, write_importance
from clusterfolio.engine.run_dir.tables import read_run
from clusterfolio.feeds.features import FEATURES, with_features
from clusterfolio.models.clustering import Ward
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.importance import importance
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.strategies.cluster_policy import ClusterPolicy
from clusterfolio.strategies.embedding import EmbeddingConfig
from clusterfolio.strategies.passports.importance import COLUMNS, importance_table
from clusterfolio.strategies.policy import PortfolioState
from clusterfolio.strategies.selection import SelectionConfig
from clusterfolio.strategies.windows import panel_windows
from tests.conftest import three_clusters
from tests.engine.report.test_report import fake_run, with_metrics, write_files

SELECTION = SelectionConfig(sharpe_sessions=120, min_sessions=120, volatility_sessions=120)


@pytest.fixture(scope="module")
def panel():
    return with_features(three_clusters())


@pytest.fixture(scope="module")
def decided(panel):
    encoder = Encoder("tft", {"hidden": 8}, TrainConfig(epochs=1, windows_per_epoch=320), lookback=10, device="cpu")
    policy = ClusterPolicy(encoder, Ward(3), EmbeddingConfig(kind="last"), SELECTION)
    policy.fit(panel.until(panel.dates[300]))
    return policy, policy.decide(panel.until(panel.dates[350]), PortfolioState())


def test_the_table_holds_what_the_last_decisions_windows_show(panel, decided):
    policy, decision = decided
    table = importance_table(policy, panel, decision)
    assert list(table.columns) == COLUMNS
    np.testing.assert_allclose(table.groupby("method")["share"].sum(), 1)
    known = panel.until(decision.asof)
    windows = panel_windows(known, 10, first=len(known.dates) - 1)
    held = known.symbols[windows.asset_idx].isin(decision.labels.index)
    found = importance(policy.encoder, windows.take(held))
    np.testing.assert_allclose(grid(table, "gradients").to_numpy(), found.gradients)
    np.testing.assert_allclose(grid(table, "selection").to_numpy(), found.selection)
    assert list(grid(table, "gradients").columns) == list(FEATURES)
    assert grid(table, "gradients").index.tolist() == list(range(9, -1, -1))


def test_nothing_after_the_decision_is_looked_at(panel, decided):
    policy, decision = decided
    pd.testing.assert_frame_equal(
        importance_table(policy, panel, decision), importance_table(policy, panel.until(decision.asof), decision)
    )


def made_up():
    """Two channels over three bars: 70 % on the first, and nothing on the oldest bar."""
    rows = [("gradients", bars, name, share) for name, shares in (("rsi", (0, 0.3, 0.4)), ("volatility", (0, 0.1, 0.2)))
            for bars, share in zip((2, 1, 0), shares, strict=True)]  # fmt: skip
    rows += [("attention", bars, "all", 1 / 3) for bars in (2, 1, 0)]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_the_page_ranks_channels_and_counts_bars():
    page = importance_page(made_up())
    assert [(name, [round(share, 6) for share in shares]) for name, shares in page["rows"]] == [
        ("RSI", [0.7]),
        ("volatility", [0.3]),
    ]
    assert page["lookback"] == 3 and page["recent"] == pytest.approx(1) and page["attends"]


def test_the_chart_has_the_oldest_bar_on_the_left_and_a_view_per_method():
    inputs = replace(fake_run(5, n_decisions=1), importance=made_up())
    views = charts(inputs)["importance"].views
    assert list(views) == ["integrated gradients", "attention"]
    shares = views["integrated gradients"]
    assert shares.x == ["2", "1", "0"] and "Bars back" in shares.x_label
    drawn = {series.name: series.values.tolist() for series in shares.panels[0].series}
    assert drawn == {"RSI": [0, 0.3, 0.4], "volatility": [0, 0.1, 0.2]}


def test_an_encoder_that_does_not_attend_has_one_view():
    inputs = replace(fake_run(5, n_decisions=1), importance=made_up().query("method == 'gradients'"))
    assert list(charts(inputs)["importance"].views) == ["integrated gradients"]


def test_names_of_series_stay_as_they_are():
    assert [label(name) for name in ("log_volume_change", "macd_diff", "VIXCLS")] == [
        "log volume change", "MACD difference", "VIXCLS"
    ]  # fmt: skip


@pytest.mark.parametrize("recorded", [True, False])
def test_the_section_is_on_the_page_where_the_run_recorded_it(recorded):
    """A run directory from before there was an importance.csv has a page without it."""
    inputs = replace(with_metrics(fake_run(40, n_decisions=2)), importance=made_up() if recorded else None)
    html = render(inputs, {})
    assert ('<section id="importance">' in html) == ('href="#importance"' in html) == recorded
    assert ('id="chart-importance"' in html) == recorded


def test_importances_read_back_as_they_were_written(tmp_path):
    write_files(tmp_path, with_metrics(fake_run(40, n_decisions=2)))
    assert read_run(tmp_path).importance is None
    table = made_up().replace({"channel": {"rsi": "NA"}})  # a series may be called so
    write_importance(tmp_path, table)
    pd.testing.assert_frame_equal(read_run(tmp_path).importance, table, check_dtype=False)


def test_the_clusters_table_says_how_uncertain_an_embedding_is_where_the_encoder_states_it(decided):
    _, decision = decided
    stated = pd.Series(np.linspace(0, 1, len(decision.labels)), decision.labels.index)
    uncertain = replace(decision, uncertainty=stated)
    assert "uncertainty" not in clusters_table([decision])
    assert clusters_table([uncertain])["uncertainty"].tolist() == stated.tolist()
