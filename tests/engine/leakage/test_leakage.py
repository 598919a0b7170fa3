"""Leaks planted one at a time are found and named by their stage; a policy that keeps to the past passes."""

import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.preprocessing import RobustScaler

import clusterfolio.engine.trading.backtest
from clusterfolio.engine.assembly.market import read_source
from clusterfolio.engine.cli.main import main
from clusterfolio.engine.config.run import make_config
from clusterfolio.engine.config.settings import merge
from clusterfolio.engine.leakage.check import check_policy, examine
from clusterfolio.engine.leakage.of_run import RunHistories, check_run, figures_after, texts_after
from clusterfolio.engine.leakage.poison import WAYS, poison_panel
from clusterfolio.engine.leakage.trace import STAGES
from clusterfolio.feeds.features import FEATURES, FeatureConfig, Features, with_features
from clusterfolio.feeds.universe import load_universe
from clusterfolio.models.clustering import Ward
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.networks.transformer import TransformerConfig
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.strategies.cluster_policy import ClusterPolicy
from clusterfolio.strategies.embedding import EmbeddingConfig
from clusterfolio.strategies.holding import Holding
from clusterfolio.strategies.policy import Decision
from clusterfolio.strategies.selection import SelectionConfig
from clusterfolio.strategies.sharpe import sharpe_ratios
from tests.conftest import data_folder, three_clusters
from tests.leaks import (
    centred_window,
    same_bar_fill,
    scaler_on_all_history,
    universe_of_today,
    unlagged_mood,
    unlagged_series,
    whole_sample_sharpe,
)

PANEL = three_clusters(n_days=260, per_cluster=4)
DAY = PANEL.sessions[200]

#: A market and a model so small that a whole run is computed anew in a fraction of a second.
TINY = {
    "simulated": {"n_assets": 10, "n_clusters": 2, "start": "2023-06-01", "end": "2024-06-28", "turnover": 0.1},
    "model": {"embed_dim": 8, "n_heads": 1, "feed_forward": 8},
    "encoder": {"lookback": 5, "stride": 5},
    "embedding": {"span": 40, "step": 10},
    "clustering": {"n_clusters": 3},
    "selection": {"sharpe_sessions": 60, "min_sessions": 60, "volatility_sessions": 60},
    "dates": {"history_days": 100, "train_start": "2023-10-02", "train_end": "2024-03-28", "start": "2024-04-01"},
}


def cluster_policy(cls=ClusterPolicy, encoder=Encoder):
    train = TrainConfig(epochs=1, windows_per_epoch=64, holdout_windows=32)
    network = TransformerConfig(embed_dim=8, n_heads=1, feed_forward=8)
    return cls(
        encoder("transformer", network, train, lookback=5, device="cpu"),
        Ward(3),
        embedding=EmbeddingConfig(span=30, step=10),
        selection=SelectionConfig(sharpe_sessions=60, min_sessions=60, volatility_sessions=60),
        stride=5,
    )


class Momentum:
    """The three names that rose most in the last sessions, by no more than a panel's closes."""

    def fit(self, panel, start=None):
        return self

    def decide(self, panel, state):
        closes = panel.session_closes()[panel.tradable]
        rise = (closes.iloc[-1] / closes.iloc[-21] - 1).dropna()
        return Decision(
            asof=panel.dates[-1],
            weights=pd.Series(1 / 3, rise.nlargest(3).index),
            labels=None,
            sharpe=None,
            selected=list(rise.nlargest(3).index),
            embeddings=None,
        )


# A clean one passes ------------------------------------------------------------------------------------------------


def test_a_clean_policy_passes_and_every_stage_was_compared():
    report = check_policy(PANEL, cluster_policy, [DAY], train_end=PANEL.sessions[150], tolerance=0.0)
    assert report.clean and not report.notes, report.findings
    stages = report.stages()
    assert stages.index.tolist() == [stage for stage in STAGES if stage != "exogenous"]  # the panel carries none
    assert (stages["values"] > 0).all() and (stages["differ"] == 0).all()
    assert set(report.checked["change"]) == {"truncated", "exchanged", "spoilt", "listed", ""}


def test_a_foreign_policy_needs_no_more_than_fit_and_decide():
    report = check_policy(PANEL, Momentum, dates=2, train_end=PANEL.sessions[150])
    assert report.clean
    assert report.checked["day"].nunique() == 2
    assert {"selection", "weights", "fills"} <= set(report.stages().index)
    assert not {"scaler", "embedding", "clusters", "sharpe"} & set(report.stages().index)


def test_the_panel_given_is_not_changed():
    before = {name: getattr(PANEL, name).copy() for name in ("open", "close", "volume")}
    check_policy(PANEL, Momentum, [DAY])
    assert all(getattr(PANEL, name).equals(frame) for name, frame in before.items())


@pytest.mark.parametrize("name", WAYS)
def test_a_changed_future_is_another_one_and_the_past_is_the_same(name):
    other = poison_panel(PANEL, DAY, WAYS[name], np.random.default_rng(0))
    assert other.until(DAY).close[PANEL.symbols].equals(PANEL.until(DAY).close)
    assert other.until(DAY).volume[PANEL.symbols].equals(PANEL.until(DAY).volume)
    if name == "listed":
        assert set(other.symbols) - set(PANEL.symbols) == {"NEW.0", "NEW.1", "NEW.2"}
    elif name != "split":  # what a split would be at the source is no more one in a panel
        assert not other.close.loc[DAY:].iloc[1:].equals(PANEL.close.loc[DAY:].iloc[1:])


# The six leaks, in a policy or in what is prepared for it --------------------------------------------------------


def test_a_scaler_fitted_on_all_history_is_found():
    def make(panel):
        class Leaky(Encoder):
            def fit(self, windows, **kwargs):
                super().fit(windows, **kwargs)
                rows = panel.features.values.reshape(-1, len(FEATURES))
                self.scaler_ = RobustScaler().fit(rows[np.isfinite(rows).all(axis=1)])
                return self

        return cluster_policy(encoder=Leaky)

    (finding,) = check_policy(PANEL, make, [DAY], train_end=PANEL.sessions[150]).findings
    assert (finding.stage, finding.shows_in) == ("scaler", "scaler")
    assert "embedding" in finding.reaches
    assert "scaler_.center_" in str(finding) and DAY.strftime("%Y-%m-%d") in str(finding)


def test_a_centred_window_is_found_with_its_first_day_and_channel():
    def centred(panel):
        panel = with_features(panel, FeatureConfig())
        values = panel.features.values.copy()
        values[:-10, :, 4] = values[10:, :, 4]
        return replace(panel, features=Features(values, panel.features.observed, panel.features.config))

    (finding,) = check_policy(PANEL, Momentum, [DAY], prepare=centred).findings
    assert finding.stage == "features" and finding.first.item == "volatility"
    # Ten bars ahead of the day: the first row that another future reaches is nine sessions before it.
    assert finding.first.day == PANEL.sessions[200 - 9]
    assert finding.first.name in PANEL.symbols
    assert finding.reaches == ()  # this policy reads no features


def test_a_sharpe_ratio_of_the_whole_sample_is_found():
    def make(panel):
        returns = panel.session_returns()

        class OfAll(Holding):
            def rank(self, known):
                return sharpe_ratios(returns[known.columns])

        class Leaky(ClusterPolicy):
            @property
            def holding(self):
                return OfAll(**vars(super().holding))

        return cluster_policy(Leaky)

    (finding,) = check_policy(PANEL, make, [DAY], train_end=PANEL.sessions[150]).findings
    assert finding.stage == finding.shows_in == "sharpe"
    assert 0 < finding.first.size < 20
    assert {"truncated", "exchanged", "spoilt"} <= set(finding.changes) and "listed" not in finding.changes


def test_a_universe_that_knows_of_future_listings_is_found():
    class Counts(Momentum):
        def decide(self, panel, state):
            decision = super().decide(panel, state)
            return replace(decision, weights=decision.weights * 15 / (2 + len(panel.symbols)))

    (finding,) = check_policy(PANEL, Counts, [DAY]).findings
    assert (finding.stage, finding.shows_in, finding.changes) == ("universe", "weights", ("listed",))


def test_a_symbol_held_before_its_first_bar_is_found():
    late = replace(PANEL, **{f: getattr(PANEL, f).copy() for f in ("open", "high", "low", "close", "volume")})
    for name in ("open", "high", "low", "close", "volume"):
        getattr(late, name).loc[: PANEL.sessions[220], "B1"] = np.nan

    class Early(Momentum):
        def decide(self, panel, state):
            return replace(super().decide(panel, state), weights=pd.Series({"A1": 0.5, "B1": 0.5}))

    findings = check_policy(late, Early, [DAY]).findings
    assert findings[0].stage == "universe" and findings[0].first.name == "B1"


def test_a_fill_on_the_decisions_own_bar_is_found(monkeypatch):
    same_bar_fill(monkeypatch)
    (finding,) = check_policy(PANEL, Momentum, [DAY]).findings
    assert finding.stage == "fills" and finding.first.day == DAY
    assert "not on a later bar; 3 of 3 fills are wrong" in str(finding)


def test_a_fill_at_another_price_than_the_open_is_found(monkeypatch):
    honest = clusterfolio.engine.trading.backtest.panel_feeds

    def feeds_of(panel):  # the bar before's close in place of the open
        return honest(replace(panel, open=panel.close.shift(1).bfill()))

    monkeypatch.setattr(clusterfolio.engine.trading.backtest, "panel_feeds", feeds_of)
    (finding,) = check_policy(PANEL, Momentum, [DAY]).findings
    assert (finding.stage, finding.first.item) == ("fills", "price")
    assert finding.first.day == PANEL.sessions[201]


class ReadsInflation(Momentum):
    """Holds more where consumer prices rose less, by what the file says for the month: known only weeks later."""

    lagged = False

    def __init__(self, config):
        table = pd.read_csv(config.cash.path, parse_dates=["date"])
        table = table[table["series"] == "CPIAUCSL"]
        days = table["date"] + pd.Timedelta(days=60 if self.lagged else 0)
        self.level = pd.Series(table["value"].to_numpy(), index=pd.DatetimeIndex(days)).sort_index()

    def decide(self, panel, state):
        decision = super().decide(panel, state)
        return replace(decision, weights=decision.weights * 100 / self.level.asof(panel.dates[-1]))


class ReadsPublishedInflation(ReadsInflation):
    lagged = True


def macro_file(folder):
    months = pd.date_range("2022-01-01", "2024-12-01", freq="MS")
    rates = pd.date_range("2022-06-01", "2024-12-31")
    pd.concat(
        [
            pd.DataFrame({"date": months, "series": "CPIAUCSL", "value": 200 * 1.002 ** np.arange(len(months))}),
            pd.DataFrame({"date": rates, "series": "DFF", "value": np.linspace(3.0, 5.5, len(rates))}),
        ]
    ).to_csv(folder / "macro.csv", index=False)
    return str(folder / "macro.csv")


def test_inflation_read_by_its_month_is_found_and_by_its_publication_passes(tmp_path):
    config = make_config(merge(TINY, {"cash": {"path": macro_file(tmp_path)}}))
    raw = read_source(config, None)
    for policy, clean in ((ReadsInflation, False), (ReadsPublishedInflation, True)):
        build = RunHistories(config, raw, policy, tmp_path).build
        day, span = pd.Timestamp("2024-05-10"), (None, pd.Timestamp("2024-03-28"))
        report = examine(build, [day], lambda day, span=span: span, ["published"], config.trading, 0.0)
        assert report.stages().loc["exogenous"].tolist() == [report.stages().loc["exogenous", "values"], 0]
        assert report.clean == clean
        if not clean:
            (finding,) = report.findings
            assert (finding.stage, finding.shows_in) == ("exogenous", "weights")


# What a run does ----------------------------------------------------------------------------------------------------


def options(settings):
    flat = [f"{section}.{key}={value}" for section, keys in settings.items() for key, value in keys.items()]
    return [part for setting in flat for part in ("--set", setting)]


def test_the_command_passes_on_a_clean_run_and_says_what_it_compared():
    result = CliRunner().invoke(main, ["check", "leakage", *options(TINY), "--dates", "1", "--json", "--quiet"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["clean"] and told["days"] == ["2024-03-28"] and told["findings"] == []
    assert [row["stage"] for row in told["stages"]] == list(STAGES)
    assert all(row["values"] > 0 and row["differ"] == 0 for row in told["stages"])
    assert set(told["changes"]) == {"truncated", "exchanged", "spoilt", "listed"}


def test_the_command_ends_with_4_on_a_leak_of_a_users_own_policy(tmp_path, monkeypatch):
    (tmp_path / "own_policy_of_a_test.py").write_text(
        "from tests.engine.leakage.test_leakage import Momentum\n"
        "class Leaky(Momentum):\n"
        "    def __init__(self, panel):\n"
        "        self.last = panel.dates[-1]\n"
        "    def decide(self, panel, state):\n"
        "        decision = super().decide(panel, state)\n"
        "        decision.weights[:] = 1 / (9 + (self.last - panel.dates[-1]).days)\n"
        "        return decision\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    policy = ["--policy", "own_policy_of_a_test:Leaky"]
    result = CliRunner().invoke(main, ["check", "leakage", *options(TINY), "--dates", "1", "--quiet", *policy])
    assert result.exit_code == 4, result.output
    assert "LEAK in weights" in result.output and "1 found" in result.output
    result = CliRunner().invoke(main, ["check", "leakage", "--policy", "own_policy_of_a_test:Missing"])
    assert result.exit_code == 2 and "has no Missing" in result.output


def test_a_random_policy_is_refused_because_nothing_can_be_told_from_chance():
    rng = np.random.default_rng()

    class Random(Momentum):
        def decide(self, panel, state):
            decision = super().decide(panel, state)
            return replace(decision, weights=decision.weights * rng.random())

    with pytest.raises(ValueError, match="fixed seed"):
        check_policy(PANEL, Random, [DAY])


def test_an_error_that_only_another_future_causes_is_a_leak_and_one_on_the_true_data_is_the_policys():
    class Fails(Momentum):
        def __init__(self, panel):
            self.end = panel.dates[-1]

        def decide(self, panel, state):
            if self.end != PANEL.dates[-1]:
                raise LookupError("no such day")
            return super().decide(panel, state)

    (finding,) = check_policy(PANEL, Fails, [DAY]).findings
    assert finding.stage == "weights" and "LookupError: no such day" in str(finding)
    with pytest.raises(ValueError, match=r"decide failed for .* ZeroDivisionError"):
        check_policy(PANEL, type("Broken", (Momentum,), {"decide": lambda self, panel, state: 1 / 0}), [DAY])


def test_a_factory_that_asks_for_what_is_not_offered_is_told_so():
    with pytest.raises(ValueError, match="needs model; it may ask for panel"):
        check_policy(PANEL, lambda model: Momentum(), [DAY])


def test_figures_count_by_the_day_they_were_published():
    table = pd.DataFrame(
        {
            "date": ["2024-01-01", "2024-02-01", "2024-03-14", "2024-03-20"],
            "series": ["CPIAUCSL", "CPIAUCSL", "DFF", "X"],
        }
    )
    # By 15 March the index of January is out (13 February), that of February not surely; the rate of the 14th is not.
    assert figures_after(table, pd.Timestamp("2024-03-15"), {}).tolist() == [False, True, True, True]


def test_texts_count_by_the_session_they_were_known_at():
    texts = pd.DataFrame({"timestamp": ["2024-07-03T12:00:00-04:00", "2024-07-03T14:00:00-04:00"]})
    assert texts_after(texts, pd.Timestamp("2024-07-03"), "XNYS").tolist() == [False, True]
    scores = pd.DataFrame({"date": ["2024-07-02", "2024-07-03"]})
    assert texts_after(scores, pd.Timestamp("2024-07-03"), "XNYS").tolist() == [False, True]


# Leaks planted in the pipeline, on a simulated and on the real market ------------------------------------------------


LEAKS = {
    scaler_on_all_history: "scaler",
    same_bar_fill: "fills",
    centred_window: "features",
    unlagged_series: "exogenous",
    unlagged_mood: "exogenous",
    universe_of_today: "universe",
    whole_sample_sharpe: "sharpe",
}


def mood_file(folder):
    days = pd.date_range("2023-06-01", "2024-06-28")
    scores = np.sin(np.arange(len(days)))
    pd.DataFrame({"date": days, "score": scores}).to_csv(folder / "mood.csv", index=False)
    return str(folder / "mood.csv")


def simulated_run(tmp_path):
    """Thirty-six assets, listings and ends among them, with every kind of input beside prices."""
    beside = {
        "macro": ["CPIAUCSL"],
        "macro_path": macro_file(tmp_path),
        "sentiment": mood_file(tmp_path),
        "statics": True,
    }
    return merge(TINY, {"simulated": {"n_assets": 36, "n_clusters": 4}, "inputs": beside})


def real_run(tmp_path):
    """Forty-odd symbols: the first eleven of the seed list in each file, shares, funds, pairs and the awkward ones."""
    folder = data_folder()
    known = pd.read_csv(folder / "symbols.csv")
    chosen = known[known["in_seed_list"].astype(bool)].groupby("file", sort=True).head(11)["symbol"]
    load_universe("seed").loc[lambda table: table.index.isin(chosen)].to_csv(tmp_path / "universe.csv")
    return {
        "data": {"source": "files", "path": [str(folder)], "universe": str(tmp_path / "universe.csv")},
        "inputs": {"macro": ["CPIAUCSL"]},
        "encoder": {"stride": 5},
        "embedding": {"span": 126},
        "clustering": {"n_clusters": 6},
    }


@pytest.mark.acceptance
@pytest.mark.parametrize("market", [simulated_run, real_run], ids=["simulated", "real"])
@pytest.mark.parametrize("leak", [None, *LEAKS], ids=lambda leak: getattr(leak, "__name__", "clean"))
def test_each_leak_planted_in_a_run_is_named(market, leak, tmp_path, monkeypatch):
    if leak is unlagged_mood and market is real_run:
        pytest.skip("no sentiment of these years among the real data")
    if leak is not None:
        leak(monkeypatch)
    report = check_run(make_config(market(tmp_path)), 2 if leak is None else 1)
    assert [finding.stage for finding in report.findings] == ([] if leak is None else [LEAKS[leak]])


def test_everything_that_a_panel_carries_is_poisoned_after_the_day_and_kept_before_it():
    panel = three_clusters(60)
    frame = panel.close * 2
    beside = dict.fromkeys(("market", "rate", "split", "paid"), frame)
    exog = pd.DataFrame({"VIX": np.arange(60.0)}, panel.dates)
    panel = replace(panel, **beside, exog=exog, member=panel.close > 0)
    day = panel.dates[30]
    other = poison_panel(panel, day, WAYS["scaled"], np.random.default_rng(0))
    for name in (*beside, "exog", "member"):
        before, after = getattr(panel, name), getattr(other, name)
        pd.testing.assert_frame_equal(before.loc[:day], after.loc[:day], check_freq=False)
        assert (before.iloc[31:] != after.iloc[31:]).all(axis=None), name
