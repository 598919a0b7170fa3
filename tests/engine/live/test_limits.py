"""Each limit at its boundary: what reaches it passes, a cent more does not."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest

from clusterfolio.engine.live.limits import Limits, broken, too_stale
from clusterfolio.engine.live.records import Intent
from clusterfolio.engine.live.venue import Side, Timing

DAY = dt.date(2025, 2, 3)
VALUE = Decimal(1000)


def order(symbol="A", side=Side.BUY, quantity="10", price="10"):
    return Intent(f"cf-{symbol}", "p", symbol, side, Decimal(quantity), "b1", Timing.DAY, DAY, Decimal(price), "new")


def found(limits, intents=(), targets=None, holdings=None, prices=None, venue=None, value=VALUE, untradable=0.0):
    targets = {i.symbol: i.quantity for i in intents} if targets is None else targets
    prices = {i.symbol: i.price for i in intents} | (prices or {})
    return broken(intents, targets, holdings or {}, prices, venue or {}, value, untradable, limits)


WIDE = Limits(max_orders=99, max_order=9.0, max_position=9.0, max_invested=9.0, max_turnover=9.0)

#: The limit, a value that is reached exactly by the arguments, and arguments.
AT_THE_BOUNDARY = [
    ("max_orders", 2, {"intents": [order("A"), order("B")]}),
    ("max_order", 0.1, {"intents": [order()]}),
    ("max_position", 0.1, {"intents": [order()]}),
    ("max_invested", 0.3, {"intents": [order()], "holdings": {"B": Decimal(20)}, "prices": {"B": Decimal(10)}}),
    ("max_turnover", 0.2, {"intents": [order("A"), order("B")]}),
    ("max_untradable", 0.2, {"untradable": 0.2}),
    ("max_gap", 0.25, {"intents": [order()], "venue": {"A": Decimal(8)}}),
]


@pytest.mark.parametrize(("name", "reached", "given"), AT_THE_BOUNDARY)
def test_a_limit_that_is_reached_holds_and_one_that_is_exceeded_does_not(name, reached, given):
    assert found(replace(WIDE, **{name: reached}), **given) == []
    less = reached - 1 if name == "max_orders" else reached - 1e-9
    (said,) = found(replace(WIDE, **{name: less}), **given)
    assert said.startswith(f"{name}: ")


def test_the_account_must_be_worth_something():
    assert found(Limits(min_value=1000.0)) == []
    assert found(Limits(min_value=1000.01))[0].startswith("min_value")


def test_nothing_is_sold_that_is_not_held():
    sale = order(side=Side.SELL)
    assert found(WIDE, [sale], {"A": Decimal(0)}, {"A": Decimal(10)}) == []
    assert "never short" in found(WIDE, [sale], {"A": Decimal(-1)}, {"A": Decimal(9)})[0]


def test_one_stale_symbol_is_skipped_and_five_per_cent_are_not_traded_on():
    limits = Limits()
    assert not too_stale(1, 5, limits) and not too_stale(4, 100, limits)
    assert too_stale(5, 100, limits) and too_stale(2, 40, limits)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "1", True])
def test_a_limit_is_a_number_of_at_least_0(value):
    with pytest.raises(ValueError, match=r"limits\.max_order: got"):
        Limits(max_order=value)
