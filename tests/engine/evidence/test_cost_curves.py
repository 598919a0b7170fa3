"""Cost and capacity curves: the run itself among their points, and each point what the engine makes of it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.evidence.cost_curves import MULTIPLES, SIZES, cost_curves
from clusterfolio.engine.evidence.rivals import Replay
from clusterfolio.engine.evidence.under_rules import without_rules
from clusterfolio.engine.report.sections.trading import break_even_words
from clusterfolio.engine.trading.backtest import run_backtest
from tests.conftest import three_clusters
from tests.engine.evidence.test_exposure import finished_run, held


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A year of three names a month, in a market of 20 to 60 thousand shares a day."""
    panel, rng, made = replace(three_clusters(), simulated=True), np.random.default_rng(4), []
    panel = replace(panel, volume=panel.volume * rng.uniform(20, 60, panel.volume.shape))
    for day in panel.sessions[np.arange(150, 410, 21)]:
        made.append(held(day, dict.fromkeys(rng.choice(panel.tradable, 3, replace=False), 0.3)))
    return finished_run(tmp_path_factory.mktemp("run"), panel, made)


@pytest.fixture(scope="module")
def found(run):
    return cost_curves(run, run.cash)


def by_engine(run, trading):
    days = pd.DatetimeIndex([decision.asof for decision in run.decisions])
    replay = Replay(run.decisions)
    return run_backtest(run.panel, lambda now: replay, days, trading, cash=run.cash)


def test_the_run_is_the_point_at_its_own_costs(run, found):
    own = run.tables.metrics["strategy"]
    row = found["costs"][MULTIPLES.index(1.0)]
    assert (row["cagr"], row["sharpe"]) == pytest.approx((own["cagr"], own["sharpe"]))
    assert row["cost_bps"] == pytest.approx(
        own["costs"]["bps_per_year"], rel=0.05
    )  # of the account then, or on average
    assert found["costs"][0]["cost_bps"] == 0.0
    assert np.all(np.diff([row["sharpe"] for row in found["costs"]]) < 0)
    assert np.all(np.diff([row["sharpe"] for row in found["sizes"][:3]]) < 0)  # more money, more impact


@pytest.mark.parametrize("size", [SIZES[1], SIZES[3]])
def test_an_account_of_another_size_is_what_the_engine_makes_of_it(run, found, size):
    assert (found["impact"], found["volume_cap"], found["assumed"]) == (1.0, 0.1, True)
    trading = replace(run.config.trading, capital=size * 1e5, impact=1.0, volume_cap=0.1)
    row = found["sizes"][SIZES.index(size)]
    result = by_engine(run, trading)
    assert row["capital"] == size * 1e5 and result.costs["impact"].sum() > 0
    net = result.returns["strategy"]
    assert row["cagr"] == pytest.approx((1 + net).prod() ** (252 / len(net)) - 1)
    assert row["invested"] == pytest.approx(1 - (result.positions["cash"] / result.value).iloc[1:].mean())


def test_at_its_break_even_a_run_earns_what_it_is_held_against(run, found):
    for name, rival in (("cash", run.cash), ("benchmark", run.tables.returns["benchmark"])):
        multiple = found["break_even"][name]
        if not multiple:
            continue
        net = by_engine(run, replace(run.config.trading, cost_multiplier=multiple)).returns["strategy"]
        assert net.mean() * 252 == pytest.approx(rival.reindex(net.index).mean() * 252, abs=2e-3)
    assert set(found["break_even"]) == {"cash", "benchmark"}


def test_without_rules_a_run_that_has_none_is_itself_its_interest_included(run):
    own, free = run.tables.returns["strategy"], without_rules(run)
    np.testing.assert_allclose(free, own, atol=1e-10)


def test_what_cannot_be_traded_again_has_no_curve(run):
    facts = run.tables.run
    for more in ({"judged": True}, {"guard_every": 5}):
        assert cost_curves(replace(run, tables=replace(run.tables, run=facts | more)), run.cash) is None


def test_the_break_even_in_words(run, found):
    words = found | {"break_even": {"cash": None, "benchmark": 2.345}}
    said = break_even_words(replace(run.tables, evidence={"curves": words}))
    assert said.endswith("over cash at more than 8 times the stated costs, and over MKT at 2.3 times the stated costs.")
    words["break_even"]["benchmark"] = 0.0
    said = break_even_words(replace(run.tables, evidence={"curves": words}))
    assert said.endswith("and over MKT at no cost: there is none.") and break_even_words(run.tables) == ""
