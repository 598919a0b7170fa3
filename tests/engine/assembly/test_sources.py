"""A source of prices is an entry of one dictionary, and a run asks it for no more and no less than it needs."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from clusterfolio.engine.assembly.market import load_market, universe_symbols
from clusterfolio.engine.config.run import make_config
from clusterfolio.feeds.sources.catalogue import SOURCES, Source
from clusterfolio.feeds.sources.simulated import BENCHMARK, SimulatedConfig, simulate

MARKET = SimulatedConfig(n_assets=8, n_clusters=2, start="2023-01-03", end="2024-06-28", flaws=False)
DATES = {"train_start": "2023-04-03", "train_end": "2023-12-29", "start": "2024-01-02", "end": "2024-06-14",
         "history_days": 60}  # fmt: skip


@pytest.fixture
def exchange(monkeypatch):
    """A source of ones own, entered under the name "exchange"; what it was asked for."""
    asked = []

    def read(request):
        asked.append(request)
        return simulate(MARKET)

    monkeypatch.setitem(SOURCES, "exchange", Source(read, benchmark=BENCHMARK, takes_path=True, has_shipped=False))
    return asked


def test_a_source_of_ones_own_is_one_entry(exchange):
    config = make_config({"data": {"source": "exchange", "path": ["somewhere"]}, "dates": DATES})
    market = load_market(config)
    panel, verdicts = market.panel, market.verdicts
    (request,) = exchange
    assert request.symbols is None and request.path == (Path("somewhere"),) and request.settings is None
    assert (request.start, request.end) == (pd.Timestamp("2023-02-02"), pd.Timestamp("2024-06-14"))
    assert panel.benchmark == BENCHMARK and panel.dates[-1] == pd.Timestamp("2024-06-14")
    built_in = load_market(make_config({"simulated": vars(MARKET), "dates": DATES}))
    pd.testing.assert_frame_equal(panel.close, built_in.panel.close)
    pd.testing.assert_frame_equal(verdicts, built_in.verdicts)


def test_the_benchmark_and_the_rates_are_asked_for_with_the_universe(exchange, tmp_path):
    universe = tmp_path / "mine.csv"
    universe.write_text("symbol,currency\nVOD.L,GBp\nSAP.DE,EUR\n", encoding="utf-8")
    settings = {"source": "exchange", "path": ["x"], "universe": str(universe), "benchmark": "MKT"}
    with pytest.raises(ValueError, match="MKT"):  # the made-up market has none of them
        load_market(make_config({"data": settings, "dates": DATES}))
    (request,) = exchange
    assert list(request.symbols[:3]) == ["VOD.L", "SAP.DE", "MKT"]
    assert {"GBPUSD=X", "EURUSD=X"} <= set(request.symbols)


def test_a_source_without_a_list_is_not_asked_for_everything(monkeypatch):
    monkeypatch.setitem(SOURCES, "broker", Source(lambda request: simulate(MARKET), "default", lists_all=False))
    config = make_config({"data": {"source": "broker"}})
    assert len(universe_symbols(config)) > 100
    everything = replace(config, data=replace(config.data, universe="all"))
    with pytest.raises(ValueError, match="'all' has no meaning for source 'broker'"):
        universe_symbols(everything)


def test_an_unknown_source_is_refused_and_the_known_ones_are_named():
    with pytest.raises(ValueError, match="got 'bloomberg', expected one of simulated, files, yahoo"):
        make_config({"data": {"source": "bloomberg"}})
