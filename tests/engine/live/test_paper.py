"""Paper trading as a user meets it: a finished run, two commands, and the same again after a stop."""

import contextlib
import json
import re
import shutil
import socket

import pandas as pd
import pytest
from filelock import FileLock

from clusterfolio.engine.live.paper import notifier
from tests.test_commands import invoke


@pytest.fixture
def home(tmp_path):
    return ("--home", tmp_path / "account")


QUIET = ("-q", "--trust")


def told(*args, code=0):
    return json.loads(invoke("paper", *args, "--json", code=code).stdout)


def test_a_first_day_takes_one_command_after_the_run_and_goes_on(finished, home, monkeypatch):
    monkeypatch.setenv("APCA_API_KEY_ID", "PKSECRETID")
    monkeypatch.setenv("APCA_API_SECRET_KEY", "very-secret-key")
    planned = told("plan", finished, *QUIET, *home)
    first = told("once", finished, *QUIET, *home)
    assert first["held"] and first["halted"] == "" and abs(first["day"]["causes"]["unexplained"]) < 0.01
    assert planned["plan"]["targets"] == first["held"]
    assert pd.Timestamp(planned["next_decision"]) == pd.Timestamp(planned["plan"]["decided"]) + pd.offsets.BMonthEnd()
    second = told("once", finished, *QUIET, *home)
    assert second["looked_at"] > first["looked_at"]
    shown = invoke("paper", "status", finished, *home).output
    assert all(name in shown for name in second["held"]) and "apart" in shown and "cash" in shown
    worth = sum(row["value"] for row in second["positions"]) + second["account"]["cash"]
    assert worth == pytest.approx(second["day"]["account"], abs=0.1)
    for row in second["positions"]:
        assert row["target"] == pytest.approx(0.2) and row["value"] == pytest.approx(
            float(row["shares"]) * row["price"], abs=0.01
        )
        assert row["held"] == pytest.approx(row["value"] / worth, abs=1e-5)
        assert row["drift"] == pytest.approx(row["held"] - row["target"])
    days = pd.read_csv(home[1] / "days.csv")
    assert len(days) == 3 and (days["unexplained"].abs() < 0.01).all()
    page = (home[1] / "paper.html").read_text()
    assert f"{second['day']['account']:,.2f}" in page and "http" not in page
    assert first["targets"] == first["held"]
    said = invoke("paper", "doctor", finished, *QUIET, *home).output
    assert f"looked at {second['looked_at']}" in said and str(home[1]) in said
    said = invoke("paper", "reconcile", finished, *QUIET, *home).output
    assert f"journal and venue agree: {len(second['held'])} positions" in said
    for file in home[1].iterdir():
        assert b"SECRETID" not in file.read_bytes() and b"very-secret" not in file.read_bytes()


@pytest.mark.acceptance
def test_what_decide_says_paper_orders(finished, home):
    planned = told("plan", finished, *QUIET, *home)
    day = planned["plan"]["decided"]
    capital = home[1].parent / "held.csv"
    capital.write_text("symbol,shares\nCASH,100000\n")
    listed = json.loads(invoke("decide", finished, "--asof", day, "--holdings", capital, "--json", *QUIET).stdout)
    want = {row["symbol"]: row["shares"] for row in listed["orders"]}
    got = {row["symbol"]: float(row["quantity"]) for row in planned["orders"]}
    assert got == pytest.approx(want, rel=1e-8)
    assert {r["symbol"]: float(r["price"]) for r in planned["orders"]} == pytest.approx(
        {r["symbol"]: r["price"] * r["rate"] for r in listed["orders"]}
    )


def test_a_run_on_borrowed_money_is_refused_in_one_sentence(finished, home, tmp_path):
    lent = tmp_path / "lent"
    shutil.copytree(finished, lent)
    config = (lent / "config.toml").read_text()
    config = config.replace("max_exposure = 1.0", "max_exposure = 1.5")
    config = re.sub(r"\[policy\][^[]*", '[policy]\nname = "cluster"\n\n', config)
    (lent / "config.toml").write_text(config.replace("volatility_target = 0.0", "volatility_target = 0.1"))
    said = " ".join(invoke("paper", "once", lent, *QUIET, *home, code=2).output.split())
    assert "risk.max_exposure: the run holds up to 1.5 times the account's value on borrowed money" in said


def test_a_run_whose_stops_rest_is_refused_in_one_sentence(finished, home, tmp_path):
    resting = tmp_path / "resting"
    shutil.copytree(finished, resting)
    config = (resting / "config.toml").read_text().replace("fractional = true", "fractional = false")
    config = re.sub(r"\[policy\][^[]*", '[policy]\nname = "cluster"\n\n', config).replace(
        "\nstop = 0.0", "\nstop = 0.1"
    )
    (resting / "config.toml").write_text(config.replace('stop_orders = "close"', 'stop_orders = "resting"'))
    said = " ".join(invoke("paper", "once", resting, *QUIET, *home, code=2).output.split())
    assert "risk.stop_orders: the run lets stop orders rest with the broker" in said


@pytest.mark.acceptance
def test_a_dry_run_leaves_no_trace(finished, home):
    shown = invoke("paper", "once", finished, "--dry-run", *QUIET, *home).output
    assert "for the open of" in shown
    assert {file.name for file in home[1].iterdir()} == {"lock"}
    assert "no paper account here" in invoke("paper", "status", finished, *home, code=2).output


@pytest.mark.acceptance
def test_halt_and_resume(finished, home):
    before = told("once", finished, *QUIET, *home)["looked_at"]
    invoke("paper", "halt", finished, *home)
    assert told("status", finished, *home)["halted"] == "the kill file is there"
    for command in (["once"], ["once", "--dry-run"], ["flatten"]):
        said = invoke("paper", *command, finished, *QUIET, *home, code=5).output
        assert "halted: kill file" in said and "paper resume" in said
    assert told("status", finished, *home)["looked_at"] == before
    assert "was halted: kill file" in invoke("paper", "resume", finished, *home).output
    held = told("status", finished, *home)["held"]
    flat = invoke("paper", "flatten", finished, *QUIET, *home).output
    assert all(f"sold: {number} of {number} {name}" in flat for name, number in held.items()) and "buys again" in flat
    assert told("status", finished, *home)["held"] == {}


@pytest.mark.acceptance
def test_it_says_when_the_bars_end(finished, home):
    begin = pd.read_csv(finished / "benchmark.csv", index_col=0).index[-3]
    told("run", finished, *QUIET, *home, "--start", begin)
    assert "not now: the bars of" in invoke("paper", "once", finished, *QUIET, *home, code=6).output


@pytest.fixture
def with_a_hole(finished, market, tmp_path):
    """The run's prices, without the bars of some symbols on the third last day but one."""
    folder = tmp_path / "prices"
    shutil.copytree(market, folder)
    begin, hole = pd.read_csv(finished / "benchmark.csv", index_col=0).index[[-5, -4]]
    for file in sorted(folder.glob("*EQ*.parquet"))[:8]:
        frame = pd.read_parquet(file)
        frame.drop(pd.Timestamp(hole), errors="ignore").to_parquet(file)
    return begin, hole, ("--path", folder)


@pytest.mark.acceptance
def test_a_session_without_its_bars_is_named_as_skipped_and_a_dry_run_says_the_same(finished, home, with_a_hole):
    begin, hole, path = with_a_hole
    told("run", finished, *QUIET, *home, *path, "--start", begin, "--sessions", "1")
    dry = told("once", finished, "--dry-run", *QUIET, *home, *path)
    assert dry["plan"]["session"] == hole  # what was planned the day before comes first
    shown = invoke("paper", "once", finished, *QUIET, *home, *path).output
    assert f"{hole}: skipped, " in shown and "no bar of the day" in shown and "the last line is of " + begin in shown
    dry = told("once", finished, "--dry-run", *QUIET, *home, *path)
    after = told("once", finished, *QUIET, *home, *path)
    assert after["skipped_sessions"] == [] and after["day"]["day"] == after["looked_at"] > hole
    assert dry["plan"]["decided"] == after["looked_at"]


@pytest.mark.acceptance
def test_a_dry_run_on_a_first_day_without_its_bars_goes_on_as_once_does(finished, home, with_a_hole):
    _, hole, path = with_a_hole
    begin = ("--start", hole)
    dry = told("once", finished, "--dry-run", *QUIET, *home, *path, *begin)
    once = told("once", finished, *QUIET, *home, *path, *begin)
    for found in dry, once:
        assert [facts["session"] for facts in found["skipped_sessions"]] == [hole]
    assert dry["plan"]["targets"] == once["targets"]


@pytest.mark.acceptance
def test_a_limit_halts_and_is_named(finished, home):
    said = invoke("paper", "once", finished, *QUIET, *home, "--limit", "max_orders=1", code=5).output
    assert "max_orders" in said and "more than 1" in said
    assert "unknown limit" in invoke("paper", "once", finished, *QUIET, *home, "--limit", "x=1", code=2).output


def test_a_command_gets_an_event_as_json_and_its_failing_stops_nothing(tmp_path, caplog):
    file, script = tmp_path / "events", tmp_path / "notify.sh"
    script.write_text(f"cat >> {file}\n")
    notifier(f"sh {script}")("halt", {"why": "a reason", "day": pd.Timestamp("2025-01-31").date()})
    assert json.loads(file.read_text()) == {"event": "halt", "why": "a reason", "day": "2025-01-31"}
    notifier("false")("day", {})
    notifier("no-such-command")("day", {})
    notifier("")("day", {})
    assert caplog.text.count("--notify") == 2


@pytest.mark.acceptance
def test_each_event_is_given_to_a_command(finished, home, tmp_path):
    file, script = tmp_path / "events", tmp_path / "notify.sh"
    script.write_text(f"cat >> {file}; echo >> {file}\n")
    told("once", finished, *QUIET, *home, "--notify", f"sh {script}")
    events = [json.loads(line)["event"] for line in file.read_text().splitlines() if line]
    assert {"plan", "order", "fill", "settled", "day"} <= set(events)


@pytest.mark.acceptance
def test_a_run_says_each_day_as_it_goes_and_another_process_is_told_to_wait(finished, home):
    with FileLock(home[1] / "lock"):
        assert "not now: " in invoke("paper", "once", finished, *QUIET, *home, code=6).output
    run = invoke("paper", "run", finished, "--trust", *home, "--sessions", "3")
    days = pd.read_csv(home[1] / "days.csv")["day"]
    assert len(days) == 3 and all(f"{day}: account " in run.stderr for day in days)


def test_an_account_that_was_never_reached_is_not_there(finished, home, monkeypatch):
    monkeypatch.delenv("APCA_API_KEY_ID", raising=False)
    at = ("--venue", "alpaca", *home)
    invoke("paper", "once", finished, *QUIET, *at, code=2)
    assert "never reached" in invoke("paper", "status", finished, *at, code=2).output


def test_without_a_gateway_it_says_where_it_looked(finished, home, monkeypatch):
    pytest.importorskip("ib_async")
    monkeypatch.delenv("IBKR_PORT", raising=False)
    with socket.socket() as taken:  # nobody listens there
        with contextlib.suppress(OSError):
            taken.bind(("127.0.0.1", 4002))
        said = invoke("paper", "once", finished, *QUIET, "--venue", "ibkr", *home, code=6).output
    assert "127.0.0.1:4002" in said


def test_what_is_wrong_is_said(finished, home, tmp_path):
    assert "add --trust" in invoke("paper", "once", finished, *home, code=2).output
    assert "--venue" in invoke("paper", "once", finished, "--venue", "nasdaq", *QUIET, *home, code=2).output
    assert "not a run directory" in invoke("paper", "once", tmp_path, *QUIET, code=2).output
    assert "no paper account here" in invoke("paper", "status", finished, *home, code=2).output
    assert "expected a session between" in invoke("paper", "once", finished, "--start", "1999-01-01", *QUIET, *home,
                                                  code=2).output  # fmt: skip
