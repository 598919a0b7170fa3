"""Portfolios drawn by lot: traded as the engine trades them, drawn as said, counted by hand."""

import time
from dataclasses import replace

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clusterfolio.engine.evidence import luck
from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.vectorised import Simulated, Targets, simulate
from clusterfolio.feeds.calendar import decision_dates
from clusterfolio.feeds.ingest import build_panel
from clusterfolio.feeds.quality import QualityConfig
from clusterfolio.feeds.raw import RawBars, RawData
from clusterfolio.feeds.sources.simulated import BENCHMARK, SimulatedConfig
from clusterfolio.feeds.sources.simulated import simulate as make_up
from clusterfolio.strategies.allocation import ALLOCATORS, AllocationConfig, Allocator, Picks
from clusterfolio.strategies.policy import Decision
from tests.benchmarks import luck as benchmark
from tests.conftest import FixedPolicy, data_folder, make_panel, random_closes

#: Listings, delistings, foreign holidays, splits and bad bars.
MARKET = SimulatedConfig(
    n_assets=70, start="2022-01-03", end="2023-12-29", turnover=0.3, foreign=0.4, flaws=True, n_clusters=7, seed=3
)


@pytest.fixture(scope="module")
def market():
    raw = make_up(MARKET)
    panel, _ = build_panel(raw, benchmark=BENCHMARK, known=raw.assets)
    return panel


def monthly(panel, first="2022-06-30", last="2023-11-30"):
    return decision_dates("XNYS", pd.Timestamp(first), pd.Timestamp(last), "month")


def random_targets(panel, dates, n, n_names, seed=0):
    """Names of the universe with a fresh bar on the day, weights drawn evenly."""
    rng = np.random.default_rng(seed)
    held = panel.symbols.isin(panel.tradable)
    fresh = [np.flatnonzero(held & (panel.until(day).bars_since_last() <= 5).to_numpy()) for day in dates]
    picks = np.array([[rng.choice(names, n_names, replace=False) for names in fresh] for _ in range(n)])
    return Targets(picks, rng.dirichlet(np.full(n_names, 4.0), size=picks.shape[:2]))


def by_engine(panel, targets, dates, trading, number):
    rows = zip(dates, targets.picks[number], targets.weights[number], strict=True)
    policy = FixedPolicy({day: pd.Series(w[p >= 0], panel.symbols[p[p >= 0]]) for day, p, w in rows})
    return run_backtest(panel, lambda now: policy, dates, trading)


def agreement(panel, targets, dates, trading):
    """Largest difference of any day's account value, in money, and the engine's transactions."""
    found = simulate(panel, targets, dates, trading)
    worst, transactions = 0.0, []
    for number in range(len(targets)):
        result = by_engine(panel, targets, dates, trading, number)
        assert found.sessions.equals(result.returns.index)
        value = trading.capital * (1 + found.net[number]).cumprod()
        worst = max(worst, np.abs(value - result.value.iloc[1:].to_numpy()).max())
        np.testing.assert_allclose(found.gross[number], result.gross, atol=1e-9)
        assert found.costs[number] == pytest.approx(result.costs.sum().to_numpy(), abs=1e-6)
        assert found.traded[number] == pytest.approx(result.transactions["value"].abs().sum())
        transactions.append(result.transactions)
    return worst, pd.concat(transactions)


# The same as the engine ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trading",
    [
        TradingConfig(),
        TradingConfig(cash_buffer=0.0, cost_multiplier=5.0),
        TradingConfig(costs=False, cash_buffer=0.001),
    ],
    ids=["as shipped", "no buffer", "no costs"],
)
def test_fractional_shares_agree_to_the_cent(market, trading):
    dates = monthly(market)
    worst, transactions = agreement(market, random_targets(market, dates, 3, 15), dates, trading)
    assert worst < 0.005
    reasons = transactions["reason"].value_counts()
    assert reasons["stopped trading"] > 0  # else the market would not test what it is there for
    assert reasons.get("rebalance, sent again after a margin refusal", 0) > (20 if trading.cash_buffer == 0 else -1)


def test_whole_shares_agree_to_one_share(market):
    dates = monthly(market)
    trading = TradingConfig(fractional=False, capital=30_000.0)
    worst, transactions = agreement(market, random_targets(market, dates, 3, 15), dates, trading)
    assert (transactions["amount"] % 1 == 0).all()
    assert worst < transactions["price"].max()


@given(
    seed=st.integers(0, 10_000),
    missing=st.floats(0.0, 0.5),
    whole=st.booleans(),
    buffer=st.sampled_from([0.0, 0.02]),
    volatility=st.sampled_from([0.005, 0.05]),
    pause=st.integers(0, 25),
    stale=st.booleans(),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_panel_with_gaps_gives_what_the_engine_gives(seed, missing, whole, buffer, volatility, pause, stale):
    """``stale``: targets may have been silent for long, up to having stopped."""
    rng = np.random.default_rng(seed)
    names = ["MKT", *"BCADE"]
    closes = random_closes(70, names, seed=seed, volatility=volatility)
    opens = closes.shift(1).fillna(100.0) * (1 + volatility * rng.standard_normal(closes.shape))
    gone = rng.random(closes.shape) < missing * (rng.random(len(names)) < 0.6)
    gone[rng.integers(20, 70) :, 2] = True  # one stops trading
    paused = rng.integers(5, 60)
    gone[paused : paused + pause, 3] = True  # and one for a while
    gone[:, 0] = False
    panel = make_panel(closes.mask(gone), opens, commission_bps=2.0, half_spread_bps=5.0)
    dates = closes.index[[12, 25, 33, 52]]
    if stale:
        fresh = [np.flatnonzero(panel.close.iloc[2:].loc[:day].notna().any()) for day in dates]
    else:
        fresh = [np.flatnonzero(panel.until(day).bars_since_last() <= 5) for day in dates]
    picks = np.full((2, 4, 4), -1)
    weights = np.zeros(picks.shape)
    for portfolio in range(2):
        for number, able in enumerate(fresh):
            chosen = rng.permutation(able)[:4]
            picks[portfolio, number, : len(chosen)] = chosen
            weights[portfolio, number, : len(chosen)] = rng.dirichlet(np.ones(len(chosen)))
    trading = TradingConfig(capital=10_000.0, fractional=not whole, cash_buffer=buffer)
    worst, _ = agreement(panel, Targets(picks, weights), dates, trading)
    assert worst < (200.0 if whole else 0.005)


def test_an_order_waits_for_an_open_that_is_known():
    closes = random_closes(40, ["MKT", "A", "B"])
    opens = closes.shift(1).fillna(100.0)
    opens.iloc[11:13, 1] = np.nan
    panel = make_panel(closes, opens)
    dates = closes.index[[10, 25]]
    targets = Targets(np.array([[[1, 2], [1, 2]]]), np.array([[[0.5, 0.5], [0.3, 0.7]]]))
    worst, transactions = agreement(panel, targets, dates, TradingConfig())
    assert worst < 0.005
    assert transactions.groupby("symbol")["date"].first().to_dict() == {"A": closes.index[13], "B": closes.index[11]}


def test_blocks_do_not_matter(market, monkeypatch):
    dates = monthly(market)
    targets = random_targets(market, dates, 5, 8)
    whole = simulate(market, targets, dates, TradingConfig())
    monkeypatch.setattr("clusterfolio.engine.trading.vectorised.BLOCK", 2)
    np.testing.assert_allclose(simulate(market, targets, dates, TradingConfig()).net, whole.net, atol=1e-12)


def test_an_empty_target_stays_in_cash(market):
    dates = monthly(market)[:2]
    found = simulate(market, Targets(np.full((1, 2, 3), -1), np.zeros((1, 2, 3))), dates, TradingConfig())
    assert (found.net == 0).all() and found.value[0] == 100_000.0


def test_targets_that_do_not_fit_are_refused(market):
    dates = monthly(market)[:2]
    with pytest.raises(ValueError, match="got 1, targets have 2 decisions"):
        simulate(market, Targets(np.zeros((1, 2, 3), int), np.zeros((1, 2, 3))), dates[:1], TradingConfig())
    with pytest.raises(ValueError, match="expected the same"):
        Targets(np.zeros((1, 2, 3), int), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="sessions with a bar"):
        simulate(market, Targets(np.full((1, 1, 1), -1), np.zeros((1, 1, 1))), market.sessions[-1:], TradingConfig())


@pytest.mark.acceptance
def test_on_ten_real_years_the_sample_agrees_and_two_thousand_portfolios_take_seconds():
    panel = benchmark.market([str(data_folder() / name) for name in ("us_stocks.parquet", "us_etfs.parquet")], 0)
    dates = decision_dates("XNYS", pd.Timestamp("2015-12-31"), panel.sessions[-2], "month").intersection(panel.dates)
    decisions = benchmark.decide(panel, dates)
    for trading in (TradingConfig(), TradingConfig(cash_buffer=0.0, cost_multiplier=5.0)):
        assert benchmark.agreement(panel, decisions, trading)[0] < 0.005
    worst, price, _ = benchmark.agreement(panel, decisions, TradingConfig(capital=20_000.0, fractional=False))
    assert worst < price
    began = time.process_time()
    for draw in (luck.random_picks, luck.random_partitions):
        assert draw(panel, decisions, TradingConfig()).returns.shape[0] == 1000
    assert time.process_time() - began < 30


# Drawn as said ---------------------------------------------------------------------------------------------------


def decide(panel, dates, n_clusters=5, seed=0):
    """Decisions with random clusters and Sharpe ratios over what trades on the day; one ratio is not known."""
    rng = np.random.default_rng(seed)
    made = []
    for day in dates:
        names = panel.symbols[(panel.until(day).bars_since_last() <= 5).to_numpy()]
        labels = pd.Series(rng.permutation(np.arange(len(names)) % n_clusters), names)
        sharpe = pd.Series(rng.normal(size=len(names)), names)
        sharpe.iloc[0] = np.nan
        weights = pd.Series(dtype=float)
        made.append(Decision(day, weights, labels, sharpe, []))
    return made


def test_a_random_pick_is_one_member_of_each_cluster_all_equally_likely(market):
    (decision,) = decide(market, monthly(market)[:1])
    drawn = luck.draw(luck.by_lot, market, [decision], TradingConfig(), 4000)
    names = market.symbols.to_numpy()[drawn.picks[:, 0]]
    labels = np.vectorize(decision.labels.to_dict().get)(names)
    assert (np.sort(labels, axis=1) == np.arange(5)).all()
    assert (drawn.weights == 0.2).all()
    counts = pd.Series(names.ravel()).value_counts()
    assert decision.sharpe.index[0] not in counts.index  # its ratio is not known: nobody could have picked it
    sizes = decision.labels[decision.sharpe.notna()].value_counts()
    expected = 4000 / sizes[decision.labels[counts.index]].to_numpy()
    assert (np.abs(counts.to_numpy() - expected) < 6 * np.sqrt(expected)).all()


def test_of_random_groups_the_best_ratios_are_held(market):
    (decision,) = decide(market, monthly(market)[:1])
    drawn = luck.draw(luck.best_of_random_groups, market, [decision], TradingConfig(), 500)
    names = market.symbols.to_numpy()[drawn.picks[:, 0]]
    assert (names == decision.sharpe.idxmax()).any(axis=1).all()
    assert all(len(set(row)) == 5 for row in names)
    # The chance that an asset is the best of its group falls with its rank.
    counts = pd.Series(names.ravel()).value_counts().reindex(decision.sharpe.dropna().sort_values().index, fill_value=0)
    assert counts.iloc[-1] == 500 and counts.iloc[:20].sum() < counts.iloc[-5:].sum() / 20


def test_several_names_of_each_cluster(market):
    (decision,) = decide(market, monthly(market)[:1])
    for how in (luck.by_lot, luck.best_of_random_groups):
        picks = luck.draw(how, market, [decision], TradingConfig(), 20, per_cluster=3).picks[:, 0]
        assert picks.shape == (20, 15) and all(len(set(row)) == 15 for row in picks)


def test_a_seed_draws_the_same_and_another_does_not(market):
    decisions = decide(market, monthly(market)[:3])
    one, two, other = (luck.random_picks(market, decisions, TradingConfig(), n=30, random_state=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.returns, two.returns)
    assert not np.array_equal(one.returns, other.returns)


def test_inverse_volatility_weighs_each_draw_as_the_allocator_does(market):
    (decision,) = decide(market, monthly(market)[6:7])
    trading = TradingConfig(allocate="inverse_volatility")
    drawn = luck.draw(luck.by_lot, market, [decision], trading, 5)
    returns = market.until(decision.asof).session_returns()
    for picks, weights in zip(drawn.picks[:, 0], drawn.weights[:, 0], strict=True):
        volatility = returns[market.symbols[picks]].iloc[-252:].std()
        np.testing.assert_allclose(weights, (1 / volatility) / (1 / volatility).sum())


def test_an_allocator_that_looks_at_the_whole_portfolio_is_asked_for_each(market, monkeypatch):
    def first_in_the_alphabet(picks, config):
        return pd.Series([float(name == min(picks.selected)) for name in picks.selected], index=picks.selected)

    monkeypatch.setitem(ALLOCATORS, "first", first_in_the_alphabet)
    (decision,) = decide(market, monthly(market)[:1])
    trading = replace(TradingConfig(), allocate="equal")
    object.__setattr__(trading, "allocate", "first")
    loose = AllocationConfig(caps="off")
    drawn = luck.draw(luck.by_lot, market, [decision], trading, 5, allocation=loose)
    held = market.symbols[drawn.picks[:, 0][drawn.weights[:, 0] == 1]]
    assert list(held) == [min(market.symbols[row]) for row in drawn.picks[:, 0]]


@pytest.mark.parametrize("method", ["softmax", "equal_risk"])
def test_caps_hold_in_every_draw_and_each_is_weighed_as_the_strategy_weighs(market, method):
    decision = decide(market, monthly(market)[6:7])[0]
    trading, config = TradingConfig(allocate=method), AllocationConfig(name_cap=0.3, temperature=0.2)
    drawn = luck.draw(luck.by_lot, market, [decision], trading, 4, allocation=config)
    returns = market.until(decision.asof).session_returns()
    classes = market.assets["asset_class"]
    for picks, weights in zip(drawn.picks[:, 0], drawn.weights[:, 0], strict=True):
        shown = Picks(returns, list(market.symbols[picks]), decision.sharpe, classes)
        np.testing.assert_allclose(weights, Allocator(method, config)(shown).weights, atol=1e-4)  # a solver's digits
        assert weights.max() <= 0.3 + 1e-9


def test_sharpe_and_total_are_empyricals(market):
    decisions = decide(market, monthly(market)[:4])
    found = luck.random_partitions(market, decisions, TradingConfig(), cash=0.03, n=4)
    cash = 1.03 ** (1 / 252) - 1
    for row in range(4):
        assert found.sharpe[row] == pytest.approx(empyrical.sharpe_ratio(found.returns[row], cash))
        assert found.total[row] == pytest.approx(empyrical.cum_returns_final(found.returns[row]))
    assert (found.gross_total > found.total).all() and found.cost_bps > 0


# Counted by hand -------------------------------------------------------------------------------------------------


def test_the_place_among_draws():
    found = luck.place(3.0, np.array([0.0, 1.0, 2.0, 3.0, 4.0, np.nan]))
    assert found["percentile"] == pytest.approx(0.7) and found["p_value"] == pytest.approx(3 / 6)
    assert found["mean"] == 2.0
    with pytest.raises(ValueError, match="no finite number"):
        luck.place(1.0, np.array([np.nan]))


def test_the_parts_of_a_return_add_up():
    days = pd.bdate_range("2024-01-01", periods=2)
    net, gross = pd.Series([0.10, 0.0], days), pd.Series([0.11, 0.0], days)
    market, everything = pd.Series([0.02, 0.0], days), pd.Series([0.03, 0.0], days)
    drawn = Simulated(days, *[np.array([[0.04, 0.0], [0.06, 0.0]])] * 2, *[np.zeros(2)] * 4)
    parts = luck.decompose(net, gross, market, everything, luck.measured(drawn, 0.0))
    by_lot = (np.log(1.04) + np.log(1.06)) / 2
    assert parts["market"] == pytest.approx(np.log(1.02))
    assert parts["universe"] == pytest.approx(np.log(1.03) - np.log(1.02))
    assert parts["clustering"] == pytest.approx(by_lot - np.log(1.03))
    assert parts["selection"] == pytest.approx(np.log(1.11) - by_lot)
    assert parts["cost"] == pytest.approx(np.log(1.10) - np.log(1.11))
    assert sum(value for name, value in parts.items() if name != "total") == pytest.approx(np.log(1.10), abs=1e-15)
    with pytest.raises(ValueError, match="benchmark: its sessions differ"):
        luck.decompose(net, gross, market.iloc[1:], everything, luck.measured(drawn, 0.0))


def test_capacity_is_the_capital_at_which_orders_reach_a_share_of_the_day():
    closes = pd.DataFrame(
        {"A": [10.0, 10.0], "B": [20.0, 20.0], "C": [5.0, 5.0]}, pd.bdate_range("2024-01-01", periods=2)
    )
    panel = make_panel(closes)  # 1,000 shares a day each
    panel.volume["C"] = np.nan
    trades = pd.DataFrame({"date": closes.index[1], "symbol": ["A", "B", "C"], "value": [100.0, -400.0, 50.0]})
    found = luck.capacity(trades, panel, capital=1000.0)
    # A is 1 % of 10,000, B 2 % of 20,000: at half the capital the larger reaches 1 %.
    assert [row["share"] for row in found["shares"]] == [0.01, 0.05, 0.10]
    assert [row["largest"] for row in found["shares"]] == pytest.approx([500.0, 2500.0, 5000.0])
    assert found["shares"][0]["p95"] == pytest.approx(1000 * 0.01 / np.quantile([0.01, 0.02], 0.95))
    assert found["orders"] == 2 and found["unknown"] == {"C": 1}


def test_capacity_is_measured_at_the_prices_of_the_market():
    days = pd.bdate_range("2024-01-01", periods=30)
    paid, split = np.zeros(30), np.zeros(30)
    paid[10], split[20] = 10.0, 10.0
    close = np.where(np.arange(30) < 10, 110.0, 100.0) / np.where(np.arange(30) < 20, 1.0, 10.0)
    volume = 1e4 * np.where(np.arange(30) < 20, 1.0, 10.0)
    stated = pd.DataFrame({"close": close, "volume": volume, "dividend": paid, "split": split}, days)
    raw = RawData({"MKT": RawBars(stated, "USD"), "A": RawBars(stated, "USD")})
    panel, _ = build_panel(raw, benchmark="MKT", symbols=["A"], config=QualityConfig(min_assets=1))
    traded = panel.traded_value()["A"]
    assert traded.to_numpy() == pytest.approx((stated["close"] * stated["volume"]).reindex(traded.index).to_numpy())
    assert (panel.close["A"] * panel.volume["A"]).iloc[-1] > 1.09 * traded.iloc[-1]  # what capacity was measured by
    fills = pd.DataFrame({"date": [days[-1]], "symbol": "A", "value": 1e4})
    assert luck.capacity(fills, panel, capital=1e5)["shares"][0]["largest"] == pytest.approx(1e5)
    unstated = replace(panel, market=panel.market * np.nan)
    pd.testing.assert_series_equal(
        unstated.traded_value()["A"], panel.close["A"] * panel.volume["A"], check_names=False
    )
