"""Where the money was made, in moving windows and at other lags, against sums and libraries that know nothing of it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from statsmodels.regression.rolling import RollingOLS

from clusterfolio.engine.evidence import contributions, execution_lag, rolling
from clusterfolio.strategies.sharpe import sharpe_ratio
from tests.conftest import three_clusters
from tests.engine.evidence.test_exposure import finished_run, held


@pytest.fixture(scope="module")
def panel():
    return replace(three_clusters(), simulated=True)


@pytest.fixture(scope="module")
def run(panel, tmp_path_factory):
    rng = np.random.default_rng(4)
    days = panel.sessions[np.arange(150, 410, 21)]
    made = [held(day, dict.fromkeys(rng.choice(panel.tradable, 3, replace=False), 0.3)) for day in days]
    return finished_run(tmp_path_factory.mktemp("run"), panel, made)


@pytest.fixture(scope="module")
def money(run):
    return contributions.earned(run.tables.positions, run.tables.transactions)


def test_every_unit_of_money_gained_is_at_one_name_or_with_cash(run, money):
    change = run.tables.positions.sum(axis=1).diff().iloc[1:]
    assert money.sum(axis=1).to_numpy() == pytest.approx(change.to_numpy(), abs=1e-6)
    groups = pd.Series({name: "first" if number % 2 else "second" for number, name in enumerate(money.columns)})
    assert contributions.by_group(money, groups).sum() == pytest.approx(change.sum())


def test_a_name_earns_what_its_price_moved_less_its_costs(run, money):
    """One name held through whole months: shares times the change of its close, by hand."""
    trades = run.tables.transactions
    name = trades["symbol"].iloc[0]
    closes = run.panel.close[name]
    own = trades[trades["symbol"] == name]
    ends = money.index[-1]
    by_hand = -own["value"].sum() - own["commission"].sum() - own["spread"].sum()
    by_hand += own["amount"].sum() * closes.loc[ends]
    assert money[name].sum() == pytest.approx(by_hand)


def test_money_counts_to_the_cluster_of_the_decision_before():
    days = pd.bdate_range("2024-01-01", periods=5)
    money = pd.DataFrame({"A": [1.0, 2.0, 4.0, 8.0, 16.0], "B": [0.0, 0.0, 0.0, 0.0, 1.0], "cash": 0.5}, days)
    clusters = pd.DataFrame(
        {"date": days[[0, 0, 2]] - pd.Timedelta(hours=0), "symbol": ["A", "B", "A"], "cluster": [7, 7, 3]}
    )
    found = contributions.by_cluster(money.iloc[1:], clusters)
    assert found.to_dict() == {3: 24.0, 7: 6.0, contributions.NO_CLUSTER: 1.0, "cash": 2.0}


def test_a_fall_names_what_was_held_and_what_it_lost(run, money):
    returns = run.tables.returns
    (fall, *_) = contributions.falls(returns, run.tables.positions, money, n=1)
    wealth = np.concatenate([[1.0], (1 + returns["strategy"]).cumprod()])
    assert fall.strategy == pytest.approx((wealth / np.maximum.accumulate(wealth) - 1).min())
    value = run.tables.positions.sum(axis=1)
    before = value.shift().loc[fall.first]
    assert fall.earned.sum() / before == pytest.approx(fall.strategy)
    assert fall.held.sum() == pytest.approx(1 - run.tables.positions["cash"].shift().loc[fall.first] / before)


def test_rolling_figures_are_those_of_each_window_alone():
    rng = np.random.default_rng(1)
    days = pd.bdate_range("2020-01-01", periods=600)
    returns = pd.DataFrame(rng.normal(0.0005, 0.01, (600, 2)), days, ["strategy", "benchmark"])
    cash = pd.Series(0.0001, days)
    found = rolling.rolling_figures(returns, cash)
    day = days[400]
    window, year = returns.iloc[401 - 126 : 401], returns.iloc[401 - 252 : 401]["strategy"]
    assert found.loc[day, "sharpe"] == pytest.approx(sharpe_ratio(window["strategy"], cash.reindex(window.index)))
    assert found.loc[day, "beta"] == pytest.approx(np.cov(window.T)[0, 1] / window["benchmark"].var())
    assert found.loc[day, "var"] == pytest.approx(-np.quantile(year, 0.05))
    assert found.loc[day, "cvar"] == pytest.approx(-np.sort(year)[:13].mean())
    assert found["sharpe"].notna().sum() == 600 - 125


def test_rolling_betas_are_those_of_statsmodels():
    rng = np.random.default_rng(2)
    days = pd.bdate_range("2020-01-01", periods=300)
    factors = pd.DataFrame(rng.normal(0, 0.01, (300, 3)), days, ["market", "bond", "momentum"])
    excess = factors @ [0.5, -0.2, 0.1] + rng.normal(0, 0.002, 300)
    found = rolling.rolling_betas(excess, factors)
    reference = RollingOLS(excess, factors.assign(const=1.0), window=126).fit().params
    assert found.index[-1] == days[-1]
    pd.testing.assert_frame_equal(found, reference.loc[found.index, list(factors)], check_names=False, check_freq=False)


def test_the_run_itself_is_the_lag_of_nothing(run):
    found = execution_lag.by_lag(run, run.cash.reindex(run.tables.returns.index))
    net = run.tables.returns["strategy"].iloc[-found["sessions"] :]
    rows = {row["lag"]: row["sharpe"] for row in found["rows"]}
    assert rows[0] == pytest.approx(sharpe_ratio(net, run.cash.reindex(net.index)))
    assert list(rows) == list(execution_lag.LAGS) and found["alarm"] is None


@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_a_decision_that_knows_a_move_of_its_own_day_or_of_a_later_one_is_an_alarm(panel, tmp_path, ahead):
    """Names are held for what they did on the day itself, which is no leak but cannot be earned, or will do later."""
    moves = panel.session_closes()[panel.tradable].pct_change(fill_method=None)
    made = []
    for row in range(150, 410, 8):
        best = moves.iloc[row + ahead].nlargest(3).index
        made.append(held(panel.sessions[row], dict.fromkeys(best, 0.3)))
    run = finished_run(tmp_path, panel, made)
    found = execution_lag.by_lag(run, run.cash.reindex(run.tables.returns.index))
    assert found["alarm"] in (ahead - 1, ahead)


def test_the_alarm_is_said_with_the_figures_on_both_sides():
    rows = [{"lag": -1, "sharpe": 3.0, "lost": 4.2}, {"lag": 0, "sharpe": 1.0, "lost": 0.1}]
    title, words = execution_lag.alarm({"rows": rows, "alarm": -1})
    assert title == "Execution lag"
    assert words.startswith("Carried out a session earlier than can be, the same decisions have a Sharpe ratio of 3.00")
    assert "after that 1.00: 4.2 standard errors" in words
