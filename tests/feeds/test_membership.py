from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterfolio.feeds.membership import Membership, read_membership, spells_in
from clusterfolio.feeds.symbols import former, renames, spelling
from clusterfolio.feeds.universe import load_universe
from tests.conftest import make_panel, random_closes

DAYS = pd.bdate_range("2020-01-01", "2020-12-31")


def written(tmp_path, text):
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path


def of(*spells) -> Membership:
    table = pd.DataFrame(spells, columns=["ticker", "start", "end"])
    return Membership(table.assign(start=pd.to_datetime(table["start"]), end=pd.to_datetime(table["end"])), "list.csv")


def on(membership, *symbols):
    return membership.on(DAYS, pd.Index(symbols, dtype=object))


def test_a_member_is_one_from_the_day_it_joins_and_none_on_the_day_it_leaves(tmp_path):
    listed = read_membership(written(tmp_path, "ticker,start_date,end_date\nABC,2020-03-02,2020-06-01\n"))
    inside = on(listed, "ABC")["ABC"]
    assert inside[inside].index[0] == pd.Timestamp("2020-03-02")
    assert inside[inside].index[-1] == pd.Timestamp("2020-05-29")  # a Friday: on Monday it is known to be out


def test_several_spells_and_open_ends_count_and_a_symbol_never_named_is_always_a_member(tmp_path):
    text = "symbol;from;to\nABC;;2020-02-03\nABC;2020-11-02;\n"
    inside = on(read_membership(written(tmp_path, text)), "ABC", "SPY")
    assert inside["SPY"].all()
    assert inside["ABC"].equals(pd.Series((DAYS < "2020-02-03") | (DAYS >= "2020-11-02"), DAYS, name="ABC"))


@pytest.mark.parametrize("spelled", ["BRK-B", "brk.b", "BRK/B"])
def test_a_share_class_is_found_under_every_spelling(spelled):
    assert on(of(("BRK.B", "2020-07-01", None)), spelled)[spelled].equals(
        pd.Series(DAYS >= "2020-07-01", DAYS, name=spelled)
    )


def test_a_changed_ticker_counts_for_its_successor_but_not_when_it_has_prices_of_its_own():
    listed = of(("FB", "2020-02-03", "2020-06-01"), ("META", "2020-06-01", None))
    assert on(listed, "META")["META"].equals(pd.Series(DAYS >= "2020-02-03", DAYS, name="META"))
    both = on(listed, "META", "FB")
    assert both["META"].equals(pd.Series(DAYS >= "2020-06-01", DAYS, name="META"))
    before_the_change = on(of(("FB", "2020-02-03", None)), "META", "FB")
    assert before_the_change["META"].equals(pd.Series(DAYS >= "2020-02-03", DAYS, name="META"))


def test_a_ticker_given_to_another_company_later_does_not_count_for_the_first_ones_successor():
    listed = of(("AA", "2010-01-04", "2016-11-01"), ("AA", "2020-05-01", None), ("HWM", "2020-09-01", None))
    assert on(listed, "HWM")["HWM"].equals(pd.Series(DAYS >= "2020-09-01", DAYS, name="HWM"))


def test_the_shipped_changes_of_tickers_are_spelled_alike_and_lead_nowhere_in_circles():
    table = renames()
    assert (table["old"] != table["new"]).all() and table["day"].notna().all() and not table.duplicated(["old"]).any()
    assert (table["old"].map(spelling) == table["old"]).all()
    for symbol in table["new"]:
        days = [day for _, day in former(symbol)]
        assert days == sorted(days, reverse=True)


days = st.dates(pd.Timestamp("2020-01-01").date(), pd.Timestamp("2020-12-31").date()).map(pd.Timestamp)


@given(
    st.lists(st.tuples(st.sampled_from("AB"), days, days | st.none()), min_size=1, max_size=6),
    st.lists(st.tuples(days, days | st.none()), max_size=4),
    days,
)
def test_spells_that_begin_or_end_later_change_nothing_earlier(spells, more, day):
    spells = [(name, start, end if end is None or end > start else None) for name, start, end in spells]
    named = sorted({name for name, *_ in spells})
    later = [(named[0], start, None if end is None or end <= start else end) for start, end in more if start > day]
    ends_otherwise = [
        (name, start, end if end is not None and end <= day else None) for name, start, end in spells if start <= day
    ]
    known = ends_otherwise + [
        (name, day + pd.Timedelta(days=1), None) for name in named
    ]  # still named, not a member yet
    before = on(of(*spells), *named).loc[:day]
    assert on(of(*spells, *later), *named).loc[:day].equals(before)
    assert on(of(*known, *later), *named).loc[:day].equals(before)


def test_no_symbol_is_a_member_before_it_first_joined():
    rng = np.random.default_rng(0)
    spells = [(f"S{i}", DAYS[a], DAYS[a + 20]) for i, a in enumerate(rng.integers(0, len(DAYS) - 20, 40))]
    inside = on(of(*spells), *[name for name, *_ in spells])
    for name, start, _ in spells:
        assert not inside.loc[inside.index < start, name].any() and inside.loc[start, name]


def test_coverage_counts_the_members_of_the_day_and_those_with_fresh_prices():
    closes = random_closes(60, ["MKT", "A", "B"], start="2020-01-01")
    closes.iloc[20:, 2] = np.nan  # B stops
    panel = make_panel(closes)
    listed = of(("A", "2020-01-01", None), ("B", "2020-01-01", None), ("GONE", "2020-01-01", "2020-02-03"))
    table = listed.coverage(panel, [closes.index[10], closes.index[-1]])
    assert table.to_numpy().tolist() == [[3, 2], [2, 1]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("symbol,from,to\nABC,2020-06-01,2020-03-02\n", "row 2: ABC leaves on 2020-03-02, not after it joined"),
        ("symbol,from,to\nABC,01/06/2020,\n", "row 2: from is '01/06/2020'"),
        ("name,from,to\nABC,2020-06-01,\n", "no column 'symbol'"),
        ("symbol,weight\nABC,0.1\n", "no columns from and to"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_by_row_and_column(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        read_membership(written(tmp_path, text))


def test_a_universe_file_may_hold_the_spells_with_several_rows_a_symbol(tmp_path):
    path = written(
        tmp_path, "symbol,asset_class,from,to\nABC,equity,2020-01-02,2020-03-02\nABC,equity,2020-06-01,\nXY,etf,,\n"
    )
    table = load_universe(path)
    assert list(table.index) == ["ABC", "XY"] and table.loc["ABC", "asset_class"] == "equity"
    inside = on(spells_in(path), "ABC", "XY")
    assert inside["XY"].all() and 0 < inside["ABC"].sum() < len(DAYS)
    path.write_text("symbol\nABC\n", encoding="utf-8")
    assert spells_in(path) is None


def test_a_panel_cuts_and_selects_its_members_like_everything_else():
    panel = make_panel(random_closes(50, ["MKT", "A", "B"], start="2020-01-01"))
    assert panel.members().all()
    listed = of(("A", "2020-01-20", None))
    panel = replace(panel, member=listed.on(panel.dates, panel.symbols))
    assert not panel.until("2020-01-17").members()["A"] and panel.until("2020-01-20").members()["A"]
    assert list(panel.select(["MKT", "A"]).member.columns) == ["MKT", "A"]
    weekend = panel.members_on(pd.DatetimeIndex(["2020-01-18", "2020-01-20"]))
    assert weekend["A"].tolist() == [False, True] and weekend["B"].all()
    with pytest.raises(ValueError, match=r"panel\.member"):
        replace(panel, member=panel.member.iloc[1:])
