"""Random names at a strategy's own exposure: against accounts kept by hand and portfolios counted out one by one."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clusterfolio.engine.config.run import make_config
from clusterfolio.engine.evidence.assessment import assess
from clusterfolio.engine.evidence.claims import primary
from clusterfolio.engine.evidence.exposure import Spell, average_name, exposure_of, random_names
from clusterfolio.engine.evidence.rivals import Replay
from clusterfolio.engine.ledger.ledger import Ledger
from clusterfolio.engine.run_dir import artifacts
from clusterfolio.engine.run_dir.finished import FinishedRun, recorded_decisions
from clusterfolio.engine.run_dir.tables import read_run
from clusterfolio.engine.trading.backtest import run_backtest
from clusterfolio.engine.trading.metrics import compute_metrics
from clusterfolio.feeds.writing import write_json
from clusterfolio.strategies.policy import Decision
from tests.conftest import make_panel, three_clusters
from tests.engine.evidence.verdict_worlds import account_of_names, counted_out, judged, names_record, tilted_record

NOTHING = pd.Series(dtype=float)
FILLS = ["date", "symbol", "level", "value"]


def held(asof, weights: dict) -> Decision:
    """A decision that states weights and nothing else."""
    known = {"excluded": {}, "notes": [], "linkage": np.empty((0, 4))}
    return Decision(asof, pd.Series(weights, dtype=float), pd.Series(dtype=int), NOTHING, [], pd.DataFrame(), known)


def finished_run(folder, panel, decisions, settings: dict | None = None) -> FinishedRun:
    config = make_config({"significance": {"portfolios": 200}, "data": {"benchmark": "MKT"}} | (settings or {}))
    days = pd.DatetimeIndex([decision.asof for decision in decisions])
    cash = pd.Series(0.0001, panel.sessions)
    result = run_backtest(panel, lambda now: Replay(decisions), days, config.trading, cash=cash)
    artifacts.write_tables(folder, result, panel.assets.assign(verdict="used", why="").rename_axis("symbol"), panel)
    metrics = compute_metrics(result, cash, panel.session_closes()[panel.benchmark])
    write_json(folder / "metrics.json", metrics)
    (folder / "config.toml").write_text("")
    days = [str(panel.dates[0].date()), str(panel.dates[-1].date())]
    facts = {"benchmark": panel.benchmark, "currency": "USD", "capital": 100_000.0, "simulated": True, "seed": 0}
    write_json(folder / "run.json", facts | {"dates": {"panel": days}})
    tables = read_run(folder)
    return FinishedRun(folder, config, panel, cash, recorded_decisions(tables), tables)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> FinishedRun:
    """A year of two names a month, by a rule that knows no clusters, in cash now and then."""
    panel, rng, made = replace(three_clusters(), simulated=True), np.random.default_rng(4), []
    for number, day in enumerate(panel.sessions[np.arange(150, 410, 21)]):
        names = rng.choice(panel.tradable, 2, replace=False)
        made.append(held(day, {} if number % 5 == 3 else dict.fromkeys(names, 0.4)))
    return finished_run(tmp_path_factory.mktemp("run"), panel, made)


@pytest.fixture(scope="module")
def assessed(finished, tmp_path_factory):
    return assess(finished, Ledger(tmp_path_factory.mktemp("none") / "ledger.sqlite"))


def earned(positions: pd.DataFrame) -> pd.DataFrame:
    """Returns of an account without costs that nothing was paid into."""
    returns = positions.sum(axis=1).pct_change().iloc[1:]
    return pd.DataFrame({"net": returns, "gross": returns})


def exposure(run: FinishedRun):
    returns = pd.DataFrame({"net": run.tables.returns["strategy"], "gross": run.tables.gross})
    return exposure_of(run.panel, run.tables.positions, returns, run.tables.transactions, cash=run.cash)


def test_the_exposures_and_the_cash_of_an_account_explain_what_it_earned_before_costs(finished):
    found = exposure(finished)
    assert np.abs(found.elsewhere).max() < 1e-12 and found.rate.min() > 0
    assert found.held == 2 and len(found.spells) >= 15


def test_a_run_without_clusters_is_judged_against_random_names_and_says_so(assessed):
    evidence = assessed.evidence
    assert evidence["comparator"] == {"kind": "names", "pool": "its universe", "names": 18}
    assert {row["claim"] for row in evidence["claims"]} == {"1/N", "the benchmark"}
    assert set(assessed.luck["kind"]) == {"names"} and len(assessed.luck) == 200
    assert evidence["rank_ic"] is None and evidence["exposure"]["held"] == 2
    assert evidence["baselines_left_out"]["PCA clusters"] == "the strategy states no clusters"
    assert {"this strategy", "1/N", "momentum 12-1", "benchmark MKT"} <= set(assessed.baselines.index)
    words = assessed.verdict
    text = " ".join([words.headline, words.reading, *words.supports, *words.against, *words.needed])
    assert "random names of its universe, as many as it held" in text and "cluster" not in text
    assert "One training seed" not in dict(words.caveats)


def test_the_parts_of_the_return_add_up_without_clusters_too(assessed, finished):
    found = dict(assessed.evidence["parts"])
    total = found.pop("total")
    assert sum(found.values()) == pytest.approx(total)
    net = finished.tables.returns["strategy"]
    assert total == pytest.approx(np.log1p(net).sum() * 252 / len(net))


def test_the_average_name_is_the_mean_of_all_portfolios_that_could_have_been_drawn():
    """Two names of four at a time, on daily bars by hand: all twelve ordered pairs are counted out."""
    rng = np.random.default_rng(0)
    days = pd.bdate_range("2024-01-01", periods=8)
    closes = pd.DataFrame(100 * np.cumprod(1 + rng.normal(0, 0.02, (8, 4)), axis=0), days, list("ABCD"))
    opens = closes.shift(1).fillna(100.0) * (1 + rng.normal(0, 0.01, (8, 4)))
    panel = make_panel(closes, opens)
    positions = pd.DataFrame(0.0, days, ["A", "B", "cash"]).assign(cash=40.0)
    positions.loc[days[2:5], "A"] = 35.0
    positions.loc[days[2:5], "B"] = 25.0
    found = exposure_of(panel, positions, earned(positions), pd.DataFrame([], columns=FILLS))
    night, day = opens / closes.shift(1) - 1, closes / opens - 1
    account = positions.sum(axis=1).shift(1)
    by_hand = pd.Series(0.0, days[1:])
    for one, two in permutations("ABCD", 2):
        for own, other in (("A", one), ("B", two)):
            overnight = positions[own].shift(1) / account * night[other]
            daily = positions[own] / (1 + day[own]) / account * day[other]
            by_hand += (overnight + daily).iloc[1:] / 12
    assert found.spells == [Spell(0, 1, 4), Spell(1, 1, 4)]
    assert average_name(found).to_numpy() == pytest.approx(by_hand.to_numpy())


def test_portfolios_drawn_by_lot_scatter_around_the_average_name(finished):
    found = exposure(finished)
    drawn = random_names(found, np.zeros(len(found.sessions)), finished.cash, 2000)
    error = drawn.gross.std(axis=0) / 2000**0.5
    apart = (drawn.gross.mean(axis=0) - average_name(found).to_numpy()) / np.where(error > 1e-12, error, 1.0)
    assert np.abs(apart).max() < 5 and 0.8 < apart.std() < 1.2
    own = finished.tables.gross
    assert drawn.gross.std(axis=1).mean() == pytest.approx(own.std(), rel=0.2)


def test_random_portfolios_pay_what_the_strategy_paid(finished):
    found, costs = exposure(finished), np.linspace(0, 1e-4, len(exposure(finished).sessions))
    drawn = random_names(found, costs, finished.cash, 5)
    assert (drawn.gross - drawn.returns) == pytest.approx(np.tile(costs, (5, 1)))


def test_a_random_portfolio_holds_no_name_twice():
    """All names but one are held: two slots on one name would vary more than four on four."""
    days = pd.bdate_range("2024-01-01", periods=3)
    closes = pd.DataFrame(100.0, days, list("ABCDE"))
    closes.iloc[2] = [101.0, 102.0, 104.0, 108.0, 116.0]
    panel = make_panel(closes)  # what they earn they earn by night
    positions = pd.DataFrame(25.0, days, list("ABCD")).assign(cash=0.0)
    found = exposure_of(panel, positions, earned(positions), pd.DataFrame([], columns=FILLS))
    drawn = random_names(found, np.zeros(2), pd.Series(0.0, days), 200)
    possible = [(31 - left) / 400 for left in (1, 2, 4, 8, 16)]
    assert set(np.round(drawn.gross[:, 1], 12)) == set(np.round(possible, 12))


def test_who_is_no_member_of_the_universe_is_not_drawn():
    days = pd.bdate_range("2024-01-01", periods=4)
    closes = pd.DataFrame({"A": [100.0, 100, 101, 102], "B": [100.0, 100, 110, 120], "C": [100.0] * 4}, days)
    member = pd.DataFrame(True, days, closes.columns)
    member.loc[: days[1], "B"] = False
    positions = pd.DataFrame({"A": [0.0, 0, 50, 50], "cash": [100.0, 100, 50, 50]}, days)
    found = exposure_of(
        replace(make_panel(closes, closes.shift(1).fillna(100.0)), member=member), positions,
        earned(positions), pd.DataFrame([], columns=FILLS),
    )  # fmt: skip
    drawn = random_names(found, np.zeros(3), pd.Series(0.0, days), 50)
    half = 50 / 1.01 / 100 * 0.01
    assert average_name(found).iloc[1] == pytest.approx(half / 2)
    assert set(np.round(drawn.gross[:, 1], 9)) == {0.0, round(half, 9)}


def flat_panel():
    """Every night 1 % up, every day 2 % up."""
    days = pd.bdate_range("2024-01-01", periods=6)
    closes = pd.DataFrame({name: 100 * (1.01 * 1.02) ** np.arange(6) for name in "AB"}, days)
    return make_panel(closes, closes / 1.02)


def account(panel, rows: dict, capital: float = 1000.0) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """An account by hand: ``rows`` maps a session's number to ``(shares of A after it, price traded at)``."""
    shares, cash, fills, table = 0.0, capital, [], []
    for number, day in enumerate(panel.dates):
        if number in rows:
            target, price = rows[number]
            fills.append((day, "A", price, (target - shares) * price))
            cash, shares = cash - (target - shares) * price, target
        table.append((shares * panel.close.loc[day, "A"], cash))
    positions = pd.DataFrame(table, panel.dates, ["A", "cash"])
    return positions, earned(positions), pd.DataFrame(fills, columns=FILLS)


def test_a_fill_at_the_close_is_exposed_from_the_next_night_on():
    panel = flat_panel()
    close = panel.close["A"]
    found = exposure_of(panel, *account(panel, {1: (5.0, close.iloc[1]), 4: (0.0, close.iloc[4])}))
    assert found.daily[0].tolist() == [0, 0] and found.overnight[1, 0] == pytest.approx(5 * close.iloc[1] / 1000)
    assert found.daily[3, 0] > 0 and found.overnight[4].tolist() == [0, 0]
    assert np.abs(found.elsewhere).max() < 1e-12 and found.spells == [Spell(0, 0, 3)]


def test_a_fill_at_the_close_before_is_exposed_over_the_night_it_was_booked_after():
    """backtrader's cheat-on-close books at the next session what filled at the close before."""
    panel = flat_panel()
    close = panel.close["A"]
    booked = account(panel, {2: (5.0, close.iloc[1]), 4: (0.0, close.iloc[3])})
    found = exposure_of(panel, *booked, at_close_before=True)
    assert found.overnight[1, 0] == pytest.approx(5 * close.iloc[1] / 1000)
    assert found.overnight[3].tolist() == [0, 0] and np.abs(found.elsewhere).max() < 1e-12


def test_what_a_fill_gains_against_the_open_is_no_exposure():
    panel = flat_panel()
    cheap = panel.open["A"].iloc[1] * 0.99
    found = exposure_of(panel, *account(panel, {1: (5.0, cheap)}))
    assert found.elsewhere[0] == pytest.approx(5 * panel.open["A"].iloc[1] * 0.01 / 1000)
    assert np.abs(found.elsewhere[1:]).max() < 1e-12


def test_a_short_position_is_drawn_short_and_a_turn_is_two_positions():
    panel = flat_panel()
    opens = panel.open["A"]
    found = exposure_of(panel, *account(panel, {1: (5.0, opens.iloc[1]), 3: (-5.0, opens.iloc[3])}))
    assert np.abs(found.elsewhere).max() < 1e-12
    assert found.spells == [Spell(0, 0, 2, 1), Spell(0, 2, 4, -1)]
    _, own, _ = account(panel, {1: (5.0, opens.iloc[1]), 3: (-5.0, opens.iloc[3])})
    assert average_name(found).to_numpy() == pytest.approx(own["gross"].to_numpy())  # both names do the same


def test_one_name_is_judged_against_holding_it_at_the_average_exposure():
    panel = flat_panel().select(["A"])
    opens = panel.open["A"]
    found = exposure_of(panel, *account(panel, {2: (10.0, opens.iloc[2])}))
    whole = panel.close["A"].pct_change().iloc[1:]
    assert average_name(found).to_numpy() == pytest.approx(found.average * whole.to_numpy())
    rate = pd.Series(1e-3, panel.dates)
    paid = exposure_of(panel, *account(panel, {2: (10.0, opens.iloc[2])}), cash=rate)
    assert (average_name(paid) - average_name(found)).to_numpy() == pytest.approx((1 - found.average) * 1e-3)
    assert 0 < found.average < 1 and random_names(found, np.zeros(5), pd.Series(0.0, panel.dates)) is None


def test_a_position_without_prices_is_an_error():
    panel = flat_panel()
    positions, returns, fills = account(panel, {1: (5.0, 100.0)})
    with pytest.raises(ValueError, match="no prices of X"):
        exposure_of(panel, positions.rename(columns={"A": "X"}), returns, fills)


@pytest.mark.parametrize("names", [1, 7])
def test_worlds_of_names_are_tested_against_what_the_program_counts_out(names):
    rng = np.random.default_rng(names)
    returns = rng.normal(0.0005, 0.01, (300, names))
    parts = np.repeat(rng.random((30, names)) < 0.4, 10, axis=0) * np.repeat(rng.choice([0.1, 0.14], 30), 10)[:, None]
    found = account_of_names(returns, parts).comparator
    np.testing.assert_allclose(found, counted_out(returns, parts), atol=1e-12)


def test_a_few_worlds_of_random_names_are_called_noise_and_great_skill_is_found():
    """Of 12 worlds of 4 years, more than 3 claims come by chance once in 450 times."""
    assert judged([names_record(seed, years=4) for seed in range(12)], 49)["claim"].sum() <= 3
    found = judged([names_record(seed, information_ratio=2.5, years=6) for seed in range(3)], 49)
    assert found["claim"].all()


def test_a_tilt_to_calm_names_is_no_skill():
    """Means are equal, betas are not: of 12 worlds, more than 3 claims come by chance once in 450 times."""
    worlds = [tilted_record(seed) for seed in range(12)]
    tests = [primary(world) for world in worlds]
    assert sum(test["p_alpha"] <= 0.05 for test in tests) >= 4, "there is alpha of the low beta"
    assert sum(test["found"] for test in tests) <= 3


@pytest.mark.acceptance
def test_a_tilt_to_calm_names_is_claimed_to_be_skill_no_more_often_than_stated():
    """400 worlds: 20 are expected; 29 or more come by chance once in 40 times."""
    assert sum(primary(tilted_record(seed))["found"] for seed in range(400)) <= 28


@pytest.mark.acceptance
def test_random_names_are_claimed_to_be_skill_no_more_often_than_stated():
    """400 worlds: 20 are expected; 29 or more come by chance once in 40 times."""
    found = judged([names_record(seed) for seed in range(1000, 1400)], 49)
    assert found["claim"].sum() <= 28, found["claim"].sum()
    assert stats.kstest(found["p"], "uniform").pvalue > 0.05


@pytest.mark.acceptance
def test_skill_at_picking_names_is_found():
    found = judged([names_record(seed, information_ratio=0.8) for seed in range(2000, 2200)], 49)
    assert found["claim"].mean() >= 0.6, found["claim"].mean()
