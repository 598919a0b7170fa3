"""The command line as a user meets it, on a small made-up market."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.progress import peak_memory_mb
from clusterfolio.engine.trading.market_units import trades_of
from clusterfolio.feeds.sources.simulated import BENCHMARK
from clusterfolio.feeds.sources.yahoo_answers import Offline
from tests.market_files import run_options

ROOT = Path(__file__).resolve().parents[1]

FILES = {
    "config.toml", "run.json", "metrics.json", "returns.csv", "returns_gross.csv", "weights.csv", "positions.csv",
    "transactions.csv", "clusters.csv", "embeddings.parquet", "encoded.parquet", "symbols.csv", "benchmark.csv",
    "model", "stability.csv", "passports.csv", "promises.csv", "importance.csv", "payments.csv", "costs.csv",
}  # fmt: skip


def invoke(*args, code=0):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def finished(market, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "first"
    invoke(*run_options(market, out))
    return out


def test_a_run_directory_holds_every_table(finished):
    assert {path.name for path in finished.iterdir()} == FILES
    returns = pd.read_csv(finished / "returns.csv", index_col="date", parse_dates=True)
    weights = pd.read_csv(finished / "weights.csv", index_col="date", parse_dates=True)
    assert weights.index[0] == pd.Timestamp("2024-03-28") and returns.index[0] == pd.Timestamp("2024-04-01")
    assert (weights.sum(axis=1) - 1).abs().max() < 1e-12 and np.isfinite(weights.to_numpy()).all()
    facts = json.loads((finished / "run.json").read_text())
    assert {"load", "features", "fit", "backtest", "write"} <= set(facts["seconds"])
    assert facts["training"]["span"][1] == "2024-03-28" and len(facts["fingerprint"]["model"]) == 64
    transactions = trades_of(pd.read_csv(finished / "transactions.csv"))
    assert set(transactions["reason"]) <= {
        "rebalance",
        "stopped trading",
        "rebalance, sent again after a margin refusal",
    }
    clusters = pd.read_csv(finished / "clusters.csv")
    assert clusters.groupby("date")["selected"].sum().eq(4).all()


def test_the_tables_name_their_days_and_state_no_dust(finished):
    for name in ("benchmark.csv", "weights.csv", "returns.csv", "costs.csv"):
        assert (finished / name).read_text().startswith("date,"), name
    rest = pd.read_csv(finished / "weights.csv")["CASH"].abs()
    assert ((rest == 0) | (rest > 1e-9)).all()


def test_metrics_repeat_the_tables(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    returns = pd.read_csv(finished / "returns.csv", index_col="date", parse_dates=True)
    for name in ("strategy", "benchmark"):
        assert metrics[name]["total_return"] == pytest.approx((1 + returns[name]).prod() - 1)
    assert metrics["strategy"]["costs"]["total"] > 0


def test_the_same_command_gives_the_same_bytes(market, finished, tmp_path):
    invoke(*run_options(market, tmp_path / "again"))
    for name in ("weights.csv", "returns.csv", "transactions.csv", "clusters.csv", "passports.csv", "promises.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (finished / name).read_bytes()


def test_the_stock_clock_gives_the_same_bytes(market, finished, tmp_path):
    invoke(*run_options(market, tmp_path / "stock", "--set", "engine.clock=stock", "--model", finished))
    for name in ("weights.csv", "returns.csv", "transactions.csv", "positions.csv", "passports.csv"):
        assert (tmp_path / "stock" / name).read_bytes() == (finished / name).read_bytes()


def test_another_runs_model_gives_its_decisions(market, finished, tmp_path):
    invoke(*run_options(market, tmp_path / "again", "--model", finished))
    facts = [json.loads((run / "run.json").read_text()) for run in (finished, tmp_path / "again")]
    assert facts[0]["fingerprint"] == facts[1]["fingerprint"]
    assert (tmp_path / "again" / "weights.csv").read_bytes() == (finished / "weights.csv").read_bytes()


def test_a_model_trained_beyond_the_first_decision_is_refused(market, finished, tmp_path):
    early = ("--train-end", "2023-12-29", "--start", "2024-01-02")
    message = invoke(*run_options(market, tmp_path / "x", "--model", finished, *early), code=2).output
    assert "trained up to 2024-03-28, after the first decision on 2023-12-29" in message
    assert not (tmp_path / "x").exists()


def test_a_later_flag_beats_set_beats_config_beats_preset(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text('[trading]\ncapital = 1.0\nrebalance = "week"\n[engine]\nseed = 1\n')
    shown = invoke(
        "config", "show", "--toml", "--preset", "seed", "--config", file,
        "--set", "trading.capital=2.0", "--set", "engine.seed=2", "--seed", "3",
    ).output  # fmt: skip
    assert "seed = 3" in shown and "capital = 2.0" in shown and 'rebalance = "week"' in shown
    assert 'kind = "last"' in shown


def test_decide_on_a_backtests_day_repeats_its_decision(market, finished):
    weights = pd.read_csv(finished / "weights.csv", index_col="date")
    day = weights.index[2]
    output = invoke("decide", finished, "--asof", day, "--quiet").output
    for name in weights.columns[weights.loc[day] > 0].drop("CASH", errors="ignore"):
        assert name in output


def test_decide_states_the_orders_from_what_is_held(market, finished, tmp_path):
    day = pd.read_csv(finished / "weights.csv", index_col="date").index[2]
    holdings = tmp_path / "holdings.csv"
    holdings.write_text(f"symbol,shares\n{BENCHMARK},10\nCASH,50000\n")
    orders = tmp_path / "orders.csv"
    invoke("decide", finished, "--asof", day, "--holdings", holdings, "--csv", orders, "--quiet")
    table = pd.read_csv(orders)
    assert table.iloc[0]["side"] == "sell" and table.iloc[0]["symbol"] == BENCHMARK
    value = 50_000 + 10 * table.iloc[0]["price"]
    bought = table[table["side"] == "buy"]
    assert bought["value"].sum() == pytest.approx(0.98 * value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,shares\nA,1\n", "columns name, shares; expected symbol, shares"),
        ("symbol,shares\nNOPE,1\n", "no prices for NOPE"),
        ("symbol,shares\nCASH,lots\n", "CASH has shares 'lots', expected a number"),
        ("symbol,shares\nCASH,-5\n", "holdings.csv: worth -5.00 USD, expected more than 0"),
        ("symbol,shares\nCASH,10\n CASH,5\n", "CASH stands there more than once (10, 5); expected a row per symbol"),
        ("", "holdings.csv: not a table of symbol, shares"),
        ("\0\x01\x02PK\x03\xff\xfe\x88", "holdings.csv: "),
    ],
)
def test_wrong_holdings_are_named(finished, tmp_path, content, message):
    file = tmp_path / "holdings.csv"
    file.write_bytes(content.encode("latin-1"))
    assert message in invoke("decide", finished, "--asof", "2024-05-31", "--holdings", file, "--quiet", code=2).output


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (
            ["run", "--preset", "nope"],
            2,
            "unknown preset 'nope'; available: default, defensive, dqn, ppo, rolling, seed, streams",
        ),
        (["run", "--source", "files"], 2, "data.path: empty"),
        (["run", "--source", "files", "--path", "/no/such/folder"], 3, "/no/such/folder does not exist"),
        (["run", "--config", "/no/such.toml"], 2, "--config /no/such.toml: no such file"),
        (["run", "--start", "tomorrow"], 2, "dates.start: got 'tomorrow'"),
        (["run", "--set", "train.epoch=3"], 2, "unknown key train.epoch; available"),
        (["run", "--device", "tpu"], 2, "tpu"),
        (["report", "/no/such/run"], 2, "/no/such/run: not a run directory"),
        (["universe", "/no/such.csv"], 2, "/no/such.csv"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(args, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = invoke(*args, code=code).output
    assert message in output and "Traceback" not in output


def test_an_existing_run_is_not_overwritten(market, finished):
    before = (finished / "weights.csv").read_bytes()
    assert "exists and is not empty" in invoke(*run_options(market, finished), code=2).output
    assert (finished / "weights.csv").read_bytes() == before


def test_an_interrupted_run_leaves_nothing_that_looks_whole(market, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("clusterfolio.engine.run_dir.artifacts.write_tables", interrupt)
        assert CliRunner().invoke(main, run_options(market, tmp_path / "x")).exit_code == 130
    assert [name[:12] for name in os.listdir(tmp_path)] == [".unfinished-"]
    monkeypatch.delattr("clusterfolio.models.encoder.train")  # what was trained is found again
    invoke(*run_options(market, tmp_path / "x"))
    assert os.listdir(tmp_path) == ["x"]


def test_fewer_assets_than_clusters_is_handled_and_said(market, finished, tmp_path):
    invoke(*run_options(market, tmp_path / "x", "--set", "clustering.n_clusters=50", "--model", finished))
    notes = json.loads((tmp_path / "x" / "run.json").read_text())["notes"]
    assert "fewer than the 50 clusters asked for" in notes[0]


def test_report_is_rebuilt_from_the_files(finished):
    path = invoke("report", finished).output.strip()
    assert path.endswith("report.html") and os.path.getsize(path) > 100_000
    for file in finished.glob("*.png"):
        file.unlink()
    os.unlink(path)


def test_doctor_universe_and_config_show_answer():
    assert "torch" in invoke("doctor").output
    assert invoke("universe", "seed").output.count("\n") >= 299
    assert "0 problems" in invoke("universe", "--check").output
    assert "SPY" in invoke("universe", "--asset-class", "etf").output
    assert "cash-like" in invoke("config", "show").output
    section = invoke("config", "show", "walk_forward").output
    assert "[walk_forward]" in section and section.count("\n[") == 1
    assert "no section 'walk'; there are: data, " in invoke("config", "show", "walk", code=2).output


def test_doctor_names_the_version_and_what_each_extra_lacks(monkeypatch):
    """The one that a user has not installed is told by its requirement, as pip would be asked for it."""
    there = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.1" if name == "alpaca-py" else there(name))
    lines = invoke("doctor").output.splitlines()
    assert lines[0].split() == ["clusterfolio", there("clusterfolio")]
    (paper,) = [line for line in lines if line.startswith("extra paper")]
    assert "missing: alpaca-py>=0.44 (pip install 'clusterfolio[paper]')" in paper


def test_a_fetch_without_a_network_says_so_once(tmp_path, monkeypatch):
    def refused(symbol, start):
        raise Offline("could not resolve host")

    monkeypatch.setattr("clusterfolio.feeds.sources.yahoo.from_yahoo", refused)
    monkeypatch.setattr("clusterfolio.feeds.sources.yahoo.WAITS", (0.0,))
    monkeypatch.setattr("clusterfolio.feeds.sources.yahoo.cache_folder", lambda: tmp_path)
    output = invoke("fetch", "--preset", "seed", "--quiet", code=3).output
    assert output.count("could not resolve host") == 1 and len(output.splitlines()) <= 5


@pytest.mark.parametrize(
    "command", [[], ["run"], ["sweep"], ["decide"], ["fetch"], ["universe"], ["report"], ["config", "show"]]
)
def test_help_teaches_and_names_the_exit_codes(command):
    output = invoke(*command, "--help").output
    assert "Exit codes" in output and len(output) > 300


def test_a_folder_of_broken_files_gives_verdicts(market, finished, tmp_path):
    """Beside enough good files every broken one is named; alone they are a clear error."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "empty.csv").write_text("")
    (broken / "header.csv").write_text("Date,Open,High,Low,Close,Volume\n")
    (broken / "binary.csv").write_bytes(bytes(range(256)) * 20)
    (broken / "page.csv").write_text("<html><body>429 Too Many Requests</body></html>")
    (broken / "text.csv").write_text("Date,Close\n2024-01-02,abc\n2024-01-03,def\n")
    (broken / "nothing.csv").write_text("Date,Close\n2024-01-02,\n2024-01-03,\n")
    (broken / "bad.parquet").write_bytes(b"PAR1 and no more")
    invoke(*run_options(market, tmp_path / "run", "--path", broken, "--model", finished))
    verdicts = pd.read_csv(tmp_path / "run" / "symbols.csv", index_col="symbol")
    lost = verdicts[verdicts["verdict"].isin(["dropped", "passed over", "absent"])]
    assert {path.stem for path in broken.iterdir()} <= {name.split(".")[0].lower() for name in lost.index}
    assert lost["why"].str.len().min() > 5
    output = invoke("run", "--source", "files", "--path", broken, "--out", tmp_path / "x", code=3).output
    assert "Traceback" not in output and not (tmp_path / "x").exists()


def test_foreign_prices_need_a_rate_and_an_account_in_their_currency_needs_none(tmp_path):
    folder = tmp_path / "foreign"
    folder.mkdir()
    days = pd.bdate_range("2023-01-02", "2024-12-31")
    rng = np.random.default_rng(0)
    for i in range(12):
        close = 50 * np.exp(rng.normal(0, 0.012, len(days)).cumsum())
        pd.DataFrame({"Date": days, "Close": close}).to_csv(folder / f"X{i:02d}.DE.csv", index=False, sep=";")
    options = run_options(folder, tmp_path / "run", "--benchmark", "X00.DE")
    assert "no exchange rate into USD for EUR" in invoke(*options, code=3).output
    invoke(*options, "--currency", "EUR", "--set", "data.calendar=XFRA")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["currency"] == "EUR"


def test_training_ends_no_later_than_the_first_decision(tmp_path):
    """The last day before the test is a holiday of the benchmark's exchange, but other assets trade on it."""
    folder = tmp_path / "prices"
    folder.mkdir()
    days = pd.bdate_range("2023-01-02", "2024-12-31")
    rng = np.random.default_rng(1)
    for i in range(12):
        close = 50 * np.exp(rng.normal(0, 0.012, len(days)).cumsum())
        pd.DataFrame({"Date": days, "Close": close}).to_csv(folder / f"A{i:02d}.csv", index=False)
    options = run_options(
        folder, tmp_path / "run", "--benchmark", "A00", "--train-end", "2024-03-29", "--start", "2024-03-30"
    )
    invoke(*options)  # 2024-03-29 was Good Friday
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["training"]["span"][1] == facts["dates"]["decisions"][0] == "2024-03-28"


@pytest.mark.parametrize("start", ["2024-04-15", "2024-05-02", "2024-06-03"])
def test_the_first_decision_is_on_the_last_session_before_the_test(market, finished, tmp_path, start):
    invoke(*run_options(market, tmp_path / "run", "--start", start, "--model", finished))
    decided = pd.read_csv(tmp_path / "run" / "weights.csv", index_col="date", parse_dates=True).index
    returns = pd.read_csv(tmp_path / "run" / "returns.csv", index_col="date", parse_dates=True).index
    assert decided[0] < pd.Timestamp(start) <= returns[0] and (returns[0] - decided[0]).days <= 4
    assert decided[1].month == pd.Timestamp(start).month


def test_a_test_without_a_session_is_refused(market, finished, tmp_path):
    options = run_options(market, tmp_path / "run", "--start", "2024-06-01", "--end", "2024-06-02", "--model", finished)
    assert "no session with prices lies between 2024-06-01 and" in invoke(*options, code=3).output


def test_a_session_on_which_nothing_traded_is_decided_on_the_one_before(market, tmp_path):
    """Another exchange's prices under New York's calendar: the month's last session is a holiday of theirs."""
    folder = tmp_path / "prices"
    folder.mkdir()
    days = pd.bdate_range("2023-01-02", "2024-12-31").drop(["2024-03-28", "2024-05-31"])
    rng = np.random.default_rng(2)
    for i in range(12):
        close = 50 * np.exp(rng.normal(0, 0.012, len(days)).cumsum())
        pd.DataFrame({"Date": days, "Close": close}).to_csv(folder / f"A{i:02d}.csv", index=False)
    invoke(*run_options(folder, tmp_path / "run", "--benchmark", "A00"))
    decided = pd.read_csv(tmp_path / "run" / "weights.csv")["date"]
    assert decided.iloc[:3].tolist() == ["2024-03-27", "2024-04-30", "2024-05-30"]
    refits = ("--set", "walk_forward.refit=month", "--set", "walk_forward.train_months=11")
    options = run_options(folder, tmp_path / "rolling", "--benchmark", "A00", *refits, "--end", "2024-06-28")
    for flag in ("--train-start", "--train-end"):  # they follow from --start
        at = options.index(flag)
        del options[at : at + 2]
    invoke(*options)
    folds = json.loads((tmp_path / "rolling" / "run.json").read_text())["folds"]
    assert [fold["train_end"] for fold in folds] == ["2024-03-27", "2024-04-30", "2024-05-30"]


def test_a_symbol_asked_for_by_hand_and_not_found_is_named(market, finished, tmp_path):
    invoke(*run_options(market, tmp_path / "run", "--include", "NOPE", "--model", finished))
    assert pd.read_csv(tmp_path / "run" / "symbols.csv", index_col="symbol").loc["NOPE", "verdict"] == "absent"
    options = run_options(market, tmp_path / "x", "--exclude", "SIM.EQ0O1", "--model", finished)
    assert "SIM.EQ0O1 would not be in the run anyway" in invoke(*options, code=2).output


def test_another_runs_settings_come_with_its_model(finished, tmp_path):
    out = tmp_path / "again"
    invoke("run", "--model", finished, "--set", "trading.capital=5000", "--no-report", "--quiet", "--out", out)
    weights = [pd.read_csv(run / "weights.csv", index_col="date") for run in (out, finished)]
    pd.testing.assert_frame_equal(*weights)
    assert "capital = 5000.0" in (out / "config.toml").read_text()


def test_a_place_that_cannot_be_written_is_one_clear_line(finished, tmp_path):
    day = pd.read_csv(finished / "weights.csv", index_col="date").index[1]
    (tmp_path / "no").write_text("a file, no folder")
    output = invoke("decide", finished, "--asof", day, "--quiet", "--csv", tmp_path / "no" / "x.csv", code=2).output
    assert "Traceback" not in output and "Error" in output


def test_a_model_made_for_other_inputs_is_refused(market, finished, tmp_path):
    options = run_options(market, tmp_path / "x", "--model", finished, "--set", "features.rsi_window=50")
    assert "made with features.rsi_window = 14, this run asks for 50" in invoke(*options, code=2).output


def test_decide_repeats_a_runs_first_decision_too(finished):
    day = pd.read_csv(finished / "weights.csv", index_col="date").index[0]
    assert "buy" in invoke("decide", finished, "--asof", day, "--quiet").output
    assert "--asof: got 'yesterday'" in invoke("decide", finished, "--asof", "yesterday", "--quiet", code=2).output
    assert "last session before it" in invoke("decide", finished, "--asof", "2024-06-01", "--quiet", code=2).output


def test_peak_memory_is_the_runs_own_and_not_its_parents():
    ballast = np.ones(60_000_000)  # 458 MiB that the child never holds
    program = "from clusterfolio.engine.progress import peak_memory_mb; print(peak_memory_mb())"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 5 < float(done.stdout) < 400 < peak_memory_mb() and ballast.nbytes > 0
