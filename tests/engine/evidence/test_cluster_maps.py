"""Maps and trees of decisions: places that can be followed, trees that are scipy's own, and no more rows than asked."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import cophenet, leaves_list, linkage
from scipy.spatial.distance import squareform
from sklearn.manifold import trustworthiness

from clusterfolio.engine.evidence.cluster_maps import SIDE, cluster_maps, maps_of, places, project, tree_of
from clusterfolio.strategies.policy import Decision


def planted(n=60, groups=6, seed=0, noise=0.2):
    """Rows on the unit sphere around planted centres."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(groups, 8))[np.arange(n) % groups] + noise * rng.normal(size=(n, 8))
    return pd.DataFrame(rows / np.linalg.norm(rows, axis=1, keepdims=True), [f"S{i:02d}" for i in range(n)])


def shaken(rows, by, seed):
    return rows + by * np.random.default_rng(seed).normal(size=rows.shape)


def decision(day, rows):
    labels = pd.Series(np.arange(len(rows)) % 6, rows.index)
    return Decision(pd.Timestamp(day), pd.Series(dtype=float), labels=labels, embeddings=rows)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 30), st.integers(0, 1000))
def test_leaves_and_heights_are_all_of_wards_tree(n, seed):
    rows = pd.DataFrame(np.random.default_rng(seed).normal(size=(n, 4)), [f"S{i}" for i in range(n)])
    tree = linkage(rows.to_numpy(), method="ward")
    found = tree_of(rows)
    order = found["leaf"].to_numpy().argsort()
    assert order.tolist() == leaves_list(tree).tolist()
    # Two leaves meet at the highest of the heights between them.
    heights = found["height"].to_numpy()[order]
    meet = [[heights[i + 1 : j + 1].max() if j > i else 0 for j in range(n)] for i in range(n)]
    own = squareform(cophenet(tree))[np.ix_(order, order)]
    np.testing.assert_allclose(np.triu(meet), np.triu(own), rtol=6e-3)
    assert np.isnan(heights[0])


def test_a_map_follows_the_one_before_and_is_as_good_as_one_of_its_own():
    rows = [planted()]
    for seed in range(1, 5):
        rows.append(shaken(rows[-1], 0.03, seed))
    found = places(rows).to_numpy().reshape(5, 60, 2)
    moved = np.linalg.norm(np.diff(found, axis=0), axis=2)
    assert np.median(moved) < 0.1 * SIDE
    own = trustworthiness(rows[-1].to_numpy(), project(rows[-1]).to_numpy(), n_neighbors=5)
    assert trustworthiness(rows[-1].to_numpy(), found[-1], n_neighbors=5) > own - 0.03


def test_a_map_that_was_turned_mirrored_and_moved_lies_on_the_one_before():
    few = planted(8, 4)  # too few for t-SNE: principal components, whose signs are free
    turned = few @ np.diag([-1.0, *[1.0] * 7])
    found = places([few, turned]).to_numpy().reshape(2, 8, 2)
    np.testing.assert_allclose(found[0], found[1], atol=1)


def test_a_new_name_begins_beside_what_it_is_like_and_one_that_left_is_not_missed():
    first = planted()
    second = pd.concat([first.drop(index=["S00", "S01"]), first.loc[["S02"]].rename({"S02": "NEW"}) + 1e-3])
    found = maps_of([pd.Timestamp("2025-01-31"), pd.Timestamp("2025-02-28")], [first, second])
    last = found[found["date"] == found["date"].max()].set_index("symbol")[["x", "y"]]
    distance = np.linalg.norm(last - last.loc["NEW"], axis=1)
    assert "S02" in last.index[distance.argsort()[:6]] and "S00" not in last.index


def test_rows_are_whole_numbers_of_one_scale_and_the_encoders_map_stands_beside():
    rows = [planted(seed=1), shaken(planted(seed=1), 0.02, 2)]
    decisions = [decision(f"2025-0{month}-28", one) for month, one in enumerate(rows, 1)]
    found = cluster_maps([Decision(pd.Timestamp("2024-12-31"), pd.Series(dtype=float)), *decisions], planted(seed=9))
    assert list(found) == ["date", "symbol", "x", "y", "encoder_x", "encoder_y", "leaf", "height"]
    assert len(found) == 120 and found["symbol"].tolist() == [*rows[0].index, *rows[1].index]
    at = found[["x", "y"]].to_numpy()
    assert (at == at.round()).all() and at.min() == 0 and at.max() == SIDE
    pd.testing.assert_frame_equal(found, cluster_maps(decisions, planted(seed=9)))  # the same again


def test_the_encoders_map_is_the_last_decisions_and_the_others_keep_their_places():
    decisions = [decision(f"2025-0{month}-28", planted(seed=1)) for month in (1, 2, 3)]
    late = decisions[2].asof
    found = cluster_maps(decisions, planted(seed=9))
    own = found[["encoder_x", "encoder_y"]]
    assert own[found["date"] < late].isna().all(axis=None) and own[found["date"] == late].notna().all(axis=None)
    alone = cluster_maps([decisions[2]], planted(seed=9))
    np.testing.assert_array_equal(own[found["date"] == late], alone[["encoder_x", "encoder_y"]])
    others = planted(seed=9).rename({"S00": "ELSE"})
    assert "encoder_x" not in cluster_maps(decisions, others) and "encoder_x" not in cluster_maps(decisions)


@pytest.mark.parametrize(("most", "kept"), [(80, 10), (79, 5), (27, 4), (8, 1)])
def test_where_there_would_be_too_many_rows_decisions_are_left_out_evenly_and_never_the_last(most, kept):
    days = [f"2025-{month:02d}-28" for month in range(1, 11)]
    rows = planted(8, 4)
    found = cluster_maps([decision(day, rows) for day in days], most=most)["date"].unique()
    step = {10: 1, 5: 2, 4: 3, 1: 10}[kept]
    assert list(found) == [pd.Timestamp(day) for day in days[::-1][::step][::-1]]


def test_of_a_policy_that_states_no_clusters_there_is_no_map():
    found = cluster_maps([Decision(pd.Timestamp("2024-12-31"), pd.Series(dtype=float))])
    assert found.empty and list(found) == ["date", "symbol", "x", "y", "leaf", "height"]
