"""A guard looks at decisions and between them: the same in the engine and in the vectorised path."""

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.vectorised import Targets, simulate
from clusterfolio.strategies.policy import Decision, Guard, PolicyError, guard_of
from tests.conftest import make_panel, random_closes

SYMBOLS = "ABCDEF"


class Stopped:
    """Holds what it is told; leaves a name that has fallen by 6 % since it was bought, and halves what is left when
    less than two are held."""

    def __init__(self, chosen, every=5):
        self.chosen = chosen
        self.guard_every = every
        self.seen = []

    def decide(self, panel, state):
        return Decision(panel.dates[-1], self.chosen[panel.dates[-1]])

    def guard(self, weights, panel, state):
        self.seen.append((panel.dates[-1], dict(state.entries), round(state.cash, 12)))
        closes, kept, reasons = panel.session_closes(), weights.copy(), {}
        for name, day in state.entries.items():
            if name in kept.index and closes[name].iloc[-1] < 0.94 * closes.loc[day, name]:
                kept = kept.drop(name)
                reasons[name] = "stop: fell by 6 %"
        return (kept / 2 if 0 < len(kept) < 2 and len(weights) >= 2 else kept), reasons


@pytest.fixture(scope="module", params=range(6))
def market(request):
    closes = random_closes(260, SYMBOLS, seed=request.param, volatility=0.02)
    closes.iloc[120:160, 2] = np.nan  # silent for long
    rng = np.random.default_rng(request.param)
    panel = make_panel(closes)
    days = panel.sessions[[60, 100, 140, 180]]
    chosen = {day: pd.Series(0.3, sorted(rng.choice(list(SYMBOLS), 3, replace=False))) for day in days}
    return panel, days, chosen


def simulated(panel, days, chosen, trading, guard):
    picks = np.array([[panel.symbols.get_indexer(chosen[day].index) for day in days]])
    return simulate(panel, Targets(picks, np.full(picks.shape, 0.3)), days, trading, guard)


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("fractional", [True, False])
def test_engine_and_vectorised_path_agree_to_the_cent(market, every, fractional):
    panel, days, chosen = market
    trading = TradingConfig(fractional=fractional)
    ours, theirs = Stopped(chosen, every), Stopped(chosen, every)
    result = run_backtest(panel, lambda now: ours, days, trading)
    found = simulated(panel, days, chosen, trading, theirs)
    assert ours.seen == theirs.seen
    np.testing.assert_allclose(found.net[0], result.returns["strategy"], atol=1e-10)
    assert found.value[0] == pytest.approx(result.value.iloc[-1], abs=0.01)


def test_each_of_several_portfolios_is_looked_at_alone(market):
    panel, days, chosen = market
    trading, guard = TradingConfig(), Stopped(chosen, 3)
    names = [sorted(SYMBOLS[at : at + 3]) for at in (0, 2, 3)]
    picks = np.array([[panel.symbols.get_indexer(row)] * len(days) for row in names])
    together = simulate(panel, Targets(picks, np.full(picks.shape, 0.3)), days, trading, guard)
    for number, row in enumerate(names):
        alone = Stopped({day: pd.Series(0.3, row) for day in days}, 3)
        value = run_backtest(panel, lambda now, alone=alone: alone, days, trading).value.iloc[-1]
        assert together.value[number] == pytest.approx(value, abs=0.01)


def test_it_is_asked_at_every_decision_and_every_so_many_sessions_after_it(market):
    panel, days, chosen = market
    policy = Stopped(chosen, 5)
    run_backtest(panel, lambda now: policy, days, TradingConfig())
    rows = panel.sessions.get_indexer([day for day, *_ in policy.seen])
    assert rows.tolist() == [*range(60, 180, 5), *range(180, len(panel.sessions), 5)]


def test_its_reasons_stand_beside_the_trades(market):
    panel, days, chosen = market
    policy = Stopped(chosen, 1)
    trades = run_backtest(panel, lambda now: policy, days, TradingConfig()).transactions
    stops = trades[trades["reason"] == "stop: fell by 6 %"]
    assert len(stops) and (stops["amount"] < 0).all()


def test_a_guard_that_changes_nothing_trades_nothing(market):
    panel, days, chosen = market

    class Idle(Stopped):
        def guard(self, weights, panel, state):
            return weights, {}

    idle, none = Idle(chosen, 1), Stopped(chosen, 0)
    guarded, plain = (run_backtest(panel, lambda now, one=one: one, days, TradingConfig()) for one in (idle, none))
    pd.testing.assert_frame_equal(guarded.transactions, plain.transactions, check_exact=True)
    assert isinstance(idle, Guard) and guard_of(idle) is idle and guard_of(none) is None


def test_what_a_guard_returns_is_looked_through(market):
    panel, days, chosen = market

    class Greedy(Stopped):
        def guard(self, weights, panel, state):
            return weights * 2, {}

    policy = Greedy(chosen)
    with pytest.raises(PolicyError, match=r"guard\(\) on .* sum to 1.8; expected at most 1"):
        run_backtest(panel, lambda now: policy, days, TradingConfig())
