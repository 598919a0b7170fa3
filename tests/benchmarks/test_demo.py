"""What the pages say of the made-up market, on seeds that nothing was chosen on."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from clusterfolio.feeds.sources import simulated
from clusterfolio.feeds.sources.simulated import SimulatedConfig, planted_on, truth
from clusterfolio.strategies import classical
from clusterfolio.strategies.diversification import between_clusters, cluster_gap, correlations
from clusterfolio.strategies.embedding import EmbeddingConfig
from clusterfolio.strategies.returns_embedding import EmbeddedReturns
from tests.benchmarks import demo
from tests.benchmarks.embedding import clustered


def figures(seed: int) -> pd.DataFrame:
    """Adjusted Rand index with the planted clusters, (a) and (b) of two years' clusters on the third, by method."""
    config = SimulatedConfig(seed=seed, start="2023-01-02", flaws=False)
    planted, days = truth(config), pd.bdate_range(config.start, config.end)
    returns = simulated._dollar_log_returns(planted, len(days), config)
    known, later, names = returns[:504], correlations(returns[504:]), list(planted.index)
    searched = EmbeddedReturns(pd.DataFrame(known, columns=names), EmbeddingConfig(), 20).rows(names)
    rows = {"search": searched.to_numpy(), "pca": classical.principal_components(known),
            "svd": classical.singular_components(known)}  # fmt: skip
    home, found = planted_on(planted, days[503]), {}
    for method, embedded in rows.items():
        labels = clustered(embedded, names).to_numpy()
        found[method] = {
            "planted": adjusted_rand_score(home, labels),
            "gap": cluster_gap(later, labels),
            "between": between_clusters(later, labels),
        }
    return pd.DataFrame(found).T


def test_searched_clusters_stay_further_apart_and_classical_ones_name_more_of_the_planted_groups():
    found = sum(figures(seed) for seed in (40, 41)) / 2
    for method in ("pca", "svd"):
        assert found.loc["search", "gap"] > found.loc[method, "gap"] + 0.01
        assert found.loc["search", "between"] < found.loc[method, "between"] - 0.01
        assert found.loc["search", "planted"] < found.loc[method, "planted"]
    assert (found["planted"] > 0.3).all() and (found["planted"] < 0.9).all()  # hard, and not hopeless


@pytest.mark.acceptance
def test_the_command_prints_its_tables(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["demo", "--seeds", "30", "--methods", "classes", "pca20", "search"])
    demo.main()
    printed = capsys.readouterr().out
    assert "| search | " in printed and "ARI planted" in printed
    monkeypatch.setattr("sys.argv", ["demo", "--seeds", "30", "--likeness"])
    demo.main()
    values = [line.split("|")[2].split()[0] for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(values) > 20 and np.isfinite(np.array(values, dtype=float)).all()
