"""The machine on the local venue, day by day, and what it does when something is wrong."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest

from clusterfolio.engine.live.journal import Journal
from clusterfolio.engine.live.journal_file import JournalError
from clusterfolio.engine.live.limits import Limits
from clusterfolio.engine.live.records import IntentState
from clusterfolio.engine.live.runner import Runner
from clusterfolio.engine.live.terms import Halted, State
from clusterfolio.engine.live.venue import OrderRequest, Session, Side, Timing, Unavailable
from clusterfolio.strategies.order_list import order_list
from tests.conftest import FixedPolicy
from tests.engine.live.worlds import VenueTime, World, close_of, local_venue, sessions_between, settings


class Desk:
    """A world, its venue, a journal, and as many runners as are started."""

    def __init__(self, tmp_path, world=None, dry=False, **more):
        self.world = world or World(every=1)
        self.folder = tmp_path
        self.venue = local_venue(self.world, tmp_path / "venue.sqlite")
        self.journal = Journal(tmp_path / "journal.sqlite", durable=False)
        self.told, self.more = [], more
        self.kill_file = tmp_path / "KILL"

    def runner(self, dry=False, venue=None, **more):
        return Runner(
            venue or self.venue, self.journal, self.world, VenueTime(self.venue), settings(**{**self.more, **more}),
            kill_file=self.kill_file, notify=lambda kind, facts: self.told.append((kind, facts)), dry=dry,
        )  # fmt: skip

    def run(self, sessions, **more):
        self.runner(**more).run(sessions=sessions)

    def kinds(self):
        return [kind for kind, _ in self.told]

    def day(self, ahead):
        return self.world.days[self.world.start + ahead].date()

    def at_venue(self):
        return {p.symbol: p.quantity for p in self.venue.positions()}

    def orders(self):
        return self.venue.orders(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_a_day_is_planned_sent_settled_and_accounted_for(desk):
    desk.run(3)
    assert desk.kinds().count("settled") == 2
    assert desk.venue.open_orders() == [] and desk.at_venue() == desk.journal.holdings() != {}
    assert [day for day, _ in desk.journal.days()] == [desk.day(n) for n in range(3)]
    for _, line in desk.journal.days():
        assert abs(line["causes"]["unexplained"]) < 0.01 and abs(line["drift"]) < 0.01


def test_every_order_fills_on_the_session_after_its_decision_over_a_holiday_and_a_half_day(tmp_path):
    desk = Desk(tmp_path, World(every=1, start="2019-06-13"))
    desk.run(8)
    days = {order.session for order in desk.orders()}
    assert dt.date(2019, 7, 3) in days and dt.date(2019, 7, 5) in days and dt.date(2019, 7, 4) not in days
    sessions = [session.day for session in sessions_between(desk.day(0), desk.day(12))]
    for intent in desk.journal.intents():
        decided = dt.date.fromisoformat(intent.client_id.split("-")[1])
        assert intent.session == sessions[sessions.index(decided) + 1]
        order = desk.venue.order_by_client_id(intent.client_id)
        assert order.session == intent.session if order else intent.state is IntentState.PLANNED


@pytest.mark.parametrize("when", ["queue", "after_open"])
def test_orders_go_out_at_once_or_after_the_open(tmp_path, when):
    desk = Desk(tmp_path, when=when)
    desk.run(1)
    runner = desk.runner()
    sent = []
    submit = desk.venue.submit
    desk.venue.submit = lambda request: (sent.append(desk.venue.now), submit(request))[1]
    runner.run(sessions=1)
    opens = sessions_between(desk.day(1), desk.day(1))[0].opens
    assert sent and all(moment < opens if when == "queue" else moment >= opens for moment in sent)


def test_what_was_planned_for_a_session_that_is_over_is_dropped_and_planned_anew(desk):
    desk.run(1)
    assert desk.journal.open_plan() is not None and not desk.orders()
    desk.venue.advance(close_of(desk.day(2)) + dt.timedelta(hours=1))
    desk.run(1)
    dropped = desk.journal.plans()[0]
    assert dropped.status == "dropped" and dropped.residue and not desk.orders()
    desk.run(1)
    assert {order.session for order in desk.orders()} == {desk.day(3)}
    assert {i.state for i in desk.journal.intents(dropped.key)} == {IntentState.DROPPED}


def test_nothing_is_sent_shortly_before_a_close(desk):
    desk.run(1)
    desk.venue.advance(close_of(desk.day(1)) - dt.timedelta(seconds=299))
    desk.run(1)
    assert not desk.orders() and desk.journal.plans()[0].status == "dropped"


def test_an_order_that_waits_at_the_venue_for_another_session_is_cancelled(desk):
    desk.run(1)
    one = desk.journal.alive()[0]
    desk.journal.mark(one.client_id, IntentState.SENDING)
    desk.venue.advance(close_of(desk.day(1)) + dt.timedelta(minutes=1))
    desk.venue.submit(one.request)  # it was on its way all day
    desk.run(1)
    found = desk.venue.order_by_client_id(one.client_id)
    assert found.session == desk.day(2) and found.state == "cancelled" and not found.filled


def test_an_order_that_was_lost_and_arrives_in_the_night_is_cancelled_before_the_open(desk):
    desk.run(1)
    one = desk.journal.alive()[0]
    desk.journal.mark(one.client_id, IntentState.PLANNED, "it did not arrive")
    desk.venue.advance(close_of(desk.day(1)) + dt.timedelta(minutes=1))
    arrives = close_of(desk.day(1)) + dt.timedelta(hours=5)

    class Night(VenueTime):
        def wait(self, until):
            if self.venue.now < arrives < until:
                self.venue.advance(arrives)
                self.venue.submit(one.request)
            self.venue.advance(until)

    runner = desk.runner()
    runner.time = Night(desk.venue)
    runner.run(sessions=2)
    late = desk.venue.order_by_client_id(one.client_id)
    assert late.session == desk.day(2) and late.state == "cancelled" and not late.filled


def test_a_session_that_only_the_venue_has_halts(desk):
    calendar = desk.venue.calendar

    def with_a_sunday(first, last):
        day = dt.date(2019, 1, 20)
        moment = dt.datetime(2019, 1, 20, 14, tzinfo=dt.UTC)
        return [*calendar(first, last), Session(day, moment, moment + dt.timedelta(hours=6))]

    desk.venue.calendar = with_a_sunday
    with pytest.raises(Halted, match="the venue is open on 2019-01-20, XNYS is not"):
        desk.run(1)


def test_a_session_that_the_venue_does_not_have_is_said(desk):
    calendar, gone = desk.venue.calendar, desk.day(3)
    desk.venue.calendar = lambda first, last: [s for s in calendar(first, last) if s.day != gone]
    desk.run(1)
    assert ("calendar", {"why": f"the venue is closed on {gone}, a session of XNYS"}) in desk.told


def test_one_stale_symbol_is_skipped_and_two_stop_the_rebalance(tmp_path):
    desk = Desk(tmp_path, World(every=1, policy=FixedPolicy({})))
    desk.world.policy.weights = {day: pd.Series({"S0": 0.4, "S1": 0.4}) for day in desk.world.days}
    desk.world.stale = {desk.day(0): ("S0",), desk.day(2): ("S0", "S1")}
    desk.run(2)
    assert set(desk.at_venue()) == {"S1"}
    assert "no bar of the day" in desk.journal.plans()[0].skipped["S0"]
    before = len(desk.journal.intents())
    desk.run(2)
    told = dict(desk.told)["no rebalance"]
    assert told["session"] == str(desk.day(2)) and told["missing"] == ["S0", "S1"]
    assert not [i for i in desk.journal.intents() if i.session == desk.day(3)] and before


def test_a_day_without_bars_is_waited_for_and_then_given_up(desk):
    desk.world.unknown.add(desk.day(1))
    desk.run(2)
    assert dict(desk.told)["no rebalance"]["why"] == "its bars are not there"
    opens = sessions_between(desk.day(2), desk.day(2))[0].opens
    assert opens - dt.timedelta(hours=2) < desk.venue.now < opens


def test_the_kill_file_stops_before_the_next_order(desk):
    desk.run(1)
    submit = desk.venue.submit

    def once(request):
        desk.kill_file.touch()
        return submit(request)

    desk.venue.submit = once
    with pytest.raises(Halted, match="kill file"):
        desk.run(1)
    assert len(desk.orders()) == 1
    with pytest.raises(Halted, match="kill file"):
        desk.run(1)
    desk.kill_file.unlink()
    desk.journal.set_state("halt", None)
    desk.venue.submit = submit
    desk.run(1)
    assert len(desk.orders()) == 3 and desk.journal.plans()[0].status == "done"


@pytest.mark.parametrize("sent", [0, 1, 2])
def test_flatten_ends_flat(tmp_path, sent):
    desk = Desk(tmp_path)
    desk.run(2 + sent)
    runner = desk.runner()
    runner.flatten()
    runner.run(sessions=1)
    held = [s for s, q in desk.journal.holdings().items() if q]
    wanted = desk.journal.open_plan()  # what the next close decides is another matter
    assert not held and not desk.at_venue() and wanted is not None


def test_a_dry_run_sends_nothing_and_shows_the_same_plan(desk):
    class Refusing:
        def __getattr__(self, name):
            assert name not in ("submit", "cancel"), name
            return getattr(desk.venue, name)

    dry = desk.runner(dry=True, venue=Refusing())
    dry.run(sessions=1)
    assert desk.journal.looked_at() is None and desk.journal.plans() == [] and not desk.orders()
    plan, intents = dry.planned
    desk.run(1)
    assert (plan.key, plan.targets, intents) == (
        desk.journal.open_plan().key, desk.journal.open_plan().targets, desk.journal.intents(plan.key)
    )  # fmt: skip


def buy_for_someone(desk, symbol="S5", client_id="someone-1"):
    desk.venue.submit(OrderRequest(client_id, symbol, Side.BUY, Decimal(3), Timing.DAY, desk.day(1)))


def test_a_foreign_order_and_a_foreign_position_halt_and_can_be_adopted(desk):
    desk.run(2)
    buy_for_someone(desk)
    with pytest.raises(Halted, match="S5: a foreign order to buy 3"):
        desk.run(1)
    desk.journal.set_state("halt", None)
    desk.venue.advance(close_of(desk.day(2)))
    before = desk.journal.holdings().get("S5", Decimal(0))
    with pytest.raises(Halted, match=r"S5: the account holds .* 3 are not ours"):
        desk.run(1)
    desk.journal.set_state("halt", None)
    assert desk.journal.holdings().get("S5", Decimal(0)) == before
    desk.runner(adopt=True).reconcile()
    assert desk.journal.holdings()["S5"] == before + 3
    desk.run(1)


def test_a_position_that_is_gone_halts(desk):
    desk.run(2)
    symbol, quantity = next(iter(desk.at_venue().items()))
    desk.venue.submit(OrderRequest("someone", symbol, Side.SELL, quantity, Timing.DAY, desk.day(2)))
    desk.venue.advance(close_of(desk.day(2)))
    with pytest.raises(Halted, match=f"{symbol}: the journal holds {quantity}, the account 0"):
        desk.run(1)


def test_a_halted_name_is_skipped_with_its_weight_in_cash(tmp_path):
    world = World(every=1, policy=FixedPolicy({}))
    world.policy.weights = {day: pd.Series({"S0": 0.2, "S1": 0.6}) for day in world.days}
    world.halted.add("S0")
    desk = Desk(tmp_path, world)
    desk.run(2)
    assert set(desk.at_venue()) == {"S1"} and desk.journal.plans()[0].skipped == {"S0": "halted"}
    assert desk.venue.account().cash > 30_000


def test_more_weight_that_cannot_be_traded_than_allowed_halts(tmp_path):
    world = World(every=1, policy=FixedPolicy({}))
    world.policy.weights = {day: pd.Series({"S0": 0.3, "S1": 0.6}) for day in world.days}
    world.halted.add("S0")
    with pytest.raises(Halted, match=r"max_untradable: .* 29.36 % .*skipped: S0: halted"):
        Desk(tmp_path, world).run(2)


@pytest.mark.parametrize("whole", [True, False])
def test_where_something_held_cannot_be_sold_the_others_share_the_rest_as_decide_says(tmp_path, whole):
    """A fifth of the account is stuck: buys are cut alike, none is refused, the sizes are those of the order list."""
    world = World(every=2, whole=whole, policy=FixedPolicy({}))
    wanted = pd.Series({"S1": 0.3, "S2": 0.3, "S3": 0.3, "S4": 0.1})
    world.policy.weights = {day: pd.Series({"S0": 0.2, "S1": 0.75}) for day in world.days}
    desk = Desk(tmp_path, world, fractional=not whole)
    desk.run(2)
    world.halted.add("S0")
    desk.venue = local_venue(world, tmp_path / "venue.sqlite")  # its list of assets is read anew
    world.policy.weights = {day: wanted for day in world.days}
    desk.run(1)
    day, value = world.day(desk.day(2)), desk.journal.open_plan().facts["value"]
    plan, intents = desk.journal.open_plan(), desk.journal.intents(desk.journal.open_plan().key)
    facts = {"why_not": "", "rate": 1.0, "lot": 1.0, "unit": "shares", "currency": "USD", "day": world.days[0]}
    quotes = pd.DataFrame({"price": day.closes, "each": day.closes, **facts})
    quotes.loc["S0", "why_not"] = "halted"
    held = pd.Series({s: float(n) for s, n in desk.journal.holdings().items()})
    listed, _ = order_list(wanted, held, quotes, value, cash_buffer=0.02, fractional=not whole)
    shares = listed["shares"] * listed["side"].map({"buy": 1, "sell": -1})
    found = {i.symbol: float(i.quantity * i.side.sign) for i in intents}
    assert found == pytest.approx(dict(zip(listed["symbol"], shares, strict=True)), rel=1e-8)
    assert plan.skipped["S0"] == "halted" and set(plan.facts["cut"]) == {"S1", "S2", "S3", "S4"}
    desk.run(1)
    done = next(p for p in desk.journal.plans() if p.key == plan.key)
    assert done.residue == {} and not [i for i in desk.journal.intents(done.key) if i.state is IntentState.REFUSED]
    line = desk.journal.days()[-1][1]
    assert abs(line["causes"]["unexplained"]) < 0.01 and set(line["skipped"]) == {"S0"}
    assert abs(line["causes"]["partial fills"]) < 0.01 and abs(line["so_far"]["skipped names"]) > 1


def test_a_name_that_is_not_traded_is_never_said_to_be_short_of_cash(tmp_path, caplog):
    world = World(every=50, policy=FixedPolicy({}))
    world.policy.weights = {day: pd.Series({"S0": 0.3, "S1": 0.3}) for day in world.days}
    world.halted.add("S0")
    desk = Desk(tmp_path, world, limits=Limits(max_order=1.0, max_position=1.0, max_untradable=1.0))
    desk.run(18)
    said = {facts["skipped"].get("S0", "halted") for kind, facts in desk.told if kind == "plan"}
    assert said == {"halted"} and "short of cash" not in caplog.text
    lines = [line for _, line in desk.journal.days()]
    assert lines[0]["skipped"] == {} and all(set(line["skipped"]) == {"S0"} for line in lines[1:])
    assert lines[1]["skipped"]["S0"] == pytest.approx(0.3, rel=0.1)


def test_a_split_and_a_dividend_between_decision_and_open_change_no_value(tmp_path):
    outcomes = []
    for name, splits in (("plain", {}), ("split", {"S0": Decimal(2), "S1": Decimal("0.5")})):
        folder = tmp_path / name
        folder.mkdir()
        world = World(every=1, whole=False, policy=FixedPolicy({}))
        flips = [{"S0": 0.5, "S1": 0.3}, {"S0": 0.3, "S1": 0.5, "S2": 0.1}]
        world.policy.weights = {day: pd.Series(flips[n % 2]) for n, day in enumerate(world.days)}
        desk = Desk(folder, world, fractional=True)
        world.splits = {(desk.day(3), symbol): ratio for symbol, ratio in splits.items()}
        world.dividends = {(desk.day(3), "S0"): Decimal("0.4")}
        desk.run(6)
        lines = [line for _, line in desk.journal.days()]
        assert all(abs(line["causes"]["unexplained"]) < 0.01 for line in lines)
        assert all(plan.residue == {} and plan.status != "dropped" for plan in desk.journal.plans()[:-1])
        outcomes.append((desk, [line["account"] for line in lines]))
    (plain, values), (split, others) = outcomes
    assert [kind for kind, _ in split.told].count("activity") == 3
    assert split.journal.holdings()["S0"] == pytest.approx(2 * plain.journal.holdings()["S0"], rel=Decimal("1e-6"))
    assert split.journal.holdings()["S1"] == pytest.approx(plain.journal.holdings()["S1"] / 2, rel=Decimal("1e-6"))
    assert others == pytest.approx(values, rel=1e-6)


@pytest.mark.parametrize("pays", [True, False])
def test_dividends_on_days_without_orders_are_told_as_dividends(tmp_path, pays):
    world = World(every=50, policy=FixedPolicy({}))
    world.policy.weights = {day: pd.Series({"S0": 0.5, "S1": 0.4}) for day in world.days}
    desk = Desk(tmp_path, world)
    desk.venue._dividends = pays
    paid = {(3, "S0"): "0.4", (4, "S1"): "0.25", (4, "S0"): "0.1", (4, "S2"): "9"}  # S2 is not held
    world.dividends = {(desk.day(n), symbol): Decimal(text) for (n, symbol), text in paid.items()}
    desk.run(6)
    held, lines = desk.at_venue(), [line["causes"] for _, line in desk.journal.days()]
    owed = [0, 0, 0, held["S0"] * Decimal("0.4"), held["S1"] * Decimal("0.25") + held["S0"] * Decimal("0.1"), 0]
    assert [line["dividends"] for line in lines] == pytest.approx([0.0 if pays else -float(n) for n in owed], abs=0.01)
    assert all(abs(line["unexplained"]) < 0.01 for line in lines)
    assert sum(a.cash for a in desk.journal.activities()) == (sum(owed) if pays else 0)


def test_the_line_explains_what_sets_account_and_model_apart(tmp_path):
    """A fill in two parts at the open, the rest cancelled; another price than the model's; costs: to the cent."""
    world = World(every=50, policy=FixedPolicy({}))
    world.policy.weights = {day: pd.Series({"S0": 0.5, "S1": 0.4}) for day in world.days}
    desk = Desk(tmp_path, world, rounds=1)
    desk.venue._fee = lambda symbol, value, session: value * Decimal("0.001")
    desk.venue._filler = lambda order, at: Decimal("0.25") if order.symbol == "S0" else Decimal(1)
    real = desk.venue._quotes.day
    worse = lambda day: {n: replace(q, open=q.open * Decimal("1.01")) for n, q in real(day).items()}  # noqa: E731
    desk.venue._quotes.day = worse
    desk.run(2)
    (_, first), (_, line) = desk.journal.days()
    assert first["drift"] == 0.0
    opens, closes = world.panel.open.loc[str(desk.day(1))], world.panel.close.loc[str(desk.day(1))]
    held = {s: float(q) for s, q in desk.journal.holdings().items()}
    wanted = {"S0": 49_000 // world.panel.close["S0"].iloc[world.start],
              "S1": 39_200 // world.panel.close["S1"].iloc[world.start]}  # fmt: skip
    by_hand = {
        "price": -sum(held[s] * 0.01 * opens[s] for s in held),
        "partial fills": (held["S0"] - wanted["S0"]) * (closes["S0"] - opens["S0"]),
        "costs": -sum(0.001 * held[s] * 1.01 * opens[s] for s in held),
    }
    for cause, amount in by_hand.items():
        assert line["causes"][cause] == pytest.approx(amount, abs=0.01), cause
    assert line["drift"] == pytest.approx(sum(by_hand.values()), abs=0.01)


def test_another_run_and_another_account_are_refused(desk):
    desk.run(1)
    with pytest.raises(JournalError, match="belongs to strategy 'test', this is 'other'"):
        desk.journal.identify(strategy="other")


def test_a_venue_that_is_away_is_waited_for(desk):
    desk.run(1)
    account, until = desk.venue.account, desk.venue.now + dt.timedelta(hours=3)

    def away():
        if desk.venue.now < until:
            raise Unavailable("connection refused")
        return account()

    desk.venue.account = away
    desk.run(1)
    assert desk.kinds().count("wait") > 3 and desk.journal.plans()[0].status == "done"


def test_a_stream_that_never_comes_is_waited_for_a_bounded_time_and_no_order_goes_out(desk):
    desk.run(1)
    desk.venue.stream_ready = lambda: False
    with pytest.raises(Unavailable, match="not authenticated"):
        desk.runner().run(wait=False)
    assert not desk.orders()


def test_without_waiting_it_does_what_can_be_done_now(desk):
    desk.run(2)
    assert desk.runner().run(wait=False) is State.SETTLE
    assert {o.session for o in desk.venue.open_orders()} == {desk.day(2)} and not desk.journal.intents()[-1].filled
    desk.venue.advance(close_of(desk.day(2)) - dt.timedelta(hours=1))
    assert desk.runner().run(wait=False) is State.IDLE
    assert desk.journal.plans()[-1].status == "done"


def test_it_buys_with_cash_and_not_with_what_the_venue_would_lend(desk):
    account = desk.venue.account
    desk.venue.account = lambda: replace(account(), buying_power=account().buying_power * 2 + 10**6)
    lowest = []
    submit = desk.venue.submit
    desk.venue.submit = lambda request: (submit(request), lowest.append(account().cash))[0]
    desk.run(4)
    assert len(lowest) > 5 and min(lowest) >= 0
