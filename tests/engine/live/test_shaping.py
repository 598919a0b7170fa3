"""Orders as a venue takes them, and what becomes of them where something held cannot be sold."""

from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest

from clusterfolio.engine.live.broker import Wanted
from clusterfolio.engine.live.planner import Asked
from clusterfolio.engine.live.shaping import shape, within_means
from clusterfolio.engine.live.venue import Asset
from tests.engine.live.worlds import World

HOW = {"cash_buffer": 0.02, "fractional": True}


@pytest.fixture(scope="module")
def day():
    world = World(n_days=5)
    return world.day(world.days[world.start].date())


def listed(halted=()):
    return {f"S{n}": Asset(f"S{n}", f"S{n}" not in halted, True) for n in range(6)}


def asked(day, **amounts):
    wanted = [Wanted(name, amount, float(day.closes[name]), "stop") for name, amount in amounts.items()]
    return Asked(None, None, wanted, 10_000.0, {}, {}, dict.fromkeys(amounts, 0.1))


def test_without_a_decision_buys_are_cut_alike_where_a_sale_cannot_be(day):
    holdings = {"S0": Decimal(100), "S1": Decimal(20)}
    given = asked(day, S0=-100.0, S1=-10.0, S2=30.0, S3=60.0)
    wanted, cut = within_means(given, holdings, listed(["S0"]), day, 1000.0, **HOW)
    amounts = {want.symbol: want.amount for want in wanted}
    money = 1000.0 + 10.0 * day.closes["S1"]
    assert amounts["S2"] * day.closes["S2"] + amounts["S3"] * day.closes["S3"] == pytest.approx(money)
    assert amounts["S2"] / 30.0 == amounts["S3"] / 60.0 == pytest.approx(cut["S2"]) and amounts["S1"] == -10.0
    shaped = shape(wanted, holdings, listed(["S0"]), 10_000.0)
    assert shaped.skipped == {"S0": "halted"} and shaped.legs[0][0].symbol == "S1"


def test_nothing_changes_where_all_can_be_sold_or_what_cannot_is_not_held(day):
    given = asked(day, S1=-10.0, S2=300.0)
    holdings = {"S1": Decimal(20)}
    assert within_means(given, holdings, listed(), day, 1000.0, **HOW) == (given.wanted, {})
    assert within_means(given, holdings, listed(["S2"]), day, 1000.0, **HOW) == (given.wanted, {})


def test_without_money_nothing_is_bought(day):
    given = asked(day, S0=-10.0, S2=30.0)
    wanted, cut = within_means(given, {"S0": Decimal(10)}, listed(["S0"]), day, 0.0, **HOW)
    assert cut == {"S2": 0.0} and shape(wanted, {"S0": Decimal(10)}, listed(["S0"]), 500.0).legs == []


def test_a_stale_name_that_is_held_is_stuck_too(day):
    late = pd.Series({"S0": 0.0, "S1": 1.0})
    given = Asked(object(), late, [Wanted("S0", -100.0, 50.0, "rebalance"), Wanted("S1", 190.0, 50.0, "rebalance")],
                  10_000.0, {}, {})  # fmt: skip
    stale = replace(day, stale=("S0",))
    wanted, cut = within_means(given, {"S0": Decimal(100)}, listed(), stale, 5000.0, **HOW)
    worth = 100 * float(day.closes["S0"]) / 10_000.0
    assert cut["S1"] == pytest.approx(1 - worth)
    (buy,) = [want for want in wanted if want.symbol == "S1"]
    assert buy.amount * day.closes["S1"] == pytest.approx(10_000 * 0.98 * (1 - worth), rel=1e-6)


def test_an_order_through_zero_closes_what_is_held_and_names_the_rest(day):
    """Short positions are not traded: the closing half is an order of its own, the opening half is none."""
    given = Wanted("S1", -30.0, float(day.closes["S1"]), "rebalance")
    shaped = shape([given], {"S1": Decimal(20)}, listed(), 10_000.0)
    assert [(want.symbol, amount) for want, amount in shaped.legs] == [("S1", Decimal(-20))]
    assert shaped.skipped == {"S1": "only 20 are held: the rest would be sold short"}


def test_what_the_venue_cannot_trade_is_named_with_its_share_of_the_account(day):
    names = {"S0": 10.0, "S1": -5.0, "S2": 1.0}
    wanted = [Wanted(name, amount, 50.0, "rebalance") for name, amount in names.items()]
    assets = {name: asset for name, asset in listed(["S1"]).items() if name != "S0"}
    shaped = shape(wanted, {"S1": Decimal(5)}, assets, 1000.0, why_not={"S2": "a currency pair"})
    assert shaped.skipped == {"S0": "the venue does not list it", "S1": "halted", "S2": "a currency pair"}
    assert shaped.untradable == {"S0": 0.5, "S1": 0.25, "S2": 0.05} and shaped.legs == []
