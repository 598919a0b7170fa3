"""The benchmarks of the features and of the main job measure what they name."""

import numpy as np
import pytest

from clusterfolio.feeds.features import make_features
from tests.benchmarks import features
from tests.benchmarks.engine import make_panel
from tests.benchmarks.main_job import measure_here, say


def test_the_features_are_those_of_plain_ta_where_every_bar_is_there():
    panel = make_panel(feeds=4, bars=120, missing=0.0)
    found, plain = make_features(panel).values, features.plain_ta(panel)
    known = np.isfinite(found)
    assert known[60:].all() and not known[:33].any()
    np.testing.assert_allclose(found[known], plain[known], rtol=1e-4, atol=1e-5)
    row = features.measure(symbols=3, bars=80, repeat=1)
    assert row["ratio"] == row["features"] / row["ta"] > 0


@pytest.mark.acceptance
def test_every_stage_of_a_small_main_job_is_measured(capsys):
    small = {"simulated": {"n_assets": 24}, "clustering": {"n_clusters": 4}, "train": {"epochs": 1}}
    found = measure_here("simulated", None, small | {"significance": {"portfolios": 100}})
    assert list(found["stages"])[1:6] == ["load", "features", "fit", "backtest", "write"]
    assert found["decisions"] > 3 and found["cpu"] > 0 and found["peak_mb"] > 100
    say({"simulated": found, "stock": found})
    assert "takes 1.0 times" in capsys.readouterr().out
