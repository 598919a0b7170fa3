"""Conversion into the account's currency, by hand."""

import numpy as np
import pandas as pd
import pytest

from clusterfolio.feeds.currency import convert, convert_pair, one_currency, pair_of, quote_currency, rate, rate_symbols
from clusterfolio.feeds.raw import DataError
from clusterfolio.feeds.units import major, unit_of

DAYS = pd.date_range("2024-01-01", periods=4)


def bars(*rows: tuple[float, float, float, float], index=DAYS) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["open", "high", "low", "close"], index=index[: len(rows)], dtype=float)
    return frame.assign(volume=1000.0)


def series(*values: float, index=DAYS) -> pd.Series:
    return pd.Series(values, index=index[: len(values)], dtype=float)


def test_pence_become_pounds_become_dollars():
    vodafone = bars((70, 72, 69, 71))
    in_dollars = convert(vodafone, "GBp", "USD", {("GBP", "USD"): series(1.25)})
    assert in_dollars.iloc[0].tolist() == pytest.approx([0.875, 0.90, 0.8625, 0.8875, 1000])
    assert convert(vodafone, "GBX", "GBP", {})["close"].tolist() == pytest.approx([0.71])


def test_the_same_bars_serve_a_euro_account():
    euros = convert(bars((100, 110, 99, 105)), "USD", "EUR", {("EUR", "USD"): series(1.25)})
    assert euros["close"].tolist() == pytest.approx([84.0])


def test_a_rate_is_found_directly_turned_over_or_through_the_dollar():
    closes = {("USD", "JPY"): series(150.0), ("EUR", "USD"): series(1.2)}
    assert rate("JPY", "USD", DAYS[:1], closes) == pytest.approx([1 / 150])
    assert rate("JPY", "EUR", DAYS[:1], closes) == pytest.approx([1 / 180])
    assert rate("EUR", "JPY", DAYS[:1], closes) == pytest.approx([180])
    assert rate("USD", "USD", DAYS[:1], {}) == pytest.approx([1])
    assert np.isnan(rate("CHF", "USD", DAYS[:1], closes)).all()


def test_a_rate_is_the_last_one_known_and_serves_seven_days():
    stated = series(1.1, 1.2, index=pd.DatetimeIndex(["2024-01-05", "2024-02-01"]))
    dates = pd.DatetimeIndex(["2024-01-04", "2024-01-05", "2024-01-12", "2024-01-13", "2024-02-02"])
    found = rate("EUR", "USD", dates, {("EUR", "USD"): stated})
    assert found == pytest.approx([np.nan, 1.1, 1.1, np.nan, 1.2], nan_ok=True)


def test_a_pair_that_begins_later_changes_nothing_earlier():
    turned = {("USD", "EUR"): series(0.5, 0.5, 0.5, 0.5)}
    both = turned | {("EUR", "USD"): series(2.2, index=DAYS[2:])}
    assert rate("EUR", "USD", DAYS, both) == pytest.approx([2.0, 2.0, 2.2, 2.2])


def test_days_without_a_rate_have_no_bar():
    asset = bars((1, 1, 1, 1), (2, 2, 2, 2))
    assert convert(asset, "EUR", "USD", {("EUR", "USD"): series(1.1, index=DAYS[1:])}).index.tolist() == [DAYS[1]]


def test_a_pair_with_the_account_as_base_is_turned_over_high_for_low():
    yen, note = convert_pair(bars((150, 160, 125, 155)), ("USD", "JPY"), "USD")
    assert yen.iloc[0].tolist() == pytest.approx([1 / 150, 1 / 125, 1 / 160, 1 / 155, 1000])
    assert "inverted" in note and "JPY" in note


def test_a_pair_quoted_in_the_account_is_the_price_of_its_base():
    euro, note = convert_pair(bars((1.1, 1.2, 1.0, 1.1)), ("EUR", "USD"), "USD")
    assert euro["close"].tolist() == [1.1] and note == ""
    dollar, _ = convert_pair(bars((1.1, 1.2, 1.0, 1.1)), ("EUR", "USD"), "EUR")
    assert dollar["close"].tolist() == pytest.approx([1 / 1.1])


def test_a_cross_keeps_its_own_returns():
    cross, note = convert_pair(bars((160, 161, 159, 160), (161, 162, 160, 161.6)), ("EUR", "JPY"), "USD")
    assert cross["close"].pct_change().iloc[1] == pytest.approx(0.01)
    assert "cross" in note


@pytest.mark.parametrize(
    ("symbol", "pair"),
    [("EURUSD=X", ("EUR", "USD")), ("JPY=X", ("USD", "JPY")), ("GC=F", None), ("BTC-USD", None), ("X", None)],
)
def test_pairs_are_told_by_their_names(symbol, pair):
    assert pair_of(symbol) == pair


@pytest.mark.parametrize(
    ("symbol", "currency"),
    [("SAP.DE", "EUR"), ("VOD.L", "GBp"), ("7203.T", "JPY"), ("0700.HK", "HKD"), ("NPN.JO", "ZAc"), ("BTC-EUR", "EUR"),
     ("BRK-B", ""), ("SPY", ""), ("BRK.B", "")],
)  # fmt: skip
def test_the_ending_tells_the_quote_currency(symbol, currency):
    assert quote_currency(symbol) == currency


def test_rate_symbols_name_the_usual_pair_first_and_all_of_them_serve():
    assert rate_symbols("EUR", "USD")[0] == "EURUSD=X"
    assert rate_symbols("JPY", "USD")[0] == "JPY=X"
    assert rate_symbols("USD", "EUR")[0] == "EURUSD=X"
    assert rate_symbols("GBp", "EUR") == ["GBPEUR=X", "EURGBP=X"]
    for code, account in [("JPY", "USD"), ("USD", "EUR"), ("GBP", "CHF"), ("USD", "JPY")]:
        assert all(set(pair_of(symbol)) == {code, account} for symbol in rate_symbols(code, account))


def test_a_currency_that_is_none_is_refused_by_value():
    with pytest.raises(DataError, match="dollars"):
        major("dollars")


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        *[("US$", "USD"), ("Pence", "GBp"), ("p", "GBp"), ("GBX", "GBX"), ("Euro", "EUR"), ("gbp", "GBP")],
        *[("USX", "USX"), ("ZAr", "ZAr"), ("HK$", "HKD"), (" usd ", "USD"), ("British Pound", "GBP")],
        *[("N/A", ""), ("-", ""), ("nan", "")],
    ],
)
def test_a_vendors_text_for_a_currency_is_understood(text, unit):
    assert unit_of(text) == unit
    assert not unit or major(unit)


@pytest.mark.parametrize("text", ["FLORIN", "dollars?", "$", "kr", "WON$", "ABC", "U"])
def test_a_text_that_is_no_currency_is_refused_and_named(text):
    with pytest.raises(DataError, match="three-letter code"):
        unit_of(text)


@pytest.mark.parametrize(("unit", "of"), [("USX", ("USD", 0.01)), ("USd", ("USD", 0.01)), ("KWd", ("KWD", 0.001))])
def test_minor_units_are_fractions(unit, of):
    assert major(unit) == of


def test_a_currency_first_stated_later_is_refused_as_the_earlier_rows_state_none():
    stated = np.array(["", "", "EUR", "EUR"], dtype=object)
    with pytest.raises(DataError, match="EUR stated from 2024-01-03 on only"):
        one_currency(stated, DAYS)
    assert one_currency(stated, DAYS[::-1])[0] == "EUR"
