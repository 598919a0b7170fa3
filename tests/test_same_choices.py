"""Searched clusters, picks chosen together: engine, random portfolios and leak check choose the same."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from clusterfolio.engine.assembly.market import read_source, universe_symbols
from clusterfolio.engine.cli.main import main
from clusterfolio.engine.evidence.draws import Decided, as_they_are
from clusterfolio.engine.leakage.of_run import SHORT, RunHistories
from clusterfolio.engine.run_dir.finished import reopen
from clusterfolio.engine.trading.vectorised import simulate
from clusterfolio.strategies.policy import PortfolioState, ask
from tests.market_files import run_options

JOINT = ("clustering.n_clusters=6", "selection.by=joint", "selection.names=4", "selection.head_start=0.5",
         "selection.apart_sessions=120")  # fmt: skip


@pytest.fixture(scope="module")
def finished(market, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "joint"
    told = CliRunner().invoke(main, run_options(market, out, *(part for one in JOINT for part in ("--set", one))))
    assert told.exit_code == 0, told.output
    run = reopen(out)
    assert run.config.embedding.kind == "search" and len(run.decisions) > 6
    return run


def picks(decision):
    return sorted(decision.weights.index[decision.weights > 0])


def test_random_portfolios_that_draw_nothing_are_the_run(finished):
    chosen, days = [], pd.DatetimeIndex([decision.asof for decision in finished.decisions])

    class Told(Decided):
        def choose(self, number, rows, accounts):
            found, weights = super().choose(number, rows, accounts)
            chosen.append(sorted(finished.panel.symbols[found[0][found[0] >= 0]]))
            return found, weights

    drawn = Told(as_they_are, finished.panel, finished.decisions, finished.holding_on, 1)
    trading = finished.config.trading
    found = simulate(finished.panel, drawn, days, trading, finished.guard, finished.cash)
    assert chosen == [picks(decision) for decision in finished.decisions]
    np.testing.assert_allclose(found.net[0], finished.tables.returns["strategy"], atol=1e-9)


def test_the_leak_check_decides_as_the_run_did(finished, tmp_path):
    config = replace(finished.config, train=replace(finished.config.train, **SHORT))  # nothing chosen hangs on it
    inputs = RunHistories(config, read_source(config, universe_symbols(config)), None, tmp_path).build(None, None, 0)
    start, end = (pd.Timestamp(day) for day in finished.tables.run["training"]["span"])
    policy = inputs.make()
    policy.fit(inputs.panel.until(end), start)
    for decision in finished.decisions:
        held = finished.tables.positions.loc[decision.asof]
        held = (held / held.sum()).drop("cash")
        again = ask(policy, inputs.panel.until(decision.asof), PortfolioState(held[held > 0]))
        assert picks(again) == picks(decision)
        pd.testing.assert_series_equal(
            again.weights[picks(again)], decision.weights[picks(decision)], check_names=False
        )
