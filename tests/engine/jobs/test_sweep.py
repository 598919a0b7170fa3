import json
import os
import shutil

import pandas as pd
import pytest
from click.testing import CliRunner

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.cli.sweep import _show_trials
from clusterfolio.engine.jobs.sweep import check_counted, read_grid, run_trial
from clusterfolio.engine.ledger.ledger import Ledger
from tests.engine.ledger.made_trials import make_trial
from tests.market_files import run_options

GRID = """
seeds = [0, 1]
[grid]
"clustering.n_clusters" = [3, 4]
"""


def options(market, out, grid, *more):
    """The options of a quick run, for the sweep command."""
    return ["sweep", str(grid), *run_options(market, out)[1:], *more]


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    return path


def invoke(*args, code=0):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result.output


def test_a_grid_is_every_combination_and_seed(grid):
    trials = read_grid(grid, {"trading": {"rebalance": "quarter"}})
    assert [tuple(trial.chosen.values()) for trial in trials] == [(3, 0), (3, 1), (4, 0), (4, 1)]
    assert len({trial.name for trial in trials}) == 4
    assert trials[1].settings["engine"] == {"seed": 1} and trials[1].settings["trading"]["rebalance"] == "quarter"


def test_the_same_trial_twice_is_one(grid):
    grid.write_text('[grid]\n"clustering.n_clusters" = [20]\n"trading.costs" = [true, true]\n')
    assert len(read_grid(grid, {})) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no trials; expected"),
        ("seed = [1]", "unknown key 'seed'; available: seeds, grid"),
        ('[grid]\n"clustering.n_clusters" = 4', "clustering.n_clusters = 4; expected"),
        ("[grid]\nn_clusters = [4]", r"n_clusters = \[4\]; expected"),
        ('[grid]\n"clustering.n_cluster" = [4]', "unknown key clustering.n_cluster"),
        ('[grid]\n"train.epochs" = [3, "many"]', "train.epochs: got 'many', expected int"),
    ],
)
def test_a_wrong_grid_is_refused_before_anything_runs(grid, text, message):
    grid.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_grid(grid, {})


@pytest.mark.acceptance
def test_a_sweep_is_one_table_and_goes_on_where_it_was(market, grid, tmp_path, monkeypatch):
    grid.write_text('[grid]\n"clustering.n_clusters" = [3, 4]\n')
    out = tmp_path / "sweep"
    assert invoke(*options(market, out, grid, "--workers", 2)).strip().endswith("trials.csv")
    table = pd.read_csv(out / "trials.csv")
    assert table["clustering.n_clusters"].tolist() == [3, 4]
    assert table["error"].isna().all() and (table["seconds"] > 0).all()
    assert table["ledger"].isin(Ledger().trials().index).all() and table["ledger"].is_unique  # counted here
    first = out / table.loc[0, "trial"]
    metrics = json.loads((first / "metrics.json").read_text())
    assert table.loc[0, "sharpe"] == pytest.approx(metrics["strategy"]["sharpe"])
    weights = (first / "weights.csv").read_bytes()
    shutil.rmtree(first)
    done = []

    def counted(settings, out, *rest):
        done.append(out.name)
        return run_trial(settings, out, *rest)

    monkeypatch.setattr("clusterfolio.engine.jobs.sweep.run_trial", counted)
    invoke(*options(market, out, grid, "--workers", 1))
    assert done == [first.name]
    assert (first / "weights.csv").read_bytes() == weights  # alone in this process, as beside others in another
    assert sorted(os.listdir(out)) == sorted([*table["trial"], "trials.csv"])
    apart = ["seconds", "ledger"]  # whoever edits the code while this runs gets another trial, rightly
    assert pd.read_csv(out / "trials.csv").drop(columns=apart).equals(table.drop(columns=apart))


def test_a_trial_that_cannot_run_is_a_row_with_its_error(market, grid, tmp_path):
    grid.write_text('[grid]\n"train.learning_rate" = [4e-3, 1e30]\n')
    output = invoke(*options(market, tmp_path / "sweep", grid, "--workers", 1))
    table = pd.read_csv(tmp_path / "sweep" / "trials.csv", keep_default_na=False)
    assert table.loc[0, "error"] == "" and "loss became" in table.loc[1, "error"]
    assert f"failed: {table.loc[1, 'trial']}" in output


def test_the_trials_are_shown_by_their_sharpe_ratio_with_the_best_named(tmp_path, capsys):
    figures = dict.fromkeys(("total_return", "volatility", "max_drawdown", "turnover"), 0.1)
    rows = [
        {"trial": f"trial-{n}", "clustering.n_clusters": n, "sharpe": sharpe, "benchmark_sharpe": 0.5} | figures
        for n, sharpe in ((3, 0.4), (4, 1.2), (5, 0.8))
    ]
    _show_trials(pd.DataFrame(rows), ["clustering.n_clusters"], tmp_path)
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()[1:4]] == ["trial-4", "trial-5", "trial-3"]
    assert "Best by Sharpe ratio: trial-4, 1.20 (benchmark 0.50)." in said
    assert f"The best of 3 looks better than it is: clusterfolio significance {tmp_path / 'trial-4'}" in said


def test_finished_trials_that_the_ledger_does_not_hold_are_a_warning(tmp_path, caplog):
    """A worker of a cluster that keeps another ledger, or none."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    known = ledger.append(make_trial()).trial
    check_counted(pd.DataFrame({"error": ["", "no data"], "ledger": [known, None]}), ledger)
    assert caplog.text == ""
    check_counted(pd.DataFrame({"error": ["", "", "", "no data"], "ledger": [known, "", "elsewhere", None]}), ledger)
    assert f"2 of 3 trials are not counted in the ledger {ledger.path}" in caplog.text
