"""Real processes, really killed: `kill -9` at random moments of paper trading on the local venue.

    python -m tests.engine.live.kill --kills 50

Each child trades the same account, with the journal on disk, and is killed after a random time; the last one finishes.
Journal and venue are then held against a run that nobody killed, order by order.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clusterfolio.engine.live.journal import Journal
from clusterfolio.engine.live.local import EndOfBars
from clusterfolio.engine.live.records import IntentState
from clusterfolio.engine.live.runner import Runner
from tests.engine.live.worlds import VenueTime, World, local_venue, settings

N_DAYS = 130


def child(folder: Path, slow: float) -> None:
    """Trade until the bars end; ``slow`` seconds at every request, so that a kill finds one under way."""
    world = World(n_days=N_DAYS, seed=2, every=1)
    venue = local_venue(world, folder / "venue.sqlite", durable=True)
    journal = Journal(folder / "journal.sqlite")
    inner = venue.submit

    def submit(request):
        time.sleep(slow)
        order = inner(request)
        time.sleep(slow)
        return order

    venue.submit = submit
    runner = Runner(venue, journal, world, VenueTime(venue), settings(), kill_file=folder / "KILL")
    try:
        runner.run()
    except EndOfBars:
        print("done", flush=True)


def orders_of(folder: Path) -> list[tuple]:
    venue = local_venue(World(n_days=N_DAYS, seed=2, every=1), folder / "venue.sqlite")
    orders = venue.orders(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
    return sorted((o.client_id, o.symbol, str(o.side), str(o.filled), str(o.state), str(o.session)) for o in orders)


def kill_often(folder: Path, kills: int, seed: int) -> dict:
    """Kill so many processes, then let one finish; what was found, beside a run without kills."""
    rng = random.Random(seed)
    calm = folder / "calm"
    shot = folder / "shot"
    for place in (calm, shot):
        place.mkdir()
    command = [sys.executable, "-W", "ignore", "-m", "tests.engine.live.kill", "--child"]
    subprocess.run([*command, str(calm), "0"], check=True, capture_output=True)
    killed = during = 0
    while killed < kills:
        process = subprocess.Popen([*command, str(shot), "0.05"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        begun = time.monotonic()
        size = -1
        # Importing takes most of a child's life; the clock starts when it writes.
        while time.monotonic() - begun < 60 and process.poll() is None:
            wal = shot / "journal.sqlite-wal"
            now = wal.stat().st_mtime_ns if wal.exists() else -1
            if size not in (-1, now):
                break
            size = now
            time.sleep(0.02)
        time.sleep(rng.random() * 0.6)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
        journal = Journal(shot / "journal.sqlite")
        during += any(i.state is IntentState.SENDING for i in journal.alive())
        journal.close()
    subprocess.run([*command, str(shot), "0"], check=True, capture_output=True)
    one, two = orders_of(calm), orders_of(shot)
    return {
        "killed": killed, "while an order was being sent": during, "orders": len(two),
        "twice": len(two) - len({order[0] for order in two}),
        "other than without kills": len(set(one) ^ set(two)),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "SECONDS"))
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.child:
        child(Path(given.child[0]), float(given.child[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(kill_often(Path(folder), given.kills, given.seed))


if __name__ == "__main__":
    main()
