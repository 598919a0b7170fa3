"""The ledger: trials counted once each, by many processes at a time, and nothing taken out of it unseen."""

import json
import logging
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import platformdirs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.engine.ledger.chain import GENESIS, row_hash
from clusterfolio.engine.ledger.ledger import COLUMNS, Ledger, LedgerError, enter, ledger_path
from clusterfolio.engine.ledger.trials import Trial, config_hash, fingerprint_of_returns, pack, unpack
from tests.engine.ledger.made_trials import make_trial, run_json

ROOT = Path(__file__).resolve().parents[3]


def setting(trial: Trial, section: str, key: str, value) -> Trial:
    return replace(trial, config={**trial.config, section: {**trial.config[section], key: value}})


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "place" / "ledger.sqlite")


# What is counted


def test_trials_are_counted_and_the_same_again_is_not(ledger):
    first, second = make_trial(0), make_trial(1)
    receipts = [ledger.append(trial) for trial in (first, second, first)]
    assert [receipt.count for receipt in receipts] == [1, 2, 2]
    assert receipts[2].trial == receipts[0].trial == first.key and receipts[2].head == receipts[1].head
    assert ledger.count() == 2 and ledger.verify() == []


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("engine", "workers", 4), ("engine", "clock", "stock"), ("engine", "device", "cpu"), ("data", "path", ["moved/"])],
)
def test_what_cannot_change_a_result_makes_no_other_trial(section, key, value):
    trial = make_trial()
    assert setting(trial, section, key, value).key == trial.key


@pytest.mark.parametrize(
    "other",
    [
        setting(make_trial(), "trading", "rebalance", "week"),
        setting(make_trial(), "engine", "seed", 7),
        make_trial(data="e" * 64),
        make_trial(code="b" * 16),
        make_trial(returns=make_trial().returns * (1 + 1e-15)),
        make_trial(returns=make_trial().returns.shift(freq="D")),
    ],
    ids=["setting", "seed", "data", "code", "returns", "days"],
)
def test_each_part_of_a_trial_makes_another(ledger, other):
    assert ledger.append(make_trial()).trial != ledger.append(other).trial
    assert ledger.count() == 2


def test_only_the_seed_may_differ_under_one_configuration_hash():
    assert config_hash(make_trial(0).config) == config_hash(make_trial(1).config)
    assert make_trial(0).seed == 0 and make_trial(1).seed == 1


def test_what_was_written_is_read_back(ledger):
    trial = make_trial(3, facts={"device": "cpu"})
    before = pd.Timestamp.now(tz="UTC").floor("s")
    key = ledger.append(trial).trial
    again = ledger.trial(key)
    pd.testing.assert_frame_equal(again.returns, trial.returns, check_freq=False, check_index_type=False)
    assert again.key == key and again.facts == {"device": "cpu"} and again.headline == trial.headline
    row = ledger.trials().loc[key]
    assert before <= row["at"] <= pd.Timestamp.now(tz="UTC")
    assert (row["start"], row["end"]) == (trial.returns.index[0], trial.returns.index[-1])
    assert row["sharpe"] == 0.5 and np.isnan(row["sortino"]) and row["seed"] == 3 and row["sessions"] == 30


def test_returns_are_joined_by_day_in_the_order_asked_for(ledger):
    early, late = make_trial(0, "2024-01-01"), make_trial(1, "2024-01-15")
    keys = [ledger.append(trial).trial for trial in (early, late)]
    table = ledger.returns(keys[::-1])
    assert list(table.columns) == keys[::-1] and table.index.is_monotonic_increasing
    pd.testing.assert_series_equal(
        table[keys[0]].dropna(), early.returns["strategy"], check_names=False, check_freq=False, check_index_type=False
    )
    assert ledger.returns(keys, of="benchmark")[keys[1]].dropna().tolist() == late.returns["benchmark"].tolist()
    assert ledger.returns([]).shape == (0, 0)


def test_an_unknown_key_is_an_error(ledger):
    ledger.append(make_trial())
    for ask in (ledger.trial, ledger.family, lambda key: ledger.returns([key])):
        with pytest.raises(KeyError, match="nothing"):
            ask("nothing")


def test_reading_makes_no_ledger(ledger):
    assert ledger.trials().empty and ledger.count() == 0 and ledger.verify() == []
    assert "sharpe" in ledger.trials().columns
    assert not ledger.path.parent.exists()


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.tuples(st.floats(width=64), st.floats(width=64)), min_size=1, max_size=20),
    first=st.dates(pd.Timestamp("1900-01-01").date(), pd.Timestamp("2200-01-01").date()),
)
def test_packed_returns_keep_every_bit(values, first):
    index = pd.DatetimeIndex(pd.date_range(first, periods=len(values)), name="date").astype("datetime64[ns]")
    returns = pd.DataFrame(values, index, ["strategy", "benchmark"], dtype=float)
    pd.testing.assert_frame_equal(unpack(pack(returns)), returns, check_exact=True, check_freq=False)
    assert fingerprint_of_returns(unpack(pack(returns))) == fingerprint_of_returns(returns)


# Which trials a result is judged among


def test_a_family_is_every_trial_of_the_same_kind_that_was_tested_on_common_days(ledger):
    own = make_trial(0)
    others = {
        "another benchmark": make_trial(1, market=5, benchmark="QQQ"),
        "overlapping": make_trial(2, "2024-02-01"),
        "long before": make_trial(3, "2020-01-01"),
        "made up": make_trial(4, simulated=True),
    }
    key = ledger.append(own).trial
    keys = {name: ledger.append(trial).trial for name, trial in others.items()}
    assert list(ledger.family(key).index) == [key, keys["another benchmark"], keys["overlapping"]]
    assert list(ledger.family(keys["long before"]).index) == [keys["long before"]]


def test_another_made_up_market_is_another_world(ledger):
    here = [ledger.append(make_trial(seed, simulated=True)).trial for seed in (0, 1)]
    there = ledger.append(make_trial(2, simulated=True, market=1)).trial
    assert list(ledger.family(here[1]).index) == here
    assert list(ledger.family(there).index) == [there]


def test_the_very_same_returns_count_once_and_as_the_one_asked_about(ledger):
    first, other = make_trial(0), make_trial(1)
    again = replace(first, code="b" * 16)
    keys = [ledger.append(trial).trial for trial in (first, other, again, replace(other, code="b" * 16))]
    assert list(ledger.family(keys[0]).index) == keys[:2]
    assert list(ledger.family(keys[2]).index) == keys[1:3]


# Nothing is changed or taken out unseen


def test_the_table_refuses_changes(ledger):
    ledger.append(make_trial())
    with sqlite3.connect(ledger.path) as file:
        for attempt in ("UPDATE trials SET seed = 5", "DELETE FROM trials"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                file.execute(attempt)
    file.close()


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A ledger of five trials, and the run.json of each."""
    ledger = Ledger(tmp_path_factory.mktemp("original") / "ledger.sqlite")
    trials = [make_trial(seed, days=4) for seed in range(5)]
    return ledger, [run_json(trial, ledger.append(trial)) for trial in trials]


@pytest.fixture(scope="module")
def copied(original, tmp_path_factory):
    """Makes a copy of it to spoil, and gives the runs with it."""
    path = tmp_path_factory.mktemp("copy") / "ledger.sqlite"

    def copy() -> tuple[Ledger, list[dict]]:
        shutil.copyfile(original[0].path, path)
        return Ledger(path), json.loads(json.dumps(original[1]))

    return copy


def tamper(ledger: Ledger, *statements: tuple) -> None:
    file = sqlite3.connect(ledger.path)
    file.execute("PRAGMA synchronous = OFF")
    for statement, *values in [("DROP TRIGGER kept",), ("DROP TRIGGER whole",), *statements]:
        file.execute(statement, values)
    file.commit()
    file.close()


NUMBERS = ("number", "simulated", "seed", "sessions")

#: A column and another value for it.
CHANGES = st.one_of(
    st.tuples(
        st.sampled_from([*(name for name in COLUMNS if name not in NUMBERS), "hash"]),
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8) | st.binary(max_size=8),
    ),
    st.tuples(st.sampled_from(NUMBERS), st.integers(-5, 2**40) | st.floats(0.1, 0.9)),
    st.tuples(st.just("returns"), st.binary(max_size=80) | st.text(max_size=3)),
)


@settings(max_examples=80, deadline=None)
@given(row=st.integers(1, 5), change=CHANGES)
def test_any_changed_value_is_noticed(copied, row, change):
    ledger, runs = copied()
    name, value = change
    file = sqlite3.connect(ledger.path)
    (before,) = file.execute(f'SELECT "{name}" FROM trials WHERE number = ?', (row,)).fetchone()
    taken = file.execute("SELECT 1 FROM trials WHERE number = ? OR trial = ?", (value, value)).fetchone()
    file.close()
    if value == before or (taken and name in ("number", "trial")) or (name == "number" and not isinstance(value, int)):
        return
    tamper(ledger, (f'UPDATE trials SET "{name}" = ? WHERE number = ?', value, row))
    assert ledger.verify() != [] and ledger.verify(runs[row - 1]) != []


@pytest.mark.parametrize("number", range(1, 6))
def test_a_changed_row_that_states_its_new_hash_does_not_fit_the_next(copied, number):
    """The last one fits no other, but the run that saw it."""
    ledger, runs = copied()
    file = sqlite3.connect(ledger.path)
    *row, _, packed = file.execute("SELECT * FROM trials WHERE number = ?", (number,)).fetchone()
    before = file.execute("SELECT hash FROM trials WHERE number = ?", (number - 1,)).fetchone() or (GENESIS,)
    file.close()
    row[COLUMNS.index("seed")] += 100
    change = "UPDATE trials SET seed = seed + 100, hash = ? WHERE number = ?"
    tamper(ledger, (change, row_hash(before[0], row, packed), number))
    assert bool(ledger.verify()) == (number < 5)
    assert ledger.verify(runs[number - 1]) != [] and ledger.verify(runs[4]) != []


@settings(max_examples=40, deadline=None)
@given(gone=st.sets(st.integers(1, 5), min_size=1))
def test_any_deleted_rows_are_noticed(copied, gone):
    """Rows from the middle by the chain itself; a tail, or all, by any run.json that saw it."""
    ledger, runs = copied()
    tamper(ledger, *[("DELETE FROM trials WHERE number = ?", number) for number in gone])
    tail_only = gone == set(range(min(gone), 6))
    assert (ledger.verify() == []) == tail_only
    for number, run in enumerate(runs, 1):
        assert bool(ledger.verify(run)) == (not tail_only or number >= min(gone))


def test_reordered_rows_are_noticed(copied):
    ledger, _ = copied()
    swap = [("UPDATE trials SET number = ? WHERE number = ?", *pair) for pair in ((99, 2), (2, 3), (3, 99))]
    tamper(ledger, *swap)
    assert len(ledger.verify()) >= 2


def test_a_chain_made_anew_without_a_row_is_found_out_by_what_the_runs_saw(copied, tmp_path):
    _, runs = copied()
    forged = Ledger(tmp_path / "forged.sqlite")
    for seed in (0, 1, 3, 4):
        forged.append(make_trial(seed, days=4))
    assert forged.verify() == []
    assert any("rows are missing" in problem for problem in forged.verify(runs[4]))
    assert any("is not in the ledger" in problem for problem in forged.verify(runs[2]))


def test_a_sound_ledger_and_its_runs_agree(copied):
    ledger, runs = copied()
    assert [ledger.verify(run) for run in runs] == [[]] * 5


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("config", "trading", "rebalance"), "week", "run.json states other settings"),
        (("config", "engine", "seed"), 9, "run.json states another seed"),
        (("fingerprint", "data"), "f" * 64, "run.json states another data"),
        (("fingerprint", "returns"), "f" * 64, "run.json states another outcome"),
        (("ledger", "trial"), "0" * 16, "is not in the ledger"),
        (("ledger", "head"), "0" * 64, "row 3 is not the one that the run saw last"),
        (("ledger", "count"), 2, "row 2 is not the one that the run saw last"),
        (("ledger", "count"), 0, "rows are missing"),
    ],
)
def test_a_changed_run_json_is_noticed(copied, where, value, message):
    ledger, runs = copied()
    *path, last = where
    part = run = runs[2]
    for name in path:
        part = part[name]
    part[last] = value
    assert any(message in problem for problem in ledger.verify(run))


def test_a_run_that_is_not_in_the_ledger_says_why(ledger):
    assert "before there was a ledger" in ledger.verify({"config": {}})[0]
    assert "disk full" in ledger.verify({"ledger": {"error": "disk full"}})[0]


# Many processes, and processes that die

WRITER = """
import sys, time
from pathlib import Path
from tests.engine.ledger.made_trials import make_trial
from clusterfolio.engine.ledger.ledger import Ledger
place, first, n, go = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
print("ready", flush=True)
while not go.exists():
    time.sleep(0.001)
for seed in range(first, first + n):
    receipt = Ledger(Path(place)).append(make_trial(seed, days=2520))
    print(receipt.trial, receipt.count, receipt.head, flush=True)
"""


def writers(ledger: Ledger, go: Path, spans: list[tuple[int, int]]) -> list[subprocess.Popen]:
    """Processes that append the trials of these seeds once ``go`` exists; all are ready to."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(ledger.path), str(first), str(n), str(go)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for first, n in spans
    ]  # fmt: skip
    for process in started:
        assert process.stdout.readline() == "ready\n"
    return started


def test_processes_that_append_at_once_lose_and_break_nothing(ledger, tmp_path):
    """Three at a time, the spans of two overlapping: what two of them append is one trial."""
    started = writers(ledger, tmp_path / "go", [(0, 10), (10, 10), (15, 10)])
    (tmp_path / "go").touch()
    receipts = [line.split() for process in started for line in process.communicate()[0].splitlines()]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len(receipts) == 30 and ledger.count() == 25 and ledger.verify() == []
    assert set(ledger.trials()["seed"]) == set(range(25))
    chain = ledger.chain()
    for trial, count, head in receipts:
        assert chain.hashes[int(count)] == head and chain.rows[trial]["number"] <= int(count)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_a_process_killed_while_it_appends_leaves_whole_rows_only(ledger, tmp_path):
    (process,) = writers(ledger, tmp_path / "go", [(0, 2000)])
    (tmp_path / "go").touch()
    seen = [process.stdout.readline().split() for _ in range(5)]
    process.send_signal(signal.SIGKILL)
    seen += [line.split() for line in process.communicate()[0].splitlines()]
    done = [line for line in seen if len(line) == 3]
    assert process.returncode == -signal.SIGKILL
    assert len(done) <= ledger.count() <= len(done) + 1 and ledger.verify() == []
    assert ledger.append(make_trial(5000)).count == ledger.count() and ledger.verify() == []


# A ledger that cannot be written


def unwritable(kind: str, folder: Path) -> Path:
    path = folder / "ledger.sqlite"
    if kind == "a folder":
        path.mkdir()
    elif kind == "below a file":
        path.touch()
        path = path / "ledger.sqlite"
    elif kind == "another file":
        path.write_text("once upon a time " * 100)
    elif kind == "another database":
        file = sqlite3.connect(path)
        file.execute("CREATE TABLE mine (x)")
        file.commit()
        file.close()
    return path


@pytest.mark.parametrize("kind", ["a folder", "below a file", "another file", "another database"])
def test_a_place_that_cannot_hold_a_ledger_is_named_and_left_alone(kind, tmp_path, caplog):
    path = unwritable(kind, tmp_path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(LedgerError, match=f"ledger {path}: "):
        Ledger(path).append(make_trial())
    with caplog.at_level(logging.WARNING):
        entry = enter(make_trial(), Ledger(path))
    assert list(entry) == ["error"] and str(path) in entry["error"]
    assert "not counted" in caplog.text and str(path) in caplog.text
    assert before is None or path.read_bytes() == before


FULL_DISK = """
import resource, sys
from pathlib import Path
from tests.engine.ledger.made_trials import make_trial
from clusterfolio.engine.ledger.ledger import Ledger, enter
ledger = Ledger(Path(sys.argv[1]))
for seed in range(3):
    ledger.append(make_trial(seed))
size = ledger.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, size + 4096))
print(enter(make_trial(9, days=2520), ledger))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on a file's size here")
def test_a_full_disk_loses_the_row_and_nothing_else(ledger):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(ledger.path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "'error': 'ledger" in done.stdout and "the run is not counted" in done.stderr
    assert ledger.count() == 3 and ledger.verify() == []
    assert ledger.append(make_trial(9, days=2520)).count == 4 and ledger.verify() == []


def test_one_that_is_busy_too_long_is_an_error(ledger, monkeypatch):
    ledger.append(make_trial())
    monkeypatch.setattr("clusterfolio.engine.ledger.ledger.BUSY_SECONDS", 0.05)
    other = sqlite3.connect(ledger.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="locked"):
        ledger.append(make_trial(1))
    other.close()
    assert ledger.append(make_trial(1)).count == 2


# Where it is


def test_the_tests_have_a_ledger_of_their_own(tmp_path):
    """In this process and in those it starts, wherever they run."""
    own = platformdirs.user_data_path("clusterfolio")
    asked = "from clusterfolio.engine.ledger.ledger import ledger_path; print(ledger_path())"
    started = subprocess.run(
        [sys.executable, "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(started.stdout.strip()) == ledger_path() == Ledger().path
    assert own not in ledger_path().parents


def test_without_the_variable_it_is_the_users(monkeypatch):
    monkeypatch.delenv("CLUSTERFOLIO_LEDGER")
    assert ledger_path() == platformdirs.user_data_path("clusterfolio") / "ledger.sqlite"


@pytest.mark.acceptance
def test_thousands_of_trials_of_ten_years_are_listed_within_a_second(ledger, capsys):
    """3,000 rows of 2,520 days each, written in one go."""
    ledger.append(make_trial())
    file = sqlite3.connect(ledger.path)
    *first, head, _ = file.execute("SELECT * FROM trials").fetchone()
    for number in range(2, 3001):
        trial = make_trial(number, days=2520)
        row = [number, trial.key, *first[2:]]
        packed = pack(trial.returns)
        head = row_hash(head, row, packed)
        file.execute(f"INSERT INTO trials VALUES ({', '.join('?' * 20)})", (*row, head, packed))
    file.commit()
    file.close()
    seconds = {}
    for what, ask in (("list", ledger.trials), ("verify", ledger.verify)):
        began = time.perf_counter()
        found = ask()
        seconds[what] = time.perf_counter() - began
        assert len(found) == (3000 if what == "list" else 0)
    with capsys.disabled():
        print(f"3,000 trials: listed in {seconds['list']:.2f} s, verified in {seconds['verify']:.2f} s")
    assert seconds["list"] < 1.0
