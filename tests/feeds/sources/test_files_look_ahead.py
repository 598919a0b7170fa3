"""What appears in files only later changes nothing earlier, or the symbol is refused and named."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clusterfolio.feeds.ingest import build_panel
from clusterfolio.feeds.sources.files.reader import read_files
from tests.feeds.sources.vendors import DAYS, bars, titled, write

EARLY, LATE = DAYS[:120], DAYS[120:]
TRUTH = bars()


def early(**columns) -> pd.DataFrame:
    return titled(TRUTH.loc[EARLY]).assign(**columns)


def late(factor: float = 1.0, **columns) -> pd.DataFrame:
    frame = TRUTH.loc[LATE].copy()
    frame[["open", "high", "low", "close"]] *= factor
    return titled(frame).assign(**columns)


def one_file(*tables: pd.DataFrame):
    return lambda folder: write(folder / "ABC.csv", pd.concat(tables))


def two_files(second: pd.DataFrame, first: pd.DataFrame | None = None):
    def made(folder):
        write(folder / "b" / "ABC.csv", early() if first is None else first)
        write(folder / "a" / "ABC.csv", second)

    return made


def hours(table: pd.DataFrame, *stamps: str) -> pd.DataFrame:
    return pd.concat([table.assign(Date=table["Date"].dt.strftime(f"%Y-%m-%d {stamp}")) for stamp in stamps])


#: What follows the same early rows; each writes a folder.
LATER = {
    "nothing": one_file(early(), late()),
    "an adjusted close": one_file(early(), late(**{"Adj Close": 1.0})),
    "an adjusted close beside dividends": one_file(early(Dividend=0.01), late(Dividend=0.01, **{"Adj Close": 5.0})),
    "dividends": one_file(early(), late(Dividend=0.5)),
    "a currency": one_file(early(), late(currency="EUR")),
    "another currency": one_file(early(currency="USD"), late(currency="EUR")),
    "a second file with one more column": two_files(late(**{"Adj Close": 3.0})),
    "a longer second file that overlaps": two_files(pd.concat([early(), late(**{"Adj Close": 3.0})]).iloc[60:]),
    "a second file with other prices": two_files(pd.concat([early(), late()]).iloc[100:].assign(Close=7.0)),
    "a second file in a currency": two_files(late(currency="EUR")),
    "a second row a day": one_file(early(), late(), late(1.3)),
    "several rows a day, of another expiry": one_file(early(expiry="H"), late(expiry="H"), late(1.3, expiry="M")),
    "another asset": one_file(early(Name="ABC"), late(Name="ABC"), late(3.0, Name="XYZ")),
    "intraday bars": one_file(hours(early(), "00:00"), hours(late(), "10:00", "11:00", "12:00")),
    "days a day early": one_file(early(), late().assign(Date=LATE - pd.Timedelta(days=1))),
    "days a day late": one_file(early(), late().assign(Date=LATE + pd.Timedelta(days=1))),
    "weekends": one_file(early(), titled(bars(1, days=pd.date_range(LATE[0], periods=200)))),
    "weeks": one_file(early(), titled(bars(1, days=pd.date_range(LATE[0], periods=60, freq="W-FRI")))),
    "months": one_file(early(), titled(bars(1, days=pd.date_range(LATE[0], periods=240, freq="ME")))),
    "another order of day and month": one_file(
        early().assign(Date=EARLY.strftime("%d/%m/%Y")), late().assign(Date=LATE.strftime("%m/%d/%Y"))
    ),
    "commas": one_file(early(), late().assign(Close=[f"{c:.2f}".replace(".", ",") for c in TRUTH["close"].loc[LATE]])),
    "thousands": one_file(early(), late().assign(Close=[f"{c * 1000:,.2f}" for c in TRUTH["close"].loc[LATE]])),
    "rubbish": one_file(early(), late().assign(Close="n/a", Date="soon")),
    "another interval": one_file(early(per="D"), late(per="D"), late(2.0, per="W")),
}


def close_of(folder) -> pd.Series | None:
    """The symbol's close up to the early rows' end as a run gets it; None = refused, with a word."""
    for seed, name in enumerate(("SPY", "AAA", "BBB"), start=5):
        write(folder / f"{name}.csv", titled(bars(seed)))
    raw = read_files([folder])
    panel, verdicts = build_panel(raw, benchmark="SPY", currency="USD")
    if "ABC" in panel.symbols:
        return panel.close["ABC"].loc[: EARLY[-1]]
    assert "ABC" in verdicts.index or "ABC.csv" in verdicts.index, list(verdicts.index)
    return None


@pytest.mark.parametrize("later", LATER)
def test_what_appears_later_changes_nothing_earlier_or_is_refused(later, tmp_path):
    before = {"another currency": {"currency": "USD"}, "an adjusted close beside dividends": {"Dividend": 0.01}}
    write(tmp_path / "now" / "ABC.csv", early(**before.get(later, {})))
    known = close_of(tmp_path / "now")
    LATER[later](tmp_path / "then")
    found = close_of(tmp_path / "then")
    assert known is not None
    if found is not None:
        pd.testing.assert_series_equal(known, found.loc[known.index], check_exact=True, check_freq=False)


KEPT = ("nothing", "an adjusted close", "an adjusted close beside dividends", "another currency", "a second row a day",
        "a second file with one more column", "a longer second file that overlaps", "intraday bars", "weeks",
        "a second file in a currency", "another interval", "thousands", "another asset")  # fmt: skip


@pytest.mark.parametrize("later", KEPT)
def test_most_of_what_appears_later_costs_no_symbol(later, tmp_path):
    LATER[later](tmp_path)
    assert close_of(tmp_path) is not None


@given(seed=st.integers(0, 10_000), later=st.sampled_from(sorted(LATER)), cut=st.integers(20, 119))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_cut_anywhere_and_in_any_order_the_early_rows_are_the_same(seed, later, cut, tmp_path_factory):
    folder = tmp_path_factory.mktemp("late")
    LATER[later](folder / "then")
    rng = np.random.default_rng(seed)
    for file in (folder / "then").rglob("*.csv"):
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        if later != "another order of day and month":  # which the order of rows alone proves
            table = table.iloc[rng.permutation(len(table))]
        table.to_csv(file, index=False)
    raw = read_files([folder / "then"])
    if "ABC" not in raw.bars:
        assert raw.verdicts
        return
    frame = raw.bars["ABC"].frame["close"].groupby(level=0).last()
    days = EARLY[:cut]
    np.testing.assert_allclose(frame.loc[days], TRUTH["close"].loc[days], rtol=1e-12)
