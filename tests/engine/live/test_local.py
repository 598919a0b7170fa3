"""The local venue by itself: what it takes, when it fills, and what survives."""

import datetime as dt
from decimal import Decimal

import pytest

from clusterfolio.engine.live.local import EndOfBars
from clusterfolio.engine.live.quotes import Quote
from clusterfolio.engine.live.venue import (
    ActivityKind,
    NotAccepted,
    OrderRequest,
    OrderState,
    Side,
    Timing,
    Venue,
)
from tests.engine.live.worlds import CAPITAL, World, close_of, local_venue


@pytest.fixture
def world():
    return World(n_days=10)


def order(world, n, side=Side.BUY, quantity=10, symbol="S0", timing=Timing.DAY):
    day = world.days[world.start + 1].date()
    return OrderRequest(f"id-{n}", symbol, side, Decimal(quantity), timing, day)


def opens(world, ahead=1):
    day = world.days[world.start + ahead].date()
    return close_of(day) - dt.timedelta(hours=6)


def test_it_answers_the_contract(world, tmp_path):
    assert isinstance(local_venue(world, tmp_path / "v"), Venue)


def test_an_order_fills_at_the_next_open_and_is_there_after_a_new_start(world, tmp_path):
    venue = local_venue(world, tmp_path / "v")
    assert venue.submit(order(world, 1)).state is OrderState.OPEN
    venue.close()
    venue = local_venue(world, tmp_path / "v")
    venue.advance(opens(world))
    found = venue.order_by_client_id("id-1")
    price = Decimal(str(world.panel.open["S0"].iloc[world.start + 1]))
    assert (found.state, found.filled, found.average_price) == (OrderState.FILLED, 10, price)
    assert venue.account().cash == CAPITAL - 10 * price
    assert [e.client_id for e in venue.executions(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))] == ["id-1"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"symbol": "NOPE"}, "no such asset"),
        ({"quantity": "1.5"}, "not a multiple of 1"),
        ({"side": Side.SELL}, "only 0 shares"),
    ],
)
def test_what_it_does_not_take_it_refuses_for_good(world, tmp_path, wrong, said):
    venue = local_venue(world, tmp_path / "v")
    with pytest.raises(NotAccepted, match=said) as refusal:
        venue.submit(order(world, 1, **wrong))
    assert refusal.value.final and venue.order_by_client_id("id-1") is None


def test_a_client_id_is_taken_once(world, tmp_path):
    venue = local_venue(world, tmp_path / "v")
    venue.submit(order(world, 1))
    with pytest.raises(NotAccepted, match="has been used"):
        venue.submit(order(world, 1))
    assert len(venue.open_orders()) == 1


def test_sales_pay_for_buys_and_what_is_too_dear_is_rejected(world, tmp_path):
    venue = local_venue(world, tmp_path / "v", cash=Decimal(600))
    venue.submit(order(world, 1))
    venue.submit(order(world, 2, symbol="S1", quantity=100))
    venue.advance(opens(world))
    assert venue.order_by_client_id("id-1").state is OrderState.FILLED
    assert venue.order_by_client_id("id-2").reason == "insufficient buying power"
    venue.advance(close_of(world.days[world.start + 1].date()))
    venue.submit(order(world, 3, symbol="S1"))
    venue.submit(order(world, 4, side=Side.SELL))
    venue.advance(opens(world, 2))
    assert venue.order_by_client_id("id-3").state is OrderState.FILLED


def test_the_account_follows_splits_and_is_paid_dividends(world, tmp_path):
    day = world.days[world.start + 2].date()
    world.actions[day, "S0"] = Quote(Decimal(20), Decimal(20), dividend=Decimal("0.5"), split=Decimal(2))
    venue = local_venue(world, tmp_path / "v")
    venue.submit(order(world, 1))
    venue.advance(opens(world, 1))
    cash = venue.account().cash
    venue.advance(opens(world, 2))
    assert {p.symbol: p.quantity for p in venue.positions()} == {"S0": 20}
    assert venue.account().cash == cash + 5
    kinds = [(a.kind, a.quantity, a.cash) for a in venue.activities(day)]
    assert kinds == [(ActivityKind.DIVIDEND, 0, 5), (ActivityKind.SPLIT, 10, 0)]


def test_its_time_stands_before_bars_that_are_not_there(world, tmp_path):
    venue = local_venue(world, tmp_path / "v")
    with pytest.raises(EndOfBars, match="are not there yet"):
        venue.advance(close_of(world.days[-1].date()) + dt.timedelta(days=30))
    assert venue.now == close_of(world.days[-1].date())
