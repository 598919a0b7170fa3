"""Crashes and faults from one seed: one order per intent, the target reached, and the same again from the same seed."""

import itertools
import os
from dataclasses import replace

import pytest

from clusterfolio.engine.live.records import Intent
from tests.engine.live.simulation import RECOVERABLE, UNRECOVERABLE, simulate


def sound(told):
    assert told.problems == [] and told.doubled == 0
    assert len(told.halts) <= 0.01 * told.days, told.halts
    struck = sum(told.faults[fault] for fault in UNRECOVERABLE)
    assert struck - 1 <= told.stopped.total() <= struck  # the last may still be on its way
    assert told.reached + told.named + told.dropped >= told.days - 1 - 2 * (len(told.halts) + struck)
    return told


def test_days_with_crashes_and_faults(tmp_path):
    told = sound(simulate(12, 4, tmp_path))
    assert told.reached >= 10 and told.crashes > 4 and told.orders > 40


OFTEN = ("a foreign position", "an order stated otherwise")


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=[] if name in OFTEN else pytest.mark.acceptance) for name in UNRECOVERABLE]
)
def test_what_nobody_can_explain_halts_by_name_and_goes_on_when_it_is_put_right(tmp_path, fault):
    told = sound(simulate(6, 3, tmp_path, {fault: 0.3}))
    assert told.stopped[fault] == told.stopped.total() >= 1 and told.halts == []


def test_a_seed_replays_exactly(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    one, two = (simulate(6, 11, folder) for folder in folders)
    assert (one.digest, one.faults, one.crashes) == (two.digest, two.faults, two.crashes)


def test_the_simulation_finds_orders_that_are_sent_under_another_name(tmp_path, monkeypatch):
    """What it is there to find: a client id that is made anew each time an order is sent."""
    numbers = itertools.count()
    named = Intent.request.fget
    anew = property(lambda self: replace(named(self), client_id=f"{self.client_id}{next(numbers)}"))
    monkeypatch.setattr(Intent, "request", anew)
    told = simulate(3, 5, tmp_path, {"not answered, taken": 0.5})
    assert told.doubled and told.halts


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(int(os.environ.get("PAPER_SEEDS", "4"))))
def test_two_thousand_days(tmp_path, seed):
    told = sound(simulate(500, seed, tmp_path))
    print({fault: told.faults[fault] for fault in (*RECOVERABLE, *UNRECOVERABLE)}, told)
    assert told.reached >= 0.99 * told.days - 2 * told.stopped.total()
