from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.strategies.passports.likeness import APART, COMMON, EVERY, distances, nearest, past_days

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


def test_distances_against_loops():
    rng = np.random.default_rng(0)
    embeddings, present = rng.normal(size=(9, 6, 4)), rng.random((9, 6)) < 0.6
    groups = np.equal.outer(np.arange(3), np.arange(9) % 3)
    found = distances(embeddings, present, groups)
    for group, members in enumerate(groups):
        for day in range(5):
            both = [i for i in np.nonzero(members)[0] if present[i, day] and present[i, 5]]
            if not both or len(both) < COMMON * present[members, 5].sum():
                assert np.isnan(found[group, day])
            else:
                apart = embeddings[both, day].mean(axis=0) - embeddings[both, 5].mean(axis=0)
                assert found[group, day] == pytest.approx(np.linalg.norm(apart))
    assert np.isnan(found).any() and np.isfinite(found).any()


def test_what_stands_where_there_is_no_window_does_not_matter():
    rng = np.random.default_rng(1)
    embeddings, present = rng.normal(size=(5, 4, 3)), rng.random((5, 4)) < 0.7
    spoiled = np.where(present[:, :, None], embeddings, 99.0)
    groups = np.ones((1, 5), dtype=bool)
    np.testing.assert_array_equal(distances(embeddings, present, groups), distances(spoiled, present, groups))


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
