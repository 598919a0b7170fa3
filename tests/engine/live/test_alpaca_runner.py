"""Days of paper trading at Alpaca on this machine: a fault ends in the right positions or in a halt with a reason."""

import datetime as dt
import json
from collections import Counter
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.live.database import transaction
from clusterfolio.engine.live.journal import Journal
from clusterfolio.engine.live.records import IntentState
from clusterfolio.engine.live.runner import Runner
from clusterfolio.engine.live.terms import Halted
from clusterfolio.strategies.policy import Decision
from tests.conftest import FixedPolicy
from tests.engine.live.judge import DOCUMENT, Judge
from tests.engine.live.loopback import KEY_ID, SECRET, Loopback
from tests.engine.live.test_runner import Desk as LocalDesk
from tests.engine.live.worlds import World, settings

DAYS = 3


class Desk:
    """A world, Alpaca on this machine, a journal, and a runner on them."""

    def __init__(self, folder, world=None, hang=0.6, timeout=0.3, **more):
        self.world = world or World(n_days=DAYS + 4, seed=5, every=1)
        self.there = Loopback(self.world, folder / "venue.sqlite", hang=hang, **more)
        self.venue = self.there.venue(timeout=timeout)
        self.journal = Journal(folder / "journal.sqlite", durable=False)
        self.kill_file, self.told, self.on = folder / "KILL", [], {}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.venue.close()
        self.there.__exit__(*error)
        self.journal.close()

    def now(self):
        return self.there.now

    def wait(self, until):
        self.there.wait(until)

    def notify(self, kind, facts):
        self.told.append((kind, dict(facts)))
        if kind in self.on:
            self.on.pop(kind)()

    def runner(self, dry=False, **more):
        venue = self.there.venue(timeout=0.3, read_only=True) if dry else self.venue
        return Runner(
            venue, self.journal, self.world, self, settings(**{"poll": 60.0, "retry": 15.0, **more}),
            kill_file=self.kill_file, notify=self.notify, dry=dry,
        )  # fmt: skip

    def orders(self):
        return self.there.engine.orders(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))

    def held(self):
        return {p.symbol: p.quantity for p in self.there.engine.positions()}

    def posts(self):
        return [json.loads(e.sent) for e in self.there.exchanges if e.method == "POST"]

    def one_order_per_intent(self):
        """Nothing is at the venue that the journal does not have, and nothing twice."""
        intents = {intent.client_id: intent for intent in self.journal.intents()}
        assert {order.client_id for order in self.orders()} <= set(intents)
        legs = Counter((i.plan, i.symbol, i.leg) for i in intents.values())
        assert not [leg for leg, count in legs.items() if count > 1]
        for order in self.orders():
            assert order.filled == intents[order.client_id].filled or intents[order.client_id].state in (
                IntentState.SENDING, IntentState.SENT)  # fmt: skip
            assert order.session == intents[order.client_id].session or not order.filled
        return True


@pytest.fixture(scope="module")
def without_faults(tmp_path_factory):
    """What is held after the same days when nothing goes wrong."""
    with Desk(tmp_path_factory.mktemp("calm")) as desk:
        desk.runner().run(sessions=DAYS)
        assert desk.one_order_per_intent() and not desk.there.twins
        assert desk.held() == desk.journal.holdings()
        first = desk.journal.plans()[0].key
        bought = {intent.client_id for intent in desk.journal.intents(first)}
        assert {o["time_in_force"] for o in desk.posts() if o["client_order_id"] in bought} == {"opg"}
        assert [kind for kind, _ in desk.told].count("settled") == DAYS - 1
        return desk.held()


def posts(fault, times=1):
    return lambda desk: desk.there.fail(fault, times)


def gets(fault, path, times=1):
    return lambda desk: desk.there.fail(fault, times, "GET", path)


def stream(**how):
    return lambda desk: [setattr(desk.there, name, value) for name, value in how.items()]


def when(kind, act):
    return lambda desk: desk.on.__setitem__(kind, lambda: act(desk.there))


FAULTS = {
    "504 after accept": posts("504 after accept", 3),
    "504 and not accepted": posts("504", 2),
    "500": posts("500", 2),
    "cut after send": posts("cut after send", 2),
    "cut before it was read": posts("cut before", 2),
    "hang beyond the timeout": posts("hang", 2),
    "half an answer": posts("half", 2),
    "a page that is no answer": posts("page"),
    "it arrives later": posts("late", 2),
    "a burst of 429": posts("429", 5),
    "a burst of 429 on reads": gets("429", "/v2/", 5),
    "refused": posts("403", 2),
    "a look-up that is not answered": lambda desk: (posts("504 after accept")(desk), gets("504", "/v2/orders:")(desk)),
    "a look-up answered by a gateway's 404": lambda desk: (
        posts("504 after accept")(desk), gets("lost page", "/v2/orders:")(desk)
    ),
    "positions are not answered": gets("hang", "/v2/positions", 2),
    "updates twice and mixed": stream(twice=True),
    "fills are not told by the stream, which lives": stream(deaf=("fill",)),
    "the stream tells nothing": stream(deaf=("",)),
    "fills are told by positions before orders": stream(lag=90.0),
    "the stream is cut while orders go out": when("order", Loopback.cut_stream),
    "the stream is cut while orders fill": when("fill", Loopback.cut_stream),
    "the stream authorizes nobody for a while": when("order", lambda there: (
        there.refuse_streams(2), there.cut_stream()
    )),
    "the venue restarts while orders go out": when("order", lambda there: there.restart(10)),
    "the venue restarts while orders fill": when("fill", lambda there: there.restart(10)),
}  # fmt: skip


#: Those that are played in every run of the tests; the others are acceptance tests.
OFTEN = (
    "504 after accept",
    "cut after send",
    "hang beyond the timeout",
    "it arrives later",
    "a burst of 429",
    "a look-up answered by a gateway's 404",
    "updates twice and mixed",
    "fills are told by positions before orders",
    "the stream is cut while orders fill",
    "the venue restarts while orders go out",
)


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=[] if name in OFTEN else pytest.mark.acceptance) for name in FAULTS]
)
def test_after_a_fault_the_same_is_held_as_without(tmp_path, without_faults, fault):
    with Desk(tmp_path) as desk:
        FAULTS[fault](desk)
        desk.runner().run(sessions=DAYS)
        assert desk.one_order_per_intent() and desk.there.faults == [] and desk.on == {}
        assert desk.held() == desk.journal.holdings() == without_faults
        assert fault == "it arrives later" or not desk.there.twins


def test_an_order_that_fills_in_part_and_is_cancelled_is_made_up_for(tmp_path, without_faults):
    parts = iter([Decimal("0.3"), Decimal(-1)])
    with Desk(tmp_path, filler=lambda order, at: next(parts, Decimal(1))) as desk:
        desk.runner().run(sessions=DAYS)
        assert next(parts, None) is None and desk.one_order_per_intent()
        assert desk.held() == desk.journal.holdings() == without_faults
        assert any(order.state == "cancelled" for order in desk.orders())


def test_fills_that_are_withheld_for_a_while_are_waited_for(tmp_path, without_faults):
    nothing = iter([Decimal(0)] * 12)
    with Desk(tmp_path, filler=lambda order, at: next(nothing, Decimal(1))) as desk:
        desk.runner().run(sessions=DAYS)
        assert next(nothing, None) is None and desk.held() == desk.journal.holdings() == without_faults


def test_ids_that_a_venue_uses_again_every_day_are_held_apart(tmp_path, without_faults):
    with Desk(tmp_path) as desk:
        desk.there.reuse_ids = True
        desk.runner().run(sessions=DAYS)
        assert desk.one_order_per_intent() and desk.held() == desk.journal.holdings() == without_faults
        filled = Counter()
        for fill in desk.journal.executions():
            filled[fill.client_id] += fill.quantity
        assert filled == {order.client_id: order.filled for order in desk.orders()}
        assert len({order["id"] for order in map(desk.there.order, desk.orders())}) < len(desk.orders())


@pytest.mark.parametrize(
    ("path", "spoiled", "said"),
    [
        ("/v2/orders", {"status": "pondering"}, "status: got 'pondering'"),
        ("/v2/orders", {"filled_qty": "a few"}, "filled_qty: got 'a few'"),
        ("/v2/positions", {"qty": None}, "qty"),
        ("/v2/account", {"trading_blocked": True}, "blocked"),
        ("/v2/account", {"cash": "1,000"}, "cash"),
        ("/v2/clock", {"is_open": "perhaps"}, "is_open"),
    ],
)
def test_an_answer_that_is_not_understood_halts_by_name(tmp_path, path, spoiled, said):
    def spoil(asked, answer):
        if asked.startswith(path) and answer:
            return [{**row, **spoiled} for row in answer] if isinstance(answer, list) else {**answer, **spoiled}
        return answer

    with Desk(tmp_path) as desk:
        desk.runner().run(sessions=2)
        desk.on["order"] = lambda: setattr(desk.there, "spoil", spoil)
        with pytest.raises(Halted, match=said):
            desk.runner().run(sessions=2)
        assert desk.journal.state("halt")["why"] and desk.one_order_per_intent()


def test_a_dry_run_shows_the_same_plan_and_writes_nothing(tmp_path):
    with Desk(tmp_path) as desk:
        desk.runner().run(sessions=2)
        desk.there.exchanges.clear()
        dry = desk.runner(dry=True)
        dry.run(sessions=1, wait=False)
        assert {e.method for e in desk.there.exchanges} == {"GET"}
        _, intents = dry.planned
        desk.runner().run(sessions=1)
        sent = {(o["client_order_id"], o["qty"]) for o in desk.posts()}
        assert sent == {(i.client_id, str(i.quantity)) for i in intents} and sent
        dry.venue.close()


def test_a_first_day_as_a_dry_run_writes_nothing(tmp_path):
    with Desk(tmp_path) as desk:
        dry = desk.runner(dry=True)
        dry.run(sessions=1, wait=False)
        assert len(dry.planned[1]) == 3
        assert {e.method for e in desk.there.exchanges} == {"GET"} and desk.journal.intents() == []
        dry.venue.close()


def test_the_kill_file_stops_within_one_order(tmp_path):
    with Desk(tmp_path) as desk:
        desk.on["order"] = lambda: desk.kill_file.write_text("stop")
        with pytest.raises(Halted, match="kill file"):
            desk.runner().run(sessions=2)
        assert len(desk.posts()) == 1


def test_no_key_is_in_what_a_day_leaves_behind(tmp_path):
    with Desk(tmp_path) as desk:
        desk.there.fail("504 after accept", 2)
        desk.runner().run(sessions=2)
        left = [repr(desk.told), *(repr(event) for event in desk.journal.events(10_000))]
    left += [file.read_bytes().decode("latin-1") for file in tmp_path.iterdir()]
    assert len(left) > 4 and not [text for text in left if KEY_ID in text or SECRET in text]


def test_a_split_and_a_dividend_between_decision_and_open_are_as_on_the_local_venue(tmp_path):
    """2:1 and 1:2 over night with orders waiting: the same shares and money, told in Alpaca's rows."""
    found = []
    for name in ("local", "alpaca"):
        folder = tmp_path / name
        folder.mkdir()
        world = World(n_days=9, every=1, whole=False, policy=FixedPolicy({}))
        flips = [{"S0": 0.5, "S1": 0.3}, {"S0": 0.3, "S1": 0.5, "S2": 0.1}]
        world.policy.weights = {day: pd.Series(flips[n % 2]) for n, day in enumerate(world.days)}
        after = world.days[world.start + 3].date()
        world.splits = {(after, "S0"): Decimal(2), (after, "S1"): Decimal("0.5")}
        world.dividends = {(after, "S0"): Decimal("0.4")}
        if name == "local":
            desk = LocalDesk(folder, world, fractional=True)
            desk.run(5)
            found.append((desk.at_venue(), desk.journal.entries(), desk.venue.account().cash))
            continue
        with Desk(folder, world) as desk:
            desk.runner(fractional=True).run(sessions=5)
            assert desk.held() == desk.journal.holdings() and desk.one_order_per_intent()
            assert [facts["what"] for kind, facts in desk.told if kind == "activity"].count("split") == 2
            found.append((desk.held(), desk.journal.entries(), desk.there.engine.account().cash))
    (local, entries, cash), (alpaca, same_entries, same_cash) = found
    assert alpaca == pytest.approx(local, rel=Decimal("1e-9")) and set(alpaca) == {"S0", "S1", "S2"}
    assert entries == same_entries and same_cash == pytest.approx(cash, rel=Decimal("1e-9"))


def test_a_foreign_order_and_a_foreign_position_halt(tmp_path):
    with Desk(tmp_path) as desk:
        desk.runner().run(sessions=2)
        row = desk.there.order(next(o for o in desk.orders()))
        desk.there.foreign.append({**row, "client_order_id": "by-hand", "status": "new", "symbol": "S1",
                                   "filled_qty": "0", "filled_avg_price": None})  # fmt: skip
        with pytest.raises(Halted, match="S1: a foreign order to"):
            desk.runner().run(sessions=1)
        desk.there.foreign.clear()
        desk.journal.set_state("halt", None)
        with transaction(desk.there.engine._db) as db:
            desk.there.engine._move(db, "S2", Decimal(7))
        with pytest.raises(Halted, match="7 are not ours"):
            desk.runner().run(sessions=1)


@pytest.mark.acceptance
def test_320_symbols_are_rebalanced_whole_through_the_judge(tmp_path):
    """Sold, bought, filled and reconciled: every request and every answer as the official document has it."""
    if not DOCUMENT.is_file():
        pytest.skip(f"{DOCUMENT} is not there")

    class Everything:
        def decide(self, panel, state):
            rng = np.random.default_rng(panel.dates[-1].toordinal())
            return Decision(panel.dates[-1], pd.Series(rng.dirichlet(np.full(320, 20.0)) * 0.95, index=panel.symbols))

    world = World(n_days=4, n_symbols=320, seed=1, every=1, whole=False, policy=Everything())
    with Desk(tmp_path, world, timeout=5.0) as desk:
        desk.runner(fractional=True).run(sessions=3)
        assert len(desk.posts()) >= 620 and 429 not in {e.status for e in desk.there.exchanges}
        sides = Counter(order["side"] for order in desk.posts())
        assert sides["sell"] > 100 and len(desk.held()) == 320
        assert desk.one_order_per_intent() and desk.held() == desk.journal.holdings()
        judge = Judge()
        found = [text for exchange in desk.there.exchanges for text in judge.violations(exchange)]
        assert found == [] and judge.undescribed <= {("GET", "/v2/orders:by_client_order_id", 404)}
        print(f"{len(desk.there.exchanges)} exchanges, {len(desk.posts())} orders, {len(found)} violations")
