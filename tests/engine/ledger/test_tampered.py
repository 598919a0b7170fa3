"""A ledger that someone changed so that it cannot be read says so, in every command that reads it."""

import shutil
import sqlite3

import pytest
from click.testing import CliRunner

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.ledger.ledger import Ledger, LedgerError
from tests.engine.ledger.made_trials import make_trial


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    ledger = Ledger(tmp_path_factory.mktemp("sound") / "ledger.sqlite")
    for seed in range(40):  # several pages
        ledger.append(make_trial(seed=seed))
    return ledger.path


def statement(*texts: str):
    def change(path):
        with sqlite3.connect(path) as file:
            file.execute("DROP TRIGGER IF EXISTS kept")
            for text in texts:
                file.execute(text)
        file.close()

    return change


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def scribble(path):
    content = bytearray(path.read_bytes())
    content[5000:20_000] = bytes(range(256)) * 58 + bytes(152)
    path.write_bytes(content)


WAYS = {
    "cut off": cut,
    "scribbled over": scribble,
    "garbage": lambda path: path.write_bytes(b"no ledger at all" * 1000),
    "another database": lambda path: (path.unlink(), statement("CREATE TABLE other (x)")(path)),
    "a column less": statement("ALTER TABLE trials DROP COLUMN headline"),
    "a table of another name": statement("ALTER TABLE trials RENAME TO tried"),
    "figures that are none": statement("UPDATE trials SET headline = 'twice as good' WHERE number = 3"),
    "figures of another kind": statement("UPDATE trials SET headline = '[1, 2]' WHERE number = 3"),
    "a day that is none": statement("UPDATE trials SET start = 'yesterday' WHERE number = 3"),
    "a seed that is none": statement("UPDATE trials SET seed = 'lucky' WHERE number = 3"),
    "no text": statement("UPDATE trials SET headline = x'ff00' WHERE number = 3"),
}


@pytest.fixture(params=WAYS)
def tampered(request, sound, tmp_path, monkeypatch):
    path = tmp_path / "ledger.sqlite"
    shutil.copy(sound, path)
    WAYS[request.param](path)
    monkeypatch.setenv("CLUSTERFOLIO_LEDGER", str(path))
    return path


def test_it_says_so_and_names_the_file(tampered):
    with pytest.raises(LedgerError, match=str(tampered)):
        Ledger().trials()
    listed = CliRunner().invoke(main, ["trials"])
    assert listed.exit_code == 2 and str(tampered) in listed.output.replace("\n", ""), listed.output
    verified = CliRunner().invoke(main, ["trials", "verify"])
    assert verified.exit_code == 4 and "ledger" in verified.output, verified.output
    assert CliRunner().invoke(main, ["doctor"]).exit_code == 0


@pytest.mark.parametrize("column", ["config", "facts", "returns"])
def test_a_trial_that_cannot_be_read_says_so(sound, tmp_path, column):
    path = tmp_path / "ledger.sqlite"
    shutil.copy(sound, path)
    ledger = Ledger(path)
    key = ledger.trials().index[4]
    statement(f"UPDATE trials SET {column} = 'x' WHERE number = 5")(path)
    with pytest.raises(LedgerError, match="it holds what this program never wrote"):
        ledger.trial(key)
    assert "row 5" in ledger.verify()[0]
