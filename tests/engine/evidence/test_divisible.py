"""What whole shares leave in cash is neither skill nor the lack of it."""

from dataclasses import replace

import pandas as pd
import pytest

from clusterfolio.engine.evidence.assessment import assess
from clusterfolio.engine.evidence.divisible import in_divisible_shares, whole_shares
from clusterfolio.engine.ledger.ledger import Ledger
from tests.conftest import three_clusters
from tests.engine.evidence.test_exposure import finished_run
from tests.engine.evidence.test_significance import decided


@pytest.fixture(scope="module")
def market():
    panel = replace(three_clusters(), simulated=True)
    return panel, [decided(panel, day) for day in panel.sessions[[150, 215, 280]]]


def run_of(folder, market, **trading):
    folder.mkdir()
    return finished_run(folder, *market, {"trading": trading, "significance": {"portfolios": 100}})


def test_the_same_decisions_in_divisible_shares_are_the_run_that_had_them(tmp_path, market):
    whole, split = (run_of(tmp_path / str(way), market, capital=1.0, fractional=way) for way in (False, True))
    found = in_divisible_shares(whole)
    assert found.config == split.config and whole.tables.transactions.empty
    for name in ("returns", "positions", "transactions"):
        tables = (getattr(run.tables, name) for run in (found, split))
        pd.testing.assert_frame_equal(*tables, check_names=False, check_dtype=False, check_index_type=False)
    for figure in ("sharpe", "total_return", "turnover"):
        assert found.tables.metrics["strategy"][figure] == pytest.approx(split.tables.metrics["strategy"][figure])
    assert whole_shares(whole, found)[0][1].startswith("The account holds whole shares, and 100.0% of it lay in cash")


@pytest.mark.acceptance
@pytest.mark.parametrize("capital", [1.0, 700.0])
def test_the_verdict_on_whole_shares_is_the_verdict_on_the_same_decisions(tmp_path, market, capital):
    whole, split = (run_of(tmp_path / str(way), market, capital=capital, fractional=way) for way in (False, True))
    idle = whole.tables.positions["cash"] / whole.tables.positions.sum(axis=1)
    assert idle.mean() > 0.1  # whole shares leave much in cash
    one, two = (assess(run, Ledger(tmp_path / "none.sqlite")) for run in (whole, split))
    for number, row in enumerate(two.evidence["claims"]):
        assert one.evidence["claims"][number] == pytest.approx(row), row["claim"]
    assert one.evidence["primary"] == pytest.approx(two.evidence["primary"])
    assert one.luck["sharpe"].to_numpy() == pytest.approx(two.luck["sharpe"].to_numpy())
    assert one.baselines.to_numpy() == pytest.approx(two.baselines.to_numpy(), nan_ok=True)
    assert one.verdict.headline == two.verdict.headline
    supports = [text.replace("account, had it been in divisible shares,", "account") for text in one.verdict.supports]
    assert supports == two.verdict.supports and one.evidence["divisible"] and not two.evidence["divisible"]
    said = dict(one.verdict.caveats)["Whole shares"]
    assert f"{idle.mean():.1%} of it lay in cash" in said and "Whole shares" not in dict(two.verdict.caveats)


def test_divisible_shares_stay_what_they_are(tmp_path, market):
    run = run_of(tmp_path / "run", market)
    assert in_divisible_shares(run) is run


def test_a_guard_looks_at_the_decisions_again_and_one_that_is_gone_leaves_the_run_as_it_is(tmp_path, market):
    class Out:
        """Sells everything at its first look."""

        guard_every = 5

        def guard(self, weights, panel, state):
            return weights * 0.0, {}

    run = run_of(tmp_path / "run", market, fractional=False)
    found = in_divisible_shares(replace(run, guard=Out()))
    assert found.tables.transactions.empty and found.config.trading.fractional
    forgotten = replace(run, tables=replace(run.tables, run=run.tables.run | {"guard_every": 5}))
    assert in_divisible_shares(forgotten) is forgotten
