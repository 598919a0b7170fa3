"""The product as a whole, in minutes: the main job twice, and on real prices."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from tests.conftest import data_folder
from tests.pages import ROOT

pytestmark = pytest.mark.acceptance


def command(*args, cwd=ROOT):
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_backtest.py"), *map(str, args)],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def read(run, name):
    return pd.read_csv(run / name, index_col=0)


def test_the_main_job_twice_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        assert command("run", "--quiet", "--out", tmp_path / name).strip().endswith("report.html")
    for name in ("weights.csv", "returns.csv", "transactions.csv", "clusters.csv", "maps.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.fixture(scope="module")
def real_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("real") / "default"
    command("run", "--source", "files", "--path", data_folder(), "--universe", "seed", "--quiet", "--out", out)
    return out


def test_on_real_prices_the_benchmarks_years_are_the_vendors(real_run):
    years = json.loads((real_run / "metrics.json").read_text())["benchmark"]["by_year"]
    assert [round(years[year], 3) for year in ("2023", "2024", "2025")] == [0.262, 0.249, 0.177]


def test_on_real_prices_nothing_cash_like_wins_costs_are_paid_and_every_order_is_resolved(real_run):
    facts = json.loads((real_run / "run.json").read_text())
    assert facts["unfilled"] == [] and facts["clock"] == "shared"
    assert json.loads((real_run / "metrics.json").read_text())["strategy"]["costs"]["total"] > 0
    chosen = set(read(real_run, "weights.csv").columns) - {"CASH"}
    assert not chosen & {"BIL", "SHV", "SHY", "SCHO"}
    assert {name for name, why in facts["excluded"].items() if why.startswith("cash-like")} >= {"BIL", "SHV"}
    assert max(facts["peak_memory_mb"].values()) < 2048
    verdicts = read(real_run, "symbols.csv")["verdict"]
    assert verdicts[verdicts == "absent"].index.tolist() == ["BAL", "COW", "JJN", "JO", "SGG"]
    assert verdicts.isin(["used", "repaired"]).sum() == 294


def test_on_real_prices_the_stock_clock_gives_the_same_bytes(real_run, tmp_path):
    options = ("--source", "files", "--path", data_folder(), "--universe", "seed", "--no-report", "--quiet")
    out = tmp_path / "stock"
    command("run", *options, "--model", real_run, "--set", "engine.clock=stock", "--out", out)
    for name in ("weights.csv", "returns.csv", "transactions.csv", "positions.csv"):
        assert (out / name).read_bytes() == (real_run / name).read_bytes()
