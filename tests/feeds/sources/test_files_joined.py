"""Many files and one series: split by time, named by folders, overlapping, samples; in any order."""

import numpy as np
import pandas as pd
import pytest

from clusterfolio.feeds.sources.files.names import Names, labels_of
from clusterfolio.feeds.sources.files.reader import read_files
from tests.feeds.sources.vendors import DAYS, bars, read_right, said, titled, write

TRUTH, OTHER = bars(), bars(1, 120)


def tidy(days: pd.DatetimeIndex) -> pd.DataFrame:
    return pd.concat([titled(frame.loc[days]).assign(symbol=s) for s, frame in (("AAA", TRUTH), ("BBB", OTHER))])


def by_month(write_part):
    def made(folder):
        for month, days in DAYS.groupby(DAYS.to_period("M")).items():
            write_part(folder, month, days)

    return made


PARTS = {
    "a file per month": by_month(lambda f, m, d: write(f / f"prices_{m}.csv", tidy(d))),
    "hive": by_month(lambda f, m, d: write(f / f"year={m.year}" / f"month={m.month}" / "part-0.csv", tidy(d))),
    "a folder per month": by_month(
        lambda f, m, d: [write(f / str(m) / f"{s}.csv", titled(t.loc[d])) for s, t in (("AAA", TRUTH), ("BBB", OTHER))]
    ),
    "a folder per symbol": by_month(
        lambda f, m, d: [write(f / s / f"{m}.csv", titled(t.loc[d])) for s, t in (("AAA", TRUTH), ("BBB", OTHER))]
    ),
    "a symbol's file per month": by_month(
        lambda f, m, d: [write(f / f"{s}-1d-{m}.csv", titled(t.loc[d])) for s, t in (("AAA", TRUTH), ("BBB", OTHER))]
    ),
    "hive by symbol": lambda f: [
        write(f / f"symbol={s}" / "part-0.csv", titled(t)) for s, t in (("AAA", TRUTH), ("BBB", OTHER))
    ],
    "a file per day, dated by its name": lambda f: [
        write(f / f"{day:%Y-%m-%d}.csv", tidy(pd.DatetimeIndex([day])).drop(columns="Date")) for day in DAYS
    ],
}


@pytest.mark.parametrize("way", PARTS)
def test_files_split_by_time_or_symbol_are_joined(tmp_path, way):
    PARTS[way](tmp_path)
    for symbol, truth in (("AAA", TRUTH), ("BBB", OTHER)):
        raw = read_right(tmp_path, symbol, truth, ("open", "close", "volume"))
        assert set(raw.bars) == {"AAA", "BBB"} and not raw.verdicts


def test_overlapping_files_that_agree_are_one_series(tmp_path):
    write(tmp_path / "AAA.csv", titled(TRUTH.iloc[:200]))
    write(tmp_path / "AAA (1).csv", titled(TRUTH.iloc[150:].round(2)))
    raw = read_files([tmp_path])
    np.testing.assert_allclose(raw.bars["AAA"].frame["close"], TRUTH["close"], atol=0.00501)
    np.testing.assert_allclose(raw.bars["AAA"].frame["close"].iloc[:200], TRUTH["close"].iloc[:200])


def test_overlapping_files_that_disagree_are_refused_and_named(tmp_path):
    write(tmp_path / "a" / "AAA.csv", titled(TRUTH))
    write(tmp_path / "b" / "AAA.csv", titled(TRUTH.iloc[50:] * 0.9))
    verdict, why = read_files([tmp_path]).verdicts["AAA"]
    assert verdict == "dropped" and "b/AAA.csv disagrees with a/AAA.csv on 210 of 210 common days" in why


def test_a_sample_never_replaces_the_series(tmp_path):
    write(tmp_path / "AAA.csv", titled(TRUTH))
    sample = titled(TRUTH.iloc[:8]).assign(Symbol="AAA")
    write(tmp_path / "sample.csv", sample.assign(**{"Adj Close": sample["Close"]}))
    read_right(tmp_path, "AAA", TRUTH)
    wrong = titled(TRUTH.iloc[40:48] * 0.5).assign(Symbol="AAA")
    write(tmp_path / "sample.csv", wrong)
    raw = read_right(tmp_path, "AAA", TRUTH)
    assert "files passed over: sample.csv disagrees with AAA.csv on 8 of 8" in "; ".join(said(raw, "AAA"))


def test_weekly_bars_and_single_trades_beside_daily_ones_are_passed_over(tmp_path):
    write(tmp_path / "AAA.csv", titled(TRUTH))
    week = TRUTH["close"].resample("W-FRI").last()
    monday = week.set_axis(week.index - pd.Timedelta(days=4))  # dated by its first day: tomorrow's price
    write(tmp_path / "weekly" / "AAA.csv", monday.rename_axis("Date").reset_index().rename(columns={"close": "Close"}))
    trades = pd.DataFrame({"Date": ["2019-03-04", "2021-05-03", DAYS[50]], "Symbol": "AAA", "Price": 7.0})
    write(tmp_path / "mine.csv", trades)
    raw = read_right(tmp_path, "AAA", TRUTH)
    assert "files passed over: mine.csv, weekly/AAA.csv: no daily bars" in "; ".join(said(raw, "AAA"))


def test_adjusted_closes_of_files_fetched_at_different_times_are_one_basis(tmp_path):
    """Each year's file is adjusted up to its own end: no return over the seam but that of the close."""
    for name, part, ratio in (("2022", TRUTH.iloc[:150], (0.97, 1.0)), ("2023", TRUTH.iloc[150:], (0.95, 1.0))):
        steps = np.where(np.arange(len(part)) < 60, *ratio)
        write(tmp_path / name / "AAA.csv", titled(part).assign(**{"Adj Close": part["close"].to_numpy() * steps}))
    raw = read_files([tmp_path])
    level = raw.bars["AAA"].frame["adj_close"]
    held = np.ones(260)
    held[60:] /= 0.97
    held[210:] /= 0.95
    np.testing.assert_allclose(level / level.iloc[0], TRUTH["close"] * held / TRUTH["close"].iloc[0], rtol=1e-6)
    assert "adjusted closes of another basis" in "; ".join(said(raw, "AAA"))


def test_files_in_different_currencies_are_refused(tmp_path):
    write(tmp_path / "a" / "SAP.csv", titled(TRUTH.iloc[:150]).assign(currency="EUR"))
    write(tmp_path / "b" / "SAP.csv", titled(TRUTH.iloc[150:]).assign(currency="USD"))
    assert "EUR and in USD" in read_files([tmp_path]).verdicts["SAP"][1]


def test_neither_the_order_of_paths_nor_of_rows_nor_of_symbols_matters(tmp_path):
    write(tmp_path / "a" / "all.csv", tidy(DAYS[:200]))
    write(tmp_path / "b" / "all.csv", tidy(DAYS[180:]).sample(frac=1, random_state=0))
    (tmp_path / "c").mkdir()
    tidy(DAYS).drop(columns="Open").iloc[::-1].to_parquet(tmp_path / "c" / "all.parquet")
    one, other = (read_files([tmp_path / name for name in names]) for names in ("abc", "cab"))
    shuffled = tmp_path / "a" / "all.csv"
    write(shuffled, pd.read_csv(shuffled).sample(frac=1, random_state=1))
    third = read_files([tmp_path / name for name in "bca"])
    assert list(one.bars) == list(other.bars) == list(third.bars) == ["AAA", "BBB"]
    for symbol in one.bars:
        for raw in (other, third):
            pd.testing.assert_frame_equal(one.bars[symbol].frame, raw.bars[symbol].frame, check_like=True)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        *[("AAPL.csv", "AAPL"), ("spy.us.txt", "SPY.US"), ("aapl_us_d.csv", "AAPL.US"), ("2330.csv", "2330")],
        *[("daily_adjusted_IBM.csv", "IBM"), ("AAPL (1).csv", "AAPL"), ("0700.HK.csv", "0700.HK"), ("D.csv", "D")],
        *[("BRK-B.csv", "BRK-B"), ("BAC-PRL.csv", "BAC-PRL"), ("KO/2022.csv", "KO"), ("2022/KO.csv", "KO")],
        ("SPY Historical Data.csv", "SPY"),
    ],
)
def test_a_symbol_is_read_from_the_names_of_files_and_folders(name, symbol):
    assert labels_of(name)[-1] == symbol


def test_a_symbol_of_digits_is_no_year(tmp_path):
    write(tmp_path / "taiwan" / "2002.csv", titled(TRUTH))
    assert list(read_files([tmp_path]).bars) == ["2002"]


@pytest.mark.parametrize(
    ("stated", "asked"), [("spy", "SPY"), ("spy.us", "SPY"), ("BRK.B", "BRK-B"), ("brk/b", "BRK.B")]
)
def test_a_symbol_goes_by_the_name_it_is_asked_for_also_where_everything_is_taken(tmp_path, stated, asked):
    write(tmp_path / "all.csv", pd.concat([titled(TRUTH).assign(symbol=stated), titled(OTHER).assign(symbol="aaa")]))
    assert set(read_files([tmp_path], names=[asked]).bars) == {asked, "AAA"}
    assert list(read_files([tmp_path], [asked]).bars) == [asked] and Names([asked]).of("ZZZ") is None
