"""Alpaca's answers in other spellings: understood, or refused by the name of the field; nothing in between."""

import datetime as dt
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterfolio.engine.live import alpaca_decoding as decoding
from clusterfolio.engine.live.alpaca_activities import read_activities
from clusterfolio.engine.live.venue import Activity, ActivityKind, OrderState, Session, Side, Unreadable
from tests.engine.live.judge import DOCUMENT

ORDER = {
    "id": "61e69015-8549-4bfd-b9c3-01e75843f47d", "client_order_id": "cf-1", "symbol": "AAPL", "qty": "10",
    "filled_qty": "2.5", "filled_avg_price": "101.25", "side": "buy", "status": "partially_filled", "type": "market",
    "time_in_force": "day", "submitted_at": "2025-01-31T21:10:00.123456789Z", "notional": None,
    "expires_at": "2025-02-03T21:00:00Z",
}  # fmt: skip
POSITION = {"symbol": "AAPL", "qty": "5", "side": "long", "current_price": "120.0"}
ACCOUNT = {
    "id": "x", "account_number": "PA1", "currency": "USD", "cash": "-23140.2", "equity": "103820.56",
    "buying_power": "262113.632", "account_blocked": False, "trading_blocked": False, "trade_suspended_by_user": False,
    "status": "ACTIVE",
}  # fmt: skip
ASSET = {"symbol": "AAPL", "status": "active", "tradable": True, "fractionable": True, "class": "us_equity"}
CLOCK = {
    "timestamp": "2025-06-24T14:15:22-04:00", "is_open": True, "next_open": "2025-06-25T09:30:00-04:00",
    "next_close": "2025-06-24T16:00:00-04:00",
}  # fmt: skip
DAY = {"date": "2025-07-03", "open": "09:30", "close": "13:00"}
FILL = {
    "id": "20250203143000000::a", "activity_type": "FILL", "type": "fill", "order_id": "o1", "symbol": "AAPL",
    "side": "buy", "qty": "2", "price": "174.78", "transaction_time": "2025-02-03T14:30:00.98Z",
}  # fmt: skip
DIVIDEND = {
    "id": "20250203::d", "activity_type": "DIV", "date": "2025-02-03", "net_amount": "1.02", "qty": "2",
    "symbol": "T", "activity_sub_type": "CDIV",
}  # fmt: skip

READERS = {
    "order": (decoding.order, ORDER),
    "position": (decoding.position, POSITION),
    "account": (decoding.account, ACCOUNT),
    "asset": (decoding.asset, ASSET),
    "clock": (decoding.clock, CLOCK),
    "calendar": (decoding.session, DAY),
    "fill": (lambda raw: decoding.execution(raw, {}), FILL),
    "activity": (lambda raw: read_activities([raw])[0], DIVIDEND),
}

NUMBERS = {
    "order": ("qty", "filled_qty", "filled_avg_price"), "position": ("qty", "current_price"),
    "account": ("cash", "equity", "buying_power"), "fill": ("qty", "price"), "activity": ("net_amount",),
}  # fmt: skip

#: Fields without which nothing can be told for certain.
NEEDED = {
    "order": ("id", "client_order_id", "symbol", "qty", "filled_qty", "filled_avg_price", "side", "status",
              "time_in_force"),
    "position": ("symbol", "qty", "side"),
    "account": ("currency", "cash", "equity", "buying_power", "account_blocked", "trading_blocked", "status"),
    "asset": ("symbol", "status", "tradable", "fractionable", "class"),
    "clock": tuple(CLOCK), "calendar": tuple(DAY), "fill": tuple(FILL),
    "activity": ("id", "activity_type"),
}  # fmt: skip


@pytest.mark.parametrize("kind", READERS)
def test_numbers_as_text_or_as_numbers_are_the_same(kind):
    read, raw = READERS[kind]
    for name in NUMBERS.get(kind, ()):
        for other in (Decimal(raw[name]), float(raw[name]), f" {raw[name]} ", f"{raw[name]}e0"):
            assert read({**raw, name: other}) == read(raw), (name, other)


@pytest.mark.parametrize("kind", READERS)
def test_fields_that_are_not_known_change_nothing(kind):
    read, raw = READERS[kind]
    assert read({**raw, "new_field": {"a": [1]}, "source": None}) == read(raw)


@pytest.mark.parametrize("kind", READERS)
def test_a_field_that_is_missing_or_of_another_kind_is_refused_by_name(kind):
    read, raw = READERS[kind]
    for name in NEEDED[kind]:
        for wrong in (None, [], {}, "" if name != "open" else "x"):
            with pytest.raises(Unreadable, match=name):
                read({**raw, name: wrong})
        with pytest.raises(Unreadable, match=name):
            read({key: value for key, value in raw.items() if key != name})
    for nonsense in (None, [], "text", 3):
        with pytest.raises(Unreadable, match="expected an object"):
            read(nonsense)
    with pytest.raises(Unreadable, match="expected a list"):
        decoding.rows("orders", raw)


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("wrong", ["1,000", "ten", "NaN", "Infinity", True, "1.2.3", "--1", "0x10"])
def test_what_is_no_number_is_refused_by_name_and_value(kind, wrong):
    read, raw = READERS[kind]
    for name in NUMBERS[kind]:
        with pytest.raises(Unreadable, match=name) as error:
            read({**raw, name: wrong})
        assert repr(wrong) in str(error.value)


@given(data=st.data())
def test_whatever_comes_is_read_or_refused(data):
    """No answer brings anything but the project's own refusal, and none is read as something it is not."""
    kind = data.draw(st.sampled_from(sorted(READERS)))
    read, raw = READERS[kind]
    name = data.draw(st.sampled_from(sorted(raw)))
    leaf = st.none() | st.booleans() | st.integers() | st.decimals() | st.text() | st.floats()
    value = data.draw(leaf | st.lists(leaf, max_size=2) | st.dictionaries(st.text(), leaf, max_size=2))
    try:
        found = read({**raw, name: value})
    except Unreadable as error:
        assert name in str(error) or kind in ("order", "clock", "position")
        return
    if name in NUMBERS.get(kind, ()) and value not in (None, ""):
        assert Decimal(str(value)) in vars(found).values()


# Orders


@pytest.mark.parametrize(
    ("status", "filled", "tif", "state"),
    [
        *[(s, "0", "day", OrderState.OPEN) for s in
          ("new", "accepted", "pending_new", "accepted_for_bidding", "stopped", "suspended", "held", "pending_cancel",
           "pending_replace", "NEW")],
        ("partially_filled", "2", "day", OrderState.OPEN),
        ("filled", "10", "day", OrderState.FILLED),
        ("canceled", "2", "day", OrderState.CANCELLED),
        ("cancelled", "0", "day", OrderState.CANCELLED),
        ("expired", "0", "opg", OrderState.EXPIRED),
        ("rejected", "0", "day", OrderState.REJECTED),
        ("replaced", "0", "day", OrderState.CANCELLED),
        ("done_for_day", "2", "day", OrderState.EXPIRED),
        ("done_for_day", "2", "gtc", OrderState.OPEN),
        ("calculated", "10", "day", OrderState.FILLED),
        ("calculated", "3", "day", OrderState.EXPIRED),
    ],
)  # fmt: skip
def test_every_state_of_the_document_is_known(status, filled, tif, state):
    price = "100" if Decimal(filled) else None
    raw = {**ORDER, "status": status, "filled_qty": filled, "filled_avg_price": price, "time_in_force": tif}
    assert decoding.order(raw).state is state


def test_the_document_has_no_state_that_is_not_tested():
    if not DOCUMENT.is_file():
        pytest.skip(f"{DOCUMENT} is not there")
    schemas = json.loads(DOCUMENT.read_text(encoding="utf-8"))["components"]["schemas"]
    known = {*decoding.STATES, "done_for_day", "calculated", "replaced"} - {"cancelled"}
    assert set(schemas["OrderStatus"]["enum"]) == known
    read = {name: read_activities([{**DIVIDEND, "activity_type": name}])[0].kind
            for name in schemas["ActivityType"]["enum"] if name != "FILL"}  # fmt: skip
    assert read["SPLIT"] is ActivityKind.SPLIT and read["NC"] is ActivityKind.RENAME
    assert {n for n, kind in read.items() if kind is ActivityKind.DIVIDEND} == {
        "DIV", "DIVCGL", "DIVCGS", "DIVFT", "DIVNRA", "DIVROC", "DIVTW", "DIVTXEX", "CGD"}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"status": "pondering"}, "status: got 'pondering', expected one of new"),
        ({"status": "filled"}, "filled_qty: got '2.5', expected 10"),
        ({"filled_qty": "10.5"}, "filled_qty: got '10.5', expected a number from 0 to 10"),
        ({"filled_qty": "-1"}, "filled_qty: got '-1'"),
        ({"side": "both"}, "side: got 'both'"),
        ({"expires_at": "tomorrow"}, "expires_at: got 'tomorrow'"),
        ({"expires_at": "2025-02-03T21:00:00"}, "expires_at"),
    ],
)
def test_an_order_that_contradicts_itself_is_refused(changed, said):
    with pytest.raises(Unreadable) as error:
        decoding.order({**ORDER, **changed})
    assert str(error.value).startswith("order cf-1: ") and said in str(error.value)


def test_an_order_as_it_is_read():
    order = decoding.order(ORDER)
    assert (order.session, order.average_price, order.remaining) == (
        dt.date(2025, 2, 3),
        Decimal("101.25"),
        Decimal("7.5"),
    )
    assert decoding.order({**ORDER, "time_in_force": "gtc"}).session is None
    assert decoding.submitted(ORDER) == dt.datetime(2025, 1, 31, 21, 10, 0, 123456, dt.UTC)


def test_a_foreign_order_for_an_amount_of_money_is_known_by_what_fills():
    raw = {**ORDER, "qty": None, "notional": "500"}
    assert (decoding.order(raw).quantity, decoding.order(raw).state) == (Decimal("2.5"), OrderState.OPEN)
    assert decoding.order({**raw, "status": "filled"}).state is OrderState.FILLED


# The rest


@pytest.mark.parametrize(("qty", "side", "held"), [("5", "long", 5), ("-5", "short", -5), (5, "SHORT", -5)])
def test_a_short_position_is_negative(qty, side, held):
    assert decoding.position({**POSITION, "qty": qty, "side": side}).quantity == held


def test_a_long_position_is_not():
    with pytest.raises(Unreadable, match="position AAPL: qty"):
        decoding.position({**POSITION, "qty": "-5"})


@pytest.mark.parametrize("name", ["account_blocked", "trading_blocked", "trade_suspended_by_user"])
def test_a_blocked_account_says_by_what(name):
    assert decoding.account({**ACCOUNT, name: "true"}).blocked == name
    assert decoding.account(ACCOUNT).blocked == ""
    assert decoding.account({**ACCOUNT, "status": "ONBOARDING"}).blocked == "status ONBOARDING"


def test_an_asset_that_cannot_be_traded_says_why():
    assert decoding.asset(ASSET).tradable
    assert decoding.asset({**ASSET, "tradable": False}).why_not == "not tradable"
    assert decoding.asset({**ASSET, "status": "inactive"}).why_not == "status inactive"


def test_a_half_day_in_utc():
    utc = [dt.datetime(2025, 7, 3, hour, minute, tzinfo=dt.UTC) for hour, minute in ((13, 30), (17, 0))]
    assert decoding.session(DAY) == Session(dt.date(2025, 7, 3), *utc)
    assert decoding.session({**DAY, "open": "0930", "close": "1300"}) == Session(dt.date(2025, 7, 3), *utc)
    with pytest.raises(Unreadable, match="close"):
        decoding.session({**DAY, "close": "09:00"})


@pytest.mark.parametrize(
    "changed",
    [{"is_open": False}, {"next_open": "2025-06-23T09:30:00-04:00"}, {"next_close": "2025-06-23T16:00:00-04:00"}],
)
def test_a_clock_that_contradicts_itself_is_refused(changed):
    with pytest.raises(Unreadable, match="clock"):
        decoding.clock({**CLOCK, **changed})


@pytest.mark.parametrize("kind", ["trade_correct", "trade_bust"])
def test_a_fill_that_is_taken_back_is_refused_by_name(kind):
    with pytest.raises(Unreadable, match=kind):
        decoding.execution({**FILL, "type": kind}, {})
    assert decoding.execution({**FILL, "side": "sell_short"}, {}).side is Side.SELL


def test_a_dividend_changes_money_and_no_shares():
    (found,) = read_activities([DIVIDEND])
    assert found == Activity(
        "20250203::d", ActivityKind.DIVIDEND, dt.date(2025, 2, 3), "T", cash=Decimal("1.02"), text="DIV CDIV"
    )


SPLIT = {"activity_type": "SPLIT", "date": "2025-02-03", "symbol": "NVDA", "net_amount": "0"}


@pytest.mark.parametrize("group", [{"group_id": "g"}, {}])
def test_the_two_rows_of_a_split_are_one_event(group):
    rows = [{**SPLIT, **group, "id": "a", "qty": "-10"}, {**SPLIT, **group, "id": "b", "qty": "30"}]
    other = {**SPLIT, "group_id": "h", "symbol": "SF"}
    odd = [{**other, "id": "c", "qty": "0.821946705"}, {**other, "id": "d", "qty": "-0.54796447"}]
    found = read_activities([*rows, DIVIDEND, *odd])
    assert [(a.id, a.symbol, a.quantity, a.ratio) for a in found] == [
        ("b", "NVDA", 20, 3), ("20250203::d", "T", 0, None), ("c", "SF", Decimal("0.273982235"), Decimal("1.5"))
    ]  # fmt: skip


def test_a_row_of_a_split_that_is_alone_stays_what_it_says():
    said = "ADD, From QTY:10, To QTY:30, Position Value:1000.00"
    (found,) = read_activities([{**SPLIT, "id": "b", "qty": "30", "description": said}])
    assert (found.quantity, found.ratio) == (30, 3)
    (found,) = read_activities([{**SPLIT, "id": "b", "qty": "20"}])
    assert (found.quantity, found.ratio) == (20, None)


def test_a_change_of_name_is_one_event():
    usual = {"activity_type": "NC", "date": "2025-02-03", "group_id": "g"}
    rows = [{**usual, "id": "a", "qty": "-10", "symbol": "FB"}, {**usual, "id": "b", "qty": "10", "symbol": "META"}]
    (found,) = read_activities(rows)
    assert (found.kind, found.symbol, found.other, found.quantity) == (ActivityKind.RENAME, "FB", "META", 0)
    rows[1]["qty"] = "9"
    assert [(a.symbol, a.quantity) for a in read_activities(rows)] == [("FB", -10), ("META", 9)]


def test_an_activity_that_was_cancelled_or_is_not_known_keeps_its_name():
    (found,) = read_activities([{**DIVIDEND, "status": "canceled"}])
    assert found.kind is ActivityKind.OTHER and not found.cash and found.text.startswith("cancelled: DIV")
    (found,) = read_activities([{**DIVIDEND, "activity_type": "NEWKIND"}])
    assert (found.kind, found.quantity, found.text) == (ActivityKind.OTHER, 2, "NEWKIND CDIV")
