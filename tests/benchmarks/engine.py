"""Stock backtrader, the shared clock and ``bt`` on the same panel and the same job.

    python -m tests.benchmarks.engine --feeds 300 --bars 2520              # a monthly rebalance into 20 names
    python -m tests.benchmarks.engine --job active                         # crossovers with brackets, 50 x 1,000
    python -m tests.benchmarks.engine --all --json                         # both, at every size of the page's table

Job ``active`` trades every feed on the crossing of two averages, each entry with a stop and a limit that cancel each
other: an indicator's value and live orders on every feed, every bar. ``bt`` knows neither, and takes no part.

Each peer runs in a process of its own, so that its peak memory is its own. The time is that from the panel to the end
of the run, feeds and their loading included. ``ratio`` is stock's CPU time over the peer's: each runs on one core, and
CPU time does not move with what else the machine does. Making the panel and importing are not timed, but count for the
memory.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import resource
import statistics
import subprocess
import sys
import time

import backtrader
import numpy as np
import pandas as pd

from clusterfolio.engine.trading.clock import ClockCerebro
from clusterfolio.feeds.bt_feed import panel_feeds
from clusterfolio.feeds.panel import FIELDS, Panel, make_assets

SIZES = {"rebalance": ((300, 756), (300, 2520), (3000, 2520)), "active": ((50, 1000), (300, 1000))}
STOCK_LIMIT = 1_000_000  # feeds x bars; stock takes minutes above
HELD = 20
INVESTED = 0.95
CASH = 1e7


def make_panel(feeds: int, bars: int, missing: float) -> Panel:
    """Random walks; ``missing`` is the share of bars left out at random."""
    rng = np.random.default_rng(7)
    dates = pd.bdate_range("2010-01-04", periods=bars)
    symbols = [f"S{i:04d}" for i in range(feeds)]
    close = 100 * np.exp(rng.normal(2e-4, 0.015, (bars, feeds)).cumsum(axis=0))
    close[rng.random(close.shape) < missing] = np.nan
    open_ = close * np.exp(rng.normal(0, 0.005, close.shape))
    high, low = np.maximum(open_, close) * 1.003, np.minimum(open_, close) * 0.997
    volume = np.where(np.isnan(close), np.nan, 1e6)
    frames = [pd.DataFrame(values, dates, symbols) for values in (open_, high, low, close, volume)]
    return Panel(*frames, make_assets(symbols), sessions=dates, benchmark=symbols[0])


def monthly_picks(panel: Panel) -> dict[pd.Timestamp, list[str]]:
    """The names held from each month's first day on, drawn at random."""
    rng = np.random.default_rng(11)
    firsts = panel.dates[panel.dates.to_period("M").duplicated() ^ True]
    return {day: sorted(rng.choice(panel.symbols, min(HELD, len(panel.symbols)), replace=False)) for day in firsts}


class Rebalance(backtrader.Strategy):
    """Sells what is no longer picked, then brings the picks to equal weights; fills are at the next open."""

    params = (("picks", None),)

    def __init__(self):
        self.values = []

    def prenext(self):
        self.next()

    def next(self):
        picks = self.p.picks.get(self.datetime[0])
        if picks is None:
            return
        for data in [data for data, position in self.broker.positions.items() if position.size]:
            if data._name not in picks:
                self.close(data)
        for name in picks:
            self.order_target_percent(self.dnames[name], INVESTED / HELD)

    def notify_cashvalue(self, cash, value):
        self.values.append(value)


class Crossover(backtrader.Strategy):
    """Long on each feed whose fast average crosses the slow one, until a stop, a limit or the crossing back."""

    params = (("fast", 10), ("slow", 30), ("stop", 0.97), ("limit", 1.06))

    def __init__(self):
        self.values, self.live = [], dict.fromkeys(self.datas, ())
        average = backtrader.indicators.SMA
        self.crosses = [
            backtrader.indicators.CrossOver(average(data, period=self.p.fast), average(data, period=self.p.slow))
            for data in self.datas
        ]

    def next(self):
        for data, cross in zip(self.datas, self.crosses, strict=True):
            position = self.getposition(data)
            if cross[0] > 0 and not position.size and not any(order.alive() for order in self.live[data]):
                close = data.close[0]
                prices = dict(price=close, stopprice=close * self.p.stop, limitprice=close * self.p.limit)
                size = int(INVESTED * CASH / len(self.datas) / close)
                self.live[data] = self.buy_bracket(data, size=size, exectype=backtrader.Order.Market, **prices)
            elif cross[0] < 0 and position.size > 0:
                for order in self.live[data][1:]:
                    self.cancel(order)
                self.close(data)

    def notify_order(self, order):
        self.values += [order.status, order.executed.price, order.executed.size]

    def notify_trade(self, trade):
        self.values += [trade.pnl, trade.pnlcomm]

    def notify_cashvalue(self, cash, value):
        self.values += [cash, value]


def run_backtrader(cerebro, feeds, picks) -> list[float]:
    for feed in feeds:
        cerebro.adddata(feed)
    cerebro.broker.setcash(CASH)
    cerebro.broker.setcommission(commission=0.001)
    if picks is None:
        cerebro.addstrategy(Crossover)
    else:
        cerebro.addstrategy(Rebalance, picks={backtrader.date2num(day): names for day, names in picks.items()})
    return cerebro.run()[0].values


def run_stock(panel: Panel, picks) -> list[float]:
    feeds = []
    for name in panel.symbols:
        frame = pd.DataFrame({field: getattr(panel, field)[name] for field in FIELDS}).dropna(subset=["close"])
        feeds.append(backtrader.feeds.PandasData(dataname=frame, name=name))
    return run_backtrader(backtrader.Cerebro(stdstats=False), feeds, picks)


def run_clock(panel: Panel, picks) -> list[float]:
    cerebro = ClockCerebro(stdstats=False)
    values = run_backtrader(cerebro, panel_feeds(panel), picks)
    if not cerebro.clock_used:
        raise RuntimeError(f"the shared clock was not used: {cerebro.fallback_reason}")
    return values


def run_bt(panel: Panel, picks) -> list[float]:
    import bt

    prices = panel.close.ffill().bfill()
    weights = pd.DataFrame(0.0, index=list(picks), columns=panel.symbols)
    for day, names in picks.items():
        weights.loc[day, names] = INVESTED / HELD
    steps = [bt.algos.RunOnDate(*picks), bt.algos.SelectAll(), bt.algos.WeighTarget(weights), bt.algos.Rebalance()]
    backtest = bt.Backtest(
        bt.Strategy("rebalance", steps),
        prices,
        initial_capital=CASH,
        commissions=lambda size, price: abs(size) * price * 0.001,
        progress_bar=False,
    )
    backtest.run()
    return backtest.strategy.values.tolist()


PEERS = {"stock": run_stock, "clock": run_clock, "bt": run_bt}


def measure(peer: str, feeds: int, bars: int, missing: float, repeat: int, job: str = "rebalance") -> dict:
    """In this process: seconds (medians of ``repeat`` runs), peak memory and a digest of all values."""
    panel = make_panel(feeds, bars, missing)
    picks = monthly_picks(panel) if job == "rebalance" else None
    seconds, cpu_seconds = [], []
    for _ in range(repeat):
        gc.collect()  # what an earlier run left is not this run's to clear away
        start, cpu_start = time.perf_counter(), time.process_time()
        values = PEERS[peer](panel, picks)
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "job": job,
        "peer": peer,
        "feeds": feeds,
        "bars": bars,
        "seconds": statistics.median(seconds),
        "cpu_seconds": statistics.median(cpu_seconds),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20,
        "final_value": values[-1],
        "digest": hashlib.sha256(np.array(values).tobytes()).hexdigest()[:16],
    }


def measure_apart(peer: str, feeds: int, bars: int, missing: float, repeat: int, job: str) -> dict:
    """``measure`` in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.engine", "--peer", peer, "--job", job]
    numbers = {"--feeds": feeds, "--bars": bars, "--missing": missing, "--repeat": repeat}
    command += [str(part) for pair in numbers.items() for part in pair]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def compare(feeds: int, bars: int, missing: float = 0.0, repeat: int = 3, job: str = "rebalance") -> list[dict]:
    """One row per peer; ``ratio`` is None where stock does not run, ``identical`` whether all values equal stock's.

    The fast peers are measured before stock and again after it, since a machine's speed drifts while stock runs.
    """
    fast = ["clock", "bt"] if job == "rebalance" else ["clock"]
    peers = [*fast, "stock", *fast] if feeds * bars <= STOCK_LIMIT else fast
    results = [measure_apart(peer, feeds, bars, missing, 1 if peer == "stock" else repeat, job) for peer in peers]
    rows = []
    for peer in dict.fromkeys(sorted(peers, key=list(PEERS).index)):
        mine = [result for result in results if result["peer"] == peer]
        spread = {name: statistics.mean(result[name] for result in mine) for name in ("seconds", "cpu_seconds")}
        rows.append(mine[0] | spread | {"peak_mb": max(result["peak_mb"] for result in mine)})
    stock = next((row for row in rows if row["peer"] == "stock"), None)
    for row in rows:
        row["ratio"] = None if stock is None else stock["cpu_seconds"] / row["cpu_seconds"]
        row["identical"] = None if stock is None else stock["digest"] == row["digest"]
    return rows


def table(rows: list[dict]) -> str:
    lines = ["job        feeds  bars  peer    seconds  cpu sec   ratio  peak MB  values as stock"]
    for row in rows:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.1f}"
        same = {None: "", True: "identical", False: "differ"}[row["identical"]]
        where = f"{row['job']:9s}  {row['feeds']:5d} {row['bars']:5d}  {row['peer']:6s}"
        lines.append(
            f"{where} {row['seconds']:8.2f} {row['cpu_seconds']:8.2f} {ratio:>7s} {row['peak_mb']:8.0f}  {same}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--job", choices=SIZES, default="rebalance")
    parser.add_argument("--feeds", type=int, help="default: 300 of the rebalance, 50 of the active job")
    parser.add_argument("--bars", type=int, help="default: 2520 of the rebalance, 1000 of the active job")
    parser.add_argument("--all", action="store_true", help="both jobs at the sizes of the table")
    parser.add_argument("--missing", type=float, default=0.0, help="share of bars left out at random")
    parser.add_argument("--repeat", type=int, default=3, help="runs of the fast peers; their median counts")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peer", choices=PEERS, help="measure this peer only, in this process")
    args = parser.parse_args()
    feeds, bars = (300, 2520) if args.job == "rebalance" else SIZES["active"][0]
    size = args.feeds or feeds, args.bars or bars
    if args.peer:
        print(json.dumps(measure(args.peer, *size, args.missing, args.repeat, args.job)))
        return
    jobs = [(job, *one) for job, sizes in SIZES.items() for one in sizes] if args.all else [(args.job, *size)]
    rows = [row for job, feeds, bars in jobs for row in compare(feeds, bars, args.missing, args.repeat, job)]
    print(json.dumps(rows, indent=2) if args.json else table(rows))


if __name__ == "__main__":
    main()
