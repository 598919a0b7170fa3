"""Shapes of tables as vendors deliver them: whose rows, which column, where the header stands."""

import gzip
import zipfile

import numpy as np
import pandas as pd
import pytest

from clusterfolio.feeds.sources.files.reader import read_files
from tests.feeds.sources.vendors import DAYS, bars, read_right, said, titled, write

TRUTH = bars()
PRICES = ("open", "high", "low", "close")


def long(column: str, **frames: pd.DataFrame) -> pd.DataFrame:
    tables = [titled(frame).assign(**{column: symbol}) for symbol, frame in frames.items()]
    return pd.concat(tables).sort_values("Date", kind="stable")


@pytest.mark.parametrize(
    "column", ["tic", "Name", "Index", "ts_code", "isin", "permno", "RIC", "Tckr Symb", "종목코드"]
)
def test_a_column_that_identifies_assets_is_found_whatever_it_is_called(tmp_path, column):
    frames = {"10001": TRUTH, "10002": bars(1, 120), "10003": bars(2, 20)}
    write(tmp_path / "train_data.csv", long(column, **frames))
    for symbol, frame in frames.items():
        read_right(tmp_path, symbol, frame, PRICES)


def test_blanks_beside_a_symbol_make_no_other_symbol_of_it(tmp_path):
    half = len(TRUTH) // 2
    table = long("symbol", A=TRUTH.iloc[:half], **{" A ": TRUTH.iloc[half:], "B": bars(1, 120), "": bars(2, 20)})
    write(tmp_path / "all.csv", table)
    read_right(tmp_path, "A", TRUTH, PRICES)
    read_right(tmp_path, "B", bars(1, 120), PRICES)


def test_an_unknown_column_that_would_tell_assets_apart_is_named_and_the_file_refused(tmp_path):
    write(tmp_path / "all.csv", long("holding", A=TRUTH, B=bars(1, 120)))
    long("holding", A=TRUTH, B=bars(1, 120)).to_parquet(tmp_path / "all.parquet", index=False)
    raw = read_files([tmp_path])
    assert not raw.bars
    for name in ("all.csv", "all.parquet"):
        verdict, why = raw.verdicts[name]
        assert verdict == "passed over" and "column holding would tell them apart: call it symbol" in why


@pytest.mark.parametrize("column", ["exchange", "expiry", "adjustment"])
def test_variants_under_one_symbol_are_refused_and_the_column_named(tmp_path, column):
    table = long(column, X=TRUTH, Y=TRUTH.assign(close=TRUTH["close"] * 0.8)).assign(symbol="ABC")
    write(tmp_path / "all.csv", pd.concat([table, titled(bars(1)).assign(symbol="XYZ")]))
    raw = read_files([tmp_path])
    assert list(raw.bars) == ["XYZ"]
    assert raw.verdicts["ABC"][0] == "dropped" and f"column {column} tells them apart" in raw.verdicts["ABC"][1]


def test_variants_that_no_column_tells_apart_are_refused(tmp_path):
    twice = pd.concat([titled(TRUTH), titled(TRUTH.assign(close=TRUTH["close"] * 1.01))])
    write(tmp_path / "all.csv", twice.assign(symbol="ABC"))
    assert "260 of 260 days" in read_files([tmp_path]).verdicts["ABC"][1]


def test_days_with_two_prices_are_withheld_and_those_between_them(tmp_path):
    table = titled(TRUTH)
    again = table.iloc[100:130:2].assign(Close=table["Close"] * 1.3)
    write(tmp_path / "ABC.csv", pd.concat([table, again]).sort_values("Date", kind="stable"))
    raw = read_files([tmp_path])
    kept = raw.bars["ABC"].frame
    assert "days with several prices" in said(raw, "ABC")[0]
    assert kept["close"].tolist() == TRUTH["close"].loc[kept.index].tolist()
    assert not kept.index.isin(DAYS[105:129]).any() and kept.index.isin(DAYS[:100]).sum() == 100


def test_rows_stated_twice_alike_are_one_asset(tmp_path):
    write(tmp_path / "ABC.csv", pd.concat([titled(TRUTH), titled(TRUTH)]))
    assert len(read_files([tmp_path]).bars["ABC"].frame.index.unique()) == len(DAYS)


@pytest.mark.parametrize(
    "symbols",
    [("AAPL", "C", "LOW", "MSFT", "V"), ("AAPL", "O", "L", "C", "H", "V"), ("OPEN", "LAST", "MAX", "XYZ", "MIN")],
)
@pytest.mark.parametrize("kind", ["csv", "parquet", "parquet with an index"])
def test_symbols_called_like_fields_are_symbols_in_a_table_of_closes(tmp_path, symbols, kind):
    closes = pd.DataFrame({s: bars(i, 30.0 + 37 * i)["close"] for i, s in enumerate(symbols)})
    if kind == "csv":
        closes.to_csv(tmp_path / "closes.csv")
    else:
        (closes if "index" in kind else closes.reset_index()).to_parquet(tmp_path / "closes.parquet")
    for symbol in symbols:
        raw = read_right(tmp_path, symbol, closes[[symbol]].set_axis(["close"], axis=1))
    assert (
        set(raw.bars) == set(symbols) and "columns taken as symbols" in said(raw, "XYZ" if "XYZ" in symbols else "C")[0]
    )


@pytest.mark.parametrize("names", ["O H L C V", "OPEN HIGH LOW CLOSE VOLUME", "OPEN HIGH LOW LAST VOL", "o h l c v"])
def test_fields_of_one_asset_stay_fields_even_where_tickers_are_called_so(tmp_path, names):
    table = TRUTH.set_axis(names.split(), axis=1).assign(VWAP=TRUTH["close"], RSI=50.0)
    table.to_csv(tmp_path / "ABC.csv")
    read_right(tmp_path, "ABC", TRUTH, PRICES)


def test_columns_like_symbols_that_hold_no_prices_are_no_assets(tmp_path):
    rng = np.random.default_rng(0)
    pd.DataFrame(rng.normal(0, 1, (260, 3)), DAYS, ["SMB", "HML", "RF"]).to_csv(tmp_path / "factors.csv")
    pd.DataFrame({"DGS10": np.full(260, 4.2), "VIXCLS": np.full(260, 20.0)}, DAYS).to_csv(tmp_path / "rates.csv")
    raw = read_files([tmp_path])
    assert not raw.bars and {name for name, (verdict, _) in raw.verdicts.items() if verdict == "passed over"} == {
        "factors.csv",
        "rates.csv",
    }


@pytest.mark.parametrize("extra", ["Repaired?", "VWAP", "Trades", "Capital Gains"])
@pytest.mark.parametrize("symbols", [("AAPL", "MSFT"), ("C", "LOW"), ("005930", "000660")])
@pytest.mark.parametrize("corner", ["", "Price"])
def test_wide_tables_may_hold_more_fields(tmp_path, extra, symbols, corner):
    frames = {
        s: bars(i, 50.0 + i).rename(columns=str.capitalize).assign(**{extra: False}) for i, s in enumerate(symbols)
    }
    table = pd.concat(frames, axis=1).swaplevel(axis=1).sort_index(axis=1)
    table.columns.names = [corner, "Ticker" if corner else None]
    table.to_csv(tmp_path / "download.csv")
    for i, symbol in enumerate(symbols):
        read_right(tmp_path, symbol, bars(i, 50.0 + i), (*PRICES, "volume"))


def test_a_wide_header_with_merged_cells_and_a_flat_one_are_read(tmp_path):
    lines = ["Date,Close,,Volume,", ",AAPL,MSFT,AAPL,MSFT"]
    frames = [TRUTH, bars(1, 80)]
    rows = [f"{d:%Y-%m-%d},{a.close},{b.close},{a.volume},{b.volume}" for d, a, b in zip(
        DAYS, frames[0].itertuples(), frames[1].itertuples(), strict=True)]  # fmt: skip
    (tmp_path / "merged.csv").write_text("\n".join([*lines, *rows]))
    read_right(tmp_path, "MSFT", frames[1], ("close", "volume"))
    (tmp_path / "merged.csv").unlink()
    flat = pd.concat({"IBM": TRUTH.rename(columns=str.title), "KO": frames[1].rename(columns=str.title)}, axis=1)
    flat.columns = [f"{symbol}.{field}" for symbol, field in flat.columns]
    flat.to_csv(tmp_path / "quantmod.csv", index_label="Index")
    read_right(tmp_path, "KO", frames[1], PRICES)


def test_an_empty_symbol_column_leaves_the_file_its_name(tmp_path):
    write(tmp_path / "AAPL.csv", titled(TRUTH).assign(Symbol="")[["Symbol", "Date", "Close"]])
    read_right(tmp_path, "AAPL", TRUTH)


def test_rows_without_a_symbol_are_said(tmp_path):
    table = long("Symbol", A=TRUTH, B=bars(1))
    table.loc[table.index < 4, "Symbol"] = ""
    write(tmp_path / "all.csv", table)
    assert read_files([tmp_path]).verdicts["all.csv"] == ("passed over", "in part: 8 rows without a symbol")


def test_a_table_of_trades_never_is_one_of_prices(tmp_path):
    write(tmp_path / "prices.csv", titled(TRUTH)[["Date", "Close"]].assign(Symbol="AAPL"))
    trades = pd.DataFrame({"Date": DAYS[[9, 99]], "Symbol": "AAPL", "Price": 52.0, "Open": 52.0, "Quantity": 10})
    write(tmp_path / "trades.csv", trades)
    raw = read_right(tmp_path, "AAPL", TRUTH)
    assert raw.verdicts["trades.csv"][0] == "passed over" and "'Quantity'" in raw.verdicts["trades.csv"][1]


# Where the header stands, and what packs the file ------------------------------------------------------------------


def mt4(folder):
    TRUTH.set_index(DAYS.strftime("%Y.%m.%d,00:00")).to_csv(folder / "ABC.csv", header=False, quoting=3, escapechar=" ")
    text = (folder / "ABC.csv").read_text().replace(" ,", ",")
    (folder / "ABC.csv").write_text(text)


def milliseconds(days: pd.DatetimeIndex) -> np.ndarray:
    return (days - pd.Timestamp(0)) // pd.Timedelta(milliseconds=1)


def binance(header: bool):
    def made(folder):
        table = TRUTH.rename(columns=str.title).reset_index(drop=True)
        table.insert(0, "open_time", milliseconds(DAYS))
        write(folder / "ABC-1d-2022-06.csv", table.assign(close_time=milliseconds(DAYS) + 86_399_999), header=header)

    return made


def lines_above(*lines: str, sep: str = ",", **columns: str):
    def made(folder):
        table = titled(TRUTH).rename(columns=columns).to_csv(index=False, sep=sep)
        (folder / "ABC.csv").write_text("\n".join([*lines, table]))

    return made


def dated(form):
    def made(folder):
        table = titled(TRUTH)
        write(folder / "ABC.csv", table.assign(Date=form(table["Date"])))

    return made


def zipped(folder):
    with zipfile.ZipFile(folder / "ABC.zip", "w") as archive:
        archive.writestr("ABC.csv", titled(TRUTH).to_csv(index=False))
        archive.writestr("__MACOSX/._ABC.csv", "junk")


def packed(folder):
    (folder / "abc.us.txt.gz").write_bytes(gzip.compress(titled(TRUTH).to_csv(index=False).encode()))


def renamed(**columns: str):
    return lambda folder: write(folder / "ABC.csv", titled(TRUTH).rename(columns=columns))


def in_euros(folder):
    table = titled(TRUTH)
    for name in ("Open", "High", "Low", "Close"):
        table[name] = table[name].map(lambda price: f"{price:.4f} EUR".replace(".", ","))
    write(folder / "ABC.csv", table, sep=";")


def yahoo_page(folder):
    table = titled(TRUTH).rename(columns={"Close": "Close Close price adjusted for splits."})
    write(folder / "ABC.csv", table.assign(Date=table["Date"].dt.strftime("%b %d, %Y")))


def stooq_bulk(folder):
    table = titled(TRUTH).rename(
        columns={**{n: f"<{n.upper()}>" for n in ("Open", "High", "Low", "Close")}, "Volume": "<VOL>"}
    )
    table["Date"] = table["Date"].dt.strftime("%Y%m%d")
    table = table.rename(columns={"Date": "<DATE>"}).assign(**{"<TICKER>": "ABC", "<PER>": "D", "<TIME>": "000000"})
    weekly = table.iloc[::5].assign(**{"<PER>": "W", "<CLOSE>": 1.0})
    write(folder / "bulk.txt", pd.concat([table, weekly]))


def spanish(folder):
    names = {
        "Date": "Fecha",
        "Close": "Último",
        "Open": "Apertura",
        "High": "Máximo",
        "Low": "Mínimo",
        "Volume": "Vol.",
    }
    table = titled(TRUTH).rename(columns=names)
    table["Fecha"] = table["Fecha"].dt.strftime("%d.%m.%Y")
    write(folder / "ABC.csv", table.iloc[::-1])


COMMON = {
    "MetaTrader, no header": mt4,
    "Binance": binance(True),
    "Binance, no header": binance(False),
    "sep=; above": lines_above("sep=;", sep=";"),
    "an address above": lines_above("https://www.vendor.test"),
    "Bloomberg": lines_above("Security,ABC US Equity", "Start Date,06/01/2022", "Currency,USD", "", Close="PX_LAST"),
    "spreadsheet's numbers": dated(lambda days: (days - pd.Timestamp("1899-12-30")).dt.days),
    "Interactive Brokers": dated(lambda days: days.dt.strftime("%Y%m%d 00:00:00 US/Eastern")),
    "zip": zipped,
    "txt.gz": packed,
    "Last Price": renamed(Close="Last Price"),
    "Settle": renamed(Close="Settle"),
    "NAV": renamed(Close="NAV"),
    "currency in the cell": in_euros,
    "Yahoo's page": yahoo_page,
    "Stooq": stooq_bulk,
    "Refinitiv": lambda folder: titled(TRUTH).rename(columns={"Date": "Exchange Date"}).to_csv(folder / "ABC.csv"),
    "Spanish": spanish,
    "Polygon": lambda folder: write(
        folder / "day.csv",
        pd.DataFrame({"T": "ABC", "v": TRUTH["volume"], "o": TRUTH["open"], "c": TRUTH["close"], "h": TRUTH["high"],
                      "l": TRUTH["low"], "t": milliseconds(DAYS + pd.Timedelta(hours=4)), "n": 7}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", COMMON)
def test_common_shapes_are_read(tmp_path, shape):
    COMMON[shape](tmp_path)
    raw = read_files([tmp_path], ["ABC"])
    assert list(raw.bars) == ["ABC"], raw.verdicts
    frame = raw.bars["ABC"].frame
    assert frame.index.tolist() == DAYS.tolist()
    columns = ["open", "high", "low", "close"] if "open" in frame else ["close"]
    np.testing.assert_allclose(frame[columns], TRUTH[columns], rtol=1e-6)
    assert raw.bars["ABC"].currency == {"Bloomberg": "USD", "currency in the cell": "EUR"}.get(shape, "")


def test_the_european_central_banks_rates_are_pairs(tmp_path):
    rates = pd.DataFrame({"USD": bars(0, 1.1)["close"], "JPY": bars(1, 140)["close"]}, DAYS).iloc[::-1]
    (tmp_path / "eurofxref-hist.csv").write_text(rates.to_csv(lineterminator=",\n"))
    read_right(tmp_path, "EURJPY=X", rates[["JPY"]].iloc[::-1].set_axis(["close"], axis=1))
    pd.DataFrame({"EUR": rates["USD"], "JPY": rates["JPY"]}).to_csv(tmp_path / "other.csv")
    assert "the table does not name" in read_files([tmp_path]).verdicts["other.csv"][1]


def test_row_numbers_are_no_dates(tmp_path):
    titled(bars(days=pd.bdate_range("2015-01-01", periods=2200))).rename(columns={"Date": "Session"}).to_csv(
        tmp_path / "REF.csv"
    )
    raw = read_files([tmp_path])
    assert not raw.bars and raw.verdicts["REF.csv"][0] == "passed over"


def test_dividends_in_words_between_the_rows_are_kept(tmp_path):
    rows = titled(TRUTH).astype(object).assign(Date=DAYS.strftime("%b %d, %Y"))
    paid = pd.DataFrame({"Date": [rows["Date"][99]], "Open": ["0.24 Dividend"]})
    split = pd.DataFrame({"Date": [rows["Date"][50]], "Open": ["4:1 Stock Splits"]})
    write(tmp_path / "ABC.csv", pd.concat([rows.iloc[:51], split, rows.iloc[51:100], paid, rows.iloc[100:]]))
    frame = read_files([tmp_path]).bars["ABC"].frame
    assert frame["dividend"].sum() == 0.24 and frame["dividend"].idxmax() == DAYS[99]
    assert frame["close"].dropna().tolist() == TRUTH["close"].tolist()


def test_a_currency_in_brackets_in_the_header_is_read(tmp_path):
    write(tmp_path / "VOD.csv", titled(TRUTH).rename(columns={"Close": "Close (GBX)", "Open": "Open (GBX)"}))
    assert read_right(tmp_path, "VOD", TRUTH, ("open", "close")).bars["VOD"].currency == "GBX"


def test_a_wide_table_that_lost_its_symbols_is_refused(tmp_path):
    table = titled(TRUTH).assign(**{"Close.1": bars(1, 80)["close"].to_numpy()})
    write(tmp_path / "download.csv", table)
    assert "several columns 'Close'" in read_files([tmp_path]).verdicts["download.csv"][1]


def test_bloombergs_names_in_a_column_are_known(tmp_path):
    write(tmp_path / "all.csv", long("Ticker", **{"SPY US Equity": TRUTH, "KO UN Equity": bars(1)}))
    assert set(read_files([tmp_path], names=["SPY"]).bars) == {"SPY", "KO"}


def test_fields_of_two_words_are_no_symbols_and_symbols_called_like_fields_are(tmp_path):
    two = {"close": "CLOSE_PRICE", "open": "OPEN_PRICE", "high": "HIGH_PRICE", "low": "LOW_PRICE"}
    TRUTH.rename(columns=two).to_csv(tmp_path / "NSE.csv")
    read_right(tmp_path, "NSE", TRUTH, PRICES)
    (tmp_path / "NSE.csv").unlink()
    flat = {
        f"{field.title()}_{name}": frame[field] for name, frame in (("LAST", TRUTH), ("H", bars(1))) for field in PRICES
    }
    pd.DataFrame(flat).to_csv(tmp_path / "flat.csv")
    read_right(tmp_path, "LAST", TRUTH, PRICES)
    read_right(tmp_path, "H", bars(1), PRICES)
