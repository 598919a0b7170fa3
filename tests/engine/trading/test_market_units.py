"""Transactions in shares and prices of the market: they add up, and the account can be worked out from them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.leakage.check import _fills
from clusterfolio.engine.run_dir import artifacts
from clusterfolio.engine.run_dir.tables import trades_of
from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.market_units import (
    INDEX,
    LEVELS,
    MARKET_COLUMNS,
    RECORDED,
    REINVESTED,
    RESTATED,
    SPLIT,
    in_market_units,
)
from clusterfolio.engine.trading.vectorised import Targets, simulate
from clusterfolio.engine.trading.whole_shares import in_whole_shares
from clusterfolio.feeds.ingest import build_panel
from clusterfolio.feeds.quality import QualityConfig
from clusterfolio.feeds.raw import RawBars, RawData
from tests.conftest import FixedPolicy, make_panel
from tests.engine.trading.replay import replay

N = 150
DAYS = pd.bdate_range("2024-01-02", periods=N)
DECISIONS = DAYS[[30, 60, 90, 120]]
EX_DAYS = (45, 61, 95, 121)  # two of them on days of fills
SPLIT_DAY = 70


def bars(start, seed, currency="USD", paid=0.0, split=1.0, length=N):
    """Bars as a vendor without adjustments states them; the close falls by what is paid and split."""
    rng = np.random.default_rng(seed)
    dividend, ratio = np.zeros(N), np.ones(N)
    dividend[list(EX_DAYS)] = paid
    ratio[SPLIT_DAY] = split
    close = np.empty(N)
    now = start
    for day, move in enumerate(rng.normal(0.0005, 0.008, N)):
        now = (now * np.exp(move) - dividend[day]) / ratio[day]
        close[day] = now
    opened = close * np.exp(rng.normal(0, 0.003, N))
    frame = pd.DataFrame({"open": opened, "close": close, "volume": 1e6, "dividend": dividend}, DAYS)
    frame["high"], frame["low"] = frame[["open", "close"]].max(axis=1), frame[["open", "close"]].min(axis=1)
    frame["split"] = np.where(ratio != 1.0, ratio, 0.0)
    return RawBars(frame.iloc[:length], currency)


def with_adjusted(stated: RawBars) -> RawBars:
    """The same with an adjusted close instead, in which dividends are re-invested at the close."""
    frame = stated.frame
    ratio = frame["split"].where(frame["split"] > 0, 1.0)
    growth = ratio * (1 + frame["dividend"] / (ratio * frame["close"]))  # per old share, as ours are stated
    adjusted = frame["close"] * growth.cumprod()
    return RawBars(frame.drop(columns=["dividend", "split"]).assign(adj_close=adjusted * 0.7), stated.currency)


@pytest.fixture(scope="module")
def raw():
    return RawData(
        {
            "MKT": bars(400.0, 1, paid=1.0),
            "PAYS": bars(50.0, 2, paid=0.6),
            "SPLITS": bars(120.0, 3, paid=0.4, split=10.0),
            "ODD": bars(40.0, 4, split=1.5),
            "ADJ": with_adjusted(bars(80.0, 5, paid=0.9)),
            "VOD.L": bars(70.0, 6, "GBp", paid=0.8),
            "GONE": bars(30.0, 7, paid=0.3, length=100),
            "MYR=X": bars(4.5, 8, ""),
            "EURUSD=X": bars(1.1, 9, ""),
            "EURJPY=X": bars(160.0, 10, ""),
            "GBPUSD=X": bars(1.25, 11, ""),
            "LEVEL": RawBars(pd.DataFrame({"adj_close": bars(20.0, 12).frame["close"]}), "USD"),
        }
    )


@pytest.fixture(scope="module")
def panel(raw):
    symbols = [name for name in raw.bars if name != "GBPUSD=X"]
    panel, _ = build_panel(raw, benchmark="MKT", symbols=symbols, config=QualityConfig(min_assets=1))
    panel.assets[["commission_bps", "half_spread_bps"]] = [1.0, 2.0]
    return panel


@pytest.fixture(scope="module")
def policy():
    """Half of the names on each decision, so that some are kept, some sold, and some bought again."""
    held = [["PAYS", "SPLITS", "ADJ", "MYR=X", "GONE"], ["PAYS", "SPLITS", "ODD", "VOD.L", "GONE"],
            ["ODD", "VOD.L", "EURUSD=X", "ADJ", "GONE"], ["PAYS", "SPLITS", "VOD.L", "MYR=X"]]  # fmt: skip
    return FixedPolicy(
        {
            day: dict(zip(names, (0.3, 0.2, 0.15, 0.15, 0.1), strict=False))
            for day, names in zip(DECISIONS, held, strict=True)
        }
    )


@pytest.fixture(scope="module")
def result(panel, policy):
    return run_backtest(panel, lambda now: policy, DECISIONS, TradingConfig(), cash=0.03)


@pytest.fixture(scope="module")
def table(result, panel):
    return in_market_units(result.transactions, panel)


def market_closes(raw) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Closes as stated and rates into dollars, from the frames of the source alone; of MYR=X the price of a ringgit."""
    closes = pd.DataFrame({name: one.frame["close"] for name, one in raw.bars.items() if "close" in one.frame})
    closes["MYR=X"] = 1 / closes["MYR=X"]
    rates = pd.DataFrame(1.0, closes.index, closes.columns)
    rates["VOD.L"] = closes["GBPUSD=X"] / 100
    return closes, rates


def test_the_account_can_be_worked_out_from_what_was_traded_and_the_closes_of_the_files(raw, table, result):
    closes, rates = market_closes(raw)
    worked_out = replay(table, result.payments, closes, rates, result.capital, result.value.index)
    assert (worked_out - result.value).abs().max() < 0.005
    assert result.value.pct_change().abs().max() > 0.005


def test_every_price_is_the_open_that_the_source_states_and_every_value_amount_times_it(raw, table):
    trades = trades_of(table)
    assert set(trades["unit"]) == {"shares", "MYR", "EUR"}
    for fill in trades[trades["unit"] == "shares"].itertuples():
        if fill.reason != "stopped trading":
            assert fill.price == pytest.approx(raw.bars[fill.symbol].frame.loc[fill.date, "open"], rel=1e-12)
        assert fill.currency == raw.bars[fill.symbol].currency
    spent = trades["amount"] * trades["price"] * trades["rate"]
    assert spent.to_numpy() == pytest.approx(trades["value"].to_numpy(), rel=1e-11)


def test_rows_of_dividends_and_splits_state_what_the_source_does(raw, table):
    held = pd.Series(0.0, pd.Index(table["symbol"].unique()))
    found = 0
    for row in table.itertuples():
        frame = raw.bars[row.symbol].frame
        if row.reason == REINVESTED:
            assert row.amount == pytest.approx(held[row.symbol] * frame.loc[row.date].get("dividend", 0.9) / row.price)
        elif row.reason == SPLIT:
            assert row.amount == pytest.approx(held[row.symbol] * (frame.loc[row.date, "split"] - 1))
        if row.reason in (REINVESTED, SPLIT):
            assert (row.value, row.commission, row.spread) == (0.0, 0.0, 0.0)
            assert row.price == pytest.approx(frame.loc[row.date, "close"])
            found += 1
        held[row.symbol] += row.amount
    assert found >= 12
    assert abs(held["GONE"]) < 1e-9 and abs(held["ADJ"]) < 1e-9  # sold for good
    assert held[["PAYS", "SPLITS", "VOD.L"]].min() > 1


def test_what_is_no_trade_is_left_out_of_trades_and_figures(table, result):
    trades = trades_of(table)
    assert len(trades) == len(result.transactions) < len(table)
    for column in ("value", "commission", "spread"):
        assert table[column].abs().sum() == pytest.approx(result.transactions[column].abs().sum())
    assert trades["level"].to_numpy() == pytest.approx(result.transactions["price"].to_numpy())


def test_what_has_no_market_price_or_is_no_holding_says_so(panel):
    policy = FixedPolicy({DECISIONS[0]: {"LEVEL": 0.5, "EURJPY=X": 0.4}})
    fills = run_backtest(panel, lambda now: policy, DECISIONS[:1], TradingConfig()).transactions
    table = in_market_units(fills, panel).set_index("symbol")
    assert table["unit"].to_dict() == {"LEVEL": LEVELS, "EURJPY=X": INDEX}
    assert table.loc["LEVEL", "price"] == table.loc["LEVEL", "level"] and (table["rate"] == 1).all()
    hand_made = make_panel(panel.close[["MKT", "PAYS"]])
    policy = FixedPolicy({DECISIONS[0]: {"PAYS": 0.5}})
    fills = run_backtest(hand_made, lambda now: policy, DECISIONS[:1], TradingConfig()).transactions
    assert set(in_market_units(fills, hand_made)["unit"]) == {RECORDED}


def test_shares_stay_what_they_are_where_the_close_is_not_stated_for_a_while(raw, panel):
    gap = RawData(dict(raw.bars))
    frame = raw.bars["ADJ"].frame.copy()
    frame.loc[DAYS[40:80], ["open", "high", "low", "close"]] = np.nan
    gap.bars["ADJ"] = RawBars(frame, "USD")
    holed, _ = build_panel(gap, benchmark="MKT", symbols=["MKT", "ADJ", "PAYS"], config=QualityConfig(min_assets=1))
    policy = FixedPolicy({DECISIONS[0]: {"ADJ": 0.9}, DECISIONS[2]: {"PAYS": 0.9}})
    fills = run_backtest(holed, lambda now: policy, DECISIONS[[0, 2]], TradingConfig()).transactions
    table = in_market_units(fills, holed)
    own = table[table["symbol"] == "ADJ"]
    assert own["reason"].tolist() == ["rebalance", REINVESTED, "rebalance"]  # both dividends of the gap, when it ends
    assert own["date"].iloc[1] == DAYS[80] and abs(own["amount"].sum()) < 1e-9


def test_an_adjusted_close_that_falls_against_the_close_is_restated(raw):
    frame = raw.bars["ADJ"].frame.copy()
    frame.loc[DAYS[50] :, "adj_close"] *= 0.99
    data = RawData({"MKT": raw.bars["MKT"], "ADJ": RawBars(frame, "USD")})
    fallen, _ = build_panel(data, benchmark="MKT", config=QualityConfig(min_assets=1))
    policy = FixedPolicy({DECISIONS[0]: {"ADJ": 0.9}})
    fills = run_backtest(fallen, lambda now: policy, DECISIONS[:1], TradingConfig()).transactions
    reasons = in_market_units(fills, fallen).set_index("date")["reason"]
    assert reasons[DAYS[50]] == RESTATED


def test_nothing_traded_is_a_table_without_rows(panel, result):
    table = in_market_units(result.transactions.iloc[:0], panel)
    assert table.empty and tuple(table.columns) == MARKET_COLUMNS


@pytest.mark.parametrize("cut", [65, 96, 121])
def test_what_comes_later_changes_no_row(panel, result, table, cut):
    known = in_market_units(result.transactions[result.transactions["date"] <= DAYS[cut]], panel.until(DAYS[cut]))
    pd.testing.assert_frame_equal(known, table[table["date"] <= DAYS[cut]].reset_index(drop=True), check_exact=True)


def test_the_fingerprint_knows_market_prices_and_actions(panel):
    before = artifacts.fingerprint(panel)
    for name in ("market", "rate", "split", "paid"):
        assert artifacts.fingerprint(replace(panel, **{name: getattr(panel, name) * 2})) != before


# Whole shares ------------------------------------------------------------------------------------------------------

LOTS = {"VOD.L": 100.0, "PAYS": 10.0, "MYR=X": 1000.0}


@pytest.fixture(scope="module")
def in_lots(panel):
    assets = panel.assets.copy()
    assets["lot"] = pd.Series(LOTS).reindex(assets.index).fillna(1.0)
    return replace(panel, assets=assets)


@pytest.fixture(scope="module")
def whole(in_lots, policy):
    return run_backtest(in_lots, lambda now: policy, DECISIONS, TradingConfig(fractional=False), cash=0.03)


def test_whole_shares_are_those_of_the_market_in_lots_and_dividends_go_to_cash(raw, in_lots, whole):
    table = in_market_units(whole.transactions, in_lots, fractional=False)
    assert set(table["reason"]) == {"rebalance", "stopped trading", SPLIT}
    held = table.groupby("symbol")["amount"].cumsum()
    bought = (table["amount"] > 0) & (table["reason"] != SPLIT)
    lots = table["symbol"].map(LOTS).fillna(1.0)
    assert (held[bought] % lots[bought]).abs().max() < 1e-9 and bought.sum() > 12
    assert (table.loc[table["symbol"] != "ODD", "amount"] % 1 == 0).all()  # 1.5 shares for one leaves a half
    dividends = whole.payments[whole.payments["reason"] == "dividend"]
    assert len(dividends) >= 8 and {"PAYS", "SPLITS", "VOD.L", "ADJ"} <= set(dividends["symbol"])
    closes, rates = market_closes(raw)
    for paid in dividends[dividends["symbol"] != "ADJ"].itertuples():
        own = table[(table["symbol"] == paid.symbol) & (table["date"] < paid.date)]["amount"].sum()
        each = raw.bars[paid.symbol].frame.loc[paid.date, "dividend"]
        assert paid.amount == pytest.approx(own * each * rates.loc[paid.date, paid.symbol])
    found = replay(table, whole.payments, closes, rates, whole.capital, whole.value.index)
    assert (found - whole.value).abs().max() < 0.005
    fills = trades_of(table)
    fills = fills[(fills["unit"] == "shares") & (fills["reason"] == "rebalance")]
    opens = [raw.bars[fill.symbol].frame.loc[fill.date, "open"] for fill in fills.itertuples()]
    assert fills["price"].to_numpy() == pytest.approx(np.array(opens), rel=1e-12)


def test_whole_shares_agree_in_both_clocks_and_the_vectorised_path_to_the_cent(in_lots, policy, whole):
    trading = TradingConfig(fractional=False)
    stock = run_backtest(in_lots, lambda now: policy, DECISIONS, trading, clock="stock", cash=0.03)
    pd.testing.assert_frame_equal(stock.positions, whole.positions, check_exact=True)
    pd.testing.assert_frame_equal(stock.payments, whole.payments, check_exact=True)
    named = pd.DataFrame(policy.weights).fillna(0.0).T
    picks = np.broadcast_to(in_lots.symbols.get_indexer(named.columns), (1, *named.shape))
    weights = named.to_numpy()[None]
    found = simulate(in_lots, Targets(np.where(weights > 0, picks, -1), weights), DECISIONS, trading, cash=0.03)
    value = whole.capital * np.cumprod(1 + found.net[0])
    assert np.abs(value - whole.value.iloc[1:].to_numpy()).max() < 0.005


def test_whole_shares_of_what_has_no_market_price_are_units_of_its_level(panel):
    policy = FixedPolicy({DECISIONS[0]: {"LEVEL": 0.5}})
    result = run_backtest(panel, lambda now: policy, DECISIONS[:1], TradingConfig(fractional=False))
    table = in_market_units(result.transactions, panel, fractional=False)
    assert set(table["unit"]) == {LEVELS} and (table["amount"] % 1 == 0).all()


@pytest.mark.parametrize("cut", [65, 96, 121])
def test_prices_lots_and_dividends_of_whole_shares_do_not_depend_on_what_comes_later(in_lots, cut):
    frame = in_lots.market["ADJ"].copy()
    frame.iloc[40:80] = np.nan
    market = in_lots.market.assign(ADJ=frame)  # a gap without market prices
    holed = replace(in_lots, market=market)
    now, later = in_whole_shares(holed.until(DAYS[cut])), in_whole_shares(holed)
    pd.testing.assert_frame_equal(now.panel.close, later.panel.close.loc[: DAYS[cut]], check_exact=True)
    for name in ("lots", "dividends"):
        pd.testing.assert_frame_equal(getattr(now, name), getattr(later, name).loc[: DAYS[cut]], check_exact=True)
    assert np.isfinite(later.panel.close["ADJ"].iloc[1:]).all()


def test_the_leakage_check_sizes_whole_shares_as_the_engine_does(in_lots):
    told: list[dict] = []
    weights = pd.Series({"PAYS": 0.3, "SPLITS": 0.3, "VOD.L": 0.3})
    for day in (DAYS[60], DAYS[90]):
        assert _fills(in_lots, SimpleNamespace(weights=weights), day, TradingConfig(fractional=False), told) == []
    assert [row["values"] for row in told] == [3, 3]
