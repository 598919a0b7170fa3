"""The same Strategy class on the same bars: what the backtest orders, the paper account orders."""

import pandas as pd
import pytest

from clusterfolio.engine.live.journal import Journal
from clusterfolio.engine.live.runner import Runner
from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.config import TradingConfig
from tests.engine.live.worlds import RandomWeights, VenueTime, World, local_venue, settings


def both(tmp_path, n_days, whole, every, yields=(), policy=None):
    world = World(n_days=n_days, seed=3, every=every, whole=whole, policy=policy)
    days = world.days
    world.yields = {(days[world.start + n].date(), symbol): part for n, symbol, part in yields}
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


def test_dividends_change_quantities_and_neither_symbols_nor_sides_nor_days(tmp_path):
    """The backtest re-invests them, the account is paid: its orders are smaller by what the shares bought would be."""
    yields = [(6, "S0", 0.01), (9, "S1", 0.008), (15, "S2", 0.01), (22, "S3", 0.005), (30, "S0", 0.01)]
    (backtest, paper), journal = both(tmp_path, 40, False, 4, yields)
    pd.testing.assert_frame_equal(backtest[["date", "symbol"]], paper[["date", "symbol"]])
    assert (backtest["amount"] * paper["amount"] > 0).all() and (backtest["amount"] != paper["amount"]).sum() > 5
    for _, line in journal.days():
        assert abs(line["causes"]["unexplained"]) < 0.01 and abs(line["drift"]) < 0.01


class Stopped(RandomWeights):
    """Cuts a name that fell by 2 % since it was bought, and everything by half after a bad week; remembers both."""

    guard_every = 1

    def guard(self, weights, panel, state):
        closes, kept = panel.session_closes(), weights.copy()
        out = set(state.memory.get("out", []))
        for name, day in state.entries.items():
            if name in kept.index and closes[name].iloc[-1] < 0.98 * closes.loc[day, name]:
                out.add(name)
        out &= set(kept.index)
        values = state.values
        halved = state.memory.get("halved", False) or (len(values) > 5 and values.iloc[-1] < 0.99 * values.iloc[-6])
        kept = kept.drop(sorted(out))
        scale = 0.5 if halved and not state.memory.get("halved", False) else 1.0
        return kept * scale, dict.fromkeys(out, "stop"), {"out": sorted(out), "halved": bool(halved)}


def test_a_guard_looks_alike_and_remembers_over_restarts(tmp_path):
    policy = Stopped([f"S{n}" for n in range(6)], 8)
    (backtest, paper), journal = both(tmp_path, 40, True, 6, policy=policy)
    assert len(backtest) > 20 and any(i.reason == "stop" for i in journal.intents())
    pd.testing.assert_frame_equal(backtest, paper, rtol=0, atol=0)


@pytest.mark.acceptance
def test_over_a_year(tmp_path):
    (backtest, paper), _ = both(tmp_path, 252, True, 5)
    assert len(backtest) > 200
    pd.testing.assert_frame_equal(backtest, paper, rtol=0, atol=0)
