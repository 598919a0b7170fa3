"""What the tests of paper trading share."""

import pytest

from tests.market_files import DATES, source_options
from tests.test_commands import invoke


@pytest.fixture(scope="session")
def finished(market, tmp_path_factory):
    """A finished run of a policy that learns nothing."""
    out = tmp_path_factory.mktemp("runs") / "first"
    policy = ("--policy", "tests.engine.live.own_policy:Momentum", "--set", "significance.on=false")
    invoke("run", *source_options(market), *DATES, *policy, "--out", out, "--quiet", "--no-report")
    return out
