"""Look before you run: what is told of the prices, and whether anything is wrong with them."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.jobs.check_prices import PRICES, check_prices
from clusterfolio.engine.run_dir.remarks import grouped, line
from clusterfolio.feeds.raw import Remark
from tests.engine.assembly.test_market import END, START, config, prices

WHOLE = (None, None)
OPTIONS = ["--train-start", "2023-09-01", "--train-end", "2023-12-29", "--start", "2024-01-02", "--quiet"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three healthy symbols, one that pays a dividend in pounds, and the rate for it."""
    path = prices(
        tmp_path_factory.mktemp("prices"), SPY=WHOLE, AAA=WHOLE, BBB=WHOLE, **{"SHEL.L": WHOLE, "GBPUSD=X": WHOLE}
    )
    rate = pd.read_csv(path / "GBPUSD=X.csv").assign(Close=1.25, Volume=0)
    rate.to_csv(path / "GBPUSD=X.csv", index=False)
    pence = pd.read_csv(path / "SHEL.L.csv").assign(Dividend=0.0)
    pence.loc[200, "Dividend"] = 0.3
    pence.loc[300, "Close"] *= 1.2
    pence.to_csv(path / "SHEL.L.csv", index=False)
    return path


def run(folder, *more):
    return CliRunner().invoke(main, ["check", "prices", "--source", "files", "--path", str(folder), *OPTIONS, *more])


def test_everything_about_a_symbol_is_told(folder):
    found = check_prices(config(folder))
    row, frame = found.symbols.loc["SHEL.L"], pd.read_csv(folder / "SHEL.L.csv", parse_dates=["Date"])
    assert row["currency"] == "GBp" and row["told_by"] == "the ending"
    assert row["last"] == frame["Date"].iloc[-1]
    assert found.symbols.loc["AAA", "told_by"] != row["told_by"]
    assert found.actions.loc[found.actions["symbol"] == "SHEL.L", ["day", "what", "size"]].to_numpy().tolist() == [
        [frame["Date"][200], "dividend", 0.3]
    ]
    largest = found.moves[found.moves["symbol"] == "SHEL.L"].iloc[0]
    assert largest["day"] in (frame["Date"][300], frame["Date"][301])
    assert largest["move"] == pytest.approx(frame["Close"].pct_change()[300 + (largest["day"] != frame["Date"][300])])
    assert found.problems == []
    by_kind = {group["kind"]: group for group in found.groups()}
    assert by_kind["currency not stated, told by the ending"]["symbols"] == ["SHEL.L"]
    assert {group["nature"] for group in by_kind.values()} <= {"guessed", "noted"}


def test_the_prices_are_those_of_the_listing_beside_what_a_run_sees(folder, tmp_path):
    result = run(folder, "--symbol", "SHEL.L", "--csv", str(tmp_path / "out.csv"))
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "out.csv", parse_dates=["date"])
    stated = pd.read_csv(folder / "SHEL.L.csv", parse_dates=["Date"]).set_index("Date")["Close"]
    assert tuple(table.columns) == PRICES and set(table["symbol"]) == {"SHEL.L"}
    assert table["close"].to_numpy() == pytest.approx(stated[table["date"]].to_numpy())
    seen = table[table["traded"]].set_index("date")
    before = seen.loc[: stated.index[199]]  # until a dividend is re-invested
    assert before["value"].to_numpy() == pytest.approx(before["close"].to_numpy() * 0.0125)
    assert table.loc[~table["traded"], "value"].isna().all()
    assert "moved" in result.output and "dividend 0.3, on" in result.output and "GBp" in result.output


def test_a_symbol_in_doubt_dropped_or_absent_ends_with_code_4_and_says_why(folder, tmp_path):
    assert run(folder).exit_code == 0
    result = run(folder, "--include", "CCC")
    assert result.exit_code == 4 and "absent: CCC" in result.output
    (tmp_path / "README.md").write_text("no table", encoding="utf-8")
    beside = run(folder, "--path", str(tmp_path))
    assert beside.exit_code == 0, beside.output  # a text beside the prices is no price that was refused
    korean = prices(tmp_path / "krx", "XKRX", SPY=WHOLE, AAA=WHOLE, BBB=WHOLE)
    doubted = run(korean)
    assert doubted.exit_code == 4 and "data.calendar XNYS" in doubted.output and "XKRX fits" in doubted.output


def test_a_symbol_that_is_not_asked_for_cannot_be_told_about(folder):
    result = run(folder, "--symbol", "ZZZ")
    assert result.exit_code == 2 and "--symbol ZZZ" in result.output


def test_remarks_are_grouped_by_kind_with_doubts_first():
    day = pd.Timestamp("2024-06-10")
    said = [
        (Remark("A", "split undone", day, 0.1, nature="mended"), Remark("A", "split undone", nature="mended")),
        (Remark("B", "split undone", nature="mended"), Remark("B", "level in doubt", day, 100.0, "why", "doubted")),
        (),
    ]
    groups = grouped(pd.DataFrame({"remarks": said}, index=["A", "B", "C"]))
    assert [line(group) for group in groups] == [
        "doubted: level in doubt: B 2024-06-10 x100: why",
        "mended: split undone: 2 symbols, 3 times (A, B); A 2024-06-10 x0.1",
    ]


def test_a_kind_that_says_everything_needs_no_example():
    said = [
        (Remark("A", "currency not stated", nature="guessed"),),
        (Remark("B", "currency not stated", nature="guessed"),),
    ]
    groups = grouped(pd.DataFrame({"remarks": said}))
    assert line(groups[0]) == "guessed: currency not stated: 2 symbols (A, B)"
    assert line(grouped(pd.DataFrame({"remarks": said[:1]}))[0]) == "guessed: currency not stated: A"


def test_withheld_days_are_in_the_file_without_a_value(tmp_path):
    folder = prices(tmp_path / "data", SPY=WHOLE, AAA=WHOLE, BBB=WHOLE)
    bad = pd.read_csv(folder / "AAA.csv")
    bad.loc[150, "Close"] *= 10
    bad.to_csv(folder / "AAA.csv", index=False)
    found = check_prices(config(folder), ["AAA"])
    rows = found.prices.set_index("date")
    assert list(found.symbols.index) == ["AAA"]
    day = pd.Timestamp(bad["Date"][150])
    assert (
        not rows.loc[day, "traded"] and np.isnan(rows.loc[day, "value"]) and rows.loc[day, "close"] == bad["Close"][150]
    )
    assert rows["traded"].sum() == found.symbols.loc["AAA", "bars"]
    assert rows.index[0] >= pd.Timestamp(START) and rows.index[-1] <= pd.Timestamp(END)


def test_how_a_file_was_read_is_told(folder, tmp_path):
    found = check_prices(config(folder), ["AAA"])
    read = found.symbols.loc["AAA", "read"]
    assert read.startswith("AAA.csv (") and "date" in read and "close" in read
    assert "commas" in read and "decimal sign '.'" in read
    german = pd.read_csv(folder / "BBB.csv", parse_dates=["Date"])
    german = german.assign(Date=german["Date"].dt.strftime("%d.%m.%Y")).rename(columns={"Close": "Last"})
    for name in ("AAA", "SPY"):
        pd.read_csv(folder / f"{name}.csv").to_csv(tmp_path / f"{name}.csv", index=False)
    german.to_csv(tmp_path / "BBB.csv", sep=";", decimal=",", index=False)
    read = check_prices(config(tmp_path), ["BBB"]).symbols.loc["BBB", "read"]
    assert "Last is close" in read and "semicolons, decimal sign ','" in read and "day before month" in read
