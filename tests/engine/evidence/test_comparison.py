"""A finished run beside its baselines, other seeds and other days; a walk-forward run, so that folds matter."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.evidence.assessment import policy_table
from clusterfolio.engine.evidence.rivals import Replay, compare, decide_all, figures, of_backtest, trade, trade_wide
from clusterfolio.engine.jobs import compare as retraining
from clusterfolio.engine.jobs.compare import with_earlier
from clusterfolio.engine.ledger.ledger import Ledger
from clusterfolio.engine.progress import Silent
from clusterfolio.engine.run_dir.finished import reopen
from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.metrics import annual_turnover, trading_costs
from clusterfolio.feeds.raw import DataError
from clusterfolio.feeds.writing import write_table
from clusterfolio.strategies.baselines.fitted import FITTED
from clusterfolio.strategies.baselines.rules import RULES, SLOW
from tests.market_files import write_market
from tests.walk_forward_files import rolling_options


def invoke(*args, code=0):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("comparison")
    write_market(root / "market")
    invoke(*rolling_options(root / "market", root / "run", "--end", "2024-10-31"))
    return root / "run"


@pytest.fixture(scope="module")
def finished(folder):
    return reopen(folder)


def test_a_run_opened_again_decides_and_earns_what_it_did(finished):
    found = trade(finished.panel, finished.config, finished.decisions, finished.cash)
    tables = finished.tables
    pd.testing.assert_series_equal(found.net, tables.returns["strategy"], check_names=False, check_index_type=False)
    pd.testing.assert_series_equal(found.gross, tables.gross, check_names=False, check_index_type=False)
    assert found.turnover == pytest.approx(tables.metrics["strategy"]["turnover"])
    chosen = tables.clusters[tables.clusters["selected"]]
    for decision in finished.decisions:
        assert set(decision.selected) == set(chosen.loc[chosen["date"] == decision.asof, "symbol"])
        assert set(decision.weights.index) == set(decision.selected)


def test_other_prices_than_the_runs_are_refused(folder, tmp_path):
    copied = tmp_path / "run"
    copied.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (copied / path.name).write_bytes(path.read_bytes())
    facts = json.loads((copied / "run.json").read_text())
    facts["fingerprint"]["data"] = "0" * 64
    (copied / "run.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match="the source has changed since"):
        reopen(copied)


def test_baselines_trade_the_runs_sessions_dates_and_assets(finished):
    found = compare(finished.panel, finished.config, finished.cash, finished.decisions)
    assert set(found.returns) == set(RULES) - set(SLOW) - {"asset classes"}
    assert "a universe file" in found.left_out["asset classes"]
    assert found.returns.index.equals(pd.DatetimeIndex(finished.tables.returns.index))
    for name, weights in found.picks.items():
        assert list(weights.index) == [decision.asof for decision in finished.decisions]
        for decision, row in zip(finished.decisions, weights.to_numpy(), strict=True):
            assert set(weights.columns[row > 0]) <= set(decision.labels.index), name
    assert list(found.table()["sharpe"]) == sorted(found.table()["sharpe"], reverse=True)
    assert (found.gross - found.returns).to_numpy().min() > -1e-15
    single = compare(finished.panel, finished.config, finished.cash, finished.decisions, ["random clusters"])
    pd.testing.assert_series_equal(single.returns["random clusters"], found.returns["random clusters"])


def test_an_unknown_baseline_is_named(finished):
    with pytest.raises(ValueError, match="unknown baseline '1/M'; available: 1/N"):
        compare(finished.panel, finished.config, finished.cash, finished.decisions, ["1/M"])


def test_many_names_at_once_earn_what_the_engine_says(finished):
    (made,) = decide_all(finished.panel, finished.config, finished.decisions, ["inverse volatility"]).values()
    one, other = (way(finished.panel, finished.config, made, finished.cash) for way in (trade, trade_wide))
    for name in ("net", "gross", "costs"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-9)
    assert one.turnover == pytest.approx(other.turnover)
    pd.testing.assert_frame_equal(one.weights, other.weights, check_dtype=False, check_index_type=False)


def test_figures_are_those_of_the_metrics_file(finished):
    own = finished.tables.metrics["strategy"]
    found = figures(trade(finished.panel, finished.config, finished.decisions, finished.cash), finished.cash)
    for name in ("total_return", "cagr", "volatility", "sharpe", "max_drawdown", "turnover"):
        assert found[name] == pytest.approx(own[name]), name
    assert found["cost_bps"] == pytest.approx(own["costs"]["bps_per_year"])


def test_a_baseline_is_fitted_on_each_folds_span(finished, monkeypatch):
    spans = []
    kind = FITTED["window PCA clusters"]
    honest = kind.fit

    def fit(self, panel, start=None, **more):
        spans.append((start, panel.dates[-1]))
        return honest(self, panel, start, **more)

    monkeypatch.setattr(kind, "fit", fit)
    monkeypatch.setattr(retraining, "KEPT", "apart")
    found = retraining.baselines(finished, ["window PCA clusters"], {}, Silent())
    folds = finished.tables.run["folds"]
    assert len(folds) > 1
    assert spans == [(pd.Timestamp(fold["train_start"]), pd.Timestamp(fold["train_end"])) for fold in folds]
    assert len(found.returns) == len(finished.tables.returns)


def test_compare_writes_tables_and_does_nothing_twice(folder, monkeypatch):
    args = ("compare", folder, "--only", "1/N", "--only", "untrained encoder", "--seeds", 2, "--offsets", 2)
    before = Ledger().trials()
    shown = invoke(*args, "--workers", 1)
    looked_at = Ledger().trials().drop(index=before.index)
    assert "Every seed and every day is a trial" in shown
    table = pd.read_csv(folder / "baselines.csv", index_col="policy")
    assert {"1/N", "untrained encoder", "this strategy", "benchmark SIM.MKT"} <= set(table.index)
    own = json.loads((folder / "metrics.json").read_text())["strategy"]
    assert table.loc["this strategy", "sharpe"] == own["sharpe"]
    seeds = pd.read_csv(folder / "seeds.csv", index_col="seed", keep_default_na=False)
    assert list(seeds.index) == [0, 1] and seeds.loc[0, "sharpe"] == own["sharpe"]
    first, second = (
        json.loads((run / "run.json").read_text()) for run in (folder, folder / "compare" / "seeds" / "seed-1")
    )
    assert second["seed"] == 1 and second["fingerprint"]["data"] == first["fingerprint"]["data"]
    assert second["fingerprint"]["model"] != first["fingerprint"]["model"]
    offsets = pd.read_csv(folder / "offsets.csv", index_col="sessions_later")
    assert offsets.index[0] == 0 and len(offsets) == 2
    assert [Path(run).name for run in looked_at["run"]] == ["seed-1", f"offset-{offsets.index[1]}"]
    assert "picks" in shown and "untrained encoder" in shown and "standard deviation" in shown

    def again(*args, **more):
        raise AssertionError("done a second time")

    written = {name: (folder / name).read_bytes() for name in ("baselines.csv", "seeds.csv", "offsets.csv")}
    for name in ("run_backtest", "decide_all"):
        monkeypatch.setattr(retraining, name, again)
    monkeypatch.setattr("clusterfolio.engine.jobs.sweep.run", again)
    invoke(*args, "--workers", 1)
    assert len(Ledger().trials()) == len(before) + 2
    assert written == {name: (folder / name).read_bytes() for name in written}


def test_compare_refuses_what_it_does_not_know(folder, tmp_path):
    assert "unknown baseline" in invoke("compare", folder, "--only", "1/M", "--seeds", 0, code=2)
    assert "not a run directory" in invoke("compare", tmp_path, code=2)


def test_replayed_decisions_know_their_days_only(finished):
    with pytest.raises(KeyError):
        Replay(finished.decisions[1:]).decide(finished.panel.until(finished.decisions[0].asof), None)


def test_decisions_put_off_start_later_and_keep_the_encoders(finished, monkeypatch, tmp_path):
    monkeypatch.setattr(retraining, "KEPT", "other")
    days = []

    def watched(panel, policy_for, dates, trading, **more):
        days.append(dates)
        return run_backtest(panel, policy_for, dates, trading, **more)

    monkeypatch.setattr(retraining, "run_backtest", watched)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    table = retraining.offsets(finished, 3, Silent(), ledger)
    sessions = finished.panel.sessions
    own = sessions.get_indexer([decision.asof for decision in finished.decisions])
    for offset, dates in zip(table.index[1:], days, strict=True):
        shifted = sessions.get_indexer(dates)
        np.testing.assert_array_equal(shifted, own[: len(shifted)] + offset)
    assert np.isfinite(table.to_numpy()).all()
    looked_at = ledger.trials()
    assert len(looked_at) == 2 and looked_at["config_hash"].nunique() == 2
    assert set(looked_at["data"]) == {finished.tables.run["fingerprint"]["data"]}
    for key, offset in zip(looked_at.index, table.index[1:], strict=True):
        own = ledger.trial(key).returns["strategy"]
        assert own.index[0] > finished.tables.returns.index[0]
        assert looked_at.loc[key, "sessions"] == len(own) == len(finished.tables.returns) - offset


def test_the_verdict_again_is_no_further_look(folder):
    def assessed() -> dict:
        invoke("significance", folder)
        return json.loads((folder / "significance.json").read_text())["trials"]

    before = Ledger().count()
    first, second = assessed(), assessed()
    assert first == second and Ledger().count() == before


def test_the_table_of_policies_has_the_strategy_the_benchmark_and_what_an_earlier_one_found(finished, tmp_path):
    found = compare(finished.panel, finished.config, finished.cash, finished.decisions, ["1/N"])
    own = {"total_return": 0.2, "sharpe": 9.0, "costs": {"bps_per_year": 12.0}, "by_year": {"2024": 0.2}}
    table = policy_table(found, {"strategy": own, "benchmark": {"sharpe": -9.0}}, "MKT")
    assert list(table.index) == ["this strategy", "1/N", "benchmark MKT"] and table.index.name == "policy"
    assert table.loc["this strategy", "cost_bps"] == 12.0 and set(table.dtypes) == {np.dtype(float)}
    path = tmp_path / "baselines.csv"
    assert with_earlier(table, path) is table
    write_table(path, table.rename(index={"1/N": "other"}).assign(sharpe=[1.0, 99.0, 1.0]))
    both = with_earlier(table, path)
    assert list(both.index) == ["other", "this strategy", "1/N", "benchmark MKT"]
    assert both.loc["this strategy", "sharpe"] == 9.0  # what was found now counts


def test_of_a_backtest_costs_are_the_transactions(finished):
    replay = Replay(finished.decisions)
    dates = pd.DatetimeIndex([decision.asof for decision in finished.decisions])
    result = run_backtest(finished.panel, lambda now: replay, dates, finished.config.trading)
    found = of_backtest(result)
    assert found.costs.sum() == pytest.approx(result.costs.to_numpy().sum())
    value = result.value.reindex(found.net.index)
    assert found.turnover == pytest.approx(annual_turnover(result.transactions, value))
    assert figures(found, 0.0)["cost_bps"] == pytest.approx(trading_costs(result.costs, value)["bps_per_year"])
