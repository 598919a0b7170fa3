"""Journal and venue side by side, by hand and by property."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.engine.live.reconcile import Known, Seen, reconcile
from clusterfolio.engine.live.records import Intent, IntentState
from clusterfolio.engine.live.venue import (
    Account,
    Activity,
    ActivityKind,
    OrderState,
    Side,
    Timing,
    VenueOrder,
    VenuePosition,
)

DAY = dt.date(2025, 2, 3)
ACCOUNT = Account("PA1", "USD", Decimal(1000), Decimal(1000), Decimal(1000))


def intent(client_id="cf-1", symbol="A", side=Side.BUY, quantity=10, filled=0, state=IntentState.SENT):
    return Intent(client_id, "2025-02-03", symbol, side, Decimal(quantity), "b1", Timing.DAY, DAY, Decimal(5), "new",
                  state, Decimal(filled))  # fmt: skip


def at_venue(of: Intent, filled, state=OrderState.OPEN, session=DAY):
    return VenueOrder(of.client_id, "7", of.symbol, of.side, of.quantity, Decimal(filled), state, session=session)


def look(holdings, intents, positions, orders, session=DAY, activities=(), booked=(), **more):
    known = Known(holdings, intents, set(booked), session, {"A", "B"}, "cf")
    open_orders = [o for o in orders.values() if o is not None and o.state is OrderState.OPEN]
    places = [VenuePosition(symbol, Decimal(quantity)) for symbol, quantity in positions.items()]
    return reconcile(known, replace(Seen(ACCOUNT, places, open_orders, orders, activities), **more))


def test_what_filled_is_booked_and_explains_the_position():
    one = intent(filled=2)
    found = look({"A": Decimal(2)}, [one], {"A": 6}, {"cf-1": at_venue(one, 6)})
    assert [o.filled for o in found.book] == [6] and not found.halt and not found.cancel


def test_an_order_that_was_being_sent_and_is_not_there_is_given_back():
    one = intent(state=IntentState.SENDING)
    assert look({}, [one], {}, {"cf-1": None}).absent == ("cf-1",)


def test_an_order_that_was_taken_and_is_gone_halts():
    assert "does not know it any more" in look({}, [intent()], {}, {"cf-1": None}).halt[0]


@pytest.mark.parametrize(("session", "fills_on"), [(None, DAY), (dt.date(2025, 2, 4), DAY), (DAY, dt.date(2025, 2, 4))])
def test_an_order_that_could_fill_on_another_session_is_cancelled(session, fills_on):
    one = intent()
    found = look({}, [one], {}, {"cf-1": at_venue(one, 0, session=fills_on)}, session=session)
    assert [o.client_id for o in found.cancel] == ["cf-1"]


def test_positions_that_are_not_ours_halt_and_can_be_adopted():
    found = look({"A": Decimal(5)}, [], {"A": 8, "B": 2, "OTHERS": 9}, {})
    assert found.adoptable == {"A": 3, "B": 2} and len(found.halt) == 2


def test_a_position_that_is_gone_halts():
    found = look({"A": Decimal(5)}, [], {}, {})
    assert "no activity of the venue says why" in found.halt[0] and not found.adoptable


def test_a_foreign_order_in_our_names_halts_and_one_in_others_does_not():
    foreign = replace(at_venue(intent("x"), 0), client_id="someone")
    assert "foreign order" in look({}, [], {}, {"x": foreign}).halt[0]
    assert not look({}, [], {}, {"x": replace(foreign, symbol="OTHERS")}).halt


def test_an_order_of_ours_that_the_journal_does_not_expect_halts():
    lost = replace(at_venue(intent("x"), 0), client_id="cf-999")
    assert "the journal does not expect" in look({}, [], {}, {"x": lost}).halt[0]


def test_a_split_explains_a_position_once():
    split = Activity("s", ActivityKind.SPLIT, DAY, "A", Decimal(5), ratio=Decimal(2))
    assert not look({"A": Decimal(5)}, [], {"A": 10}, {}, activities=[split]).halt
    assert look({"A": Decimal(5)}, [], {"A": 10}, {}, activities=[split], booked=["s"]).halt


def test_a_blocked_account_halts():
    assert "blocked" in look({}, [], {}, {}, account=replace(ACCOUNT, blocked="by the bank")).halt[0]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("AB"), st.sampled_from(list(Side)), st.integers(1, 50), st.integers(0, 50),
            st.integers(0, 50), st.sampled_from([OrderState.OPEN, OrderState.CANCELLED, OrderState.FILLED]),
        ),
        max_size=6,
    ),
    st.dictionaries(st.sampled_from("AB"), st.integers(0, 200)),
    st.integers(-3, 3),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_whatever_filled_agrees_and_anything_else_does_not(orders, start, foreign):
    """Any history of partial fills agrees, in whichever order it is heard; one share that nobody traded does not."""
    holdings = {s: Decimal(q) + 300 for s, q in start.items()}
    places = dict(holdings)
    intents, seen = [], {}
    for n, (symbol, side, quantity, booked, filled, state) in enumerate(orders):
        filled = quantity if state is OrderState.FILLED else min(filled, quantity)
        booked = min(booked, filled)
        one = intent(f"cf-{n}", symbol, side, quantity, booked)
        intents.append(one)
        seen[one.client_id] = at_venue(one, filled, state)
        holdings[symbol] = holdings.get(symbol, Decimal(300)) + booked * side.sign
        places[symbol] = places.get(symbol, Decimal(300)) + filled * side.sign
    found = look(holdings, intents, places, seen)
    assert not found.halt and len(found.book) == len(orders)
    for order in found.book:
        one = next(i for i in intents if i.client_id == order.client_id)
        holdings[order.symbol] += (order.filled - one.filled) * order.side.sign
    assert holdings == places
    moving = {o.symbol for o in found.book if o.state is OrderState.OPEN}
    if "A" in places and "A" not in moving and foreign:
        assert look(holdings, [], {**places, "A": places["A"] + foreign}, {}).halt
