"""The sections on where the money was made and on moving windows: their figures are those of the run's own tables."""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest

from clusterfolio.engine.report.contents import SECTIONS
from clusterfolio.engine.report.page import render
from clusterfolio.engine.report.sections import attribution, rolling, trading
from tests.engine.report.test_report import fake_run

LAGS = [{"lag": lag, "sharpe": 1.0 - lag / 10, "lost": 0.4} for lag in (-1, 0, 1, 2, 3, 5, 10)]
EVIDENCE = {
    "lags": {"rows": LAGS, "sessions": 200, "alarm": None},
    "tradability": [{"symbol": "S03", "value": 9e3, "traded": 1e4, "days": 9.0}],
    "betas_over_time": [{"date": "2025-08-01", "market": 0.5}, {"date": "2025-09-01", "market": 0.25}],
}


@pytest.fixture(scope="module")
def inputs():
    return fake_run(300, n_decisions=6)


def data_of(page: str, name: str) -> dict:
    """The data of a chart or table, read back from the page."""
    found = re.search(rf'id="chart-{name}".*?<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return json.loads(found.group(1))


def test_the_money_on_the_page_sums_to_what_the_account_gained(inputs):
    sections = [section for section in SECTIONS if section.anchor in ("attribution", "rolling", "trading")]
    page = render(replace(inputs, evidence=None), {}, sections)
    value = inputs.positions.sum(axis=1)
    names = data_of(page, "names")
    earned = [row[4] for row in names["rows"]]
    assert earned == sorted(earned, reverse=True)
    assert sum(earned) == pytest.approx(value.iloc[-1] - value.iloc[0], rel=1e-4)
    clusters = data_of(page, "by_cluster")
    assert sum(row[1] for row in clusters["rows"]) == pytest.approx(sum(earned), rel=1e-4)
    assert data_of(page, "contributors")["panels"][0]["series"][0]["values"][0] == pytest.approx(earned[0])
    trades = data_of(page, "trades")["rows"]
    assert len(trades) == len(inputs.transactions) and trades[0][0] >= trades[-1][0]
    assert {row[5] for row in trades} == {"USD"}
    foreign = replace(inputs, transactions=inputs.transactions.assign(currency="JPY"))
    assert {row[5] for row in trading.every_trade(foreign).rows} == {"JPY"}  # what a price is in, beside values in USD
    assert sum(row[7] for row in trades) == pytest.approx(
        inputs.transactions[["commission", "spread", "impact"]].to_numpy().sum(), rel=1e-4
    )


def test_moving_windows_are_drawn_from_the_day_one_is_full(inputs):
    views = rolling.charts(replace(inputs, evidence=EVIDENCE))["rolling"].views
    assert list(views) == ["Sharpe ratio", "Volatility", "Beta", "Loss of a session", "Factors"]
    own = pd.Series(views["Volatility"].panels[0].series[1].values)
    assert own.first_valid_index() == inputs.returns.index[125]
    last = inputs.returns["strategy"].iloc[-126:].std() * 252**0.5
    assert own.iloc[-1] == pytest.approx(last, abs=5e-5)
    assert views["Factors"].finding == "Betas at 2025-09-01: market 0.25."
    assert "shorter than 252 sessions" in rolling.absent(fake_run(60))


def test_delays_of_the_fills_are_said(inputs):
    known = replace(inputs, evidence=EVIDENCE)
    words = trading.lag_words(known)
    assert "a Sharpe ratio of 0.50 instead of 1.00, over the 200 sessions" in words and "No step between" in words
    alarmed = replace(inputs, evidence={"lags": EVIDENCE["lags"] | {"alarm": 0}})
    assert "see the caveat on execution lag" in trading.lag_words(alarmed)
    assert trading.lag_words(inputs) == ""


def test_a_run_that_held_nothing_has_no_names_to_show(inputs):
    idle = replace(inputs, positions=inputs.positions * 0 + 0.0, transactions=inputs.transactions.iloc[:0])
    assert attribution.charts(idle) == {} and "trades" not in trading.charts(idle)


def test_a_large_account_that_could_not_buy_all_and_an_order_sent_again_are_explained(inputs):
    sizes = [{"capital": capital, "cagr": 0.1, "sharpe": 1.0, "cost_bps": 9.0, "invested": share}
             for capital, share in ((1e5, 0.98), (1e9, 0.4))]  # fmt: skip
    costs = [{"multiple": 1.0, "cagr": 0.1, "sharpe": 1.0, "cost_bps": 9.0, "invested": 0.98}]
    curves = {"costs": costs, "sizes": sizes, "impact": 1.0, "volume_cap": 0.1, "assumed": True, "break_even": {}}
    seen = replace(inputs, evidence=EVIDENCE | {"curves": curves})
    assert "of USD 1,000,000,000 only 40% was invested" in page_of(seen)
    sizes[1]["invested"] = 0.97
    assert "was invested, and its Sharpe" not in page_of(seen) and "Sent again:" not in page_of(seen)
    again = inputs.transactions.assign(reason="rebalance, sent again after a margin refusal")
    assert "Sent again: the buy opened above the cash" in page_of(replace(seen, transactions=again))


def page_of(inputs):
    return render(inputs, {}, [one for one in SECTIONS if one.anchor == "trading"])
