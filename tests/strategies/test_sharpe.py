"""One Sharpe ratio: empyrical's, the same for one series as for many, and everywhere it is spoken of."""

import ast
import math
from pathlib import Path

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clusterfolio.engine.evidence.luck import _ranked
from clusterfolio.engine.evidence.resampling import _ratio_difference, _sharpe_of_sums
from clusterfolio.engine.evidence.statistics import moments
from clusterfolio.engine.trading.metrics import performance
from clusterfolio.strategies.selection import (
    SelectionConfig,
    best_of_clusters,
    ranking_sharpe,
    top_sharpe_per_cluster,
)
from clusterfolio.strategies.sharpe import rolling_sharpe_ratios, sharpe_ratio, sharpe_ratios

DAYS = pd.bdate_range("2024-01-02", periods=260)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(3)
    found = pd.DataFrame(rng.normal(4e-4, 0.01, (260, 40)), DAYS, [f"N{i:02d}" for i in range(40)])
    found.iloc[:100, 5] = np.nan
    found.iloc[30, 6] = np.nan
    return found


@pytest.fixture(scope="module")
def cash():
    return pd.Series(np.random.default_rng(4).normal(1.5e-4, 1e-6, 260), DAYS)


def test_every_column_has_the_ratio_of_the_series_alone_to_the_last_bit(table, cash):
    found = sharpe_ratios(table, cash)
    for name in table:
        assert found[name] == sharpe_ratio(table[name], cash)
        assert found[name] == empyrical.sharpe_ratio(table[name], risk_free=cash, annualization=252)
    shuffled = sharpe_ratios(table.iloc[:, ::-1], cash)
    pd.testing.assert_series_equal(shuffled[table.columns], found, check_exact=True)
    pd.testing.assert_series_equal(sharpe_ratios(table.to_numpy(), cash.to_numpy()).set_axis(table.columns), found)


def test_the_ratio_is_mean_over_deviation_by_the_formula(table, cash):
    excess = table["N00"] - cash
    by_hand = float(excess.mean() / excess.std(ddof=1))
    assert sharpe_ratio(table["N00"], cash, per_year=1) == pytest.approx(by_hand, rel=1e-12)
    assert sharpe_ratio(table["N00"], cash) == pytest.approx(by_hand * math.sqrt(252), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(arrays(float, st.tuples(st.integers(0, 40), st.integers(1, 6)), elements=st.floats(-0.5, 0.5) | st.just(np.nan)))
def test_a_ratio_is_a_number_or_not_known_and_never_depends_on_its_neighbours(values):
    found = sharpe_ratios(values)
    assert not np.isinf(found.to_numpy()).any()
    for column in range(values.shape[1]):
        np.testing.assert_equal(found[column], sharpe_ratio(values[:, column]))


@pytest.mark.parametrize("still", [0.0, 1e-4, 0.1])
def test_what_does_not_move_has_no_ratio_whatever_cash_does(still, cash):
    assert math.isnan(sharpe_ratio(pd.Series(still, DAYS), cash))
    assert math.isnan(sharpe_ratio(cash * 1.0 + still, cash * 1.0 + still))
    value = 100_000.0 * (1 + cash).cumprod()  # an account of cash alone: its returns are cash's but for rounding
    assert math.isnan(sharpe_ratio(value.pct_change(fill_method=None).iloc[1:], cash.iloc[1:]))


@pytest.mark.parametrize("window", [2, 60, 400])
def test_rolling_ratios_are_those_of_each_window(table, cash, window):
    wild = table.copy()
    wild.iloc[70, 0], wild.iloc[71:, 0] = 5.0, 1e-5  # what a running sum keeps of such a day drowns what follows
    wild.iloc[70, 1], wild.iloc[71:, 1] = 5.0, cash.iloc[71:]  # and so for what moves with cash alone
    wild.iloc[:, 2], wild.iloc[100:, 3] = 0.0, 0.0
    wild.iloc[50:, 4] = np.nan
    found = rolling_sharpe_ratios(wild, cash, window)
    for row in range(len(wild)):
        span = slice(max(0, row - window + 1), row + 1)
        np.testing.assert_allclose(found.iloc[row], sharpe_ratios(wild.iloc[span], cash.iloc[span]), rtol=1e-9)
    assert found.iloc[:, 2].isna().all() and found.iloc[60, [0, 1, 5]].notna().tolist() == [True, True, False]
    later = wild * np.where(np.arange(260) < 200, 1.0, -1.0)[:, None]
    pd.testing.assert_frame_equal(rolling_sharpe_ratios(later, cash, window)[:200], found[:200], check_exact=True)


def test_cash_at_other_sessions_is_refused(table, cash):
    with pytest.raises(ValueError, match="cash: 259 sessions"):
        sharpe_ratios(table, cash.iloc[1:])


def test_metrics_selection_and_tests_of_the_record_speak_of_the_same_ratio(table, cash):
    series = table["N01"]
    one = sharpe_ratio(series, cash)
    assert performance(series, cash)["sharpe"] == one
    assert moments(series - cash).sharpe == sharpe_ratio(series, cash, per_year=1)
    chosen_by = ranking_sharpe(table, SelectionConfig(sharpe_sessions=260), cash)
    assert chosen_by["N01"] == one


def test_ratios_from_sums_of_blocks_are_the_same_ratios(table):
    """The two formulas that resampling needs: of sums over blocks, and of moments with n in place of n - 1."""
    values = table.drop(columns=["N05", "N06"]).to_numpy()
    n = len(values)
    found = _sharpe_of_sums(values.sum(axis=0), (values**2).sum(axis=0), n)
    np.testing.assert_allclose(found, sharpe_ratios(values, per_year=1), rtol=1e-10)
    first, second = values[:, 0], values[:, 1]
    means = np.array([first.mean(), second.mean(), (first**2).mean(), (second**2).mean()])
    difference = sharpe_ratio(first, per_year=1) - sharpe_ratio(second, per_year=1)
    assert _ratio_difference(means) == pytest.approx(difference * math.sqrt(n / (n - 1)), rel=1e-9)


def test_arrays_pick_what_the_strategy_picks():
    rng = np.random.default_rng(0)
    names = np.array([f"N{i:02d}" for i in rng.permutation(40)])
    ratios, labels = rng.normal(size=40).round(1), rng.integers(6, size=40)
    ratios[::7] = np.nan
    for k in (1, 2):
        table = pd.DataFrame({"label": labels, "ratio": ratios, "name": names}).dropna()
        ranked = table.sort_values(["label", "ratio", "name"], ascending=[True, False, True])
        expected = ranked.groupby("label").head(k)["name"].tolist()
        assert names[best_of_clusters(ratios, labels, names, k)].tolist() == expected
        assert top_sharpe_per_cluster(pd.Series(ratios, names), pd.Series(labels, names), k) == expected


def test_random_groups_rank_names_as_the_strategy_does():
    ratios = pd.Series({"A": 1.0, "B": 2.0, "C": 1.0, "D": -1.0})
    assert list(_ranked(ratios)) == ["D", "C", "A", "B"]  # worst first; of equals the first name is the better


def test_no_other_module_computes_a_ratio_or_states_a_year_of_its_own():
    root = Path(__file__).resolve().parents[2]
    for path in (path for room in ("feeds", "models", "strategies", "engine") for path in (root / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(root)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.left, ast.Call):
                over = ast.unparse(node.left.func).endswith("mean") and "std" in ast.unparse(node.right)
                assert not over, f"{where}: a Sharpe ratio of its own"
            if isinstance(node, ast.Attribute) and node.attr == "sharpe_ratio":
                assert path.name == "sharpe.py", f"{where}: empyrical's is called in one place"
            if isinstance(node, ast.Constant) and node.value == 252:
                assert path.name == "panel.py", f"{where}: write SESSIONS_PER_YEAR"
