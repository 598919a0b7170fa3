"""A finished run assessed: on a market with planted groups, without any training."""

import json
import shutil
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from clusterfolio.engine.assembly.market import load_market
from clusterfolio.engine.assembly.plan import test_dates as decision_days
from clusterfolio.engine.cli.main import main
from clusterfolio.engine.config.run import dump, make_config, to_dict
from clusterfolio.engine.evidence import anatomy
from clusterfolio.engine.evidence.assessment import assess, write
from clusterfolio.engine.evidence.other_draws import _ratios, overlap, seed_luck
from clusterfolio.engine.evidence.records import average_member
from clusterfolio.engine.evidence.rivals import Replay, make_baseline
from clusterfolio.engine.evidence.verdict import verdict
from clusterfolio.engine.ledger.ledger import Ledger
from clusterfolio.engine.ledger.trials import Trial
from clusterfolio.engine.report.layout.plots import to_png
from clusterfolio.engine.report.page import Picture, render
from clusterfolio.engine.report.sections.verdict import plot_luck
from clusterfolio.engine.run_dir import artifacts
from clusterfolio.engine.run_dir.finished import FinishedRun
from clusterfolio.engine.run_dir.tables import read_run
from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.market_units import in_market_units
from clusterfolio.engine.trading.metrics import compute_metrics
from clusterfolio.feeds.exogenous.macro import cash_returns
from clusterfolio.feeds.features import with_features
from clusterfolio.feeds.writing import finite, write_json
from clusterfolio.strategies.allocation import Allocator
from clusterfolio.strategies.policy import Decision, PortfolioState
from clusterfolio.strategies.selection import SelectionConfig, ranking_sharpe, top_sharpe_per_cluster
from clusterfolio.strategies.sharpe import sharpe_ratios
from tests.conftest import three_clusters
from tests.eligible import Eligible
from tests.engine.ledger.made_trials import run_json

SETTINGS = {
    "significance": {"portfolios": 100},
    "selection": {"sharpe_sessions": 120, "excess_of_cash": False},
    "clustering": {"n_clusters": 3},
    "data": {"benchmark": "MKT"},
}


def decided(panel, asof) -> Decision:
    returns = panel.until(asof).session_returns()[panel.tradable]
    labels = pd.Series([0] * 6 + [1] * 6 + [2] * 6, index=panel.tradable)
    sharpe = sharpe_ratios(returns.iloc[-120:])
    selected = top_sharpe_per_cluster(sharpe, labels)
    weights = pd.Series(1 / 3, index=selected)
    empty = pd.DataFrame(np.eye(18)[:, :3], index=labels.index)
    known = {"excluded": {}, "notes": [], "linkage": np.empty((0, 4))}
    return Decision(asof, weights, labels, sharpe, selected, empty, **known)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> FinishedRun:
    """A run of about a year with monthly decisions, in its directory."""
    panel = replace(three_clusters(), simulated=True)
    config = make_config(SETTINGS)
    days = panel.sessions[np.arange(150, 410, 21)]
    decisions = [decided(panel, day) for day in days]
    cash = pd.Series(0.0001, panel.sessions)
    result = run_backtest(panel, lambda now: Replay(decisions), days, config.trading, cash=cash)
    folder = tmp_path_factory.mktemp("run")
    verdicts = panel.assets.assign(verdict="used", why="").rename_axis("symbol")
    artifacts.write_tables(folder, result, verdicts, panel)
    metrics = compute_metrics(result, cash, panel.session_closes()["MKT"])
    write_json(folder / "metrics.json", metrics)
    (folder / "config.toml").write_text("")
    facts = {
        "benchmark": "MKT", "currency": "USD", "capital": 100_000.0, "simulated": True, "seed": 0,
        "dates": {"panel": [str(panel.dates[0].date()), str(panel.dates[-1].date())]},
    }  # fmt: skip
    write_json(folder / "run.json", facts)
    return FinishedRun(folder, config, panel, cash, result.decisions, read_run(folder))


@pytest.fixture(scope="module")
def assessed(finished, tmp_path_factory):
    return assess(finished, Ledger(tmp_path_factory.mktemp("none") / "ledger.sqlite"))


def trial(seed: int, returns: pd.DataFrame, config: dict, run: str = "") -> Trial:
    config = {**config, "engine": {**config["engine"], "seed": seed}}
    return Trial(
        config, "data", "code", True, "MKT", returns, {"sharpe": 1.0 + seed, "total_return": 0.1 * seed}, {}, run
    )


def test_everything_is_there_and_the_words_fit_the_figures(assessed):
    evidence = assessed.evidence
    assert evidence["primary"]["found"] == assessed.verdict.claim == (evidence["primary"]["p_adjusted"] <= 0.05)
    assert {row["claim"] for row in evidence["claims"]} == {
        "1/N", "the benchmark", "the best clustering without learning",
    }  # fmt: skip
    assert evidence["sharpe"]["deflated"] <= evidence["sharpe"]["probabilistic"]
    assert evidence["rank_ic"]["decisions"] == 13 and evidence["factors"]["betas"].keys() >= {"market"}
    assert len(assessed.luck) == 200 and set(assessed.luck["kind"]) == {"picks", "partitions"}
    assert {"this strategy", "1/N", "benchmark MKT"} <= set(assessed.baselines.index)
    assert ("Simulated data", "The prices are made up. Whatever is found here holds in this made-up market only.") in (
        assessed.verdict.caveats
    )
    json.dumps(finite(evidence))


def test_the_parts_of_the_return_add_up(assessed, finished):
    found = dict(assessed.evidence["parts"])
    total = found.pop("total")
    assert sum(found.values()) == pytest.approx(total)
    net = finished.tables.returns["strategy"]
    assert total == pytest.approx(np.log1p(net).sum() * 252 / len(net))


def test_a_run_without_a_ledger_says_that_its_trials_are_not_counted(assessed):
    assert assessed.evidence["trials"] == {"count": 1, "effective": 1.0, "known": False}
    assert "Trials not counted" in dict(assessed.verdict.caveats)


def test_other_trials_on_the_ledger_make_the_test_stricter_and_change_nothing_else(finished, assessed, tmp_path):
    ledger, own = Ledger(tmp_path / "ledger.sqlite"), finished.tables.returns
    config = to_dict(finished.config)
    first = trial(0, own, config)
    receipt = ledger.append(first)
    for seed in range(1, 6):
        noise = np.random.default_rng(seed).normal(0, 0.01, len(own))
        ledger.append(trial(seed, own.assign(strategy=own["strategy"] + noise), config))
    facts = finished.tables.run | run_json(first, receipt)
    known = replace(finished, tables=replace(finished.tables, run=facts))
    again = assess(known, ledger)
    found = again.evidence
    assert again.luck.equals(assessed.luck) and again.baselines.equals(assessed.baselines)
    for name in ("parts", "factors", "rank_ic", "rebalance_days", "capacity", "luck"):
        assert found[name] == assessed.evidence[name]
    assert found["trials"]["problems"] == [] and "Ledger not whole" not in dict(again.verdict.caveats)
    assert found["trials"]["problems"] == [] and "Ledger not whole" not in dict(again.verdict.caveats)
    doubtful = found | {"trials": found["trials"] | {"problems": ["row 2 is missing"]}}
    assert "row 2 is missing" in dict(verdict(doubtful).caveats)["Ledger not whole"]
    assert found["trials"]["count"] == 6 and 4.5 < found["trials"]["effective"] <= 6
    assert found["primary"]["p_adjusted"] > found["primary"]["p"]
    assert found["seeds"]["seeds"] == 6 and found["seeds"]["sharpe"]["high"] == 6.0
    assert found["seeds"]["sharpe"]["spread"] == pytest.approx(np.std(range(6), ddof=1))


def test_the_comparator_is_what_equal_holdings_of_each_cluster_earn(finished):
    found = average_member(finished)
    decisions = finished.decisions
    first, second = decisions[0].asof, decisions[1].asof
    names = finished.panel.tradable
    sized, at_end = (finished.panel.close.loc[day, names] for day in (first, second))
    bought = finished.panel.open.loc[first:, names].iloc[1]
    sessions = finished.panel.sessions.slice_indexer(first, second)
    idle = (1.0001 - 0.98 * (bought / sized).mean()) * 1.0001 ** (sessions.stop - sessions.start - 2)
    grown = idle + 0.98 * (at_end / sized).mean()
    assert (1 + found.loc[:second]).prod() == pytest.approx(grown, rel=1e-8)


def test_picks_on_the_run_s_own_days_are_its_own_and_later_ones_know_more(finished):
    panel, decisions = finished.panel, finished.decisions
    returns = panel.session_returns()[panel.tradable]
    selection = SelectionConfig(sharpe_sessions=120, excess_of_cash=False)

    def ranked_by(day):
        return ranking_sharpe(returns.loc[:day], selection)

    def best(decision, ratios):
        return top_sharpe_per_cluster(ratios, decision.labels)

    how = Allocator(), panel.assets["asset_class"]
    own = anatomy.picks_on_other_days(decisions, returns, ranked_by, best, *how, 0)
    assert list(own) == [decision.asof for decision in decisions]
    later = anatomy.picks_on_other_days(decisions, returns, ranked_by, best, *how, 7)
    for day, weights in later.items():
        assert sorted(weights.index) == sorted(decided(panel, day).selected)


def test_returns_after_a_day_change_no_ratio_that_winners_are_chosen_by_on_it(finished):
    returns = finished.panel.session_returns()[finished.panel.tradable]
    other = returns.copy()
    other.iloc[300:] = -other.iloc[300:]
    one, two = (_ratios(finished, table) for table in (returns, other))
    pd.testing.assert_frame_equal(one.iloc[:300], two.iloc[:300], check_exact=True)
    assert one.iloc[299].notna().any()
    assert not np.allclose(one.iloc[301], two.iloc[301])
    alone = ranking_sharpe(returns.iloc[:300], finished.config.selection, finished.cash)
    np.testing.assert_allclose(one.iloc[299], alone, rtol=1e-12)


def test_ranks_that_turn_out_right_have_a_correlation_of_one(finished):
    closes = finished.panel.session_closes()
    ends = [*[decision.asof for decision in finished.decisions[1:]], closes.index[-1]]
    seeing = [
        replace(decision, sharpe=(closes.loc[end] / closes.loc[decision.asof])[decision.labels.index])
        for decision, end in zip(finished.decisions, ends, strict=True)
    ]
    assert anatomy.ranks_that_lasted(seeing, closes).to_numpy() == pytest.approx(np.ones(13))


def test_picks_overlap_by_the_share_of_common_names(tmp_path):
    for name, held in (("a", [0.5, 0.5, 0.0]), ("b", [0.0, 0.5, 0.5])):
        (tmp_path / name).mkdir()
        table = pd.DataFrame([[*held, 0.0]], index=["2024-01-31"], columns=["X", "Y", "Z", "CASH"])
        table.rename_axis("date").to_csv(tmp_path / name / "weights.csv")
    assert overlap([tmp_path / "a", tmp_path / "b", tmp_path / "gone"]) == pytest.approx(1 / 3)
    assert seed_luck({}, Ledger(tmp_path / "none.sqlite")) is None


@pytest.mark.parametrize("how", ["one decision", "three months", "all in cash"])
def test_a_run_that_says_little_is_assessed_all_the_same(finished, tmp_path, how):
    kept, tables = finished.decisions[:1], finished.tables
    if how == "three months":
        kept = finished.decisions[-3:]
    if how == "all in cash":
        nothing = pd.Series(dtype=float)
        kept = [replace(d, weights=nothing, labels=pd.Series(dtype=int), sharpe=nothing, selected=[]) for d in kept]
    days = pd.DatetimeIndex([decision.asof for decision in kept])
    result = run_backtest(finished.panel, lambda now: Replay(kept), days, finished.config.trading, cash=finished.cash)
    metrics = compute_metrics(result, finished.cash, finished.panel.session_closes()["MKT"])
    tables = replace(
        tables, returns=result.returns, gross=result.gross, positions=result.positions,
        transactions=in_market_units(result.transactions, finished.panel), metrics=metrics, weights=result.weights,
    )  # fmt: skip
    found = assess(replace(finished, decisions=kept, tables=tables), Ledger(tmp_path / "ledger.sqlite"))
    if how == "one decision":
        assert found.evidence["rebalance_days"] is None and found.evidence["primary"] is not None
    else:
        assert found.verdict.headline.startswith("Not judged") and not found.verdict.claim


def test_the_report_begins_with_the_verdict_and_says_so_where_there_is_none(finished, assessed, tmp_path):
    assert "was not worked out" in render(read_run(finished.folder), {})
    folder = tmp_path / "assessed"
    shutil.copytree(finished.folder, folder)
    write(assessed, folder)
    inputs = read_run(folder)
    page = render(inputs, {"luck": Picture(to_png(plot_luck(inputs.luck, inputs.evidence["luck"]), True))})
    bold, colon, rest = assessed.verdict.headline.replace("'", "&#39;").partition(": ")
    assert f"<strong>{bold}{colon}</strong>{rest}" in page
    assert page.index('id="verdict"') < page.index('id="headline"') and "data:image/png" in page
    for words in ("hierarchical", "momentum 12-1", "Luck of the rebalance day", "Hansen"):
        assert (words in page) == (words != "hierarchical")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    result = CliRunner().invoke(main, ["significance", str(tmp_path)])
    assert result.exit_code == 2 and "not a run directory" in result.output


@pytest.mark.acceptance
def test_ten_years_are_assessed_in_ninety_seconds(tmp_path):
    """300 made-up assets, monthly decisions on clusters of correlations, 2,000 random portfolios, all baselines."""
    settings = {
        "simulated": {"n_assets": 300, "start": "2013-06-03", "flaws": False},
        "dates": {"train_start": "2014-01-01", "train_end": "2015-12-31", "start": "2016-01-01"},
    }
    config = make_config(settings)
    market = load_market(config)
    panel, verdicts = market.panel, market.verdicts
    cash, _ = cash_returns(panel, config.cash)
    days = decision_days(panel, config)
    candidates = Eligible(config.selection, config.embedding, config.features, config.encoder.lookback, cash)
    policy, known = make_baseline("correlation clusters", config, candidates), with_features(panel, config.features)
    made = [policy.decide(known.until(day), PortfolioState()) for day in days]
    result = run_backtest(panel, lambda now: Replay(made), days, config.trading, cash=cash)
    artifacts.write_tables(tmp_path, result, verdicts, panel)
    write_json(tmp_path / "metrics.json", compute_metrics(result, cash, panel.session_closes()[panel.benchmark]))
    (tmp_path / "config.toml").write_text(dump(config))
    facts = {
        "benchmark": panel.benchmark, "currency": "USD", "capital": 100_000.0, "simulated": True, "seed": 0,
        "dates": {"panel": [str(panel.dates[0].date()), str(panel.dates[-1].date())]},
    }  # fmt: skip
    write_json(tmp_path / "run.json", facts)
    finished = FinishedRun(tmp_path, config, panel, cash, result.decisions, read_run(tmp_path))
    started = time.process_time()
    found = assess(finished, Ledger(tmp_path / "ledger.sqlite"))
    assert time.process_time() - started < 90  # of one core; other programs may be running
    assert len(found.luck) == 2000 and found.evidence["years"] > 9.9
