"""A target volatility on the record of a finished run without rules: how near each year comes, and what it costs.

    python -m tests.benchmarks.risk RUN_DIR
    python -m tests.benchmarks.risk RUN_DIR --target 0.1 --chosen-on 2016 2020 --json risk.json

Half-lives, gain, persistence and band are chosen on the years of --chosen-on, by how many are within 15 % of the target
and then by the largest relative error, among settings that move the exposure by no more than --turnover a year. To
choose, the functions of ``strategies.risk.volatility`` scale the run's own returns, net of costs: what is decided on a
close is there a whole session later. What the choice comes to is then traded over all years: the run's decisions under
``RiskRules``, on the vectorised path, with all costs, interest and what borrowed money costs.

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
from clusterfolio.engine.trading.vectorised import Targets, simulate
from clusterfolio.strategies.risk import volatility
from clusterfolio.strategies.risk.config import RiskConfig
from clusterfolio.strategies.risk.rules import RiskRules

#: What is tried: half-lives of the forecast, gain, persistence, band.
HALF_LIVES, SLOW_HALF_LIVES, GAINS = (10, 21, 42), (0, 63, 126), (0.0, 1.0, 2.0, 5.0)
PERSISTENCES, BANDS = (0.0, 0.5, 0.8, 0.9, 0.95), (0.0, 0.05, 0.1)

#: Sessions from one look to the next.
EVERY = 5

#: A year is near the target within this relative error.
NEAR = 0.15

#: Sessions looked back over: the weight beyond is below 2^-4 of the feedback's half-life.
BACK = 504


class Setting(NamedTuple):
    """What decides the exposure."""

    half_life: int
    slow_half_life: int
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
    returns: np.ndarray, cash: np.ndarray, expected: list[float], setting: Setting, largest: float, asked
) -> tuple[np.ndarray, np.ndarray]:
    """The account's returns and its exposure by session, ``(n,)`` each.

    Args:
        returns: of the portfolio, net; ``cash``: the rate per session; ``expected``: volatility by look.
    """
    n, correction = len(returns), 0.0
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
    """The setting with most years to choose on near the target, of these that with the smallest largest error.

    Nothing after those years is looked at.
    """
    first, last = asked.chosen_on
    cut = returns[returns.index.year <= last]
    tested, known, found = cut.index.year >= first, cash[cut.index].to_numpy(), []
    for half_lives in itertools.product(HALF_LIVES, SLOW_HALF_LIVES):
        expected = [volatility.forecast(row, "ewma", *half_lives)[0] for row in past]
        for rest in itertools.product(GAINS, PERSISTENCES, BANDS):
            setting = Setting(*half_lives, *rest)
            if setting.gain == 0 and setting.persistence:
                continue
            account, held = overlay(cut.to_numpy(), known, expected, setting, largest, asked)
            if turnover(pd.Series(held)[tested]) <= asked.turnover:
                off = errors(pd.Series(account, cut.index)[tested], asked.target).abs()
                found.append((-int((off <= NEAR).sum()), round(off.max(), 3), off.mean(), setting))
    return min(found)[3]


class Noting(RiskRules):
    """The rules, noting the exposure that they ask for by day."""

    def __init__(self, config: RiskConfig):
        super().__init__(config)
        self.exposures: dict[pd.Timestamp, float] = {}

    def guard(self, weights, panel, state):
        """As the rules'."""
        found = super().guard(weights, panel, state)
        self.exposures[panel.dates[-1]] = found[2]["exposure"]
        return found


def traded(run: FinishedRun, setting: Setting | None, largest: float, target: float) -> tuple[pd.Series, pd.Series]:
    """The run's decisions under the rules on the vectorised path, net of costs, and the exposure asked for by session.

    Args:
        setting: None = without rules, and an exposure of 1.
    """
    rules = None
    if setting is not None:
        rules = Noting(
            RiskConfig(
                volatility_target=target, half_life=setting.half_life, slow_half_life=setting.slow_half_life,
                feedback=setting.gain, volatility_every=EVERY, persistence=setting.persistence,
                exposure_band=setting.band, max_exposure=largest,
            )
        )  # fmt: skip
    held = sorted({name for decision in run.decisions for name in decision.weights.index} - {run.panel.benchmark})
    panel = run.panel.select([run.panel.benchmark, *held])
    width = max(len(decision.weights) for decision in run.decisions)
    picks, weights = np.full((1, len(run.decisions), width), -1), np.zeros((1, len(run.decisions), width))
    for number, decision in enumerate(run.decisions):
        picks[0, number, : len(decision.weights)] = panel.symbols.get_indexer(decision.weights.index)
        weights[0, number, : len(decision.weights)] = decision.weights.to_numpy()
    days = pd.DatetimeIndex([decision.asof for decision in run.decisions])
    found = simulate(panel, Targets(picks, weights), days, run.config.trading, rules, run.cash)
    net = pd.Series(found.net[0], found.sessions)
    if rules is None:
        return net, pd.Series(1.0, net.index)
    return net, pd.Series(rules.exposures).sort_index().reindex(net.index, method="ffill")


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
    parser.add_argument("--margin", type=float, default=0.015, help="to choose: of borrowed money, above the cash rate")
    parser.add_argument("--cost", type=float, default=0.0005, help="to choose: of what is traded")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    run = reopen(asked.run)
    returns, _ = traded(run, None, 1.0, asked.target)
    cash = run.cash.reindex(returns.index, method="ffill").fillna(0.0)
    past, tables = pasts(run, returns.index), {}
    tested = returns.index.year >= asked.chosen_on[0]
    spread = run.config.trading.financing_spread
    for largest in asked.largest:
        setting = choose(returns, cash, past, largest, asked)
        account, held = traded(run, setting, largest, asked.target)
        found = errors(account[tested], asked.target)
        tables[str(largest)] = {
            "setting": setting._asdict(),
            "errors": {int(year): round(float(error), 3) for year, error in found.items()},
            "worst": float(found.abs().max()),
            "within_15": int((found.abs() <= NEAR).sum()),
            "turnover": turnover(held[tested]),
            "exposure": float(held[tested].mean()),
            **against_constant(account[tested], returns[tested], cash[tested], spread),
        }
        print(f"largest exposure {largest}: {json.dumps(tables[str(largest)], indent=1)}")
    if asked.json:
        asked.json.write_text(json.dumps(tables, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
