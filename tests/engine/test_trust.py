"""A run directory from elsewhere: nothing that it names is imported until the user vouches for it."""

import json
import os
import re
import shutil
import subprocess
import sys

import click
import pandas as pd
import pytest
from click.testing import CliRunner

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.config.run import make_config
from clusterfolio.engine.config.settings import read_toml
from clusterfolio.engine.config.trust import TrustError, check_trust
from clusterfolio.models.encoder import Encoder
from tests.market_files import run_options

PAYLOAD = """
from pathlib import Path

Path(__file__).with_name("ran").touch()


class Net:
    def decide(self, panel, state): ...
"""


@pytest.fixture(scope="module")
def finished(market, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "run"
    result = CliRunner().invoke(main, run_options(market, out, "--set", "significance.portfolios=100"))
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(params=["encoder", "policy"])
def stranger(request, finished, tmp_path):
    """A run directory whose settings and stored model name a module that lies in the current folder."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (tmp_path / "payload.py").write_text(PAYLOAD)
    (tmp_path / "grid.toml").write_text("seeds = [0]\n")
    settings = run / "config.toml"
    text = settings.read_text()
    settings.write_text(re.sub(rf'(\[{request.param}\]\nname = )"\w+"', r'\1"payload:Net"', text))
    assert "payload:Net" in settings.read_text()
    for file, key in (("encoder.json", "encoder"), ("policy.json", "policy")):
        stored = run / "model" / file
        stored.write_text(json.dumps(json.loads(stored.read_text()) | {key: "payload:Net"}))
    facts = json.loads((run / "run.json").read_text())
    facts["config"][request.param]["name"] = "payload:Net"
    (run / "run.json").write_text(json.dumps(facts))
    return run


@pytest.fixture
def call(stranger, monkeypatch):
    """Runs a command in the folder in which the module lies; RUN and CONFIG stand for the stranger's."""
    monkeypatch.chdir(stranger.parent)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "payload", raising=False)
    nothing = pd.DataFrame({"outcome": ["unchanged"], "why": [""], "n_bars": [9]}, ["SPY"])
    monkeypatch.setattr("clusterfolio.engine.jobs.fetch.fetch_prices", lambda *args: nothing)
    monkeypatch.setattr("clusterfolio.engine.report.page.draw", lambda *args: {})  # pictures take their time
    given = {"RUN": stranger, "CONFIG": stranger / "config.toml"}
    return lambda *args: CliRunner().invoke(main, [str(given.get(part, part)) for part in args])


#: Commands that would have to import the class.
REFUSED = {
    "decide": ("decide", "RUN", "--asof", "2024-06-28"),
    "run --model": ("run", "--model", "RUN", "--out", "out"),
    "run --model --preset": ("run", "--preset", "default", "--config", "CONFIG", "--model", "RUN", "--out", "out"),
    "run --config": ("run", "--config", "CONFIG", "--out", "out"),
    "sweep": ("sweep", "grid.toml", "--config", "CONFIG", "--out", "out"),
    "check leakage": ("check", "leakage", "--config", "CONFIG"),
    "compare": ("compare", "RUN", "--only", "1/N", "--seeds", "2", "--offsets", "0"),
    **{f"paper {name}": ("paper", name, "RUN") for name in ("once", "run", "plan", "reconcile", "flatten")},
    "paper doctor": ("paper", "doctor", "RUN"),
    "compare --offsets": ("compare", "RUN", "--only", "1/N", "--seeds", "0", "--offsets", "2"),
}

#: Commands that need none of it, and what they end with.
HARMLESS = {
    "significance": (("significance", "RUN", "--quiet"), 0),
    "compare": (("compare", "RUN", "--only", "1/N", "--seeds", "0", "--offsets", "0", "--quiet"), 0),
    "config show": (("config", "show", "--config", "CONFIG"), 0),
    "doctor": (("doctor", "--config", "CONFIG"), 0),
    "check prices": (("check", "prices", "--config", "CONFIG", "--quiet"), 0),
    "fetch": (("fetch", "--config", "CONFIG", "--set", "data.path=[]", "--quiet"), 0),
    "report": (("report", "RUN"), 0),
    "trials": (("trials",), 0),
    "trials compare": (("trials", "compare", "RUN", "RUN"), 0),
    "trials explain": (("trials", "explain", "RUN", "RUN"), 0),
    "trials verify": (("trials", "verify", "RUN"), 4),
    "news": (("news", "texts.csv"), 2),
    "paper status": (("paper", "status", "RUN"), None),
    "paper halt": (("paper", "halt", "RUN"), None),
    "paper resume": (("paper", "resume", "RUN"), None),
    "universe": (("universe", "default"), 0),
}


def test_every_command_is_looked_at():
    def names(group: click.Group, before: str = ""):
        for name, command in group.commands.items():
            yield f"{before}{name}"
            if isinstance(command, click.Group):
                yield from names(command, f"{before}{name} ")

    looked_at = {name.split(" --")[0] for name in (*REFUSED, *HARMLESS)}
    # Groups that do nothing themselves.
    assert set(names(main)) - looked_at == {"check", "config", "paper"}


@pytest.mark.parametrize("command", REFUSED)
def test_a_command_that_would_run_its_code_refuses_in_a_sentence(stranger, call, command):
    done = call(*REFUSED[command])
    assert done.exit_code == 2 and "payload:Net" in done.output and "--trust" in done.output
    assert not (stranger.parent / "ran").exists() and "payload" not in sys.modules


@pytest.mark.parametrize("command", HARMLESS)
def test_a_command_that_needs_none_of_it_imports_none(stranger, call, command):
    args, code = HARMLESS[command]
    done = call(*args)
    assert code is None or done.exit_code == code, done.output
    assert not (stranger.parent / "ran").exists() and "payload" not in sys.modules


def test_completion_in_its_folder_imports_none(stranger):
    """The shell asks for completions with every key; in the stranger's folder too, whatever lies there."""
    for name in ("torch", "click", "rich", "clusterfolio_plugins", "sitecustomize"):
        (stranger.parent / f"{name}_.py").write_text(PAYLOAD)
    words = f"clusterfolio run --config {stranger / 'config.toml'} --preset "
    asked = {"_MAIN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()))}
    code = "from clusterfolio.engine.cli.main import main; main(prog_name='main')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=os.environ | asked, cwd=stranger.parent, capture_output=True, text=True
    )
    assert "rolling" in done.stdout, done.stderr
    assert not (stranger.parent / "ran").exists()


def test_vouched_for_it_is_imported(stranger, call):
    asked = call("decide", "RUN", "--asof", "2024-06-28").output
    assert "--trust" in asked and "--set" not in asked  # decide has no such option
    call("decide", "RUN", "--asof", "2024-06-28", "--trust")
    assert (stranger.parent / "ran").exists()


def test_a_configuration_of_ones_own_is_the_users_word_and_a_run_directorys_is_not(stranger, call):
    """What tells them apart is the run.json beside it."""
    refused = call("run", "--config", "CONFIG", "--out", "out").output
    assert "--trust" in refused and "(--set " in refused
    (stranger / "run.json").unlink()
    call("run", "--config", "CONFIG", "--out", "out")
    assert (stranger.parent / "ran").exists()


def test_the_user_may_state_the_same_name():
    theirs = {"encoder": {"name": "payload:Net"}, "policy": {"name": "other:Policy"}}
    with pytest.raises(TrustError, match=r"policy\.name is 'other:Policy'"):
        check_trust("run", theirs, trust=False, own={"encoder": {"name": "payload:Net"}})
    check_trust("run", theirs, trust=False, own=theirs)
    check_trust("run", {"encoder": {"name": "vae"}}, trust=False)
    check_trust("run", {"encoder": {"name": "clusterfolio.models.networks.vae:VariationalAutoencoder"}}, trust=False)


def test_settings_read_without_trust_are_those_written(stranger):
    config = make_config(read_toml(stranger / "config.toml"), trust=False)
    assert "payload:Net" in (config.encoder.name, config.policy.name)


@pytest.mark.parametrize("stranger", ["encoder"], indirect=True)
def test_a_stored_encoder_of_another_class_is_not_imported(stranger, monkeypatch):
    monkeypatch.syspath_prepend(stranger.parent)
    with pytest.raises(ValueError, match=r"payload:Net.*imported only where it is asked for"):
        Encoder.load(stranger / "model")
    assert not (stranger.parent / "ran").exists()
