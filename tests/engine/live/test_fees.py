"""What the local venue charges is what the backtest does."""

import datetime as dt
from decimal import Decimal
from types import SimpleNamespace

import pandas as pd
import pytest

from clusterfolio.engine.live.venues import fees_of
from clusterfolio.engine.trading.config import TradingConfig
from tests.engine.trading.test_costs import traded_panel
from tests.engine.trading.test_leverage import Levered, drawn, engine


def test_a_trade_pays_what_the_backtest_charges_it():
    panel = traded_panel(seed=1)
    trading = TradingConfig(capital=1e6, impact=1.0, spread_scaling=1.0, cost_multiplier=1.5)
    market = SimpleNamespace(panel=panel, config=SimpleNamespace(trading=trading))
    fee = fees_of(market)
    fills = engine(panel, Levered(drawn(panel.sessions[[130, 150]], 0), exposures=(1.0, 0.5)), trading, 0.0)
    for fill in fills.transactions.itertuples():
        # The engine takes the size of an order at the close before; the venue knows what it came to.
        before = panel.close.loc[: fill.date, fill.symbol].iloc[-2]
        impact = fill.impact * (fill.price / before) ** 0.5
        charged = fee(fill.symbol, Decimal(repr(abs(fill.value))), fill.date.date())
        assert float(charged) == pytest.approx(fill.commission + fill.spread + impact, rel=1e-9)
    assert fee("GONE", Decimal(1000), dt.date(2024, 8, 1)) == 0 and len(fills.transactions) > 10
    free = fees_of(SimpleNamespace(panel=panel, config=SimpleNamespace(trading=TradingConfig(costs=False))))
    assert free("A", Decimal(1000), pd.Timestamp(panel.dates[-1]).date()) == 0
