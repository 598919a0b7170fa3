"""Loading stays within the seconds that were promised for it."""

import pytest

from tests.benchmarks.load import LIMIT, measure, write_market


def test_a_small_market_is_measured_stage_by_stage(tmp_path):
    write_market(tmp_path / "market.parquet", symbols=12, bars=300)
    row = measure([tmp_path / "market.parquet"], repeat=1)
    assert (row["symbols"], row["bars"]) == (12, 12 * 299)
    assert row["clean"] > 0 and row["panel"] > 0 and row["ratio"] > 0


@pytest.mark.acceptance
def test_the_real_panel_of_731_symbols_takes_four_seconds_at_most(real_data):
    row = measure([real_data / "us_stocks.parquet", real_data / "us_etfs.parquet"], repeat=1)
    assert row["symbols"] == 731 and row["panel"] <= LIMIT
