"""What the first page answers: each figure is that of the run's own tables."""

from dataclasses import replace

import pandas as pd
import pytest

from clusterfolio.engine.report.page import render, sections_of
from clusterfolio.engine.report.sections.answers import answers
from tests.engine.report.test_report import all_cash, fake_run


@pytest.fixture(scope="module")
def inputs():
    return fake_run(120, n_decisions=4, sd=0.012)


def said(inputs):
    return {one.question: one.said for one in answers(inputs)}


def test_what_is_held_and_what_made_and_lost_the_money(inputs):
    found, last = said(inputs), inputs.positions.iloc[-1]
    held = (last / last.sum()).drop("cash").loc[lambda one: one > 0].nlargest(3)
    named = ", ".join(f"{name} {share:.1%}" for name, share in held.items())
    assert f"the largest {named}" in found["What does it hold?"]
    # What a name earned, by hand: its last value, less what was bought, plus what was sold, less costs.
    trades = inputs.transactions.assign(costs=lambda one: one[["commission", "spread", "impact"]].sum(axis=1))
    first = inputs.positions.index[0]
    later, before = trades[trades["date"] > first].groupby("symbol"), inputs.positions.loc[first].drop("cash")
    made = (last.drop("cash") - before).sub(later["value"].sum() + later["costs"].sum(), fill_value=0.0)
    best, least = made.idxmax(), made.idxmin()
    assert f"Most made: {best} {made[best]:,.0f}" in found["What made and lost the money?"]
    assert f"Most lost: {least} {made[least]:,.0f}".replace("-", "\u2212") in found["What made and lost the money?"]
    assert (
        f"USD {inputs.metrics['strategy']['costs']['total']:,.0f} in {len(trades):,} trades"
        in found["What did it cost?"]
    )


def test_each_of_two_falls_says_whose_it_is_and_what_the_other_did(inputs):
    found = said(inputs)["How bad was it at worst?"]
    for column, whose in (("strategy", "Its own"), ("benchmark", "SPY's")):
        wealth = (1 + inputs.returns[column]).cumprod()
        depth = wealth / wealth.cummax().clip(lower=1.0) - 1
        words = found.split(f"{whose} deepest fall, ")[1]
        assert f"to {depth.idxmin():%Y-%m-%d}" in words and f"{depth.min():.1%}".replace("-", "\u2212") in words
    page = render(inputs, {}, sections_of(tear_sheets=False))
    table = page[page.index("Deepest falls of each") :]
    table = table[: table.index("</table>")]
    assert '<th scope="row">The strategy</th>' in table and '<th scope="row">SPY</th>' in table


def test_march_2020_is_answered_where_a_run_has_it_and_named_where_not(inputs):
    real = replace(inputs, run=inputs.run | {"simulated": False})
    assert "March 2020 is not in the run" in said(real)["How bad was it at worst?"]
    assert "A made-up market has no March 2020" in said(inputs)["How bad was it at worst?"]
    days = pd.bdate_range("2020-01-02", periods=len(inputs.returns), name="date")
    then = replace(
        real, returns=inputs.returns.set_axis(days), positions=inputs.positions.set_axis(days),
        transactions=inputs.transactions.iloc[:0],
    )  # fmt: skip
    made = (1 + then.returns.loc["2020-02-20":"2020-03-23", "strategy"]).prod() - 1
    lost = f"{made:.1%}".replace("-", "\u2212")
    found = said(then)["How bad was it at worst?"]
    assert f"The fall of March 2020, 2020-02-20 to 2020-03-23: strategy {lost}" in found


def test_one_fall_that_is_several_is_told_once(inputs):
    days = pd.bdate_range("2020-01-02", periods=len(inputs.returns), name="date")
    down = pd.Series(0.001, days)
    down["2020-02-20":"2020-03-23"] = -0.01
    same = replace(
        inputs, returns=pd.DataFrame({"strategy": down, "benchmark": down}), positions=inputs.positions.set_axis(days),
        transactions=inputs.transactions.iloc[:0], run=inputs.run | {"simulated": False},
    )  # fmt: skip
    found = said(same)["How bad was it at worst?"]
    assert found.startswith("Its own deepest fall and SPY's deepest fall and the fall of March 2020, 2020-02-20 to")
    assert found.count("strategy") == 1


def test_it_beat_the_benchmark_by_luck_or_by_more(inputs):
    claim = {"claim": "the benchmark", "difference": 0.4, "p_adjusted": 0.3, "found": False}
    found = said(replace(inputs, evidence={"claims": [claim]}))["Did it beat SPY?"]
    own, other = (inputs.metrics[name]["total_return"] for name in ("strategy", "benchmark"))
    assert found.startswith("Yes" if own > other else "No")
    assert "Its Sharpe ratio alone led by no more than luck may give (0.40, p = 0.30 among 1 claims)." in found
    claim |= {"found": True, "p_adjusted": 0.02}
    evidence = {"claims": [claim], "verdict": {"claim": None, "sentence": "..."}}
    found = said(replace(inputs, evidence=evidence))["Did it beat SPY?"]
    assert found.index("That its picks show skill is not found.") < found.index("led by more than luck may give")
    evidence = {"claims": [claim], "verdict": {"claim": True}}
    assert "not found" not in said(replace(inputs, evidence=evidence))["Did it beat SPY?"]
    claim |= {"found": False, "difference": -0.2}
    assert "no higher (\u22120.20)" in said(replace(inputs, evidence={"claims": [claim]}))["Did it beat SPY?"]


def test_simpler_rules_that_earned_more_are_named(inputs):
    own = inputs.metrics["strategy"]["total_return"]
    rules = {"this strategy": own, "1/N": own - 0.1, "momentum 12-1": own + 0.2, "random clusters": own + 0.3}
    beside = pd.DataFrame({"total_return": rules}).assign(sharpe=1.0)
    found = said(replace(inputs, baselines=beside))["Did it beat SPY?"]
    assert found.endswith(
        f"2 of 3 simpler rules earned more: random clusters {own + 0.3:.1%}, momentum 12-1 {own + 0.2:.1%}."
    )
    assert "None of 1 simpler rules" in said(replace(inputs, baselines=beside.iloc[:2]))["Did it beat SPY?"]


def test_an_account_that_stayed_in_cash_says_so(inputs):
    found = said(all_cash(60))
    assert found["What does it hold?"].startswith("Cash alone") and "What made and lost the money?" not in found
