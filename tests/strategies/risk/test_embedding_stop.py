"""The embedding stop fires for what behaves otherwise than when it was bought, and for that only."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.feeds.features import with_features
from clusterfolio.strategies.policy import PortfolioState, guarded
from clusterfolio.strategies.risk.centre_stop import CentreStop
from clusterfolio.strategies.risk.config import RiskConfig
from clusterfolio.strategies.risk.embedding_stop import EmbeddingStop
from clusterfolio.strategies.risk.rules import RiskRules
from tests.conftest import make_panel


class Wildness:
    """An encoder whose embedding is a window's volatility, twice."""

    lookback = 10

    def __init__(self):
        self.asked = 0

    def transform(self, windows):
        self.asked += 1
        values, _ = windows.gather(np.arange(len(windows)))
        return np.repeat(values[:, :, 0].std(axis=1)[:, None], 2, axis=1)


def walks(n_days=400, changed=350):
    """Five calm names; from day ``changed`` on, E is ten times as wild."""
    rng = np.random.default_rng(0)
    steps = rng.normal(0, 0.01, (n_days, 5))
    steps[changed:, 4] *= 10
    days = pd.bdate_range("2023-01-02", periods=n_days)
    closes = pd.DataFrame(100 * np.exp(steps.cumsum(axis=0)), days, list("ABCDE"))
    return with_features(make_panel(closes))


@pytest.fixture(scope="module")
def panel():
    return walks()


def stop_of(panel, quantile=0.99):
    return EmbeddingStop(Wildness(), (panel.dates[50], panel.dates[250]), quantile)


def test_the_limit_is_the_quantile_of_moves_on_the_training_span(panel):
    stop = stop_of(panel)
    days = panel.sessions[50:251:10]
    of_day = {day: stop.embed(panel, day) for day in days}
    moves = [
        np.linalg.norm(of_day[two] - of_day[one], axis=1) for i, one in enumerate(days) for two in days[i + 1 : i + 7]
    ]
    assert stop.limit(panel) == pytest.approx(np.quantile(np.concatenate(moves), 0.99))


def test_an_embedding_is_that_of_the_last_window_by_hand(panel):
    stop, day = stop_of(panel), panel.dates[200]
    expected = panel.features.values[191:201, :, 0].std(axis=0)
    np.testing.assert_allclose(stop.embed(panel, day)[:, 0], expected, rtol=1e-6)


def test_what_turned_wild_is_left_and_says_why(panel):
    stop = stop_of(panel)
    entries = dict.fromkeys(panel.symbols, panel.dates[340])
    assert list(stop(panel.until(panel.dates[380]), entries)) == ["E"]
    assert not stop(panel.until(panel.dates[349]), entries)
    why = stop(panel.until(panel.dates[380]), entries)["E"]
    moved, limit = (float(part) for part in why.removeprefix("embedding stop, ").split(" > "))
    assert moved > limit == pytest.approx(stop.limit(panel), abs=0.005)


def test_it_acts_weekly_and_through_the_guard(panel):
    rules = RiskRules(RiskConfig(embedding_stop=0.99), stop_of(panel))
    weights = pd.Series(0.2, list("ABCDE"))
    entries = dict.fromkeys("ABCDE", panel.dates[340])
    for row, left in ((379, []), (380, ["E"])):
        now = panel.until(panel.dates[row])
        state = PortfolioState(entries=entries, decided=panel.dates[360], memory={"base": weights.to_dict()})
        assert sorted(guarded(rules, weights, now, state).reasons) == left
    assert rules.guard_every == 5


def test_a_day_is_embedded_once_and_another_history_anew(panel):
    stop = stop_of(panel)
    day = panel.dates[300]
    for row in (300, 320, 390):
        stop.embed(panel.until(panel.dates[row]), day)
    assert stop.encoder.asked == 1
    other = replace(panel, features=replace(panel.features, values=panel.features.values * 2))
    np.testing.assert_allclose(stop.embed(other, day), 2 * stop.embed(panel, day))


def test_no_later_feature_reaches_it(panel):
    values = panel.features.values.copy()
    values[381:] *= 7
    other = replace(panel, features=replace(panel.features, values=values))
    entries, day = dict.fromkeys(panel.symbols, panel.dates[340]), panel.dates[380]
    assert stop_of(panel)(panel.until(day), entries) == stop_of(other)(other.until(day), entries)


def test_without_an_encoder_it_is_refused():
    with pytest.raises(ValueError, match="embedding_stop: it needs a policy with an encoder"):
        RiskRules(RiskConfig(embedding_stop=0.99))


# From the middle of the cluster ------------------------------------------------------------------------------------


def centre_stop_of(panel, quantile=0.99, labels=None):
    return CentreStop(stop_of(panel), lambda known: pd.Series(0, list("ABCDE")) if labels is None else labels, quantile)


def test_the_limit_is_the_quantile_of_distances_from_the_others_on_the_training_span(panel):
    stop = centre_stop_of(panel, labels=pd.Series([0, 0, 0, 1, 2], list("ABCDE")))
    usual = []
    for day in panel.sessions[50:251:10]:
        where = stop.embeddings.embed(panel, day)[:3]
        usual += [
            np.linalg.norm(where[i] - np.median(where[[j for j in range(3) if j != i]], axis=0)) for i in range(3)
        ]
    assert stop.limit(panel) == pytest.approx(np.quantile(usual, 0.99))
    assert stop.peers(panel, ["A", "D", "X"]) == {"A": ["B", "C"], "D": []}


def test_what_no_longer_behaves_as_its_cluster_is_left_and_a_cluster_may_move_as_a_whole(panel):
    rules = RiskRules(RiskConfig(centre_stop=0.99), centre_stop=centre_stop_of(panel))
    weights = pd.Series(0.2, list("ABCDE"))
    for row, left in ((345, []), (380, ["E"])):  # E has turned wild in between
        fresh = panel.until(panel.dates[row - 5])
        noted = guarded(rules, weights, fresh, PortfolioState(decided=fresh.dates[-1]))
        assert noted.memory["peers"]["E"] == list("ABCD") and not noted.reasons
        state = PortfolioState(
            entries=dict.fromkeys("ABCDE", fresh.dates[-1]), decided=fresh.dates[-1], memory=noted.memory
        )
        found = guarded(rules, weights, panel.until(panel.dates[row]), state)
        assert sorted(found.reasons) == left and all(why.startswith("centre stop, ") for why in found.reasons.values())
    # All five wilder: nobody is away from the others more than usual, seen against their own scale.
    calm = centre_stop_of(panel)
    values = panel.features.values.copy()
    values[360:] = values[360:, [0]] * 10
    wild = replace(panel, features=replace(panel.features, values=values))
    assert not calm(wild.until(panel.dates[380]), calm.peers(wild, list("ABCDE")))
    assert RiskRules(RiskConfig(centre_stop=0.99), centre_stop=calm).guard_every == 5


def test_no_later_feature_reaches_the_centre_stop(panel):
    values = panel.features.values.copy()
    values[381:] *= 7
    other = replace(panel, features=replace(panel.features, values=values))
    day, peers = panel.dates[380], centre_stop_of(panel).peers(panel, list("ABCDE"))
    found = [centre_stop_of(one)(one.until(day), peers) for one in (panel, other)]
    assert found[0] == found[1] and list(found[0]) == ["E"]


def test_without_clusters_a_centre_stop_is_refused():
    with pytest.raises(ValueError, match="centre_stop: it needs a policy with an encoder and clusters"):
        RiskRules(RiskConfig(centre_stop=0.99))
