import operator
import subprocess
import sys

import pytest

from clusterfolio.engine.parallel import run_all
from clusterfolio.models.named import find_named, look_in


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder of a user's, with a package ``own_net_of_a_test`` in it; Python's path is as it was after."""
    package = tmp_path / "own_net_of_a_test"
    package.mkdir()
    (package / "good.py").write_text("class Net:\n    class Inner: ...\nnumber = 3\n")
    (package / "lacking.py").write_text("import not_installed_anywhere\n")
    (package / "faulty.py").write_text("1 / 0\n")
    (package / "torn.py").write_text("class Net(\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("own_net_of_a_test")]:
        del sys.modules[name]


def test_a_class_of_the_current_folder_is_found(here):
    found = find_named("own_net_of_a_test.good:Net", "encoder")
    assert found.__module__ == "own_net_of_a_test.good" and find_named(f"{found.__module__}:Net.Inner", "x")


def test_the_current_folder_comes_before_what_is_installed(here):
    (here / "sklearn_of_a_test.py").write_text("where = 'here'\n")
    other = here / "elsewhere"
    other.mkdir()
    (other / "sklearn_of_a_test.py").write_text("where = 'elsewhere'\n")
    sys.path.append(str(other))
    assert find_named("sklearn_of_a_test:where", "x") == "here"
    del sys.modules["sklearn_of_a_test"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("own_net_of_a_test.good", "got 'own_net_of_a_test.good', expected 'package.module:Name'"),
        ("own_net_of_a_test.good:", "expected 'package.module:Name'"),
        (":Net", "expected 'package.module:Name'"),
        ("own_net_of_a_test/good.py:Net", "expected 'package.module:Name'"),
        ("own_nte:Net", r"there is no module own_nte in the current folder \(.*\) or among the installed packages"),
        ("own_net_of_a_test.goood:Net", r"there is no module own_net_of_a_test\.goood in the current folder"),
        ("own_net_of_a_test.good:Nte", r"own_net_of_a_test\.good \(.*good\.py\) has no Nte; it defines: Net$"),
        ("own_net_of_a_test.lacking:Net", "importing own_net_of_a_test.lacking fails: No module named 'not_installed"),
        ("own_net_of_a_test.faulty:Net", "importing own_net_of_a_test.faulty fails: ZeroDivisionError: division"),
        ("own_net_of_a_test.torn:Net", "importing own_net_of_a_test.torn fails: SyntaxError"),
    ],
)
def test_what_is_wrong_with_a_name_is_said_in_one_line(here, text, message):
    with pytest.raises(ValueError, match=rf"^encoder.name: .*{message}") as caught:
        find_named(text, "encoder.name")
    assert "\n" not in str(caught.value)


def test_a_worker_looks_in_the_folder_it_works_for_before_its_own(here, monkeypatch):
    (here / "whose_of_a_test.py").write_text("text = 'of the caller'\n")
    monkeypatch.chdir(here / "own_net_of_a_test")
    (here / "own_net_of_a_test" / "whose_of_a_test.py").write_text("text = 'of the worker'\n")
    for _ in range(2):
        look_in(str(here))
        assert sys.path[:2] == [str(here), str(here / "own_net_of_a_test")]
    assert find_named("whose_of_a_test:text", "x") == "of the caller"
    del sys.modules["whose_of_a_test"]


def test_processes_of_a_pool_find_it_too_though_they_were_started_elsewhere(here, monkeypatch):
    monkeypatch.chdir("/")
    assert run_all(operator.neg, [(1,), (2,)], 2) == [-1, -2]
    monkeypatch.chdir(here)
    assert run_all(find_named, [("own_net_of_a_test.good:number", "x")] * 2, 2) == [3, 3]


def test_the_installed_command_finds_an_encoder_of_the_current_folder(tmp_path):
    (tmp_path / "my_enc.py").write_text(
        "from torch import nn\n"
        "from my_layers import Layer\n"
        "class Net(nn.Module):\n"
        "    def encode(self, batch): ...\n"
        "    def loss(self, batch): ...\n"
    )
    (tmp_path / "my_layers.py").write_text("class Layer: ...\n")
    command = "from clusterfolio.engine.cli.main import main; main()"
    words = ["run", "--set", "encoder.name=my_enc:Net", "--source", "files", "--path", "no_prices_here"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", command, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )  # -P: as for a console script, the current folder is not on the path
    assert done.returncode == 3 and "no_prices_here does not exist" in done.stderr  # after the configuration
