"""The cluster's benchmark: both sides do the same trials and find the same."""

import pytest

from tests.benchmarks.cluster import measure, say


@pytest.mark.acceptance
def test_trials_on_two_workers_find_what_one_process_does():
    pytest.importorskip("distributed", reason="pip install 'clusterfolio[cluster]'")
    found = measure(trials=2, workers=2, assets=24, epochs=1)
    assert found["equal"] and found["spread"]["cpu"] > 0
    assert "results equal" in say(found)
