import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.strategies.passports.continuity import match_labels, stability, with_lasting_names
from clusterfolio.strategies.policy import Decision


def labelled(text):
    """``"AB CD"`` as labels: A and B in cluster 0, C and D in cluster 1."""
    return pd.Series({name: number for number, group in enumerate(text.split()) for name in group}, dtype=np.int64)


def decision(day, labels):
    empty = pd.Series(dtype=float)
    return Decision(pd.Timestamp(day), empty, labels, empty, [])


def test_a_renumbered_partition_gets_its_old_names_back():
    before = labelled("ABC DE FGH")
    assert match_labels(before, labelled("FGH ABC DE")).to_dict() == before.to_dict()


def test_names_follow_the_most_members_over_all_clusters():
    # First come, first served would give cluster 0 to "AB" with two; optimal: AB+CD keep 3+2 names.
    before = labelled("ABC DEF")
    named = match_labels(before, labelled("ABDEF C"))
    assert named[["A", "B", "D", "E", "F"]].eq(1).all() and named["C"] == 0


def test_a_cluster_without_a_common_member_gets_a_name_nobody_bore():
    before = labelled("AB CD")
    named = match_labels(before, labelled("XY AB"))
    assert named.to_dict() == {"X": 2, "Y": 2, "A": 0, "B": 0}


def test_nothing_in_common_gives_new_names_throughout():
    assert match_labels(labelled("AB CD"), labelled("XY Z")).to_dict() == {"X": 2, "Y": 2, "Z": 3}


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_matching_changes_names_only(pairs):
    names = [f"S{i}" for i in range(len(pairs))]
    before, now = (pd.Series([pair[side] for pair in pairs], names) for side in (0, 1))
    named = match_labels(before, now)
    assert len({*zip(now, named, strict=True)}) == now.nunique() == named.nunique()
    assert (named == before).sum() >= (now == before).sum()


def test_names_last_over_a_decision_in_cash():
    decisions = [
        decision("2024-01-31", labelled("AB CD")),
        decision("2024-02-29", pd.Series(dtype=int)),
        decision("2024-03-28", labelled("CD AB")),
    ]
    named = with_lasting_names(decisions)
    assert named[2].labels.to_dict() == {"C": 1, "D": 1, "A": 0, "B": 0}
    table = stability(named)
    assert table["date"].tolist() == [pd.Timestamp("2024-03-28")]
    assert table.loc[0, ["common", "joined", "left", "moved"]].tolist() == [4, 0, 0, 0]
    assert table.loc[0, "adjusted_rand"] == 1.0


def test_stability_counts_by_hand():
    named = with_lasting_names(
        [decision("2024-01-31", labelled("ABC DEF")), decision("2024-02-29", labelled("AB CDEX"))]
    )
    row = stability(named).iloc[0]
    assert row[["common", "joined", "left", "moved"]].tolist() == [5, 1, 1, 1]
    # Pairs together both times: AB, DE. Before: AB AC BC DE = 4; now: AB CD CE DE = 4; of 10. Expected 4 * 4 / 10.
    assert row["adjusted_rand"] == pytest.approx((2 - 1.6) / (4 - 1.6))


def test_the_first_decision_alone_has_nothing_to_be_compared_with():
    assert stability([decision("2024-01-31", labelled("AB"))]).empty
