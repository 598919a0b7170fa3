"""The accounts that an agent learns in are the engine's, to the cent."""

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.strategies.agents.accounts import Accounts, read_bars
from clusterfolio.strategies.agents.terms import Terms
from tests.conftest import FixedPolicy, make_panel, random_closes

NAMES = [f"S{number}" for number in range(9)]


def wild_panel(n_days=620, seed=0):
    """Gaps over night that break the cash, halts, one asset that stops trading, one that is listed late."""
    rng = np.random.default_rng(seed)
    closes = random_closes(n_days, ["MKT", *NAMES], seed, volatility=0.02)
    opens = closes.shift(1).bfill() * np.exp(0.02 * rng.standard_normal(closes.shape))
    halted = pd.DataFrame(rng.random(closes.shape) < 0.03, closes.index, closes.columns)
    halted["MKT"] = False
    closes = closes.mask(halted)
    closes.loc[closes.index[300:], "S3"] = np.nan
    closes.loc[closes.index[:40], "S5"] = np.nan
    panel = make_panel(closes, opens, benchmark="MKT", commission_bps=5.0, half_spread_bps=7.0)
    panel.assets.loc["MKT", "tradable"] = False
    return panel


def random_weights(panel, days, rng):
    found = {}
    for day in days:
        alive = [name for name in NAMES if panel.close.loc[:day, name].iloc[-12:].notna().any()]
        lots = rng.dirichlet(np.full(len(alive), 0.5)) * (rng.random() < 0.9)
        lots[rng.random(len(lots)) < 0.3] = 0.0
        found[day] = pd.Series(lots * (1.0 if rng.random() < 0.7 else 0.6), alive)
    return found


@pytest.mark.parametrize(
    "every, n_actions",
    [(7, 25), pytest.param(3, 500, marks=pytest.mark.acceptance), pytest.param(1, 500, marks=pytest.mark.acceptance)],
)
def test_the_accounts_equal_the_engines_to_the_cent_over_random_actions(every, n_actions):
    panel = wild_panel(70 + every * n_actions)
    days = panel.dates[60 : len(panel.dates) - 1 : every][:n_actions]
    assert len(days) == n_actions
    weights = random_weights(panel, days, np.random.default_rng(1))
    cash = pd.Series(0.0002, panel.sessions)
    trading = TradingConfig(cash_buffer=0.01)
    policy = FixedPolicy(weights)
    result = run_backtest(panel, lambda now: policy, days, trading, cash=cash)
    terms = Terms.of(trading)
    bars = read_bars(panel, pd.Index(NAMES, dtype=object), terms, cash)
    rows = bars.days.get_indexer(days)
    accounts = Accounts(bars, rows[:1], terms)
    apart, reasons = [], result.transactions["reason"]
    for later, day in zip([*rows[1:], len(bars.days) - 1], days, strict=True):
        apart.append(abs(accounts.value()[0] - result.value[day]))
        wanted = weights[day].reindex(bars.names).fillna(0.0).to_numpy()
        accounts.order(wanted[None])
        accounts.advance(np.array([later]))
    apart.append(abs(accounts.value()[0] - result.value.iloc[-1]))
    if (every, n_actions) == (3, 500):  # with every 1 everything is decided anew a day later
        assert reasons.str.contains("again").sum() > 2 and (reasons == "stopped trading").any()
    assert max(apart) < 0.01, max(apart)
    paid = result.transactions[["commission", "spread"]].sum().sum()
    assert abs(accounts.costs[0] - paid) < 0.01


def test_accounts_on_days_of_their_own_do_not_mind_one_another():
    panel = wild_panel()
    terms = Terms()
    bars = read_bars(panel, pd.Index(NAMES, dtype=object), terms)
    rng = np.random.default_rng(3)
    rows = np.array([60, 61, 130, 290])
    together = Accounts(bars, rows, terms)
    alone = [Accounts(bars, rows[[at]], terms) for at in range(4)]
    for _ in range(12):
        weights = rng.dirichlet(np.ones(len(NAMES)), 4) * (bars.silent[rows] < 5)
        together.order(weights)
        for at, one in enumerate(alone):
            one.order(weights[[at]])
        rows = rows + np.array([1, 7, 9, 3])
        together.advance(rows)
        for at, one in enumerate(alone):
            one.advance(rows[[at]])
    np.testing.assert_allclose(together.value(), [one.value()[0] for one in alone], rtol=1e-12)
    assert (together.cash > -1e-6).all()
