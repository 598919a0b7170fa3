"""The growth's benchmark finds the exponents of known powers, and times the parts of a run."""

import pytest

from tests.benchmarks.growth import exponents, measure_here, table


def test_exponents_of_known_powers():
    rows = [
        {"assets": n, "years": 1, "decisions": 12, "peak_mb": 300.0,
         "cpu": {"fit": n / 10, "backtest": n**2 / 1e4, "eigen": 0.01}}
        for n in (100, 300, 1000)
    ]  # fmt: skip
    assert exponents(rows) == {"fit": 1.0, "backtest": 2.0, "eigen": None, "peak_mb": 0.0}
    assert "backtest" in table(rows) and table(rows).count("\n") == 5
    assert exponents(rows[:1])["fit"] is None


@pytest.mark.acceptance
def test_every_part_of_a_small_rolling_run_is_timed():
    found = measure_here(
        24, 1, {"simulated": {"n_clusters": 4}, "clustering": {"n_clusters": 4}, "significance": {"portfolios": 100}}
    )
    assert found["decisions"] == 12 and all(seconds > 0 for seconds in found["cpu"].values())
    assert found["cpu"]["eigen"] < found["cpu"]["decide"] + found["cpu"]["passports"] < found["cpu"]["backtest"]
