"""The tutorial, from its first command to its last on made-up prices, as a reader would type them."""

import pytest
from click.testing import CliRunner

from clusterfolio.engine.cli.main import main
from tests.pages import ROOT, commands, write_files

pytestmark = pytest.mark.acceptance

PAGE = ROOT / "docs" / "tutorial.md"

#: What a reader has patience for and a test has not: years of many prices, and the whole training.
MARKET = ("--set", "simulated.n_assets=30", "--set", "simulated.start=2023-01-02", "--set", "simulated.foreign=0.0")
TRAINING = ("--set", "train.epochs=1", "--set", "train.windows_per_epoch=1024")


def less(arguments: list[str]) -> tuple[str, ...]:
    """What is added to a command so that it takes seconds."""
    makes_a_market = arguments[0] in ("run", "check") and "--model" not in arguments
    trains = makes_a_market and "--policy" not in arguments
    return MARKET * makes_a_market + TRAINING * trains + ("--no-report",) * (arguments[0] == "run")


def test_every_command_of_the_tutorial_works_on_what_those_before_it_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLUSTERFOLIO_LEDGER", str(tmp_path / "ledger.sqlite"))
    write_files(PAGE, tmp_path)
    typed = [arguments for arguments in commands(PAGE) if "files" not in arguments]  # those are for the reader's own
    assert len(typed) == len(commands(PAGE)) - 2
    for arguments in typed:
        result = CliRunner().invoke(main, [*arguments, *less(arguments)])
        assert result.exit_code == 0, f"{arguments}\n{result.output}"
        print(result.output)
    assert len(list((tmp_path / "runs" / "first.paper" / "local").glob("days.csv"))) == 1
