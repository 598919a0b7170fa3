import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from clusterfolio.feeds.features import with_features
from clusterfolio.feeds.sources.simulated import BENCHMARK, SimulatedConfig
from clusterfolio.strategies.diversification import log_returns
from tests.benchmarks import embedding
from tests.conftest import data_folder, make_panel
from tests.market_files import write_market

GROUPS = 20
QUICK = [
    "random",
    "average",
    "correlation-raw",
    "correlation",
    "pca20",
    "svd20",
    "returns-attended",
    "hindsight",
    "window-pca",
]


@pytest.fixture(scope="module")
def panel():
    """Twenty groups of two that move together, beside a market, four years; nothing is known of their classes."""
    rng = np.random.default_rng(0)
    dates = pd.bdate_range("2018-01-01", "2021-12-31")
    factors = rng.standard_normal((len(dates), GROUPS)).repeat(2, axis=1)
    returns = 0.01 * (
        0.8 * factors + 0.4 * rng.standard_normal(factors.shape) + 0.5 * rng.standard_normal((len(dates), 1))
    )
    names = pd.Index(["MKT", *(f"A{i:02d}" for i in range(2 * GROUPS))], dtype=object)
    closes = pd.DataFrame(100 * np.exp(np.column_stack([returns.mean(axis=1), returns]).cumsum(axis=0)), dates, names)
    panel = make_panel(closes, benchmark="MKT")
    panel.assets.loc["MKT", "tradable"] = False
    return with_features(panel)


@pytest.fixture(scope="module")
def rows(panel):
    return embedding.run(panel, [2020, 2021], QUICK, 2, None)


def of(rows, method):
    return [row for row in rows if row["method"] == method]


def test_clusters_that_last_are_found_and_measured(rows):
    planted = np.arange(2 * GROUPS) // 2
    for method in ("correlation rows", "correlation rows, raw", "average linkage"):
        for row in of(rows, method):
            assert adjusted_rand_score([row["labels"][f"A{i:02d}"] for i in range(2 * GROUPS)], planted) == 1.0
            assert row["gap"] == pytest.approx(0.61, abs=0.05)  # 0.64 / 1.05 of the variance is the group's
            assert row["between"] == pytest.approx(0.24, abs=0.05)  # 0.25 / 1.05 is the market's
    assert all(abs(row["gap"]) < 0.1 for row in of(rows, "random labels"))
    assert of(rows, "window PCA-64, trajectory")[0]["gap"] > 0.5


def test_seeds_are_for_what_is_random_only_and_the_last_year_has_no_stability(rows):
    assert [(row["year"], row["seed"]) for row in of(rows, "random labels")] == [
        (2020, 0),
        (2020, 1),
        (2021, 0),
        (2021, 1),
    ]
    assert [(row["year"], row["seed"]) for row in of(rows, "PCA-20")] == [(2020, 0), (2021, 0)]
    assert [row["stability"] for row in of(rows, "correlation rows")] == [1.0, None]
    assert abs(of(rows, "random labels")[0]["stability"]) < 0.2


def test_labels_and_picks_know_nothing_of_the_test_year(panel, rows):
    closes = panel.close.copy()
    future = closes.index >= "2020-01-01"
    closes.loc[future] *= np.exp(np.random.default_rng(9).normal(0, 0.03, closes[future].shape).cumsum(axis=0))
    changed = with_features(make_panel(closes, benchmark="MKT", tradable=panel.assets["tradable"]))
    again = embedding.run(changed, [2020], QUICK, 1, None)
    for row in again:
        before = next(old for old in of(rows, row["method"]) if (old["year"], old["seed"]) == (2020, 0))
        assert (row["labels"] == before["labels"]) == (row["method"] != "hindsight PCA-20")
        assert row["gap"] != before["gap"]
    sharpes = [embedding.make_trial(each, log_returns(each), 2020).sharpe for each in (panel, changed)]
    pd.testing.assert_series_equal(*sharpes)


def test_an_asset_that_misses_days_of_either_span_is_not_measured(panel):
    closes = panel.close.copy()
    closes.iloc[300:310, 1] = np.nan  # 2019
    closes.iloc[600:610, 2] = np.nan  # 2020
    holed = make_panel(closes, benchmark="MKT", tradable=panel.assets["tradable"])
    names = embedding.make_trial(with_features(holed), log_returns(holed), 2020).names
    assert names == [f"A{i:02d}" for i in range(2, 2 * GROUPS)]


def test_what_is_finished_is_not_done_again(panel, tmp_path, monkeypatch):
    first = embedding.run(panel, [2020], ["random", "correlation", "window-pca"], 1, tmp_path)

    def never(trial, seed):
        raise AssertionError("made again")

    families = {name: replace(family, labels=never) for name, family in embedding.FAMILIES.items()}
    monkeypatch.setattr(embedding, "FAMILIES", families)
    assert embedding.run(panel, [2020], ["random", "correlation", "window-pca"], 1, tmp_path) == first
    with pytest.raises(AssertionError, match="made again"):
        embedding.run(panel, [2020, 2021], ["random"], 1, tmp_path)
    with pytest.raises(AssertionError, match="made again"):  # other data
        embedding.run(panel.until(panel.dates[-2]), [2020], ["random"], 1, tmp_path)


def test_summary_is_the_mean_of_years_and_the_spread_of_seeds():
    blank = dict.fromkeys(embedding.COLUMNS, 0.0) | {"method": "m", "stability": None}
    gaps = {(2014, 0): 0.1, (2015, 0): 0.3, (2014, 1): 0.3, (2015, 1): 0.5, (2020, 0): 9.0}
    rows = [blank | {"year": year, "seed": seed, "gap": gap} for (year, seed), gap in gaps.items()]
    table = embedding.summary(rows, [2014, 2015])
    assert table.loc["m", "gap"] == pytest.approx(0.3)
    assert table.loc["m", "gap spread"] == pytest.approx(np.std([0.2, 0.4], ddof=1))
    assert "| m | 0.300 ±0.141 | 0.000 ±0.000 |" in embedding.markdown(table)
    assert "| - |" in embedding.markdown(table)  # no stability


def test_an_embedding_is_dominated_by_what_is_as_good_in_both():
    figures = {
        "PCA-20": (0.3, 0.3),
        "correlation rows": (0.2, 0.1),
        "average linkage": (0.9, 0.0),
        "trained, trajectory": (0.25, 0.2),
        "untrained, trajectory": (0.2, 0.3),
    }
    table = pd.DataFrame.from_dict(figures, orient="index", columns=["gap", "between"])
    expected = {"untrained, trajectory": ["PCA-20", "correlation rows"], "trained, trajectory": []}
    assert embedding.dominated(table) == expected


def test_years_to_choose_on_are_apart_from_the_others():
    years = embedding.parse_years("2018-2021")
    assert embedding.periods(years) == {"2018-2019": [2018, 2019], "2020-2021": [2020, 2021], "2018-2021": years}
    assert embedding.periods([2025]) == {"2025": [2025]}


def test_years_without_prices_are_refused(panel):
    with pytest.raises(ValueError, match="2019 needs prices from 2017 on, the panel has 2018-01-01 to 2018-12-31"):
        embedding.make_trial(panel.until("2018-12-31"), log_returns(panel.until("2018-12-31")), 2019)


def test_the_command_runs_on_a_folder_of_anyones_prices(tmp_path, monkeypatch, capsys):
    config = SimulatedConfig(n_assets=30, n_clusters=5, start="2021-01-04", end="2023-12-29", structure="blocks",
                             within=0.7, flaws=False)  # fmt: skip
    write_market(tmp_path / "prices", config)
    options = ["--path", str(tmp_path / "prices"), "--benchmark", BENCHMARK, "--years", "2023", "--methods"]
    monkeypatch.setattr("sys.argv", ["embedding", *options, "classical", "--json"])
    embedding.main()
    found = json.loads(capsys.readouterr().out)
    assert found["periods"]["2023"]["correlation rows"]["gap"] > 0.1
    assert {row["year"] for row in found["rows"]} == {2023}
    monkeypatch.setattr("sys.argv", ["embedding", *options, "random", "correlation"])
    embedding.main()
    assert "| correlation rows | " in capsys.readouterr().out


@pytest.mark.acceptance
def test_the_known_classical_figures_are_reproduced_on_real_prices():
    panel = embedding.load([data_folder()], None, "all", embedding.EXCLUDED, "SPY")
    years = embedding.parse_years("2014-2025")
    rows = embedding.run(panel, years, list(embedding.GROUPS["classical"]), 1, None)
    table = embedding.summary(rows, years)
    for method, (gap, between) in embedding.KNOWN.items():
        assert table.loc[method, "gap"] == pytest.approx(gap, abs=0.005), method
        assert between is None or table.loc[method, "between"] == pytest.approx(between, abs=0.005), method
    counts = [row["assets"] for row in rows if row["method"] == "PCA-20"]
    assert min(counts) == pytest.approx(408, abs=2) and max(counts) == pytest.approx(698, abs=2)
