"""The figures of metrics.json against values worked out by hand or in closed form."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.trading.metrics import cash_per_session, compute_metrics, drawdown_length, performance

DAYS = pd.DatetimeIndex(["2024-12-30", "2024-12-31", "2025-01-02", "2025-01-03"])


def result(strategy, benchmark, value=None, trades=(), interest=None):
    days = DAYS[: len(strategy)]
    value = [100.0] * len(days) if value is None else value
    columns = ["date", "symbol", "amount", "price", "value", "commission", "spread", "impact", "reason"]
    table = pd.DataFrame(list(trades), columns=columns)
    costs = table.groupby("date")[["commission", "spread", "impact"]].sum().reindex(days, fill_value=0.0).astype(float)
    return SimpleNamespace(
        returns=pd.DataFrame({"strategy": strategy, "benchmark": benchmark}, days),
        positions=pd.DataFrame({"A": np.array(value) * 0.75, "cash": np.array(value) * 0.25}, days),
        transactions=table,
        costs=costs.assign(financing=0.0),
        interest=pd.Series(0.0 if interest is None else interest, days),
    )


def closes(*values, first="2024-12-27"):
    return pd.Series(values, pd.DatetimeIndex([first, *DAYS])[: len(values)], dtype=float)


def test_every_figure_of_a_four_day_run_by_hand():
    returns = np.array([0.10, -0.20, 0.05, 0.10])
    metrics = compute_metrics(result(returns, [0.01] * 4), 0.0, closes(100, 101, 102.01, 103.0301, 104.060401))
    own = metrics["strategy"]
    total = 1.10 * 0.80 * 1.05 * 1.10 - 1
    cagr = (1 + total) ** (252 / 4) - 1
    assert own["total_return"] == pytest.approx(total)
    assert own["cagr"] == pytest.approx(cagr)
    assert own["volatility"] == pytest.approx(returns.std(ddof=1) * np.sqrt(252))
    assert own["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(252))
    assert own["sortino"] == pytest.approx(returns.mean() * 252 / (np.sqrt(0.20**2 / 4) * np.sqrt(252)))
    assert own["max_drawdown"] == pytest.approx(-0.20)
    assert own["max_drawdown_days"] == 3  # peak on the first day, not recovered by the last
    assert own["calmar"] == pytest.approx(cagr / 0.20)
    assert own["by_year"] == pytest.approx({"2024": 1.10 * 0.80 - 1, "2025": 1.05 * 1.10 - 1})
    assert metrics["period"] == {
        "first_session": "2024-12-30", "last_session": "2025-01-03", "sessions": 4, "cash_return": 0.0,
    }  # fmt: skip


def test_sharpe_and_sortino_are_in_excess_of_cash():
    returns = pd.Series([0.01, -0.02, 0.03, 0.01], DAYS)
    cash = pd.Series([0.001, 0.002, 0.003, 0.004], DAYS)
    excess = (returns - cash).to_numpy()
    figures = performance(returns, cash)
    assert figures["sharpe"] == pytest.approx(excess.mean() / excess.std(ddof=1) * np.sqrt(252))
    downside = np.sqrt((np.minimum(excess, 0) ** 2).mean()) * np.sqrt(252)
    assert figures["sortino"] == pytest.approx(excess.mean() * 252 / downside)


def test_an_annual_cash_rate_compounds_to_itself_over_252_sessions():
    year = pd.bdate_range("2025-01-01", periods=252)
    assert (1 + cash_per_session(0.05, year)).prod() == pytest.approx(1.05)


def test_a_cash_series_that_does_not_cover_the_run_is_refused():
    with pytest.raises(ValueError, match="cash: no rate on 1 of 4 sessions, first 2025-01-03"):
        cash_per_session(pd.Series(0.0001, DAYS[:3]), DAYS)


def test_the_benchmarks_years_come_from_the_whole_panel():
    metrics = compute_metrics(result([0.0] * 4, [0.0] * 4), 0.0, closes(100, 110, 121, 121, 108.9, first="2023-12-29"))
    assert metrics["benchmark"]["by_year"] == pytest.approx({"2024": 0.21, "2025": -0.10})
    assert metrics["benchmark"]["total_return"] == 0.0


@pytest.mark.parametrize(
    ("returns", "length"),
    [
        ([0.1, 0.1], 0),
        ([-0.1, 0.05], 2),  # below the starting capital from the first day on
        ([0.1, -0.1, 0.2, -0.05], 2),  # down one day, recovered the next
        ([-0.01, 0.02, -0.5, 0.1, 0.1], 3),  # the deepest counts, not the longest or the first
    ],
)
def test_drawdown_length_runs_from_the_peak_to_the_recovery_or_the_end(returns, length):
    assert drawdown_length(pd.Series(returns)) == length


def test_turnover_and_costs_are_per_year_and_of_the_mean_account():
    trades = [
        (DAYS[0], "A", 1.0, 75.0, 75.0, 0.10, 0.20, 0.05, "rebalance"),
        (DAYS[1], "A", -1.0, 75.0, -75.0, 0.10, 0.20, 0.0, "rebalance"),
    ]
    run = result([0.0, 0.1], [0.0, 0.0], value=[90.0, 110.0], trades=trades)
    own = compute_metrics(run, 0.0, closes(1, 1, 1))["strategy"]
    assert own["turnover"] == pytest.approx(150 / 2 / 100 * 252 / 2)
    assert own["costs"] == pytest.approx(
        {"total": 0.65, "commission": 0.2, "spread": 0.4, "impact": 0.05, "financing": 0.0,
         "bps_per_year": 0.65 / 100 * 126 * 1e4}
    )  # fmt: skip


def test_rows_before_the_first_return_do_not_enter_the_mean_account():
    run = result([0.0, 0.0], [0.0, 0.0], trades=[(DAYS[0], "A", 1.0, 50.0, 50.0, 0.0, 0.0, 0.0, "rebalance")])
    before = pd.DataFrame({"A": 0.0, "cash": 1e6}, pd.DatetimeIndex(["2024-12-27"]))
    run.positions = pd.concat([before, run.positions])
    assert compute_metrics(run, 0.0, closes(1, 1, 1))["strategy"]["turnover"] == pytest.approx(0.25 * 126)


def test_an_account_in_cash_has_figures_or_nulls_and_no_nan():
    metrics = compute_metrics(result([0.0] * 4, [0.01, -0.01, 0.01, 0.0]), 0.0, closes(1, 1, 1, 1, 1))
    own = metrics["strategy"]
    assert own["total_return"] == own["volatility"] == own["max_drawdown"] == own["turnover"] == 0.0
    assert own["max_drawdown_days"] == 0
    assert own["sharpe"] is None and own["sortino"] is None and own["calmar"] is None


CALENDAR = pd.bdate_range("2024-01-01", periods=300)
RATES = {
    "none": pd.Series(0.0, CALENDAR),
    "3 % a year": cash_per_session(0.03, CALENDAR),
    "a daily rate": pd.Series(np.random.default_rng(0).normal(1e-4, 1e-6, 300), CALENDAR),
}


@pytest.mark.parametrize(
    ("earned", "cash"),
    [("none", "none"), ("none", "3 % a year"), ("none", "a daily rate"), ("3 % a year", "none"),
     ("3 % a year", "3 % a year"), ("3 % a year", "a daily rate"), ("a daily rate", "a daily rate")],
)  # fmt: skip
def test_an_account_that_does_not_move_or_moves_with_cash_alone_has_no_ratio_of_risk(earned, cash):
    value = 98_765.43 * (1 + RATES[earned]).cumprod()
    figures = performance(value.pct_change(fill_method=None).iloc[1:], RATES[cash].iloc[1:])
    assert np.isnan(figures["sharpe"]) and np.isnan(figures["sortino"])


def test_one_session_gives_a_return_and_no_ratios():
    own = compute_metrics(result([0.01], [0.02]), 0.03, closes(1, 1.02))["strategy"]
    assert own["total_return"] == pytest.approx(0.01)
    assert own["sharpe"] is None and own["volatility"] is None


def test_interest_is_told_in_money_and_per_year():
    run = result([0.0] * 4, [0.0] * 4, value=[100.0, 200.0, 300.0, 400.0], interest=[0.5, -0.25, 0.5, 0.25])
    found = compute_metrics(run, 0.0, closes(1, 1, 1, 1, 1))["strategy"]["interest"]
    assert found == pytest.approx({"total": 1.0, "bps_per_year": 1 / 250 * 252 / 4 * 1e4})


def test_metrics_are_strict_json():
    metrics = compute_metrics(result([0.01, 0.0, 0.0, 0.02], [0.0] * 4), 0.02, closes(1, 1, 1, 1, 1))
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert list(metrics["strategy"]) == [
        "total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "max_drawdown_days", "calmar",
        "turnover", "costs", "interest", "by_year",
    ]  # fmt: skip
