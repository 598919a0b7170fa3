"""Each rule by hand, all together for any prices, the engine beside the vectorised path, and a poisoned future."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.engine.trading.vectorised import Targets, simulate
from clusterfolio.strategies.policy import Decision, PortfolioState, guarded
from clusterfolio.strategies.risk import recent, volatility
from clusterfolio.strategies.risk.config import RiskConfig
from clusterfolio.strategies.risk.rules import RiskRules
from tests.conftest import make_panel, random_closes

SYMBOLS = "ABCDEF"

#: Every rule that looks at prices and at the account, tight enough to act.
EVERYTHING = RiskConfig(
    stop=0.08, trailing_stop=0.1, atr_stop=6.0, take_profit=0.2, cool_down=15, volatility_target=0.12,
    name_volatility=0.3, max_drawdown=0.06, drawdown_sessions=20, max_exposure=0.9,
)  # fmt: skip


class Ruled(RiskRules):
    """Holds what it is told, under the rules."""

    def __init__(self, chosen, config):
        super().__init__(config)
        self.chosen = chosen

    def decide(self, panel, state):
        return Decision(panel.dates[-1], self.chosen[panel.dates[-1]])


def falling(*closes):
    """A panel of one name A with these closes (its opens the same), and a flat benchmark."""
    days = pd.bdate_range("2024-01-01", periods=len(closes))
    table = pd.DataFrame({"A": np.array(closes, dtype=float), "B": 100.0}, days)
    return make_panel(table, benchmark="B")


def look(config, panel, weights=None, **state):
    weeks = (len(panel.dates) - 1) // 5
    held = PortfolioState(decided=panel.dates[-1 - 5 * weeks], **state)
    wanted = pd.Series({"A": 0.5} if weights is None else weights, dtype=float)
    memory = {"base": wanted.to_dict()} | dict(state.get("memory", {}))
    return guarded(RiskRules(config), wanted, panel, replace(held, memory=memory))


# By hand -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "closes", "why"),
    [
        ({"stop": 0.1}, (100, 95, 89), "stop, 11.0 % > 10.0 % under its entry"),
        ({"stop": 0.1}, (100, 95, 91), ""),
        ({"trailing_stop": 0.2}, (100, 200, 159), "trailing stop, 20.5 % > 20.0 % under its high"),
        ({"trailing_stop": 0.2}, (100, 200, 161), ""),
        ({"take_profit": 0.5}, (100, 120, 151), "take-profit, 51.0 % > 50.0 % above its entry"),
        # Ranges of 10, 10 and 21, 13.7 on average; 21 under the high.
        ({"atr_stop": 1.0, "atr_sessions": 3}, (100, 110, 120, 99), "ATR stop, 1.5 > 1.0 ranges under its high"),
    ],
)
def test_a_stop_fires_at_its_limit_and_says_why(config, closes, why):
    panel = falling(*closes)
    found = look(RiskConfig(**config), panel, entries={"A": panel.dates[0]})
    assert found.reasons == ({"A": why} if why else {})
    assert found.weights.get("A", 0.0) == (0.0 if why else 0.5)


def test_a_name_that_was_stopped_stays_out_until_it_has_cooled_down():
    panel = falling(*[100, 80] + [80] * 10)
    config = RiskConfig(stop=0.1, cool_down=5)
    rules = RiskRules(config)
    first = look(config, panel.until(panel.dates[1]), entries={"A": panel.dates[0]})
    assert first.memory["out"] == {"A": str(panel.dates[1].date())}
    for row, held in ((4, 0.0), (6, 0.5)):  # decided 3 and 5 sessions later
        now = panel.until(panel.dates[row])
        again = guarded(rules, pd.Series({"A": 0.5}), now, PortfolioState(decided=now.dates[-1], memory=first.memory))
        assert again.weights.get("A", 0.0) == held
        assert ("A" in again.reasons) == (held == 0.0)


def test_the_target_volatility_by_hand():
    """Daily moves of 1 % either way: 15.87 % a year; half in the name makes 7.94 %."""
    panel = falling(*(100 * np.cumprod(1 + 0.01 * np.resize([1, -1], 300))))
    config = RiskConfig(volatility_target=0.05, feedback=0.0)
    found = look(config, panel)
    expected = 0.05 / (0.5 * 0.01 * np.sqrt(252))
    assert found.weights["A"] == pytest.approx(0.5 * expected, rel=1e-3)
    assert found.reasons["A"] == "volatility target 5.0 %: 7.9 % expected (EWMA), exposure 0.63, was 1.00"
    calm = look(replace(config, volatility_target=0.2), panel)
    assert calm.weights["A"] == 0.5 and not calm.reasons  # no leverage


def test_a_small_change_of_the_exposure_is_not_traded_between_decisions():
    panel = falling(*(100 * np.cumprod(1 + 0.01 * np.resize([1, -1], 300))))
    config = RiskConfig(volatility_target=0.05, feedback=0.0)
    exposure = look(config, panel).memory["exposure"]
    for off, traded in ((0.019, False), (0.021, True)):
        found = look(config, panel, memory={"exposure": exposure + off}, weights={"A": 0.5})
        assert (found.memory["exposure"] == exposure) is traded


def test_one_name_is_scaled_to_its_own_limit():
    panel = falling(*(100 * np.cumprod(1 + 0.02 * np.resize([1, -1], 300))))
    found = look(RiskConfig(name_volatility=0.2), panel)
    assert found.weights["A"] == pytest.approx(0.5 * 0.2 / (0.02 * np.sqrt(252)), rel=1e-3)


def test_feedback_holds_an_account_that_ran_too_wild_smaller():
    panel = falling(*(100 * np.cumprod(1 + 0.01 * np.resize([1, -1], 300))))
    wild = pd.Series(100 * np.cumprod(1 + 0.02 * np.resize([1, -1], 60)), panel.dates[-60:])
    config = RiskConfig(volatility_target=0.05, feedback=0.5, persistence=0.25)
    found = look(config, panel, values=wild)
    e = np.log(0.02 * np.sqrt(252) / 0.05)
    assert found.memory["correction"] == pytest.approx(0.75 * max(-0.5 * e, -1), rel=0.01)
    plain = look(replace(config, feedback=0.0), panel, values=wild).memory["exposure"]
    assert found.memory["exposure"] == pytest.approx(plain * np.exp(found.memory["correction"]))


def test_the_circuit_breaker_cuts_and_comes_back_by_rule():
    panel = falling(*[100.0] * 12)
    config = RiskConfig(max_drawdown=0.1, drawdown_exposure=0.4, drawdown_sessions=3)
    values = pd.Series([100, 105, 94.5, 94, 94, 94, 90], panel.dates[:7])
    memory, held = {"base": {"A": 0.5}}, []
    for row in range(7):
        now = panel.until(panel.dates[row])
        state = PortfolioState(decided=panel.dates[0], values=values.iloc[: row + 1], memory=memory)
        weights = pd.Series({"A": held[-1] if held else 0.5})
        found = guarded(RiskRules(config), weights, now, state)
        memory, held = found.memory, [*held, found.weights["A"]]
    assert held == [0.5, 0.5, 0.2, 0.2, 0.2, 0.5, 0.5]  # 94.5 is 10 % under 105; from 94 on the peak counts anew


def test_garch_has_the_variance_of_what_it_was_simulated_with():
    from arch import arch_model

    model = arch_model(None, mean="Zero", vol="GARCH", p=1, q=1)
    made = model.simulate([0.02, 0.08, 0.90], 1000, x=None)["data"].to_numpy()
    found, by = volatility.forecast(made / 100, "garch", 21)
    fitted = arch_model(made, mean="Zero", vol="GARCH", p=1, q=1, rescale=False).fit(disp="off")
    five = np.sqrt(fitted.forecast(horizon=5, reindex=False).variance.to_numpy().mean() * 252) / 100
    assert by == "GARCH" and found == pytest.approx(five, rel=0.02)
    assert volatility.forecast(made[:100], "garch", 21)[1] == "EWMA, as GARCH has no answer"


def test_ewma_weighs_the_newest_most():
    rng = np.random.default_rng(0)
    calm, wild = rng.normal(0, 0.005, 200), rng.normal(0, 0.02, 60)
    assert volatility.ewma(np.r_[calm, wild], 10) == pytest.approx(0.02 * np.sqrt(252), rel=0.25)
    assert volatility.ewma(np.r_[wild, calm], 10) == pytest.approx(0.005 * np.sqrt(252), rel=0.25)


# Any prices ----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.003, 0.05), st.floats(0.1, 10.0), st.integers(1, 20))
def test_weights_stay_weights_and_prices_have_no_scale(seed, deviation, scale, passed):
    closes = random_closes(320, SYMBOLS, seed=seed, volatility=deviation)
    rng = np.random.default_rng(seed)
    weights = pd.Series(rng.dirichlet(np.ones(6)), list(SYMBOLS))
    values = pd.Series(np.exp(np.cumsum(rng.normal(0, deviation, 40))), closes.index[-40:])
    entries = {name: closes.index[-int(rng.integers(1, 40))] for name in SYMBOLS}
    memory = {"base": weights.to_dict(), "peak": float(values.max())}
    found = []
    for factor in (1.0, scale):
        state = PortfolioState(
            entries=entries, decided=closes.index[-1 - passed], values=values * factor,
            memory=memory | {"peak": memory["peak"] * factor},
        )  # fmt: skip
        found.append(guarded(RiskRules(EVERYTHING), weights, make_panel(closes * factor), state).weights)
    one, two = found
    assert np.isfinite(one).all() and (one >= 0).all() and one.sum() <= weights.sum() + 1e-12
    assert (one <= weights.reindex(one.index) + 1e-12).all()
    pd.testing.assert_series_equal(one, two, rtol=1e-9)


def test_the_state_survives_a_restart():
    panel = falling(*[100, 80] + [80] * 10)
    found = look(EVERYTHING, panel, entries={"A": panel.dates[0]}, values=pd.Series([1.0, 0.9], panel.dates[:2]))
    state = PortfolioState(
        pd.Series({"A": 0.3}),
        0.7,
        {"A": panel.dates[0]},
        panel.dates[0],
        pd.Series([1.0], panel.dates[:1]),
        found.memory,
    )
    again = PortfolioState.from_plain(json.loads(json.dumps(state.plain())))
    assert again.memory == found.memory and again.entries == state.entries and again.decided == state.decided
    pd.testing.assert_series_equal(again.weights, state.weights)
    pd.testing.assert_series_equal(again.values, state.values, check_freq=False)


def test_recent_prices_are_the_panel_s():
    closes = random_closes(200, SYMBOLS, seed=3)
    closes.iloc[120:135, 1] = np.nan
    closes.iloc[:150, 2] = np.nan
    panel = make_panel(closes, sessions=closes.index[::2])
    names = ["B", "C", "F"]
    np.testing.assert_array_equal(recent.session_closes(panel, names, 60), panel.session_closes()[names].iloc[-60:])
    returns = panel.session_returns()[names].iloc[-60:].fillna(0.0)
    np.testing.assert_allclose(recent.session_returns(panel, names, 60), returns, atol=1e-15)


# Engine and vectorised path ------------------------------------------------------------------------------------------

ALONE = {
    "stop": RiskConfig(stop=0.05),
    "trailing": RiskConfig(trailing_stop=0.06, stop_every=3),
    "atr": RiskConfig(atr_stop=3.0),
    "profit": RiskConfig(take_profit=0.05),
    "volatility": RiskConfig(volatility_target=0.1),
    "two half-lives": RiskConfig(volatility_target=0.1, half_life=5, slow_half_life=63, exposure_band=0.1),
    "garch": RiskConfig(volatility_target=0.1, forecast="garch", volatility_every=20),
    "names": RiskConfig(name_volatility=0.2),
    "breaker": RiskConfig(max_drawdown=0.04, drawdown_sessions=10),
    "everything": EVERYTHING,
}


@pytest.fixture(scope="module", params=range(2))
def market(request):
    closes = random_closes(330, SYMBOLS, seed=request.param, volatility=0.02)
    closes.iloc[180:215, 2] = np.nan  # silent for long
    rng = np.random.default_rng(request.param)
    panel = make_panel(closes, commission_bps=2.0, half_spread_bps=3.0)
    days = panel.sessions[[120, 160, 200, 240, 280]]
    chosen = {day: pd.Series(0.3, sorted(rng.choice(list(SYMBOLS), 3, replace=False))) for day in days}
    return panel, days, chosen


@pytest.mark.parametrize("rule", ALONE)
def test_engine_and_vectorised_path_agree_to_the_cent_with_every_rule(market, rule):
    panel, days, chosen = market
    trading, policy = TradingConfig(), Ruled(chosen, ALONE[rule])
    result = run_backtest(panel, lambda now: policy, days, trading)
    picks = np.array([[panel.symbols.get_indexer(chosen[day].index) for day in days]])
    found = simulate(panel, Targets(picks, np.full(picks.shape, 0.3)), days, trading, policy)
    np.testing.assert_allclose(found.net[0], result.returns["strategy"], atol=1e-10)
    assert found.value[0] == pytest.approx(result.value.iloc[-1], abs=0.01)
    reasons = set(result.transactions["reason"]) - {"rebalance", "stopped trading"}
    assert reasons, "no rule ever acted"


def test_a_stop_trades_its_own_name_only(market):
    panel, days, chosen = market
    trades = run_backtest(panel, lambda now: Ruled(chosen, RiskConfig(stop=0.05)), days, TradingConfig()).transactions
    fired = trades[trades["reason"].str.startswith("stop, ")]
    between = trades[~trades["date"].isin([panel.sessions[panel.sessions.get_loc(day) + 1] for day in days])]
    assert len(fired) and (fired["amount"] < 0).all()
    assert set(between["reason"]) <= {*fired["reason"], "stopped trading"}


# The future ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [200, 240, 290])
def test_no_later_price_reaches_what_the_rules_decide(market, row):
    panel, days, chosen = market
    cut = panel.sessions[row]
    rng = np.random.default_rng(row)
    fields = ("open", "high", "low", "close", "volume")
    poison = {name: _poisoned(getattr(panel, name), panel.dates > cut, rng) for name in fields}
    other = replace(panel, **poison)
    policy = Ruled(chosen, EVERYTHING)
    one, two = (run_backtest(each, lambda now: policy, days, TradingConfig()) for each in (panel, other))
    known = [table.transactions[table.transactions["date"] <= cut] for table in (one, two)]
    assert len(known[0])
    pd.testing.assert_frame_equal(*known, check_exact=True)


def _poisoned(frame, later, rng):
    return frame.where(~np.repeat(later[:, None], frame.shape[1], axis=1), frame * rng.uniform(0.2, 5.0))
