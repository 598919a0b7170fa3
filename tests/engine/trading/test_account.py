"""An account stated by hand: what fits together is taken as it is, what does not is named."""

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.trading.account import Account, plain

DAYS = pd.bdate_range("2024-01-01", periods=6)


def tables(**changes) -> dict:
    """Five shares of A, bought on the second day at its close; money lies beside them."""
    prices = pd.DataFrame({"A": [10.0, 10, 11, 12, 11, 12], "B": 10.0}, DAYS)
    shares = pd.Series([0.0, 5, 5, 5, 5, 5], DAYS)
    positions = pd.DataFrame({"A": shares * prices["A"], "cash": [100.0, *[50.0] * 5]})
    known = {
        "returns": positions.sum(axis=1).pct_change().fillna(0.0),
        "positions": positions,
        "transactions": pd.DataFrame({"date": DAYS[1:2], "symbol": "A", "amount": 5.0, "price": 10.0}),
        "prices": prices,
    }
    return known | changes


def test_pyfolio_s_form_is_understood():
    """Index in UTC, fills indexed by their moment."""
    known = tables()
    moments = DAYS.tz_localize("UTC") + pd.Timedelta("21h")
    fills = known["transactions"].set_index(moments[1:2]).drop(columns="date")
    other = Account(known["returns"].set_axis(moments), known["positions"].set_axis(moments), fills, known["prices"])
    one = Account(**known)
    assert other.returns.equals(one.returns) and other.positions.equals(one.positions)
    assert other.transactions.equals(one.transactions) and other.held == ["A"]
    assert (one.paid_in == 0).all()


def test_closes_alone_stand_for_whole_bars():
    bars = Account(**tables()).prices["A"]
    assert bars["open"].equals(bars["close"].rename("open")) and bars["volume"].isna().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"returns": pd.Series([0.0, 0.1], DAYS[:2])}, "positions: 6 days, returns: 2 days"),
        ({"returns": pd.Series([0.0, np.nan, 0, 0, 0, 0], DAYS)}, "returns: .* all finite"),
        ({"returns": pd.Series(0.0, [*DAYS[:5], DAYS[0]])}, "one row a day"),
        ({"returns": pd.Series([0.02] * 6, DAYS)}, "moves by something else than returns state"),
        ({"prices": pd.DataFrame({"B": 10.0}, DAYS)}, "prices: none of A, which the account held"),
        ({"prices": pd.DataFrame({"A": [10.0, 0, 1, 1, 1, 1]}, DAYS)}, "prices of A: 0.0 on 2024-01-02"),
        ({"transactions": pd.DataFrame({"date": DAYS[:1], "symbol": "A"})}, "transactions: no column 'amount'"),
        ({"returns": [0.0] * 6}, "returns: got list"),
    ],
)
def test_tables_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        Account(**tables(**changes))


def test_shares_in_place_of_values_are_noticed():
    known = tables()
    shares = known["positions"].assign(A=[0.0, 5, 5, 5, 5, 5])
    with pytest.raises(ValueError, match="positions values \\(not shares\\)"):
        Account(**known | {"positions": shares})


def test_a_lost_account_is_named():
    known = tables()
    with pytest.raises(ValueError, match=r"worth -50\.00 on 2024-01-08"):
        Account(**known | {"positions": known["positions"].assign(A=0.0, cash=[100.0, 50, 50, 50, 50, -50])})


def test_parameters_say_the_same_in_every_process():
    class Box:
        pass

    first, second = plain({"box": Box(), "f": max}), plain({"box": Box(), "f": max})
    assert first == second and "0x" not in str(first)
    assert plain(list(range(100))) != plain(list(range(1, 101)))
