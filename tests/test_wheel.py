"""Installed from its wheel into an empty environment, beside a project whose packages have the names of our rooms."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from zipfile import ZipFile

import pandas as pd
import pytest

from tests import pages
from tests.pages import ROOT

pytestmark = pytest.mark.acceptance

#: A user's project: all four names taken, a network and a policy of their own, and modules that these import.
PROJECT = {
    "engine/__init__.py": "MINE = True\n",
    "feeds/__init__.py": "MINE = True\n",
    "models/__init__.py": "",
    "models/layers.py": """
from torch import nn


def tower(n, width):
    return nn.Sequential(nn.Flatten(), nn.Linear(n, width))
""",
    "models/my_net.py": """
from dataclasses import dataclass

from clusterfolio import Encoding
from models.layers import tower
from torch import nn


@dataclass(frozen=True)
class NetConfig:
    width: int = 6


class Net(nn.Module):
    config_class = NetConfig

    def __init__(self, n_features, lookback, config):
        super().__init__()
        self.config = config
        self.tower = tower(n_features * lookback, config.width)
        self.back = nn.Linear(config.width, n_features * lookback)

    def encode(self, batch):
        return Encoding(self.tower(batch.x))

    def loss(self, batch):
        return (self.back(self.encode(batch).mean) - batch.x.flatten(1)).square().mean()
""",
    "strategies/__init__.py": "",
    "strategies/ranks.py": """
def best(closes, n):
    return (closes.iloc[-1] / closes.iloc[0]).dropna().nlargest(n).index
""",
    "strategies/mine.py": """
import pandas as pd

from clusterfolio import Decision
from strategies.ranks import best


class Policy:
    def __init__(self, n_assets=5):
        self.n_assets = n_assets

    def decide(self, panel, state):
        names = best(panel.session_closes()[panel.tradable].iloc[-126:], self.n_assets)
        return Decision(panel.dates[-1], pd.Series(1 / self.n_assets, names))
""",
}  # fmt: skip

QUICK = ("--set", "simulated.n_assets=60", "--quiet")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the sources alone: what an earlier build left in the checkout would come along."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("clusterfolio", "engine", "feeds", "models", "strategies"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source]
    subprocess.run(build, check=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def project(wheel, tmp_path_factory):
    """The project's folder, and a call that runs a program of the environment there."""
    folder = tmp_path_factory.mktemp("user")
    environment = folder / "env"
    venv.create(environment, with_pip=True)
    binaries = environment / ("Scripts" if os.name == "nt" else "bin")
    install = [binaries / "python", "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel]
    subprocess.run(install, check=True)
    here = folder / "project"
    for name, text in PROJECT.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text, encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    clean["CLUSTERFOLIO_LEDGER"] = str(folder / "ledger.sqlite")

    def call(program, *arguments):
        done = subprocess.run(
            [binaries / program, *map(str, arguments)], cwd=here, env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return here, call


def test_the_wheel_installs_one_name(wheel):
    names = {name.split("/")[0] for name in ZipFile(wheel).namelist()}
    assert len(names) == 2 and names >= {"clusterfolio"}
    assert "clusterfolio/py.typed" in ZipFile(wheel).namelist()


def test_the_charting_library_comes_with_its_licence(wheel):
    names = ZipFile(wheel).namelist()
    for name in ("echarts.common.min.js", "echarts.LICENSE", "echarts.LICENSE-d3", "echarts.NOTICE"):
        assert f"clusterfolio/engine/report/vendor/{name}" in names


def test_the_readmes_own_cerebro_runs_beside_packages_of_the_same_names(project):
    here, call = project
    program = pages.program(ROOT / "README.md", "own_cerebro.py")
    (here / "own.py").write_text(
        f"{program}\nimport engine, feeds, models.layers, strategies.ranks\nprint(engine.MINE and feeds.MINE)\n",
        encoding="utf-8",
    )
    assert re.search(r"after \d+ fills\nTrue\n$", call("python", "own.py"))


#: What is run beside the user's packages, and with which options.
RUNS = {
    "built_in": ("--set", "train.epochs=1"),
    "encoder": ("--set", "train.epochs=1", "--set", "encoder.name=models.my_net:Net", "--set", "model.width=7"),
    "policy": ("--policy", "strategies.mine:Policy", "--set", "policy.n_assets=4"),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_command_runs_and_decides_beside_them(project, name):
    here, call = project
    page = call("clusterfolio", "run", *QUICK, "--out", name, *RUNS[name]).strip()
    assert (here / page).stat().st_size > 100_000
    weights = pd.read_csv(here / name / "weights.csv", index_col="date")
    if name == "encoder":
        assert json.loads(next((here / name).glob("model/**/encoder.json")).read_text())["config"] == {"width": 7}
    if name == "policy":
        assert (weights.drop(columns="CASH", errors="ignore").gt(0).sum(axis=1) == 4).all()
    decided = call("clusterfolio", "decide", name, "--asof", weights.index[1], "--trust", "--quiet")
    for symbol in weights.columns[weights.iloc[1] > 0].drop("CASH", errors="ignore"):
        assert symbol in decided
