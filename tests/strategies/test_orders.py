"""Weights into shares, by hand and by the laws that hold for any numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from clusterfolio.strategies.orders import ROUNDING, affordable_shares, missing_shares, target_shares

prices_of = st.floats(0.01, 1e5)


def tables():
    """Weights, prices and values of accounts: ``(n_accounts, n_slots)``, the same, ``(n_accounts, 1)``."""
    return array_shapes(min_dims=2, max_dims=2, max_side=6).flatmap(
        lambda shape: st.tuples(
            arrays(float, shape, elements=st.floats(0.0, 1.0)),
            arrays(float, shape, elements=prices_of),
            arrays(float, (shape[0], 1), elements=st.floats(1.0, 1e9)),
        )
    )


@given(tables(), st.floats(0.0, 0.9), st.booleans())
def test_a_table_is_sized_as_its_cells_are_one_by_one(table, buffer, fractional):
    weights, prices, value = table
    shares = target_shares(weights, prices, value, cash_buffer=buffer, fractional=fractional)
    for at in np.ndindex(weights.shape):
        one = target_shares(weights[at], prices[at], value[at[0], 0], cash_buffer=buffer, fractional=fractional)
        assert shares[at] == one


@given(tables(), st.floats(0.0, 0.9))
def test_weights_that_sum_to_one_never_cost_more_than_what_may_be_invested(table, buffer):
    weights, prices, value = table
    weights = (weights + 1e-9) / (weights + 1e-9).sum(axis=1, keepdims=True)
    for fractional in (True, False):
        shares = target_shares(weights, prices, value, cash_buffer=buffer, fractional=fractional)
        spent = (shares * prices).sum(axis=1)
        assert (spent <= value[:, 0] * (1 - buffer)).all()
        short_of_it = value[:, 0] * (1 - buffer) - spent
        assert (short_of_it <= value[:, 0] * 2 * ROUNDING + (0 if fractional else prices.sum(axis=1))).all()


def test_whole_shares_never_exceed_the_weight_long_or_short():
    shares = target_shares([0.55, -0.55], [100.0, 100.0], 1000.0, cash_buffer=0.0, fractional=False)
    assert shares.tolist() == [5.0, -5.0]


@pytest.mark.parametrize("price", [np.nan, 0.0, -1.0, np.inf])
def test_a_weight_without_a_price_is_refused_and_no_weight_needs_none(price):
    with pytest.raises(ValueError, match=r"prices: got .* for an asset with a weight, expected a number above 0"):
        target_shares([0.5, 0.5], [10.0, price], 1000.0, cash_buffer=0.0, fractional=True)
    assert target_shares([0.5, 0.0], [10.0, price], 1000.0, cash_buffer=0.0, fractional=False).tolist() == [49.0, 0.0]


def test_what_is_not_finite_is_refused_by_name():
    with pytest.raises(ValueError, match="value: got nan, expected finite"):
        target_shares([0.5], [10.0], np.nan, cash_buffer=0.0, fractional=True)
    with pytest.raises(ValueError, match="weights: got inf, expected finite"):
        target_shares([0.5, np.inf], [10.0, 10.0], 1000.0, cash_buffer=0.0, fractional=True)


@given(st.floats(0.0, 1e6), st.floats(0.0, 1e6))
def test_held_and_missing_make_the_target(target, held):
    missing = float(missing_shares(target, held))
    assert held + missing == pytest.approx(target, rel=2e-9, abs=1e-9)
    assert missing == 0 or abs(missing) > 1e-9 * target


@given(st.floats(0.0, 1e9), prices_of, st.floats(0.0, 0.01), st.booleans())
def test_what_is_affordable_can_be_paid_costs_included(cash, price, rate, fractional):
    shares = float(affordable_shares(cash, price, rate, fractional=fractional))
    assert 0 <= shares * price * (1 + rate) <= cash
