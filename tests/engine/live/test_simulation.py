"""Crashes and faults from one seed: one order per intent, the target reached, and the same again from the same seed."""

import itertools
import os
from dataclasses import replace

import pytest

from clusterfolio.engine.live.records import Intent
from tests.engine.live.simulation import RECOVERABLE, simulate


def sound(told):
    assert told.problems == [] and told.doubled == 0
    assert len(told.halts) <= 0.01 * told.days, told.halts
    assert told.reached + told.named + told.dropped >= told.days - 1 - len(told.halts)
    return told


def test_days_with_crashes_and_faults(tmp_path):
    told = sound(simulate(20, 4, tmp_path))
    assert told.reached >= 19 and told.crashes > 5 and told.orders > 60


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
    print({fault: told.faults[fault] for fault in RECOVERABLE}, told)
    assert told.reached >= 0.99 * told.days
