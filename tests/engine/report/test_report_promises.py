"""What decisions promised and what was kept, on the report page."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.evidence.promises import COLUMNS
from clusterfolio.engine.report.page import render
from clusterfolio.engine.report.sections.promises import SECTION, charts, promised_and_kept
from clusterfolio.engine.run_dir.artifacts import write_promises
from clusterfolio.engine.run_dir.tables import read_run
from tests.engine.report.test_report import fake_run, strictly, write_files


@pytest.fixture(scope="module")
def inputs():
    days = pd.date_range("2025-01-31", periods=4, freq="ME")
    table = pd.DataFrame(0.25, range(4), list(COLUMNS)).assign(
        date=days, n_picks=20, expected_bets=[18.0, 17.0, 16.0, 15.0], expected_bets_shown=16.5,
        kept_bets=[15.0, 15.5, 16.0, np.nan], kept_sessions=[252, 230, 210, 20], next_gap=[0.4, 0.3, 0.2, np.nan],
        ceiling_gap=[0.5, np.nan, np.nan, np.nan], ceiling_bets=[19.0, np.nan, np.nan, np.nan],
    )  # fmt: skip
    return replace(fake_run(), promises=table)


def section(inputs):
    page = strictly(render, inputs, {})
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page[: page.index("<footer>")]))


def test_the_page_says_what_was_expected_and_what_came_out(inputs):
    said = section(inputs)
    assert "each of 3 decisions, the 20 picks were expected to be worth 17.0 independent bets" in said
    assert "would show 16.5. 15.5 came out in the year after" in said
    assert "(210 to 252 sessions); 1 last decision had too few." in said
    assert "Effective bets of the picks 17.00 – 15.50 19.00" in said
    assert "Inside clusters less across (a) 0.25 0.30 0.25 0.50" in said


def test_the_chart_is_drawn_and_a_run_without_such_a_table_goes_without(inputs):
    drawn = charts(inputs)["promises"]
    assert [series.values.tolist() for series in drawn.panels[0].series][2] == [15.0, 15.5, 16.0]
    bare = replace(inputs, promises=None)
    assert SECTION.absent(bare) and "promised and kept" not in section(bare)
    young = inputs.promises.assign(kept_bets=np.nan)
    assert promised_and_kept(young) is None and "promised and kept" not in section(replace(inputs, promises=young))


def test_the_table_reads_back_as_it_was_written(inputs, tmp_path):
    write_files(tmp_path, inputs)
    write_promises(tmp_path, inputs.promises)
    assert promised_and_kept(read_run(tmp_path).promises) == promised_and_kept(inputs.promises)
