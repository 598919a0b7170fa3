from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.engine.config.run import make_config, to_dict
from clusterfolio.engine.config.settings import read_preset
from clusterfolio.engine.folds.walk_forward import (
    WalkForwardConfig,
    fold_for,
    fold_seed,
    folds,
    that_decide,
    warm_training,
)
from clusterfolio.models.train_config import TrainConfig

SESSIONS = pd.bdate_range("2019-01-01", "2024-12-31")


def days(fold):
    return [str(day.date()) for day in (fold.train_start, fold.train_end, fold.decides_from, fold.start, fold.end)]


def test_train_a_quarter_test_a_month_is_one_line():
    settings = {"walk_forward": {"refit": "month", "train_months": 3}, "dates": {"start": "2023-04-01"}}
    config = make_config(settings)
    assert (config.dates.train_start, config.dates.train_end) == ("2023-01-01", "2023-03-31")
    found = folds(SESSIONS, config.dates.start, config.walk_forward)
    assert days(found[0]) == ["2023-01-01", "2023-03-31", "2023-03-31", "2023-04-03", "2023-04-28"]
    assert days(found[1]) == ["2023-02-01", "2023-04-28", "2023-04-28", "2023-05-01", "2023-05-31"]
    # Embeddings and Sharpe ratios still reach back as far as before a two-year training.
    assert config.dates.history_days == 400 + 730 - 90


def test_the_embargo_leaves_sessions_out_before_the_first_decision():
    found = folds(SESSIONS, "2023-04-01", WalkForwardConfig(refit="quarter", train_months=12, embargo_sessions=5))
    assert days(found[0])[:3] == ["2022-04-01", "2023-03-24", "2023-03-31"]


def test_an_expanding_window_keeps_its_beginning():
    config = WalkForwardConfig(refit="year", window="expanding")
    found = folds(SESSIONS, "2022-01-01", config, pd.Timestamp("2020-01-01"))
    assert [days(fold)[0] for fold in found] == ["2020-01-01"] * 3
    assert [days(fold)[1] for fold in found] == ["2021-12-31", "2022-12-30", "2023-12-29"]
    with pytest.raises(ValueError, match="train_start: an expanding window needs"):
        folds(SESSIONS, "2022-01-01", config)


def test_months_are_counted_from_the_start_so_a_month_end_does_not_drift():
    found = folds(SESSIONS, "2023-01-31", WalkForwardConfig(refit="month", train_months=1))
    assert [days(fold)[3] for fold in found[:3]] == ["2023-01-31", "2023-02-28", "2023-03-31"]


@given(st.integers(1, 14), st.integers(1, 30), st.integers(0, 15), st.dates(date(2022, 1, 1), date(2024, 12, 1)))
@settings(max_examples=40, deadline=None)
def test_tested_spans_tile_the_test_and_never_meet_their_training(refit, months, embargo, start):
    config = WalkForwardConfig(refit=refit, train_months=months, embargo_sessions=embargo)
    found = folds(SESSIONS, pd.Timestamp(start), config)
    covered = [day for fold in found for day in pd.bdate_range(fold.start, fold.end)]
    assert covered == list(pd.bdate_range(start, SESSIONS[-1]))
    for fold in found:
        gap = SESSIONS.get_loc(fold.decides_from) - SESSIONS.get_loc(fold.train_end)
        assert gap == embargo and fold.decides_from < fold.start
        assert fold_for(found, fold.decides_from) is fold


def test_a_day_is_decided_by_the_last_encoder_trained_before_it():
    found = folds(SESSIONS, "2023-04-01", WalkForwardConfig(refit="month", train_months=3))
    assert fold_for(found, pd.Timestamp("2023-03-31")).number == 0
    assert fold_for(found, pd.Timestamp("2023-04-27")).number == 0
    assert fold_for(found, pd.Timestamp("2023-04-28")).number == 1  # fills in May
    with pytest.raises(ValueError, match="2023-03-30 lies before the first decision, 2023-03-31"):
        fold_for(found, pd.Timestamp("2023-03-30"))


def test_folds_without_a_decision_are_not_trained():
    found = folds(SESSIONS, "2023-04-01", WalkForwardConfig(refit="month", train_months=3))
    quarterly = pd.DatetimeIndex(["2023-03-31", "2023-06-30", "2023-09-29"])
    assert [fold.number for fold in that_decide(found, quarterly)] == [0, 3, 6]


def test_a_folds_seed_comes_from_the_runs_seed_and_its_number_alone():
    seeds = [fold_seed(seed, number) for seed in range(10) for number in range(10)]
    assert len(set(seeds)) == 100
    assert fold_seed(3, 7) == np.random.SeedSequence([3, 7]).generate_state(1)[0]


def test_a_warm_start_is_shorter_and_otherwise_the_same():
    warm = warm_training(TrainConfig(holdout=0.2), WalkForwardConfig(warm_epochs=2, warm_windows=100))
    assert (warm.epochs, warm.windows_per_epoch, warm.learning_rate, warm.holdout) == (2, 100, 1e-3, 0.2)


def test_the_rolling_preset_is_two_years_quarterly_refits_monthly_decisions():
    config = to_dict(make_config(read_preset("rolling")))
    assert config["walk_forward"]["train_months"] == 24 and config["walk_forward"]["refit"] == "quarter"
    assert config["trading"]["rebalance"] == "month"
    assert config["dates"]["train_start"] == "2023-01-01" and config["dates"]["train_end"] == "2024-12-31"


@pytest.mark.parametrize(
    ("walk", "dates", "message"),
    [
        ({"refit": "fortnight"}, {}, r"walk_forward.refit: got 'fortnight', expected never, month, quarter, year or a"),
        ({"refit": 0}, {}, "walk_forward.refit: got 0"),
        ({"window": "sliding"}, {}, "walk_forward.window: got 'sliding', expected one of trailing, expanding"),
        ({"train_months": 0}, {}, "walk_forward.train_months: got 0, expected a whole number from 1"),
        ({"embargo_sessions": -1}, {}, "walk_forward.embargo_sessions: got -1"),
        ({"warm_learning_rate": 0.0}, {}, "walk_forward.warm_learning_rate: got 0.0"),
        ({"refit": "month"}, {"train_start": "2020-01-01"}, "dates.train_start: got 2020-01-01, but .* is 2023-01-01"),
        ({"refit": "month"}, {"train_end": "2024-12-30"}, "dates.train_end: got 2024-12-30, but .* is 2024-12-31"),
        ({"refit": "month"}, {"start": "soon"}, "dates.start: got 'soon'"),
    ],
)
def test_a_wrong_plan_is_named(walk, dates, message):
    with pytest.raises(ValueError, match=message):
        make_config({"walk_forward": walk, "dates": dates})


def test_too_little_before_the_test_is_named():
    config = WalkForwardConfig(refit="month", train_months=1, embargo_sessions=30)
    with pytest.raises(ValueError, match="would begin on 2023-03-01 and end on 2023-02-17"):
        folds(SESSIONS, "2023-04-01", config)
    with pytest.raises(ValueError, match="they begin on 2019-01-01; none is left to train on before 2019-01-02"):
        folds(SESSIONS, "2019-01-02", config)
