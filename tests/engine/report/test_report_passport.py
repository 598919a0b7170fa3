"""The passports on the report page, from a made-up run and from its files."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.report.page import render
from clusterfolio.engine.report.sections.passports import EARLIER, SHOWN, passport_page
from clusterfolio.engine.run_dir.tables import read_run
from clusterfolio.strategies.passports.passport import COLUMNS
from tests.engine.report.test_report import fake_run, strictly, write_files


def fake_passports(inputs) -> pd.DataFrame:
    """Passports of the made-up run's clusters, as its ``clusters`` table has them."""
    rows = []
    for (day, cluster), members in inputs.clusters.groupby(["date", "cluster"]):
        ranked = members.sort_values("sharpe", ascending=False)
        row = dict.fromkeys(COLUMNS, np.nan) | {
            "date": day, "cluster": cluster, "n_members": len(members), "members": ";".join(members["symbol"]),
            "n_assets": 24, "picks": ranked["symbol"].iloc[0], "pick_sharpe": ranked["sharpe"].iloc[0],
            "pick_rank": 1.0, "pick_rank_of_all": 2.0, "runner_up": ranked["symbol"].iloc[1],
            "runner_up_sharpe": ranked["sharpe"].iloc[1], "lead": 0.25, "stability": [0.9, 0.7, 0.3][cluster % 3],
            "pairs_together": 0.8, "within": 0.5, "between": 0.1, "later_until": pd.Timestamp("2025-03-26"),
            "later_sessions": 20, "later_within": 0.4, "later_between": 0.2, "closest_class": "government_bond",
            "closest_correlation": 0.6, "beta_benchmark": 0.3, "alike_1": pd.Timestamp("2020-03-20"),
            "alike_1_distance": 0.4, "market_alike_1": pd.Timestamp("2018-12-21"), "market_alike_1_distance": 0.6,
            "beta_government_bond": 1.5, "share_government_bond": 0.75, "share_equity": 0.25, "share_forex": 0.0,
        }  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def inputs():
    plain = fake_run()
    return replace(plain, passports=fake_passports(plain))


@pytest.fixture(scope="module")
def section(inputs):
    page = strictly(render, inputs, {})
    assert '<a href="#passports">' in page
    return page[page.index('<section id="passports">') : page.index('<section id="trading">')]


def text(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def test_every_cluster_of_the_last_decision_has_a_card_in_its_colour(section, inputs):
    cards = section.split("<dialog")[1:]
    assert len(cards) == 6
    last = inputs.passports[inputs.passports["date"] == inputs.passports["date"].max()]
    for card, row in zip(cards, last.to_dict("records"), strict=True):
        assert f"background:var(--k{row['cluster']})" in card
        assert f'data-opens="passport-{row["cluster"]}"' in section
        said = text(card)
        assert f"Cluster {row['cluster']}" in said and f"{row['n_members']} members" in said
        assert f"{row['picks']} Sharpe {row['pick_sharpe']:.2f}".replace("-", "−") in said
        assert f"{row['runner_up']} Sharpe" in said and "behind by 0.25" in said
        assert "government bond 75%, equity 25%" in said and "forex" not in said
        assert "Mar 2020 (0.40)" in said and "government bond (correlation 0.60), beta to SPY 0.30" in said
    words = [text(card).split("Stability ")[1].split(" Moves")[0] for card in cards[:3]]
    assert words == ["0.90 firm", "0.70 doubtful at the borders", "0.30 not to be trusted"]


def test_a_card_says_why_its_pick_was_picked_and_what_the_runner_up_lacked(inputs):
    figures = {
        "pick_believed": 0.62, "pick_correlation": 0.08, "pick_shared": 0.42, "pick_head_start": 0.5,
        "runner_up_believed": 0.7, "runner_up_correlation": 0.31, "runner_up_shared": 1.92, "runner_up_head_start": 0.0,
    }  # fmt: skip
    told = replace(inputs, passports=inputs.passports.assign(**figures), config={"selection": {"by": "joint"}})
    said = text(strictly(render, told, {}))
    assert (
        "Chosen with the other picks: believed Sharpe 0.62, correlation with the other picks 0.08 (squares 0.42)"
        in said
    )
    assert "head start 0.50" in said and "behind by 0.25 points" in said
    assert (
        "believed 0.70, correlation 0.31 (squares 1.92); squared correlations higher by 1.50, no head start of 0.50"
        in said
    )
    older = replace(inputs, passports=inputs.passports.drop(columns=list(figures)))
    assert "believed Sharpe" not in text(strictly(render, older, {}))


def test_what_was_known_and_what_came_after_are_told_apart(section):
    said = text(section)
    assert "the two were 0.50 and 0.10 in the year before" in said
    assert "0.40 and 0.20 after, until the next decision" in said and "Since, 20 sessions" in said
    assert "the whole market looked most like Dec 2018 (0.60)" in said


def test_how_many_clusters_are_firm_is_said_in_words(section):
    assert "Of 6, 2 are firm , 2 are doubtful at the borders , 2 are not to be trusted" in text(section)


def test_earlier_decisions_are_folded_away_and_not_too_many(inputs):
    first = inputs.passports[inputs.passports["date"] == inputs.passports["date"].min()]
    days = pd.date_range("2020-01-31", periods=40, freq="ME")
    long = pd.concat([first.assign(date=day) for day in days], ignore_index=True)
    page = passport_page(long, {})
    assert {len(card["earlier"]) for card in page["cards"]} == {EARLIER}
    assert {card["not_shown"] for card in page["cards"]} == {39 - EARLIER}
    assert page["cards"][0]["earlier"][0]["date"] == f"{days[-2]:%Y-%m-%d}"
    html = strictly(render, replace(inputs, passports=long), {})
    assert f"And {39 - EARLIER} before, in passports.csv" in html


def test_a_cluster_that_is_gone_is_counted(inputs):
    table = inputs.passports
    gone = table[(table["cluster"] != 3) | (table["date"] < table["date"].max())]
    assert passport_page(gone, {})["gone"] == 1
    assert "1 cluster of earlier decisions no longer exists" in render(replace(inputs, passports=gone), {})


def test_long_lists_of_members_are_cut(inputs):
    many = inputs.passports.assign(members=";".join(f"S{i}" for i in range(50)))
    shown = passport_page(many, {})["cards"][0]
    assert len(shown["members"]) == SHOWN and shown["more"] == 50 - SHOWN and shown["all_members"].endswith("S49")


def test_a_cluster_without_pick_or_history_has_a_card(inputs):
    bare = inputs.passports.assign(
        picks="", runner_up="", closest_class="", alike_1=pd.NaT, market_alike_1=pd.NaT, later_sessions=0,
        later_until=pd.NaT, pick_sharpe=np.nan, stability=np.nan,
    )  # fmt: skip
    said = text(strictly(render, replace(inputs, passports=bare), {}))
    assert "nobody: no Sharpe ratio" in said and "too little history" in said and "Runner-up none" in said


@pytest.mark.parametrize("table", [None, pd.DataFrame(columns=list(COLUMNS))])
def test_a_run_without_passports_has_a_page_without_the_section(inputs, table):
    page = strictly(render, replace(inputs, passports=table), {})
    assert 'id="passports"' not in page and 'href="#passports"' not in page
    assert "Cluster passports, What the embedding looks at (the run recorded none)" in page


def test_the_table_reads_back_as_it_was_written(inputs, tmp_path):
    write_files(tmp_path, inputs)
    assert read_run(tmp_path).passports is None
    inputs.passports.set_index("date").to_csv(tmp_path / "passports.csv", date_format="%Y-%m-%d")
    read = read_run(tmp_path).passports
    assert read["members"].tolist() == inputs.passports["members"].tolist()
    assert read["picks"].tolist() == inputs.passports["picks"].tolist()  # symbols such as NA and 0005 stay text
    assert passport_page(read, {}) == passport_page(inputs.passports, {})
