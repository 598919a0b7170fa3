"""Panels and policies that tests share; everything is seeded and made up."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from clusterfolio.feeds.panel import Panel, make_assets
from clusterfolio.strategies.policy import Decision
from tests.market_files import write_market

REPOSITORY = Path(__file__).resolve().parents[1]

# The same examples everywhere, and no limit of seconds: how busy a machine is makes no test fail.
settings.register_profile("any machine", deadline=None, derandomize=True)
settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def own_ledger(tmp_path_factory):
    """No test, and no process that one starts, touches the ledger of the user who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLUSTERFOLIO_LEDGER", str(tmp_path_factory.mktemp("ledger") / "ledger.sqlite"))
        yield


@pytest.fixture(scope="session")
def market(tmp_path_factory) -> Path:
    """A folder with the files of a small made-up market, for runs from files; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("market")
    write_market(folder)
    return folder


def data_folder() -> Path:
    """Real prices for development; a test that needs them is skipped where they are absent."""
    folder = Path(os.environ.get("CLUSTERFOLIO_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "symbols.csv").is_file():
        pytest.skip(f"no real prices at {folder}; set CLUSTERFOLIO_DATA to a folder that has them")
    return folder


@pytest.fixture
def real_data() -> Path:
    return data_folder()


def make_panel(
    closes: pd.DataFrame, opens: pd.DataFrame | None = None, sessions=None, benchmark=None, **assets
) -> Panel:
    """A panel around these closes; opens default to the closes, volume is 1000; NaN in closes: no bar."""
    opens = closes if opens is None else opens.where(closes.notna())
    high, low = np.maximum(opens, closes), np.minimum(opens, closes)
    volume = closes.notna().astype(float).where(closes.notna()) * 1000
    table = make_assets(closes.columns)
    for name, value in assets.items():
        table[name] = value
    return Panel(
        open=opens,
        high=high,
        low=low,
        close=closes,
        volume=volume,
        assets=table,
        sessions=closes.index if sessions is None else sessions,
        benchmark=benchmark or closes.columns[0],
    )


def random_closes(
    n_days: int, symbols, seed: int = 0, start: str = "2024-01-01", volatility: float = 0.01
) -> pd.DataFrame:
    """Geometric random walks on weekdays."""
    rng = np.random.default_rng(seed)
    dates = pd.bdate_range(start, periods=n_days)
    steps = rng.normal(0.0003, volatility, (n_days, len(symbols)))
    return pd.DataFrame(100 * np.exp(steps.cumsum(axis=0)), index=dates, columns=pd.Index(list(symbols), dtype=object))


def three_clusters(n_days: int = 420, per_cluster: int = 6, seed: int = 0) -> Panel:
    """Three groups that move together inside (correlation about 0.7) and not across, symbols A0.., B0.., C0..."""
    rng = np.random.default_rng(seed)
    symbols = [f"{group}{i}" for group in "ABC" for i in range(per_cluster)]
    factor = np.repeat(rng.standard_t(5, (n_days, 3)), per_cluster, axis=1)
    own = rng.standard_t(5, (n_days, 3 * per_cluster))
    returns = 0.0003 + 0.008 * (np.sqrt(0.7) * factor + np.sqrt(0.3) * own)
    dates = pd.bdate_range("2023-01-02", periods=n_days)
    columns = pd.Index(["MKT", *symbols], dtype=object)
    returns = np.column_stack([returns.mean(axis=1), returns])
    closes = pd.DataFrame(100 * np.cumprod(1 + returns, axis=0), index=dates, columns=columns)
    opens = closes.shift(1).fillna(100.0) * (1 + 0.002 * rng.standard_normal(closes.shape))
    panel = make_panel(closes, opens, benchmark="MKT", commission_bps=0.5, half_spread_bps=1.0)
    panel.assets.loc["MKT", "tradable"] = False
    return panel


class FixedPolicy:
    """Holds the weights it was told, by date."""

    def __init__(self, weights: dict):
        self.weights = {pd.Timestamp(day): pd.Series(w, dtype=float) for day, w in weights.items()}
        self.states = []

    def fit(self, panel, start=None):
        return self

    def decide(self, panel, state) -> Decision:
        self.states.append(state)
        asof = panel.dates[-1]
        weights = self.weights[asof]
        labels = pd.Series(range(len(weights)), index=weights.index)
        return Decision(
            asof=asof,
            weights=weights,
            labels=labels,
            sharpe=pd.Series(1.0, index=weights.index),
            selected=list(weights.index),
            embeddings=pd.DataFrame(np.eye(len(weights)), index=weights.index),
        )
