from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from clusterfolio.feeds.features import with_features
from clusterfolio.models.clustering import Ward
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.strategies.cluster_policy import ClusterPolicy
from clusterfolio.strategies.diversification import between_clusters, correlations
from clusterfolio.strategies.embedding import EmbeddingConfig, PanelEmbedder
from clusterfolio.strategies.passports.continuity import with_lasting_names
from clusterfolio.strategies.passports.likeness import APART
from clusterfolio.strategies.passports.passport import (
    COLUMNS,
    PassportNotes,
    choice,
    class_shares,
    exposures,
    pair_correlations,
    passports,
    roll,
)
from clusterfolio.strategies.policy import Decision, PortfolioState
from clusterfolio.strategies.selection import SelectionConfig
from tests.conftest import three_clusters

SELECTION = SelectionConfig(sharpe_sessions=120, min_sessions=120, volatility_sessions=120)
TRAINED = 250


def fitted(panel):
    encoder = Encoder(train=TrainConfig(epochs=1, windows_per_epoch=640), lookback=10)
    policy = ClusterPolicy(encoder, Ward(3), embedding=EmbeddingConfig(span=150, step=5), selection=SELECTION)
    return policy.fit(panel.until(panel.dates[TRAINED]))


def noted(policy, panel, days):
    notes = PassportNotes(lambda now: policy)
    decisions = [notes(day).decide(panel.until(day), PortfolioState()) for day in days]
    return notes, with_lasting_names(decisions)


@pytest.fixture(scope="module")
def panel():
    classes = ["equity", *np.repeat(["equity", "government_bond", "commodity"], 6)]
    plain = three_clusters()
    return with_features(replace(plain, assets=plain.assets.assign(asset_class=classes)))


@pytest.fixture(scope="module")
def days(panel):
    return panel.dates[[300, 340, 380]]


@pytest.fixture(scope="module")
def policy(panel):
    return fitted(panel)


@pytest.fixture(scope="module")
def table(panel, policy, days):
    notes, decisions = noted(policy, panel, days)
    return passports(decisions, notes.known, panel)


def decision(labels, sharpe, selected, embeddings=None):
    labels = pd.Series(labels)
    embeddings = np.eye(len(labels)) if embeddings is None else embeddings
    return Decision(
        asof=pd.Timestamp("2024-01-31"),
        weights=pd.Series(dtype=float),
        labels=labels,
        sharpe=pd.Series(sharpe),
        selected=selected,
        embeddings=pd.DataFrame(embeddings, labels.index),
    )


def test_a_row_for_every_cluster_and_decision_with_every_column(table, days):
    assert table["date"].tolist() == list(np.repeat(days, 3))
    assert table["cluster"].tolist() == [0, 1, 2] * 3
    assert tuple(table.columns[: len(COLUMNS)]) == COLUMNS
    assert table["n_members"].tolist() == [6] * 9 and (table["n_assets"] == 18).all()


def test_planted_clusters_show_in_every_figure(table):
    for members in table["members"].str.split(";"):
        assert len({name[0] for name in members}) == 1 and len(members) == 6
    assert (table["stability"] > 0.9).all()
    assert table["within"].between(0.5, 0.9).all() and table["between"].abs().max() < 0.2
    assert table["later_within"].between(0.4, 0.95).all() and table["later_between"].abs().max() < 0.5
    own = {"A": "equity", "B": "government_bond", "C": "commodity"}
    expected = [own[name[0]] for name in table["members"]]
    assert table["closest_class"].tolist() == expected
    for row, kind in zip(table.to_dict("records"), expected, strict=True):
        assert row[f"share_{kind}"] == 1.0 and sum(row[f"share_{name}"] for name in own.values()) == 1.0
        assert row[f"beta_{kind}"] == pytest.approx(1.0)  # the class is the cluster


def test_correlations_and_betas_known_are_those_of_the_last_252_sessions(table, panel, days):
    row = table[(table["date"] == days[1]) & (table["cluster"] == 1)].iloc[0]
    members = row["members"].split(";")
    found = np.corrcoef(np.log(panel.close).diff().iloc[341 - 252 : 341][members].to_numpy().T)
    assert row["within"] == pytest.approx(found[np.triu_indices(6, 1)].mean())
    year = panel.close.pct_change().iloc[341 - 252 : 341]
    assert row["beta_benchmark"] == pytest.approx(np.polyfit(year["MKT"], year[members].mean(axis=1), 1)[0])


def test_what_came_after_is_counted_from_the_day_after_to_the_next_decision(table, panel, days):
    later = table.drop_duplicates("date")
    assert later["later_sessions"].tolist() == [40, 40, 39]
    assert later["later_until"].tolist() == [days[1], days[2], panel.dates[-1]]
    returns = np.log(panel.close).diff().iloc[341:381]
    row = table[(table["date"] == days[1]) & (table["cluster"] == 0)].iloc[0]
    found = np.corrcoef(returns[row["members"].split(";")].to_numpy().T)
    assert row["later_within"] == pytest.approx(found[np.triu_indices(6, 1)].mean())


def test_the_pick_is_the_decisions_own_and_the_runner_up_the_next_best(table, panel, policy, days):
    taken = policy.decide(panel.until(days[0]), PortfolioState())
    for row in table[table["date"] == days[0]].to_dict("records"):
        sharpe = taken.sharpe[row["members"].split(";")].sort_values(ascending=False)
        assert row["picks"] in taken.selected
        assert [row["picks"], row["runner_up"]] == list(sharpe.index[:2])
        assert row["lead"] == pytest.approx(sharpe.iloc[0] - sharpe.iloc[1])
        assert row["pick_rank"] == 1 and row["pick_rank_of_all"] == (taken.sharpe > sharpe.iloc[0]).sum() + 1


def test_the_choice_by_hand():
    taken = decision(
        {"A": 5, "B": 5, "C": 5, "D": 2, "E": 5, "F": 1},
        {"A": 0.5, "B": 2.0, "C": 1.5, "D": 3.0, "E": np.nan, "F": np.nan},
        ["D", "B", "C"],
    )
    found = choice(taken)
    assert found.index.tolist() == [1, 2, 5]
    assert found["picks"].tolist() == ["", "D", "B;C"]
    assert found.loc[5, ["pick_sharpe", "pick_rank", "pick_rank_of_all"]].tolist() == [2.0, 1.0, 2.0]
    assert found.loc[5, ["runner_up", "runner_up_sharpe", "lead"]].tolist() == ["A", 0.5, 1.0]
    assert found.loc[[1, 2], "runner_up"].tolist() == ["", ""] and found.loc[[1, 2], "lead"].isna().all()


def test_members_begin_with_the_most_typical():
    rows = np.array([[0.0], [9.0], [1.0], [3.0]])  # of A, C, D the mean is 4/3, of B itself
    found = roll(decision({"A": 0, "B": 1, "C": 0, "D": 0}, dict.fromkeys("ABCD", 1.0), [], rows))
    assert found["members"].tolist() == ["C;A;D", "B"] and found["n_members"].tolist() == [3, 1]


def test_correlations_of_pairs_agree_with_the_measure_embeddings_are_judged_by():
    rng = np.random.default_rng(0)
    returns = pd.DataFrame(rng.normal(size=(60, 9)), columns=list("ABCDEFGHI"))
    returns["I"] = 0.0  # does not move: counts nowhere
    labels = pd.Series([3, 3, 3, 1, 1, 7, 7, 7, 7], index=list("ABCDEFGHI"))
    found = pair_correlations(returns, labels)
    whole = correlations(returns.to_numpy())
    assert found["between"].mean() == pytest.approx(between_clusters(whole, labels.to_numpy()))
    assert found.loc[1, "within"] == pytest.approx(np.corrcoef(returns["D"], returns["E"])[0, 1])
    by_hand = np.corrcoef(returns[["F", "G", "H"]].to_numpy().T)[np.triu_indices(3, 1)].mean()
    assert found.loc[7, "within"] == pytest.approx(by_hand)


@pytest.mark.parametrize(("n_days", "n_clusters"), [(4, 2), (40, 1)])
def test_too_few_days_or_a_single_cluster_have_no_correlation_with_others(n_days, n_clusters):
    returns = pd.DataFrame(np.random.default_rng(0).normal(size=(n_days, 4)), columns=list("ABCD"))
    found = pair_correlations(returns, pd.Series(np.arange(4) % n_clusters, list("ABCD")))
    assert found["between"].isna().all() and found["within"].isna().all() == (n_days < 5)


def test_betas_are_the_slopes_of_a_line_fit():
    rng = np.random.default_rng(0)
    names = ["MKT", "A", "B", "C", "BILL"]
    returns = pd.DataFrame(rng.normal(size=(100, 5)), columns=names)
    returns["BILL"] = 0.0
    returns["A"] += returns["MKT"]
    assets = pd.DataFrame({"asset_class": ["etf", "x", "x", "y", "bill"], "tradable": [False, *[True] * 4]}, names)
    found = exposures(returns, pd.Series([0, 0, 1], ["A", "C", "BILL"]), assets, "MKT")
    cluster = returns[["A", "C"]].mean(axis=1)
    for column, factor in (
        ("beta_benchmark", returns["MKT"]),
        ("beta_x", returns[["A", "B"]].mean(axis=1)),
        ("beta_y", returns["C"]),
    ):
        assert found.loc[0, column] == pytest.approx(np.polyfit(factor, cluster, 1)[0])
    assert found.loc[0, "closest_correlation"] == pytest.approx(
        max(np.corrcoef(cluster, returns["C"])[0, 1], np.corrcoef(cluster, returns[["A", "B"]].mean(axis=1))[0, 1])
    )
    assert "beta_etf" not in found  # the benchmark's own class, of which nothing may be held
    assert found["beta_bill"].isna().all()
    assert found.loc[1, "closest_class"] == "" and found.loc[1, "beta_benchmark"] == 0.0


def test_class_shares_by_hand():
    assets = pd.DataFrame({"asset_class": ["x", "y", "x", "z"]}, list("ABCD"))
    found = class_shares(pd.Series({"A": 0, "B": 0, "C": 0, "D": 1}), assets)
    assert found.loc[0].to_dict() == {"share_x": pytest.approx(2 / 3), "share_y": pytest.approx(1 / 3), "share_z": 0.0}


def test_days_looked_like_lie_a_quarter_back_and_apart(table, panel):
    for row in table.to_dict("records"):
        for whose in ("", "market_"):
            named = [row[f"{whose}alike_{n}"] for n in (1, 2, 3) if pd.notna(row[f"{whose}alike_{n}"])]
            far = [row[f"{whose}alike_{n}_distance"] for n in (1, 2, 3)][: len(named)]
            assert len(named) >= 2 and far == sorted(far) and far[0] <= 1.0
            assert all(panel.dates[0] < day < row["date"] for day in named)
            every = sorted([*named, row["date"]])
            gaps = [np.busday_count(a.date(), b.date()) for a, b in pairwise(every)]
            assert min(gaps) >= APART


def test_a_storm_now_is_like_the_storm_before(panel):
    """All assets shake five times as hard in two spells; in the second, the first is what it looks like."""
    steps = np.log(panel.close).diff().fillna(0.0)
    storm = np.ones(len(steps))
    storm[120:170] = storm[330:380] = 5.0
    closes = 100 * np.exp((steps.mul(storm, axis=0)).cumsum())
    shaken = replace(panel, features=None, **{name: closes for name in ("open", "high", "low", "close")})
    shaken = with_features(shaken)
    notes, _ = noted(fitted(shaken), shaken, shaken.dates[[375]])
    (facts,) = notes.known.values()
    assert (facts["market_alike_1"] == facts["market_alike_1"].iloc[0]).all()
    assert shaken.dates[125] <= facts["market_alike_1"].iloc[0] <= shaken.dates[185]
    assert facts["market_alike_1_distance"].iloc[0] < 0.7


def test_only_columns_that_say_so_know_the_future(panel, policy, table, days):
    rng = np.random.default_rng(0)
    closes = panel.close.copy()
    closes.iloc[381:] *= np.exp(rng.normal(0, 0.05, (len(closes) - 381, closes.shape[1])))
    poisoned = with_features(replace(panel, features=None, close=closes))
    fresh = fitted(panel)
    notes, decisions = noted(fresh, poisoned, days)
    other = passports(decisions, notes.known, poisoned)
    known = [name for name in table.columns if not name.startswith("later_")]
    pd.testing.assert_frame_equal(other[known], table[known], check_exact=True)
    last = table["date"] == days[-1]
    assert (other["later_within"] - table["later_within"])[last].abs().min() > 0.05
    assert other[~last].equals(table[~last])


def test_a_cut_panel_gives_the_same_known_columns(panel, table, days):
    cut = panel.until(days[1])
    notes, decisions = noted(fitted(cut), cut, days[:2])
    other = passports(decisions, notes.known, cut)
    known = [name for name in table.columns if not name.startswith("later_")]
    pd.testing.assert_frame_equal(other[known], table[table["date"] <= days[1]][known], check_exact=True)
    assert other.loc[other["date"] == days[1], "later_sessions"].tolist() == [0] * 3
    assert other.loc[other["date"] == days[1], ["later_until", "later_within", "later_between"]].isna().all(axis=None)


def test_decisions_are_handed_on_as_they_are(panel, policy, days):
    seen = panel.until(days[0])
    notes = PassportNotes(lambda now: policy)
    taken = notes(days[0]).decide(seen, PortfolioState())
    alone = policy.decide(seen, PortfolioState())
    pd.testing.assert_series_equal(taken.weights, alone.weights)
    pd.testing.assert_series_equal(taken.labels, alone.labels)
    assert list(notes.known) == [days[0]]


def test_passports_bear_the_lasting_names(panel, policy, days):
    notes, decisions = noted(policy, panel, days[:1])
    renamed = [replace(decisions[0], labels=decisions[0].labels.map({0: 9, 1: 4, 2: 6}))]
    found = passports(renamed, notes.known, panel)
    assert found["cluster"].tolist() == [4, 6, 9]
    for row in found.to_dict("records"):
        members = row["members"].split(";")
        assert set(renamed[0].labels[members]) == {row["cluster"]}
        alone = pair_correlations(np.log(panel.close).diff().loc[days[0] :].iloc[1:], renamed[0].labels)
        assert row["later_within"] == pytest.approx(alone.loc[row["cluster"], "within"])


def test_a_decision_in_cash_has_no_passport(panel):
    policy = fitted(panel)
    policy.selection = replace(SELECTION, min_sessions=5000)
    notes, decisions = noted(policy, panel, panel.dates[[300]])
    found = passports(decisions, notes.known, panel)
    assert found.empty and tuple(found.columns) == COLUMNS and not notes.known


def test_windows_at_given_days_are_those_of_the_panel_cut_there(panel, policy):
    days = panel.dates[[20, 100, 300]]
    embedder = PanelEmbedder(policy.encoder, EmbeddingConfig(kind="last"))
    found, present = embedder.at(panel, days)
    assert found.shape == (19, 3, policy.encoder.embed_dim) and present.tolist() == [[False, True, True]] * 19
    assert (found[:, 0] == 0).all()
    for column, day in enumerate(days[1:], 1):
        alone, _ = embedder.at(panel.until(day), pd.DatetimeIndex([day]))
        np.testing.assert_array_equal(found[:, column], alone[:, 0])
