"""The page of several results: its figures are those of the results' own files, and it asks nothing of any network."""

import html
import json
import re

import pandas as pd
import pytest
from click.testing import CliRunner

from clusterfolio.engine.cli.main import main
from tests.engine.evidence.test_side_by_side import write_run


def test_several_run_directories_make_one_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [
        write_run(tmp_path / "runs" / name, seed, claim=f"<b>{name}</b> is luck.") for seed, name in enumerate("abc")
    ]
    result = CliRunner().invoke(main, ["report", *map(str, folders)])
    assert result.exit_code == 0, result.output
    path = tmp_path / "runs" / "side-by-side.html"
    assert result.output.strip() == str(path)
    page = path.read_text(encoding="utf-8")
    data = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)]
    curves, figures = data
    own = pd.read_csv(folders[0] / "returns.csv")["strategy"]
    assert curves["panels"][0]["series"][0]["values"][-1] == pytest.approx(100 * (1 + own).prod())
    assert {row[0] for row in figures["rows"]} == {"a", "b", "c", "benchmark SPY"}
    assert {row[0]: row[1] for row in figures["rows"]}["a"] == pytest.approx((1 + own).prod() - 1)
    assert "&lt;b&gt;a&lt;/b&gt; is luck." in page and "<b>a</b>" not in page
    assert "default-src 'none'" in html.unescape(page) and 'src="http' not in page and "SIMULATED" in page


def test_what_cannot_be_put_side_by_side_is_one_line(tmp_path):
    folder = str(write_run(tmp_path / "a", 0))
    result = CliRunner().invoke(main, ["report", folder, str(tmp_path)])
    assert result.exit_code == 2 and "not a run directory" in result.output
    result = CliRunner().invoke(main, ["report", folder, folder])
    assert result.exit_code == 2 and "the same folder twice" in result.output
