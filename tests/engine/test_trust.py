"""A run directory from elsewhere: nothing that it names is imported until the user vouches for it."""

import json
import re
import shutil
import sys

import pytest
from click.testing import CliRunner

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.config.run import make_config
from clusterfolio.engine.config.settings import read_toml
from clusterfolio.engine.config.trust import TrustError, check_trust
from clusterfolio.models.encoder import Encoder
from tests.market_files import run_options

PAYLOAD = 'from pathlib import Path\n\nPath(__file__).with_name("ran").touch()\n\n\nclass Net:\n    pass\n'


@pytest.fixture(scope="module")
def finished(market, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "run"
    result = CliRunner().invoke(main, run_options(market, out))
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture
def stranger(finished, tmp_path):
    """A run directory whose settings and stored model name a module that lies in the current folder."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (tmp_path / "payload.py").write_text(PAYLOAD)
    settings = run / "config.toml"
    text = settings.read_text()
    settings.write_text(re.sub(r'(\[encoder\]\nname = )"transformer"', r'\1"payload:Net"', text))
    stored = run / "model" / "encoder.json"
    stored.write_text(json.dumps(json.loads(stored.read_text()) | {"encoder": "payload:Net"}))
    return run


@pytest.fixture
def call(stranger, monkeypatch):
    """Runs a command in the folder in which the module lies; RUN and CONFIG stand for the stranger's."""
    monkeypatch.chdir(stranger.parent)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "payload", raising=False)
    given = {"RUN": stranger, "CONFIG": stranger / "config.toml"}
    return lambda *args: CliRunner().invoke(main, [str(given.get(part, part)) for part in args])


@pytest.mark.parametrize(
    "command",
    [
        ("decide", "RUN", "--asof", "2024-06-28"),
        ("run", "--model", "RUN", "--out", "out"),
        ("compare", "RUN", "--only", "1/N", "--seeds", "2", "--offsets", "0"),
    ],
    ids=lambda command: command[0],
)
def test_a_command_that_would_run_its_code_refuses_in_a_sentence(stranger, call, command):
    done = call(*command)
    assert done.exit_code == 2 and "payload:Net" in done.output and "--trust" in done.output
    assert not (stranger.parent / "ran").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("significance", "RUN", "--quiet"),
        ("compare", "RUN", "--only", "1/N", "--seeds", "0", "--offsets", "0", "--quiet"),
        ("config", "show", "--config", "CONFIG"),
        ("doctor", "--config", "CONFIG"),
    ],
    ids=lambda command: command[0],
)
def test_a_command_that_needs_none_of_it_imports_none(stranger, call, command):
    done = call(*command)
    assert done.exit_code == 0, done.output
    assert not (stranger.parent / "ran").exists()


def test_vouched_for_it_is_imported(stranger, call):
    asked = call("decide", "RUN", "--asof", "2024-06-28").output
    assert "--trust" in asked and "--set" not in asked  # decide has no such option
    done = call("decide", "RUN", "--asof", "2024-06-28", "--trust")
    assert (stranger.parent / "ran").exists() and "must be an nn.Module class" in done.output


def test_the_user_may_state_the_same_name():
    theirs = {"encoder": {"name": "payload:Net"}, "policy": {"name": "other:Policy"}}
    with pytest.raises(TrustError, match=r"policy\.name is 'other:Policy'"):
        check_trust("run", theirs, trust=False, own={"encoder": {"name": "payload:Net"}})
    check_trust("run", theirs, trust=False, own=theirs)
    check_trust("run", {"encoder": {"name": "vae"}}, trust=False)
    check_trust("run", {"encoder": {"name": "clusterfolio.models.networks.vae:VariationalAutoencoder"}}, trust=False)


def test_settings_read_without_trust_are_those_written(stranger):
    config = make_config(read_toml(stranger / "config.toml"), trust=False)
    assert config.encoder.name == "payload:Net" and config.model["embed_dim"] == 64


def test_a_stored_encoder_of_another_class_is_not_imported(stranger, monkeypatch):
    monkeypatch.syspath_prepend(stranger.parent)
    with pytest.raises(ValueError, match=r"payload:Net.*imported only where it is asked for"):
        Encoder.load(stranger / "model")
    assert not (stranger.parent / "ran").exists()
