import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.vectorised import Targets, simulate
from clusterfolio.feeds.bt_feed import panel_feeds
from clusterfolio.strategies.rebalance import RebalanceStrategy
from tests.conftest import FixedPolicy, make_panel, random_closes


def gapped_panel(seed=0, n_days=90, symbols="ABCD", missing=0.0, **kwargs):
    closes = random_closes(n_days, symbols, seed)
    rng = np.random.default_rng(seed + 1)
    opens = closes.shift(1).bfill() * np.exp(rng.normal(0, 0.004, closes.shape))
    if missing:
        hole = rng.random(closes.shape) < missing
        hole[:, 0] = False
        closes = closes.mask(hole)
    return make_panel(closes, opens, commission_bps=2.0, half_spread_bps=3.0, **kwargs)


def by_hand(panel, weights_by_date, capital, buffer, rate):
    """Fractional shares, sells and buys at each asset's next own open, costs on traded value: plain arithmetic."""
    shares = pd.Series(0.0, panel.symbols)
    cash, pending, values = capital, {}, {}
    last = pd.Series(np.nan, panel.symbols)
    for day in panel.dates:
        opens, closes = panel.open.loc[day], panel.close.loc[day]
        for name in [n for n in pending if np.isfinite(opens[n])]:
            amount = pending.pop(name)
            cash -= amount * opens[name] + abs(amount * opens[name]) * rate
            shares[name] += amount
        last = closes.where(closes.notna(), last)
        values[day] = cash + float((shares * last.fillna(0.0)).sum())
        if day in weights_by_date:
            target = (
                values[day] * (1 - buffer) * pd.Series(weights_by_date[day]).reindex(panel.symbols).fillna(0.0) / last
            )
            change = target.fillna(0.0) - shares
            pending = {name: change[name] for name in panel.symbols if abs(change[name]) > 1e-12}
    return pd.Series(values)


@pytest.mark.parametrize("clock", ["shared", "stock"])
@pytest.mark.parametrize("missing", [0.0, 0.15])
def test_values_equal_an_independent_computation_to_the_cent(clock, missing):
    panel = gapped_panel(seed=3, missing=missing)
    days = panel.sessions[[20, 45, 70]]
    rng = np.random.default_rng(0)
    weights = {day: dict(zip("ABCD", rng.dirichlet(np.ones(4)), strict=True)) for day in days}
    trading = TradingConfig(cash_buffer=0.1, costs=True, capital=100_000.0)
    result = run_backtest(panel, lambda now: FixedPolicy(weights), days, trading, clock)
    expected = by_hand(panel, weights, 100_000.0, 0.1, 5e-4).reindex(result.value.index)
    assert result.value.to_numpy() == pytest.approx(expected.to_numpy(), abs=0.01)
    assert not result.unfilled


def test_cash_and_positions_make_up_the_value_on_every_session():
    panel = gapped_panel(seed=5, missing=0.1)
    days = panel.sessions[[20, 40]]
    weights = {day: {"A": 0.5, "B": 0.3} for day in days}
    result = run_backtest(panel, lambda now: FixedPolicy(weights), days, TradingConfig())
    shares = result.transactions.pivot_table(index="date", columns="symbol", values="amount", aggfunc="sum")
    held = shares.reindex(result.positions.index).fillna(0.0).cumsum()
    closes = panel.session_closes().reindex(held.index)[held.columns]
    assert (held * closes).to_numpy() == pytest.approx(result.positions[held.columns].to_numpy(), abs=1e-6)
    paid = result.transactions.groupby("date")[["value", "commission", "spread"]].sum().sum(axis=1)
    cash = 100_000.0 - paid.reindex(held.index).fillna(0.0).cumsum()
    assert cash.to_numpy() == pytest.approx(result.positions["cash"].to_numpy(), abs=1e-6)
    assert result.positions.sum(axis=1).to_numpy() == pytest.approx(result.value.to_numpy())


def test_positions_equal_the_positions_value_analyzer():
    panel = gapped_panel(seed=6)
    days = panel.sessions[[10]]
    policy = FixedPolicy({days[0]: {"B": 0.6, "C": 0.4}})
    result = run_backtest(panel, lambda now: policy, days, TradingConfig())
    cerebro = bt.Cerebro(stdstats=False)
    for feed in panel_feeds(panel):
        cerebro.adddata(feed)
    cerebro.broker.setcash(100_000.0)
    cerebro.broker.setcommission(5e-4, stocklike=True, percabs=True, commtype=bt.CommInfoBase.COMM_PERC)
    cerebro.addanalyzer(bt.analyzers.PositionsValue, headers=True, cash=True, _name="positions")
    cerebro.addstrategy(RebalanceStrategy, policy_for=lambda now: policy, decision_dates=days, panel=panel)
    (strategy,) = cerebro.run()
    table = dict(strategy.analyzers.positions.get_analysis())
    header = table.pop("Datetime")
    stock = pd.DataFrame.from_dict(table, orient="index", columns=header)
    stock.index = pd.DatetimeIndex(stock.index).normalize()
    stock = stock.reindex(result.positions.index)
    for name in ("B", "C", "cash"):
        assert stock[name].to_numpy() == pytest.approx(result.positions[name].to_numpy())


def test_first_row_is_the_first_session_after_the_first_decision():
    panel = gapped_panel()
    days = panel.sessions[[30]]
    result = run_backtest(panel, lambda now: FixedPolicy({days[0]: {"A": 1.0}}), days, TradingConfig())
    assert result.returns.index[0] == panel.sessions[31]
    assert result.weights.index.tolist() == [panel.sessions[30]]
    assert result.weights.loc[days[0]].to_dict() == {"A": 1.0, "CASH": 0.0}


def test_a_rounding_error_is_no_cash():
    panel = gapped_panel()
    day = panel.sessions[30]
    weights = {"A": 0.7, "B": 0.2, "C": 0.1}  # their sum is 0.9999999999999999
    result = run_backtest(panel, lambda now: FixedPolicy({day: weights}), panel.sessions[[30]], TradingConfig())
    assert str(result.weights.loc[day, "CASH"]) == "0.0"


def test_gross_return_is_net_return_plus_costs():
    panel = gapped_panel(seed=8)
    days = panel.sessions[[20]]
    policy = FixedPolicy({days[0]: {"A": 0.9}})
    result = run_backtest(panel, lambda now: policy, days, TradingConfig())
    fill = result.transactions.iloc[0]
    cost = fill.commission + fill.spread
    assert cost == pytest.approx(fill.value * 5e-4)
    assert fill.commission == pytest.approx(fill.value * 2e-4)
    assert result.gross.iloc[0] - result.returns["strategy"].iloc[0] == pytest.approx(cost / 100_000.0)
    assert result.gross.iloc[1:].to_numpy() == pytest.approx(result.returns["strategy"].iloc[1:].to_numpy())


def test_clocks_agree_bit_for_bit():
    panel = gapped_panel(seed=9, missing=0.1, symbols="ABCDEFG")
    days = panel.sessions[[15, 30, 50]]
    weights = {day: {"A": 0.4, "C": 0.3, "G": 0.3} for day in days}
    runs = [
        run_backtest(panel, lambda now: FixedPolicy(weights), days, TradingConfig(), c) for c in ("shared", "stock")
    ]
    pd.testing.assert_frame_equal(runs[0].returns, runs[1].returns, check_exact=True)
    pd.testing.assert_frame_equal(runs[0].transactions, runs[1].transactions, check_exact=True)
    assert runs[0].clock == "shared"


def test_a_decision_that_nothing_can_fill_or_without_a_bar_is_refused():
    panel = gapped_panel()
    policy = FixedPolicy({})
    with pytest.raises(ValueError, match="decision_dates: empty"):
        run_backtest(panel, lambda now: policy, panel.sessions[:0], TradingConfig())
    with pytest.raises(ValueError, match="nothing can fill after"):
        run_backtest(panel, lambda now: policy, panel.sessions[-1:], TradingConfig())
    holiday = pd.DatetimeIndex([panel.sessions[0] - pd.Timedelta(days=3)])
    with pytest.raises(ValueError, match="is not one of the panel's sessions with a bar"):
        run_backtest(panel, lambda now: policy, holiday, TradingConfig())


def test_the_part_of_a_name_that_stopped_before_the_run_stays_cash():
    closes = random_closes(60, "ABC")
    closes.iloc[20:, 1] = np.nan  # long silent on the first decision: no feed
    panel = make_panel(closes)
    days = panel.sessions[[40]]
    policy = FixedPolicy({days[0]: {"B": 0.5, "C": 0.5}})
    result = run_backtest(panel, lambda now: policy, days, TradingConfig())
    twin = simulate(panel, Targets(np.array([[[1, 2]]]), np.full((1, 1, 2), 0.5)), days, TradingConfig())
    assert set(result.transactions["symbol"]) == {"C"}
    assert result.unfilled == [(days[0], "B", "no bar to trade on; 0 % of its target reached")]
    np.testing.assert_allclose(twin.net[0], result.returns["strategy"], atol=1e-10)
