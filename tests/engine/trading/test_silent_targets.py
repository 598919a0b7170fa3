"""Targets whose bars have gaps: engine and vectorised path agree, however long a name has been silent."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.tape import read_bars
from clusterfolio.engine.trading.vectorised import Targets, simulate
from tests.conftest import FixedPolicy, make_panel, random_closes

NAMES = list("ABCDE")


def with_gaps(seed):
    """A panel of wild names with gaps of up to 40 bars each, and weights that sum to 1 on six of its days."""
    rng = np.random.default_rng(seed)
    closes = random_closes(80, ["MKT", *NAMES], seed, volatility=0.03)
    opens = closes.shift(1).bfill() * np.exp(rng.normal(0, 0.02, closes.shape))
    for column in range(1, 6):
        for start in rng.integers(1, 75, rng.integers(0, 4)):
            closes.iloc[start : start + rng.integers(1, 40), column] = np.nan
    panel = make_panel(closes, opens, commission_bps=2.0, half_spread_bps=3.0)
    days = panel.sessions[np.sort(rng.choice(np.arange(10, 70), 6, replace=False))]
    parts = rng.dirichlet(np.ones(5), 6) * rng.integers(0, 2, (6, 5)) * panel.close.ffill().loc[days, NAMES].notna()
    return panel, parts.div(parts.sum(axis=1).where(lambda total: total > 0, 1.0), axis=0)


def both(panel, table, trading):
    policy = FixedPolicy(dict(table.iterrows()))
    result = run_backtest(panel, lambda now: policy, table.index, trading, cash=0.05)
    held, picks = table.to_numpy(), panel.symbols.get_indexer(table.columns)
    targets = Targets(np.where(held > 0, picks, -1)[None], held[None])
    return result, simulate(panel, targets, table.index, trading, cash=0.05)


@given(st.integers(0, 10_000), st.booleans())
@example(6, True)  # a target is silent for longer than five sessions on the first decision
@settings(max_examples=6, deadline=None)
def test_engine_and_vectorised_path_agree_on_targets_with_gaps_and_no_cash_to_spare(seed, fractional):
    panel, table = with_gaps(seed)
    trading = TradingConfig(cash_buffer=0.0, fractional=fractional, capital=100_000.0 if fractional else 3_000.0)
    result, twin = both(panel, table, trading)
    np.testing.assert_allclose(twin.net[0], result.returns["strategy"], atol=1e-10)


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=10, deadline=None)
def test_bars_that_were_read_for_an_earlier_start_serve_a_later_one(seed, fractional):
    panel, table = with_gaps(seed)
    closes = panel.close.copy()
    closes.iloc[12:, 5] = np.nan  # E is gone before most first decisions: of what is wanted of it the part stays cash
    panel = make_panel(closes, panel.open, commission_bps=2.0, half_spread_bps=3.0)
    trading = TradingConfig(fractional=fractional, impact=1.0)
    bars = read_bars(panel, panel.sessions[5], fractional)
    held, picks = table.to_numpy(), panel.symbols.get_indexer(table.columns)
    targets = Targets(np.where(held > 0, picks, -1)[None], held[None])
    shared, own = (simulate(panel, targets, table.index, trading, cash=0.05, bars=one) for one in (bars, None))
    for name in ("net", "gross", "value", "costs", "traded", "invested"):
        np.testing.assert_array_equal(getattr(shared, name), getattr(own, name))


@pytest.mark.parametrize("back", [21, 22])
def test_a_name_long_silent_on_the_first_decision_is_sized_by_its_last_close(back):
    closes = random_closes(40, ["MKT", "A"], 1)
    closes.iloc[5:back, 1] = np.nan
    panel = make_panel(closes)
    result, twin = both(panel, pd.DataFrame({"A": [0.5]}, panel.sessions[[20]]), TradingConfig(costs=False))
    np.testing.assert_allclose(twin.net[0], result.returns["strategy"], atol=1e-12)
    if back == 21:  # back on the next session: bought there
        (fill,) = result.transactions.itertuples()
        assert fill.amount == pytest.approx(100_000.0 * 0.98 * 0.5 / closes["A"].iloc[4])
    else:
        assert result.transactions.empty and result.unfilled[0][1:] == (
            "A",
            "no bar to trade on; 0 % of its target reached",
        )


def test_a_weight_of_a_name_that_is_not_listed_yet_is_refused():
    closes = random_closes(40, ["MKT", "A"], 1)
    closes.iloc[:25, 1] = np.nan
    panel = make_panel(closes)
    with pytest.raises(ValueError, match="targets: A has a weight on 2024-01-29 and no bar by then"):
        simulate(panel, Targets(np.array([[[1]]]), np.array([[[0.5]]])), panel.sessions[[20]], TradingConfig())
