"""What a run writes of its clusters comes from the policy that drew them."""

from unittest.mock import MagicMock

import pandas as pd

from clusterfolio.engine.jobs import run
from clusterfolio.strategies.cluster_policy import ClusterPolicy
from clusterfolio.strategies.policy import Decision


def test_the_encoders_embedding_is_that_of_the_policy_that_drew_the_last_clusters(monkeypatch, tmp_path):
    for name in ("promises", "passports", "importance_table"):
        monkeypatch.setattr(run, name, MagicMock())
    for name in ("write_promises", "write_passports", "write_importance", "write_encoded"):
        monkeypatch.setattr(run.artifacts, name, MagicMock())
    policies = {day: MagicMock(spec=ClusterPolicy) for day in pd.to_datetime(["2025-01-31", "2025-02-28"])}
    first, later = policies
    drew = Decision(first, pd.Series(dtype=float), labels=pd.Series([0, 1], ["A", "B"]))
    all_cash = Decision(later, pd.Series(dtype=float))  # trained anew since, and nothing was eligible
    panel = MagicMock()
    found = run.write_clusters(tmp_path, [drew, all_cash], MagicMock(), policies.__getitem__, panel)
    assert found is policies[first].encoded.return_value
    policies[first].encoded.assert_called_once_with(panel.until.return_value, ["A", "B"])
    panel.until.assert_called_once_with(first)
    run.importance_table.assert_called_once_with(policies[later], panel, all_cash)
