from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.feeds.features import FeatureConfig, Features
from clusterfolio.strategies.embedding import EmbeddingConfig, PanelEmbedder
from clusterfolio.strategies.passports.likeness import APART, COMMON, EVERY, distances, nearest, past_days
from tests.conftest import make_panel

DAYS = st.dates(min_value=pd.Timestamp("1999-01-01").date(), max_value=pd.Timestamp("2030-01-01").date())


def between(first, second):
    return int(np.busday_count(first.date(), second.date()))


@settings(max_examples=60, deadline=None)
@given(first=DAYS, length=st.integers(0, 2000), later=st.integers(0, 200))
def test_days_lie_in_the_known_past_and_stay_the_same_for_later_decisions(first, length, later):
    begin = pd.Timestamp(first)
    asof = begin + pd.Timedelta(days=length)
    days = past_days(begin, asof)
    if len(days):
        assert days[0] >= begin and between(days[-1], asof) >= APART
        assert between(days[-1], asof) < APART + EVERY + 5
    assert all(between(one, two) == EVERY for one, two in pairwise(days))
    assert list(past_days(begin, asof + pd.Timedelta(days=later))[: len(days)]) == list(days)


class Bent:
    """Stands in for an encoder: what it makes of a window is no linear function of it."""

    lookback = 4

    def transform(self, windows):
        values, observed = windows.gather(np.arange(len(windows)))
        flat = np.where(observed, values, 7.0).reshape(len(windows), -1).astype(np.float64)
        return np.tanh(flat @ np.random.default_rng(3).normal(size=(flat.shape[1], 5)))


def world(seed=0, n_assets=9, n_days=80):
    """A panel with features of which bars and entries are missing, its embedder, days and groups."""
    rng = np.random.default_rng(seed)
    dates, names = pd.bdate_range("2020-01-01", periods=n_days), [f"A{i}" for i in range(n_assets)]
    close = pd.DataFrame(100 + rng.normal(size=(n_days, n_assets)).cumsum(axis=0), dates, names)
    values = rng.normal(size=(n_days, n_assets, 2)).astype(np.float32)
    values[: n_days // 2, : n_assets // 3] = np.nan  # listed late
    observed = np.isfinite(values) & (rng.random(values.shape) < 0.8)
    panel = replace(make_panel(close), features=Features(values, observed, FeatureConfig()))
    groups = np.equal.outer(np.arange(3), np.arange(n_assets) % 3)
    return panel, PanelEmbedder(Bent(), EmbeddingConfig(kind="last")), dates[[2, 10, 30, 50, 60]], groups


def test_distances_are_those_of_the_mean_windows_of_who_is_there_on_both_days():
    panel, embedder, days, groups = world()
    found = distances(embedder, panel, days, groups)
    values, seen = panel.features.values, panel.features.observed
    assert found.shape == (3, 5) and np.isnan(found[:, 0]).all() and np.isfinite(found).any()
    for day, date in enumerate(days):
        at, now = panel.dates.get_loc(date), len(panel.dates) - 1
        for group, members in enumerate(groups):
            own = [i for i in np.flatnonzero(members) if at >= 3 and np.isfinite(values[at - 3 : at + 1, i]).all()]
            if len(own) < COMMON * members.sum() or not own:
                assert np.isnan(found[group, day])
                continue
            parts = []
            for end in (at, now):
                bars = slice(end - 3, end + 1)
                table = np.ma.masked_array(values[bars][:, own], ~seen[bars][:, own]).mean(axis=1).filled(7.0)
                weights = np.random.default_rng(3).normal(size=(table.size, 5))
                parts.append(np.tanh(table.ravel() @ weights))
            assert found[group, day] == pytest.approx(np.linalg.norm(parts[0] - parts[1]), rel=1e-4)


def test_what_was_not_observed_and_what_is_not_yet_known_do_not_matter():
    panel, embedder, days, groups = world(1)
    found = distances(embedder, panel, days, groups)
    values, seen = panel.features.values.copy(), panel.features.observed
    values[~seen & np.isfinite(values)] = 99.0
    spoiled = replace(panel, features=Features(values, seen, FeatureConfig()))
    np.testing.assert_array_equal(distances(embedder, spoiled, days, groups), found)
    known = panel.until(panel.dates[70])
    assert not np.array_equal(distances(embedder, known, days, groups), found)
    values[71:] = 50.0
    later = replace(panel, features=Features(values, seen, FeatureConfig())).until(panel.dates[70])
    np.testing.assert_array_equal(distances(embedder, later, days, groups), distances(embedder, known, days, groups))


def test_a_group_of_one_is_that_asset():
    panel, embedder, days, _ = world(2)
    found = distances(embedder, panel, days, np.eye(9, dtype=bool))
    embeddings, present = embedder.at(panel, days.append(panel.dates[-1:]))
    apart = np.linalg.norm(embeddings[:, :-1] - embeddings[:, -1:], axis=2)
    np.testing.assert_allclose(found, np.where(present[:, :-1] & present[:, -1:], apart, np.nan), rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.floats(0, 10), st.just(float("nan"))), min_size=1, max_size=40))
def test_the_nearest_days_are_apart_ascending_and_begin_with_the_nearest_of_all(values):
    days = pd.DatetimeIndex(np.busday_offset("2010-01-01", EVERY * np.arange(len(values)), roll="forward"))
    found = nearest(np.array(values), days)
    known = [value for value in values if not np.isnan(value)]
    assert len(found) <= 3 and (not known or found[0][1] == min(known))
    assert [far for _, far in found] == sorted(far for _, far in found)
    chosen = [day for day, _ in found]
    assert all(abs(between(a, b)) >= APART for i, a in enumerate(chosen) for b in chosen[:i])
