"""What Yahoo answers is read as the prices of the day have it."""

import numpy as np
import pandas as pd
import pytest

from clusterfolio.feeds.quality import QualityConfig, clean
from clusterfolio.feeds.sources.yahoo_answers import from_yahoo, in_price_currency, unadjusted
from tests.feeds.sources.test_yahoo import Recorded, chart

DAYS = pd.bdate_range("2024-01-01", periods=120, tz="America/New_York")
EVENT = 80


def answer(close: np.ndarray, **columns: float) -> pd.DataFrame:
    """A table of Yahoo's with these events on one day."""
    table = {"Open": close, "High": close * 1.01, "Low": close * 0.99, "Close": close, "Volume": 1000.0}
    frame = pd.DataFrame(table | {"Dividends": 0.0, "Stock Splits": 0.0}, index=DAYS)
    for name, value in columns.items():
        frame[name.replace("_", " ")] = np.where(np.arange(120) == EVENT, value, 0.0)
    return frame


def walk(fall: float = 0.0) -> np.ndarray:
    """Prices that fall by a share of themselves on the day of the event, beside their own moves."""
    moves = np.random.default_rng(0).normal(0, 0.01, 120)
    moves[EVENT] += np.log1p(-fall)
    return 50 * np.exp(moves.cumsum())


def returns(frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    cleaned = clean(unadjusted(frame), QualityConfig(), symbol="FUND")
    return cleaned.bars["close"].pct_change().to_numpy(), [remark.kind for remark in cleaned.remarks]


def expected(close: np.ndarray, paid: float = 0.0) -> np.ndarray:
    wealth = close[1:] + np.where(np.arange(1, 120) == EVENT, paid, 0.0)
    return (wealth / close[:-1] - 1)[1:]


def test_a_capital_gain_stated_beside_the_dividend_is_paid_too():
    close = walk(fall=0.13)
    got, said = returns(answer(close, Dividends=0.5, Capital_Gains=6.0))
    assert got[1:] == pytest.approx(expected(close, 6.5)) and not said


def test_a_capital_gain_that_the_dividend_holds_already_is_paid_once():
    close = walk(fall=0.13)
    got, _ = returns(answer(close, Dividends=6.5, Capital_Gains=6.0))
    assert got[1:] == pytest.approx(expected(close, 6.5))


@pytest.mark.parametrize("split", [1 / 190, 10.0, 0.5, 1.5])
def test_a_split_that_the_prices_before_do_not_know_of_is_not_undone(split):
    true = walk()
    stated = true / np.where(np.arange(120) >= EVENT, split, 1.0)
    got, _ = returns(answer(stated, Stock_Splits=split))
    assert got[1:] == pytest.approx(expected(true), abs=1e-12)


@pytest.mark.parametrize("split", [1 / 190, 10.0, 0.5, 1.5, 1.02])
def test_a_split_that_yahoo_has_applied_is_undone_and_applied_forward(split):
    true = walk()
    frame = unadjusted(answer(true, Stock_Splits=split))
    assert frame["close"].iloc[0] == pytest.approx(true[0] * split)
    assert returns(answer(true, Stock_Splits=split))[0][1:] == pytest.approx(expected(true))


def test_a_dividend_a_hundred_times_too_large_is_withheld():
    close = walk(fall=0.03)
    got, said = returns(answer(close, Dividends=200.0))
    assert got[1:] == pytest.approx(expected(close)) and said == ["dividend withheld"]


@pytest.mark.parametrize(
    ("paid_in", "paid", "kind"),
    [
        ("GBP", 20.0, "dividend in another unit converted"),
        ("USD", 0.0, "dividend in another currency withheld"),
        ("??", 0.0, "dividend in another currency withheld"),
    ],
)
def test_what_a_dividend_is_paid_in_is_read(paid_in, paid, kind):
    stamp = int(pd.Timestamp("2024-06-06 13:30").timestamp())
    events = {"dividends": {str(stamp): {"amount": 0.20, "date": stamp, "currency": paid_in}}}
    recorded = Recorded(chart("TSTX.L", meta={"currency": "GBp"}, events=events))
    given = from_yahoo("TSTX.L", pd.Timestamp("2024-06-05"), recorded)
    frame, remarks = in_price_currency("TSTX.L", unadjusted(given.frame), given.currency)
    assert frame["dividend"].tolist() == pytest.approx([0, paid, 0, 0, 0])
    assert [(remark.kind, str(remark.day.date())) for remark in remarks] == [(kind, "2024-06-06")]
    assert "dividend_currency" not in frame.columns
