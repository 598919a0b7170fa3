"""FRED's CSV: recorded and faulty answers, and a server on this machine; nothing here leaves it."""

import http.server
import threading
from contextlib import contextmanager

import pandas as pd
import pytest

from clusterfolio.feeds.exogenous import fred
from clusterfolio.feeds.exogenous.fred import NoAnswer, UnknownSeries, parse_answer, read_fred
from clusterfolio.feeds.raw import DataError

#: As the service writes it; a holiday has no value.
RECORDED = "observation_date,DGS10\n2024-07-02,4.43\n2024-07-03,4.36\n2024-07-04,\n2024-07-05,4.28\n"
TODAY = pd.Timestamp("2024-07-08")


class Service:
    """Stands in for FRED: answers in order, the last one again and again; an exception is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, name):
        self.asked.append(name)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer.replace("DGS10", name)


def read(tmp_path, service, names=("DGS10",), today=TODAY, waits=None):
    return read_fred(names, tmp_path, service, [].append if waits is None else waits.append, today)


def test_a_recorded_answer_gives_the_values_by_date():
    series = parse_answer(RECORDED, "DGS10")
    assert series.to_dict() == {
        pd.Timestamp("2024-07-02"): 4.43,
        pd.Timestamp("2024-07-03"): 4.36,
        pd.Timestamp("2024-07-05"): 4.28,
    }
    old = RECORDED.replace("observation_date", "DATE").replace("04,\n", "04,.\n")  # as it was written until 2024
    pd.testing.assert_series_equal(parse_answer(old, "DGS10"), series)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a table"),
        ("<!DOCTYPE html>\n<html><body>Too many requests</body></html>", "expected a date and DGS10"),
        ("observation_date,DGS2\n2024-07-02,4.4\n", "expected a date and DGS10"),
        ("observation_date,DGS10\n", "holds no values"),
        ("observation_date,DGS10\n2024-07-02,.\n", "holds no values"),
        ("observation_date,DGS10\n2024-07-02,4.43\n2024-07-0", "no date and value"),
        ("observation_date,DGS10\n2024-07-02,n/a\n", "no date and value"),
        ("observation_date,DGS10\n02/07/2024,4.43\n", "no date and value"),
        ('observation_date,DGS10\n"2024-07-02,4.43\n', "not a table|no date and value"),
    ],
)
def test_a_garbled_answer_is_none(text, why):
    with pytest.raises(NoAnswer, match=why):
        parse_answer(text, "DGS10")


def test_a_series_is_asked_for_once_a_day(tmp_path):
    service = Service(RECORDED, RECORDED + "2024-07-08,4.28\n")
    first = read(tmp_path, service)
    again = read(tmp_path, service)
    assert service.asked == ["DGS10"]
    pd.testing.assert_series_equal(first["DGS10"], again["DGS10"])
    tomorrow = read(tmp_path, service, today=TODAY + pd.Timedelta(days=1))
    assert len(tomorrow["DGS10"]) == 4 and len(service.asked) == 2


def test_requests_are_paced_and_tried_again(tmp_path):
    waits = []
    service = Service(NoAnswer("HTTP status 429"), RECORDED)
    read(tmp_path, service, ("DGS10", "DGS2"), waits=waits)
    assert waits == [fred.WAITS[0], fred.PAUSE]
    assert service.asked == ["DGS10", "DGS10", "DGS2"]


def test_without_an_answer_the_cached_values_serve_and_nobody_is_pestered(tmp_path, caplog):
    read(tmp_path, Service(RECORDED), ("DGS10", "DGS2"))
    down = Service(NoAnswer("URLError: timed out"))
    found = read(tmp_path, down, ("DGS10", "DGS2"), today=TODAY + pd.Timedelta(days=1))
    assert found["DGS10"].iloc[-1] == 4.28
    assert len(down.asked) == len(fred.WAITS) + 1 + 1  # patient with the first, once with the next
    assert "the values of 2024-07-08 serve" in caplog.text


def test_without_an_answer_and_without_a_cache_the_run_ends(tmp_path):
    with pytest.raises(DataError, match="no answer for DGS10 and none is cached: HTTP status 503"):
        read(tmp_path, Service(NoAnswer("HTTP status 503")))
    with pytest.raises(ValueError, match="no series 'DGS10'"):
        read(tmp_path, Service(UnknownSeries("DGS10")))
    assert not list(tmp_path.iterdir())


def test_a_damaged_cache_is_fetched_anew(tmp_path):
    service = Service(RECORDED)
    read(tmp_path, service)
    (tmp_path / "DGS10.csv").write_text("# fetched 2024-07-08\nobservation_date,DGS10\n2024-", encoding="utf-8")
    assert len(read(tmp_path, service)["DGS10"]) == 3 and len(service.asked) == 2


@contextmanager
def server(status, body, delay=None):
    """An HTTP server on this machine that gives one answer; yields its address and what it was asked."""
    asked = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["User-Agent"]))
            if delay is not None:
                delay.wait(5)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_port}/graph/fredgraph.csv", asked
    finally:
        if delay is not None:
            delay.set()
        made.shutdown()
        thread.join()
        made.server_close()


def test_a_series_comes_over_http(monkeypatch):
    with server(200, RECORDED.encode()) as (address, asked):
        monkeypatch.setattr(fred, "ADDRESS", address)
        assert fred.from_fred("DGS10") == RECORDED
    assert asked == [("/graph/fredgraph.csv?id=DGS10", "clusterfolio")]


@pytest.mark.parametrize(("status", "fault"), [(404, UnknownSeries), (429, NoAnswer), (503, NoAnswer)])
def test_a_refusal_over_http_is_told_apart_from_an_unknown_series(monkeypatch, status, fault):
    with server(status, b"") as (address, _):
        monkeypatch.setattr(fred, "ADDRESS", address)
        with pytest.raises(fault):
            fred.from_fred("DGS10")


def test_a_server_that_hangs_is_given_up(monkeypatch):
    with server(200, b"", delay=threading.Event()) as (address, _):
        monkeypatch.setattr(fred, "ADDRESS", address)
        monkeypatch.setattr(fred, "TIMEOUT", 0.1)
        with pytest.raises(NoAnswer, match="timed out"):
            fred.from_fred("DGS10")


def test_bytes_that_are_no_text_and_floods_are_refused(monkeypatch):
    monkeypatch.setattr(fred, "MOST_BYTES", 1000)
    for body, why in ((b"\xff\xfe\x00", "no text"), (b"x" * 2000, "more than 1000 bytes")):
        with server(200, body) as (address, _):
            monkeypatch.setattr(fred, "ADDRESS", address)
            with pytest.raises(NoAnswer, match=why):
                fred.from_fred("DGS10")
