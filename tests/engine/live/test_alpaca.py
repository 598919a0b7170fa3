"""The adapter on a venue of this machine: what it sends, what it makes of answers, and that nothing is sent twice."""

import datetime as dt
import importlib
import logging
import pickle
import socket
import sys
import threading
import time
import traceback
from dataclasses import replace
from decimal import Decimal

import pytest

from clusterfolio import ClusterfolioError
from clusterfolio.engine.live.alpaca import AlpacaVenue
from clusterfolio.engine.live.alpaca_wire import KEY_ID, PAPER, PAPER_STREAM, SECRET_KEY, Budget, Client, Hidden, Keys
from clusterfolio.engine.live.quotes import Quote
from clusterfolio.engine.live.venue import (
    ActivityKind,
    NotAccepted,
    OrderRequest,
    OrderState,
    Side,
    Timing,
    Unanswered,
    Unavailable,
    Unreadable,
    Venue,
)
from tests.engine.live import loopback as lb
from tests.engine.live.judge import DOCUMENT, Judge
from tests.engine.live.loopback import Loopback
from tests.engine.live.worlds import World, sessions_between

EVENING = dt.timedelta(hours=4)  # after the close: auctions are asked for from then on


@pytest.fixture
def world():
    return World(n_days=10, seed=3)


@pytest.fixture
def venue_there(world, tmp_path):
    with Loopback(world, tmp_path / "venue.sqlite") as there:
        yield there


@pytest.fixture
def venue(venue_there):
    venue = venue_there.venue(timeout=0.5)
    venue.connect(5.0)
    venue_there.sleep(EVENING.total_seconds())
    yield venue
    venue.close()


def request(there, symbol="S0", quantity="10", side=Side.BUY, timing=Timing.OPENING, client_id=None, session=None):
    session = session or there.engine._session_at(there.engine.clock())
    quantity = Decimal(quantity)
    return OrderRequest(client_id or f"cf-{symbol}-{side}-{quantity}", symbol, side, quantity, timing, session)


def posts(there):
    return [e for e in there.exchanges if e.method != "GET"]


def to_the_open(there):
    there.wait(there.engine.clock().next_open + dt.timedelta(seconds=1))


def judged(there, *, undescribed=()):
    """No exchange breaks the official document, where it is there to be asked."""
    if not DOCUMENT.is_file():
        pytest.skip(f"{DOCUMENT} is not there")
    judge = Judge()
    assert [text for exchange in there.exchanges for text in judge.violations(exchange)] == []
    assert judge.undescribed == set(undescribed)


# What is sent and what comes back


def test_it_is_a_venue(venue):
    assert isinstance(venue, Venue) and venue.name == "alpaca"


def test_an_order_from_sending_to_its_fill(venue, venue_there):
    sent = request(venue_there, quantity="10")
    order = venue.submit(sent)
    assert (order.client_id, order.state, order.filled, order.session) == (
        sent.client_id,
        OrderState.OPEN,
        0,
        sent.session,
    )
    assert venue.open_orders() == [order] == venue.orders(venue_there.now) == [venue.order_by_client_id(sent.client_id)]
    to_the_open(venue_there)
    order = venue.order_by_client_id(sent.client_id)
    assert (order.state, order.filled) == (OrderState.FILLED, 10) and venue.open_orders() == []
    (fill,) = venue.executions(venue_there.now - dt.timedelta(days=1))
    assert (fill.client_id, fill.quantity, fill.price) == (sent.client_id, 10, order.average_price)
    (held,) = venue.positions()
    assert (held.symbol, held.quantity) == ("S0", 10)
    assert venue.account().cash == venue_there.engine.account().cash == 100_000 - 10 * fill.price
    assert venue.order_by_client_id("never-sent") is None
    judged(venue_there, undescribed={("GET", "/v2/orders:by_client_order_id", 404)})


def test_everything_that_is_asked_is_of_the_official_document(venue, venue_there, world):
    venue.submit(request(venue_there))
    order = venue.submit(request(venue_there, "S1"))
    venue.cancel(order)
    venue.cancel(order)
    assert venue.order_by_client_id(order.client_id).state is OrderState.CANCELLED
    to_the_open(venue_there)
    day = venue_there.now.date()
    assert [s.day for s in venue.calendar(day, day)] == [day] and venue.clock().is_open
    assert set(venue.assets(["S0", "S5", "EURUSD"])) == {"S0", "S5"}
    venue.activities(day - dt.timedelta(days=5))
    venue.executions(venue_there.now - dt.timedelta(days=5))
    assert not venue.account().blocked and venue.positions()
    assert len({(e.method, e.target.split("?")[0]) for e in venue_there.exchanges}) >= 10
    judged(venue_there)


def test_the_judge_finds_what_is_wrong(venue, venue_there):
    if not DOCUMENT.is_file():
        pytest.skip(f"{DOCUMENT} is not there")
    venue.submit(request(venue_there))
    venue_there.spoil = lambda path, answer: {**answer, "qty": 10} if "client" in path else answer
    venue.order_by_client_id("cf-S0-buy-10")
    (order,) = posts(venue_there)
    judge = Judge()
    assert len(judge.violations(venue_there.exchanges[-1])) == 1
    for wrong in (order.sent.replace(b'"10"', b"10"), order.sent.replace(b'"opg"', b'"open"'),
                  order.sent.replace(b'"qty"', b'"quantity"')):  # fmt: skip
        assert judge.violations(replace(order, sent=wrong)), wrong
    assert judge.violations(replace(order, headers={"content-type": "application/json"}))


@pytest.mark.parametrize(
    ("quantity", "written", "tif"),
    [("100", "100", "opg"), ("1E+2", "100", "opg"), ("0.123456789", "0.123456789", "day"), ("2.50", "2.5", "day")],
)
def test_quantities_are_text_and_parts_of_a_share_go_as_day(tmp_path, quantity, written, tif):
    with Loopback(World(n_days=10, whole=False), tmp_path / "v.sqlite") as there:
        venue = there.venue()
        venue.connect(5.0)
        there.sleep(EVENING.total_seconds())
        order = venue.submit(request(there, quantity=quantity))
        assert order.quantity == Decimal(quantity)
        (sent,) = posts(there)
        assert f'"qty": "{written}"'.encode() in sent.sent and f'"time_in_force": "{tif}"'.encode() in sent.sent
        venue.close()


def test_lists_are_whole_however_many_pages(venue, venue_there):
    """1,203 foreign orders, 200 of them of one moment over the border of a page."""
    row = venue_there.order(venue_there.engine.submit(request(venue_there)) and _sent(venue_there))
    begin = venue_there.now - dt.timedelta(days=1)
    for n in range(1203):
        at = lb.stamp(begin + dt.timedelta(seconds=n if not 400 <= n < 600 else 400))
        venue_there.foreign.append({**row, "id": str(n), "client_order_id": f"foreign-{n}", "submitted_at": at})
    assert len(venue.open_orders()) == 1204
    since = begin + dt.timedelta(seconds=400)
    assert len(venue.orders(since)) == 1204 - 400
    for moment in venue_there.foreign:
        moment["submitted_at"] = lb.stamp(begin)
    with pytest.raises(Unreadable, match="does not go on from there"):
        venue.open_orders()


def _sent(there):
    (order,) = there.engine.open_orders()
    there._sent_at[order.client_id] = there.now
    return order


def test_fills_are_whole_however_many_pages_and_each_is_there_once(venue, venue_there):
    venue.submit(request(venue_there))
    to_the_open(venue_there)
    (row,) = venue_there._fills()
    many = [{**row, "id": f"{n:017}::x"} for n in range(250)]
    venue_there._fills = lambda: [dict(row) for row in [*many, *many[-3:]]]
    assert len(venue.executions(venue_there.now - dt.timedelta(days=1))) == 250


# The session


def test_nothing_is_sent_that_could_fill_on_another_session(venue, venue_there):
    clock = venue.clock()
    days = [s.day for s in sessions_between(clock.next_open.date(), clock.next_open.date() + dt.timedelta(days=9))]
    with pytest.raises(NotAccepted, match="too early") as early:
        venue.submit(request(venue_there, session=days[1]))
    assert not early.value.final and early.value.retry_after > 3600
    saturday = next(d for d in (days[0] + dt.timedelta(days=n) for n in range(7)) if d.weekday() == 5)
    with pytest.raises(NotAccepted, match="no session") as none:
        venue.submit(request(venue_there, session=saturday))
    assert none.value.final
    for before_open, timing, fits in (
        (600, Timing.OPENING, True),
        (119, Timing.OPENING, False),
        (119, Timing.DAY, True),
    ):
        venue_there.wait(clock.next_open - dt.timedelta(seconds=before_open))
        sent = request(venue_there, timing=timing, client_id=f"cf-{before_open}-{timing}", session=days[0])
        if fits:
            assert venue.submit(sent).session == days[0]
        else:
            with pytest.raises(NotAccepted, match="too late") as late:
                venue.submit(sent)
            assert late.value.final
    venue_there.wait(clock.next_close - dt.timedelta(seconds=1))
    with pytest.raises(NotAccepted, match="too late"):
        venue.submit(request(venue_there, timing=Timing.DAY, session=days[0]))
    # At this moment an order for tomorrow could still be taken for today.
    with pytest.raises(NotAccepted, match="too early"):
        venue.submit(request(venue_there, timing=Timing.DAY, session=days[1]))
    assert len(posts(venue_there)) == 2


def test_a_fractional_order_waits_for_no_auction_but_for_the_close(tmp_path):
    with Loopback(World(n_days=10, whole=False), tmp_path / "v.sqlite") as there:
        venue = there.venue()
        venue.connect(5.0)
        with pytest.raises(NotAccepted, match="too early"):
            venue.submit(request(there, quantity="1.5"))
        there.sleep(60)
        assert venue.submit(request(there, quantity="1.5")).state is OrderState.OPEN
        with pytest.raises(NotAccepted, match="too early") as early:
            venue.submit(request(there, "S1", quantity="1"))
        assert 2.9 * 3600 < early.value.retry_after < 3 * 3600  # auctions: from 19:00 in New York
        venue.close()


def test_nothing_is_sent_while_the_stream_is_away(venue, venue_there):
    venue_there.cut_stream()
    wait_for(lambda: not venue.stream_ready())
    with pytest.raises(NotAccepted, match="not authenticated") as refused:
        venue.submit(request(venue_there))
    assert not refused.value.final and posts(venue_there) == []
    venue_there.refuse_streams(1)
    with pytest.raises(Unavailable, match="not authorized"):
        venue.connect(5.0)
    assert not venue.stream_ready()
    venue.connect(5.0)
    assert venue.submit(request(venue_there)).state is OrderState.OPEN


def wait_for(what, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_stream_tells_of_orders_twice_and_mixed(venue, venue_there):
    venue_there.twice = True
    venue.submit(request(venue_there))
    to_the_open(venue_there)
    heard = []
    wait_for(lambda: heard.extend(venue.updates(0.1)) or len(heard) >= 4)
    assert {u.client_id for u in heard} == {"cf-S0-buy-10"} and {u.event for u in heard} == {"new", "fill"}
    assert len(venue.executions(venue_there.now - dt.timedelta(days=1))) == 1


def test_a_stream_that_answers_nothing_is_given_up_in_time(venue_there):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/stream"
        venue = AlpacaVenue(venue_there.url, url, keys=Keys(Hidden("a"), Hidden("b")))
        began = time.monotonic()
        with pytest.raises(Unavailable, match="stream"):
            venue.connect(0.3)
        assert time.monotonic() - began < 3.0


# Faults


@pytest.mark.parametrize(
    ("fault", "error", "there_after"),
    [
        ("504 after accept", Unanswered, True),
        ("504", Unanswered, False),
        ("500", Unanswered, False),
        ("cut after send", Unanswered, True),
        ("cut before", Unanswered, False),
        ("hang", Unanswered, True),
        ("half", Unanswered, True),
        ("page", Unanswered, True),
        ("429", NotAccepted, False),
        ("403", NotAccepted, False),
    ],
)
def test_an_order_that_goes_wrong_is_sent_once_and_looked_up(venue, venue_there, fault, error, there_after):
    venue_there.hang = 1.2
    venue_there.fail(fault)
    sent = request(venue_there)
    with pytest.raises(error) as raised:
        venue.submit(sent)
    assert len(posts(venue_there)) == 1
    found = venue.order_by_client_id(sent.client_id)
    assert (found is not None) == there_after
    if error is NotAccepted:
        assert raised.value.final == (fault == "403")


def test_an_id_is_taken_once(venue, venue_there):
    sent = request(venue_there)
    venue.submit(sent)
    with pytest.raises(NotAccepted, match="unique") as refused:
        venue.submit(sent)
    assert refused.value.final and len(venue_there.engine.open_orders()) == 1


def test_without_a_connection_an_order_is_certainly_not_there():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    client = Client(url, Keys(Hidden("a"), Hidden("b")), Budget())
    with pytest.raises(NotAccepted, match="never sent") as refused:
        client.post("/orders", {})
    assert not refused.value.final


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    name = "clusterfolio.engine.live.alpaca_wire"
    monkeypatch.setitem(sys.modules, "alpaca.trading.client", None)
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ClusterfolioError, match=r"pip install 'clusterfolio\[paper\]'"):
        importlib.import_module(name)


@pytest.mark.parametrize("fault", ["504", "500", "429", "cut after send", "hang", "half", "lost page"])
def test_a_question_that_goes_wrong_may_be_asked_again(venue, venue_there, fault):
    venue_there.hang = 1.2
    sent = request(venue_there)
    venue.submit(sent)
    venue_there.fail(fault, method="GET", path="/v2/orders:by")
    with pytest.raises(Unavailable):
        venue.order_by_client_id(sent.client_id)
    assert venue.order_by_client_id(sent.client_id).client_id == sent.client_id


def test_a_body_that_drips_is_given_up_in_time():
    def drip(server):
        peer, _ = server.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            try:
                for _ in range(1000):
                    peer.sendall(b" ")
                    time.sleep(0.05)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        venue = AlpacaVenue(url, "ws://127.0.0.1:1/", keys=Keys(Hidden("a"), Hidden("b")), timeout=0.2)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            venue.account()
        assert time.monotonic() - began < 2.0
        venue.close()


def test_fills_of_an_id_that_the_venue_used_twice_are_refused(venue, venue_there):
    venue_there.reuse_ids = True
    for name in ("cf-a", "cf-b"):
        venue.submit(request(venue_there, client_id=name, quantity="1"))
    assert {o.client_id for o in venue.open_orders()} == {"cf-a", "cf-b"}
    to_the_open(venue_there)
    assert venue.order_by_client_id("cf-a").state is OrderState.FILLED
    with pytest.raises(Unreadable, match="used it twice"):
        venue.executions(venue_there.now - dt.timedelta(days=1))


def test_a_split_comes_with_its_ratio(tmp_path):
    world = World(n_days=10)
    first, second = (world.days[world.start + n].date() for n in (1, 2))
    world.actions[second, "S0"] = Quote(Decimal(25), Decimal(25), Decimal("0.5"), Decimal(2))
    with Loopback(world, tmp_path / "v.sqlite") as there:
        venue = there.venue()
        venue.connect(5.0)
        there.sleep(EVENING.total_seconds())
        venue.submit(request(there))
        to_the_open(there)
        there.wait(venue.clock().next_close)
        to_the_open(there)
        found = venue.activities(first)
        assert [(a.kind, a.quantity, a.ratio, a.cash) for a in found] == [
            (ActivityKind.DIVIDEND, 0, None, 5),
            (ActivityKind.SPLIT, 10, 2, 0),
        ]
        judged(there)
        venue.close()


# Requests a minute


@pytest.mark.acceptance
def test_320_orders_against_an_enforced_200_a_minute(tmp_path):
    """All are taken, none is refused for coming too fast, and the questions in between wait for the orders."""
    names = [f"S{n}" for n in range(320)]
    with Loopback(World(n_days=3, n_symbols=320), tmp_path / "v.sqlite") as there:
        venue = there.venue()
        venue.connect(5.0)
        there.sleep(EVENING.total_seconds())
        began = there.now
        for name in names:
            venue.submit(request(there, name, "1"))
            for _ in range(2 if name[1:3] == "15" else name.endswith("0")):
                venue.account()
        assert len(there.engine.open_orders()) == 320
        assert 429 not in {e.status for e in there.exchanges}
        seconds = (there.now - began).total_seconds()
        assert 60 <= seconds <= 121, seconds
        assert len(venue.orders(began)) == 320
        venue.close()


def test_a_minute_that_others_used_up_is_not_used_again(venue, venue_there):
    """A process that was killed a moment ago has spent most of the minute: the venue says so in its answers."""
    for _ in range(190):
        venue_there._recent.append(venue_there.now.timestamp())
    began = venue_there.now
    for n in range(30):
        venue.submit(request(venue_there, client_id=f"cf-{n}", quantity="1"))
    assert 429 not in {e.status for e in venue_there.exchanges}
    assert (venue_there.now - began).total_seconds() >= 59


def test_data_leaves_room_for_orders():
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    budget = Budget(10, reserve=3, monotonic=lambda: now[0], sleep=sleep)
    for _ in range(7):
        assert budget.delay(first=False) == 0
        budget.answered(None)
    assert budget.delay(first=False) == 60 and budget.delay(first=True) == 0
    for _ in range(3):
        budget.answered(None)
    assert budget.delay(first=True) == 60
    budget.wait(first=True)
    assert now[0] == 60 and budget.delay(first=False) == 0
    budget.answered(4)
    assert budget.delay(first=False) == 0 and budget.delay(first=True) == 0
    budget.answered(0)
    assert budget.delay(first=True) == 60


# Keys and addresses


@pytest.mark.parametrize(
    "url",
    [
        "https://api.alpaca.markets",
        "http://paper-api.alpaca.markets",
        "https://paper-api.alpaca.markets.evil.example",
        "https://paper-api.alpaca.markets@evil.example",
        "https://evil.example/paper-api.alpaca.markets",
        "https://user:pw@127.0.0.1",
        "https://paper-api.alpaca.markets:444",
        "https://paper-api.alpaca.markets/v2",
        "http://128.0.0.1",
        "http://0.0.0.0",
        "http://localhost.evil.example",
        "ftp://127.0.0.1",
        "",
    ],
)
def test_no_other_address_is_ever_given_a_key(url):
    keys = Keys(Hidden("a"), Hidden("b"))
    with pytest.raises(ValueError, match="expected https://paper-api"):
        AlpacaVenue(url, keys=keys)
    with pytest.raises(ValueError, match="expected wss://paper-api"):
        AlpacaVenue(PAPER, url.replace("http", "ws"), keys=keys)


def test_addresses_of_the_paper_host_and_of_this_machine_are_taken():
    keys = Keys(Hidden("a"), Hidden("b"))
    for url in (PAPER, f"{PAPER}/", "http://127.0.0.1:9", "http://[::1]:9", "http://localhost"):
        AlpacaVenue(url, PAPER_STREAM, keys=keys).close()


@pytest.mark.parametrize(("key_id", "secret"), [(None, "x"), ("x", None), ("", "x"), ("x y", "x"), ("x", "x\ny")])
def test_keys_come_from_the_environment_or_not_at_all(monkeypatch, key_id, secret):
    for name, value in ((KEY_ID, key_id), (SECRET_KEY, secret)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(ClusterfolioError, match="APCA_API_") as error:
        AlpacaVenue()
    assert "x y" not in str(error.value) and "x\ny" not in str(error.value)


def test_no_key_is_in_any_message_log_or_traceback(world, tmp_path, monkeypatch, caplog):
    """Also where a venue sends them back, logging is at its loudest, and a traceback shows its locals."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(KEY_ID, lb.KEY_ID)
    monkeypatch.setenv(SECRET_KEY, lb.SECRET)
    shown = []

    def attempt(what):
        try:
            shown.append(repr(what()))
        except Exception as error:
            parts = traceback.TracebackException.from_exception(error, capture_locals=True)
            shown.extend([*parts.format(), repr(error), repr(error.__context__), repr(vars(error))])

    with Loopback(world, tmp_path / "v.sqlite", hang=0.6) as there:
        monkeypatch.setenv("APCA_API_BASE_URL", there.url)
        monkeypatch.setenv("APCA_API_STREAM_URL", there.stream_url)
        there.sleep(EVENING.total_seconds())
        venue = AlpacaVenue.from_environment()
        venue._client._timeout = 0.2
        attempt(lambda: venue.connect(5.0))
        for fault in ("hang", "cut after send", "500", "page"):
            there.fail(fault, method="GET", path="/v2/account")
            attempt(venue.account)
        for fault in ("hang", "cut after send", "504"):
            there.fail(fault)
            attempt(lambda fault=fault: venue.submit(request(there, client_id=f"cf-{len(fault)}")))
        monkeypatch.setattr(lb, "SECRET", "another")
        attempt(venue.account)
        there.cut_stream()
        wait_for(lambda: not venue.stream_ready())
        attempt(lambda: venue.connect(1.0))
        attempt(lambda: pickle.dumps(venue._client._keys))
        shown += [
            repr(venue.__dict__),
            repr(venue._client.__dict__),
            repr(venue._stream.__dict__),
            str(venue._client._keys),
        ]
        venue.close()
    assert len(shown) > 20 and any("access key *** *** verification failed" in text for text in shown)
    secret = "s3cretOfTheAccountThatNobodySees00000001"
    for text in [*shown, caplog.text, *(str(vars(record)) for record in caplog.records)]:
        assert lb.KEY_ID not in text and secret not in text, text
