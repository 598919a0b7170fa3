"""A target volatility on the record of a finished run without rules: how near each year comes, and what it costs.

    python -m tests.benchmarks.risk RUN_DIR
    python -m tests.benchmarks.risk RUN_DIR --target 0.1 --chosen-on 2016 2020 --json risk.json

Half-life, gain, persistence and band are chosen on the years of --chosen-on, by the largest relative error of one of
them, among settings that move the exposure by no more than --turnover a year, and kept for all years. The functions are
those of ``strategies.risk.volatility``, fed as the rule feeds them: with what the weights wanted would have earned.
What is decided on a close is there a whole session later (the engine fills at the next open, which is sooner). Idle
cash earns the cash rate; borrowed money costs it and --margin more; a change of the exposure costs --cost of it.

Beside it stands the constant exposure with the same volatility over all years: less falls less, whatever the rule.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from clusterfolio.engine.evidence.under_rules import against_constant
from clusterfolio.engine.run_dir.finished import FinishedRun, reopen
from clusterfolio.strategies.risk import volatility

#: What is tried: half-life of the forecast, gain, persistence, band.
HALF_LIVES, GAINS = (10, 21, 42, 63), (0.0, 1.0, 2.0, 5.0)
PERSISTENCES, BANDS = (0.0, 0.5, 0.8, 0.95), (0.0, 0.02, 0.05)

#: Sessions from one look to the next.
EVERY = 5

#: Sessions looked back over: the weight beyond is below 2^-4 of the feedback's half-life, 2^-8 of the forecast's.
BACK = 504


class Setting(NamedTuple):
    """What decides the exposure."""

    half_life: int
    gain: float
    persistence: float
    band: float


def pasts(run: FinishedRun, sessions: pd.DatetimeIndex) -> list[np.ndarray]:
    """By look, what the weights wanted then would have earned on the days before: what the forecast is made of."""
    returns = run.panel.session_returns()
    found, decisions = [], run.decisions
    for day in [decisions[0].asof, *sessions[EVERY - 1 :: EVERY]]:
        weights = next(decision.weights for decision in reversed(decisions) if decision.asof <= day)
        known = returns.loc[:day, weights.index].iloc[-BACK:].fillna(0.0)
        found.append(known.to_numpy() @ weights.to_numpy())
    return found


def overlay(
    returns: np.ndarray, cash: np.ndarray, past: list[np.ndarray], setting: Setting, largest: float, asked
) -> tuple[np.ndarray, np.ndarray]:
    """The account's returns and its exposure by session, ``(n,)`` each.

    Args:
        returns: of the portfolio, net; ``cash``: the rate per session; ``past``: see ``pasts``.
    """
    n, correction = len(returns), 0.0
    expected = [volatility.ewma(known, setting.half_life) for known in past]
    held, account, values = np.ones(n), np.zeros(n), np.ones(n + 1)
    exposure = wanted = volatility.exposure(0.0, asked.target, expected[0], largest)
    for day in range(n):
        moved, exposure = abs(wanted - exposure) * (day > 0), wanted
        held[day] = exposure
        borrowed = max(exposure - 1.0, 0.0) * asked.margin / 252
        account[day] = exposure * returns[day] + (1.0 - exposure) * cash[day] - borrowed - moved * asked.cost
        values[day + 1] = values[day] * (1.0 + account[day])
        if day % EVERY == 0 and day:  # decided on the close before, moved in this session, there from the next on
            look = day // EVERY
            realised = volatility.realised(values[max(0, day - BACK) : day + 1])
            correction = volatility.correction(correction, realised, asked.target, setting.gain, setting.persistence)
            new = volatility.exposure(correction, asked.target, expected[look], largest)
            wanted = new if abs(new - wanted) > setting.band else wanted
    return account, held


def errors(account: pd.Series, target: float) -> pd.Series:
    """Relative error of each calendar year's volatility."""
    return account.groupby(account.index.year).std() * np.sqrt(252) / target - 1.0


def turnover(held: pd.Series) -> float:
    """Change of the exposure a year, both ways."""
    return float(held.diff().abs().sum() / len(held) * 252)


def choose(returns: pd.Series, cash: pd.Series, past: list, largest: float, asked) -> Setting:
    """The setting with the smallest largest error in the years to choose on; nothing later is looked at."""
    first, last = asked.chosen_on
    cut = returns[returns.index.year <= last]
    found = []
    for setting in itertools.starmap(Setting, itertools.product(HALF_LIVES, GAINS, PERSISTENCES, BANDS)):
        if setting.gain == 0 and setting.persistence:
            continue
        account, held = laid(cut, cash, past, setting, largest, asked)
        tested = cut.index.year >= first
        if turnover(held[tested]) <= asked.turnover:
            found.append((errors(account[tested], asked.target).abs().max(), setting))
    return min(found)[1]


def laid(returns: pd.Series, cash: pd.Series, past: list, setting: Setting, largest: float, asked):
    """``overlay`` as series."""
    found = overlay(returns.to_numpy(), cash[returns.index].to_numpy(), past, setting, largest, asked)
    return tuple(pd.Series(values, returns.index) for values in found)


def main() -> None:
    """Print one table per largest exposure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "run", type=Path, help="a finished run without rules, from a year before the first of the years"
    )
    parser.add_argument("--target", type=float, default=0.10)
    parser.add_argument("--chosen-on", type=int, nargs=2, default=(2016, 2020))
    parser.add_argument("--largest", type=float, nargs="+", default=(1.0, 1.5))
    parser.add_argument("--turnover", type=float, default=3.0)
    parser.add_argument("--margin", type=float, default=0.01, help="above the cash rate, a year")
    parser.add_argument("--cost", type=float, default=0.0005, help="of what is traded")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    run = reopen(asked.run)
    returns = run.tables.returns["strategy"]
    cash = run.cash.reindex(returns.index, method="ffill").fillna(0.0)
    past, tables = pasts(run, returns.index), {}
    for largest in asked.largest:
        setting = choose(returns, cash, past, largest, asked)
        account, held = laid(returns, cash, past, setting, largest, asked)
        tested = returns.index.year >= asked.chosen_on[0]
        found = errors(account[tested], asked.target)
        tables[str(largest)] = {
            "setting": setting._asdict(),
            "errors": {int(year): round(float(error), 3) for year, error in found.items()},
            "worst": float(found.abs().max()),
            "within_15": int((found.abs() <= 0.15).sum()),
            "turnover": turnover(held[tested]),
            "exposure": float(held[tested].mean()),
            **against_constant(account[tested], returns[tested], cash[tested]),
        }
        print(f"largest exposure {largest}: {json.dumps(tables[str(largest)], indent=1)}")
    if asked.json:
        asked.json.write_text(json.dumps(tables, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
