"""A run of one's own, from a stock Cerebro or from plain tables, becomes a run directory with a verdict."""

import json
from dataclasses import replace

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.evidence.assessment import assess, assess_run
from clusterfolio.engine.evidence.exposure import exposure_of
from clusterfolio.engine.evidence.rivals import Replay
from clusterfolio.engine.jobs.judge import judge
from clusterfolio.engine.ledger.audit import audit
from clusterfolio.engine.ledger.ledger import Ledger
from clusterfolio.engine.run_dir.finished import reopen
from clusterfolio.engine.trading.account import Account
from clusterfolio.engine.trading.clock import ClockCerebro
from clusterfolio.engine.trading.recorder import RunRecorder
from clusterfolio.feeds.bt_feed import panel_feeds
from clusterfolio.strategies.policy import Decision
from clusterfolio.strategies.rebalance import RebalanceStrategy
from tests.conftest import three_clusters
from tests.engine.evidence.test_exposure import finished_run
from tests.engine.trading.own_runs import Crossover, Orders, bars, cerebro_of, recorded

FAST = {"simulated": True, "report": False, "portfolios": 100}


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.sqlite")


@pytest.fixture(scope="module")
def strategy():
    return cerebro_of(bars(), Crossover, slow=60).run()[0]


@pytest.fixture(scope="module")
def judged(strategy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged")
    return judge(strategy, folder / "run", ledger=Ledger(folder / "ledger.sqlite"), **FAST)


@pytest.mark.acceptance
def test_a_crossover_in_a_stock_cerebro_comes_to_a_report(strategy, tmp_path, ledger):
    found = judge(strategy, tmp_path / "run", simulated=True, portfolios=100, ledger=ledger)
    page = (found.folder / "report.html").read_text(encoding="utf-8")
    bold, colon, rest = found.verdict.headline.replace("'", "&#39;").partition(": ")
    assert f"<strong>{bold}{colon}</strong>{rest}" in page
    assert "random names of its feeds, as many as it held" in page
    assert "No leakage check" in page and "no decision of this run states clusters" in page
    assert "Cluster map" not in page and "One training seed" not in page and "1/N of 5 names" in page
    for name in ("account", "weights", "luck", "tearsheet_returns", "tearsheet_transactions"):
        assert (found.folder / f"{name}.png").stat().st_size > 5000
    assert {row["claim"] for row in found.assessment.evidence["claims"]} == {"1/N"}


def test_its_tables_are_the_account_s(strategy, judged):
    recorder = strategy.analyzers.runrecorder
    tables = reopen(judged.folder).tables
    own = recorder.returns.loc[tables.returns.index[0] :]
    assert tables.returns["strategy"].to_numpy() == pytest.approx(own.to_numpy(), abs=1e-13)
    fills = recorder.transactions
    assert len(tables.transactions) == len(fills)
    assert tables.transactions["commission"].sum() == pytest.approx(fills["commission"].sum())
    first = fills["date"].iloc[0]
    assert tables.returns.index[0] == first, "the record begins with the first fill"
    held = recorder.positions.loc[tables.positions.index, "S0"]
    assert tables.positions["S0"].to_numpy() == pytest.approx(held.to_numpy())


def test_the_exposures_explain_the_account(judged):
    run = reopen(judged.folder)
    returns = pd.DataFrame({"net": run.tables.returns["strategy"], "gross": run.tables.gross})
    found = exposure_of(run.panel, run.tables.positions, returns, run.tables.transactions)
    assert np.abs(found.elsewhere).max() < 1e-12


def test_a_judged_directory_is_assessed_again_without_the_feeds(judged):
    again = assess_run(judged.folder, Ledger(judged.folder.parent / "ledger.sqlite"))
    assert again.evidence["primary"] == judged.assessment.evidence["primary"]
    assert again.luck.equals(judged.assessment.luck) and again.verdict == judged.verdict


def test_tuning_makes_trials_and_a_stricter_test(tmp_path, ledger):
    counts, adjusted = [], []
    for number, slow in enumerate((60, 70, 80)):
        run = cerebro_of(bars(), Crossover, slow=slow).run()
        found = judge(run, tmp_path / "runs" / str(number), ledger=ledger, **FAST)
        counts.append(found.assessment.evidence["trials"]["count"])
        adjusted.append(found.assessment.evidence["primary"]["p_adjusted"])
    assert counts == [1, 2, 3] and ledger.count() == 3
    primary = found.assessment.evidence["primary"]
    assert adjusted[0] == pytest.approx(judge_alone(tmp_path, slow=60)["p"])
    assert primary["p_adjusted"] > primary["p"]
    assert audit(ledger, [tmp_path / "runs"]).problems == []


def test_what_an_optimisation_tried_counts(tmp_path, ledger):
    cerebro = cerebro_of(bars(2), Crossover, bt.Cerebro(maxcpus=1))
    cerebro.strats.clear()
    cerebro.optstrategy(Crossover, slow=[50, 60, 399])  # the last never trades
    runs = cerebro.run()
    found = judge(runs[1], tmp_path / "run", tried=runs, ledger=ledger, **FAST)
    assert found.assessment.evidence["trials"]["count"] == ledger.count() == 2
    assert audit(ledger, [tmp_path]).problems == []


def test_a_run_of_ours_is_judged_as_it_judges_itself(tmp_path, ledger):
    """The same decisions: once through the engine's own run directory, once through a recorder in a Cerebro."""
    panel, rng, made = replace(three_clusters(), simulated=True), np.random.default_rng(4), []
    for day in panel.sessions[np.arange(150, 410, 21)]:
        made.append(Decision(day, pd.Series(0.4, rng.choice(panel.tradable, 2, replace=False))))
    (tmp_path / "ours").mkdir()
    ours = finished_run(tmp_path / "ours", panel, made, {"trading": {"cash_interest": False}})  # as in backtrader
    cerebro = ClockCerebro()
    for feed in panel_feeds(panel):
        cerebro.adddata(feed)
        cerebro.broker.setcommission(1.5e-4, name=feed._name, stocklike=True, percabs=True, commtype=0)
    cerebro.broker.setcash(ours.config.trading.capital)
    days = tuple(decision.asof for decision in made)
    cerebro.addstrategy(
        RebalanceStrategy, policy_for=lambda now: Replay(made), decision_dates=days, panel=panel,
        sessions=panel.sessions, cash_buffer=ours.config.trading.cash_buffer,
    )  # fmt: skip
    cerebro.addanalyzer(RunRecorder)
    theirs = judge(
        cerebro.run(), tmp_path / "theirs", benchmark="MKT", cash=ours.cash, simulated=True, report=False,
        portfolios=200, ledger=ledger,
    )  # fmt: skip
    own = ours.tables.returns["strategy"]
    assert reopen(theirs.folder).tables.returns["strategy"].to_numpy() == pytest.approx(own.to_numpy(), abs=1e-12)
    one, two = assess(ours, Ledger(tmp_path / "none.sqlite")), theirs.assessment
    for figure in ("alpha_year", "difference_year", "net_alpha_year", "p", "beta"):
        assert two.evidence["primary"][figure] == pytest.approx(one.evidence["primary"][figure], rel=1e-6), figure
    assert two.luck["total_return"].to_numpy() == pytest.approx(one.luck["total_return"].to_numpy(), rel=1e-6)


def judge_alone(tmp_path, **params) -> dict:
    alone = Ledger(tmp_path / "alone.sqlite")
    run = cerebro_of(bars(), Crossover, **params).run()
    return judge(run, tmp_path / "alone", ledger=alone, **FAST).assessment.evidence["primary"]


def test_the_same_run_again_is_the_same_trial(judged):
    ledger = Ledger(judged.folder.parent / "ledger.sqlite")
    judge(cerebro_of(bars(), Crossover, slow=60).run(), judged.folder.with_name("again"), ledger=ledger, **FAST)
    assert ledger.count() == 1
    assert ledger.trials()["source"].tolist() == ["the run's own feeds"]


def test_a_single_feed_is_judged_against_holding_it(tmp_path, ledger):
    found = judge(recorded(bars(1), part=0.9), tmp_path / "run", ledger=ledger, **FAST)
    evidence = found.assessment.evidence
    assert evidence["comparator"] == {"kind": "holding", "pool": "S0"} and "holding S0" in found.verdict.headline
    assert [row["claim"] for row in evidence["claims"]] == ["holding S0"] and found.assessment.luck.empty


def test_a_feed_that_is_the_benchmark_is_none_of_the_names(tmp_path, ledger):
    found = judge(
        recorded(bars(), Orders, plan={5: [lambda self: self.buy(self.datas[1], size=10)]}),
        tmp_path / "run", benchmark="S0", ledger=ledger, **FAST,
    )  # fmt: skip
    evidence = found.assessment.evidence
    assert evidence["comparator"]["names"] == 4 and evidence["benchmark"] == "S0"
    assert {row["claim"] for row in evidence["claims"]} == {"1/N", "the benchmark"}


@pytest.mark.parametrize("kind", ["prices", "returns"])
def test_a_series_may_be_the_benchmark(strategy, tmp_path, ledger, kind):
    closes = bars(6)["S5"]["close"].rename("index")
    given = closes if kind == "prices" else closes.pct_change().dropna()
    found = judge(strategy, tmp_path / "run", benchmark=given, ledger=ledger, **FAST)
    stated = reopen(found.folder).tables.returns["benchmark"]
    assert stated.to_numpy() == pytest.approx(closes.pct_change().reindex(stated.index).to_numpy())
    assert found.assessment.evidence["benchmark"] == "index"


def test_plain_tables_are_judged_as_the_recorder_is(strategy, judged, tmp_path, ledger):
    recorder = strategy.analyzers.runrecorder
    account = Account(
        recorder.returns, recorder.positions, recorder.transactions, bars(),
        name="Crossover", parameters={"fast": 5},
    )  # fmt: skip
    by_hand, recorded = (
        one.assessment.evidence["primary"]
        for one in (judge(account, tmp_path / "tables", ledger=ledger, **FAST), judged)
    )
    for figure in ("alpha_year", "p", "net_alpha_year"):
        assert by_hand[figure] == pytest.approx(recorded[figure], rel=1e-6)


def test_shorts_and_borrowed_money_are_judged_as_they_are(tmp_path, ledger):
    """Twice the account long in one name and half of it short in another."""
    frames = bars()
    plan = {
        10: [lambda self: self.buy(self.datas[0], size=int(190_000 / self.datas[0].close[0]))],
        11: [lambda self: self.sell(self.datas[1], size=int(50_000 / self.datas[1].close[0]))],
    }
    cerebro = cerebro_of(frames, Orders, plan=plan)
    cerebro.broker.setcommission(0.0, leverage=4.0)
    found = judge(cerebro.run(), tmp_path / "run", ledger=ledger, **FAST)
    evidence, run = found.assessment.evidence, reopen(found.folder)
    assert run.tables.positions["cash"].iloc[-1] < 0 and run.tables.positions["S1"].iloc[-1] < 0
    assert evidence["exposure"]["average"] == pytest.approx(1.4, abs=0.3)
    assert abs(evidence["exposure"]["elsewhere_year"]) < 1e-9
    assert evidence["rebalance_days"] is None
    own = recorded_value(cerebro)
    assert run.tables.positions.sum(axis=1).iloc[-1] == pytest.approx(own)


def recorded_value(cerebro) -> float:
    return cerebro.broker.getvalue()


def test_cheating_on_the_close_is_said_and_accounted_for(tmp_path, ledger):
    cerebro = cerebro_of(bars(), Crossover, slow=60)
    cerebro.broker.set_coc(True)
    found = judge(cerebro.run(), tmp_path / "run", ledger=ledger, **FAST)
    assert "Cheat on close" in dict(found.verdict.caveats)
    assert abs(found.assessment.evidence["exposure"]["elsewhere_year"]) < 1e-9


def test_weekly_feeds_beside_daily_ones_are_no_names(tmp_path, ledger):
    frames = bars(3)
    cerebro = cerebro_of(frames, Orders, plan={30: [lambda self: self.buy(self.datas[0], size=10)]})
    cerebro.resampledata(cerebro.datas[1], timeframe=bt.TimeFrame.Weeks, name="weekly")
    found = judge(cerebro.run(), tmp_path / "run", ledger=ledger, **FAST)
    assert found.assessment.evidence["comparator"]["names"] == 3
    symbols = reopen(found.folder).tables.symbols
    assert symbols.loc["weekly", "verdict"] == "not held" and "every 7 days" in symbols.loc["weekly", "why"]


def test_days_of_the_weekend_are_no_sessions(tmp_path, ledger):
    frames = bars(3)
    for frame in frames.values():
        frame.index = pd.date_range("2022-01-03", periods=len(frame))
    found = judge(recorded(frames, slow=10), tmp_path / "run", ledger=ledger, **FAST)
    run = reopen(found.folder)
    assert (run.tables.returns.index.day_of_week < 5).all()
    assert any("weekends" in note for note in run.tables.run["notes"])
    grown = (1 + run.tables.returns["strategy"]).prod()
    assert grown == pytest.approx(run.tables.positions.sum(axis=1).iloc[-1] / run.tables.positions.sum(axis=1).iloc[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"benchmark": "SPY"}, "benchmark: 'SPY' is none of the names"),
        ({"universe": ["S0", "S9"]}, "universe: no daily bars of S9"),
        ({"universe": ["S0"]}, "was held, but is not among the names that could be"),
        ({"benchmark": pd.Series([1.0, 2.0], pd.bdate_range("2000-01-03", periods=2))}, "benchmark: .* are missing"),
    ],
)
def test_what_is_named_and_not_there_is_an_error(strategy, tmp_path, ledger, options, message):
    with pytest.raises(ValueError, match=message):
        judge(strategy, tmp_path / "run", ledger=ledger, **FAST, **options)
    assert not (tmp_path / "run").exists() and ledger.count() == 0


@pytest.mark.parametrize(("cut", "kind"), [("listed late", "feed"), ("gone early", "feed"), ("listed late", "series")])
def test_a_benchmark_that_leaves_a_part_of_the_account_out_is_refused(tmp_path, ledger, cut, kind):
    frames = bars(4)
    other = frames.pop("S3")
    other = other.iloc[200:] if cut == "listed late" else other.iloc[:200]
    plan = {5: [lambda self: self.buy(self.datas[0], size=10)]}
    given = "S3" if kind == "feed" else other["close"].rename("S3")
    run = cerebro_of(frames | ({"S3": other} if kind == "feed" else {}), Orders, plan=plan).run()
    with pytest.raises(ValueError, match="benchmark: S3 has"):
        judge(run, tmp_path / "run", benchmark=given, ledger=ledger, **FAST)


def test_a_run_without_a_recorder_or_a_trade_is_refused(tmp_path, ledger):
    cerebro = cerebro_of(bars(1), Orders, plan={})
    with pytest.raises(ValueError, match="nothing was held"):
        judge(cerebro.run(), tmp_path / "run", ledger=ledger, **FAST)
    cerebro = cerebro_of(bars(1), Crossover)
    cerebro.analyzers.clear()
    with pytest.raises(TypeError, match=r"cerebro.addanalyzer\(RunRecorder\)"):
        judge(cerebro.run()[0], tmp_path / "run", ledger=ledger, **FAST)


def test_a_finished_directory_is_not_written_over(strategy, tmp_path, ledger):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("kept")
    with pytest.raises(FileExistsError):
        judge(strategy, tmp_path / "run", ledger=ledger, **FAST)
    assert (tmp_path / "run" / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize(
    "command", [["decide", "RUN", "--asof", "2023-01-31"], ["compare", "RUN"], ["run", "--model", "RUN"]]
)
def test_what_needs_a_policy_refuses_a_judged_run(judged, command, tmp_path):
    arguments = [str(judged.folder) if part == "RUN" else part for part in command]
    result = CliRunner().invoke(main, [*arguments, *(["--out", str(tmp_path / "x")] if command[0] == "run" else [])])
    assert result.exit_code == 2 and "a run made elsewhere and judged here" in result.output


def test_run_json_tells_what_was_judged(judged):
    facts = json.loads((judged.folder / "run.json").read_text())
    stated = facts["config"]["strategy"]
    assert stated["class"].endswith("Crossover") and stated["parameters"] == {"fast": 5, "slow": 60, "part": 0.18}
    assert facts["fingerprint"]["code"] == stated["source"] and len(stated["source"]) == 16
    assert facts["cash"] == "nothing, as in the account"
