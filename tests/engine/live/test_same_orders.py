"""The same Strategy class on the same bars: what the backtest orders, the paper account orders."""

import pandas as pd
import pytest

from clusterfolio.engine.live.journal import Journal
from clusterfolio.engine.live.runner import Runner
from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.config import TradingConfig
from tests.engine.live.worlds import VenueTime, World, local_venue, settings


def both(tmp_path, n_days, whole, every):
    world = World(n_days=n_days, seed=3, every=every, whole=whole)
    days = world.days
    first, last = world.start, world.start + n_days - 1
    dates = days[first:last:every]
    trading = TradingConfig(capital=100_000.0, fractional=not whole, costs=False)
    result = run_backtest(world.panel.until(days[last]), lambda now: world.policy, dates, trading)
    venue = local_venue(world, tmp_path / "venue.sqlite")
    journal = Journal(tmp_path / "journal.sqlite", durable=False)
    runner = Runner(
        venue, journal, world, VenueTime(venue), settings(fractional=not whole), kill_file=tmp_path / "KILL"
    )
    runner.run(sessions=n_days)
    paper = pd.DataFrame(
        [(pd.Timestamp(e.at.date()), e.symbol, float(e.quantity * e.side.sign), float(e.price))
         for e in venue.executions(venue.now.replace(year=2000))],
        columns=["date", "symbol", "amount", "price"],
    )  # fmt: skip
    paper = paper.astype({"date": "datetime64[ns]"})
    paper = paper[paper["date"] <= days[last]]
    backtest = result.transactions[["date", "symbol", "amount", "price"]]
    return (t.sort_values(["date", "symbol"], ignore_index=True) for t in (backtest, paper)), journal


@pytest.mark.parametrize("whole", [True, False])
def test_backtest_and_paper_order_the_same(tmp_path, whole):
    (backtest, paper), journal = both(tmp_path, 40, whole, 4)
    assert len(backtest) > 20
    pd.testing.assert_frame_equal(backtest, paper, rtol=0, atol=0 if whole else 1e-6)
    for _, line in journal.days():
        assert abs(line["causes"]["unexplained"]) < 0.01 and abs(line["drift"]) < 0.01


@pytest.mark.acceptance
def test_over_a_year(tmp_path):
    (backtest, paper), _ = both(tmp_path, 252, True, 5)
    assert len(backtest) > 200
    pd.testing.assert_frame_equal(backtest, paper, rtol=0, atol=0)
