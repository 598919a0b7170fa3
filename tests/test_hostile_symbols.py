"""Symbols that are markup, formulas, mathematics or separators somewhere: from the source to page, console and CSV."""

import csv
import io
import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.run_dir.tables import read_run
from clusterfolio.feeds.writing import BEGINS, defused, restored, write_table
from clusterfolio.strategies.passports.passport import in_a_cell, names_in
from tests.market_files import DATES, QUICK

HOSTILE = (
    "A;B", "$_$", "[/]", "[RED]", '=HYPERLINK("HTTP://X")', "+1", "@X", "-2+3", "<SCRIPT>ALERT(1)</SCRIPT>", "'QUOTED",
    "{{7*7}}", "A,B", "BACK\\SLASH", "100%", "LONG" * 60, "TWO\nLINES", "\\FRAC{1}{0}$", "A&B<C>",
)  # fmt: skip

BENCHMARK = "$^$[/B]"


def write_market(path) -> None:
    """A table with a row per day and symbol."""
    days = pd.bdate_range("2023-01-03", "2024-12-31")
    parts = []
    for seed, name in enumerate((BENCHMARK, *HOSTILE)):
        rng = np.random.default_rng(seed)
        close = 50 * np.exp(rng.normal(0.0003, 0.012, len(days)).cumsum())
        opens = close * np.exp(rng.normal(0, 0.003, len(days)))
        bars = {"open": opens, "high": np.maximum(opens, close), "low": np.minimum(opens, close), "close": close}
        parts.append(pd.DataFrame({"date": days, "symbol": name, **bars, "volume": 1e5}))
    pd.concat(parts).to_parquet(path, index=False)


def options(path, out) -> list[str]:
    quick = [
        part
        for setting in (*QUICK, "significance.on=true", "significance.portfolios=100")
        for part in ("--set", setting)
    ]
    source = ["--source", "files", "--path", str(path), "--benchmark", BENCHMARK]
    return ["run", *source, *DATES, *quick, "--out", str(out)]


@pytest.mark.acceptance
def test_they_go_all_the_way(tmp_path):
    write_market(tmp_path / "prices.parquet")
    out = tmp_path / "run"
    done = CliRunner().invoke(main, options(tmp_path / "prices.parquet", out))
    assert done.exit_code == 0, done.output
    tables = read_run(out)
    used = set(tables.symbols.index[tables.symbols["verdict"] == "used"])
    assert len(used & set(HOSTILE)) >= len(HOSTILE) - 1, set(HOSTILE) - used  # a line break in a name may be mended
    assert set(tables.weights.columns) - {"CASH"} <= used and set(tables.transactions["symbol"]) <= used
    members = {name for cell in tables.passports["members"] for name in names_in(cell)}
    assert members == set(tables.clusters["symbol"])
    assert (tables.maps[["date", "symbol"]] == tables.clusters[["date", "symbol"]]).all(axis=None)
    page = (out / "report.html").read_text()
    assert "<SCRIPT>" not in page and "&lt;SCRIPT&gt;" in page and ">49<" not in page
    for file in out.glob("*.csv"):
        for row in csv.reader(io.StringIO(file.read_text(), newline="")):
            for cell in row:
                number = re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", cell)
                assert number or cell[:1] not in ("=", "+", "-", "@", "\t", "\r"), (file.name, cell)
    day = str(tables.weights.index[2].date())
    for command in (
        ["check", "prices", *options(tmp_path / "prices.parquet", out)[1:-2]],
        ["significance", str(out)],
        ["compare", str(out), "--seeds", "0", "--offsets", "0", "--only", "1/N"],
        ["trials", "verify", str(out)],
        ["decide", str(out), "--asof", day, "--csv", str(tmp_path / "orders.csv")],
    ):
        done = CliRunner().invoke(main, command)
        assert done.exit_code in (0, 4), (command, done.output)
    orders = pd.read_csv(tmp_path / "orders.csv", keep_default_na=False)
    held = pd.DataFrame({"symbol": orders["symbol"], "shares": orders["shares"]})
    held.to_csv(tmp_path / "held.csv", index=False)
    done = CliRunner().invoke(main, ["decide", str(out), "--asof", day, "--holdings", str(tmp_path / "held.csv")])
    assert done.exit_code == 0, done.output


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12) | st.sampled_from(HOSTILE)


@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_no_text_begins_as_a_formula_and_every_text_is_given_back(texts):
    written = defused(pd.Series(texts, dtype=object))
    assert not [text for text in written if text[:1] in tuple("=+-@\t\r\n")]
    assert restored(written).tolist() == texts
    assert all(text == safe for text, safe in zip(texts, written, strict=True) if text[:1] not in tuple(BEGINS))


@given(st.lists(TEXTS.filter(bool), min_size=1, max_size=6))
def test_symbols_in_one_cell_are_told_apart(names):
    assert names_in(in_a_cell(names)) == names


@given(st.lists(TEXTS.filter(lambda text: "\r" not in text), min_size=1, max_size=5, unique=True))
def test_a_table_is_read_back_as_it_was(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    table = pd.DataFrame({"symbol": texts, "value": -1.5})
    write_table(path, table, index=False)
    read = pd.read_csv(path, dtype={"symbol": str}, keep_default_na=False)
    assert restored(read["symbol"]).tolist() == texts and (read["value"] == -1.5).all()
