"""What is said beside an order list."""

from types import SimpleNamespace

import pandas as pd
import pytest

from clusterfolio.engine.cli.decide import _stays
from clusterfolio.engine.jobs.decide import _borrowed, _stale, read_holdings

DAY, BEFORE = pd.Timestamp("2025-04-21"), pd.Timestamp("2025-04-17")


def test_an_earlier_close_is_dated_and_so_is_the_exchange_rate_frozen_with_it():
    quotes = pd.DataFrame(
        {"day": [BEFORE, BEFORE, DAY], "currency": ["GBp", "USD", "EUR"], "unit": "shares"}, ["VOD.L", "OLD", "SAP.DE"]
    )
    assert _stale(quotes, pd.DataFrame({"symbol": ["VOD.L", "OLD", "SAP.DE"]}), DAY, "USD") == (
        "VOD.L: priced by its close of 2025-04-17 and that day's exchange rate",
        "OLD: priced by its close of 2025-04-17",
    )
    assert _stale(quotes, pd.DataFrame({"symbol": ["SAP.DE"]}), DAY, "USD") == ()


def test_what_cannot_be_sold_is_named_with_its_weight_and_the_day_of_its_close():
    row = SimpleNamespace(held=10.0, unit="shares", weight=0.14, weight_now=0.924, day=BEFORE)
    assert _stays(row) == "10 shares (92 %) cannot be sold, valued at the close of 2025-04-17"
    row.held = 0.0
    assert _stays(row) == "its weight of 14.00% stays in cash"


def test_a_loan_is_named_and_owed_money_can_be_stated(tmp_path):
    weights = pd.Series({"A": 0.9, "B": 0.6})
    (said,) = _borrowed(weights, 10_000.0, "EUR", 0.02)
    assert said == "about 4,700 EUR are to be borrowed: it takes a margin account that lends as much"
    assert _borrowed(weights / 1.5, 10_000.0, "EUR", 0.0) == ()
    path = tmp_path / "held.csv"
    path.write_text("symbol,shares\nA,10\nCASH,-250.5\n")
    assert read_holdings(path).to_dict() == {"A": 10.0, "CASH": -250.5}
    path.write_text("symbol,shares\nA,-10\nCASH,5\n")
    with pytest.raises(ValueError, match="A has shares '-10'"):
        read_holdings(path)
