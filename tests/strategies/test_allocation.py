"""Weights by hand for every method, caps for any input, and what happens where a method has no answer."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.strategies import allocation, optimised
from clusterfolio.strategies.allocation import ALLOCATORS, AllocationConfig, Allocator, Picks
from clusterfolio.strategies.caps import capped

TREES = optimised.OF_A_TREE

#: What needs no optimiser; the extra is not there in every environment that the tests run in.
PLAIN = ("equal", "inverse_volatility", "softmax")


@pytest.fixture(autouse=True)
def _extra(request):
    """Skip a method whose library is not installed."""
    asked = getattr(request.node, "callspec", None)
    if asked is not None and asked.params.get("method", "equal") not in PLAIN:
        pytest.importorskip("skfolio", reason="pip install 'clusterfolio[risk]'")


def orthogonal(volatilities, n_sessions=256):
    """Returns without any correlation in the sample, of these standard deviations and mean 0: rows of a Hadamard
    matrix, so that everything an allocator does with them can be worked out by hand."""
    from scipy.linalg import hadamard

    columns = hadamard(n_sessions)[:, 1 : len(volatilities) + 1].astype(float)
    return pd.DataFrame(columns * np.asarray(volatilities), columns=list("ABCDEFGH"[: len(volatilities)]))


def seventeen_funds(seed=0):
    """Sixteen funds that move with one market, and a fund of bills."""
    rng = np.random.default_rng(seed)
    returns = rng.normal(0, 0.01, (252, 17)) * rng.uniform(0.5, 1.5, 17) + rng.normal(0.0003, 0.007, (252, 1))
    returns[:, 0] = rng.normal(0.0001, 0.00002, 252)
    return pd.DataFrame(returns, columns=["BILL", *(f"ETF{n}" for n in range(16))])


def weights_of(method, returns, **about):
    free = AllocationConfig(caps="off", class_budgets=about.pop("budgets", ()), temperature=about.pop("temperature", 1))
    return Allocator(method, free)(Picks(returns, list(returns.columns), **about)).weights


# By hand: uncorrelated names of 1 and 2 % a day, for which Ledoit-Wolf's shrinkage is 0 ----------------------------


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("equal", [1 / 2, 1 / 2]),
        ("inverse_volatility", [2 / 3, 1 / 3]),
        ("equal_risk", [2 / 3, 1 / 3]),  # without correlation, the inverse of the volatility
        ("class_risk", [2 / 3, 1 / 3]),
        ("minimum_variance", [4 / 5, 1 / 5]),  # the inverse of the variance
        ("maximum_diversification", [2 / 3, 1 / 3]),  # in proportion to C^-1 1, over the volatility
    ],
)
def test_two_names_without_correlation(method, expected):
    np.testing.assert_allclose(weights_of(method, orthogonal([0.01, 0.02])), expected, atol=0.02)


@pytest.mark.parametrize("method", TREES)
def test_trees_split_by_the_inverse_of_variance_or_evenly_where_names_are_alike(method):
    """Four alike names without correlation: any tree halves and halves again."""
    np.testing.assert_allclose(weights_of(method, orthogonal([0.01] * 4)), [0.25] * 4, atol=1e-3)


def test_hrp_splits_two_branches_by_their_variances():
    """Lopez de Prado's recursion by hand: pairs {A, B} and {C, D}, the second of twice the volatility."""
    pytest.importorskip("skfolio", reason="pip install 'clusterfolio[risk]'")
    base = orthogonal([0.01, 0.01, 0.001, 0.001]).to_numpy()
    first, second = base[:, [0]] + base[:, [2]] * [1, -1], 2 * (base[:, [1]] + base[:, [3]] * [1, -1])
    returns = pd.DataFrame(np.hstack([first, second]), columns=list("ABCD"))
    np.testing.assert_allclose(weights_of("hrp", returns), [0.4, 0.4, 0.1, 0.1], atol=0.01)


def test_softmax_of_the_sharpe_ratio():
    sharpe = pd.Series({"A": 1.0, "B": 0.5, "C": np.nan})
    returns = orthogonal([0.01] * 3)
    expected = np.exp([2.0, 1.0, 0.0]) / np.exp([2.0, 1.0, 0.0]).sum()
    np.testing.assert_allclose(weights_of("softmax", returns, sharpe=sharpe, temperature=0.5), expected)
    assert weights_of("softmax", returns, sharpe=sharpe, temperature=1e-3)["A"] == pytest.approx(1.0)


def test_class_budgets_are_shares_of_the_variance():
    pytest.importorskip("skfolio", reason="pip install 'clusterfolio[risk]'")
    returns = orthogonal([0.01, 0.02, 0.01])
    classes = pd.Series({"A": "equity", "B": "equity", "C": "bond"})
    weights = weights_of("class_risk", returns, classes=classes, budgets=("equity=0.8",))
    risk = (weights * returns.std(ddof=0)) ** 2
    assert risk[["A", "B"]].sum() / risk.sum() == pytest.approx(0.8, abs=0.01)
    assert risk["A"] == pytest.approx(risk["B"], rel=0.05)


# Caps --------------------------------------------------------------------------------------------------------------

rows = st.integers(1, 25).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([0.0, 1e-12, 0.01, 0.3, 1.0, 7.0]), min_size=n, max_size=n),
        st.lists(st.integers(-1, 3), min_size=n, max_size=n),
    )
)


@settings(max_examples=60, deadline=None)
@given(rows, st.floats(0.02, 1.0), st.floats(0.05, 1.0), st.floats(0.01, 100.0))
def test_caps_hold_and_nothing_is_lost_that_could_be_invested(row, name_cap, class_cap, scale):
    weights, classes = np.array(row[0]), np.array(row[1])
    found = capped(weights, classes, name_cap, class_cap)
    assert np.isfinite(found).all() and (found >= 0).all() and found.sum() <= 1 + 1e-9
    assert (found <= name_cap + 1e-9).all()
    sums = {kind: found[classes == kind].sum() for kind in set(classes.tolist()) - {-1}}
    assert all(total <= class_cap + 1e-9 for total in sums.values())
    np.testing.assert_allclose(capped(scale * weights, classes, name_cap, class_cap), found, atol=1e-7)  # scale-free
    if weights.sum() == 0:
        assert found.sum() == 0
        return
    room = name_cap * (classes == -1).sum()
    room += sum(min(class_cap, name_cap * (classes == kind).sum()) for kind in sums)
    assert found.sum() == pytest.approx(min(1.0, room), abs=1e-6)


def test_a_table_of_portfolios_is_capped_row_by_row():
    rng = np.random.default_rng(0)
    weights, classes = rng.dirichlet(np.full(12, 0.3), 50), rng.integers(-1, 3, (50, 12))
    together = capped(weights, classes, 0.15, 0.5)
    alone = [capped(one, kinds, 0.15, 0.5) for one, kinds in zip(weights, classes, strict=True)]
    np.testing.assert_allclose(together, alone, atol=1e-12)


def test_weights_under_their_caps_stay_as_they_are():
    np.testing.assert_allclose(capped([0.1, 0.2, 0.7], [0, 0, 1], 0.7, 0.7), [0.1, 0.2, 0.7], atol=1e-12)


@pytest.mark.parametrize("method", sorted(ALLOCATORS))
def test_a_fund_of_bills_does_not_take_the_portfolio(method):
    """Uncapped the trees and the minimum of variance put most of everything into it."""
    returns = seventeen_funds()
    classes = pd.Series("etf", returns.columns)
    picks = Picks(returns, list(returns.columns), returns.mean() / returns.std(), classes)
    loose, tight = Allocator(method, AllocationConfig(caps="off")), Allocator(method, AllocationConfig(caps="on"))
    for allocator in (loose, tight):
        weights = allocator(picks).weights
        assert np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() == pytest.approx(1.0)
    assert weights["BILL"] <= 0.15 + 1e-9 and (weights.drop("BILL").sum() >= 0.85 - 1e-9)
    if method in ("hrp", "minimum_variance", "nco"):
        assert loose(picks).weights["BILL"] > 0.5


def test_caps_are_on_for_all_but_equal_and_inverse_volatility():
    assert {name for name in ALLOCATORS if not Allocator(name).has_caps} == {"equal", "inverse_volatility"}


def test_what_the_caps_leave_in_cash_is_said():
    pytest.importorskip("skfolio", reason="pip install 'clusterfolio[risk]'")
    returns = seventeen_funds()
    classes = pd.Series("etf", returns.columns).where(returns.columns != "BILL", "government_bond")
    found = Allocator("minimum_variance")(Picks(returns, list(returns.columns), classes=classes))
    assert found.weights.sum() == pytest.approx(0.15 + 0.6)
    assert found.notes == ("25 % stay in cash: no name or class may take more than its cap",)


# Falling back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", sorted(optimised.MODELS))
def test_a_fallback_says_that_it_fell_back(method):
    returns = seventeen_funds().iloc[:, 1:].assign(STILL=0.0)
    found = Allocator(method)(Picks(returns, list(returns.columns)))
    assert found.weights.sum() == pytest.approx(1.0)
    (note,) = found.notes
    assert note.startswith("allocation fell back to inverse volatility") and "STILL does not move" in note


@pytest.mark.parametrize("method", sorted(ALLOCATORS))
@pytest.mark.parametrize("n_names", [0, 1, 2, 3])
def test_few_names(method, n_names):
    returns = orthogonal([0.01, 0.012, 0.02])
    found = Allocator(method, AllocationConfig(caps="off"))(Picks(returns, list(returns.columns[:n_names])))
    assert len(found.weights) == n_names and not found.notes
    assert found.weights.sum() == pytest.approx(1.0 if n_names else 0.0)


def test_without_skfolio_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(optimised, "available", lambda: False)
    with pytest.raises(ModuleNotFoundError, match=r"clusterfolio\[risk\]"):
        weights_of("hrp", orthogonal([0.01, 0.02]))


@pytest.mark.parametrize("text", ["equity", "equity=x", "equity=0"])
def test_a_budget_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=r"allocation.class_budgets: got"):
        AllocationConfig(class_budgets=(text,))


def test_the_name_of_a_method_is_checked():
    assert set(allocation.ALONE) < set(ALLOCATORS)
