"""What decisions promised and what was kept, against figures worked out in another way."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.evidence.promises import COLUMNS, bets_shown, promises
from clusterfolio.models.promise import expected_correlation
from clusterfolio.strategies.policy import Decision
from tests.conftest import make_panel

GROUPS = np.repeat([0, 1, 2], 5)
PICKS = ["A00", "A05", "A10"]


@pytest.fixture(scope="module")
def panel():
    """Three groups of five beside a benchmark, four years of days."""
    rng = np.random.default_rng(3)
    moves = 0.008 * (rng.normal(size=(1000, 3))[:, GROUPS] + rng.normal(size=(1000, 15)))
    moves = np.column_stack([moves.mean(axis=1), moves])
    days = pd.bdate_range("2020-01-01", periods=1000)
    names = ["MKT", *(f"A{at:02d}" for at in range(15))]
    return make_panel(pd.DataFrame(100 * np.exp(moves.cumsum(axis=0)), days, names))


def decided(panel, *rows):
    labels = pd.Series(GROUPS, panel.symbols[1:])
    return [Decision(panel.dates[at], pd.Series(1 / 3, PICKS), labels=labels, selected=PICKS) for at in rows]


@pytest.fixture(scope="module")
def table(panel):
    return promises(decided(panel, 600, 640, 900, 960), panel)


def after(panel, at, days):
    return np.diff(np.log(panel.close.to_numpy()[at : at + days + 1, 1:]), axis=0)


def entropy_bets(correlation):
    share = np.linalg.eigvalsh(correlation) / len(correlation)
    return np.exp(-(share * np.log(share)).sum())


def test_kept_is_what_the_year_after_showed_and_next_what_came_until_the_next_decision(table, panel):
    assert list(table.columns) == list(COLUMNS) and len(table) == 4
    year, next_days = np.corrcoef(after(panel, 600, 252).T), np.corrcoef(after(panel, 600, 40).T)
    at, same = [0, 5, 10], np.equal.outer(GROUPS, GROUPS)
    above = np.triu(np.ones((15, 15), dtype=bool), 1)
    row = table.iloc[0]
    assert (row["kept_sessions"], row["next_sessions"], row["n_picks"], row["n_clusters"]) == (252, 40, 3, 3)
    assert row["kept_bets"] == pytest.approx(entropy_bets(year[np.ix_(at, at)]))
    assert row["kept_gap"] == pytest.approx(year[above & same].mean() - year[above & ~same].mean())
    assert row["kept_between"] == pytest.approx(year[~same].mean())  # of groups of one size
    assert row["next_between"] == pytest.approx(next_days[~same].mean())
    assert row["next_correlation"] == pytest.approx(next_days[np.ix_(at, at)][np.triu_indices(3, 1)].mean())
    assert row["largest"] == pytest.approx(1 / 3) and row["small"] == 0


def test_expected_is_worked_out_of_the_two_years_before_alone(table, panel):
    before = np.diff(np.log(panel.close.to_numpy()[600 - 504 : 601, 1:]), axis=0)
    expected = expected_correlation(before)
    assert table["expected_bets"].iloc[0] == pytest.approx(entropy_bets(expected[np.ix_([0, 5, 10], [0, 5, 10])]))
    later = panel.close.copy()
    later.iloc[601:] *= np.random.default_rng(0).uniform(0.5, 2.0, later.iloc[601:].shape)
    poisoned = promises(decided(panel, 600), replace(panel, close=later))
    known = [name for name in COLUMNS if name.startswith("expected_") and name != "expected_bets_shown"]
    pd.testing.assert_frame_equal(poisoned[known], table.iloc[:1][known])
    assert poisoned["kept_gap"].iloc[0] < table["kept_gap"].iloc[0] / 2


def test_too_few_days_after_a_decision_are_no_year(table):
    assert table["kept_sessions"].tolist() == [252, 252, 99, 39]
    assert table["kept_bets"].notna().tolist() == [True, True, True, False]
    assert table["ceiling_gap"].notna().tolist() == [True, False, False, False]  # years do not overlap, 99 are too few


def test_hindsight_is_above_what_was_kept(table):
    first = table.iloc[0]
    assert first["ceiling_bets"] > first["kept_bets"] and first["ceiling_gap"] >= first["kept_gap"]


def test_decisions_without_clusters_or_with_a_single_pick_promise_nothing(panel):
    alone = [replace(one, selected=PICKS[:1]) for one in decided(panel, 600)]
    bare = [Decision(panel.dates[600], pd.Series(1 / 3, PICKS))]
    assert promises(alone, panel).empty and promises(bare, panel).empty
    assert list(promises(bare, panel).columns) == list(COLUMNS)


def test_few_days_show_fewer_bets_than_there_are_as_real_samples_do():
    alike = np.full((10, 10), 0.3) + 0.7 * np.eye(10)
    rng = np.random.default_rng(1)
    drawn = rng.multivariate_normal(np.zeros(10), alike, size=(200, 63))
    found = np.mean([entropy_bets(np.corrcoef(days.T)) for days in drawn])
    assert bets_shown(alike, 63) == pytest.approx(found, rel=0.03)
    assert bets_shown(alike, 63) < bets_shown(alike, 252) < entropy_bets(alike)
