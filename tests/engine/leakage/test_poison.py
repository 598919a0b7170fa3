"""What a panel carries beside its prices gets another future too, and the same past."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.leakage.poison import WAYS, poison_panel
from tests.conftest import three_clusters


@pytest.mark.parametrize("way", WAYS)
def test_series_and_members_differ_after_the_day_and_only_there(way):
    panel = three_clusters(n_days=80)
    series = pd.DataFrame({"rate": 0.03, "fear": 20.0}, panel.dates)
    member = pd.DataFrame(True, panel.dates, panel.symbols)
    panel, day = replace(panel, exog=series, member=member), panel.dates[50]
    other = poison_panel(panel, day, WAYS[way], np.random.default_rng(0))
    assert other.exog.loc[:day].equals(series.loc[:day])
    assert other.member.loc[:day, panel.symbols.intersection(other.symbols)].to_numpy().all()
    later = other.dates[other.dates > day]
    assert (other.exog.loc[later] != series.loc[later]).to_numpy().all()
    assert not other.member.loc[later, panel.symbols.intersection(other.symbols)].to_numpy().any()
