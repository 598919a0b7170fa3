"""Feeds and Yahoo's news: recorded and faulty answers; nothing here leaves this machine."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import clusterfolio.feeds.exogenous.news as news
from clusterfolio.engine.cli.main import main
from clusterfolio.feeds.exogenous.news import collect, fetch, read_rss, read_yahoo_news
from clusterfolio.feeds.exogenous.sentiment import sentiment_channel
from clusterfolio.feeds.raw import DataError

RSS = b"""<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0"><channel><title>Markets</title>
<item><title>Stocks soar on great earnings</title><pubDate>Tue, 02 Jul 2024 15:30:00 -0400</pubDate></item>
<item><title>Fraud at a bank</title><pubDate>Tue, 02 Jul 2024 21:30:00 GMT</pubDate></item>
<item><title>No date at all</title></item>
</channel></rss>"""

ATOM = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title>Markets</title>
<entry><title>Corrected later</title><published>2024-07-02T10:00:00Z</published>
<updated>2024-07-03T22:00:00Z</updated></entry>
</feed>"""

#: As yfinance hands Yahoo's answer over, now and before 2025.
NESTED = {"id": "1", "content": {"title": "Apple rises", "pubDate": "2024-07-02T14:00:00Z", "summary": "..."}}
FLAT = {"uuid": "2", "title": "Apple falls", "providerPublishTime": 1719928800, "publisher": "X"}

feedparser = pytest.importorskip("feedparser")


def moments(table):
    return [f"{moment:%Y-%m-%d %H:%M}" for moment in table["timestamp"]]


def test_a_feed_gives_texts_in_utc_and_leaves_out_what_has_no_date(caplog):
    table = read_rss("https://x", lambda address: RSS)
    assert moments(table) == ["2024-07-02 19:30", "2024-07-02 21:30"]
    assert table["text"].tolist() == ["Stocks soar on great earnings", "Fraud at a bank"]
    assert "1 of 3 headlines have no date" in caplog.text


def test_a_headline_changed_later_counts_from_its_change():
    assert moments(read_rss("https://x", lambda address: ATOM)) == ["2024-07-03 22:00"]


@pytest.mark.parametrize("answer", [b"<html><body>Not found</bod", b"", b"\x00\xff", b"Too many requests"])
def test_what_is_no_feed_is_an_error(answer):
    with pytest.raises(DataError, match="--rss https://x: not a feed"):
        read_rss("https://x", lambda address: answer)


def test_a_feed_cut_off_gives_what_it_holds():
    assert moments(read_rss("https://x", lambda address: RSS[: RSS.index(b"<item><title>No date")])) == [
        "2024-07-02 19:30",
        "2024-07-02 21:30",
    ]


def test_yahoos_headlines_are_read_in_both_forms(caplog):
    table = read_yahoo_news("AAPL", lambda symbol: [NESTED, FLAT, {"id": "3", "content": {"title": "Undated"}}])
    assert moments(table) == ["2024-07-02 14:00", "2024-07-02 14:00"]
    assert set(table["symbol"]) == {"AAPL"} and "1 of 3" in caplog.text
    assert read_yahoo_news("AAPL", lambda symbol: []).empty


def test_yahoo_without_an_answer_is_an_error(monkeypatch):
    import yfinance

    def down(self, *args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr(yfinance.Ticker, "get_news", down)
    with pytest.raises(DataError, match="Yahoo gave no news: ConnectionError: no route"):
        read_yahoo_news("AAPL")


def test_only_web_addresses_are_fetched():
    with pytest.raises(ValueError, match="expected an address that begins with https://"):
        fetch("file:///etc/hostname")
    with pytest.raises(DataError, match=r"127\.0\.0\.1"):
        fetch("http://127.0.0.1:9/feed")  # nothing listens there


def test_the_file_grows_and_what_is_in_it_stays(tmp_path):
    path = tmp_path / "texts.csv"
    first = read_rss("https://x", lambda address: RSS)
    assert collect(path, [first]) == 2
    assert collect(path, [first, read_yahoo_news("AAPL", lambda symbol: [NESTED])]) == 1
    assert collect(path, []) == 0
    scored = []

    def scorer(texts):
        scored.extend(texts)
        return np.full(len(texts), 0.5)

    assert collect(path, [], scorer) == 0 and len(scored) == 3
    assert collect(path, [first], lambda texts: pytest.fail("all are scored")) == 0
    told = pd.read_csv(path)
    assert told["timestamp"].tolist() == sorted(told["timestamp"]) and (told["score"] == 0.5).all()
    days = pd.DatetimeIndex(["2024-07-01", "2024-07-02", "2024-07-03"])
    values, said = sentiment_channel(path, days, "XNYS")
    assert np.isnan(values[0]) and values[1:].tolist() == [0.5, 0.5] and said.startswith("3 dated texts")


def test_the_command_collects_and_scores(tmp_path, monkeypatch):
    pytest.importorskip("vaderSentiment")
    monkeypatch.setattr(news, "fetch", lambda address: RSS)
    monkeypatch.setattr(news, "from_yahoo", lambda symbol: [NESTED])
    path = tmp_path / "texts.csv"
    options = ["news", str(path), "--rss", "https://x", "--symbol", "AAPL", "--scorer", "vader"]
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 0 and result.output.strip() == f"3 new texts in {path}"
    scores = pd.read_csv(path).set_index("text")["score"]
    assert scores["Stocks soar on great earnings"] > 0.5 and scores["Fraud at a bank"] < -0.5
    assert CliRunner().invoke(main, options).output.strip() == f"0 new texts in {path}"
    nothing = CliRunner().invoke(main, ["news", str(path)])
    assert nothing.exit_code == 2 and "name at least one --rss or --symbol" in nothing.output
