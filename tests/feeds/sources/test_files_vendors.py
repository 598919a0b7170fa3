"""Any healthy series through any vendor's way of writing it, or a fault of one: read right, or named."""

import bz2
import gzip
import zipfile
from datetime import date

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clusterfolio.feeds.sources.files.reader import read_files
from tests.feeds.sources.test_files_texts import FORMS
from tests.feeds.sources.vendors import bars, titled

DATE_FORMS = ["%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y", "%d/%m/%y",
              "%m/%d/%y", "%y-%m-%d", "%b %d, %Y", "%d-%b-%Y", "%d %B %Y", "%Y-%m-%d 00:00:00", "%Y-%m-%d 16:00:00",
              "%Y-%m-%dT00:00:00.000Z", "%Y-%m-%d 00:00:00-05:00", "%Y.%m.%d", "%m/%d/%Y 12:00:00 AM"]  # fmt: skip

#: Separator, thousands, decimal sign.
SIGNS = [(",", "", "."), (",", ",", "."), (";", "", ","), (";", ".", ","), ("\t", "", "."), ("\t", ",", "."),
         (";", "\u00a0", ","),
         ("|", "", "."), (";", "'", "."), (",", ".", ","), (";", ",", ".")]  # fmt: skip

HEADINGS = [
    {},
    {"Close": "Adj Close"},
    {"Close": "Close/Last"},
    {"Close": "Last Price"},
    {"Date": "Datum", "Open": "Eröffnung", "High": "Hoch", "Low": "Tief", "Close": "Schlusskurs", "Volume": "Volumen"},
    {"Date": "日期", "Open": "开盘", "High": "最高", "Low": "最低", "Close": "收盘", "Volume": "成交量"},
    {"Date": "t", "Open": "o", "High": "h", "Low": "l", "Close": "c", "Volume": "v"},
    {"Date": "<DATE>", "Open": "<OPEN>", "High": "<HIGH>", "Low": "<LOW>", "Close": "<CLOSE>", "Volume": "<VOL>"},
]

#: What may be wrong with the rows; ``table, rng -> table``. Prices are numbers, dates still days.
FAULTS = {
    "none": lambda table, rng: table,
    "rows twice, alike": lambda table, rng: pd.concat([table, table.iloc[::3]]),
    "days twice, other prices": lambda table, rng: pd.concat(
        [table, table.iloc[::4].assign(Close=table["Close"] * 1.3)]
    ),
    "another listing": lambda table, rng: pd.concat([table, table.assign(Close=table["Close"] * 0.7)]),
    "a symbol's rows beside": lambda table, rng: pd.concat(
        [table.assign(kind="A"), table.assign(kind="B", Close=table["Close"] * 3)]
    ),
    "a day early": lambda table, rng: table.assign(Date=table["Date"] - pd.Timedelta(days=1)),
    "weekly": lambda table, rng: table.iloc[::5],
    "blank cells": lambda table, rng: table.assign(Close=table["Close"].where(rng.random(len(table)) > 0.1)),
    "blank rows": lambda table, rng: pd.concat([table, pd.DataFrame([{}] * 30)]),
}


def written(value: object, thousands: str, decimal: str, decimals: int) -> str:
    if pd.isna(value):
        return ""
    return f"{value:,.{decimals}f}".replace(",", "T").replace(".", decimal).replace("T", thousands)


def text_of(table: pd.DataFrame, form: str, signs: tuple[str, str, str], decimals: int) -> pd.DataFrame:
    table = table.copy()
    say = FORMS[form] if form in FORMS else lambda day: day.strftime(form)
    table["Date"] = ["" if pd.isna(day) else say(day) for day in table["Date"]]
    for name in ("Open", "High", "Low", "Close"):
        table[name] = [written(value, *signs[1:], decimals) for value in table[name]]
    return table.assign(Volume=["" if pd.isna(v) else str(int(v)) for v in table["Volume"]])


def save(folder, name: str, text: str, pack: str) -> None:
    content = text.encode("utf-16" if pack == "utf-16" else "utf-8")
    if pack == "zip":
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            archive.writestr(f"{name}.csv", content)
    elif pack in ("gz", "bz2"):
        (folder / f"{name}.csv.{pack}").write_bytes((gzip if pack == "gz" else bz2).compress(content))
    else:
        (folder / f"{name}.csv").write_bytes(content)


def judge(raw, truth: pd.DataFrame, symbol: str = "ABC") -> str:
    """``right``, ``named`` or what is wrong without a word."""
    if symbol not in raw.bars:
        return "named" if raw.verdicts else "vanished"
    frame = raw.bars[symbol].frame
    level = frame["close"] if "close" in frame else frame["adj_close"]
    level = level.dropna().groupby(level=0).last()
    doubt = any(remark.nature in ("guessed", "doubted") for remark in raw.remarks_on(symbol))
    if not level.index.isin(truth.index).all():
        return "named" if doubt else "days that are none"
    kept = truth["Close"].dropna()
    if not np.allclose(level, truth["Close"].reindex(level.index), rtol=1e-6):
        return "named" if doubt else "wrong prices"
    if len(level) < len(kept):
        return "named" if raw.remarks_on(symbol) else "rows lost"
    return "right"


@st.composite
def files(draw):
    n = draw(st.integers(1, 250))
    days = pd.bdate_range(draw(st.dates(date(1996, 1, 1), date(2024, 1, 1))), periods=n)
    decimals = draw(st.integers(0, 4))
    level = draw(st.sampled_from([5.0, 60.0, 990.0, 1500.0, 40_000.0]))
    if level * 10.0**decimals < 1000:
        decimals = 4
    table = titled(bars(draw(st.integers(0, 9)), level, days, decimals))
    fault = draw(st.sampled_from(["none"] * 6 + list(FAULTS)))
    if n < 15 and fault in ("a day early", "weekly"):
        fault = "none"  # fewer rows prove nothing
    order = draw(st.sampled_from(["ascending", "descending", "shuffled"]))
    form, signs = draw(st.sampled_from([*DATE_FORMS, *FORMS])), draw(st.sampled_from(SIGNS))
    heading, pack = draw(st.sampled_from(HEADINGS)), draw(st.sampled_from(["plain", "gz", "bz2", "zip", "utf-16"]))
    symbol = draw(st.sampled_from(["file", "symbol", "Ticker", "tic"]))
    above = draw(st.sampled_from([(), ("sep",), ("http://x.test",)]))
    return table, decimals, fault, order, form, signs, heading, pack, symbol, above


def write_it(folder, drawn) -> pd.DataFrame:
    """Write what was drawn; returns the truth."""
    table, decimals, fault, order, form, signs, heading, pack, symbol, above = drawn
    truth = table.set_index("Date")
    faulty = FAULTS[fault](table, np.random.default_rng(0)).reset_index(drop=True)
    if fault == "blank cells":
        truth = faulty.set_index("Date")
    if order != "ascending":
        faulty = faulty.iloc[::-1] if order == "descending" else faulty.sample(frac=1, random_state=0)
    text = text_of(faulty, form, signs, decimals).rename(columns=heading)
    if symbol != "file":
        text = text.assign(**{symbol: ["ABC" if stated else "" for stated in faulty["Date"].notna()]})
    lines = [f"sep={signs[0]}" if line == "sep" else line for line in above]
    save(
        folder,
        "ABC" if symbol == "file" else "prices",
        "\n".join([*lines, text.to_csv(index=False, sep=signs[0])]),
        pack,
    )
    return truth


@given(drawn=files())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_healthy_series_in_any_writing_is_read_right_or_named(drawn, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    truth = write_it(folder, drawn)
    raw = read_files([folder])
    outcome = judge(raw, truth)
    assert outcome in ("right", "named"), outcome
    guessed = [str(remark) for remark in raw.remarks if remark.kind == "decimal sign guessed"]
    if drawn[2] == "none" and len(truth) >= 30 and drawn[3] != "shuffled" and not guessed:
        assert outcome == "right", raw.verdicts


#: Tickers that are also names of fields, of columns or of currencies, and ordinary ones.
TICKERS = ["AAPL", "MSFT", "C", "LOW", "V", "T", "O", "H", "L", "OPEN", "LAST", "MAX", "MIN", "SYM", "BRK-B",
           "005930", "PRICE", "0700.HK", "^GSPC", "EURUSD=X", "BTC-USD", "ALL", "DAY", "TIME", "DATE", "CODE", "HIGH",
           "NAME", "USD", "VOL"]  # fmt: skip


def by_field(frames: dict[str, pd.DataFrame], first: str) -> pd.DataFrame:
    table = pd.concat({symbol: frame.rename(columns=str.title) for symbol, frame in frames.items()}, axis=1)
    return table if first == "ticker" else table.swaplevel(axis=1).sort_index(axis=1)


def closes(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.DataFrame({symbol: frame["close"] for symbol, frame in frames.items()})


def long(frames: dict[str, pd.DataFrame], column: str) -> pd.DataFrame:
    return pd.concat([titled(frame).assign(**{column: symbol}) for symbol, frame in frames.items()])


def flat(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    table = by_field(frames, "price")
    return table.set_axis(["_".join(pair) for pair in table.columns], axis=1)


#: How a table of many symbols is laid out; ``frames, folder -> None``.
SHAPES = {
    "closes": lambda frames, folder: closes(frames).to_csv(folder / "closes.csv"),
    "closes, nameless": lambda frames, folder: closes(frames).rename_axis(None).to_csv(folder / "prices.csv"),
    "closes, Parquet": lambda frames, folder: closes(frames).to_parquet(folder / "closes.parquet"),
    "price first": lambda frames, folder: by_field(frames, "price").to_csv(folder / "download.csv"),
    "ticker first": lambda frames, folder: by_field(frames, "ticker").to_csv(folder / "download.csv"),
    "wide Parquet": lambda frames, folder: by_field(frames, "price").to_parquet(folder / "download.parquet"),
    "flat": lambda frames, folder: flat(frames).to_csv(folder / "flat.csv", index_label="Date"),
    "long": lambda frames, folder: long(frames, "Ticker").to_csv(folder / "all.csv", index=False),
    "long, by day": lambda frames, folder: (
        long(frames, "tic").sort_values("Date").to_csv(folder / "all.csv", index=False)
    ),
    "long, Parquet": lambda frames, folder: long(frames, "symbol").to_parquet(folder / "all.parquet", index=False),
}


@given(
    symbols=st.lists(st.sampled_from(TICKERS), min_size=2, max_size=9, unique=True),
    shape=st.sampled_from(sorted(SHAPES)),
    seed=st.integers(0, 50),
    ragged=st.booleans(),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_tickers_called_like_anything_are_read_from_tables_of_any_shape(symbols, shape, seed, ragged, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shape")
    days = pd.bdate_range("2023-01-02", periods=60, name="Date")
    frames = {s: bars(seed + i, 3.0 * 7**i % 900 + 2, days[i * 3 * ragged :]) for i, s in enumerate(symbols)}
    SHAPES[shape](frames, folder)
    raw = read_files([folder])
    if set(raw.bars) != set(symbols) and shape.startswith("closes"):  # fields of one asset, for all that values tell
        assert set(symbols) <= {*"COHLVT", "LOW", "OPEN", "LAST", "MAX", "MIN", "HIGH", "PRICE", "VOL"}
        assert raw.remarks or not raw.bars
        return
    assert set(raw.bars) == set(symbols), (list(raw.bars), raw.verdicts)
    for symbol, frame in frames.items():
        assert judge(raw, titled(frame).set_index("Date"), symbol) == "right"
