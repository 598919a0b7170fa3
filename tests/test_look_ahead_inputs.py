"""Poison what is published, said and written after a day: nothing fitted or decided up to that day may move.

The macro file and the texts are rewritten (made absurd, or cut off) by the day on which each figure and each text
became known, the whole command runs again, and what it fitted and decided up to that day must be equal. Then inputs are
dated as a careless reader would, and the difference must be found.
"""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import clusterfolio.feeds.exogenous.sentiment
from clusterfolio.engine.cli.main import main
from clusterfolio.feeds.exogenous.publication import LATE, PUBLICATION_LAG, known_on
from tests.market_files import run_options
from tests.test_look_ahead import decision_days, differences
from tests.walk_forward_files import rolling_options, trainings

#: What the runs see. The window that ends on the day itself, so that a day's inputs reach the day's decision.
CHANNELS = ("inflation", "unemployment", "gdp_growth", "policy_rate", "curve_slope", "vix")
SERIES = {
    "CPIAUCSL": "MS",
    "UNRATE": "MS",
    "A191RL1Q225SBEA": "QS",
    "DFF": "D",
    "DGS10": "B",
    "DGS3MO": "B",
    "VIXCLS": "B",
}
LAGS = dict(PUBLICATION_LAG)
FIRST, LAST = "2021-01-01", "2024-12-31"
CLOSE = pd.Timedelta(hours=16)  # New York; no half day in the spans poisoned


def write_macro(path, day=None, how="absurd"):
    """The series as a table by the date each describes; what is published after ``day`` absurd, or not there."""
    rng = np.random.default_rng(5)
    parts = []
    for name, frequency in SERIES.items():
        dates = pd.date_range(FIRST, LAST, freq=frequency)
        values = pd.Series(4 + np.abs(rng.normal(0, 0.3, len(dates)).cumsum()) + 100 * (frequency == "MS"), dates)
        if day is not None:
            open_to_all = known_on(name, dates, {name: LAGS[name]}) <= day
            values = values[open_to_all] if how == "cut" else values.where(open_to_all, values * -50 + 700)
        parts.append(pd.DataFrame({"date": values.index, "series": name, "value": values.to_numpy()}))
    pd.concat(parts).to_csv(path, index=False)
    return path


def write_texts(path, day=None, how="absurd"):
    """A scored text an evening and some at any hour; those at or after the close of ``day`` turned, or not there."""
    rng = np.random.default_rng(6)
    evenings = np.arange(4 * 365) * 24 * 60 + 18 * 60
    minutes = np.concatenate([rng.integers(0, 4 * 365 * 24 * 60, 1500), evenings])
    moments = pd.Timestamp(FIRST, tz="America/New_York") + pd.to_timedelta(np.sort(minutes), unit="min")
    table = pd.DataFrame({"timestamp": moments, "score": rng.uniform(-1, 1, len(moments))})
    if day is not None:
        later = table["timestamp"] >= (day + CLOSE).tz_localize("America/New_York")
        table = table[~later] if how == "cut" else table.assign(score=table["score"].where(~later, -table["score"]))
    table.to_csv(path, index=False)
    return path


def with_inputs(folder, day=None, how="absurd"):
    """Options that name the two files, written into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = (
        f"inputs.macro={','.join(CHANNELS)}",
        f"inputs.macro_path={write_macro(folder / 'series.csv', day, how)}",
        f"inputs.sentiment={write_texts(folder / 'texts.csv', day, how)}",
        "inputs.statics=true",
        "embedding.kind=last",
        'cash.source="constant"',
    )
    return [part for setting in settings for part in ("--set", setting)]


def run(options):
    result = CliRunner().invoke(main, options)
    if result.exit_code:
        raise AssertionError(result.output) from result.exception


@pytest.fixture(scope="module")
def clean(market, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    run(run_options(market, folder / "run", *with_inputs(folder)))
    return folder / "run"


@pytest.mark.parametrize(
    ("decision", "how"), [pytest.param(0, "absurd", marks=pytest.mark.acceptance), pytest.param(3, "cut")]
)
def test_nothing_decided_or_fitted_knows_what_is_published_or_written_later(market, clean, tmp_path, decision, how):
    day = decision_days(clean).iloc[decision]
    run(run_options(market, tmp_path / "run", *with_inputs(tmp_path, day, how)))
    assert not differences(clean, tmp_path / "run", day)


@pytest.mark.acceptance
def test_the_poison_does_reach_what_comes_after(market, clean, tmp_path):
    days = decision_days(clean)
    run(run_options(market, tmp_path / "run", *with_inputs(tmp_path, days.iloc[3])))
    assert "clusters" in differences(clean, tmp_path / "run", days.iloc[5])


def known_the_same_day(monkeypatch):
    """Daily scores and texts counted for the day they bear, whatever the hour."""

    def same_day(times, calendar):
        return pd.DatetimeIndex(times.tz_convert("America/New_York").tz_localize(None).normalize()).as_unit("ns")

    monkeypatch.setattr(clusterfolio.feeds.exogenous.sentiment, "known_at_close", same_day)


def unlagged_prices(monkeypatch):
    monkeypatch.setitem(PUBLICATION_LAG, "CPIAUCSL", 0)


@pytest.mark.parametrize("leak", [unlagged_prices, pytest.param(known_the_same_day, marks=pytest.mark.acceptance)])
def test_an_input_dated_by_what_it_describes_is_found(market, tmp_path, monkeypatch, clean, leak):
    leak(monkeypatch)
    day = decision_days(clean).iloc[0]  # the training ends there
    for name, poisoned in (("before", None), ("after", day)):
        run(run_options(market, tmp_path / name / "run", *with_inputs(tmp_path / name, poisoned)))
    assert "model" in differences(tmp_path / "before" / "run", tmp_path / "after" / "run", day)


@pytest.mark.acceptance
def test_a_rolling_run_trains_no_fold_on_what_was_not_yet_published(market, tmp_path):
    """Three folds; poisoned on the day the second training ends."""
    day = pd.Timestamp("2024-06-28")
    for name, poisoned in (("before", None), ("after", day)):
        run(rolling_options(market, tmp_path / name / "run", *with_inputs(tmp_path / name, poisoned)))
    outs = [tmp_path / name / "run" for name in ("before", "after")]
    folds = [trainings(out) for out in outs]
    assert [fold[2] for fold in folds[0]] == ["2024-03-28", "2024-06-28", "2024-09-30"]
    assert folds[0][:2] == folds[1][:2] and folds[0][2] != folds[1][2]
    assert not {*differences(*outs, day)} - {"model"}


def test_the_run_says_which_inputs_it_used_and_when_they_were_known(clean):
    facts = json.loads((clean / "run.json").read_text())
    rows = {row["name"]: row for row in facts["inputs"]}
    assert list(rows) == [*CHANNELS, "sentiment", "asset_class", "region", "sector", "currency"]
    assert (
        rows["inflation"]["lag"] == "CPIAUCSL 60 days" and rows["curve_slope"]["lag"] == "DGS10 4 days, DGS3MO 4 days"
    )
    assert rows["vix"]["known"] == 1.0


def test_the_poison_follows_releases_that_came_late():
    """``known_on`` with the lag stated anew keeps the shutdowns' dates."""
    late = pd.DatetimeIndex(["2025-09-01"])
    assert known_on("UNRATE", late, {"UNRATE": LAGS["UNRATE"]})[0] == pd.Timestamp(LATE["UNRATE"]["2025-09-01"])
