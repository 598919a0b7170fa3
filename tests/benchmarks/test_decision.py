import pytest

from tests.benchmarks.decision import measure


@pytest.mark.acceptance
def test_every_kind_is_asked_and_timed():
    found = measure(["search", "trajectory"], 30, None)
    assert list(found) == ["search", "trajectory"]
    for row in found.values():
        assert 0 < row["assets"] <= 30 and min(row.values()) >= 0
