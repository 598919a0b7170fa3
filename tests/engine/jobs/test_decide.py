"""What is said beside an order list."""

from types import SimpleNamespace

import pandas as pd

from clusterfolio.engine.cli.decide import _stays
from clusterfolio.engine.jobs.decide import _stale

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
