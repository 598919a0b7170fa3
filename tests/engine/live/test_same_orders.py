"""The same Strategy class on the same bars: what the backtest orders, the paper account orders; and in the daily line
the backtest's own account stands beside it, to the cent.
"""

from dataclasses import dataclass

import pandas as pd
import pytest

from clusterfolio.engine.live.journal import Journal
from clusterfolio.engine.live.runner import Runner
from clusterfolio.engine.trading.backtest import BacktestResult, run_backtest
from clusterfolio.engine.trading.config import TradingConfig
from tests.engine.live.worlds import RandomWeights, VenueTime, World, local_venue, settings

#: What cash earns in a session: 5 % a year.
RATE = 0.05 / 252


@dataclass
class Both:
    """A backtest and a paper account over the same days; fills as (date, symbol, amount, price)."""

    backtest: pd.DataFrame
    paper: pd.DataFrame
    result: BacktestResult
    journal: Journal
    world: World

    @property
    def lines(self):
        return [line for _, line in self.journal.days()]

    def backtest_shares(self, day):
        """Shares that the backtest holds after a close, by symbol: its units are of total-return levels."""
        units = self.backtest[self.backtest["date"] <= day].groupby("symbol")["amount"].sum()
        return {s: n * self.world.payout(day.date(), s) for s, n in units.items() if abs(n) > 1e-9}


def both(tmp_path, n_days, whole, every, yields=(), policy=None, rate=0.0, **venue_has):
    world = World(n_days=n_days, seed=3, every=every, whole=whole, policy=policy)
    days = world.days
    world.rate = rate
    world.yields = {(days[world.start + n].date(), symbol): part for n, symbol, part in yields}
    first, last = world.start, world.start + n_days - 1
    dates = days[first:last:every]
    trading = TradingConfig(capital=100_000.0, fractional=not whole, costs=False)
    panel = world.panel.until(days[last])
    result = run_backtest(panel, lambda now: world.policy, dates, trading, cash=pd.Series(rate, panel.sessions))
    venue = local_venue(world, tmp_path / "venue.sqlite", **venue_has)
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
    backtest, paper = (t.sort_values(["date", "symbol"], ignore_index=True) for t in (backtest, paper))
    return Both(backtest, paper, result, journal, world)


def the_model_is_the_backtest(found):
    """Its value on every day, from the daily lines alone."""
    values = [found.result.value[line["day"]] for line in found.lines]
    assert [line["model"] for line in found.lines] == pytest.approx(values, rel=0, abs=0.005)


def every_share_apart_is_explained(found):
    """The account's quantity less the backtest's, in money at the close, is the sum over the line's causes."""
    n_apart, largest = 0, 0.0
    for day, line in found.journal.days():
        now = pd.Timestamp(day)
        mine = found.paper[found.paper["date"] <= now].groupby("symbol")["amount"].sum()
        theirs = found.backtest_shares(now)
        prices = found.world.day(day).closes
        for symbol in found.world.names():
            apart = (mine.get(symbol, 0.0) - theirs.get(symbol, 0.0)) * prices[symbol]
            stated = sum(line["quantities"].get(symbol, {}).values())
            assert stated == pytest.approx(apart, abs=0.01), (day, symbol)
            n_apart += abs(apart) >= 0.01
            largest = max(largest, abs(apart))
        assert abs(line["causes"]["unexplained"]) < 0.01 and "unexplained" not in str(line["quantities"])
        assert sum(line["so_far"].values()) == pytest.approx(line["drift"], abs=0.005)
        assert line["account"] == pytest.approx(line["model"] + line["drift"], abs=0.001)
    return n_apart, largest


def same_orders_but_for_the_amount(found):
    pd.testing.assert_frame_equal(found.backtest[["date", "symbol"]], found.paper[["date", "symbol"]])
    assert (found.backtest["amount"] * found.paper["amount"] > 0).all()


SLOW = pytest.mark.acceptance


@pytest.mark.parametrize("whole", [True, pytest.param(False, marks=SLOW)])
def test_backtest_and_paper_order_the_same(tmp_path, whole):
    found = both(tmp_path, 30, whole, 4)
    assert len(found.backtest) > 20
    pd.testing.assert_frame_equal(found.backtest, found.paper, rtol=0, atol=0 if whole else 1e-6)
    the_model_is_the_backtest(found)
    assert all(abs(line["causes"]["unexplained"]) < 0.01 and abs(line["drift"]) < 0.01 for line in found.lines)


YIELDS = [(6, "S0", 0.01), (9, "S1", 0.008), (15, "S2", 0.01), (22, "S3", 0.005), (23, "S4", 0.02), (28, "S0", 0.01)]


@pytest.mark.parametrize("paid", [pytest.param(True, marks=SLOW), False])
def test_dividends_and_interest_change_quantities_by_what_the_line_says(tmp_path, paid):
    """The backtest re-invests dividends and earns interest; a broker's paper account has neither."""
    found = both(tmp_path, 30, False, 4, YIELDS, rate=RATE, dividends=paid, interest=paid)
    same_orders_but_for_the_amount(found)
    the_model_is_the_backtest(found)
    n_apart, largest = every_share_apart_is_explained(found)
    assert n_apart > 20
    so_far = found.lines[-1]["so_far"]
    if paid:
        assert abs(so_far["interest"]) < 0.01 and largest < 500
    else:
        assert so_far["interest"] < -5 and so_far["dividends"] < -500


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
    found = both(tmp_path, 30, True, 6, policy=policy)
    assert len(found.backtest) > 15 and any(i.reason == "stop" for i in found.journal.intents())
    pd.testing.assert_frame_equal(found.backtest, found.paper, rtol=0, atol=0)
    the_model_is_the_backtest(found)


@pytest.mark.acceptance
def test_over_a_year(tmp_path):
    found = both(tmp_path, 252, True, 5)
    assert len(found.backtest) > 200
    pd.testing.assert_frame_equal(found.backtest, found.paper, rtol=0, atol=0)
    the_model_is_the_backtest(found)


@pytest.mark.acceptance
@pytest.mark.parametrize("paid", [True, False])
def test_over_a_year_with_dividends_and_interest(tmp_path, paid):
    yields = [(n, f"S{(n // 13) % 6}", 0.004 + 0.001 * (n % 7)) for n in range(5, 250, 13)]
    found = both(tmp_path, 252, False, 5, yields, rate=RATE, dividends=paid, interest=paid)
    assert len(found.backtest) > 200
    same_orders_but_for_the_amount(found)
    the_model_is_the_backtest(found)
    n_apart, largest = every_share_apart_is_explained(found)
    print(f"{len(found.paper)} orders, {n_apart} quantities apart, at most {largest:.2f} of money", found.lines[-1])
