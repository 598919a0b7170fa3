"""A finished run beside `paper` on the local venue over the same days: the line's model is the run's own account."""

import json

import pandas as pd
import pytest

from tests.market_files import DATES, source_options
from tests.test_commands import invoke


@pytest.mark.acceptance
@pytest.mark.parametrize("fractional", ["true", "false"])
def test_the_model_of_the_daily_line_is_the_account_of_the_run(market, tmp_path, fractional):
    out, home = tmp_path / "first", tmp_path / "account"
    options = ("--policy", "tests.engine.live.own_policy:Momentum", "--set", "significance.on=false",
               "--set", "trading.costs=false", "--set", f"trading.fractional={fractional}")  # fmt: skip
    invoke("run", *source_options(market), *DATES, *options, "--out", out, "--quiet", "--no-report")
    value = pd.read_csv(out / "positions.csv", index_col=0).sum(axis=1)
    found = json.loads(invoke("paper", "run", out, "--trust", "-q", "--home", home, "--start", value.index[0],
                              "--sessions", "70", "--json").stdout)  # fmt: skip
    days = pd.read_csv(home / "days.csv", index_col=0)
    both = days.index.intersection(value.index)
    assert len(both) == 70 and found["halted"] == ""
    pd.testing.assert_series_equal(days.loc[both, "model"], value[both], check_names=False, rtol=0, atol=0.01)
    assert (days["unexplained"].abs() < 0.01).all()
