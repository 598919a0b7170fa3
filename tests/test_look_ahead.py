"""Poison the future: nothing decided, ordered or fitted up to a day may depend on what comes after it.

The source files themselves are changed after a day, the whole command runs again, and everything up to that day must
be equal. The check is then shown to be able to fail: leaks are planted in the pipeline, one at a time.
"""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import engine.backtest
import engine.pipeline
import feeds.ingest
import feeds.macro
import models.encoder
import strategies.policy
from feeds.features import Features
from feeds.sources.simulated import BENCHMARK
from run_backtest import main
from strategies.selection import sharpe_ratios
from tests.market_files import run_options, write_market

PRICES = ["open", "high", "low", "close"]


def scaled(frames, rng):
    return {name: f.assign(**{c: f[c] * 1000 for c in PRICES}, volume=f["volume"] * 7) for name, f in frames.items()}


def negated(frames, rng):
    # Some of the bars: where nothing tradable is left the run would end on that very day.
    signs = {name: np.where(rng.random(len(f)) < 0.4, -1, 1) for name, f in frames.items()}
    return {name: f.assign(**{c: signs[name] * f[c] for c in PRICES}) for name, f in frames.items()}


def missing(frames, rng):
    return {name: f.mask(pd.Series(rng.random(len(f)) < 0.4, f.index)) for name, f in frames.items()}


def doubled(frames, rng):
    return {name: pd.concat([f, f.assign(close=f["close"] * 1.3)]) for name, f in frames.items()}


def split(frames, rng):
    return {
        name: f.assign(split=np.where(np.arange(len(f)) == 3, 7.0, 0.0), dividend=f["close"] * 0.05)
        for name, f in frames.items()
    }


def shuffled(frames, rng):
    names = sorted(name for name in frames if not name.endswith("=X"))
    others = dict(zip(names, rng.permutation(names), strict=True))
    return {name: frames[others[name]] if name in others else f for name, f in frames.items()}


def deleted(frames, rng):
    gone = [name for name in sorted(frames) if name != BENCHMARK and not name.endswith("=X")][:3]
    return {name: f.iloc[:0] if name in gone else f for name, f in frames.items()}


def jumped(frames, rng):
    """A split nobody recorded, on a few symbols."""
    chosen = [name for name in sorted(frames) if name.startswith("SIM.EQ")][:6]
    return {
        name: f.assign(**{c: np.where(np.arange(len(f)) > 5, f[c] * 3, f[c]) for c in PRICES}) if name in chosen else f
        for name, f in frames.items()
    }


POISONS = (scaled, negated, missing, doubled, split, shuffled, deleted, jumped)


def poison(frames, how, day, folder):
    """Write the files anew, each row after ``day`` changed by ``how``; with new listings that begin after ``day``."""
    folder.mkdir(parents=True)
    after = how({name: frame.loc[frame.index > day] for name, frame in frames.items()}, np.random.default_rng(0))
    for name, frame in frames.items():
        pd.concat([frame.loc[:day], after[name]]).rename_axis("date").to_parquet(folder / f"{name}.parquet")
    if how is shuffled:
        listed = frames[BENCHMARK].loc[lambda f: f.index > day]
        for i in range(3):
            listed.assign(close=listed["close"] * (1 + i)).to_parquet(folder / f"SIM.NEW{i}.parquet")


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
    for name in ("weights", "clusters", "transactions", "positions"):
        tables = [pd.read_csv(out / f"{name}.csv", parse_dates=["date"]) for out in (before, after)]
        known = [table[table["date"] <= day].dropna(axis=1, how="all") for table in tables]
        known = [table.loc[:, (table != 0).any()].reset_index(drop=True) for table in known]
        if not known[0].equals(known[1]):
            found.append(name)
    for out in (before, after):
        trades = pd.read_csv(out / "transactions.csv", parse_dates=["date"])
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


def decision_days(out):
    return pd.read_csv(out / "weights.csv", parse_dates=["date"])["date"]


@pytest.mark.parametrize("how", POISONS, ids=lambda how: how.__name__)
def test_the_future_changes_nothing_up_to_a_decision_day(market, clean, tmp_path, how):
    day = decision_days(clean).iloc[3]
    poison(market[1], how, day, tmp_path / "data")
    poisoned = run(tmp_path / "data", tmp_path / "run")
    assert not differences(clean, poisoned, day)
    assert (decision_days(poisoned) <= day).sum() == 4


def test_the_future_changes_nothing_up_to_the_end_of_training(market, clean, tmp_path):
    day = decision_days(clean).iloc[0]
    poison(market[1], shuffled, day, tmp_path / "data")
    assert not differences(clean, run(tmp_path / "data", tmp_path / "run"), day)


def test_the_poison_does_reach_what_comes_after(market, clean, tmp_path):
    poison(market[1], shuffled, decision_days(clean).iloc[3], tmp_path / "data")
    poisoned = run(tmp_path / "data", tmp_path / "run")
    assert "clusters" in differences(clean, poisoned, decision_days(clean).iloc[5])


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
        monkeypatch.setitem(feeds.macro.PUBLICATION_LAG, "DFF", 0)
    before = run(with_macro(market[1], tmp_path / "data"), tmp_path / "before")
    # Dated up to two days before the decision, but published after it.
    poisoned = with_macro(market[1], tmp_path / "poisoned", day - pd.Timedelta(days=2))
    found = differences(before, run(poisoned, tmp_path / "after"), day)
    assert json.loads((before / "run.json").read_text())["cash"] == "DFF (macro.csv), as published"
    assert found == [] if honest else "clusters" in found


# Leaks, planted one at a time -------------------------------------------------------------------------------------


def scaler_on_all_history(monkeypatch):
    seen = {}
    honest = engine.pipeline.with_features

    def keep(panel, config):
        seen["values"] = honest(panel, config).features.values.reshape(-1, 5)
        return honest(panel, config)

    def fit_scaler(windows):
        rows = seen["values"][np.isfinite(seen["values"]).all(axis=1)]
        return models.encoder.RobustScaler().fit(rows)

    monkeypatch.setattr(engine.pipeline, "with_features", keep)
    monkeypatch.setattr(models.encoder, "fit_scaler", fit_scaler)


def same_bar_fill(monkeypatch):
    class Eager(engine.backtest.ClockCerebro):
        def run(self, **kwargs):
            self.broker.set_coc(True)
            return super().run(**kwargs)

    monkeypatch.setattr(engine.backtest, "ClockCerebro", Eager)


def centred_window(monkeypatch):
    honest = engine.pipeline.with_features

    def centre(panel, config):
        panel = honest(panel, config)
        values = panel.features.values.copy()
        values[:-10, :, 4] = values[10:, :, 4]
        return replace(panel, features=Features(values, panel.features.observed, config))

    monkeypatch.setattr(engine.pipeline, "with_features", centre)


def whole_sample_quality(monkeypatch):
    honest = feeds.ingest.clean

    def clean(frame, config, **kwargs):
        bars, counts = honest(frame, config, **kwargs)
        if frame["close"].pct_change(fill_method=None).abs().max() > 0.5:  # dropped for what happens one day
            bars = bars.iloc[:0]
        return bars, counts

    monkeypatch.setattr(feeds.ingest, "clean", clean)


def full_sample_sharpe(monkeypatch):
    seen = {}
    honest = engine.pipeline.with_features

    def keep(panel, config):
        seen["returns"] = panel.session_returns()
        return honest(panel, config)

    monkeypatch.setattr(engine.pipeline, "with_features", keep)
    monkeypatch.setattr(
        strategies.policy.ClusterPolicy, "_sharpe", lambda self, r, config: sharpe_ratios(seen["returns"][r.columns])
    )


LEAKS = (
    (scaler_on_all_history, shuffled, "model"),
    (same_bar_fill, None, "fills on the decision's own day"),
    (centred_window, shuffled, "clusters"),
    (whole_sample_quality, jumped, "weights"),
    (full_sample_sharpe, shuffled, "clusters"),
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
