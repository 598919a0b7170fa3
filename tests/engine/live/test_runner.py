"""The machine on the local venue, day by day."""

from clusterfolio.engine.live.journal import Journal
from clusterfolio.engine.live.runner import Runner
from tests.engine.live.worlds import VenueTime, World, local_venue, settings


def make(world, tmp_path, venue=None, journal=None, **more):
    venue = venue or local_venue(world, tmp_path / "venue.sqlite")
    journal = journal or Journal(tmp_path / "journal.sqlite", durable=False)
    told = []
    runner = Runner(
        venue, journal, world, VenueTime(venue), settings(**more), kill_file=tmp_path / "KILL",
        notify=lambda kind, facts: told.append((kind, facts)),
    )  # fmt: skip
    return runner, venue, journal, told


def test_a_day_is_planned_sent_settled_and_accounted_for(tmp_path):
    world = World(every=1)
    runner, venue, journal, told = make(world, tmp_path)
    runner.run(sessions=3)
    assert [kind for kind, _ in told].count("settled") == 2
    assert venue.open_orders() == []
    held = {p.symbol: p.quantity for p in venue.positions()}
    assert held == journal.holdings() and held
    lines = journal.days()
    assert len(lines) == 3
    for _, line in lines:
        assert abs(line["causes"]["unexplained"]) < 0.01
