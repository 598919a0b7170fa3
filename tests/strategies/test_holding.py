"""The rules of picking and weighing by hand, all together for any prices, and the engine beside the vectorised path."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.engine.evidence.draws import Decided, as_they_are, partitions_by_lot, picks_by_lot
from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.vectorised import simulate
from clusterfolio.strategies.allocation import ALLOCATORS, AllocationConfig, Allocator
from clusterfolio.strategies.holding import Frictions, Holding
from clusterfolio.strategies.incumbents import picked
from clusterfolio.strategies.no_trade import banded, half_width
from clusterfolio.strategies.policy import Clusters, Decision, PortfolioState
from clusterfolio.strategies.risk.config import RiskConfig
from clusterfolio.strategies.risk.rules import RiskRules, unscaled
from clusterfolio.strategies.selection import SelectionConfig
from clusterfolio.strategies.shrinkage import mean_correlation, shrunk
from tests.conftest import make_panel, random_closes

SYMBOLS = [f"S{n:02}" for n in range(12)]
PLAIN = ("equal", "inverse_volatility", "softmax")
BASE = SelectionConfig(sharpe_sessions=60, hysteresis=21)
JOINT = SelectionConfig(sharpe_sessions=60, by="joint", apart_sessions=60)


def holding(selection=BASE, allocate="equal", costs=1.0, buffer=0.02, **allocation):
    config = AllocationConfig(sessions=60, **allocation)
    return Holding(selection, Allocator(allocate, config), frictions=Frictions(costs, buffer))


def clusters_of(panel, n_clusters=4, seed=0, **beside):
    names = list(panel.tradable)
    labels = pd.Series(np.random.default_rng(seed).permutation(np.arange(len(names)) % n_clusters), names)
    return Clusters(labels=labels, classes=panel.assets.loc[names, "asset_class"], **beside)


def walks(seed=0, n_days=200, deviation=0.02, bps=10.0):
    closes = random_closes(n_days, ["MKT", *SYMBOLS], seed=seed, volatility=deviation)
    panel = make_panel(closes, closes.shift(1).fillna(100.0), commission_bps=bps / 2, half_spread_bps=bps / 2)
    panel.assets.loc["MKT", "tradable"] = False
    panel.assets["asset_class"] = ["etf"] + ["equity", "etf", "equity"] * 4
    return panel


# By hand -----------------------------------------------------------------------------------------------------------


def test_james_and_stein_keep_what_is_more_than_noise():
    """Five ratios around 0 whose squares sum to 10, of ten years: (5 - 3) * 0.1004 / 10 is taken."""
    found = shrunk(np.array([2.0, 1.0, 0.0, -1.0, -2.0]), 2520, 0.0)
    noise = 0.1 * (1 + 2.0 / 252 / 2)
    assert found.kept == pytest.approx(1 - 2 * noise / 10)
    assert found.error == pytest.approx(np.sqrt(found.kept * noise + noise / 5))
    # What is common to all names does not set them apart, but moves their mean.
    common = shrunk(np.array([2.0, 1.0, 0.0, -1.0, -2.0]), 2520, 0.8)
    assert common.kept == pytest.approx(1 - 2 * noise * 0.2 / 10)
    assert common.error == pytest.approx(np.sqrt(common.kept * noise * 0.2 + noise * (0.8 + 0.2 / 5)))
    assert shrunk(np.array([1.0, 0.0, -1.0, 0.5]), 60, 0.0).kept == 0.0  # all noise
    assert shrunk(np.array([1.0, 0.0]), 252, 0.0).kept == 0.0 and shrunk(np.array([np.nan]), 252, 0.0).kept == 0.0


def test_shrunk_ratios_are_nearer_the_truth_and_their_error_is_what_it_says():
    """True ratios of spread 0.3, returns with a common part: of many worlds the mean squared error."""
    rng = np.random.default_rng(0)
    raw, drawn, stated, kept = [], [], [], []
    for _ in range(60):
        truth = 0.5 + 0.3 * rng.standard_normal(80)
        noise = np.sqrt(0.4) * rng.standard_normal((252, 1)) + np.sqrt(0.6) * rng.standard_normal((252, 80))
        returns = pd.DataFrame(0.01 * (noise + truth / np.sqrt(252)))
        ratios = (returns.mean() / returns.std() * np.sqrt(252)).to_numpy()
        found = shrunk(ratios, 252, mean_correlation(returns))
        raw.append(np.square(ratios - truth).mean())
        drawn.append(np.square(found.of(ratios) - truth).mean())
        stated.append(found.error**2)
        kept.append(found.kept)
    assert np.mean(drawn) < 0.6 * np.mean(raw)
    assert np.mean(stated) == pytest.approx(np.mean(drawn), rel=0.25)
    assert np.mean(kept) == pytest.approx(0.09 / (0.09 + 0.6), abs=0.03)  # spread over spread and what sets apart


def test_mean_correlation_is_the_mean_over_pairs():
    rng = np.random.default_rng(1)
    returns = pd.DataFrame(rng.standard_normal((300, 6)) + rng.standard_normal((300, 1)))
    pairs = returns.corr().to_numpy()[np.triu_indices(6, 1)]
    assert mean_correlation(returns) == pytest.approx(pairs.mean(), abs=0.01)


@pytest.mark.parametrize(
    ("scores", "held", "k", "expected"),
    [
        ([1.0, 2.0, 3.0], [0, 0, 0], 1, [0, 0, 1]),  # nobody is held: the best
        ([1.0, 2.0, 3.0], [1, 0, 0], 1, [0, 0, 1]),  # 2 * 0.01 > 0.005 + 0.005
        ([2.5, 2.0, 3.0], [1, 0, 0], 1, [1, 0, 0]),  # 0.5 * 0.01 < 0.01
        ([2.5, 2.9, 3.0], [1, 1, 0], 1, [0, 1, 0]),  # of two the better stays
        ([np.nan, 2.0, 3.0], [1, 0, 0], 1, [0, 0, 1]),  # without a ratio nobody stays
        ([1.0, 2.0, 3.0, 4.0], [1, 0, 0, 0], 2, [0, 0, 1, 1]),  # one place was free, the other pays: 3 - 1
        ([2.2, 2.0, 3.0, 4.0], [1, 0, 0, 0], 2, [1, 0, 0, 1]),  # 3 - 2.2 does not
        ([1.0, 2.0, 3.0, 4.0], [1, 1, 0, 0], 2, [0, 0, 1, 1]),  # 3 for 2? no: 4 goes first, for 1, then 3 for 2
        ([1.0, 2.5, 3.0, 4.0], [1, 1, 0, 0], 2, [0, 1, 0, 1]),
        ([np.nan, np.nan], [0, 0], 1, [0, 0]),
    ],
)  # fmt: skip
def test_an_incumbent_stays_unless_the_edge_beats_the_cost(scores, held, k, expected):
    worth = 0.0101  # so that an edge of 1 pays, and one of 0.99 does not
    found = picked(np.array([scores]), np.array([held], dtype=bool), k, worth, np.full(len(scores), 0.005))
    assert found[0].astype(int).tolist() == expected


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 9))
def test_many_accounts_pick_what_each_would_alone(seed, k, size):
    rng = np.random.default_rng(seed)
    scores = np.where(rng.random((20, size)) < 0.1, np.nan, rng.normal(0, 1, (20, size)))
    held, cost = rng.random((20, size)) < 0.3, rng.uniform(0, 0.01, size)
    found = picked(scores, held, k, 0.005, cost)
    assert found.sum(axis=1).tolist() == np.minimum(np.isfinite(scores).sum(axis=1), k).tolist()
    for row in range(20):
        assert (picked(scores[[row]], held[[row]], k, 0.005, cost)[0] == found[row]).all()
    free = picked(scores, held, k, 1e9, np.zeros(size))
    best = [sorted(row[np.isfinite(row)])[::-1][:k] for row in scores]
    assert [sorted(row[one])[::-1] for row, one in zip(scores, free, strict=True)] == best


def test_the_band_is_the_formula():
    """pi = 0.5, gamma = 2, one way 0.5 %: (3/8 * 1/16 * 0.01) ** (1/3)."""
    assert half_width(0.5, 0.005, 2.0) == pytest.approx((3 / 8 / 16 * 0.01) ** (1 / 3))
    assert half_width(0.0, 0.005, 2.0) == half_width(1.0, 0.005, 2.0) == half_width(0.3, 0.0, 1.0) == 0.0


@pytest.mark.parametrize(
    ("target", "held", "expected"),
    [
        ([0.4, 0.4], [0.43, 0.36], [0.43, 0.36]),  # both inside: nothing is traded
        ([0.4, 0.4], [0.5, 0.2], [0.45, 0.35]),  # each to its nearer edge
        ([0.4, 0.4], [0.5, 0.37], [0.45, 0.37]),
        ([0.4, 0.4], [0.0, 0.37], [0.43, 0.37]),  # bought anew, it takes what is missing
        ([0.4, 0.4], [0.0, 0.0], [0.4, 0.4]),
        ([0.4, 0.6], [0.44, 0.63], [0.37, 0.63]),  # 0.07 too much: the furthest above gives way, in one trade
        ([0.4, 0.0], [0.42, 0.3], [0.42, 0.0]),  # what is not wanted goes
    ],
)
def test_weights_inside_their_band_stay(target, held, expected):
    found = banded(np.array([target]), np.array([held]), np.full((1, 2), 0.05))
    np.testing.assert_allclose(found[0], expected, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 0.2), st.floats(0.1, 1.0), st.floats(0.3, 1.0))
def test_bands_keep_the_sum_and_the_caps(seed, half, name_cap, class_cap):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(-1, 3, (8, 6))
    target = np.array([Allocator("softmax", AllocationConfig(caps="on", name_cap=name_cap, class_cap=class_cap)).cap(
        row, one) for row, one in zip(rng.dirichlet(np.ones(6), 8), kinds, strict=True)])  # fmt: skip
    target *= rng.random((8, 6)) < 0.8
    held = rng.dirichlet(np.ones(6), 8) * rng.uniform(0, 1.02, (8, 1))
    halves = np.where(target > 0, half, 0.0)
    found = banded(target, held, halves, name_cap, kinds, class_cap)
    assert np.isfinite(found).all() and (found >= 0).all() and (found.sum(axis=1) <= 1 + 1e-7).all()
    assert (np.abs(found - target) <= halves + 1e-9).all()
    assert (found <= np.maximum(name_cap, target) + 1e-9).all()
    for kind in range(3):
        of_kind = np.where(kinds == kind, found, 0.0).sum(axis=1)
        assert (of_kind <= np.maximum(class_cap, np.where(kinds == kind, target, 0.0).sum(axis=1)) + 1e-7).all()


# The rule as a whole -------------------------------------------------------------------------------------------------


def look(rule, panel, clusters, **held):
    return rule.hold(clusters, panel, PortfolioState(pd.Series(held, dtype=float)))


def test_a_kept_name_says_for_what_it_was_not_exchanged():
    panel = walks()
    clusters = clusters_of(panel)
    fresh = look(holding(), panel, clusters)
    best, labels = fresh.selected[0], clusters.labels
    rival = fresh.sharpe[labels.index[labels == labels[best]].drop(best)].idxmax()
    kept = look(holding(costs=100.0), panel, clusters, **{rival: 0.2})
    assert kept.selected[0] == rival and fresh.selected[1:] == kept.selected[1:]
    why = kept.reasons[rival]
    assert why.startswith(f"hysteresis: kept {rival}, {best}'s edge 0.") and why.endswith("< cost 20.00 %")
    gone = look(holding(costs=0.0), panel, clusters, **{rival: 0.2})
    assert gone.selected == fresh.selected and (gone.reasons[best], gone.reasons[rival]) == (
        why.replace(f"kept {rival}, {best}'s", f"replaces {rival},").replace("< cost 20.00 %", "> cost 0.00 %"),
        why.replace(f"kept {rival}, {best}'s", f"left for {best},").replace("< cost 20.00 %", "> cost 0.00 %"),
    )


def test_the_edge_by_hand():
    """Two names whose ratios differ by a known amount: kept part times volatility times a month."""
    panel = walks()
    clusters = clusters_of(panel)
    rule = holding(costs=100.0)
    fresh = look(rule, panel, clusters)
    best, labels = fresh.selected[0], clusters.labels
    members = labels.index[labels == labels[best]]
    rival = fresh.sharpe[members.drop(best)].idxmax()
    span = panel.session_returns()[labels.index].iloc[-60:]
    ratios = span.mean() / span.std() * np.sqrt(252)
    noise = 252 / 60 * (1 + np.square(ratios).mean() / 252 / 2) * (1 - mean_correlation(span))
    part = max(0.0, 1 - (len(ratios) - 3) * noise / np.square(ratios - ratios.mean()).sum())
    edge = part * (ratios[best] - ratios[rival]) * span[members].std().mean() * np.sqrt(252) * 21 / 252
    assert f"edge {edge:.2%}".replace("%", " %") in look(rule, panel, clusters, **{rival: 0.2}).reasons[rival]


def test_a_cluster_without_a_positive_bound_is_left_out_and_its_money_goes_where_it_is_told():
    panel = walks()
    clusters = clusters_of(panel)
    free = look(holding(replace(BASE, skip_confidence=0.0)), panel, clusters)
    rule = holding(replace(BASE, skip_confidence=0.5))
    outlook = rule.outlook(
        panel.session_returns(), panel.assets, free.sharpe, clusters.labels, clusters.classes
    )  # fmt: skip
    good = [name for name in free.selected if outlook.belief.of(free.sharpe[name]) > 0]
    for confidence in (0.5, 0.6, 0.7, 0.8, 0.9):
        rule = holding(replace(BASE, skip_confidence=confidence))
        good = [name for name in free.selected if outlook.belief.bound(free.sharpe[name], confidence) > 0]
        found = look(rule, panel, clusters)
        assert found.selected == good and found.weights.sum() == pytest.approx(1.0 if good else 0.0)
        in_cash = look(holding(replace(BASE, skip_confidence=confidence), freed="cash"), panel, clusters)
        assert in_cash.weights.tolist() == pytest.approx([0.25] * len(good))
    assert found.reasons[free.selected[0]].startswith("skip: its cluster's best Sharpe ratio is above -")


def test_doubtful_clusters_and_embeddings_get_less():
    panel = walks()
    clusters = clusters_of(panel)
    firm = clusters.labels.map({0: 1.0, 1: 0.5, 2: 1.0, 3: 0.5}).astype(float)
    unsure = pd.Series(1.0, clusters.labels.index)
    plain = replace(BASE, hysteresis=0)
    picks = look(holding(plain), panel, clusters).selected
    unsure[picks[0]] = 4.0
    shown = replace(clusters, stability=firm, uncertainty=unsure)
    both = look(holding(plain, membership=1.0, variance=0.5, freed="cash"), panel, shown)
    assert both.weights[picks].tolist() == pytest.approx([0.125, 0.125, 0.25, 0.125])
    rest = look(holding(plain, membership=1.0, variance=0.5), panel, shown)
    assert rest.weights[picks].tolist() == pytest.approx([0.2, 0.2, 0.4, 0.2])
    assert rest.reasons[picks[0]] == "doubt: weight times 0.50" and picks[2] not in rest.reasons
    capped = look(holding(plain, membership=1.0, variance=0.5, caps="on", name_cap=0.3, class_cap=1.0), panel, shown)
    assert capped.weights[picks].tolist() == pytest.approx([0.7 / 3, 0.7 / 3, 0.3, 0.7 / 3])


EVERYTHING = {"no_trade": 1.0, "membership": 1.0, "variance": 1.0}


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 10_000), st.sampled_from(PLAIN), st.sampled_from(["rest", "cash"]), st.sampled_from(["on", "off"]),
    st.floats(0.1, 10.0), st.integers(1, 2), st.sampled_from([0.0, 0.6]),
)  # fmt: skip
def test_whatever_is_on_weights_are_weights_and_prices_have_no_scale(seed, how, freed, caps, scale, k, confidence):
    """Finite, at least 0, summing with cash to 1, under the caps; the account's size does not come in at all."""
    check_weights(seed, how, freed, caps, scale, k, confidence)


@pytest.mark.parametrize("how", [name for name in ALLOCATORS if name not in PLAIN])
def test_so_with_every_allocator_that_needs_an_optimiser(how):
    pytest.importorskip("skfolio", reason="pip install 'clusterfolio[risk]'")
    check_weights(3, how, "rest", "on", 7.0, 1, 0.6)


def check_weights(seed, how, freed, caps, scale, k, confidence):
    rng = np.random.default_rng(seed)
    panel = walks(seed % 50, deviation=0.005 + 0.03 * rng.random())
    names = list(panel.tradable)
    shown = clusters_of(
        panel, seed=seed, stability=pd.Series(rng.uniform(0.2, 1, 12), names),
        uncertainty=pd.Series(rng.lognormal(0, 1, 12), names),
    )  # fmt: skip
    selection = replace(BASE, per_cluster=k, skip_confidence=confidence)
    rule = holding(selection, how, caps=caps, freed=freed, name_cap=0.3, class_cap=0.7, **EVERYTHING)
    held = dict(zip(rng.choice(names, 5, replace=False), rng.dirichlet(np.ones(6))[:5] * 0.98, strict=True))
    found = look(rule, panel, shown, **held).weights
    assert np.isfinite(found).all() and (found >= 0).all() and found.sum() <= 1 + 1e-7 and found.index.is_unique
    if rule.allocate.has_caps:
        assert (found <= 0.3 + 1e-9).all()
        of_class = found.groupby(panel.assets["asset_class"]).sum()
        assert len(set(panel.assets.loc[found.index, "asset_class"])) < 2 or (of_class <= 0.7 + 1e-7).all()
    fields = {name: getattr(panel, name) * scale for name in ("open", "high", "low", "close")}
    other = look(rule, replace(panel, **fields), shown, **held).weights
    pd.testing.assert_series_equal(found, other, rtol=1e-6, atol=1e-9)


# Engine and vectorised path ------------------------------------------------------------------------------------------

ALONE = {
    "hysteresis": holding(costs=20.0),
    "two of a cluster": holding(replace(BASE, per_cluster=2), costs=20.0),
    "no-trade band": holding(replace(BASE, hysteresis=0), "inverse_volatility", no_trade=1.0),
    "skip": holding(replace(BASE, hysteresis=0, skip_confidence=0.6)),
    "skip into cash": holding(replace(BASE, hysteresis=0, skip_confidence=0.6), freed="cash"),
    "joint": holding(JOINT),
    "joint, fewer names": holding(replace(JOINT, names=3, head_start=0.5)),
    "joint, skip into cash": holding(replace(JOINT, names=3, skip_confidence=0.6), freed="cash"),
    "doubt": holding(replace(BASE, hysteresis=0), "softmax", membership=1.0, variance=0.5),
    "everything": holding(replace(BASE, skip_confidence=0.5), "softmax", costs=5.0, **EVERYTHING, caps="on",
                          name_cap=0.4, class_cap=0.8),
}  # fmt: skip

#: Rules between decisions that scale what is held: a band must look through them.
SCALED = RiskConfig(volatility_target=0.1, trailing_stop=0.1, name_volatility=0.3, max_drawdown=0.05, stop_every=5)


class Held:
    """Holds what the rule makes of clusters that it is told."""

    def __init__(self, told, rule, risk=None):
        self.told, self.rule, self.risk, self.made = told, rule, risk or RiskConfig(), []
        self.guard_every = self.risk.every

    def decide(self, panel, state):
        day = panel.dates[-1]
        found = self.rule.hold(self.told[day], panel, unscaled(state, self.risk))
        self.made.append(Decision.of(day, self.told[day], found))
        return self.made[-1]

    def guard(self, weights, panel, state):
        return RiskRules(self.risk).guard(weights, panel, state)


@pytest.fixture(scope="module", params=range(2))
def market(request):
    panel = walks(request.param, n_days=260)
    closes = panel.close.copy()
    closes.iloc[150:185, 3] = np.nan  # silent for long
    panel = replace(panel, **{name: getattr(panel, name).where(closes.notna()) for name in ("open", "high", "low")},
                    close=closes, volume=panel.volume.where(closes.notna()))  # fmt: skip
    days = panel.sessions[90:250:20]
    rng = np.random.default_rng(request.param)
    told = {}
    for number, day in enumerate(days):
        unsure = pd.Series(rng.lognormal(0, 0.5, 12), panel.tradable)
        firm = pd.Series(rng.uniform(0.3, 1, 12), panel.tradable)
        told[day] = clusters_of(panel, seed=number // 2, uncertainty=unsure, stability=firm)
    return panel, days, told


@pytest.mark.parametrize(
    ("rule", "risk"), [*((rule, None) for rule in ALONE), ("no-trade band", SCALED), ("everything", SCALED)]
)
def test_engine_and_vectorised_path_agree_to_the_cent_with_every_rule(market, rule, risk):
    panel, days, told = market
    trading, policy = TradingConfig(), Held(told, ALONE[rule], risk)
    result = run_backtest(panel, lambda now: policy, days, trading)
    drawn = Decided(as_they_are, panel, policy.made, lambda day: ALONE[rule], 1, risk=risk)
    found = simulate(panel, drawn, days, trading, policy if risk else None)
    np.testing.assert_allclose(found.net[0], result.returns["strategy"], atol=1e-10)
    assert found.value[0] == pytest.approx(result.value.iloc[-1], abs=0.01)
    kinds = {why.partition(":")[0] for why in result.transactions["reason"]}
    said = {why.partition(":")[0] for decision in policy.made for why in decision.reasons.values()}
    assert said and (risk or kinds & said), "no rule ever acted"  # a guard, asked last, has the last word


def test_a_name_inside_its_band_is_not_traded_at_all():
    panel = walks(5)
    days = panel.sessions[91::20]
    rule = holding(replace(BASE, hysteresis=1), costs=1000.0, no_trade=0.001)  # nobody is exchanged, bands are wide
    policy = Held(dict.fromkeys(days, clusters_of(panel)), rule)
    trades = run_backtest(panel, lambda now: policy, days, TradingConfig(costs=False)).transactions
    later = trades[trades["date"] > panel.sessions[92]]
    # But for what a gain has taken from the cash that is to be kept: one name gives it back.
    assert (later["amount"] < 0).all() and later["date"].is_unique and later["value"].abs().max() < 500
    assert len(trades) - len(later) == 4 and len(days) > 5


@pytest.mark.parametrize("deal", [picks_by_lot, partitions_by_lot])
def test_portfolios_drawn_by_lot_are_under_the_rules_and_repeat(market, deal):
    panel, days, told = market
    policy = Held(told, ALONE["everything"])
    run_backtest(panel, lambda now: policy, days, TradingConfig())

    def once(n, rule=ALONE["everything"]):
        return simulate(panel, Decided(deal, panel, policy.made, lambda day: rule, n), days, TradingConfig())

    one, two = once(12), once(12)
    np.testing.assert_array_equal(one.net, two.net)
    assert len(np.unique(one.value)) > 8
    kept, free = once(12, ALONE["hysteresis"]), once(12, holding(replace(BASE, hysteresis=0)))
    assert kept.traded.mean() < 0.7 * free.traded.mean()  # names drawn by lot are kept, too


def test_picks_by_lot_are_drawn_evenly_from_each_cluster():
    groups = [(np.array([[0, 1, 2]]), np.array([[3.0, 2.0, 1.0]])), (np.array([[3, 4]]), np.array([[0.5, np.nan]]))]
    (_, scores), _ = picks_by_lot(groups, 30_000, np.random.default_rng(0))
    won = np.bincount(scores.argmax(axis=1)) / len(scores)
    np.testing.assert_allclose(won, 1 / 3, atol=0.01)
    dealt = partitions_by_lot(groups, 5000, np.random.default_rng(0))
    assert [members.shape for members, _ in dealt] == [(5000, 3), (5000, 2)]
    together = np.sort(np.concatenate([members for members, _ in dealt], axis=1), axis=1)
    assert (together == np.arange(5)).all()
