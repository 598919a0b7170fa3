"""A run directory means the same from any folder, and says so where its source has moved."""

import dataclasses
import shutil

import pytest
from click.testing import CliRunner

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.config.run import PATHS, RunConfig, make_config
from clusterfolio.engine.config.settings import read_toml
from tests.market_files import DATES

DAY = "2024-06-28"


@pytest.fixture
def here(market, tmp_path, monkeypatch):
    """A folder with prices/ and a universe file in it, which is the current one."""
    (tmp_path / "here").mkdir()
    shutil.copytree(market, tmp_path / "here" / "prices")
    names = sorted(path.stem for path in market.glob("*.parquet"))
    (tmp_path / "here" / "mine.csv").write_text("symbol\n" + "\n".join(names) + "\n")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def invoke(*args) -> str:
    done = CliRunner().invoke(main, [str(arg) for arg in args])
    return f"{done.exit_code}: {done.output}"


@pytest.mark.parametrize(("section", "key"), PATHS)
def test_every_key_that_names_a_place_is_made_absolute(here, section, key):
    part = getattr(RunConfig(), section)
    needed = {("data", "path"): {"source": "files"}, ("inputs", "macro_path"): {"macro": ("core",)}}
    many = isinstance(getattr(part, key), tuple)
    stated = {key: ("prices",) if many else "prices"} | needed.get((section, key), {})
    config = dataclasses.replace(RunConfig(), **{section: dataclasses.replace(part, **stated)})
    found = getattr(getattr(config.with_absolute_paths(), section), key)
    assert found == ((str(here / "prices"),) if many else str(here / "prices"))


def test_words_and_places_that_are_not_there_stay_as_they_are(here):
    config = make_config({"data": {"universe": "seed"}}).with_absolute_paths()
    assert config.data.universe == "seed"


def test_a_run_with_relative_paths_is_gone_on_with_from_another_folder(here, monkeypatch):
    quick = ("--set", "dates.history_days=200", "--set", "significance.on=false", "--no-report", "--quiet")
    own = ("--source", "files", "--path", "prices/", "--universe", "mine.csv", "--benchmark", "SIM.MKT")
    said = invoke("run", "--policy", "tests.own_policies:Momentum", *own, *DATES, *quick, "--out", "run")
    assert said.startswith("0:"), said
    written = read_toml(here / "run" / "config.toml")["data"]
    assert written["path"] == [str(here / "prices")] and written["universe"] == str(here / "mine.csv")
    elsewhere = here.parent / "elsewhere"
    (elsewhere / "prices").mkdir(parents=True)  # of the same name, and empty: it is not read instead
    monkeypatch.chdir(elsewhere)
    asked = ("decide", here / "run", "--asof", DAY, "--trust", "--quiet")
    said = invoke(*asked)
    assert said.startswith("0:") and "buy" in said, said
    (here / "prices").rename(here / "moved")
    said = invoke(*asked)
    assert f"its prices were read from {here / 'prices'}, which is not there any more; --path" in said.replace("\n", "")
    assert invoke(*asked, "--path", here / "moved").startswith("0:")
