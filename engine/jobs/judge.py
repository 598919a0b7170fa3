"""Judge a run of one's own: what a strategy did in any Cerebro, or any account, becomes a run directory with a verdict.

What of a run's evidence needs no clusters is made: against the benchmark, against all names held equally, and against
random names, as many as were held, at the same exposure, on the same days and at the same costs. The trial goes into
the ledger under the strategy's class, its source, its parameters and its data, so that tuning counts.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import pandas as pd
import tomli_w

from clusterfolio.engine.assembly.judged import Market, market_of, result_of
from clusterfolio.engine.evidence.assessment import Assessment
from clusterfolio.engine.evidence.verdict import Verdict
from clusterfolio.engine.jobs.afterwards import afterwards
from clusterfolio.engine.ledger.ledger import Ledger, enter
from clusterfolio.engine.ledger.trials import Trial, fingerprint_of_returns, trial_of
from clusterfolio.engine.progress import Silent, StageClock
from clusterfolio.engine.run_dir import artifacts
from clusterfolio.engine.run_dir.description import versions
from clusterfolio.engine.run_dir.finished import FinishedRun, recorded_decisions
from clusterfolio.engine.run_dir.judged import judged_config, write_prices
from clusterfolio.engine.run_dir.tables import read_run
from clusterfolio.engine.trading.account import Account, days_of, plain
from clusterfolio.engine.trading.backtest import BacktestResult
from clusterfolio.engine.trading.metrics import cash_per_session, compute_metrics
from clusterfolio.engine.trading.recorder import RunRecorder
from clusterfolio.feeds.writing import write_json, write_table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """A judged run.

    Attributes:
        folder: the run directory; ``report.html`` in it is the page.
        metrics: as in metrics.json.
        assessment: the evidence and the verdict.
        ledger: its place among the trials, as in run.json.
    """

    folder: Path
    metrics: dict
    assessment: Assessment
    ledger: dict

    @property
    def verdict(self) -> Verdict:
        """What can be said of it, in words."""
        return self.assessment.verdict

    def __str__(self) -> str:
        return f"{self.verdict.headline}\n{self.verdict.reading}\n{self.folder / 'report.html'}"


def judge(
    run,
    out: str | Path | None = None,
    *,
    tried: Sequence = (),
    benchmark: str | pd.Series | None = None,
    universe: Sequence[str] | None = None,
    cash: float | pd.Series = 0.0,
    currency: str = "USD",
    simulated: bool = False,
    report: bool = True,
    portfolios: int = 1000,
    seed: int = 0,
    ledger: Ledger | str | Path | None = None,
) -> Judged:
    """Judge a run that is over, and write its directory, whole or not at all.

    Where the verdict or the page fails, the tables are written all the same, and the error's note says where.

    Args:
        run: the strategy that ``cerebro.run()`` returned (with a ``RunRecorder`` among its analyzers), such a recorder,
            or an ``Account``.
        out: the run directory; must not exist or be empty. None = ``runs/judged/NAME-TIME``.
        tried: the runs that this one was chosen among, as an optimisation returns them: each is entered in the ledger
            as a trial and gets no directory. The chosen one may be among them.
        benchmark: the name of a feed, or a Series of prices or of simple returns. None = all feeds held equally stand
            in, and of a single feed itself.
        universe: names that could have been held; None = every feed, but for a benchmark that never was.
        cash: what idle money could have earned: an annual rate, or a Series of simple returns per session. Sharpe
            ratios are taken over it; 0, the default, is what backtrader's broker pays.
        currency: the account's.
        simulated: the prices are made up; said wherever a figure is.
        report: write the page and its pictures too.
        portfolios: how many are drawn by lot.
        seed: of what is drawn by lot.
        ledger: where the trial is counted, or the file of such a ledger; None = the user's own.

    Raises:
        FileExistsError: ``out`` is not empty.
        TypeError: ``run`` is none of these, or was run without a recorder.
        AccountError: the run cannot be judged; the message says why.

    >>> import tempfile
    >>> import numpy as np
    >>> rng, days = np.random.default_rng(0), pd.bdate_range("2023-01-02", periods=120)
    >>> prices = pd.DataFrame(100 * np.exp(rng.normal(0, 0.01, (120, 3)).cumsum(axis=0)), days, ["A", "B", "C"])
    >>> shares = pd.DataFrame({"A": 5.0, "B": 0.0}, days)
    >>> shares.iloc[60:] = 0.0, 5.0
    >>> cash = 1000.0 - (shares.diff().fillna(shares) * prices[["A", "B"]]).sum(axis=1).cumsum()
    >>> positions = (shares * prices[["A", "B"]]).assign(cash=cash)
    >>> traded = [(days[0], "A", 5.0), (days[60], "A", -5.0), (days[60], "B", 5.0)]
    >>> fills = pd.DataFrame(traded, columns=["date", "symbol", "amount"])
    >>> fills["price"] = [prices.loc[day, name] for day, name, _ in traded]
    >>> account = Account(positions.sum(axis=1).pct_change().fillna(0.0), positions, fills, prices, name="two in turn")
    >>> found = judge(account, Path(tempfile.mkdtemp()) / "run", simulated=True, report=False)
    >>> found.assessment.evidence["comparator"]["kind"], found.verdict.claim
    ('names', False)
    """
    ledger = Ledger(Path(ledger)) if isinstance(ledger, str | Path) else ledger
    looked_at = partial(
        look_at, benchmark=benchmark, universe=universe, currency=currency, simulated=simulated, cash=cash,
        portfolios=portfolios, seed=seed,
    )  # fmt: skip
    seen = looked_at(account_of(run))
    others = [looked_at(account) for account in map(account_of, tried) if account.held]
    out = Path(out) if out is not None else _usual_folder(seen.facts["judged"]["strategy"])
    artifacts.check_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.parent / f".judging-{seen.facts['fingerprint']['returns'][:16]}-{os.getpid()}"
    with artifacts.new_run_dir(out, draft):
        seen.write(draft)
        for other in others:
            enter(other.trial(out / "tried"), ledger)
        facts = seen.facts | {"ledger": enter(seen.trial(out), ledger)}
        write_json(draft / "run.json", facts)
        tables = read_run(draft)
        panel, decisions = seen.market.panel, recorded_decisions(tables)

        def opened() -> FinishedRun:
            return FinishedRun(draft, judged_config(facts), panel, seen.cash, decisions, tables)

        assessed, failures = afterwards(draft, out, opened, report, StageClock(Silent()), ledger)
    for failure in failures:
        failure.error.add_note(str(failure))
        raise failure.error
    assert assessed is not None  # else it had failed
    return Judged(out, seen.metrics, assessed, facts["ledger"])


@dataclass(frozen=True)
class Seen:
    """An account in its market, with everything that a run directory says of it but the verdict.

    Attributes:
        cash: simple return of cash per session.
        facts: see ``describe``.
    """

    market: Market
    result: BacktestResult
    cash: pd.Series
    metrics: dict
    facts: dict

    def trial(self, out: Path) -> Trial:
        """What the ledger keeps of it."""
        return trial_of(self.facts, self.result.returns, self.metrics, out)

    def write(self, folder: Path) -> None:
        """Write its tables."""
        panel = self.market.panel
        artifacts.write_tables(folder, self.result, self.market.symbols, panel)
        write_prices(folder, panel, self.cash)
        closes = panel.session_closes()[panel.benchmark]
        write_table(folder / "benchmark.csv", closes.rename("close").rename_axis("date").to_frame())
        (folder / "config.toml").write_text(tomli_w.dumps(self.facts["config"]), encoding="utf-8")
        write_json(folder / "metrics.json", self.metrics)


def look_at(
    account: Account,
    benchmark: str | pd.Series | None,
    universe: Sequence[str] | None,
    currency: str,
    simulated: bool,
    cash: float | pd.Series,
    portfolios: int,
    seed: int,
) -> Seen:
    """What is to be said of an account before it is judged; arguments as ``judge`` takes them."""
    market = market_of(account, benchmark, universe, currency, simulated)
    result = result_of(account, market.panel)
    per_session = _cash(cash, market.panel.sessions)
    metrics = compute_metrics(result, per_session, market.panel.session_closes()[market.panel.benchmark])
    return Seen(market, result, per_session, metrics, describe(account, market, result, cash, portfolios, seed))


def account_of(run) -> Account:
    """What a strategy, a recorder or an account did."""
    if isinstance(run, Account):
        return run
    if isinstance(run, RunRecorder):
        return run.account()
    if isinstance(run, list | tuple) and len(run) == 1:  # what cerebro.run() returned, as it is
        return account_of(run[0])
    recorders = [one for one in getattr(run, "analyzers", ()) if isinstance(one, RunRecorder)]
    if not recorders:
        raise TypeError(
            f"run: got {type(run).__name__}, expected the strategy that cerebro.run() returned, run with "
            "cerebro.addanalyzer(RunRecorder), or the recorder itself, or an Account"
        )
    return recorders[0].account()


def describe(
    account: Account, market: Market, result: BacktestResult, cash: float | pd.Series, portfolios: int, seed: int
) -> dict:
    """What run.json says of a judged run, apart from its place in the ledger."""
    panel = market.panel
    config = {
        "data": {"source": "the run's own feeds", "names": len(panel.tradable), "benchmark": panel.benchmark},
        "strategy": {"class": account.name, "source": account.source, "parameters": plain(account.parameters)},
        "engine": {"seed": seed},
        "significance": {"portfolios": portfolios},
    }
    return {
        "config": config,
        "judged": {"strategy": account.name, "cheat_on_close": account.cheat_on_close},
        "pool": "its feeds",
        "cheat_on_close": account.cheat_on_close,
        "simulated": panel.simulated,
        "benchmark": panel.benchmark,
        "benchmark_stands_in": market.stands_in,
        "currency": panel.currency,
        "capital": result.capital,
        "seed": seed,
        "device": None,
        "threads": None,
        "cash": _cash_words(cash),
        "universe": {"tradable": len(panel.tradable), "rows": len(panel.dates), "sessions": len(panel.sessions)},
        "dates": {
            "panel": [str(panel.dates[0].date()), str(panel.dates[-1].date())],
            "decisions": [str(decision.asof.date()) for decision in result.decisions],
        },
        "fingerprint": {
            "data": artifacts.fingerprint(panel),
            "code": account.source or "not stated",
            "returns": fingerprint_of_returns(result.returns),
        },
        "unfilled": [],
        "notes": _notes(account, market, result),
        "versions": versions(),
    }


def _notes(account: Account, market: Market, result: BacktestResult) -> list[str]:
    began = (
        f"Judged from {result.returns.index[0].date()} on, the first session with a position; before it nothing could "
        "be earned or lost."
    )
    paid = account.paid_in
    notes = [*account.notes, *market.notes, began]
    if (paid != 0).any():
        notes.append(
            f"Money was paid in or out on {int((paid != 0).sum())} days, {paid.sum():,.0f} in all; returns are of the "
            "money that was there."
        )
    return notes


def _cash(cash: float | pd.Series, sessions: pd.DatetimeIndex) -> pd.Series:
    if not isinstance(cash, pd.Series):
        return cash_per_session(cash, sessions)
    known = cash.dropna().set_axis(days_of(cash.dropna().index, "cash")).reindex(sessions)
    return known.fillna(0.0)


def _cash_words(cash: float | pd.Series) -> str:
    if isinstance(cash, pd.Series):
        return f"the series {cash.name or 'that was given'}"
    return f"a constant {cash * 100:g} % a year" if cash else "nothing, as in the account"


def _usual_folder(strategy: str) -> Path:
    name = re.sub(r"\W+", "-", strategy.rpartition(".")[2]).strip("-") or "run"
    return Path("runs") / "judged" / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
