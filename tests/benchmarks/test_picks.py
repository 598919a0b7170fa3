import numpy as np
import pandas as pd
import pytest

from clusterfolio.strategies.diversification import log_returns
from tests.benchmarks import picks
from tests.conftest import make_panel


@pytest.fixture(scope="module")
def panel():
    """Thirty groups of two that move together, beside a market, over three and a half years."""
    rng = np.random.default_rng(0)
    dates = pd.bdate_range("2017-06-01", "2020-12-31")
    factors = rng.standard_normal((len(dates), 30)).repeat(2, axis=1)
    returns = 0.01 * (0.8 * factors + 0.4 * rng.standard_normal(factors.shape))
    names = pd.Index(["MKT", *(f"A{i:02d}" for i in range(60))], dtype=object)
    closes = pd.DataFrame(100 * np.exp(np.column_stack([returns.mean(axis=1), returns]).cumsum(axis=0)), dates, names)
    panel = make_panel(closes, benchmark="MKT")
    panel.assets.loc["MKT", "tradable"] = False
    return panel


def test_picks_of_planted_groups_make_as_many_bets_as_names(panel, monkeypatch):
    monkeypatch.setattr(picks, "decision_days", lambda *_: pd.DatetimeIndex(["2019-12-31", "2020-01-31"]))
    chosen, labels = picks.run(panel, [2020], [30], "search")
    assert {name[:3] for name in labels[30][pd.Timestamp("2019-12-31")].index} <= set(panel.tradable)
    table = {rule: picks.figures(of, log_returns(panel), [2020]) for (_, rule), of in chosen.items()}
    assert table["best Sharpe ratio"]["names"] == 30 and table["joint, 4"]["names"] == 20
    assert table["joint, 4"]["bets"] > 17.5  # of 20
    assert table["joint, 4, held ahead by 1"]["turnover"] <= table["joint, 4"]["turnover"]
