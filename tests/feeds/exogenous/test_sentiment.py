import sys
import types

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.feeds.exogenous.sentiment import (
    known_at_close,
    language_model,
    make_scorer,
    next_session,
    read_scores,
    sentiment_channel,
)

NEW_YORK = "America/New_York"


def day_known(*moments, zone=NEW_YORK, calendar="XNYS"):
    return [str(day.date()) for day in known_at_close(pd.DatetimeIndex(moments, tz=zone), calendar)]


def table(path, rows, columns):
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


def good_or_bad(texts):
    return np.array([{"good": 1.0, "bad": -1.0}.get(text, 0.0) for text in texts])


def test_a_text_counts_for_the_first_close_after_it():
    assert day_known("2024-07-02 08:00", "2024-07-02 15:59:59") == ["2024-07-02", "2024-07-02"]
    assert day_known("2024-07-02 16:00", "2024-07-02 23:30") == ["2024-07-03", "2024-07-03"]
    assert day_known("2024-07-03 12:59", "2024-07-03 13:00") == ["2024-07-03", "2024-07-05"]  # half day, holiday after
    assert day_known("2024-07-06 12:00", "2024-07-07 20:00") == ["2024-07-08", "2024-07-08"]  # a weekend
    assert day_known("2024-03-08 15:59", "2024-03-11 15:59") == ["2024-03-08", "2024-03-11"]  # summer time between
    assert day_known("2024-07-02 19:59", "2024-07-02 20:00", zone="UTC") == ["2024-07-02", "2024-07-03"]
    assert day_known("2024-07-02 17:29", "2024-07-02 17:30", zone="Europe/Berlin", calendar="XETR") == [
        "2024-07-02",
        "2024-07-03",
    ]


def test_a_days_score_is_known_on_the_next_session():
    days = pd.DatetimeIndex(["2024-07-02", "2024-07-03", "2024-07-05", "2024-07-06"])
    assert [str(day.date()) for day in next_session(days, "XNYS")] == [
        "2024-07-03",
        "2024-07-05",
        "2024-07-08",
        "2024-07-08",
    ]


def test_the_scores_of_a_session_are_averaged_and_serve_a_week(tmp_path):
    rows = [
        ("2024-07-01T10:00:00-04:00", "good", "AAPL"),
        ("2024-07-01T15:00:00-04:00", "bad", ""),
        ("2024-07-01T15:30:00-04:00", "good", "XOM"),
        ("2024-07-01T16:30:00-04:00", "bad", ""),
    ]
    path = table(tmp_path / "texts.csv", rows, ["timestamp", "text", "symbol"])
    days = pd.date_range("2024-06-28", "2024-07-12")
    values, said = sentiment_channel(path, days, "XNYS", good_or_bad)
    told = pd.Series(values, days)
    assert told[:"2024-06-30"].isna().all()
    assert told["2024-07-01"] == pytest.approx(1 / 3)
    assert told["2024-07-02":"2024-07-09"].eq(-1.0).all() and told["2024-07-10":].isna().all()
    assert said == "4 dated texts (texts.csv)"


def test_daily_scores_need_no_scorer(tmp_path):
    path = table(tmp_path / "daily.csv", [("2024-07-01", 0.5), ("2024-07-02", np.nan)], ["date", "sent_mean"])
    days = pd.bdate_range("2024-07-01", "2024-07-03")
    values, said = sentiment_channel(path, days, "XNYS")
    assert values.tolist() == pytest.approx([np.nan, 0.5, 0.5], nan_ok=True)
    assert said == "1 daily scores, each known on the next session (daily.csv)"


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, 89))
def test_no_text_after_the_close_changes_a_bit_of_what_was_known(seed, cut, tmp_path_factory):
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("texts")
    minutes = np.sort(rng.integers(0, 90 * 24 * 60, 120))
    moments = pd.Timestamp("2024-01-01", tz=NEW_YORK) + pd.to_timedelta(minutes, unit="min")
    rows = pd.DataFrame({"timestamp": moments, "score": rng.uniform(-1, 1, len(moments))})
    days = pd.date_range("2024-01-01", periods=90)
    day = days[cut]
    after = rows["timestamp"] >= (day + pd.Timedelta(hours=16)).tz_localize(NEW_YORK)
    histories = [rows, rows.assign(score=rows["score"].where(~after, -rows["score"])), rows[~after]]
    told = []
    for number, history in enumerate(histories):
        if history.empty:
            continue
        path = folder / f"{number}.csv"
        history.sample(frac=1, random_state=number).to_csv(path, index=False)
        told.append(pd.Series(sentiment_channel(path, days, "XNYS")[0], days)[:day])
    for other in told[1:]:
        pd.testing.assert_series_equal(told[0], other, check_exact=True)


@pytest.mark.parametrize(
    ("rows", "columns", "why"),
    [
        ([("2024-07-01 10:00", "good")], ["timestamp", "text"], "every timestamp needs its zone"),
        ([("", "good")], ["timestamp", "text"], "got an empty one"),
        ([("2024-07-01", "good")], ["day", "headline"], "columns day, headline; expected date and one of score"),
        ([("2024-07-01", 1.0)], ["date", "volume"], "expected date and one of score"),
    ],
)
def test_a_table_that_cannot_be_dated_is_refused(tmp_path, rows, columns, why):
    with pytest.raises(ValueError, match=why):
        read_scores(table(tmp_path / "x.csv", rows, columns))
    with pytest.raises(ValueError, match="no file at"):
        read_scores(tmp_path / "nothing.csv")


def test_texts_without_scores_need_a_scorer_that_gives_one_score_each(tmp_path):
    path = table(tmp_path / "x.csv", [("2024-07-01T10:00:00Z", "good")], ["timestamp", "text"])
    days = pd.bdate_range("2024-07-01", periods=3)
    with pytest.raises(ValueError, match="no scorer is set"):
        sentiment_channel(path, days, "XNYS")
    for wrong in (lambda texts: np.array([7.0]), lambda texts: np.zeros(2), lambda texts: np.array([np.nan])):
        with pytest.raises(ValueError, match="expected 1 scores from -1 to 1"):
            sentiment_channel(path, days, "XNYS", wrong)


def test_what_has_a_score_is_not_scored_again(tmp_path):
    rows = [("2024-07-01T10:00:00Z", "good", 0.25), ("2024-07-01T11:00:00Z", "bad", np.nan)]
    path = table(tmp_path / "x.csv", rows, ["timestamp", "text", "score"])
    asked = []

    def scorer(texts):
        asked.extend(texts)
        return good_or_bad(texts)

    values, _ = sentiment_channel(path, pd.DatetimeIndex(["2024-07-01"]), "XNYS", scorer)
    assert asked == ["bad"] and values[0] == pytest.approx((0.25 - 1) / 2)


def test_vader_tells_good_from_bad():
    pytest.importorskip("vaderSentiment")
    scores = make_scorer("vader")(["Profits soar, a great and happy year", "Horrible losses, fraud and bankruptcy", ""])
    assert scores[0] > 0.5 and scores[1] < -0.5 and scores[2] == 0.0


def test_a_language_model_scores_positive_less_negative(monkeypatch):
    """A stand-in for ``transformers``: its answers have the form of ``pipeline("text-classification", top_k=None)``."""
    asked = {}

    def pipeline(task, **kwargs):
        asked.update(kwargs, task=task)

        def classify(texts, batch_size):
            chances = {"good": (0.8, 0.1), "bad": (0.05, 0.9)}
            return [
                [
                    {"label": "Positive", "score": chances[text][0]},
                    {"label": "negative", "score": chances[text][1]},
                    {"label": "neutral", "score": 1 - sum(chances[text])},
                ]
                for text in texts
            ]

        return classify

    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(pipeline=pipeline))
    assert make_scorer("finbert")(["good", "bad"]) == pytest.approx([0.7, -0.85])
    assert asked["model"] == "ProsusAI/finbert" and asked["task"] == "text-classification" and asked["truncation"]
    assert language_model("some/model")(["good"]) == pytest.approx([0.7]) and asked["model"] == "some/model"


def test_labels_that_are_not_understood_and_packages_that_are_missing_are_named(monkeypatch):
    answers = types.SimpleNamespace(
        pipeline=lambda *a, **k: lambda texts, batch_size: [[{"label": "LABEL_0", "score": 1.0}]]
    )
    monkeypatch.setitem(sys.modules, "transformers", answers)
    with pytest.raises(ValueError, match="has labels label_0; expected positive, negative"):
        make_scorer("finbert")(["good"])
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"'finbert' needs pip install 'clusterfolio\[nlp\]'"):
        make_scorer("finbert")
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", None)
    with pytest.raises(ValueError, match=r"'vader' needs pip install 'clusterfolio\[news\]'"):
        make_scorer("vader")


def test_the_real_series_is_known_a_session_late_and_unknown_after_it_ends(real_data):
    path = real_data / "market_news_sentiment.parquet"
    stated = pd.read_parquet(path).set_index("date")["sent_mean"]
    days = pd.bdate_range("2024-02-26", "2024-03-20")
    told = pd.Series(sentiment_channel(path, days, "XNYS")[0], days)
    assert told["2024-03-04"] == stated["2024-03-01"] and told["2024-03-05"] == stated["2024-03-04"]
    assert told["2024-03-12"] == stated["2024-03-04"] and told["2024-03-13":].isna().all()
