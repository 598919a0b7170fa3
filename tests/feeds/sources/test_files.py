"""Price files in the layouts people have, and things that are no price files."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clusterfolio.feeds.ingest import build_panel
from clusterfolio.feeds.raw import DataError
from clusterfolio.feeds.sources.files.days import to_days
from clusterfolio.feeds.sources.files.numbers import signs_of, to_numbers
from clusterfolio.feeds.sources.files.reader import read_files


def said(raw, symbol: str) -> list[str]:
    return [str(remark) for remark in raw.remarks_on(symbol)]


SYMBOLS = ("AAPL", "0700.HK", "000001")
NAMES = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "adj_close": "Adj Close", "volume": "Volume"}
DAYS = pd.bdate_range("2024-01-02", periods=30, name="Date")


def market() -> dict[str, pd.DataFrame]:
    """Bars of three symbols, prices with two decimals as vendors write them."""
    frames = {}
    for seed, symbol in enumerate(SYMBOLS):
        rng = np.random.default_rng(seed)
        close = (50 * np.exp(rng.normal(0, 0.01, 30).cumsum())).round(2)
        open_ = (close * np.exp(rng.normal(0, 0.005, 30))).round(2)
        frames[symbol] = pd.DataFrame(
            {
                "open": open_,
                "high": np.maximum(open_, close) + 0.5,
                "low": np.minimum(open_, close) - 0.5,
                "close": close,
                "adj_close": (close * 0.9).round(2),
                "volume": rng.integers(1_000, 2_000_000, 30).astype(float),
            },
            index=DAYS,
        )
    return frames


def tidy(symbol_column: str = "symbol") -> pd.DataFrame:
    frames = [frame.reset_index().assign(**{symbol_column: symbol}) for symbol, frame in market().items()]
    return pd.concat(frames, ignore_index=True)


def wide(price_first: bool) -> pd.DataFrame:
    table = pd.concat({symbol: frame.rename(columns=NAMES) for symbol, frame in market().items()}, axis=1)
    table.columns.names = ["Ticker", "Price"]
    return table.swaplevel(axis=1) if price_first else table


def per_symbol(write):
    def everything(folder):
        for symbol, frame in market().items():
            write(folder, symbol, frame)

    return everything


def zoned(folder, symbol, frame):
    """As yfinance's ``history`` stamps them, with a summer and a winter offset."""
    stamps = [f"{day:%Y-%m-%d} 00:00:00{'-05:00' if i < 15 else '-04:00'}" for i, day in enumerate(frame.index)]
    frame.rename(columns=NAMES).set_axis(stamps).to_csv(folder / f"{symbol}.csv", index_label="Date")


def german(folder, symbol, frame):
    table = frame.map(lambda value: f"{value:,.2f}".translate(str.maketrans(",.", ".,")))
    table.index = frame.index.strftime("%d.%m.%Y")
    table.to_csv(folder / f"{symbol}.csv", sep=";", index_label="Date")


def american(folder, symbol, frame):
    table = frame.map(lambda value: f"${value:,.2f}").rename(columns={"close": "Close/Last", "adj_close": "Adj. Close"})
    table["volume"] = frame["volume"].map("{:,.0f}".format)
    table.index = frame.index.strftime("%m/%d/%Y")
    table.iloc[::-1].to_csv(folder / f"{symbol}.csv", index_label="Date")


def numbered(folder, symbol, frame):
    columns = ["1. open", "2. high", "3. low", "4. close", "5. adjusted close", "6. volume"]
    frame.set_axis(columns, axis=1).to_csv(folder / f"{symbol}.csv", index_label="timestamp")


def epoch(folder, symbol, frame):
    table = frame.assign(time=(frame.index - pd.Timestamp(0)) // pd.Timedelta(milliseconds=1)).reset_index(drop=True)
    table.to_csv(folder / f"{symbol}.csv", index=False)


def utf16(folder, symbol, frame):
    frame.rename(columns=NAMES).to_csv(folder / f"{symbol}.txt", sep="\t", encoding="utf-16")


def zoned_parquet(folder, symbol, frame):
    frame.tz_localize("America/New_York").to_parquet(folder / f"{symbol}.parquet")


LAYOUTS = {
    "file per symbol": per_symbol(lambda folder, s, f: f.rename(columns=NAMES).to_csv(folder / f"{s}.csv")),
    "upper case": per_symbol(lambda folder, s, f: f.rename(columns=str.upper).to_csv(folder / f"{s}.CSV")),
    "close of day stamps": per_symbol(lambda folder, s, f: f.shift(16, "h").to_csv(folder / f"{s}.csv")),
    "compressed": per_symbol(lambda folder, s, f: f.to_csv(folder / f"{s}.csv.gz")),
    "zoned": per_symbol(zoned),
    "zoned parquet": per_symbol(zoned_parquet),
    "german": per_symbol(german),
    "american": per_symbol(american),
    "numbered": per_symbol(numbered),
    "epoch": per_symbol(epoch),
    "utf-16": per_symbol(utf16),
    "tidy csv": lambda folder: tidy().to_csv(folder / "prices.csv", index=False),
    "tidy csv with a row index": lambda folder: tidy("Ticker").to_csv(folder / "prices.csv"),
    "tidy parquet": lambda folder: tidy().to_parquet(folder / "prices.parquet"),
    "tidy parquet, indexed": lambda folder: (
        tidy("Ticker").set_index(["Date", "Ticker"]).to_parquet(folder / "p.parquet")
    ),
    "tidy parquet, categories": lambda folder: tidy().astype({"symbol": "category"}).to_parquet(folder / "p.pq"),
    "wide csv, price first": lambda folder: wide(True).to_csv(folder / "yahoo.csv"),
    "wide csv, ticker first": lambda folder: wide(False).to_csv(folder / "yahoo.csv"),
    "wide csv, nameless": lambda folder: wide(True).rename_axis(columns=[None, None]).to_csv(folder / "yahoo.csv"),
    "wide parquet": lambda folder: wide(True).to_parquet(folder / "yahoo.parquet"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chosen", [None, ["000001", "AAPL", "0700.HK", "COW"]])
def test_every_layout_gives_the_same_bars(layout, chosen, tmp_path):
    LAYOUTS[layout](tmp_path)
    raw = read_files([tmp_path], chosen)
    assert set(raw.bars) == set(SYMBOLS)
    for symbol, expected in market().items():
        frame = raw.bars[symbol].frame.sort_index()
        assert frame.index.tolist() == expected.index.tolist()
        pd.testing.assert_frame_equal(
            frame[list(NAMES)], expected, check_freq=False, check_index_type=False, check_names=False
        )
    if chosen:
        assert list(raw.bars) == ["000001", "0700.HK", "AAPL"]
        assert raw.verdicts["COW"] == ("absent", "in none of the files")


def test_one_symbol_in_yahoos_wide_table(tmp_path):
    table = wide(True).xs("AAPL", level="Ticker", axis=1, drop_level=False)
    table.to_csv(tmp_path / "download.csv")
    assert list(read_files([tmp_path / "download.csv"]).bars) == ["AAPL"]


def test_a_currency_column_is_read(tmp_path):
    tidy().assign(Currency="HKD").to_csv(tmp_path / "prices.csv", index=False)
    assert read_files([tmp_path]).bars["0700.HK"].currency == "HKD"


def test_exchange_rates_come_along_unasked(tmp_path):
    pd.concat([tidy(), tidy().iloc[:30].assign(symbol="EURUSD=X")]).to_parquet(tmp_path / "prices.parquet")
    assert list(read_files([tmp_path], ["AAPL"]).bars) == ["AAPL", "EURUSD=X"]


def test_symbols_are_matched_whatever_their_case_and_named_as_asked(tmp_path):
    market()["AAPL"].to_csv(tmp_path / "aapl.csv")
    assert list(read_files([tmp_path], ["AAPL"]).bars) == ["AAPL"]
    assert list(read_files([tmp_path]).bars) == ["AAPL"]


def test_of_several_files_the_more_complete_wins_and_this_is_said(tmp_path):
    market()["AAPL"][["close"]].to_csv(tmp_path / "a.csv", index_label="date")
    tidy().to_csv(tmp_path / "z.csv", index=False)
    (tmp_path / "b").mkdir()
    market()["AAPL"].drop(columns="volume").to_csv(tmp_path / "b" / "AAPL.csv")
    raw = read_files([tmp_path], ["AAPL"])
    assert "volume" in raw.bars["AAPL"].frame
    assert said(raw, "AAPL") == ["joined from several files: z.csv, b/AAPL.csv"]


def test_yfinance_history_without_adjusted_close_is_adjusted_already(tmp_path):
    frame = market()["AAPL"].drop(columns="adj_close").rename(columns=NAMES)
    frame.assign(Dividends=0.0, **{"Stock Splits": [0.0] * 29 + [4.0]}).to_csv(tmp_path / "AAPL.csv")
    raw = read_files([tmp_path])
    assert not {"dividend", "split"} & set(raw.bars["AAPL"].frame.columns)
    assert "already adjusted" in said(raw, "AAPL")[0]


def test_dividends_and_splits_of_other_vendors_are_kept(tmp_path):
    market()["AAPL"].drop(columns="adj_close").assign(divCash=0.1, splitFactor=1.0).to_csv(tmp_path / "AAPL.csv")
    assert {"dividend", "split"} <= set(read_files([tmp_path]).bars["AAPL"].frame.columns)


def test_intraday_bars_are_refused(tmp_path):
    hours = pd.date_range("2024-01-02 10:00", periods=60, freq="h")
    pd.DataFrame({"close": 1.0}, index=hours).to_csv(tmp_path / "AAPL.csv", index_label="Datetime")
    raw = read_files([tmp_path], ["AAPL"])
    assert raw.verdicts["AAPL"][0] == "dropped" and "intraday" in raw.verdicts["AAPL"][1]


def hourly(days: pd.DatetimeIndex) -> pd.DataFrame:
    rows = [(day, f"{hour:02d}:00", 1.0) for day in days for hour in range(9, 13)]
    return pd.DataFrame(rows, columns=["<DATE>", "<TIME>", "<CLOSE>"])


def test_a_time_column_beside_the_date_tells_intraday_bars(tmp_path):
    table = hourly(DAYS)
    table.assign(**{"<DATE>": table["<DATE>"].dt.strftime("%Y.%m.%d")}).to_csv(
        tmp_path / "A.csv", sep="\t", index=False
    )
    table.to_parquet(tmp_path / "B.parquet")
    market()["AAPL"].assign(time="00:00:00").to_csv(tmp_path / "DAILY.csv")
    raw = read_files([tmp_path])
    assert list(raw.bars) == ["DAILY"] and len(raw.bars["DAILY"].frame) == 30
    for symbol, file in {"A": "A.csv", "B": "B.parquet"}.items():
        why = f"{file}: intraday bars (4.0 a day on average); daily bars are needed"
        assert raw.verdicts[symbol] == ("dropped", why)


def test_a_time_behind_a_date_in_national_order_tells_intraday_bars(tmp_path):
    stamps = [f"{day:%d/%m/%Y} {hour}:30 {half}" for day in DAYS for hour, half in ((10, "AM"), (1, "PM"))]
    pd.DataFrame({"Date": stamps, "Close": 1.0}).to_csv(tmp_path / "A.csv", index=False)
    assert "intraday bars (2.0 a day" in read_files([tmp_path]).verdicts["A"][1]
    assert to_days(pd.Series(["31/01/2024 1:30 PM", "31/01/2024 12:05 am"])).stamps.strftime("%H:%M").tolist() == [
        "13:30",
        "00:05",
    ]


def test_later_intraday_rows_leave_the_daily_ones_before_as_they_are(tmp_path):
    daily = pd.DataFrame({"Date": DAYS, "Close": np.arange(1.0, 31.0)})
    later = hourly(pd.bdate_range("2025-01-02", periods=99))
    stamps = later["<DATE>"] + pd.to_timedelta(later["<TIME>"] + ":00")
    mixed = pd.concat([daily, pd.DataFrame({"Date": stamps, "Close": 7.0})])
    mixed.to_csv(tmp_path / "A.csv", index=False)
    raw = read_files([tmp_path])
    assert raw.bars["A"].frame["close"].tolist() == daily["Close"].tolist()
    assert said(raw, "A") == ["intraday bars: days left out: 99 of 129"]


def dated(folder, name, form, days):
    days = pd.DatetimeIndex(days)
    pd.DataFrame({"Date": days.strftime(form), "Close": 1.0}).to_csv(folder / f"{name}.csv", index=False)


@pytest.mark.parametrize(
    ("form", "separator"), [("%d/%m/%Y", "/"), ("%m/%d/%Y", "/"), ("%d-%m-%y", "-"), ("%m.%d.%Y", ".")]
)
def test_the_order_of_day_and_month_is_told_by_any_file_of_the_reading(form, separator, tmp_path):
    short = pd.bdate_range("2024-01-02", "2024-01-12")
    for name in ("AAA", "ZZZ"):
        dated(tmp_path, name, form, DAYS)
    dated(tmp_path, "NEW", form, short)
    raw = read_files([tmp_path])
    assert raw.bars["NEW"].frame.index.tolist() == short.tolist()
    assert raw.verdicts == {}
    asked = read_files([tmp_path], ["NEW"])  # the order is told by files of which nothing else is taken
    assert asked.bars["NEW"].frame.index.tolist() == short.tolist()


def test_an_order_that_nothing_tells_is_a_guess_and_said(tmp_path):
    dated(tmp_path, "AAA", "%d/%m/%Y", DAYS[:1])
    dated(tmp_path, "DOT", "%d.%m.%Y", DAYS[:1])
    dated(tmp_path, "ROW", "%d-%m-%Y", DAYS[:8])  # as months these were weeks apart
    raw = read_files([tmp_path])
    assert raw.bars["AAA"].frame.index[0] == pd.Timestamp("2024-02-01")
    guess = "order of day and month guessed: no date tells day from month: read month first"
    assert [str(remark) for remark in raw.remarks] == [guess] and raw.remarks[0].nature == "guessed"
    assert raw.bars["DOT"].frame.index[0] == DAYS[0] and raw.bars["ROW"].frame.index.equals(DAYS[:8])


def test_files_that_contradict_each_other_tell_nothing_about_a_third(tmp_path):
    dated(tmp_path, "DMY", "%d/%m/%Y", DAYS)
    dated(tmp_path, "MDY", "%m/%d/%Y", DAYS)
    dated(tmp_path, "NEW", "%m/%d/%Y", DAYS[:1])
    raw = read_files([tmp_path])
    assert raw.bars["DMY"].frame.index.equals(raw.bars["MDY"].frame.index)
    assert [remark.symbol for remark in raw.remarks] == ["NEW"] and "guessed" in said(raw, "NEW")[0]


def test_a_symbol_that_changes_its_unit_is_brought_to_the_first_one(tmp_path):
    frame = market()["AAPL"].drop(columns="adj_close").reset_index()
    pence = frame.copy()
    pence.loc[15:, ["open", "high", "low", "close"]] *= 100
    pence["currency"] = ["GBP"] * 15 + ["GBp"] * 15
    pence.assign(symbol="VOD").iloc[::-1].to_csv(tmp_path / "prices.csv", index=False)
    raw = read_files([tmp_path])
    bars = raw.bars["VOD"]
    assert bars.currency == "GBP" and "stated in several currencies (GBP, GBp): taken in GBP" in said(raw, "VOD")[0]
    expected = frame.set_index("Date")[["open", "close", "volume"]]
    got = bars.frame.sort_index()[["open", "close", "volume"]]
    assert got.to_numpy() == pytest.approx(expected.to_numpy())


def test_rows_in_another_currency_are_left_out_and_this_is_said(tmp_path):
    rows = market()["AAPL"].reset_index().assign(symbol="SAP", currency=["DEM"] * 20 + ["EUR"] * 8 + ["", "DEM"])
    rows.to_parquet(tmp_path / "prices.parquet")
    raw = read_files([tmp_path])
    assert raw.bars["SAP"].currency == "DEM" and len(raw.bars["SAP"].frame) == 22
    assert said(raw, "SAP")[0].endswith("taken in DEM, rows in another left out: 8")


def test_an_empty_currency_cell_states_none(tmp_path):
    rows = tidy().assign(currency="USD")
    rows.loc[rows["symbol"] == "AAPL", "currency"] = None
    rows.loc[35:40, "currency"] = None
    rows.to_parquet(tmp_path / "prices.parquet")
    bars = read_files([tmp_path]).bars
    assert [bars[symbol].currency for symbol in SYMBOLS] == ["", "USD", "USD"]


BROKEN = {
    "empty.csv": b"",
    "blank.csv": b"\n\n  \n",
    "header.csv": b"Date,Open,High,Low,Close,Volume\n",
    "junk.csv": bytes(range(256)) * 50,
    "page.csv": b"<!DOCTYPE html><html><body>Too many requests, 429</body></html>",
    "prose.csv": b"This file intentionally holds\nno table at all\n",
    "ragged.csv": b"Date,Close\n2024-01-02,1\n2024-01-03,2,3,4\n",
    "dateless.csv": b"Date,Close\nsoon,1\nlater,2\n",
    "columns.csv": b"Date,Temperature\n2024-01-02,20\n",
    "words.csv": b"Date,Close\n2024-01-02,high\n2024-01-03,low\n",
    "blanks.csv": b"Date,Close\n2024-01-02,\n2024-01-03,NaN\n",
    "future.csv": b"Date,Close\n2199-01-02,1\n2199-01-03,2\n",
    "fake.parquet": b"PAR1 but not really",
    "short.parquet": b"",
    "fake.csv.gz": b"not gzip",
    "notes.md": b"# notes",
    "quote.csv": b'Date,Close\n"2024-01-02,1\n2024-01-03,2\n',
    "latin.csv": "Date,Close,Währung\n2024-01-02,0,\xa3\n".encode("latin-1"),
}


def test_a_folder_of_broken_files_gives_verdicts_and_no_traceback(tmp_path):
    for name, content in BROKEN.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"Date,Close\n2024-01-02,1\n" * 99)[:-30])
    (tmp_path / ".hidden.csv").write_bytes(b"")
    (tmp_path / "long.csv.gz").write_bytes(
        gzip.compress(np.random.default_rng(0).bytes(1 << 18).hex(",", 9).encode())[:-9]
    )
    raw = read_files([tmp_path])
    told = set(raw.verdicts) | {f"{symbol.lower()}.csv" for symbol in raw.bars}
    assert told >= set(BROKEN) | {"cut.csv.gz", "long.csv.gz"}
    with pytest.raises(DataError, match="benchmark 'SPY' cannot be used"):
        build_panel(raw, benchmark="SPY")
    for symbol, frame in {"SPY": market()["AAPL"], "AAA": market()["000001"], "BBB": market()["0700.HK"]}.items():
        frame.to_csv(tmp_path / f"{symbol}.csv")
    panel, verdicts = build_panel(read_files([tmp_path]), benchmark="SPY")
    assert sorted(panel.symbols) == ["AAA", "BBB", "SPY"]
    assert verdicts.loc["WORDS", "verdict"] == "dropped"
    assert verdicts.loc["page.csv", ["verdict", "why"]].tolist() == ["passed over", "a web page, not a table"]


def test_a_foreign_folder_needs_its_rate_and_then_works(tmp_path):
    for symbol in ("SAP.DE", "BMW.DE", "ALV.DE"):
        market()["AAPL"].to_csv(tmp_path / f"{symbol}.csv")
    with pytest.raises(DataError, match="EURUSD=X"):
        build_panel(read_files([tmp_path]), benchmark="SAP.DE", calendar="XETR")
    home, _ = build_panel(read_files([tmp_path]), benchmark="SAP.DE", calendar="XETR", currency="EUR")
    adjusted = market()["AAPL"]["adj_close"].to_numpy() / 0.9
    assert home.close["BMW.DE"].to_numpy() == pytest.approx(adjusted[1:], rel=1e-3)
    market()["AAPL"][["close"]].assign(close=1.5).to_csv(tmp_path / "EURUSD=X.csv")
    abroad, _ = build_panel(read_files([tmp_path]), benchmark="SAP.DE", calendar="XETR")
    assert abroad.close["BMW.DE"].to_numpy() == pytest.approx(home.close["BMW.DE"].to_numpy() * 1.5)


def test_a_path_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        read_files([tmp_path / "nowhere"])
    with pytest.raises(DataError, match="no file or folder"):
        read_files([])


@given(
    content=st.binary(max_size=300) | st.text(alphabet='Date,Close\n;"0123456789-./ x\t', max_size=300).map(str.encode)
)
@example(content=b"A;\n\x01")  # a column of the header that no row reaches
@settings(max_examples=150, deadline=None)
def test_no_content_makes_the_reader_fall_over(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    (folder / "any.csv").write_bytes(content)
    (folder / "any.parquet").write_bytes(content)
    raw = read_files([folder])
    assert set(raw.bars) <= {"ANY"} and "any.parquet" in raw.verdicts


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2024-01-31T16:00:00Z"], "2024-01-31"),
        (["2024-01-31 00:00:00+09:00"], "2024-01-31"),
        (["2024/01/31"], "2024-01-31"),
        (["20240131"], "2024-01-31"),
        (["1706659200"], "2024-01-31"),
        (["Jan 31, 2024"], "2024-01-31"),
        (["31-Jan-2024"], "2024-01-31"),
        (["03/01/2024", "31/01/2024"], "2024-01-03"),
        (["01/03/2024", "01/31/2024"], "2024-01-03"),
        (["03.01.24"], "2024-01-03"),
    ],
)
def test_days_are_read_however_they_are_written(texts, expected):
    assert to_days(pd.Series(texts)).stamps[0].normalize() == pd.Timestamp(expected)


@pytest.mark.parametrize(
    ("texts", "separator", "expected"),
    [
        (["1,5", "2,25"], ",", [1.5, 2.25]),
        (["1.234,5"], ";", [1234.5]),
        (["1,234.5", "1,000"], ",", [1234.5, 1000]),
        (["1,234", "5,678"], ",", [1234, 5678]),
        (["1,234"], ";", [1.234]),
        (["1e3", "-2"], ",", [1000, -2]),
    ],
)
def test_the_decimal_sign_is_told_by_the_table(texts, separator, expected):
    cells = pd.Series(texts)
    assert to_numbers(cells, signs_of([cells], separator).decimal)[0].tolist() == expected


def test_a_symbol_named_like_a_missing_value_is_a_symbol(tmp_path):
    tidy().assign(symbol="NA").iloc[:30].to_csv(tmp_path / "prices.csv", index=False)
    assert list(read_files([tmp_path]).bars) == ["NA"]
