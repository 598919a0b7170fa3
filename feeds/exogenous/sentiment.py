"""A daily series of the mood of news and posts, dated by the session at whose close it was known.

From a table of daily scores, or from dated texts that are scored here. A day's score is taken to be known on the next
session, because headlines go on after the close. A text counts for the session whose close comes after it: one written
after the close, on a weekend or a holiday counts for the next. Texts about single symbols count like all others: the
series is market-wide, the mean of a session's scores.

A language model that was trained on later texts may know how things went on; VADER is a fixed word list.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.feeds.calendar import session_closes, sessions

log = logging.getLogger(__name__)

#: Columns that hold a score already, the first that is there counts.
SCORES = ("score", "sentiment", "sent_mean", "compound")

#: A session's score serves this long where no newer one comes.
SERVES = pd.Timedelta(days=7)

#: Models for ``transformers``, by the name they go by here; any other name is taken as the model's own.
MODELS = {
    "finbert": "ProsusAI/finbert",
    "roberta": "cardiffnlp/twitter-roberta-base-sentiment-latest",
}

#: Texts of any length to scores from -1 (bad) to 1 (good), one each.
Scorer = Callable[[Sequence[str]], np.ndarray]


def sentiment_channel(
    path: Path, dates: pd.DatetimeIndex, calendar: str, scorer: Scorer | None = None
) -> tuple[np.ndarray, str]:
    """The last session's score known by the close of each day, NaN where there is none, and what it was made from.

    Args:
        path: CSV or Parquet. With a column ``date``: a score per day. With a column ``timestamp`` (with its zone): a
            text or a score per row.
        dates: increasing days.
        calendar: exchange whose sessions and closes count.
        scorer: for texts without scores; None = they are an error.
    """
    table = read_scores(path)
    if "timestamp" in table.columns:
        known = known_at_close(pd.DatetimeIndex(table["timestamp"]), calendar)
        kind = "dated texts"
    else:
        known = next_session(pd.DatetimeIndex(table["date"]), calendar)
        kind = "daily scores, each known on the next session"
    scores = _scores(table, path, scorer)
    usable = np.isfinite(scores) & known.notna()
    # sorted before the mean: the same rows in another order give the same bits
    rows = pd.DataFrame({"known": known[usable], "score": scores[usable]}).sort_values(["known", "score"])
    told = rows.groupby("known")["score"].mean()
    return told.reindex(dates, method="ffill", tolerance=SERVES).to_numpy(), f"{len(rows)} {kind} ({Path(path).name})"


def read_scores(path: Path) -> pd.DataFrame:
    """A table of daily scores (``date``) or of dated texts (``timestamp``, made UTC), checked."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"inputs.sentiment: no file at {path}")
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    columns = set(table.columns)
    if "timestamp" in columns and columns & {"text", *SCORES}:
        return table.assign(timestamp=_in_utc(table["timestamp"], path))
    if "date" in columns and columns & set(SCORES):
        return table.assign(date=pd.to_datetime(table["date"]).dt.normalize())
    raise ValueError(
        f"inputs.sentiment: {path.name} has columns {', '.join(map(str, table.columns))}; expected date and one of "
        f"{', '.join(SCORES)}, or timestamp and text (or a score)"
    )


def known_at_close(times: pd.DatetimeIndex, calendar: str) -> pd.DatetimeIndex:
    """The session at whose close a text of each of these moments (UTC) is known: the first that closes after it.

    Half days close early. NaT where the calendar goes no further.

    >>> written = pd.DatetimeIndex(["2024-07-03 12:59", "2024-07-03 13:00"], tz="America/New_York")  # closes at 13:00
    >>> [str(day.date()) for day in known_at_close(written.tz_convert("UTC"), "XNYS")]
    ['2024-07-03', '2024-07-05']
    """
    if not len(times):
        return pd.DatetimeIndex([])
    closes = session_closes(calendar, *_around(times.tz_convert("UTC").tz_localize(None)))
    at = pd.DatetimeIndex(closes.to_numpy()).searchsorted(times.tz_convert("UTC").tz_localize(None), side="right")
    return _pick(closes.index, at)


def next_session(days: pd.DatetimeIndex, calendar: str) -> pd.DatetimeIndex:
    """The first session after each day; NaT where the calendar goes no further."""
    if not len(days):
        return pd.DatetimeIndex([])
    open_days = sessions(calendar, *_around(days))
    return _pick(open_days, open_days.searchsorted(days, side="right"))


def vader() -> Scorer:
    """The word list of Hutto and Gilbert (2014): no weights, thousands of texts a second; needs the extra [news]."""
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError as fault:
        raise ValueError("inputs.scorer: 'vader' needs pip install 'clusterfolio[news]'") from fault
    analyser = SentimentIntensityAnalyzer()
    return lambda texts: np.array([analyser.polarity_scores(text)["compound"] for text in texts], dtype=float)


def language_model(name: str, batch_size: int = 32) -> Scorer:
    """A classifier with a positive and a negative label, through ``transformers``; needs the extra [nlp].

    The score of a text is the probability of positive less that of negative. Tested with a stand-in for the model;
    unverified with real weights, which the first use downloads.

    Args:
        name: ``finbert``, ``roberta``, or a model's own name or folder.
    """
    try:
        from transformers import pipeline
    except ImportError as fault:
        raise ValueError(f"inputs.scorer: {name!r} needs pip install 'clusterfolio[nlp]'") from fault
    model = MODELS.get(name, name)
    classify = pipeline("text-classification", model=model, top_k=None, truncation=True)

    def score(texts: Sequence[str]) -> np.ndarray:
        found = []
        for labels in classify(list(texts), batch_size=batch_size):
            chance = {entry["label"].lower(): entry["score"] for entry in labels}
            if not {"positive", "negative"} <= set(chance):
                raise ValueError(f"inputs.scorer: {model} has labels {', '.join(chance)}; expected positive, negative")
            found.append(chance["positive"] - chance["negative"])
        return np.array(found, dtype=float)

    return score


def make_scorer(name: str) -> Scorer:
    """The scorer a configuration names; made when the first text needs it."""
    return vader() if name == "vader" else language_model(name)


def lazily(name: str) -> Scorer:
    """``make_scorer(name)``, made at the first call."""
    return partial(_score_with, name)


def _score_with(name: str, texts: Sequence[str]) -> np.ndarray:
    return make_scorer(name)(texts)


def _scores(table: pd.DataFrame, path: Path, scorer: Scorer | None) -> np.ndarray:
    """The table's scores; for texts without one, the scorer's."""
    column = next((name for name in SCORES if name in table.columns), None)
    scores = np.full(len(table), np.nan)
    if column is not None:
        scores = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float)
    if "text" in table.columns:
        texts = table["text"].fillna("").astype(str).str.strip()
        wanting = np.flatnonzero(~np.isfinite(scores) & (texts != "").to_numpy())
        if len(wanting):
            if scorer is None:
                raise ValueError(f"inputs.sentiment: {Path(path).name} holds texts without scores and no scorer is set")
            scores = scores.copy()
            scores[wanting] = _checked(scorer(texts.iloc[wanting].tolist()), len(wanting))
            log.info("%s: %d texts scored", path, len(wanting))
    return scores


def _checked(scores: np.ndarray, n_texts: int) -> np.ndarray:
    scores = np.asarray(scores, dtype=float)
    if scores.shape != (n_texts,) or not (np.abs(scores) <= 1).all():
        raise ValueError(f"scorer: expected {n_texts} scores from -1 to 1, got shape {scores.shape}")
    return scores


def _in_utc(told: pd.Series, path: Path) -> pd.Series:
    """Moments in UTC; one without a zone is refused, since hours decide which session a text counts for."""
    moments = told.map(lambda moment: pd.Timestamp(moment) if pd.notna(moment) else pd.NaT)
    naive = [moment for moment in moments if moment is not pd.NaT and moment.tzinfo is None]
    if naive or moments.isna().any():
        shown = naive[0] if naive else "an empty one"
        raise ValueError(
            f"inputs.sentiment: {path.name}: every timestamp needs its zone, as 2024-03-01T16:30:00-05:00; got {shown}"
        )
    return pd.to_datetime(moments, utc=True)


def _around(days: pd.DatetimeIndex) -> tuple[pd.Timestamp, pd.Timestamp]:
    return days.min() - pd.Timedelta(days=1), days.max() + pd.Timedelta(days=14)


def _pick(open_days: pd.DatetimeIndex, at: np.ndarray) -> pd.DatetimeIndex:
    padded = np.append(open_days.to_numpy(), np.datetime64("NaT"))
    return pd.DatetimeIndex(padded[np.minimum(at, len(open_days))])
