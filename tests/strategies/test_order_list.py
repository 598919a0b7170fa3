"""Order lists: market prices, shares, pairs as they are quoted, and what cannot be ordered."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.feeds.ingest import build_panel
from clusterfolio.feeds.quality import QualityConfig
from clusterfolio.feeds.raw import RawBars, RawData
from clusterfolio.strategies.order_list import COLUMNS, order_list, quotes_of

DAYS = pd.bdate_range("2024-01-02", periods=60)
EASY = QualityConfig(min_assets=1)


def bars(close, currency="USD", **columns):
    frame = pd.DataFrame({"close": close, "volume": 1e6} | columns, DAYS, dtype=float)
    return RawBars(frame.assign(open=frame["close"], high=frame["close"], low=frame["close"]), currency)


def walk(start, seed):
    return start * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.005, len(DAYS))))


@pytest.fixture(scope="module")
def raw():
    paid = walk(50.0, 1)
    split = walk(80.0, 2)
    split[40:] /= 10  # 10:1, unadjusted
    pairs = {"EURUSD=X": walk(1.1, 3), "JPY=X": walk(150.0, 4), "EURJPY=X": walk(165.0, 5), "GBPUSD=X": walk(1.25, 6)}
    stated = {
        "SPY": bars(walk(400.0, 7)),
        "PAID": bars(paid, dividend=np.where(np.arange(60) == 30, 1.0, 0.0)),
        "SPLIT": bars(split, split=np.where(np.arange(60) == 40, 10.0, 0.0)),
        "GROWN": bars(walk(90.0, 8), adj_close=walk(90.0, 8) * np.linspace(0.5, 1, 60)),
        "VOD.L": bars(walk(70.0, 9), "GBp"),
        "ALONE": RawBars(pd.DataFrame({"adj_close": walk(20.0, 10)}, DAYS)),
    }
    return RawData(stated | {name: bars(close, "") for name, close in pairs.items()})


@pytest.fixture(scope="module")
def panel(raw):
    return build_panel(raw, benchmark="SPY", config=EASY)[0]


def listed(panel, target, held=None, value=100_000.0, **more):
    held = pd.Series(dtype=float) if held is None else pd.Series(held)
    more = {"cash_buffer": 0.0, "fractional": True} | more
    orders, refused = order_list(pd.Series(target), held, quotes_of(panel), value, **more)
    return orders.set_index("symbol"), refused


def test_every_price_is_the_close_that_the_source_states(panel, raw):
    for day in (DAYS[20], DAYS[45], DAYS[-1]):
        quotes = quotes_of(panel.until(day))
        for symbol in panel.symbols.drop("ALONE"):
            assert quotes.loc[symbol, "price"] == raw.bars[symbol].frame.loc[day, "close"], symbol
    levels = panel.close.iloc[-1]
    assert levels["SPLIT"] > 5 * quotes.loc["SPLIT", "price"]  # what a holder's level has grown to is no price


def test_the_price_does_not_depend_on_where_a_file_begins(raw):
    late = RawData({name: RawBars(one.frame.iloc[25:], one.currency) for name, one in raw.bars.items()})
    whole, cut = (quotes_of(build_panel(one, benchmark="SPY", config=EASY)[0]) for one in (raw, late))
    whole, cut = (table.drop(index="ALONE") for table in (whole, cut))  # which has no price on any day
    pd.testing.assert_frame_equal(whole, cut, check_exact=True)


def test_each_name_gets_its_weight_in_whole_shares(panel):
    target = {"SPY": 0.3, "PAID": 0.3, "SPLIT": 0.2, "VOD.L": 0.2}
    orders, refused = listed(panel, target, value=1_000_000.0, fractional=False)
    assert refused.empty and tuple(["symbol", *orders.columns]) == COLUMNS
    each = quotes_of(panel)["each"]
    for symbol, weight in target.items():
        assert 0 <= weight * 1_000_000.0 - orders.loc[symbol, "value"] < each[symbol] * 1.01
        assert orders.loc[symbol, "shares"] % 1 == 0
    pence, dollars = quotes_of(panel).loc["VOD.L", ["price", "rate"]]
    assert orders.loc["VOD.L", "value"] == pytest.approx(orders.loc["VOD.L", "shares"] * pence * dollars)
    assert dollars == pytest.approx(panel.market.loc[DAYS[-1], "GBPUSD=X"] / 100)


def test_pairs_are_ordered_as_they_are_quoted(panel):
    yen, euro = (panel.market.loc[DAYS[-1], name] for name in ("JPY=X", "EURUSD=X"))
    orders, refused = listed(panel, {"JPY=X": 0.2, "EURUSD=X": 0.3})
    assert refused.empty
    jpy = orders.loc["JPY=X"]  # long yen = short dollars
    assert (jpy["side"], jpy["unit"], jpy["price"]) == ("sell", "USD", yen)
    assert jpy["shares"] == pytest.approx(20_000) and jpy["value"] == pytest.approx(20_000)
    eur = orders.loc["EURUSD=X"]
    assert (eur["side"], eur["unit"], eur["price"]) == ("buy", "EUR", euro)
    assert eur["shares"] == pytest.approx(30_000 / euro)
    held = {"JPY=X": 20_000 * yen, "EURUSD=X": 30_000 / euro}
    none, _ = listed(panel, {"JPY=X": 0.2, "EURUSD=X": 0.3}, held)
    assert none.empty
    left, _ = listed(panel, {"SPY": 0.5}, held)
    assert left["side"].to_dict() == {"JPY=X": "buy", "EURUSD=X": "sell", "SPY": "buy"}
    assert list(left.index[:2]) == ["EURUSD=X", "JPY=X"]  # what frees money goes first
    assert left.loc["JPY=X", "reason"] == "left" and left.loc["SPY", "reason"] == "new"


def test_what_cannot_be_ordered_is_named_and_stays_in_cash(panel):
    orders, refused = listed(panel, {"SPY": 0.5, "EURJPY=X": 0.3, "ALONE": 0.2})
    assert list(orders.index) == ["SPY"] and orders.loc["SPY", "value"] == pytest.approx(50_000)
    assert refused.set_index("symbol")["weight"].to_dict() == {"ALONE": 0.2, "EURJPY=X": 0.3}
    assert refused["why"].str.contains("only an adjusted one|no leg in USD").all()


def test_an_old_close_beside_newer_adjusted_ones_is_no_price(raw):
    frame = raw.bars["GROWN"].frame.copy()
    frame.loc[DAYS[50] :, "close"] = np.nan
    changed = replace(raw, bars=raw.bars | {"GROWN": RawBars(frame, "USD")})
    panel = build_panel(changed, benchmark="SPY", config=EASY)[0]
    orders, refused = listed(panel, {"GROWN": 0.5})
    assert (
        orders.empty
        and refused["why"].item() == f"no market price is stated since {DAYS[49].date()}, only adjusted ones"
    )


def test_a_halted_asset_is_priced_by_its_last_close(raw):
    frame = raw.bars["PAID"].frame.iloc[:57]
    panel = build_panel(replace(raw, bars=raw.bars | {"PAID": RawBars(frame, "USD")}), benchmark="SPY", config=EASY)[0]
    quotes = quotes_of(panel)
    assert quotes.loc["PAID", "price"] == frame["close"].iloc[-1] and quotes.loc["PAID", "day"] == DAYS[56]
    assert quotes.loc["PAID", "why_not"] == ""


def test_what_has_stopped_trading_is_not_ordered(raw):
    frame = raw.bars["PAID"].frame.iloc[:45]
    panel = build_panel(replace(raw, bars=raw.bars | {"PAID": RawBars(frame, "USD")}), benchmark="SPY", config=EASY)[0]
    orders, refused = listed(panel, {"PAID": 0.5, "SPY": 0.5})
    assert list(orders.index) == ["SPY"] and refused["why"].item() == f"it has not traded since {DAYS[44].date()}"


def test_costs_are_stated_in_the_accounts_currency(panel):
    charges = pd.DataFrame({"rate": 12e-4, "impact": 0.0, "most": np.inf}, ["VOD.L"])
    orders, _ = listed(panel, {"VOD.L": 0.5}, charges=charges)
    assert orders.loc["VOD.L", "cost"] == pytest.approx(50_000 * 12e-4)
    orders, _ = listed(panel, {"VOD.L": 0.5}, charges=charges.assign(impact=1e-5))
    assert orders.loc["VOD.L", "cost"] == pytest.approx(50_000 * (12e-4 + 1e-5 * 50_000**0.5))


@pytest.mark.parametrize("fractional", [True, False])
def test_an_order_is_for_what_its_volume_lets_through_and_buys_with_what_sales_then_bring(panel, fractional):
    each = quotes_of(panel)["each"]
    held = {"SPY": 100_000.0 / each["SPY"]}
    charges = pd.DataFrame({"rate": 1e-3, "impact": 0.0, "most": [20_000.0, np.inf]}, ["SPY", "VOD.L"])
    orders, _ = listed(panel, {"VOD.L": 1.0}, held=held, charges=charges, fractional=fractional)
    sold, bought = orders.loc["SPY"], orders.loc["VOD.L"]
    assert sold["side"] == "sell" and sold["value"] == pytest.approx(20_000, abs=0.0 if fractional else each["SPY"])
    assert fractional or sold["shares"] % 1 == 0
    assert bought["value"] + orders["cost"].sum() == pytest.approx(20_000, abs=0.01 if fractional else 5 * each["SPY"])
    assert bought["value"] + orders["cost"].sum() <= 20_000 + 1e-6


def test_what_is_borrowed_is_spent_and_no_more(panel):
    target = {"SPY": 0.9, "VOD.L": 0.7}
    orders, _ = listed(panel, target, max_exposure=1.5)
    assert orders["value"].sum() == pytest.approx(150_000.0)
    assert orders["value"]["SPY"] / orders["value"]["VOD.L"] == pytest.approx(9 / 7)
    orders, _ = listed(panel, target)
    assert orders["value"].sum() == pytest.approx(100_000.0)


def test_a_panel_made_by_hand_is_priced_by_its_levels(panel):
    bare = replace(panel, market=None, rate=None)
    pd.testing.assert_series_equal(quotes_of(bare)["each"], panel.close.iloc[-1], check_names=False)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(1e3, 1e7), st.booleans())
@settings(max_examples=50, deadline=None)
def test_carried_out_it_reaches_the_target_and_nothing_is_left_to_order(panel, parts, value, fractional):
    names = ["SPY", "SPLIT", "VOD.L", "JPY=X"]
    target = pd.Series(np.array(parts) / max(sum(parts), 1.0), names)
    quotes, nothing = quotes_of(panel), pd.Series(dtype=float)
    how = {"cash_buffer": 0.02, "fractional": fractional}
    orders, _ = order_list(target, nothing, quotes, value, **how)
    units = {
        row.symbol: row.value / quotes.loc[row.symbol, "each"] if row.symbol == "JPY=X" else row.shares
        for row in orders.itertuples()
    }
    held = pd.Series(units, dtype=float)
    spent = float((held * quotes["each"].reindex(held.index)).sum())
    assert spent <= 0.98 * value * target.sum() * (1 + 1e-9)
    again, _ = order_list(target, held, quotes, value, **how)
    assert again.empty


@pytest.fixture(scope="module")
def partly_frozen(raw):
    """PAID has stopped trading, GROWN has no market price of late."""
    stale = raw.bars["GROWN"].frame.copy()
    stale.loc[DAYS[50] :, "close"] = np.nan
    bars_now = raw.bars | {"PAID": RawBars(raw.bars["PAID"].frame.iloc[:45], "USD"), "GROWN": RawBars(stale, "USD")}
    return build_panel(replace(raw, bars=bars_now), benchmark="SPY", config=EASY)[0]


WEIGHTS = st.lists(st.floats(0, 1), min_size=5, max_size=5)


@given(
    WEIGHTS, WEIGHTS, st.floats(0, 1e5), st.sampled_from([0.0, 0.02]), st.sampled_from([0.0, 10, 500]), st.booleans(),
    st.sampled_from([0.0, 1e-4]), st.sampled_from([np.inf, 3e3]), st.sampled_from([1.0, 1.5]),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_buys_never_cost_more_than_the_cash_and_the_sales_bring_and_what_is_lent(
    partly_frozen, parts, have, cash, cash_buffer, bps, fractional, impact, most, exposure
):
    names = ["SPY", "SPLIT", "VOD.L", "PAID", "GROWN"]
    quotes = quotes_of(partly_frozen)
    each = quotes["each"].reindex(names)
    held = pd.Series(np.array(have) * 1e4, names) / each
    value = float((held * each).sum() + cash) or 1.0
    cash = value - float((held * each).sum())
    target = exposure * pd.Series(np.array(parts) / max(sum(parts), 1.0), names)
    charges = pd.DataFrame({"rate": bps / 1e4, "impact": impact, "most": most}, names)
    orders, refused = order_list(
        target, held, quotes, value, cash_buffer=cash_buffer, fractional=fractional, charges=charges,
        max_exposure=exposure,
    )  # fmt: skip
    signed = orders["value"] * np.where(orders["side"] == "buy", 1, -1)
    assert signed.sum() + orders["cost"].sum() <= cash + (exposure - 1) * value + 1e-6 * max(value, 1)
    assert (orders["value"] <= most * (1 + 1e-9)).all()
    assert not set(orders["symbol"]) & {"PAID", "GROWN"}
    kept = refused.set_index("symbol")
    assert kept["held"].to_dict() == held[kept.index].to_dict()


def test_what_is_held_and_cannot_be_sold_keeps_its_weight_and_the_others_share_the_rest(partly_frozen):
    quotes = quotes_of(partly_frozen)
    held = {"PAID": 50_000 / quotes.loc["PAID", "each"]}
    orders, refused = listed(partly_frozen, {"SPY": 0.6, "SPLIT": 0.2}, held)
    assert orders["value"].to_dict() == pytest.approx({"SPY": 30_000, "SPLIT": 10_000})
    assert orders["weight_target"].to_dict() == pytest.approx({"SPY": 0.3, "SPLIT": 0.1})
    assert refused["weight_now"].item() == pytest.approx(0.5) and refused["day"].item() == DAYS[44]
    as_decided, _ = listed(partly_frozen, {"SPY": 0.5, "PAID": 0.5}, held)
    assert as_decided["value"].to_dict() == pytest.approx({"SPY": 50_000})
