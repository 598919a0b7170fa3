"""When Python looks for garbage around a run on the shared clock."""

import gc
import threading
import weakref

import pytest

from clusterfolio.engine.trading import clock_garbage
from clusterfolio.engine.trading.clock_garbage import NEW_OBJECTS, garbage_seldom_collected


class Knot:
    """Garbage that only the collector finds."""

    def __init__(self):
        self.itself = self


@pytest.fixture(autouse=True)
def clean():
    gc.collect()
    yield
    gc.unfreeze()


def test_the_collector_is_as_before_afterwards():
    before = gc.get_threshold()
    with pytest.raises(ValueError, match="the run"), garbage_seldom_collected():
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() == (NEW_OBJECTS, *before[1:])
        raise ValueError("the run")
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_a_knot_of_the_run_is_found_by_the_next_full_collection():
    with garbage_seldom_collected():
        knot = weakref.ref(Knot())
    assert knot() is not None
    gc.collect()
    assert knot() is None


def test_what_many_runs_left_is_collected_before_the_next(monkeypatch):
    monkeypatch.setattr(clock_garbage, "LEFT_BEHIND", 5000)  # a knot and the reference to it: two objects
    knots = []
    for _ in range(4):
        with garbage_seldom_collected():
            found = [knot() is None for knot in knots]
            knots += [weakref.ref(Knot()) for _ in range(1000)]
    assert sum(found) == 3000  # after the third run more had been left than may be
    assert not any(knot() is None for knot in knots[3000:])


def test_a_full_collection_in_between_starts_the_count_anew(monkeypatch):
    monkeypatch.setattr(clock_garbage, "LEFT_BEHIND", 1500)
    for _ in range(3):
        with garbage_seldom_collected():
            kept = [Knot() for _ in range(1000)]
        sweeps = gc.get_stats()[2]["collections"]
        with garbage_seldom_collected():
            assert gc.get_stats()[2]["collections"] == sweeps
        del kept
        gc.collect()


def test_a_collector_that_is_off_stays_off(monkeypatch):
    monkeypatch.setattr(clock_garbage, "LEFT_BEHIND", -1)
    gc.disable()
    try:
        sweeps = gc.get_stats()[2]["collections"]
        with garbage_seldom_collected():
            assert gc.get_freeze_count() == 0
            assert not gc.isenabled()
        assert gc.get_stats()[2]["collections"] == sweeps
    finally:
        gc.enable()


def test_what_somebody_else_left_out_stays_left_out():
    gc.freeze()
    count = gc.get_freeze_count()
    with garbage_seldom_collected(), garbage_seldom_collected():
        assert gc.get_threshold()[0] == NEW_OBJECTS
    assert gc.get_freeze_count() == count


def test_runs_that_overlap_in_threads_leave_the_collector_as_it_was():
    before, entered, left = gc.get_threshold(), threading.Event(), threading.Event()

    def second():
        with garbage_seldom_collected():
            entered.set()
            left.wait()

    other = threading.Thread(target=second)
    with garbage_seldom_collected():
        other.start()
        entered.wait()
    assert gc.get_threshold() != before  # the second run goes on
    left.set()
    other.join()
    assert gc.get_threshold() == before


def test_a_threshold_that_a_strategy_sets_itself_stays():
    before = gc.get_threshold()
    try:
        with garbage_seldom_collected():
            gc.set_threshold(1234, 5, 6)
        assert gc.get_threshold() == (1234, 5, 6)
    finally:
        gc.set_threshold(*before)
