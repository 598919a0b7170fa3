"""Interactive Brokers on a gateway of this machine: experimental, and never a second order here either."""

import ast
import datetime as dt
import inspect
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

ib_async = pytest.importorskip("ib_async")

from clusterfolio.engine.live import ibkr, ibkr_decoding  # noqa: E402
from clusterfolio.engine.live.ibkr import IbkrVenue  # noqa: E402
from clusterfolio.engine.live.journal import Journal  # noqa: E402
from clusterfolio.engine.live.records import client_id  # noqa: E402
from clusterfolio.engine.live.runner import Runner  # noqa: E402
from clusterfolio.engine.live.terms import Halted  # noqa: E402
from clusterfolio.engine.live.venue import (  # noqa: E402
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
from tests.engine.live.fake_ib import FakeIB, Gateway  # noqa: E402
from tests.engine.live.test_runner import Desk as LocalDesk  # noqa: E402
from tests.engine.live.worlds import World, sessions_between, settings  # noqa: E402

DAYS = 3


class Desk:
    """A world, its gateway, a journal; a new connection for every runner."""

    def __init__(self, folder, world=None):
        self.world = world or World(n_days=DAYS + 4, seed=5, every=1)
        self.gateway = Gateway(self.world, folder / "gateway.sqlite")
        self.journal = Journal(folder / "journal.sqlite", durable=False)
        self.kill_file, self.told, self.on = folder / "KILL", [], {}

    def venue(self, **more):
        return IbkrVenue(sessions_between, timeout=3.0, ib=FakeIB(self.gateway), **more)

    def now(self):
        return self.gateway.engine.now

    def wait(self, until):
        if until > self.now():
            self.gateway.engine.advance(until)
        clock = self.gateway.engine.clock()
        if clock.is_open:
            self.gateway.engine.pulse(clock.next_close.date())

    def notify(self, kind, facts):
        self.told.append((kind, dict(facts)))
        if kind in self.on:
            self.on.pop(kind)()

    def runner(self, dry=False, venue=None, **more):
        return Runner(
            venue or self.venue(read_only=dry), self.journal, self.world, self,
            settings(**{"poll": 60.0, "retry": 15.0, **more}), kill_file=self.kill_file, notify=self.notify, dry=dry,
        )  # fmt: skip

    def held(self):
        return {p.symbol: p.quantity for p in self.gateway.engine.positions()}

    def references(self):
        """How many orders the broker has under each of our references."""
        return Counter(reference for _, reference, _ in self.gateway.sent.values())


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


@pytest.fixture(scope="module")
def without_faults(tmp_path_factory):
    local = LocalDesk(tmp_path_factory.mktemp("calm"), World(n_days=DAYS + 4, seed=5, every=1), poll=60.0)
    local.run(DAYS)
    return local.at_venue()


def connected(desk, **more):
    venue = desk.venue(**more)
    venue.connect(5.0)
    return venue


def request(desk, n=1, symbol="S0", quantity=10, timing=Timing.DAY):
    session = desk.gateway.engine._session_at(desk.gateway.engine.clock())
    name = client_id("DU1234567", "test", session, symbol, f"b{n}")
    return OrderRequest(name, symbol, Side.BUY, Decimal(quantity), timing, session)


def evening(desk):
    desk.wait(desk.now() + dt.timedelta(hours=1))


def test_what_it_calls_is_there_in_the_library_and_in_the_stand_in():
    """Names and arguments, read from the adapter's own text."""
    tree = ast.parse(Path(ibkr.__file__).read_text())
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "self._ib"]
    names = {call.attr for call in calls} - {"RequestTimeout"}
    assert {"placeOrder", "reqAllOpenOrders", "reqExecutions", "orderStatusEvent"} <= names
    real = ib_async.IB()
    for name in names:
        assert hasattr(real, name), name
        mine = getattr(FakeIB, name, None)
        if callable(mine):
            own = list(inspect.signature(mine).parameters)
            theirs = list(inspect.signature(getattr(ib_async.IB, name)).parameters)
            assert own == theirs[: len(own)], name
    assert isinstance(real.RequestTimeout, int | float)


def test_it_is_a_venue_and_an_order_goes_from_sending_to_its_fill(desk):
    venue = connected(desk)
    evening(desk)
    sent = request(desk)
    order = venue.submit(sent)
    assert isinstance(venue, Venue) and (order.client_id, order.state, order.filled) == (
        sent.client_id,
        OrderState.OPEN,
        0,
    )
    assert order.venue_id == "9000" and [o.client_id for o in venue.open_orders()] == [sent.client_id]
    with pytest.raises(NotAccepted, match="has been used") as used:
        venue.submit(sent)
    assert used.value.final and desk.references() == {sent.client_id: 1}
    desk.wait(sessions_between(sent.session, sent.session)[0].opens + dt.timedelta(minutes=1))
    order = venue.order_by_client_id(sent.client_id)
    (fill,) = venue.executions(desk.now() - dt.timedelta(hours=1))
    assert (order.state, order.filled, order.average_price) == (OrderState.FILLED, 10, fill.price)
    assert venue.positions()[0].quantity == 10 and venue.account().cash == 100_000 - 10 * fill.price
    assert {u.client_id for u in venue.updates(1.0)} == {sent.client_id}
    assert venue.order_by_client_id("never-sent") is None


@pytest.mark.parametrize(("account", "said"), [("U7654321", "got account U7654321"), ("DF1", "got account DF1")])
def test_a_live_account_is_refused_and_let_go_of(desk, account, said):
    desk.gateway.account = account
    venue = desk.venue()
    with pytest.raises(ValueError, match=f"{said}, expected one paper account, whose name begins with DU"):
        venue.connect(5.0)
    assert not venue.stream_ready() and not venue._ib.isConnected()


@pytest.mark.parametrize("port", [4001, 7496, 80])
def test_only_ports_of_paper_trading_are_connected_to(port, monkeypatch):
    monkeypatch.setenv("IBKR_PORT", str(port))
    with pytest.raises(ValueError, match="expected one of paper trading: 4002"):
        IbkrVenue.from_environment(sessions_between)
    monkeypatch.setenv("IBKR_PORT", "paper")
    with pytest.raises(ValueError, match="IBKR_PORT: got 'paper'"):
        IbkrVenue.from_environment(sessions_between)


def test_days_are_as_on_the_local_venue(desk, without_faults):
    desk.runner().run(sessions=DAYS)
    assert desk.held() == without_faults == desk.journal.holdings()
    assert set(desk.references().values()) == {1}
    for _, line in desk.journal.days():
        assert abs(line["causes"]["unexplained"]) < 0.01


def at_a_fill(strike):
    return lambda desk: desk.on.update(fill=lambda: strike(desk))


def reconnect(desk):
    desk.gateway.restart()
    desk.gateway.cut = 1


FAULTS = {
    "questions are not answered": lambda desk: setattr(desk.gateway, "silent", 5),
    "an order is taken and nothing is said": lambda desk: setattr(desk.gateway, "withheld", 1),
    "an order never arrives": lambda desk: setattr(desk.gateway, "swallowed", 1),
    "an order is taken and the connection breaks": lambda desk: setattr(desk.gateway, "cut", 1),
    "order ids are given anew after a restart": reconnect,
    "executions are corrected": lambda desk: setattr(desk.gateway, "corrected", True),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_the_same_is_held_and_no_order_is_sent_twice(desk, without_faults, fault):
    desk.on["plan"] = lambda: FAULTS[fault](desk)
    for _ in range(20):  # a new process after each connection that was lost
        try:
            desk.runner().run(sessions=1)
        except Halted as halt:
            raise AssertionError(str(halt)) from halt
        if desk.journal.looked_at() == desk.world.days[desk.world.start + DAYS - 1].date():
            break
    assert set(desk.references().values()) == {1}
    assert desk.held() == without_faults == desk.journal.holdings()


class Dies(BaseException):
    """The process ends here."""


@pytest.mark.acceptance
def test_a_process_that_dies_at_any_request_sends_each_order_once(desk, without_faults, monkeypatch):
    left, before = [0], FakeIB._request

    def dying(self, name):
        left[0] -= 1
        if left[0] < 0:
            raise Dies
        before(self, name)

    place = FakeIB.placeOrder

    def placing(self, contract, order):
        found = place(self, contract, order)
        if left[0] == 0:
            raise Dies  # taken, and nobody is there to hear of it
        return found

    monkeypatch.setattr(FakeIB, "_request", dying)
    monkeypatch.setattr(FakeIB, "placeOrder", placing)
    deaths, n = 0, 5
    while desk.journal.looked_at() != desk.world.days[desk.world.start + DAYS - 1].date():
        left[0] = n
        n += 1
        try:
            desk.runner().run(sessions=1)
        except Dies:
            deaths += 1
    assert deaths > 20 and set(desk.references().values()) == {1}
    assert desk.held() == without_faults == desk.journal.holdings()


def test_two_orders_of_one_reference_halt(desk):
    desk.runner().run(sessions=2)
    venue = connected(desk)
    trade = venue._ib.reqCompletedOrders(False)[0]
    desk.gateway.take(trade.contract, trade.order)  # as another program would send it
    with pytest.raises(Halted, match="the broker has two of this reference"):
        desk.runner().run(sessions=1)


def test_foreign_orders_and_positions_halt_and_their_references_are_no_names(desk):
    desk.runner().run(sessions=2)
    venue = connected(desk)
    foreign = ib_async.MarketOrder("BUY", 3.0, tif="DAY", orderRef="mine", account="DU1234567")
    for _ in range(2):
        desk.gateway.take(venue._ib._contract("S5"), foreign)
    assert {o.client_id for o in venue.open_orders()} == {f"ib-{n}" for n, ref, _ in desk.gateway.sent.values()
                                                         if ref == "mine"}  # fmt: skip
    with pytest.raises(Halted, match="S5: a foreign order to buy 3"):
        desk.runner().run(sessions=1)


def test_a_dry_run_places_nothing_and_shows_the_same_plan(desk):
    dry = desk.runner(dry=True)
    dry.run(sessions=1)
    desk.runner().run(sessions=1)
    plan = desk.journal.open_plan()
    assert dry.planned[0].targets == plan.targets and desk.gateway.placed == []
    with pytest.raises(NotAccepted, match="a dry run sends nothing"):
        connected(desk, read_only=True).submit(request(desk))


def test_what_is_refused_says_why_and_what_is_not_answered_is_unanswered(desk):
    venue = connected(desk)
    evening(desk)
    with pytest.raises(NotAccepted, match="no such share"):
        venue.submit(request(desk, symbol="NOPE"))
    desk.world.halted.add("S1")
    desk.gateway.engine._quotes = desk.world.quotes()
    with pytest.raises(NotAccepted, match="S1: halted") as refused:
        venue.submit(request(desk, symbol="S1"))
    assert refused.value.final
    desk.gateway.withheld = 1
    with pytest.raises(Unanswered, match="no answer in 3 seconds"):
        venue.submit(request(desk, n=2))
    assert not venue.stream_ready()  # only a new connection tells what became of it
    with pytest.raises(NotAccepted, match="not sent") as cut:
        venue.submit(request(desk, n=3))
    desk.gateway.down = True
    assert not cut.value.final
    with pytest.raises(Unavailable, match=r"127.0.0.1:4002: ConnectionRefusedError"):
        desk.venue().connect(1.0)


def test_nothing_is_sent_that_could_fill_on_another_session(desk):
    venue = connected(desk)
    sent = request(desk)
    with pytest.raises(NotAccepted, match="too early for the auction"):
        venue.submit(request(desk, timing=Timing.OPENING))
    desk.wait(sessions_between(sent.session, sent.session)[0].closes)
    with pytest.raises(NotAccepted, match="too late"):
        venue.submit(sent)


def test_an_account_in_another_currency_halts(desk):
    desk.gateway.base = "EUR"
    with pytest.raises(Halted, match="its base currency is EUR, the run's USD"):
        desk.runner().run(sessions=1)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"status": "Dreaming"}, "status: got 'Dreaming'"),
        ({"filled": float("nan")}, "filled: got nan, expected a number"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(desk, changed, said):
    venue = connected(desk)
    evening(desk)
    venue.submit(request(desk))
    (trade,) = venue._ib.reqAllOpenOrders()
    for name, value in changed.items():
        setattr(trade.orderStatus, name, value)
    with pytest.raises(Unreadable, match=said):
        ibkr_decoding.order(trade, ())
