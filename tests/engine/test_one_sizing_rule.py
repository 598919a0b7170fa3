"""Engine, vectorised twin, order list and leakage check size alike, whatever the weights, prices and settings."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.engine.config.run import make_config
from clusterfolio.engine.leakage.check import _fills
from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.vectorised import Targets, simulate
from clusterfolio.strategies.order_list import order_list, quotes_of
from tests.conftest import FixedPolicy, make_panel

NAMES = list("ABCD")
N_DAYS = 12
FIRST, SECOND = 3, 7


@st.composite
def cases(draw):
    """Closes that move between the decisions only, so that orders fill at the price that sized them."""
    n = draw(st.integers(1, len(NAMES)))
    names = NAMES[:n]
    level = {name: draw(st.floats(0.5, 5000.0)) for name in names}
    moved = {name: draw(st.floats(0.5, 2.0)) for name in names}
    weights = []
    for _ in range(2):
        parts = np.array([draw(st.sampled_from([0.0, 1.0, 1.0 / 3.0]) | st.floats(0.0, 1.0)) for _ in names])
        weights.append(parts / max(parts.sum(), 1.0))
    trading = {
        "capital": draw(st.floats(50.0, 1e7)),
        "cash_buffer": draw(st.sampled_from([0.0, 0.02, 0.3])),
        "fractional": draw(st.booleans()),
        "costs": False,
    }
    days = pd.bdate_range("2024-01-01", periods=N_DAYS)
    closes = pd.DataFrame(100.0, days, ["MKT", *names])
    for name in names:
        closes[name] = level[name]
        closes.iloc[FIRST + 2 :, closes.columns.get_loc(name)] = level[name] * moved[name]
    return make_panel(closes), [pd.Series(w, names) for w in weights], make_config({"trading": trading})


def by_name(orders: pd.DataFrame) -> dict[str, float]:
    return dict(zip(orders["symbol"], orders["shares"] * np.where(orders["side"] == "buy", 1, -1), strict=True))


def list_orders(panel, day, target, held, value, trading) -> pd.DataFrame:
    orders, refused = order_list(
        target, held, quotes_of(panel.until(day)), value, cash_buffer=trading.cash_buffer, fractional=trading.fractional
    )
    assert refused.empty
    return orders


def alone(panel, weights, day, trading) -> dict[str, float]:
    """Shares that the vectorised path buys of each name, each in an account of its own."""
    columns = panel.symbols.get_indexer(weights.index)
    shape = (len(weights), 1, 1)
    found = simulate(panel, Targets(columns.reshape(shape), weights.to_numpy().reshape(shape)), day, trading)
    return dict(zip(weights.index, found.traded / panel.close.loc[day[0], weights.index], strict=True))


def same(one: dict[str, float], two: dict[str, float]) -> None:
    one, two = ({name: shares for name, shares in orders.items() if shares} for orders in (one, two))
    assert one.keys() == two.keys()
    assert all(math.isclose(one[name], two[name], rel_tol=1e-12) for name in one)


@given(cases())
@settings(max_examples=20, deadline=None)
def test_engine_vectorised_path_order_list_and_leakage_check_give_the_same_shares(case):
    panel, (first, second), config = case
    trading, days = config.trading, panel.sessions[[FIRST, SECOND]]
    policy = FixedPolicy(dict(zip(days, (first, second), strict=True)))
    result = run_backtest(panel, lambda now: policy, days, trading)
    fills = result.transactions
    bought = fills[fills["date"] == panel.sessions[FIRST + 1]].set_index("symbol")["amount"]

    nothing = pd.Series(dtype=float)
    listed = by_name(list_orders(panel, days[0], first, nothing, trading.capital, trading))
    same(listed, bought.to_dict())
    same(listed, alone(panel, first, days[:1], trading))

    again = fills[fills["date"] == panel.sessions[SECOND + 1]].groupby("symbol")["amount"].sum()
    listed = list_orders(panel, days[1], second, bought, result.value[days[1]], trading)
    same(by_name(listed), again.to_dict())

    columns = np.tile(panel.symbols.get_indexer(first.index), (1, 2, 1))
    both = simulate(panel, Targets(columns, np.array([[first, second]])), days, trading)
    assert both.traded[0] == pytest.approx(fills["value"].abs().sum(), rel=1e-9)
    assert both.value[0] == pytest.approx(result.value.iloc[-1], rel=1e-12)

    told: list[dict] = []
    assert _fills(panel, SimpleNamespace(weights=first), days[0], trading, told) == []
    assert told[0]["values"] == len(bought)
