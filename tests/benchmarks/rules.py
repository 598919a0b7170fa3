"""What the rules cost where random portfolios are drawn under them: CPU seconds, and how many are drawn.

    python -m tests.benchmarks.rules
    python -m tests.benchmarks.rules --path ../shared/data/us_etfs.parquet --rules hysteresis stop

Ten years of monthly decisions on a made-up market (or on files), 20 clusters by lot; for each rule the portfolios that
a verdict would draw (``engine.evidence.assessment.portfolios_of``), of both kinds, beside a verdict's without rules.
"""

from __future__ import annotations

import argparse
import logging
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd

from clusterfolio.engine.config.run import make_config
from clusterfolio.engine.evidence import luck
from clusterfolio.engine.evidence.assessment import portfolios_of
from clusterfolio.feeds.calendar import decision_dates
from clusterfolio.strategies.holding import Holding
from clusterfolio.strategies.policy import guard_of
from clusterfolio.strategies.risk.rules import RiskRules
from tests.benchmarks.luck import decide, market

#: By name, what each rule sets.
RULES = {
    "none": {},
    "hysteresis": {"selection": {"hysteresis": 63}},
    "skip": {"selection": {"skip_confidence": 0.6}},
    "no-trade band": {"allocation": {"no_trade": 1.0}},
    "doubt": {"allocation": {"membership": 1.0}},
    "all of these": {
        "selection": {"hysteresis": 63, "skip_confidence": 0.6},
        "allocation": {"no_trade": 1.0, "membership": 1.0},
    },
    "stop": {"risk": {"stop": 0.1}},
    "trailing stop, weekly": {"risk": {"trailing_stop": 0.1, "stop_every": 5}},
    "volatility target": {"risk": {"volatility_target": 0.1}},
    "breaker": {"risk": {"max_drawdown": 0.15}},
    "everything": {
        "selection": {"hysteresis": 63, "skip_confidence": 0.6},
        "allocation": {"no_trade": 1.0, "membership": 1.0},
        "risk": {"trailing_stop": 0.1, "volatility_target": 0.1, "max_drawdown": 0.15, "name_volatility": 0.4},
    },
}


def main() -> None:
    """Print a row per rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", action="append", default=[], help="files or folders of prices; may be repeated")
    parser.add_argument("--assets", type=int, default=300, help="size of the made-up market (default: %(default)s)")
    parser.add_argument("--years", type=int, default=10, help="of the test, up to 10 (default: %(default)s)")
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=list(RULES))
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    panel = market(asked.path, asked.assets)
    sessions = panel.sessions[panel.sessions >= "2015-12-31"]
    dates = decision_dates("XNYS", sessions[0], sessions[-2], "month").intersection(panel.dates)[: 12 * asked.years]
    panel = panel.until(dates[-1] + pd.Timedelta(days=20))
    decisions = decide(panel, dates)
    rng = np.random.default_rng(0)
    for decision in decisions:
        object.__setattr__(
            decision, "trust", pd.Series(rng.uniform(0.3, 1, len(decision.labels)), decision.labels.index)
        )
    before = None
    print(f"{len(panel.tradable)} assets, {len(sessions)} sessions, {len(dates)} decisions")
    for name in asked.rules:
        config = make_config(RULES[name])
        guard = guard_of(RiskRules(config.risk))
        n = portfolios_of(SimpleNamespace(guard=guard, config=config, decisions=decisions, panel=panel))
        holding = Holding(config.selection, config.allocator, frictions=config.frictions)
        rules = luck.Rules(lambda day, holding=holding: holding, config.risk) if holding.acts else None
        began = time.process_time()
        for draw in (luck.random_picks, luck.random_partitions):
            draw(panel, decisions, config.trading, 0.03, n, guard=guard, rules=rules)
        spent = time.process_time() - began
        before = before or spent
        print(f"  {name}: {n} portfolios of each kind, {spent:.1f} s, {spent / before:.2f} times", flush=True)


if __name__ == "__main__":
    main()
