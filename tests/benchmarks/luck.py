"""Two thousand random portfolios over ten years: the vectorised path beside the engine, and how far they agree.

    python -m tests.benchmarks.luck
    python -m tests.benchmarks.luck --path ../shared/data/us_stocks.parquet --path ../shared/data/us_etfs.parquet

Without --path the market is made up. Both trade the same targets monthly from 2016 on, in the same process, one after
the other, timed by CPU seconds: the machine may be shared. Clusters are drawn by lot, 20 of equal size.
"""

from __future__ import annotations

import argparse
import logging
import resource
import time

import numpy as np
import pandas as pd

from clusterfolio.engine.assembly.market import load_market
from clusterfolio.engine.config.run import make_config
from clusterfolio.engine.evidence import luck
from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.vectorised import simulate
from clusterfolio.feeds.calendar import decision_dates
from clusterfolio.feeds.panel import Panel
from clusterfolio.strategies.policy import Decision
from clusterfolio.strategies.sharpe import sharpe_ratios
from tests.conftest import FixedPolicy

#: Portfolios of a sample that the engine trades too.
SAMPLE = 3


def market(paths: list[str], n_assets: int) -> Panel:
    """Ten years of prices and one before."""
    dates = {"train_start": "2015-01-02", "train_end": "2015-12-31", "start": "2016-01-04", "history_days": 0}
    if paths:
        return load_market(make_config({"data": {"source": "files", "path": paths}, "dates": dates})).panel
    made_up = {"n_assets": n_assets, "start": "2015-01-02", "end": "2025-12-31"}
    return load_market(make_config({"simulated": made_up, "dates": dates})).panel


def decide(panel: Panel, dates: pd.DatetimeIndex, n_clusters: int = 20) -> list[Decision]:
    """Eligible: a year of returns and a bar this week. Clusters by lot, trailing Sharpe ratios."""
    rng = np.random.default_rng(0)
    returns, made = panel.session_returns()[panel.tradable], []
    for day in dates:
        known = returns.loc[:day].iloc[-252:]
        alive = panel.until(day).bars_since_last()[panel.tradable] <= 5
        names = known.columns[known.notna().all() & alive]
        labels = pd.Series(rng.permutation(np.arange(len(names)) % n_clusters), names)
        nothing = pd.Series(dtype=float)
        made.append(Decision(day, nothing, labels, sharpe_ratios(known[names]), []))
    return made


def agreement(panel: Panel, decisions: list[Decision], trading: TradingConfig) -> tuple[float, float, float]:
    """Largest difference of an account's value on any day, in money; the highest price traded; engine's seconds."""
    dates = pd.DatetimeIndex([decision.asof for decision in decisions])
    drawn = luck.draw(luck.by_lot, panel, decisions, trading, SAMPLE)
    found = simulate(panel, drawn, dates, trading)
    worst, price, seconds = 0.0, 0.0, []
    for number in range(SAMPLE):
        rows = zip(dates, drawn.picks[number], drawn.weights[number], strict=True)
        policy = FixedPolicy({day: pd.Series(w[p >= 0], panel.symbols[p[p >= 0]]) for day, p, w in rows})
        began = time.process_time()
        result = run_backtest(panel, lambda now, policy=policy: policy, dates, trading)
        seconds.append(time.process_time() - began)
        value = trading.capital * np.cumprod(1 + found.net[number])
        worst = max(worst, float(np.abs(value - result.value.iloc[1:].to_numpy()).max()))
        price = max(price, float(result.transactions["price"].max()))
    return worst, price, min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", action="append", default=[], help="files or folders of prices; may be repeated")
    parser.add_argument("--assets", type=int, default=500, help="size of the made-up market (default: %(default)s)")
    parser.add_argument("--portfolios", type=int, default=1000, help="of each kind (default: %(default)s)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # targets that could not be reached, which both sides share
    panel = market(options.path, options.assets)
    sessions = panel.sessions[panel.sessions >= "2015-12-31"]
    dates = decision_dates("XNYS", sessions[0], sessions[-2], "month").intersection(panel.dates)
    decisions = decide(panel, dates)
    n_eligible = np.mean([len(decision.labels) for decision in decisions])
    print(f"{len(panel.tradable)} assets ({n_eligible:.0f} eligible on average), {len(sessions)} sessions, ", end="")
    print(f"{len(dates)} decisions of 20 names; CPU seconds")
    total = 0.0
    for draw in (luck.random_picks, luck.random_partitions):
        began = time.process_time()
        found = draw(panel, decisions, TradingConfig(), 0.03, options.portfolios)
        total += (spent := time.process_time() - began)
        print(f"  {options.portfolios} {draw.__name__.replace('_', ' ')}: {spent:.1f} s, ", end="")
        print(f"mean Sharpe ratio {found.gross_sharpe.mean():.2f} before costs, {found.sharpe.mean():.2f} after")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  together {total:.1f} s; peak memory of the process {peak:,.0f} MB")
    for name, trading in (
        ("fractional shares", TradingConfig()),
        ("no cash buffer, costs times five", TradingConfig(cash_buffer=0.0, cost_multiplier=5.0)),
        ("whole shares of 20,000", TradingConfig(capital=20_000.0, fractional=False)),
    ):
        worst, price, seconds = agreement(panel, decisions, trading)
        print(f"  {name}: {SAMPLE} portfolios differ from the engine's by at most {worst:.2g} on any day ", end="")
        print(f"(highest price {price:,.0f}); the engine takes {seconds:.1f} s for one, ", end="")
        print(f"{seconds * 2 * options.portfolios / total:,.0f} times as long")


if __name__ == "__main__":
    main()
