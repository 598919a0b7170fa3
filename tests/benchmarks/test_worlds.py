"""The worlds that the verdict is tried on: they are what they say they are, and a few of each are judged."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clusterfolio.engine.evidence.claims import primary
from tests.benchmarks import worlds
from tests.conftest import data_folder
from tests.engine.evidence import resampled_worlds as real
from tests.engine.evidence.looks import looked_at_in_turn
from tests.engine.evidence.verdict_worlds import hold


@pytest.fixture(scope="module")
def pool() -> real.Pool:
    """A made-up market with unequal betas, volatilities and means, resampled as a real one is."""
    rng = np.random.default_rng(0)
    betas, together = rng.uniform(0.2, 1.8, 90), 0.01 * rng.standard_t(5, (900, 1))
    own = rng.uniform(0.002, 0.03, 90) * rng.standard_normal((900, 90))
    return real.pool_of(rng.normal(0.0005, 0.001, 90) + betas * together + own)


def test_all_means_are_equal_and_betas_and_volatilities_are_not(pool):
    assert pool.returns.mean(axis=0) == pytest.approx(np.full(90, real.MEAN), abs=1e-15)
    assert np.ptp(pool.beta) > 1 and pool.volatility.max() > 2 * pool.volatility.min()


def test_scores_are_those_of_the_twelve_months_before(pool):
    months, _ = real.drawn(pool, np.random.default_rng(1), 20)
    past = months[3:15].reshape(-1, months.shape[2])
    together = past.mean(axis=1)
    by_hand = {
        "sharpe": past.mean(axis=0) / past.std(axis=0),
        "volatility": -past.std(axis=0),
        "beta": -((together - together.mean()) @ past) / len(past),
    }
    for by, expected in by_hand.items():
        found = real.scores(months, by)
        assert len(found) == 8 and found[3] == pytest.approx(expected)


def test_a_month_held_is_an_account_left_to_drift(pool):
    months, _ = real.drawn(pool, np.random.default_rng(2), 5)
    weights = np.random.default_rng(3).dirichlet(np.ones(months.shape[2]), 5)
    whole = months.reshape(-1, months.shape[2])
    expected, _ = hold(whole, [row[None] for row in weights], list(range(0, len(whole), 21)))
    assert real.held(months, weights) == pytest.approx(expected[:, 0])


def test_the_planted_ratio_is_in_the_returns(pool):
    found = [primary(real.planted_record(pool, seed, 0.8, years=5))["information_ratio"] for seed in range(40)]
    assert np.mean(found) == pytest.approx(0.8, abs=3 * 5**-0.5 / 40**0.5)


@pytest.mark.parametrize("kind", worlds.KINDS)
def test_a_few_worlds_of_each_kind_are_judged(kind, pool):
    """Of 8 worlds without skill more than 3 claims come by chance once in 2,700 times."""
    rows = [worlds.judged(kind, pool, seed, 1) for seed in range(8)]
    assert worlds.KINDS[kind].skill or sum(row["found"] for row in rows) <= 3
    assert all(row["found"] == (row["p"] <= 0.05) for row in rows)
    assert all(row["p"] == max(row["p_alpha"], row["p_difference"]) for row in rows)


def test_a_tilt_has_alpha_and_is_not_claimed_to_be_skill(pool):
    rows = [worlds.judged("real-low-volatility-names", pool, seed, 3) for seed in range(12)]
    assert sum(row["p_alpha"] <= 0.05 for row in rows) >= 4 and sum(row["found"] for row in rows) <= 3


def test_what_was_claimed_at_its_time_may_go_and_the_first_look_is_one_of_all():
    found = [looked_at_in_turn(seed, 1) for seed in range(2)]
    assert all(row["at_its_time"] >= row["first"] and row["later"] >= row["best"] for row in found)


@pytest.mark.parametrize(("claims", "n"), [(0, 50), (50, 1000), (7, 7)])
def test_the_upper_bound_is_that_of_clopper_and_pearson(claims, n):
    expected = 1.0 if claims == n else stats.beta.ppf(0.975, claims + 1, n - claims)
    assert worlds.upper(claims, n) == pytest.approx(expected)


def test_what_is_kept_is_not_made_again_and_half_a_line_is(tmp_path, monkeypatch):
    keep, wanted = tmp_path / "worlds.jsonl", [("planted", 1, seed) for seed in range(2)]
    first = list(worlds.made(wanted, None, keep))
    keep.write_text(keep.read_text()[:-20])  # killed while the last was written
    made = []
    judged = worlds.judged
    monkeypatch.setattr(worlds, "judged", lambda *args: made.append(args) or judged(*args))
    assert list(worlds.made(wanted, None, keep)) == first and len(made) == 1
    assert list(worlds.made(wanted, None, keep)) == first and len(made) == 1


def test_a_table_says_whether_each_kind_holds():
    rows = pd.DataFrame(
        [{"kind": "noise", "years": 1, "seed": n, "found": n < 10, "p_alpha": 0.0} for n in range(100)]
        + [{"kind": "planted", "years": 1, "seed": n, "found": n < 76, "p_alpha": float(n > 80)} for n in range(100)]
    )
    table = worlds.summary(rows).set_index(["kind", "years"])
    assert table.loc[("noise", "all"), "holds"] == "no" and table.loc[("noise", "1"), "claims"] == 10
    assert table.loc[("planted", "all"), "holds"] == "yes" and table.loc[("planted", "1"), "by_alpha_alone"] == 81


def test_the_command_prints_rows(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["worlds", "--kind", "planted", "--years", "1", "--worlds", "2", "--json"])
    assert worlds.main() == 0
    part, whole = json.loads(capsys.readouterr().out)["kinds"]
    assert part["kind"] == whole["kind"] == "planted" and part["worlds"] == whole["worlds"] == 2


@pytest.mark.acceptance
@pytest.mark.parametrize("kind", [kind for kind, known in worlds.KINDS.items() if known.real and not known.skill])
def test_real_returns_with_equal_means_are_claimed_to_be_skill_no_more_often_than_stated(kind):
    """Of 300 worlds of three years 15 are expected; 24 or more come by chance once in 60 times."""
    drawn_from = real.read_pool(data_folder())
    rows = [worlds.judged(kind, drawn_from, seed, 3) for seed in range(2000, 2300)]
    assert sum(row["found"] for row in rows) <= 23
