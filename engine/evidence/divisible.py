"""A run as it would have gone had shares been divisible: what whole shares leave in cash is no skill, or lack of it.

A small account in whole shares holds less of what it decided on the dearer the names are, and 1/N of hundreds of names
may buy none of them. So nothing is weighed in whole shares: the strategy's decisions are traded again by the rule of
all that it is put beside.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from clusterfolio.engine.evidence.rivals import Replay
from clusterfolio.engine.run_dir.finished import FinishedRun
from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.market_units import in_market_units
from clusterfolio.engine.trading.metrics import compute_metrics


def in_divisible_shares(run: FinishedRun) -> FinishedRun:
    """The same decisions in shares that may be split; the run itself where it held such, or was made elsewhere.

    A run whose guard is not known any more stays as it is: without it the account would have been another.
    """
    trading = replace(run.config.trading, fractional=True)
    if trading == run.config.trading or (run.tables.run.get("guard_every") and run.guard is None):
        return run
    config, panel, replay = replace(run.config, trading=trading), run.panel, Replay(run.decisions, run.guard)
    days = pd.DatetimeIndex([decision.asof for decision in run.decisions])
    result = run_backtest(panel, lambda now: replay, days, trading, config.engine.clock, cash=run.cash)
    tables = replace(
        run.tables,
        returns=result.returns,
        gross=result.gross,
        positions=result.positions,
        transactions=in_market_units(result.transactions, panel),
        metrics=compute_metrics(result, run.cash, panel.session_closes()[panel.benchmark]),
    )
    return replace(run, config=config, tables=tables)


def whole_shares(account: FinishedRun, weighed: FinishedRun) -> list[tuple[str, str]]:
    """The caveat of an account that holds whole shares; none where what is weighed is the account itself."""
    if weighed is account:
        return []
    idle, otherwise = (
        float((run.tables.positions["cash"] / run.tables.positions.sum(axis=1)).mean()) for run in (account, weighed)
    )
    own, split = (run.tables.metrics["strategy"]["total_return"] for run in (account, weighed))
    return [
        (
            "Whole shares",
            f"The account holds whole shares, and {idle:.1%} of it lay in cash on average; had shares been divisible, "
            f"{otherwise:.1%}. That is no skill, or lack of it: the tests and the table of policies are of the same "
            f"decisions in divisible shares ({split:+.1%} in all; the account {own:+.1%}), as are the portfolios "
            "beside them.",
        )
    ]
