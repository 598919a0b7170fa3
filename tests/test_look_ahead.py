"""Poison the future: nothing decided, ordered or fitted up to a day may depend on what comes after it.

The source files themselves are changed after a day, the whole command runs again, and everything up to that day must
be equal. The check is then shown to be able to fail: leaks are planted in the pipeline, one at a time.
"""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import clusterfolio.feeds.exogenous.macro
from clusterfolio.engine.cli.main import main
from clusterfolio.engine.leakage.poison import WAYS, exchanged, jumped, listed, poison_frames
from clusterfolio.engine.trading.market_units import trades_of
from clusterfolio.feeds.sources.simulated import BENCHMARK
from tests.leaks import (
    centred_window,
    same_bar_fill,
    scaler_on_all_history,
    whole_sample_quality,
    whole_sample_sharpe,
)
from tests.market_files import run_options, write_market

POISONS = [
    WAYS[name] for name in ("scaled", "negated", "missing", "doubled", "split", "exchanged", "deleted", "jumped")
]


def poison(frames, how, day, folder):
    """Write the files anew, each row after ``day`` changed by ``how``; with new listings that begin after ``day``."""
    folder.mkdir(parents=True)
    rates = {name for name in frames if name.endswith("=X")}
    spared = rates if how is exchanged else {BENCHMARK, *rates}
    changed = poison_frames(frames, day, how, np.random.default_rng(0), spared)
    if how is exchanged:
        changed = poison_frames(changed, day, listed, np.random.default_rng(0), spared)
    for name, frame in changed.items():
        frame.rename_axis("date").to_parquet(folder / f"{name}.parquet")


def run(data, out, *more):
    result = CliRunner().invoke(main, run_options(data, out, *more))
    if result.exit_code:
        raise AssertionError(result.output) from result.exception
    return out


def differences(before, after, day):
    """What two runs disagree on up to ``day``; a fill on its own decision's day counts as one."""
    found = []
    facts = [json.loads((out / "run.json").read_text()) for out in (before, after)]
    if facts[0]["fingerprint"]["model"] != facts[1]["fingerprint"]["model"]:
        found.append("model")
    for name in ("weights", "clusters", "transactions", "positions", "payments", "costs"):
        tables = [pd.read_csv(out / f"{name}.csv", parse_dates=["date"]) for out in (before, after)]
        known = [table[table["date"] <= day].dropna(axis=1, how="all") for table in tables]
        known = [table.loc[:, (table != 0).any()].reset_index(drop=True) for table in known]
        known = [table.drop(columns="CASH", errors="ignore") for table in known]  # 1 less the sum over all columns
        if not known[0].equals(known[1]):
            found.append(name)
    for out in (before, after):
        trades = trades_of(pd.read_csv(out / "transactions.csv", parse_dates=["date"]))
        decided = pd.read_csv(out / "weights.csv", parse_dates=["date"])["date"]
        if trades["date"].isin(decided).any():
            found.append("fills on the decision's own day")
    return found


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    folder = tmp_path_factory.mktemp("market")
    return folder, write_market(folder)


@pytest.fixture(scope="module")
def clean(market, tmp_path_factory):
    return run(market[0], tmp_path_factory.mktemp("runs") / "clean")


#: Clusters drawn from what the encoder sees, and not only shown beside it.
ENCODED = ("--set", "embedding.kind=trajectory")


@pytest.fixture(scope="module")
def encoded(market, tmp_path_factory):
    return run(market[0], tmp_path_factory.mktemp("runs") / "encoded", *ENCODED)


def decision_days(out):
    return pd.read_csv(out / "weights.csv", parse_dates=["date"])["date"]


@pytest.mark.parametrize("how", POISONS, ids=lambda how: how.__name__)
def test_the_future_changes_nothing_up_to_a_decision_day(market, clean, tmp_path, how):
    day = decision_days(clean).iloc[3]
    poison(market[1], how, day, tmp_path / "data")
    poisoned = run(tmp_path / "data", tmp_path / "run")
    assert not differences(clean, poisoned, day)
    assert (decision_days(poisoned) <= day).sum() == 4


@pytest.mark.parametrize("how", ["exchanged", "missing"])
def test_the_future_changes_nothing_in_clusters_of_the_encoders_embeddings(market, encoded, tmp_path, how):
    day = decision_days(encoded).iloc[3]
    poison(market[1], WAYS[how], day, tmp_path / "data")
    assert not differences(encoded, run(tmp_path / "data", tmp_path / "run", *ENCODED), day)


@pytest.mark.acceptance
def test_clusters_searched_and_picks_chosen_together_know_nothing_of_the_future(market, tmp_path):
    streams = ("--set", "clustering.n_clusters=6", "--set", "selection.by=joint",
               "--set", "selection.names=4", "--set", "selection.head_start=0.2")  # fmt: skip
    clean = run(market[0], tmp_path / "clean", *streams)
    day = decision_days(clean).iloc[3]
    poison(market[1], exchanged, day, tmp_path / "data")
    poisoned = run(tmp_path / "data", tmp_path / "run", *streams)
    assert not differences(clean, poisoned, day)
    assert "clusters" in differences(clean, poisoned, decision_days(clean).iloc[5])


@pytest.mark.acceptance
def test_with_whole_shares_the_future_changes_no_share_no_dividend_and_no_decision(market, tmp_path):
    """Shares are those of the market, dividends go to cash: splits and payments that come later are changed too.

    Every kind of cost is on: volatility, volume and price decide what an order pays and how much of it fills.
    """
    whole = ("--set", "trading.fractional=false", "--capital", "20000", "--set", "trading.impact=1.0")
    whole += ("--set", "trading.spread_scaling=1.0", "--set", "trading.volume_cap=0.05")
    clean = run(market[0], tmp_path / "clean", *whole)
    day = decision_days(clean).iloc[5]
    paid = pd.read_csv(clean / "payments.csv", parse_dates=["date"], keep_default_na=False)
    assert (paid.loc[paid["date"] <= day, "reason"] == "dividend").any()
    for how in (WAYS["exchanged"], WAYS["split"]):
        poison(market[1], how, day, tmp_path / how.__name__)
        poisoned = run(tmp_path / how.__name__, tmp_path / f"run_{how.__name__}", *whole)
        assert not differences(clean, poisoned, day)
        assert differences(clean, poisoned, decision_days(clean).iloc[-1])


#: Every rule of picking, of weighing and of [risk] at once, each so tight that it acts.
EVERY_RULE = (
    "encoder.name=vae", "selection.hysteresis=21", "selection.skip_confidence=0.75", "selection.liquidity_floor=100000",
    "selection.liquidity_sessions=40", "trading.allocate=inverse_volatility", "allocation.caps=on",
    "allocation.name_cap=0.4", "allocation.no_trade=1", "allocation.membership=1", "allocation.variance=1",
    "allocation.sessions=60", "risk.stop=0.07", "risk.trailing_stop=0.09", "risk.atr_stop=7", "risk.take_profit=0.15",
    "risk.cool_down=3", "risk.embedding_stop=0.95", "risk.centre_stop=0.95", "risk.volatility_target=0.05",
    "risk.name_volatility=0.5", "risk.max_drawdown=0.01", "risk.drawdown_sessions=15", "clustering.n_clusters=6",
)  # fmt: skip


@pytest.mark.acceptance
def test_with_every_rule_on_the_future_changes_no_decision_and_no_trade_between_them(market, tmp_path):
    """What the guard decides between decisions is looked at too: the future is poisoned on a day without a decision."""
    rules = [part for setting in EVERY_RULE for part in ("--set", setting)]
    clean = run(market[0], tmp_path / "clean", *rules)
    trades, days = pd.read_csv(clean / "transactions.csv", parse_dates=["date"]), decision_days(clean)
    said = pd.read_csv(clean / "clusters.csv")["why"].dropna().str.split("; ").explode()
    kinds = {why.partition(",")[0].partition(":")[0] for why in [*trades["reason"], *said]}
    assert trades["reason"].str.startswith("volatility target ").any()
    wanted = {"hysteresis", "no-trade band", "doubt", "skip", "stop", "trailing stop", "take-profit", "embedding stop",
              "centre stop", "circuit breaker"}  # fmt: skip
    assert wanted <= kinds, (wanted - kinds, kinds)
    between = trades["date"][~trades["date"].isin(days + pd.offsets.BDay(1)) & (trades["date"] > days.iloc[4])].iloc[0]
    poison(market[1], exchanged, between, tmp_path / "data")
    poisoned = run(tmp_path / "data", tmp_path / "poisoned", *rules)
    # An order of the guard, sent the day before a decision, fills on the decision's day.
    assert not {*differences(clean, poisoned, between)} - {"fills on the decision's own day"}
    assert "weights" in differences(clean, poisoned, days.iloc[-1])


def test_the_future_changes_nothing_up_to_the_end_of_training(market, clean, tmp_path):
    day = decision_days(clean).iloc[0]
    poison(market[1], exchanged, day, tmp_path / "data")
    assert not differences(clean, run(tmp_path / "data", tmp_path / "run"), day)


def test_the_poison_does_reach_what_comes_after(market, clean, tmp_path):
    poison(market[1], exchanged, decision_days(clean).iloc[3], tmp_path / "data")
    poisoned = run(tmp_path / "data", tmp_path / "run")
    assert "clusters" in differences(clean, poisoned, decision_days(clean).iloc[5])


def structure(frames, day, folder):
    """Write the files anew with the same bars up to ``day``, in a structure that only what comes later has.

    A third of the symbols get a column of adjusted closes that begins later, a third a second file that begins later
    and has one more column; rows stand in another order, and a symbol begins that comes first in the alphabet.
    """
    rng = np.random.default_rng(0)
    (folder / "more").mkdir(parents=True)
    free = sorted(name for name in frames if name != BENCHMARK and not name.endswith("=X"))
    for name, frame in frames.items():
        frame = frame.rename_axis("date").reset_index()
        later = frame["date"] > day
        if name in free[::3]:
            frame["adj_close"] = (frame["close"] * 0.5).where(later)
        elif name in free[1::3]:
            more = frame[later].assign(adj_close=7.0)
            more.to_parquet(folder / "more" / f"{name}.parquet", index=False)
            frame = frame[frame["date"] <= day + pd.Timedelta(days=30)]
        frame.iloc[rng.permutation(len(frame))].to_parquet(folder / f"{name}.parquet", index=False)
    listed = frames[free[0]].loc[frames[free[0]].index > day]
    listed.rename_axis("date").to_parquet(folder / "AAA.NEW.parquet")


def test_a_structure_that_appears_later_changes_nothing_up_to_a_decision_day(market, clean, tmp_path):
    day = decision_days(clean).iloc[3]
    structure(market[1], day, tmp_path / "data")
    poisoned = run(tmp_path / "data", tmp_path / "run")
    assert not differences(clean, poisoned, day)
    symbols = pd.read_csv(poisoned / "symbols.csv", index_col="symbol")
    assert symbols.index[0] == "AAA.NEW" and symbols["why"].str.contains("adjusted close not used").sum() >= 12


def with_macro(frames, folder, poisoned_from=None):
    """The market beside a macro file: a policy rate for every calendar day, absurd from a day on."""
    folder.mkdir()
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet")
    days = pd.date_range("2022-06-01", "2024-12-31")
    rate = pd.Series(np.linspace(3.0, 5.5, len(days)), index=days)
    if poisoned_from is not None:
        rate.loc[poisoned_from:] *= 500
    pd.DataFrame({"date": days, "series": "DFF", "value": rate.to_numpy()}).to_csv(folder / "macro.csv", index=False)
    return folder


@pytest.mark.parametrize("honest", [True, False])
def test_a_rate_not_yet_published_changes_nothing_and_an_unlagged_one_is_found(
    market, clean, tmp_path, monkeypatch, honest
):
    day = decision_days(clean).iloc[3]
    if not honest:
        monkeypatch.setitem(clusterfolio.feeds.exogenous.macro.PUBLICATION_LAG, "DFF", 0)
    before = run(with_macro(market[1], tmp_path / "data"), tmp_path / "before")
    # Dated up to two days before the decision, but published after it.
    poisoned = with_macro(market[1], tmp_path / "poisoned", day - pd.Timedelta(days=2))
    found = differences(before, run(poisoned, tmp_path / "after"), day)
    assert json.loads((before / "run.json").read_text())["cash"] == "DFF (macro.csv), as published"
    assert found == [] if honest else "clusters" in found


# Leaks, planted one at a time -------------------------------------------------------------------------------------


LEAKS = (
    (scaler_on_all_history, exchanged, "model"),
    (same_bar_fill, None, "fills on the decision's own day"),
    (centred_window, exchanged, "clusters"),
    (whole_sample_quality, jumped, "weights"),
    (whole_sample_sharpe, exchanged, "clusters"),
)


@pytest.mark.parametrize(("leak", "how", "where"), LEAKS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_leak_is_found(market, clean, tmp_path, monkeypatch, leak, how, where):
    leak(monkeypatch)
    day = decision_days(clean).iloc[3]
    last = ("--set", "embedding.kind=last")  # the window that ends on the day itself
    leaky = run(market[0], tmp_path / "leaky", *last)
    if how is None:
        assert where in differences(leaky, leaky, day)
        return
    poison(market[1], how, day, tmp_path / "data")
    assert where in differences(leaky, run(tmp_path / "data", tmp_path / "run", *last), day)
