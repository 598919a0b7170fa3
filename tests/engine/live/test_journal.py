"""The journal: what is committed is there after a kill, and what contradicts it is refused."""

import datetime as dt
import sqlite3
from dataclasses import replace
from decimal import Decimal

import pytest

from clusterfolio.engine.live.journal import Journal
from clusterfolio.engine.live.journal_file import JournalError
from clusterfolio.engine.live.records import Intent, IntentState, Plan, client_id, tag
from clusterfolio.engine.live.venue import Activity, ActivityKind, OrderState, Side, Timing, VenueOrder

DAY = dt.date(2025, 2, 3)


def intent(symbol="A", side=Side.BUY, leg="b1"):
    name = client_id("PA1", "first", DAY, symbol, leg)
    return Intent(name, "p", symbol, side, Decimal(10), leg, Timing.DAY, DAY, Decimal("5.1"), "new")


@pytest.fixture
def journal(tmp_path):
    found = Journal(tmp_path / "j.sqlite")
    found.decide(DAY, {"weights": {"A": 1.0}}, Plan("p", DAY, DAY, targets={"A": Decimal(10)}), [intent()])
    return found


def stated(filled, state=OrderState.OPEN):
    one = intent()
    return VenueOrder(one.client_id, "7", "A", one.side, one.quantity, Decimal(filled), state, Decimal(5))


def test_what_is_committed_is_there_again(journal, tmp_path):
    journal.book(stated(3), DAY)
    again = Journal(tmp_path / "j.sqlite")
    assert again.holdings() == {"A": 3} and again.intents("p")[0].filled == 3
    assert again.open_plan().targets == {"A": 10} and again.last_decision() == (DAY, {"weights": {"A": 1.0}})


def test_it_is_written_ahead_and_waits_for_the_disk(journal):
    assert journal._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert journal._db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


def test_cumulative_fills_are_booked_once_however_often_they_are_heard(journal):
    for filled in (2, 2, 7, 7, 10):
        journal.book(stated(filled, OrderState.FILLED if filled == 10 else OrderState.OPEN), DAY)
        assert journal.holdings() == {"A": filled}
    journal.book(stated(10, OrderState.FILLED), DAY)
    assert journal.holdings() == {"A": 10} and journal.alive() == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"filled": Decimal(1)}, "1 of 10 filled, 3 are booked"),
        ({"filled": Decimal(11)}, "11 of 10 filled"),
        ({"symbol": "B"}, "the venue has buy 10 B, the journal buy 10 A"),
        ({"client_id": "x"}, "not in the journal"),
    ],
)
def test_what_contradicts_it_is_refused(journal, wrong, said):
    journal.book(stated(3), DAY)
    with pytest.raises(JournalError, match=said):
        journal.book(replace(stated(3), **wrong), DAY)
    assert journal.holdings() == {"A": 3}


def test_a_decision_and_its_orders_are_written_together_or_not_at_all(journal):
    twice = [intent("B"), intent("B")]
    with pytest.raises(sqlite3.IntegrityError):
        journal.decide(dt.date(2025, 2, 4), {"weights": {}}, Plan("q", DAY, DAY), twice)
    assert journal.last_decision()[0] == DAY and len(journal.plans()) == 1


@pytest.mark.parametrize("ratio", [Decimal(2), None])
def test_an_activity_is_taken_once_and_a_split_changes_the_open_plans_target(journal, ratio):
    journal.book(stated(10, OrderState.FILLED), DAY)
    split = Activity("s1", ActivityKind.SPLIT, DAY, "A", Decimal(10), ratio=ratio)
    assert journal.apply(split) and not journal.apply(split)
    assert journal.holdings() == {"A": 20} and journal.open_plan().targets == {"A": 20}


def test_an_order_that_is_not_sent_goes_with_the_split_that_makes_it_wrong(journal):
    journal.apply(Activity("s1", ActivityKind.SPLIT, DAY, "A", Decimal(0), ratio=Decimal(2)))
    (one,) = journal.intents("p")
    assert (one.state, one.why) == (IntentState.DROPPED, "split: sized anew")
    assert journal.open_plan().targets == {"A": 20}


def test_a_rename_moves_what_is_held_and_wanted(journal):
    journal.book(stated(10, OrderState.FILLED), DAY)
    journal.apply(Activity("r1", ActivityKind.RENAME, DAY, "A", other="B"))
    assert journal.holdings() == {"B": 10} and journal.open_plan().targets == {"B": 10}


def test_client_ids_are_the_same_everywhere_and_differ_where_anything_does():
    base = ("PA1", "first", DAY, "BRK.B", "b1")
    others = [("PA2", *base[1:]), ("PA1", "x", *base[2:]), (*base[:3], "BRK-B", "b1"), (*base[:4], "b2"),
              (*base[:2], dt.date(2025, 2, 4), *base[3:])]  # fmt: skip
    names = {client_id(*given) for given in [base, *others]}
    assert len(names) == 6 and client_id(*base) in names
    assert all(len(name) <= 45 and name.replace("-", "").isalnum() for name in names)
    assert client_id(*base).startswith(tag("PA1", "first") + "-20250203-BRKB-b1-")


def test_a_file_that_is_no_journal_is_said(tmp_path):
    path = tmp_path / "j.sqlite"
    path.write_text("no" * 1000)
    with pytest.raises(JournalError, match="not a journal of paper trading"):
        Journal(path)


def test_another_layout_is_refused(tmp_path, journal):
    journal._db.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="layout 99, this program reads 2"):
        Journal(tmp_path / "j.sqlite")


def test_what_is_written_to_a_copy_is_forgotten(journal):
    twin = journal.copied()
    twin.mark(intent().client_id, IntentState.SENDING)
    assert journal.intents("p")[0].state is IntentState.PLANNED
