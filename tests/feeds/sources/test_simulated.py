from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.feeds.ingest import build_panel
from clusterfolio.feeds.sources import simulated_structure
from clusterfolio.feeds.sources.simulated import (
    BENCHMARK,
    BILL_VOLATILITY,
    CLASS_TRAITS,
    FOREX,
    LISTINGS,
    SimulatedConfig,
    planted_on,
    simulate,
    truth,
)
from clusterfolio.feeds.sources.simulated_bars import FLAWS
from clusterfolio.feeds.sources.simulated_structure import Homes, Loadings, group_sizes, shocks

CLEAN = SimulatedConfig(structure="blocks", regimes=False, flaws=False, foreign=0.0, turnover=0.0)
LONG = replace(CLEAN, n_assets=60, n_clusters=6, start="1990-01-01", end="2024-12-31", asset_classes=("equity",))


def total_returns(frame: pd.DataFrame) -> pd.Series:
    """Simple returns with splits undone and dividends reinvested on their day."""
    ratio = frame["split"].where(frame["split"] > 0, 1.0) if "split" in frame else 1.0
    paid = frame.get("dividend", 0.0)
    return (frame["close"] * ratio + paid) / frame["close"].shift() - 1


def dollars_per_unit(raw, currency: str) -> pd.Series:
    rate, units, _, _ = LISTINGS[currency]
    close = raw.bars[rate].frame["close"]
    return (close if rate.endswith("USD=X") else 1 / close) / units


@pytest.fixture(scope="module")
def default():
    return simulate()


@pytest.fixture(scope="module")
def default_truth():
    return truth(SimulatedConfig())


def test_the_default_market_is_large_mixed_and_long_enough(default, default_truth):
    assert default.simulated and not default.verdicts
    assert len(default.bars) >= 301
    assert default_truth["asset_class"].nunique() >= 5
    assert default_truth["planted_cluster"].nunique() == 20
    dates = default.bars[BENCHMARK].frame.index
    assert dates[-1] - dates[0] >= pd.Timedelta(days=3 * 365)
    assert list(default.assets.index) == list(default.bars)
    assert not default.assets.loc[BENCHMARK, "tradable"]
    assert default.assets["name"].str.startswith("Simulated").all()
    assert set(default.assets.columns) == set(
        ["name", "asset_class", "sector", "region", "currency", "commission_bps", "half_spread_bps", "tradable"]
    )


def test_the_same_seed_gives_the_same_bars_and_another_seed_others(default):
    again, other = simulate(SimulatedConfig()), simulate(SimulatedConfig(seed=1))
    for symbol, bars in default.bars.items():
        pd.testing.assert_frame_equal(bars.frame, again.bars[symbol].frame, check_exact=True)
    assert not default.bars[BENCHMARK].frame["close"].equals(other.bars[BENCHMARK].frame["close"])


def test_returns_correlate_as_planted_inside_and_between_clusters():
    raw, planted = simulate(CLEAN), truth(CLEAN)
    daily = pd.DataFrame({s: raw.bars[s].frame["close"] for s in planted.index}).index
    returns = pd.DataFrame({s: total_returns(raw.bars[s].frame) for s in planted.index}).reindex(daily)
    traded = planted.index[planted["asset_class"] != "forex"]  # forex has bars on days on which the others have none
    correlation = returns[traded].corr().to_numpy()
    same = planted.loc[traded, "planted_cluster"].to_numpy()
    same = same[:, None] == same
    apart = ~np.eye(len(traded), dtype=bool)
    assert correlation[same & apart].mean() == pytest.approx(0.5, abs=0.03)
    assert correlation[~same].mean() == pytest.approx(0.1, abs=0.03)


def test_a_market_has_a_large_block_unequal_groups_and_members_that_move_within_their_class(default_truth):
    sizes = default_truth["planted_cluster"].value_counts()
    assert sizes.index[0] == 0 and 0.2 < sizes.iloc[0] / len(default_truth) < 0.3 and sizes.iloc[1] > 2 * sizes.iloc[-1]
    moved = default_truth[default_truth["moves"].notna()]
    assert 0.1 < len(moved) / len(default_truth) < 0.4 and (moved["planted_cluster"] != moved["later_cluster"]).all()
    class_of = default_truth.groupby("planted_cluster")["asset_class"].first()
    assert (class_of[moved["later_cluster"]].to_numpy() == moved["asset_class"]).all()
    one = moved.index[0]
    day = moved.loc[one, "moves"]
    assert planted_on(default_truth, day - pd.Timedelta(days=1))[one] == moved.loc[one, "planted_cluster"]
    assert planted_on(default_truth, day)[one] == moved.loc[one, "later_cluster"]
    pd.testing.assert_series_equal(
        planted_on(default_truth, "2021-01-04"), default_truth["planted_cluster"], check_names=False
    )


def test_a_market_s_shocks_have_variance_1_and_the_loadings_correlation():
    """Gaussian, without drift of the factors: what the loadings say is what comes out."""
    rng = np.random.default_rng(0)
    classes = ["equity", "equity", "etf", "government_bond", "commodity", "forex"]
    groups = np.repeat(np.arange(6), group_sizes(60, 6))
    never = Homes(groups, np.full(60, 60_000), groups)
    loadings = Loadings(never, classes, rng)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated_structure, "DRIFT", 0.0)
        found = shocks(loadings, np.full(60, "XNYS"), None, rng, 60_000)
    expected = loadings.on(0, np.ones(loadings.n_factors))
    expected = expected @ expected.T
    np.fill_diagonal(expected, 1.0)
    np.testing.assert_allclose(np.cov(found.T), expected, atol=0.03)


def test_an_exchange_that_closes_earlier_answers_on_the_next_day():
    rng = np.random.default_rng(1)
    groups = np.zeros(3, dtype=int)
    loadings = Loadings(Homes(groups, np.full(3, 5000), groups), ["equity"], rng)
    one = np.array(["XNYS", "XETR", "XTKS"])
    found = shocks(loadings, one, None, rng, 5000)
    weights = loadings.on(0, np.ones(loadings.n_factors))
    for at, known in ((1, 0.7), (2, 0.35)):
        whole = weights[0] @ weights[at]
        assert np.mean(found[:, 0] * found[:, at]) == pytest.approx(known * whole, abs=0.05)
        assert np.mean(found[:-1, 0] * found[1:, at]) == pytest.approx((1 - known) * whole, abs=0.05)


def test_correlations_rise_in_a_crisis_and_tails_are_heavy():
    rng = np.random.default_rng(2)
    groups = np.zeros(40, dtype=int)
    loadings = Loadings(Homes(groups, np.full(40, 8000), groups), ["equity"], rng)
    crises = np.arange(8000) % 1000 < 150
    found = shocks(loadings, np.full(40, "XNYS"), crises, rng, 8000)
    within, calm = (np.corrcoef(found[days].T)[np.triu_indices(40, 1)].mean() for days in (crises, ~crises))
    assert within > calm + 0.1 and pd.DataFrame(found).kurt().median() > 1.5
    assert found.std(axis=0) == pytest.approx(np.ones(40), abs=0.15)


def test_all_true_sharpe_ratios_are_equal_without_skill():
    config = replace(LONG, skill=0.0)
    planted = truth(config)
    assert (planted["sharpe"] == config.sharpe).all()
    raw = simulate(config)
    returns = pd.DataFrame({s: total_returns(raw.bars[s].frame) for s in planted.index}).iloc[1:]
    excess = returns - config.cash_rate / 252
    sharpe = excess.mean() / excess.std() * np.sqrt(252)
    assert sharpe.mean() == pytest.approx(config.sharpe, abs=0.25)  # common factors: a standard error of about 0.07
    assert sharpe.std() < 0.25  # 35 years leave a standard error of about 0.17


@pytest.mark.parametrize("skill", [0.5, 2.0])
def test_skill_is_the_spread_of_true_sharpe_ratios_inside_a_cluster(skill):
    config = replace(LONG, skill=skill)
    planted = truth(config)
    assert planted.groupby("planted_cluster")["sharpe"].std(ddof=0).to_numpy() == pytest.approx(np.full(6, skill))
    raw = simulate(config)
    returns = pd.DataFrame({s: total_returns(raw.bars[s].frame) for s in planted.index}).iloc[1:]
    sharpe = returns.mean() / returns.std() * np.sqrt(252)
    assert np.corrcoef(sharpe, planted["sharpe"])[0, 1] > 0.9


@pytest.mark.parametrize("regimes", [False, True])
def test_volatility_is_the_planted_one_in_every_class(regimes):
    config = replace(CLEAN, regimes=regimes)
    raw, planted = simulate(config), truth(config)
    realised = pd.Series({s: total_returns(raw.bars[s].frame).std() * np.sqrt(252) for s in planted.index})
    np.testing.assert_allclose(realised / planted["volatility"], 1, atol=0.25 if regimes else 0.12)
    by_class = planted.groupby("asset_class")["volatility"].median()
    for name, (_, typical) in CLASS_TRAITS.items():
        assert by_class[name] == pytest.approx(typical, rel=0.25)


def test_bill_funds_hardly_move(default, default_truth):
    bills = default_truth.index[default_truth["volatility"] == BILL_VOLATILITY]
    assert len(bills) == 3
    for symbol in bills:
        assert total_returns(default.bars[symbol].frame).std() * np.sqrt(252) < 0.01


def test_regimes_bring_heavy_tails_and_clustered_volatility():
    wild, calm = simulate(replace(LONG, regimes=True)), simulate(LONG)
    wild, calm = (total_returns(raw.bars["SIM.EQ001"].frame).dropna() for raw in (wild, calm))
    assert wild.kurt() > 2 and abs(calm.kurt()) < 0.5
    assert wild.abs().rolling(20).mean().std() > 1.5 * calm.abs().rolling(20).mean().std()
    assert wild.std() == pytest.approx(calm.std(), rel=0.15)


def test_bars_enclose_open_and_close_where_no_flaw_is_planted(default, default_truth):
    for symbol in default_truth.index[default_truth["flaw"] == ""]:
        frame = default.bars[symbol].frame
        assert (frame["low"] <= frame[["open", "close"]].min(axis=1)).all()
        assert (frame["high"] >= frame[["open", "close"]].max(axis=1)).all()
        assert (frame["low"] > 0).all()
        assert frame.index.is_monotonic_increasing and frame.index.is_unique


def test_volume_persists_and_rises_with_the_size_of_returns(default):
    frame = default.bars[BENCHMARK].frame
    log_volume = np.log(frame["volume"])
    assert log_volume.autocorr() > 0.5
    assert log_volume.corr(total_returns(frame).abs()) > 0.2


def test_forex_has_no_volume_and_trades_on_every_weekday(default):
    frame = default.bars["EURUSD=X"].frame
    assert list(frame.columns) == ["open", "high", "low", "close"]
    assert frame.index.equals(pd.bdate_range("2021-01-04", "2025-12-31"))
    assert {"GBPUSD=X", "JPY=X"} <= set(default.bars)


@pytest.mark.parametrize("currency", LISTINGS)
def test_a_foreign_price_in_dollars_returns_what_was_planted(currency):
    config = replace(CLEAN, n_assets=24, n_clusters=2, asset_classes=("equity", "forex"), foreign=0.5, skill=0.0)
    raw, planted = simulate(config), truth(config)
    at_home = simulate(replace(config, foreign=0.0))
    symbol = planted.index[(planted["currency"] == currency) & (planted["asset_class"] == "equity")][0]
    frame = raw.bars[symbol].frame
    assert raw.bars[symbol].currency == currency
    rate = dollars_per_unit(raw, currency).reindex(frame.index)
    abroad = np.log1p(total_returns(frame)).cumsum() + np.log(rate / rate.iloc[0])
    home = np.log1p(total_returns(at_home.bars[symbol].frame)).cumsum()
    both = pd.concat([abroad, home], axis=1, sort=True).dropna()
    np.testing.assert_allclose(both.iloc[:, 0], both.iloc[:, 1], atol=1e-9)


def test_exchanges_keep_their_own_holidays(default, default_truth):
    assert pd.Timestamp("2024-07-04") not in default.bars[BENCHMARK].frame.index
    whole = default_truth[(default_truth["listed"] == "2021-01-04") & (default_truth["delisted"] == "2025-12-31")]
    european = whole.index[(whole["currency"] == "EUR") & (whole["flaw"] == "")][0]
    japanese = whole.index[(whole["currency"] == "JPY") & (whole["asset_class"] == "equity") & (whole["flaw"] == "")][0]
    assert pd.Timestamp("2024-07-04") in default.bars[european].frame.index
    assert pd.Timestamp("2024-05-01") not in default.bars[european].frame.index
    assert pd.Timestamp("2024-12-31") not in default.bars[japanese].frame.index


def test_some_assets_are_listed_late_and_some_stop_trading(default, default_truth):
    late = default_truth.index[default_truth["listed"] > "2021-01-04"]
    early = default_truth.index[default_truth["delisted"] < "2025-12-31"]
    assert len(late) == len(early) == 16
    for symbol in late:
        assert default.bars[symbol].frame.index[0] >= default_truth.loc[symbol, "listed"]
    for symbol in early:
        assert default.bars[symbol].frame.index[-1] <= default_truth.loc[symbol, "delisted"]


def test_splits_and_dividends_stand_beside_unadjusted_prices(default):
    split = [bars.frame for bars in default.bars.values() if bars.frame.get("split", pd.Series(0.0)).gt(0).any()]
    assert len(split) >= 5
    for frame in split[:5]:
        day = frame.index[frame["split"] > 0][0]
        unadjusted = frame["close"].pct_change().loc[day] + 1
        assert unadjusted == pytest.approx(1 / frame["split"].loc[day], rel=0.25)
        assert abs(total_returns(frame).loc[day]) < 0.25
    paying = [bars.frame for bars in default.bars.values() if bars.frame.get("dividend", pd.Series(0.0)).gt(0).any()]
    assert len(paying) > 100


def test_every_kind_of_flaw_is_planted_where_the_truth_says_so(default, default_truth):
    flawed = default_truth.index[default_truth["flaw"] != ""]
    assert set(default_truth.loc[flawed, "flaw"]) == set(FLAWS)
    assert BENCHMARK not in flawed and not set(flawed) & set(FOREX)
    clean = simulate(SimulatedConfig(flaws=False))
    for symbol in default_truth.index:
        same = default.bars[symbol].frame.equals(clean.bars[symbol].frame)
        assert same == (symbol not in flawed), symbol


def test_impossible_settings_are_refused_by_name():
    with pytest.raises(ValueError, match=r"within=0\.1"):
        SimulatedConfig(structure="blocks", within=0.1, between=0.5)
    with pytest.raises(ValueError, match=r"within, between: got 0\.7 and 0\.1; expected them with structure ="):
        SimulatedConfig(within=0.7)
    with pytest.raises(ValueError, match="structure: got 'wild', expected one of market, blocks"):
        SimulatedConfig(structure="wild")
    with pytest.raises(ValueError, match="n_clusters must be between 1 and n_assets=5, got 20"):
        SimulatedConfig(n_assets=5)
    with pytest.raises(ValueError, match="unknown \\['shares'\\]; available: equity"):
        SimulatedConfig(asset_classes=("shares",))
    with pytest.raises(ValueError, match="60 weekdays apart"):
        SimulatedConfig(start="2024-01-01", end="2024-02-01")


def test_ingestion_recovers_the_planted_market(default, default_truth):
    panel, verdicts = build_panel(default, benchmark=BENCHMARK, known=default.assets)
    assert panel.simulated and not panel.assets.loc[BENCHMARK, "tradable"]
    assert set(verdicts["verdict"]) <= {"used", "repaired"}
    told = ["zero_price", "spike", "duplicate_row", "unsorted", "high_below_low"]
    flawed = default_truth.index[default_truth["flaw"].isin(told)]
    assert (verdicts.loc[flawed, "verdict"] == "repaired").all()
    sound = default_truth.index[default_truth["flaw"] == ""]
    assert (verdicts.loc[sound, "verdict"] == "used").all()
    assert (panel.assets["asset_class"] != "unknown").all()

    whole = default_truth[(default_truth["listed"] == "2021-01-04") & (default_truth["delisted"] == "2025-12-31")]
    returns = panel.session_returns()[whole.index]
    realised = returns.std() * np.sqrt(252)
    np.testing.assert_allclose(realised / whole["volatility"], 1, atol=0.3)
    correlation = returns.corr().to_numpy()
    same = whole["planted_cluster"].to_numpy()[:, None] == whole["planted_cluster"].to_numpy()
    inside, across = correlation[same & ~np.eye(len(whole), dtype=bool)].mean(), correlation[~same].mean()
    assert inside > 0.35 and 0.1 < across < 0.35 and inside > across + 0.15
