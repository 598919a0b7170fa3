"""`paper --venue alpaca` as a user meets it, on Alpaca on this machine and in its time."""

import datetime as dt
import json
from decimal import Decimal

import pytest

from clusterfolio.engine.live import venues
from clusterfolio.engine.live.alpaca_wire import KEY_ID, SECRET_KEY
from clusterfolio.engine.live.market import RunMarket, RunQuotes
from clusterfolio.engine.progress import Silent
from tests.engine.live import loopback as lb
from tests.engine.live.loopback import Loopback
from tests.engine.live.worlds import close_of
from tests.test_commands import invoke

BEGIN = dt.date(2024, 11, 29)  # a half day, before a weekend


class Listed:
    """What the loopback needs of a world: the quotes of a finished run."""

    def __init__(self, market):
        self.quotes = lambda: RunQuotes(market)


@pytest.fixture(scope="module")
def listed(finished, tmp_path_factory):
    return Listed(RunMarket(finished, tmp_path_factory.mktemp("venue"), (), True, Silent()))


@pytest.fixture
def there(listed, tmp_path, monkeypatch):
    """Half an hour after a close, with keys in the environment."""
    with Loopback(listed, tmp_path / "venue.sqlite", now=close_of(BEGIN)) as there:
        there.sleep(1801)
        monkeypatch.setenv(KEY_ID, lb.KEY_ID)
        monkeypatch.setenv(SECRET_KEY, lb.SECRET)
        monkeypatch.setenv("APCA_API_BASE_URL", there.url)
        monkeypatch.setenv("APCA_API_STREAM_URL", there.stream_url)
        monkeypatch.setattr(venues, "WallTime", lambda: Passing(there))
        yield there


class Passing:
    def __init__(self, there):
        self.now, self.wait = lambda: there.now, there.wait


@pytest.fixture
def account(finished, tmp_path):
    return (finished, "--venue", "alpaca", "--home", tmp_path / "account")


def told(what, account, *more, code=0):
    quiet = () if what == "status" else ("-q", "--trust")
    return json.loads(invoke("paper", what, *account, *quiet, *more, "--json", code=code).stdout)


@pytest.mark.acceptance
def test_plan_and_dry_run_write_nothing_and_are_what_is_sent(there, account):
    planned = told("plan", account)
    dry = told("once", account, "--dry-run")
    assert planned == dry and planned["orders"]
    assert {e.method for e in there.exchanges} == {"GET"}
    sent = told("once", account)["orders"]
    posts = {o["client_order_id"]: Decimal(o["qty"]) for o in map(json.loads, posted(there))}
    assert posts == {o["client_id"]: Decimal(o["quantity"]) for o in planned["orders"]} and len(sent) == len(posts)


def posted(there):
    return [e.sent for e in there.exchanges if e.method == "POST"]


@pytest.mark.acceptance
def test_evening_and_morning_each_with_one_command(there, account):
    evening = told("once", account)
    assert evening["held"] == {} and len(evening["orders"]) == 5 and not evening["halted"]
    there.wait(there.engine.clock().next_open + dt.timedelta(minutes=1))
    morning = told("once", account)
    assert morning["held"] == {p.symbol: str(p.quantity) for p in there.engine.positions()}
    assert len(morning["held"]) == 5 and morning["orders"] == []
    assert len(posted(there)) == 5 and told("status", account)["held"] == morning["held"]
    assert "agree: 5 positions" in invoke("paper", "reconcile", *account, "-q", "--trust").output
    for file in account[-1].iterdir():
        assert lb.KEY_ID.encode() not in file.read_bytes() and lb.SECRET.encode() not in file.read_bytes()


@pytest.mark.acceptance
def test_flatten_ends_flat(there, account):
    told("once", account)
    there.wait(there.engine.clock().next_open + dt.timedelta(minutes=1))
    assert told("once", account)["held"]
    assert told("flatten", account)["held"] == {} and there.engine.positions() == []


@pytest.mark.acceptance
def test_doctor_asks_the_venue_and_changes_nothing(there, account):
    said = invoke("paper", "doctor", *account, "-q", "--trust").output
    assert "PA3TEST00001, 100,000.00 USD, the stream listens" in said and "opens 2024-12-02 14:30 UTC" in said
    assert {e.method for e in there.exchanges} == {"GET"} and not account[-1].exists()


@pytest.mark.acceptance
def test_what_is_wrong_is_said_without_the_keys(there, account, monkeypatch):
    def said(code, *more):
        text = invoke("paper", "once", *account, "-q", "--trust", *more, code=code).output
        assert lb.KEY_ID not in text and lb.SECRET not in text
        return text

    assert "a broker's account begins" in said(2, "--start", "2024-12-02")
    monkeypatch.setenv("APCA_API_BASE_URL", "https://api.alpaca.markets")
    assert "expected https://paper-api.alpaca.markets" in said(2)
    monkeypatch.setenv("APCA_API_BASE_URL", there.url)
    monkeypatch.setenv(SECRET_KEY, "another")
    assert "not now: the stream of updates: not authorized" in said(6)
    monkeypatch.delenv(SECRET_KEY)
    assert "APCA_API_SECRET_KEY must be set in the environment" in said(2)
